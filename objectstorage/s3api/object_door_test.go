package s3api

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"minicloud.internal/objectstorage/sigv4"
	"minicloud.internal/objectstorage/store"
	"minicloud.internal/objectstorage/store/disk"
)

var testCredential = sigv4.Credential{AccessKey: "minicloud", SecretKey: "minicloud-secret"}

// objectDoor is a door over a store on disk, with one bucket, "files".
type objectDoor struct {
	*httptest.Server
	t     testing.TB
	store store.Store
}

// openObjectDoor starts a door for a test, which runs beside others from here on:
// most of its time is the disk's. change alters the configuration.
func openObjectDoor(t testing.TB, start func(http.Handler) *httptest.Server, change ...func(*Config)) *objectDoor {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
	s, err := disk.Open(t.TempDir(), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.CreateBucket(t.Context(), store.Bucket{Name: "files"}); err != nil {
		t.Fatal(err)
	}
	c := Config{Verifier: &sigv4.Verifier{
		Credentials: func(key string) (string, bool) { return testCredential.SecretKey, key == testCredential.AccessKey },
		Now:         time.Now, MaxSkew: 15 * time.Minute,
	}}
	for _, f := range change {
		f(&c)
	}
	d := &objectDoor{Server: start(New(s, c)), t: t, store: s}
	t.Cleanup(d.Close)
	return d
}

// newObjectDoor is openObjectDoor over plain HTTP.
func newObjectDoor(t testing.TB, change ...func(*Config)) *objectDoor {
	t.Helper()
	return openObjectDoor(t, httptest.NewServer, change...)
}

// versioning sets the bucket's.
func (d *objectDoor) versioning(v store.Versioning) {
	d.t.Helper()
	err := d.store.UpdateBucket(context.Background(), "files", func(b *store.Bucket) error {
		b.Versioning = v
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// An answer is a response that was read to its end.
type answer struct {
	*http.Response
	body string
}

// do sends a signed request to a path below /files, with headers as names and
// values.
func (d *objectDoor) do(method, target, body string, headers ...string) *answer {
	d.t.Helper()
	return d.send(d.signed(method, target, body, headers...))
}

func (d *objectDoor) signed(method, target, body string, headers ...string) *http.Request {
	d.t.Helper()
	var reader io.Reader // a nil one, where there is no body
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, d.URL+"/files"+target, reader)
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	sigv4.Sign(req, testCredential, "us-east-1", time.Now(), "UNSIGNED-PAYLOAD")
	return req
}

func (d *objectDoor) send(req *http.Request) *answer {
	d.t.Helper()
	res, err := d.Client().Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return &answer{res, string(b)}
}

// put stores body under key and returns the answer, which must be 200.
func (d *objectDoor) put(key, body string, headers ...string) *answer {
	d.t.Helper()
	return d.do("PUT", "/"+key, body, headers...).want(d.t, 200, "")
}

// want fails the test unless the answer has a status and, where code is not
// empty, is an error of that code.
func (a *answer) want(t testing.TB, status int, code string) *answer {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s %s: %s %s, expected %d %s", a.Request.Method, a.Request.URL.RequestURI(), a.Status, a.body, status, code)
	}
	if code != "" && a.Request.Method != "HEAD" {
		if got := a.error(t).Code; got != code {
			t.Fatalf("%s %s: error %s, expected %s", a.Request.Method, a.Request.URL.RequestURI(), a.body, code)
		}
	}
	return a
}

type answeredError struct {
	Code, Message, Key, VersionId, Condition, PartNumber string
}

func (a *answer) error(t testing.TB) (e answeredError) {
	t.Helper()
	a.decode(t, &e)
	return e
}

// decode reads the answer's XML.
func (a *answer) decode(t testing.TB, v any) {
	t.Helper()
	if err := xml.NewDecoder(bytes.NewReader([]byte(a.body))).Decode(v); err != nil {
		t.Fatalf("decode %q: %v", a.body, err)
	}
}

// header fails the test unless a field has a value.
func (a *answer) header(t testing.TB, name, want string) {
	t.Helper()
	if got := a.Header.Get(name); got != want {
		t.Errorf("%s %s: %s is %q, expected %q", a.Request.Method, a.Request.URL.RequestURI(), name, got, want)
	}
}
