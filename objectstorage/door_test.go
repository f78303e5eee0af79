package objectstorage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"minicloud.internal/kit"
	"minicloud.internal/objectstorage/client"
	"minicloud.internal/objectstorage/store"
	"minicloud.internal/objectstorage/store/storetest"
)

const helloETag = `"5d41402abc4b2a76b9719d911017c592"` // of "hello"

func TestPut(t *testing.T) {
	r := run(t, nil, func(c *Config) { c.MaxObjectSize = 1000 })
	for _, c := range []struct {
		name, path, body string
		headers          []string
		status           int
		want             string // in the answer's body
	}{
		{"a new object is created", "/files/k", "hello", nil, 201, `{"key":"k","size":5,"etag":"5d41402abc4b2a76b9719d911017c592"}`},
		{"an object that is there is replaced", "/files/k", "hello", nil, 200, `"size":5`},
		{"an empty body is an object", "/files/empty", "", nil, 201, `"size":0`},
		{"a body of exactly the limit is taken", "/files/full", strings.Repeat("x", 1000), nil, 201, `"size":1000`},
		{"one byte more is not", "/files/over", strings.Repeat("x", 1001), nil, 413, "limit of 1000 bytes"},
		{"a Content-MD5 that is right", "/files/md5", "hello", []string{"Content-MD5: XUFAKrxLKna5cZ2REBfFkg=="}, 201, ""},
		{"a Content-MD5 that is wrong", "/files/md5x", "hullo", []string{"Content-MD5: XUFAKrxLKna5cZ2REBfFkg=="}, 400, "Content-MD5"},
		{"a Content-MD5 that is none", "/files/md5x", "hello", []string{"Content-MD5: abc"}, 400, "16 bytes in base64"},
		{"If-None-Match: * where an object is", "/files/k", "new", []string{"If-None-Match: *"}, 412, "conditions"},
		{"If-None-Match: * where none is", "/files/fresh", "new", []string{"If-None-Match: *"}, 201, ""},
		{"If-None-Match with an ETag", "/files/k", "new", []string{`If-None-Match: "abc"`}, 501, "known only as *"},
		{"If-Match of another ETag", "/files/k", "new", []string{`If-Match: "abc"`}, 412, "conditions"},
		{"If-Match of a weak ETag", "/files/k", "new", []string{`If-Match: W/` + helloETag}, 412, "conditions"},
		{"If-Match: * where no object is", "/files/none", "new", []string{"If-Match: *"}, 412, "conditions"},
		{`If-Match: "*" is an ETag like any`, "/files/k", "new", []string{`If-Match: "*"`}, 412, "conditions"},
		{"If-Match that is no list", "/files/k", "new", []string{"If-Match: abc"}, 400, "If-Match"},
		{"If-Match of one of several", "/files/k", "hello", []string{`If-Match: "abc", ` + helloETag}, 200, ""},
		{"If-Unmodified-Since before the object", "/files/k", "new", []string{"If-Unmodified-Since: Mon, 02 Jan 2006 15:04:05 GMT"}, 412, "conditions"},
		{"If-Unmodified-Since of nonsense is ignored", "/files/k", "hello", []string{"If-Unmodified-Since: yesterday"}, 200, ""},
		{"a query parameter that nobody knows is not ignored", "/files/k?frobnicate", "new", nil, 501, "frobnicate"},
		{"but the name of the operation is", "/files/k?x-id=PutObject", "hello", nil, 200, ""},
		{"a body in chunks of its own is not stored as it comes", "/files/c", "x", []string{"Content-Encoding: gzip, aws-chunked"}, 501, "aws-chunked"},
		{"a part of an object is not stored as the whole", "/files/c", "x", []string{"Content-Range: bytes 1-1/5"}, 400, "Content-Range"},
		{"metadata over its limit", "/files/c", "x", []string{"Cache-Control: " + strings.Repeat("x", store.MaxAttributes+1)}, 431, "8192"},
		{"a key of 1024 bytes", "/files/" + strings.Repeat("k", 1024), "x", nil, 201, ""},
		{"a key of 1025 bytes", "/files/" + strings.Repeat("k", 1025), "x", nil, 400, "1025 bytes"},
		{"a key that is not UTF-8", "/files/%ff", "x", nil, 400, "UTF-8"},
		{"no key", "/files/", "x", nil, 405, "GET or HEAD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := r.do(t, http.MethodPut, c.path, strings.NewReader(c.body), c.headers...)
			if a.status != c.status || !strings.Contains(a.body, c.want) {
				t.Fatalf("%d %s, want %d with %s", a.status, a.body, c.status, c.want)
			}
			stored := a.status < 300
			if stored != (a.header.Get("Etag") != "") || stored != (a.header.Get("Content-Type") == "application/json") {
				t.Errorf("headers %v", a.header)
			}
			if !stored {
				wantProblem(t, a)
			}
		})
	}
	for _, c := range []struct{ name, path, header, code string }{
		{"another bucket is S3's", "/other/k", "", "NoSuchBucket"},
		{"so is a path that only begins like /files", "/filesystem", "", "AccessDenied"},
		{"and a query parameter, which names another operation", "/files/k?acl", "", "AccessDenied"},
		{"and what looks signed", "/files/k", "Authorization: AWS4-HMAC-SHA256 Credential=x", "AccessDenied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var headers []string
			if c.header != "" {
				headers = []string{c.header}
			}
			a := r.do(t, http.MethodPut, c.path, strings.NewReader("new"), headers...)
			if a.status < 400 || !strings.Contains(a.body, "<Code>"+c.code+"</Code>") {
				t.Errorf("%d %s, want %s", a.status, a.body, c.code)
			}
		})
	}
	if a := r.do(t, http.MethodGet, "/files/k", nil); a.body != "hello" {
		t.Errorf("after all that the object holds %q", a.body)
	}
	for _, path := range []string{"/files/over", "/files/md5x", "/files/none", "/files/c"} {
		if a := r.do(t, http.MethodGet, path, nil); a.status != 404 {
			t.Errorf("%s was stored", path)
		}
	}
	if a := r.do(t, http.MethodPut, "/files/over", &chunked{strings.NewReader(strings.Repeat("x", 1001))}); a.status != 413 {
		t.Errorf("over the limit without a length: %+v", a)
	}
}

// chunked hides the length of a body.
type chunked struct{ io.Reader }

func wantProblem(t *testing.T, a answer) {
	t.Helper()
	var p kit.Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Status != a.status || p.Detail == "" || p.RequestID == "" ||
		a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %v %q is not a problem document: %v", a.status, a.header, a.body, err)
	}
}

func TestGet(t *testing.T) {
	r := run(t, nil, nil)
	put := r.put(t, "/files/k", "0123456789", "Content-Type: text/x-digits", "Content-Encoding: identity", "Content-Language: en",
		"Content-Disposition: attachment", "Cache-Control: max-age=60")
	etag := put.header.Get("Etag")
	whole := r.do(t, http.MethodGet, "/files/k", nil)
	modified := whole.header.Get("Last-Modified")
	for _, want := range []string{"Content-Type: text/x-digits", "Content-Encoding: identity", "Content-Language: en", "Content-Disposition: attachment",
		"Cache-Control: max-age=60", "Content-Length: 10", "Accept-Ranges: bytes", "X-Content-Type-Options: nosniff", "Etag: " + etag} {
		name, value, _ := strings.Cut(want, ": ")
		if got := whole.header.Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if at, err := http.ParseTime(modified); err != nil || time.Since(at) > time.Minute {
		t.Errorf("Last-Modified is %q", modified)
	}
	for _, c := range []struct {
		name    string
		headers []string
		status  int
		body    string // for 200 and 206
		rng     string // Content-Range
	}{
		{"the whole", nil, 200, "0123456789", ""},
		{"a range", []string{"Range: bytes=2-4"}, 206, "234", "bytes 2-4/10"},
		{"a range to the end", []string{"Range: bytes=7-"}, 206, "789", "bytes 7-9/10"},
		{"a range beyond the end is cut", []string{"Range: bytes=8-99"}, 206, "89", "bytes 8-9/10"},
		{"a suffix", []string{"Range: bytes=-3"}, 206, "789", "bytes 7-9/10"},
		{"a suffix longer than the object", []string{"Range: bytes=-30"}, 206, "0123456789", "bytes 0-9/10"},
		{"a range that is not there", []string{"Range: bytes=10-"}, 416, "", "bytes */10"},
		{"a range that is none", []string{"Range: bytes=x"}, 416, "", ""},
		{"If-None-Match of this version", []string{"If-None-Match: " + etag}, 304, "", ""},
		{"If-None-Match of another", []string{`If-None-Match: "x"`}, 200, "0123456789", ""},
		{"If-Match of this version", []string{"If-Match: " + etag}, 200, "0123456789", ""},
		{"If-Match of another", []string{`If-Match: "x"`}, 412, "", ""},
		{"If-Modified-Since its time", []string{"If-Modified-Since: " + modified}, 304, "", ""},
		{"If-Modified-Since before", []string{"If-Modified-Since: Mon, 02 Jan 2006 15:04:05 GMT"}, 200, "0123456789", ""},
		{"If-Unmodified-Since before", []string{"If-Unmodified-Since: Mon, 02 Jan 2006 15:04:05 GMT"}, 412, "", ""},
		{"If-Range of this version", []string{"Range: bytes=0-0", "If-Range: " + etag}, 206, "0", "bytes 0-0/10"},
		{"If-Range of another gives the whole", []string{"Range: bytes=0-0", `If-Range: "x"`}, 200, "0123456789", ""},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			t.Run(method+": "+c.name, func(t *testing.T) {
				a := r.do(t, method, "/files/k", nil, c.headers...)
				if a.status != c.status || a.header.Get("Content-Range") != c.rng {
					t.Fatalf("%d %v, want %d with range %q", a.status, a.header, c.status, c.rng)
				}
				if a.status < 300 && a.header.Get("Content-Length") != fmt.Sprint(len(c.body)) {
					t.Errorf("Content-Length %s, want %d", a.header.Get("Content-Length"), len(c.body))
				}
				if method == http.MethodHead {
					if a.body != "" {
						t.Errorf("a body of %q", a.body)
					}
					return
				}
				if a.status < 400 && a.body != c.body {
					t.Errorf("body %q, want %q", a.body, c.body)
				}
				if a.status >= 400 {
					wantProblem(t, a)
				}
			})
		}
	}
	a := r.do(t, http.MethodGet, "/files/k", nil, "Range: bytes=0-1,-2")
	if a.status != 206 || !strings.HasPrefix(a.header.Get("Content-Type"), "multipart/byteranges; boundary=") ||
		!strings.Contains(a.body, "bytes 0-1/10\r\nContent-Type: text/x-digits\r\n\r\n01\r\n") || !strings.Contains(a.body, "bytes 8-9/10") {
		t.Errorf("two ranges: %+v", a)
	}
	if a := r.do(t, http.MethodGet, "/files/no/such%20key", nil); a.status != 404 || !strings.Contains(a.body, `no object has the key \"no/such key\"`) {
		t.Errorf("an absent key: %+v", a)
	}
	if a := r.do(t, http.MethodHead, "/files/none", nil); a.status != 404 || a.body != "" {
		t.Errorf("HEAD of an absent key: %+v", a)
	}
	if a := r.do(t, http.MethodGet, "/files/k?v=3", nil); a.body != "0123456789" {
		t.Errorf("GET with a query: %+v", a)
	}
}

func TestContentType(t *testing.T) {
	r := run(t, nil, nil)
	const png = "\x89PNG\r\n\x1a\n"
	for _, c := range []struct{ name, key, sent, body, want string }{
		{"what the writer says is kept", "a.svg", "text/mine; x=y", png, "text/mine; x=y"},
		{"even where it says that it does not know", "a.svg", "application/octet-stream", png, "application/octet-stream"},
		{"otherwise the extension counts", "a.svg", "", "plain", "image/svg+xml"},
		{"then the first bytes", "a", "", png, "image/png"},
		{"an empty object is text, as net/http has it", "empty", "", "", "text/plain; charset=utf-8"},
		{"what curl -d says of any body is not believed", "image.jpg", "application/x-www-form-urlencoded", "x", "image/jpeg"},
		{"in any spelling", "image.jpg", "Application/X-WWW-Form-URLEncoded ; charset=utf-8", "x", "image/jpeg"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var headers []string
			if c.sent != "" {
				headers = []string{"Content-Type: " + c.sent}
			}
			r.put(t, "/files/"+c.key, c.body, headers...)
			if a := r.do(t, http.MethodGet, "/files/"+c.key, nil); a.header.Get("Content-Type") != c.want || a.body != c.body {
				t.Errorf("%q with body %q, want %q", a.header.Get("Content-Type"), a.body, c.want)
			}
		})
	}
}

func TestDelete(t *testing.T) {
	r := run(t, nil, nil)
	r.put(t, "/files/k", "hello")
	for _, c := range []struct {
		name, path string
		headers    []string
		status     int
	}{
		{"a condition that does not hold", "/files/k", []string{`If-Match: "x"`}, 412},
		{"a query parameter that nobody knows", "/files/k?frobnicate", nil, 501},
		{"the object", "/files/k", []string{"If-Match: " + helloETag}, 204},
		{"again, as S3 has it", "/files/k", nil, 204},
		{"again, but it must be there", "/files/k", []string{"If-Match: *"}, 412},
		{"the listing", "/files/", nil, 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			if a := r.do(t, http.MethodDelete, c.path, nil, c.headers...); a.status != c.status {
				t.Errorf("%d %s, want %d", a.status, a.body, c.status)
			}
		})
	}
	if a := r.do(t, http.MethodGet, "/files/k", nil); a.status != 404 {
		t.Errorf("after DELETE: %+v", a)
	}
}

// What anybody may do is what the configuration says of the bucket.
func TestAnonymousAccess(t *testing.T) {
	for _, c := range []struct {
		access      string
		read, write bool
	}{
		{"read-write", true, true},
		{"read", true, false},
		{"write", false, true},
		{"none", false, false},
	} {
		t.Run(c.access, func(t *testing.T) {
			first := run(t, nil, nil) // the default lets everybody write
			first.put(t, "/files/k", "hello")
			if err := first.stop(); err != nil {
				t.Fatal(err)
			}
			r := run(t, nil, func(cfg *Config) {
				cfg.DataDir, cfg.Anonymous = first.dir, map[string]string{"files": c.access}
			})
			body, contentType := form(t, []field{{"file_name", "f", "", ""}, {"data", "x", "", ""}})
			for _, q := range []struct {
				method, path, body, contentType string
				allowed                         bool
			}{
				{"GET", "/files/", "", "", c.read},
				{"GET", "/files/k", "", "", c.read},
				{"HEAD", "/files/k", "", "", c.read},
				{"PUT", "/files/new", "x", "text/plain", c.write},
				{"POST", "/files/put", body, contentType, c.write},
				{"DELETE", "/files/new", "", "", c.write},
				{"GET", "/files?list-type=2", "", "", c.read}, // S3
			} {
				a := r.do(t, q.method, q.path, strings.NewReader(q.body), "Content-Type: "+q.contentType)
				if (a.status < 300) != q.allowed || !q.allowed && a.status != http.StatusForbidden {
					t.Errorf("%s %s: %d %s, allowed is %t", q.method, q.path, a.status, a.body, q.allowed)
				}
			}
		})
	}
}

// Without the bucket, /files says what is missing.
func TestWithoutTheBucket(t *testing.T) {
	r := run(t, nil, func(c *Config) { c.Buckets = nil })
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		if a := r.do(t, method, "/files/k", strings.NewReader("x")); a.status != 404 || !strings.Contains(a.body, "bucket") {
			t.Errorf("%s: %+v", method, a)
		}
	}
}

func TestMethods(t *testing.T) {
	r := run(t, nil, nil)
	for _, c := range []struct{ method, path, allow string }{
		{"POST", "/files/k", "GET, HEAD, PUT, DELETE"},
		{"PATCH", "/files/put", "GET, HEAD, PUT, DELETE, POST"},
		{"PATCH", "/files", "GET, HEAD"},
		{"DELETE", "/files/", "GET, HEAD"},
		{"BREW", "/files/k", "GET, HEAD, PUT, DELETE"},
	} {
		a := r.do(t, c.method, c.path, nil)
		if a.status != 405 || a.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q, want 405 with %q", c.method, c.path, a.status, a.header.Get("Allow"), c.allow)
		}
		wantProblem(t, a)
	}
	r.put(t, "/files/put", "an object named put")
	if a := r.do(t, http.MethodGet, "/files/put", nil); a.body != "an object named put" {
		t.Errorf("GET /files/put: %+v", a)
	}
}

// A key never leaves the store, and never becomes another key.
func TestTraversal(t *testing.T) {
	r := run(t, nil, nil)
	outside := filepath.Join(filepath.Dir(r.dir), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{} // request target -> key
	for _, key := range storetest.Keys {
		keys["/files/"+url.PathEscape(key)] = key
		keys[client.Path(key)] = key
	}
	for target, key := range map[string]string{
		"/files/../secret":                  "../secret",
		"/files/../../../../etc/passwd":     "../../../../etc/passwd",
		"/files/%2e%2e/secret":              "../secret",
		"/files/..%2f..%2fsecret":           "../../secret",
		"/files/%2e%2e%2fsecret":            "../secret",
		"/files//etc/passwd":                "/etc/passwd",
		"/files/%2fetc%2fpasswd":            "/etc/passwd",
		"/files/..%5c..%5csecret":           `..\..\secret`,
		"/files/%252e%252e%252fsecret":      "%2e%2e%2fsecret",
		"/files/a%00.jpg":                   "a\x00.jpg",
		"/files/./a":                        "./a",
		"/files/objects/../../LOCK":         "objects/../../LOCK",
		"/files/" + url.PathEscape(outside): outside,
	} {
		keys[target] = key
	}
	for target := range keys {
		if a := r.raw(t, "GET "+target+" HTTP/1.0\r\n\r\n"); a.status != 404 {
			t.Errorf("GET %s before it is put: %d %q", target, a.status, a.body)
		}
	}
	for target, key := range keys {
		body := "body of " + key
		a := r.raw(t, fmt.Sprintf("PUT %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body))
		var got struct{ Key string }
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Key != key {
			t.Errorf("PUT %s stored under %q, %v (%d), want %q", target, got.Key, err, a.status, key)
		}
	}
	for target, key := range keys {
		if a := r.raw(t, "GET "+target+" HTTP/1.0\r\n\r\n"); a.body != "body of "+key {
			t.Errorf("GET %s: %d %q, want the body of %q", target, a.status, a.body, key)
		}
	}
	names := regexp.MustCompile(`^(secret|data(/(meta|blobs)(/[A-Za-z0-9.-]+)*)?)$`)
	root := filepath.Dir(r.dir)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(root, path); rel != "." && !names.MatchString(rel) {
			t.Errorf("there is a file %q", rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != "secret" {
		t.Errorf("the file outside holds %q, %v", b, err)
	}
}

func TestAnIncompleteBodyStoresNothing(t *testing.T) {
	r := run(t, nil, func(c *Config) { c.BodyIdleTimeout = 50 * time.Millisecond })
	r.put(t, "/files/k", "old")
	for name, request := range map[string]string{
		"shorter than its length": "PUT /files/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf",
		"a chunk too few":         "PUT /files/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"a chunk that is none":    "PUT /files/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			// The client falls silent; the service gives up on it.
			if a := r.raw(t, request); a.status != 0 && a.status != 400 && a.status != 408 {
				t.Errorf("%d %s", a.status, a.body)
			}
			if a := r.do(t, http.MethodGet, "/files/k", nil); a.body != "old" {
				t.Errorf("the object holds %q", a.body)
			}
		})
	}
	// One that hangs up.
	pr, pw := io.Pipe()
	req, err := http.NewRequest(http.MethodPut, r.url+"/files/dead", pr)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = pw.Write(make([]byte, 1<<20))
		pw.CloseWithError(errors.New("the client dies"))
	}()
	if resp, err := r.client.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Errorf("it was answered with %s", resp.Status)
	}
	if err := r.stop(); err != nil { // every handler has ended
		t.Fatal(err)
	}
	if files := r.bodies(t); len(files) > 0 {
		t.Errorf("the store has the files %v, want none", files)
	}
}

func TestOneOfManyCreates(t *testing.T) {
	r := run(t, nil, nil)
	var wg sync.WaitGroup
	status := make([]int, 64)
	for n := range status {
		wg.Go(func() {
			req, _ := http.NewRequest(http.MethodPut, r.url+"/files/k", strings.NewReader(fmt.Sprint(n)))
			req.Header.Set("If-None-Match", "*")
			resp, err := r.client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			status[n] = resp.StatusCode
		})
	}
	wg.Wait()
	winner := -1
	for n, s := range status {
		switch {
		case s == 201 && winner < 0:
			winner = n
		case s != 412:
			t.Errorf("writer %d got %d", n, s)
		}
	}
	if a := r.do(t, http.MethodGet, "/files/k", nil); a.body != fmt.Sprint(winner) {
		t.Errorf("writer %d was told 201, the object is of %q", winner, a.body)
	}
}

func TestAFullDisk(t *testing.T) {
	broken := newBroken(t)
	r := run(t, broken, nil)
	r.put(t, "/files/k", "old")
	broken.fail(fmt.Errorf("%w: %w", store.ErrNoSpace, syscall.ENOSPC))
	if a := r.do(t, http.MethodPut, "/files/k", strings.NewReader("new")); a.status != 507 {
		t.Errorf("PUT: %+v", a)
	} else {
		wantProblem(t, a)
	}
	if a := r.do(t, http.MethodGet, "/files/k", nil); a.body != "old" {
		t.Errorf("the object holds %q", a.body)
	}
	if a := r.do(t, http.MethodGet, "/healthz", nil); a.status != 200 {
		t.Errorf("healthz: %+v", a)
	}
	broken.fail(nil)
	r.put(t, "/files/k", "new")
}

func TestProblemOf(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{
		{store.ErrNotFound, 404},
		{store.ErrPrecondition, 412},
		{store.ErrAttributes, 431},
		{store.ErrNoBucket, 404},
		{store.ErrLocked, 403},
		{store.ErrNoSpace, 507},
		{store.ErrStopped, 503},
		{store.ErrReadOnly, 503},
		{store.ErrBusy, 503},
		{store.ErrCorrupt, 500},
		{errors.New("secret"), 500},
		{&store.KeyError{Reason: "is empty"}, 400},
		{&store.BodyError{Err: errors.New("secret")}, 400},
		{&store.BodyError{Err: os.ErrDeadlineExceeded}, 408},
		{&store.BodyError{Err: &http.MaxBytesError{Limit: 3}}, 413},
		{kit.Problemf(418, "short and stout"), 418},
	} {
		p := problemOf(fmt.Errorf("secret: %w", c.err), "/files/k")
		if p.Status != c.status || p.Detail == "" || strings.Contains(p.Detail, "secret") {
			t.Errorf("%v became %v, want %d", c.err, p, c.status)
		}
	}
}

// A page of another site cannot write to the open bucket, whether it says where it
// comes from, or its own name was pointed here.
func TestPagesOfOtherSites(t *testing.T) {
	r := run(t, nil, nil)
	body, contentType := form(t, []field{{"file_name", "f", "", ""}, {"data", "x", "", ""}})
	for _, c := range []struct {
		name    string
		headers []string
		allowed bool
	}{
		{"a program says nothing", nil, true},
		{"a page of the service itself", []string{"Sec-Fetch-Site: same-origin", "Origin: " + r.url}, true},
		{"a page of another site", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, false},
		{"an older browser on another site", []string{"Origin: https://evil.example"}, false},
		{"a form that was opened from disk", []string{"Sec-Fetch-Site: cross-site", "Origin: null"}, false},
		{"a page whose name was pointed here", []string{"Sec-Fetch-Site: same-origin", "Origin: http://evil.example", "Host: evil.example"}, false},
		{"the cloud's own name", []string{"Sec-Fetch-Site: same-origin", "Origin: http://example.com", "Host: example.com"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, q := range []struct{ method, path, body, contentType string }{
				{"POST", "/files/put", body, contentType},
				{"PUT", "/files/k", "x", "text/plain"},
				{"DELETE", "/files/k", "", ""},
			} {
				a := r.do(t, q.method, q.path, strings.NewReader(q.body), append([]string{"Content-Type: " + q.contentType}, c.headers...)...)
				if c.allowed != (a.status < 300) || !c.allowed && a.status != http.StatusForbidden {
					t.Errorf("%s %s: %d %s", q.method, q.path, a.status, a.body)
				}
			}
		})
	}
}

// A policy of the bucket holds at this door as it does at S3's.
func TestAPolicyHoldsForFiles(t *testing.T) {
	r := run(t, nil, nil)
	r.put(t, "/files/open/k", "x")
	r.put(t, "/files/secret/k", "x")
	const policy = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":["s3:GetObject","s3:PutObject","s3:DeleteObject"],"Resource":"arn:aws:s3:::files/secret/*"}]}`
	if a := r.signed(t, http.MethodPut, "/files?policy", policy); a.status != http.StatusNoContent {
		t.Fatalf("put the policy: %d %s", a.status, a.body)
	}
	body, contentType := form(t, []field{{"file_name", "secret/f", "", ""}, {"data", "x", "", ""}})
	for _, q := range []struct {
		method, path, body, contentType string
		want                            int
	}{
		{"GET", "/files/open/k", "", "", 200},
		{"GET", "/files/secret/k", "", "", 403},
		{"HEAD", "/files/secret/k", "", "", 403},
		{"PUT", "/files/secret/k", "y", "text/plain", 403},
		{"DELETE", "/files/secret/k", "", "", 403},
		{"POST", "/files/put", body, contentType, 403},
	} {
		if a := r.do(t, q.method, q.path, strings.NewReader(q.body), "Content-Type: "+q.contentType); a.status != q.want {
			t.Errorf("%s %s: %d %s, expected %d", q.method, q.path, a.status, a.body, q.want)
		}
	}
}
