package cache

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
	"minicloud.internal/services/cache/client"
)

func TestDoors(t *testing.T) {
	base, _ := serve(t, func(c *Config) { c.MaxValueSize = 100; c.MaxKeySize = 20 })
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		answer                   string // a regular expression
	}{
		{"health is OK", "GET", "/healthz", "", 200, `^OK\n$`},
		{"a set is 204", "POST", "/set", `{"key":"k","value":"v"}`, 204, `^$`},
		{"a get has key, value, and a ttl of 0 without an end", "GET", "/get/k", "", 200, `^\{"key":"k","value":"v","ttl":0\}\n$`},
		{"a ttl is a number of seconds, told rounded up", "POST", "/set", `{"key":"k","value":"v","ttl":9.5}`, 204, `^$`},
		{"so that 0 is never told of an end to come", "GET", "/get/k", "", 200, `"ttl":10`},
		{"a key may hold a slash, escaped", "POST", "/set", `{"key":"a/b?c%","value":"slash"}`, 204, `^$`},
		{"and is found so", "GET", "/get/a%2Fb%3Fc%25", "", 200, `"value":"slash"`},
		{"and with the slash as it is", "GET", "/get/a/b%3Fc%25", "", 200, `"key":"a/b\?c%"`},
		{"a key may be dots", "POST", "/set", `{"key":"..","value":"dots"}`, 204, `^$`},
		{"and is found so", "GET", "/get/%2E%2E", "", 200, `"value":"dots"`},
		{"a key may be any UTF-8", "POST", "/set", `{"key":"ключ 🗝","value":"<é>"}`, 204, `^$`},
		{"and is found so", "GET", "/get/" + url.PathEscape("ключ 🗝"), "", 200, `"value":"<é>"`},
		{"an empty value is a value", "POST", "/set", `{"key":"e","value":""}`, 204, `^$`},
		{"and is found so", "GET", "/get/e", "", 200, `"value":""`},
		{"a miss is 404", "GET", "/get/none", "", 404, `not in the cache`},
		{"a delete is 204", "DELETE", "/delete/k", "", 204, `^$`},
		{"and the key is gone", "GET", "/get/k", "", 404, `not in the cache`},
		{"a delete of what is absent is 204", "DELETE", "/delete/k", "", 204, `^$`},
		{"an empty key in the path is 400", "GET", "/get/", "", 400, `absent or empty`},
		{"a key that is not UTF-8 is 400", "GET", "/get/%ff", "", 400, `not UTF-8`},
		{"a key over the limit is 400", "DELETE", "/delete/" + strings.Repeat("k", 21), "", 400, `21 bytes, over the limit of 20`},
		{"an empty key in the body is 400", "POST", "/set", `{"value":"v"}`, 400, `absent or empty`},
		{"an absent value is 422", "POST", "/set", `{"key":"k"}`, 422, `"field":"value"`},
		{"a value that is no string is 400", "POST", "/set", `{"key":"k","value":1}`, 400, `\\"value\\"`},
		{"a value at the limit is taken", "POST", "/set", `{"key":"k","value":"` + strings.Repeat(`\u0000`, 100) + `"}`, 204, `^$`},
		{"a value over the limit is 413", "POST", "/set", `{"key":"k","value":"` + strings.Repeat("v", 101) + `"}`, 413, `101 bytes, over the limit of 100`},
		{"a body over the limit is 413", "POST", "/set", `{"key":"k","value":"` + strings.Repeat("v", 5000) + `"}`, 413, `over the limit`},
		{"a negative ttl is 422", "POST", "/set", `{"key":"k","value":"v","ttl":-1}`, 422, `"field":"ttl"`},
		{"a ttl over ten years is 422", "POST", "/set", `{"key":"k","value":"v","ttl":1e300}`, 422, `"field":"ttl"`},
		{"a negative lease is 400", "POST", "/set", `{"key":"k","value":"v","lease":-1}`, 400, `lease`},
		{"a lease that was never given is 409", "POST", "/set", `{"key":"k","value":"v","lease":7}`, 409, `nothing was stored`},
		{"an unknown field is 400", "POST", "/set", `{"key":"k","value":"v","expires":1}`, 400, `unknown field`},
		{"malformed JSON is 400", "POST", "/set", `{"key"`, 400, `JSON`},
		{"a path that is none is 404 and names the doors", "GET", "/", "", 404, `GET /get/\{key\}, POST /set, DELETE /delete/\{key\}`},
		{"stats are JSON", "GET", "/stats", "", 200, `"misses":2.*"sets":7`},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, header, answer := kittest.Call(t, c.method, base+c.path, c.body)
			if status != c.status || !regexp.MustCompile(c.answer).MatchString(answer) {
				t.Errorf("%d %s, expected %d %s", status, answer, c.status, c.answer)
			}
			if status >= 400 && header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("the problem is %s", header.Get("Content-Type"))
			}
		})
	}
	t.Run("another method is 405 with Allow", func(t *testing.T) {
		for path, allow := range map[string]string{"/get/k": "GET, HEAD", "/set": "POST", "/delete/k": "DELETE", "/stats": "GET, HEAD"} {
			if status, header, answer := kittest.Call(t, "PUT", base+path, ""); status != 405 || header.Get("Allow") != allow {
				t.Errorf("PUT %s: %d, Allow %q: %s", path, status, header.Get("Allow"), answer)
			}
		}
	})
	t.Run("a miss carries a lease, which a delete revokes", func(t *testing.T) {
		_, header, _ := kittest.Call(t, "GET", base+"/get/leased", "")
		lease := header.Get("X-Cache-Lease")
		if n, err := strconv.ParseUint(lease, 10, 64); err != nil || n == 0 {
			t.Fatalf("lease %q", lease)
		}
		kittest.Call(t, "DELETE", base+"/delete/leased", "")
		if status, _, answer := kittest.Call(t, "POST", base+"/set", `{"key":"leased","value":"v","lease":`+lease+`}`); status != 409 {
			t.Errorf("%d %s", status, answer)
		}
	})
}

func TestDefaultTTL(t *testing.T) {
	base, c := serve(t, func(c *Config) { c.DefaultTTL = time.Minute })
	t.Run("it holds for a set that names none", func(t *testing.T) {
		kittest.Call(t, "POST", base+"/set", `{"key":"k","value":"v"}`)
		if _, _, answer := kittest.Call(t, "GET", base+"/get/k", ""); !strings.Contains(answer, `"ttl":60`) {
			t.Error(answer)
		}
	})
	t.Run("and not for one that says 0", func(t *testing.T) {
		if _, err := c.Set(t.Context(), "k", "v", 0, 0); err != nil {
			t.Fatal(err)
		}
		if _, _, answer := kittest.Call(t, "GET", base+"/get/k", ""); !strings.Contains(answer, `"ttl":0`) {
			t.Error(answer)
		}
	})
}

func TestClient(t *testing.T) {
	_, c := serve(t, nil)
	ctx := t.Context()
	for _, key := range []string{"k", "a/b/c", ".", "..", "a b+c%2F", "ключ", "?#", "//", "\x00\n"} {
		t.Run("the key "+strconv.Quote(key)+" is set, found and deleted", func(t *testing.T) {
			_, lease, found, err := c.Get(ctx, key)
			if err != nil || found || lease == 0 {
				t.Fatalf("%d, %v, %v", lease, found, err)
			}
			if stored, err := c.Set(ctx, key, "value of "+key, time.Minute, lease); err != nil || !stored {
				t.Fatalf("%v, %v", stored, err)
			}
			if value, _, found, err := c.Get(ctx, key); err != nil || !found || value != "value of "+key {
				t.Errorf("%q, %v, %v", value, found, err)
			}
			if stored, err := c.Set(ctx, key, "late", 0, lease); err != nil || stored {
				t.Errorf("the lease again: %v, %v", stored, err)
			}
			if err := c.Delete(ctx, key); err != nil {
				t.Error(err)
			}
			if _, _, found, err := c.Get(ctx, key); err != nil || found {
				t.Errorf("after the delete: %v, %v", found, err)
			}
		})
	}
	t.Run("what JSON cannot carry is refused before it is sent", func(t *testing.T) {
		if _, err := c.Set(ctx, "k", "\xff", 0, 0); err == nil {
			t.Error("a value that is not UTF-8 was sent")
		}
		if _, _, _, err := c.Get(ctx, ""); err == nil {
			t.Error("an empty key was sent")
		}
	})
	t.Run("a refusal is a problem", func(t *testing.T) {
		var p *kit.Problem
		if _, err := c.Set(ctx, "k", strings.Repeat("v", 2<<20), 0, 0); !errors.As(err, &p) || p.Status != 413 {
			t.Errorf("got %v", err)
		}
		if _, err := c.Set(ctx, "k", "v", -time.Second, 0); !errors.As(err, &p) || p.Status != 422 {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a 404 of another server is no miss", func(t *testing.T) {
		other := httptest.NewServer(http.NotFoundHandler())
		defer other.Close()
		var p *kit.Problem
		if _, _, found, err := client.New(other.URL, other.Client()).Get(ctx, "k"); found || !errors.As(err, &p) || p.Status != 404 {
			t.Errorf("%v, %v", found, err)
		}
	})
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	s, err := New(DefaultConfig(), discard(), reg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(DefaultConfig(), discard(), reg); err == nil {
		t.Error("two servers share a registry")
	}
	_ = s.store.Set("k", "v", 0, 0)
	_, _, _ = s.store.Get("k")
	_, _, _, _ = s.store.GetOrLease("none")
	s.store.Delete("other")
	_ = s.store.Set("k", "v", 0, 7)
	w := httptest.NewRecorder()
	kit.Admin(s.Health(), reg, nil).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		"minicloud_cache_hits_total 1", "minicloud_cache_misses_total 1", "minicloud_cache_sets_total 1",
		"minicloud_cache_deletes_total 1", "minicloud_cache_lease_refused_total 1", "minicloud_cache_entries 1",
		"minicloud_cache_bytes 130", "minicloud_cache_max_bytes 6.7108864e+07", "minicloud_cache_leases 1",
		`minicloud_cache_evictions_total{cause="size"} 0`, `minicloud_cache_evictions_total{cause="expired"} 0`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("no line %s in\n%s", line, w.Body)
		}
	}
}

func FuzzDoors(f *testing.F) {
	f.Add("/get/a%2Fb", `{}`)
	f.Add("/set", `{"key":"k","value":"v","ttl":1.5,"lease":18446744073709551615}`)
	f.Add("/set", `{"key":"\ud800","value":"","ttl":1e-9}`)
	f.Add("/delete/%", ``)
	f.Add("/get/../set", `[]`)
	s := newStore(f, func(c *Config) { c.MaxMemory = 2 << 20 })
	cfg := DefaultConfig()
	d := &door{store: s.Store, metrics: s.metrics, cfg: cfg}
	f.Fuzz(func(t *testing.T, path, body string) {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			r := httptest.NewRequest(method, "/", strings.NewReader(body))
			r.URL.Path = path
			if unescaped, err := url.PathUnescape(path); err == nil {
				r.URL.Path, r.URL.RawPath = unescaped, path
			}
			w := httptest.NewRecorder()
			d.ServeHTTP(w, r)
			if w.Code >= 500 || w.Code != http.StatusNoContent && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s %q %q: %d %s", method, path, body, w.Code, w.Body)
			}
		}
	})
}

// FuzzKeyInPath proves that every key that a body can set is found by its path.
func FuzzKeyInPath(f *testing.F) {
	for _, key := range []string{"k", "a/b", "..", "%2F", "é", "?", "\x00"} {
		f.Add(key)
	}
	d := &door{cfg: DefaultConfig()}
	f.Fuzz(func(t *testing.T, key string) {
		if d.checkKey(key) != nil {
			return
		}
		u, err := url.Parse("http://cache/get/" + url.PathEscape(key))
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.key(strings.TrimPrefix(u.EscapedPath(), "/get/"))
		if err != nil || got != key {
			t.Errorf("%q arrives as %q, %v", key, got, err)
		}
	})
}
