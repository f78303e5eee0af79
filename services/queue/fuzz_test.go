package queue

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"minicloud.internal/kit"
)

func FuzzParseReceipt(f *testing.F) {
	f.Add(receipt{queue: "default", id: id{1}, nonce: [nonceSize]byte{2}}.String())
	f.Add(receipt{queue: strings.Repeat("x", 80) + ".dead"}.String())
	f.Add("")
	f.Add("AQ==")
	f.Fuzz(func(t *testing.T, s string) {
		r, ok := parseReceipt(s)
		if ok && r.String() != s {
			t.Errorf("%q is taken for %q", s, r)
		}
		if ok && !validName(r.queue) {
			t.Errorf("%q names the queue %q", s, r.queue)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(messageKey(kindPayload, "q", id{1}))
	f.Add(messageKey(kindState, "a.dead", id{255}))
	f.Add(visibleKey("q", 1<<62, id{3}))
	f.Add([]byte{})
	f.Add([]byte("v\x00"))
	f.Fuzz(func(t *testing.T, key []byte) {
		kind, queue, at, i, err := parseKey(key)
		if err != nil {
			return
		}
		again := messageKey(kind, queue, i)
		if kind == kindVisible {
			again = visibleKey(queue, at, i)
		}
		if !bytes.Equal(key, again) {
			t.Errorf("%x is taken for %x", key, again)
		}
	})
}

func FuzzDecodeState(f *testing.F) {
	f.Add((&state{enqueuedAt: 1, visibleAt: 2, deadSince: 3, receives: 4, nonce: [nonceSize]byte{5}}).encode())
	f.Add([]byte{version})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeState(b); err == nil && !bytes.Equal(s.encode(), b) {
			t.Errorf("%x is taken for %x", b, s.encode())
		}
	})
}

func FuzzDoors(f *testing.F) {
	for _, seed := range [][2]string{
		{"/enqueue", `{"message":{"a":1},"queue":"q"}`},
		{"/enqueue", `{"message":null}`},
		{"/receive", `{"max":10,"wait":0,"visibility_timeout":1e3}`},
		{"/receive", `{"max":1e400}`},
		{"/ack", `{"receipt":"AQID"}`},
		{"/queues", ``},
		{"/%2e%2e", `[]`},
	} {
		f.Add(seed[0], seed[1])
	}
	s := openStore(f, vfs.NewMem(), func(c *Config) { c.MaxWait = 0; c.MaxMessages = 100; c.MaxQueues = 10 })
	f.Cleanup(func() { closeStore(f, s) })
	d := &door{store: s, cfg: s.cfg, health: kit.NewHealth()}
	f.Fuzz(func(t *testing.T, path, body string) {
		for _, method := range []string{"GET", "POST"} {
			r := httptest.NewRequest(method, "/", strings.NewReader(body))
			r.URL.Path = path
			w := httptest.NewRecorder()
			d.ServeHTTP(w, r)
			if w.Code >= 500 {
				t.Errorf("%s %q %q: %d %s", method, path, body, w.Code, w.Body)
			}
			if w.Code != http.StatusNoContent && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s %q %q: not JSON: %s", method, path, body, w.Body)
			}
		}
	})
}
