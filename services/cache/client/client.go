// Package client is the Go client of the cache's HTTP door. It links nothing
// of the cache's engine.
//
// A reader that fills the cache passes the lease of its miss on to Set, so that
// what it read before a concurrent write is never stored after it:
//
//	value, lease, found, err := c.Get(ctx, "spell/1")
//	if err == nil && !found {
//		value = load()
//		_, err = c.Set(ctx, "spell/1", value, time.Minute, lease)
//	}
//
// A writer calls Delete after its commit, which revokes the leases of the key.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"minicloud.internal/kit"
)

// maxAnswer bounds what Get reads: far above any value that a cache is
// configured to hold, so that a wrong server cannot fill the caller's memory.
const maxAnswer = 256 << 20

// A Client calls one cache. It may be used concurrently.
type Client struct {
	base string
	http *http.Client
}

// New returns a client of the cache at baseURL, as in "http://cache-store:8005",
// which calls with hc; [kit.NewHTTPClient] makes a suitable one.
func New(baseURL string, hc *http.Client) *Client {
	return &Client{base: strings.TrimRight(baseURL, "/"), http: hc}
}

// Get returns the value of key. On a miss found is false and lease allows one
// Set of the key; it is 0, which allows none that is safe, only if the cache
// sent no lease. An error means that the cache gave no usable answer; one that
// it refused with is a *[kit.Problem].
func (c *Client) Get(ctx context.Context, key string) (value string, lease uint64, found bool, err error) {
	if err := check("key", key); err != nil {
		return "", 0, false, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url("get", key), nil)
	if err != nil {
		return "", 0, false, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return "", 0, false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		// A 404 without the header is some other server's.
		lease, err := strconv.ParseUint(resp.Header.Get("X-Cache-Lease"), 10, 64)
		if err != nil {
			return "", 0, false, kit.ReadProblem(resp)
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		return "", lease, false, nil
	}
	if resp.StatusCode != http.StatusOK {
		return "", 0, false, kit.ReadProblem(resp)
	}
	var answer struct {
		Value *string `json:"value"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
		return "", 0, false, fmt.Errorf("read the answer of the cache: %w", err)
	}
	if answer.Value == nil {
		return "", 0, false, errors.New("read the answer of the cache: it has no value")
	}
	return *answer.Value, 0, true, nil
}

// Set stores value under key for ttl (0: without an end). With a lease other
// than 0 it stores only if no Set or Delete of the key came since the miss that
// gave the lease, and reports whether it did; lease 0 stores unconditionally.
func (c *Client) Set(ctx context.Context, key, value string, ttl time.Duration, lease uint64) (stored bool, err error) {
	if err := errors.Join(check("key", key), check("value", value)); err != nil {
		return false, err
	}
	in := struct {
		Key   string  `json:"key"`
		Value string  `json:"value"`
		TTL   float64 `json:"ttl"`
		Lease uint64  `json:"lease,omitempty"`
	}{key, value, ttl.Seconds(), lease}
	err = kit.CallJSON(ctx, c.http, http.MethodPost, c.base+"/set", in, nil)
	var p *kit.Problem
	if errors.As(err, &p) && p.Status == http.StatusConflict {
		return false, nil
	}
	return err == nil, err
}

// Delete removes key, present or not, and revokes its leases.
func (c *Client) Delete(ctx context.Context, key string) error {
	if err := check("key", key); err != nil {
		return err
	}
	return kit.CallJSON(ctx, c.http, http.MethodDelete, c.url("delete", key), nil, nil)
}

func (c *Client) url(door, key string) string {
	return c.base + "/" + door + "/" + url.PathEscape(key)
}

// check refuses what JSON cannot carry: it would arrive changed.
func check(what, s string) error {
	switch {
	case !utf8.ValidString(s):
		return fmt.Errorf("the %s is not UTF-8", what)
	case what == "key" && s == "":
		return errors.New("the key is empty")
	}
	return nil
}
