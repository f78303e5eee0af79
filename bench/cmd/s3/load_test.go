//go:build linux

package main

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"minicloud.internal/objectstorage/sigv4"
)

// A fake is as much of S3 as the workloads ask for, in memory, with the signatures
// verified. change may alter an answer's body.
type fake struct {
	t      *testing.T
	mu     sync.Mutex
	bodies map[string][]byte                       // by path; of a part by path and number
	change func(method string, body []byte) []byte // nil: none
}

// alter has answers changed from now on.
func (f *fake) alter(change func(method string, body []byte) []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change = change
}

func newFake(t *testing.T) (*fake, string) {
	f := &fake{t: t, bodies: map[string][]byte{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, server.Listener.Addr().String()
}

func etag(b []byte) string {
	sum := md5.Sum(b)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := sigv4.Verifier{
		Credentials: func(string) (string, bool) { return credential.SecretKey, true },
		Now:         time.Now, MaxSkew: time.Minute,
	}
	if _, err := v.Verify(r); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	change := f.change
	if change == nil {
		change = func(_ string, b []byte) []byte { return b }
	}
	q, answer := r.URL.Query(), []byte(nil)
	switch {
	case q.Has("uploads"):
		answer = []byte("<InitiateMultipartUploadResult><UploadId>an id/+</UploadId></InitiateMultipartUploadResult>")
	case r.Method == http.MethodPost:
		answer = f.complete(r.URL.Path, body)
	case r.Method == http.MethodPut:
		if f.bodies[r.URL.Path+q.Get("partNumber")] = body; q.Has("partNumber") && q.Get("uploadId") != "an id/+" {
			f.t.Errorf("the upload %q", q.Get("uploadId"))
		}
		w.Header().Set("ETag", etag(change(r.Method, body)))
	case q.Has("list-type"):
		answer = f.list(r.URL.Path+"/", q.Get("start-after"), q.Get("max-keys"))
	default:
		answer = f.bodies[r.URL.Path]
		w.Header().Set("ETag", etag(answer))
	}
	if r.Method != http.MethodPut {
		answer = change(r.Method, slices.Clone(answer))
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write(answer)
	}
}

func (f *fake) complete(path string, document []byte) []byte {
	var parts struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.Unmarshal(document, &parts); err != nil {
		f.t.Error(err)
	}
	sums := md5.New()
	for i, p := range parts.Part {
		b := f.bodies[path+strconv.Itoa(p.PartNumber)]
		sum := md5.Sum(b)
		if p.PartNumber != i+1 || len(b) != partSize || p.ETag != etag(b) {
			f.t.Errorf("part %d: %+v of %d bytes", i, p, len(b))
		}
		_, _ = sums.Write(sum[:])
	}
	return fmt.Appendf(nil, "<CompleteMultipartUploadResult><ETag>&#34;%x-%d&#34;</ETag></CompleteMultipartUploadResult>", sums.Sum(nil), len(parts.Part))
}

func (f *fake) list(prefix, after, limit string) []byte {
	var keys []string
	for path := range f.bodies {
		if k, ok := strings.CutPrefix(path, prefix); ok && k > after {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	n, err := strconv.Atoi(limit)
	if err != nil {
		f.t.Error(err)
	}
	var b bytes.Buffer
	for _, k := range keys[:min(n, len(keys))] {
		fmt.Fprintf(&b, "<Key>%s</Key>", k)
	}
	return b.Bytes()
}

// short is a workload with less to do.
func short(w workload) workload {
	w.clients = min(w.clients, 4)
	if w.kind == multipart {
		w.size = 2 * partSize
	}
	return w
}

// generate runs the generator for a moment.
func generate(t *testing.T, w workload, address string) loadResult {
	t.Helper()
	spec := loadSpec{
		Address: address, ETags: true, Objects: 2 * pageSize, Large: readLarge, Seed: 7,
		Warmup: time.Millisecond, Duration: 20 * time.Millisecond, Server: []int{os.Getpid()},
	}
	g := newGenerator(w, spec)
	var ready bytes.Buffer
	run := g.run
	if w.kind == multipart {
		run = g.uploads
	} else {
		g.prepare(50)
	}
	if err := run(&ready); err != nil && err != errFailed {
		t.Fatal(err)
	}
	if g.result.Errors == 0 && ready.String() != "ready\n" {
		t.Errorf("it said %q", ready.String())
	}
	return g.result
}

func TestGenerator(t *testing.T) {
	f, address := newFake(t)
	if err := fill(loadSpec{Address: address, Objects: 2 * pageSize, Large: readLarge}); err != nil {
		t.Fatal(err)
	}
	t.Run("filling writes every object", func(t *testing.T) {
		small, large := newBodies(objectSize), newBodies(largeSize)
		for i := range 2 * pageSize {
			if !bytes.Equal(f.bodies["/"+bucketObjects+"/"+key(i)], small.of(i).bytes) {
				t.Fatal(i)
			}
		}
		for i := range readLarge {
			if !bytes.Equal(f.bodies["/"+bucketLarge+"/"+key(i)], large.of(i).bytes) {
				t.Fatal(i)
			}
		}
	})
	for _, w := range workloads {
		t.Run("it finds nothing wrong with right answers: "+w.name, func(t *testing.T) {
			w := short(w)
			got := generate(t, w, address)
			if got.Errors != 0 || got.Checked < 1 || got.Requests > got.Checked || got.Requests == 0 && w.kind == multipart ||
				got.Elapsed < 20*time.Millisecond || got.Server <= 0 {
				t.Errorf("%+v", got)
			}
			if w.writes() && got.Stored != got.Checked*int64(w.size) {
				t.Errorf("%d bytes stored by %d answers", got.Stored, got.Checked)
			}
		})
		t.Run("one wrong byte fails: "+w.name, func(t *testing.T) {
			change := func(method string, b []byte) []byte {
				if w.writes() == (method == http.MethodPut) && len(b) > 0 {
					b = slices.Clone(b)
					b[len(b)/2]++
				}
				return b
			}
			w := short(w)
			w.check = min(w.check, 1) // all, where any are compared
			if w.kind == list {
				// A listing is recognised by its first and last keys.
				change = func(_ string, b []byte) []byte {
					return bytes.Replace(b, []byte("<Key>object"), []byte("<Key>other"), 1)
				}
			}
			f.alter(change)
			defer f.alter(nil)
			if got := generate(t, w, address); got.Errors == 0 {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("a refusal fails, and what it says is kept", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "<Error><Code>SlowDown</Code></Error>", http.StatusServiceUnavailable)
		}))
		defer server.Close()
		for _, w := range workloads {
			got := generate(t, short(w), server.Listener.Addr().String())
			if got.Errors == 0 || !strings.Contains(got.FirstError, "503 SlowDown") {
				t.Errorf("%s: %+v", w.name, got)
			}
		}
	})
	t.Run("a connection whose end was announced is followed by another", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			f.ServeHTTP(w, r)
		}))
		defer server.Close()
		for _, name := range []string{"GET 4 KB, 32 clients", "GET 1 MB, 8 clients", "multipart"} {
			i := slices.IndexFunc(workloads, func(w workload) bool { return strings.HasPrefix(w.name, name) })
			if got := generate(t, short(workloads[i]), server.Listener.Addr().String()); got.Errors != 0 || got.Checked == 0 {
				t.Errorf("%s: %+v", name, got)
			}
		}
	})
	t.Run("nobody listening is counted and ends the run", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		got := generate(t, short(workloads[1]), server.Listener.Addr().String())
		if got.Errors < tooMany || !strings.Contains(got.FirstError, "refused") {
			t.Errorf("%+v", got)
		}
	})
}

func TestRequests(t *testing.T) {
	s := signer{"127.0.0.1:9000"}
	b := newBodies(objectSize).of(3)
	for _, test := range []struct {
		name string
		r    request
		line string
		size int64
	}{
		{"put", s.put("bucket", "key", b), "PUT /bucket/key", objectSize},
		{"get", s.get("bucket", "key", b, true), "GET /bucket/key", 0},
		{"list", s.list("bucket", 41), "GET /bucket?list-type=2&max-keys=1000&start-after=object-00000041", 0},
		{"a body whose hash is not known", s.request("POST", "/bucket/key", nil, []byte("text"), ""), "POST /bucket/key", 4},
	} {
		t.Run(test.name+" is a request whose signature is right", func(t *testing.T) {
			raw := slices.Concat(test.r.head, test.r.body)
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
			if err != nil {
				t.Fatalf("%v:\n%s", err, test.r.head)
			}
			if line := r.Method + " " + r.RequestURI; line != test.line || r.ContentLength != test.size || r.Host != s.address {
				t.Errorf("%s, %d bytes for %s", line, r.ContentLength, r.Host)
			}
			v := sigv4.Verifier{
				Credentials: func(accessKey string) (string, bool) { return credential.SecretKey, accessKey == credential.AccessKey },
				Region:      region, Now: time.Now, MaxSkew: time.Minute,
			}
			if id, err := v.Verify(r); err != nil || id == nil {
				t.Errorf("%v, %v", id, err)
			}
		})
	}
	t.Run("what an object has to be is wanted of its answer", func(t *testing.T) {
		r := s.get("bucket", "key", b, true)
		if r.want.etag != etag(b.bytes) || r.want.length != objectSize || !bytes.Equal(r.want.body, b.bytes) {
			t.Errorf("%+v", r.want)
		}
		if r := s.get("bucket", "key", b, false); r.want.etag != "" {
			t.Errorf("an ETag %s of a file", r.want.etag)
		}
		if r := s.list("bucket", 41); r.want.first != key(42) || r.want.last != key(1041) || r.want.keys != 1000 {
			t.Errorf("%+v", r.want)
		}
	})
}
