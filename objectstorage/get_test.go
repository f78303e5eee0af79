package objectstorage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"minicloud.internal/objectstorage/store"
)

// holding is a store of one object.
type holding struct {
	store.Store
	object *store.Object
}

func (h *holding) Get(context.Context, string, string, string) (*store.Object, error) {
	return h.object, nil
}

// brokenBody is a body whose reads fail. Neither Read nor Close may run beside the
// other, which the race detector sees by what both of them write.
type brokenBody struct {
	*bytes.Reader
	calls   int
	reading chan struct{} // closed when the read begins
	goOn    chan struct{} // which lasts until this is closed
	read    chan struct{} // closed when it has ended
}

func (b *brokenBody) Read([]byte) (int, error) {
	close(b.reading)
	<-b.goOn
	b.calls++
	close(b.read)
	return 0, errors.New("broken")
}

func (b *brokenBody) Close() error { b.calls++; return nil }

// gone is a client that leaves when a body is being read.
type gone struct {
	http.ResponseWriter
	body *brokenBody
}

func (g gone) Write([]byte) (int, error) {
	<-g.body.reading
	go close(g.body.goOn) // soon, when the body is about to be closed
	return 0, errors.New("broken pipe")
}

func TestABodyIsNotClosedWhileItIsRead(t *testing.T) {
	body := &brokenBody{Reader: bytes.NewReader(make([]byte, 100)), reading: make(chan struct{}), goOn: make(chan struct{}), read: make(chan struct{})}
	object := &store.Object{Info: store.Info{Size: 100, Attributes: store.Attributes{ContentType: "text/plain"}}, Body: body}
	d := &door{store: &holding{object: object}}
	r := httptest.NewRequest(http.MethodGet, "/files/k", nil)
	r.Header.Set("Range", "bytes=0-9,20-29")
	if err := d.get(gone{httptest.NewRecorder(), body}, r, "k"); err != nil {
		t.Fatal(err)
	}
	<-body.read
	if body.calls != 2 {
		t.Errorf("%d calls, want a Read and a Close", body.calls)
	}
}

func TestProblemsOfAnObjectInMemoryHaveALength(t *testing.T) {
	r := run(t, nil, nil)
	r.put(t, "/files/k", "0123456789")
	for header, status := range map[string]int{`If-Match: "x"`: 412, "Range: bytes=10-": 416} {
		name, value, _ := strings.Cut(header, ": ")
		req, err := http.NewRequest(http.MethodGet, r.url+"/files/k", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(name, value)
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != status || resp.ContentLength != int64(len(body)) || len(resp.TransferEncoding) > 0 {
			t.Errorf("%s: %s, a length of %d and %v for %d bytes, %v", header, resp.Status, resp.ContentLength, resp.TransferEncoding, len(body), err)
		}
	}
}
