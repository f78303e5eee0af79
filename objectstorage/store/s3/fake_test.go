package s3

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// A fake is a service of which each test says what it answers. It keeps every
// request with its body.
type fake struct {
	*httptest.Server
	mu   sync.Mutex
	seen []seen
}

type seen struct {
	method, path, query string
	header              http.Header
	body                string
}

// serve starts a fake and opens a store on it. The request that Open sends is not
// seen.
func serve(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, body string), change ...func(*Options)) (*fake, *Store) {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			_, _ = io.WriteString(w, "<ListAllMyBucketsResult/>")
			return
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read the body of %s %s: %v", r.Method, r.URL, err)
		}
		f.mu.Lock()
		f.seen = append(f.seen, seen{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header, string(b)})
		f.mu.Unlock()
		answer(w, r, string(b))
	}))
	t.Cleanup(f.Close)
	o := Options{Endpoint: f.URL, AccessKey: "key", SecretKey: "secret", PathStyle: true, Dir: t.TempDir(), backoff: time.Millisecond}
	for _, c := range change {
		c(&o)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return f, s
}

// sent returns the requests of a method, in their order.
func (f *fake) sent(method string) (of []seen) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.seen {
		if s.method == method {
			of = append(of, s)
		}
	}
	return of
}

// lose cuts the connection in place of an answer.
func lose(w http.ResponseWriter) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_ = c.Close()
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
}
