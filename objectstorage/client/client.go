// Package client calls the object store's HTTP door. It links none of the
// store.
package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"minicloud.internal/kit"
)

// Client calls one object store. It may be used concurrently.
type Client struct {
	base string
	http *http.Client
}

// New returns a client of the store at baseURL, "http://object-storage:8007".
// Retries, timeouts and host names are hc's; see [kit.NewHTTPClient].
func New(baseURL string, hc *http.Client) *Client {
	return &Client{strings.TrimSuffix(baseURL, "/"), hc}
}

// Put stores body under key, durably, in place of what was there. With an empty
// contentType the store detects it. An answer of the store is returned as a
// [*kit.Problem]; any other error means that none arrived, and that the object
// may be stored or not: to put it again is safe.
func (c *Client) Put(ctx context.Context, key, contentType string, body io.Reader) error {
	return c.do(ctx, http.MethodPut, key, contentType, body)
}

// Delete removes the object under key; that there is none is no error. Errors
// are as of [Client.Put].
func (c *Client) Delete(ctx context.Context, key string) error {
	return c.do(ctx, http.MethodDelete, key, "", nil)
}

func (c *Client) do(ctx context.Context, method, key, contentType string, body io.Reader) error {
	if key == "" {
		return fmt.Errorf("%s an object: the key is empty", method)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+Path(key), body)
	if err != nil {
		return err
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return kit.ReadProblem(resp)
	}
	// Read to the end, so that the connection can be used again.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return nil
}

// Path returns the path of a key in a URL, escaped: "/files/spells/3.svg". It
// keeps slashes readable, except where something on the way could resolve a
// segment ("..", ".", or an empty one) and make another key of it.
func Path(key string) string {
	segments := strings.Split(key, "/")
	for i, s := range segments {
		if s == "" || s == "." || s == ".." {
			return "/files/" + url.PathEscape(key)
		}
		segments[i] = url.PathEscape(s)
	}
	return "/files/" + strings.Join(segments, "/")
}
