package client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"minicloud.internal/kit"
	"minicloud.internal/objectstorage/client"
)

func TestPath(t *testing.T) {
	for _, c := range []struct{ name, key, want string }{
		{"slashes stay readable", "spells/3.svg", "/files/spells/3.svg"},
		{"what means something in a URL is escaped", "a b?c#d%", "/files/a%20b%3Fc%23d%25"},
		{"no segment is left that somebody could resolve", "a/../b", "/files/a%2F..%2Fb"},
		{"nor an empty one that somebody could drop", "a//b", "/files/a%2F%2Fb"},
	} {
		if got := client.Path(c.key); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestClient(t *testing.T) {
	var got, contentType string
	status := http.StatusCreated
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.RequestURI + " " + string(body)
		contentType = r.Header.Get("Content-Type")
		if status >= 400 {
			kit.WriteProblem(w, r, kit.Problemf(status, "because"))
			return
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	hc := kit.NewHTTPClient(nil, 0)
	defer hc.CloseIdleConnections()
	c := client.New(server.URL+"/", hc)
	ctx := context.Background()

	if err := c.Put(ctx, "spells/3.svg", "image/svg+xml", strings.NewReader("<svg/>")); err != nil {
		t.Error(err)
	}
	if got != "PUT /files/spells/3.svg <svg/>" || contentType != "image/svg+xml" {
		t.Errorf("put sent %q as %q", got, contentType)
	}
	status = http.StatusNoContent
	if err := c.Delete(ctx, "a b"); err != nil {
		t.Error(err)
	}
	if got != "DELETE /files/a%20b " {
		t.Errorf("delete sent %q", got)
	}
	status = http.StatusInsufficientStorage
	for _, err := range []error{c.Put(ctx, "k", "", strings.NewReader("x")), c.Delete(ctx, "k")} {
		if p := (*kit.Problem)(nil); !errors.As(err, &p) || p.Status != 507 || p.Detail != "because" {
			t.Errorf("%v, want the problem that was answered", err)
		}
	}
	status = http.StatusFound
	if err := c.Delete(ctx, "k"); err == nil {
		t.Error("a redirect is no success")
	}
	got = ""
	if err := errors.Join(c.Put(ctx, "", "", strings.NewReader("x")), c.Delete(ctx, "")); err == nil || got != "" {
		t.Errorf("the empty key sent %q, %v", got, err)
	}
	server.Close()
	if err := c.Delete(ctx, "k"); err == nil {
		t.Error("no error where nobody answers")
	}
}
