package queue

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
	"minicloud.internal/services/queue/client"
)

func TestDoors(t *testing.T) {
	base, _, _ := serve(t, func(c *Config) { c.MaxMessageSize = 100; c.MaxMessages = 3 })
	long := `{"message":"` + strings.Repeat("x", 99) + `"}`
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		answer                   string // a regular expression
	}{
		{"health is OK", "GET", "/healthz", "", 200, `^OK\n$`},
		{"receive on a queue that nobody knows is empty", "POST", "/receive", `{"queue":"new"}`, 200, `^\{"messages":\[\]\}\n$`},
		{"there are no queues before the first message", "GET", "/queues", "", 200, `^\{"queues":\[\]\}\n$`},
		{"enqueue answers with an id", "POST", "/enqueue", `{"message":{"a":[1,2.50,null]}}`, 201, `^\{"id":"[0-9a-f]{32}"\}\n$`},
		{"null is a message", "POST", "/enqueue", `{"message":null,"queue":"nulls"}`, 201, `id`},
		{"receive answers with the message as it was", "POST", "/receive", `{}`, 200,
			`^\{"messages":\[\{"id":"[0-9a-f]{32}","receipt":"[A-Za-z0-9_-]+","message":\{"a":\[1,2\.50,null\]\},"receives":1,"enqueued_at":"[0-9T:.-]+Z"\}\]\}\n$`},
		{"the queues are listed with their numbers", "GET", "/queues", "", 200,
			`^\{"queues":\[\{"name":"default","ready":0,"in_flight":1\},\{"name":"nulls","ready":1,"in_flight":0\}\]\}\n$`},
		{"null comes out as null", "POST", "/receive", `{"queue":"nulls","visibility_timeout":0.5}`, 200, `"message":null`},
		{"a message at the limit is taken", "POST", "/enqueue", `{"message":"` + strings.Repeat("x", 98) + `"}`, 201, `id`},
		{"a message over the limit is 413", "POST", "/enqueue", long, 413, `has 101 bytes, over the limit of 100`},
		{"a body over the limit is 413", "POST", "/enqueue", `{"message":"` + strings.Repeat("x", 9000) + `"}`, 413, `over the limit`},
		{"a message that is absent is 422", "POST", "/enqueue", `{}`, 422, `"field":"message"`},
		{"a queue's name with a slash is 422", "POST", "/enqueue", `{"message":1,"queue":"a/b"}`, 422, `"field":"queue"`},
		{"an empty queue's name is 422", "POST", "/receive", `{"queue":""}`, 422, `"field":"queue"`},
		{"an unknown field is 400", "POST", "/enqueue", `{"message":1,"delay":1}`, 400, `unknown field`},
		{"malformed JSON is 400", "POST", "/enqueue", `{"message":`, 400, `ends in the middle`},
		{"two values are 400", "POST", "/ack", `{"receipt":"x"}{}`, 400, `more than one`},
		{"an empty body is 400", "POST", "/receive", ``, 400, `empty`},
		{"a max of 0 is 422", "POST", "/receive", `{"max":0}`, 422, `expected 1 to 10`},
		{"a max of 11 is 422", "POST", "/receive", `{"max":11}`, 422, `expected 1 to 10`},
		{"a max that is no integer is 400", "POST", "/receive", `{"max":1.5}`, 400, `"max\\"`},
		{"a negative wait is 422", "POST", "/receive", `{"wait":-1}`, 422, `"field":"wait"`},
		{"a wait over the limit is 422", "POST", "/receive", `{"wait":20.1}`, 422, `expected 0 to 20 seconds`},
		{"a negative visibility timeout is 422", "POST", "/receive", `{"visibility_timeout":-0.1}`, 422, `"field":"visibility_timeout"`},
		{"a visibility timeout over 12 hours is 422", "POST", "/receive", `{"visibility_timeout":43201}`, 422, `43200`},
		{"a number too large for any field is 400", "POST", "/receive", `{"wait":1e999}`, 400, `wait`},
		{"an absent receipt is 422", "POST", "/ack", `{}`, 422, `"field":"receipt"`},
		{"a receipt that is none is 404", "POST", "/ack", `{"receipt":"AAAA"}`, 404, `latest delivery`},
		{"a path that is none is 404 and names the doors", "GET", "/", "", 404, `POST /enqueue, POST /receive, POST /ack and GET /queues`},
		{"a path below a door is 404", "POST", "/enqueue/x", `{"message":1}`, 404, `nothing at this path`},
		{"a message in a queue that is full is fine below the limit", "POST", "/enqueue", `{"message":3}`, 201, `id`},
		{"above max_messages it is 429", "POST", "/enqueue", `{"message":4}`, 429, `holds 3 messages`},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, header, answer := kittest.Call(t, c.method, base+c.path, c.body)
			if status != c.status || !regexp.MustCompile(c.answer).MatchString(answer) {
				t.Errorf("%d %s, expected %d %s", status, answer, c.status, c.answer)
			}
			if status >= 400 && header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("the problem is %s", header.Get("Content-Type"))
			}
			if status == 429 && header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
	t.Run("another method is 405 with Allow", func(t *testing.T) {
		for path, allow := range map[string]string{"/enqueue": "POST", "/receive": "POST", "/ack": "POST", "/queues": "GET, HEAD"} {
			status, header, answer := kittest.Call(t, "PUT", base+path, "")
			if status != 405 || header.Get("Allow") != allow {
				t.Errorf("PUT %s: %d, Allow %q: %s", path, status, header.Get("Allow"), answer)
			}
		}
	})
	t.Run("another content type is 415", func(t *testing.T) {
		resp, err := http.Post(base+"/enqueue", "text/plain", strings.NewReader(`{"message":1}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 415 {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
}

func TestClient(t *testing.T) {
	_, c, s := serve(t, nil)
	ctx := t.Context()
	t.Run("what is enqueued is received and acknowledged once", func(t *testing.T) {
		sent, err := c.Enqueue(ctx, map[string]any{"spell": "<Lumos> & Nox"})
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Receive(ctx, 10, 0, 0)
		if err != nil || len(got) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
		m := got[0]
		var event struct{ Spell string }
		if err := json.Unmarshal(m.Message, &event); err != nil || event.Spell != "<Lumos> & Nox" {
			t.Errorf("%s, %v", m.Message, err)
		}
		if m.ID != sent || m.Receives != 1 || time.Since(m.EnqueuedAt).Abs() > time.Minute || m.DeadSince != nil {
			t.Errorf("got %+v", m)
		}
		if err := c.Ack(ctx, m.Receipt); err != nil {
			t.Error(err)
		}
		var p *kit.Problem
		if err := c.Ack(ctx, m.Receipt); !errors.As(err, &p) || p.Status != 404 {
			t.Errorf("the second time: %v", err)
		}
	})
	t.Run("a named queue is another, and its dead letters say since when", func(t *testing.T) {
		orders := c.Queue("orders")
		if _, err := orders.Enqueue(ctx, 1); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Receive(ctx, 10, 0, 0); err != nil || len(got) != 0 {
			t.Errorf("default has %v, %v", got, err)
		}
		for range DefaultConfig().MaxReceives {
			if got, err := orders.Receive(ctx, 1, 5*time.Second, time.Nanosecond); err != nil || len(got) != 1 {
				t.Fatalf("%v, %v", got, err)
			}
		}
		dead, err := c.Queue("orders.dead").Receive(ctx, 1, 5*time.Second, 0)
		if err != nil || len(dead) != 1 || dead[0].DeadSince == nil {
			t.Fatalf("%+v, %v", dead, err)
		}
	})
	t.Run("a client that leaves takes no message along", func(t *testing.T) {
		leaving, cancel := context.WithCancel(ctx)
		gone := make(chan error, 1)
		c := c.Queue("leaving")
		go func() {
			_, err := c.Receive(leaving, 1, 20*time.Second, time.Hour)
			gone <- err
		}()
		awaitWaiters(t, s.store, "leaving", 1)
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		awaitWaiters(t, s.store, "leaving", 0) // the server has seen it go
		if _, err := c.Enqueue(ctx, 1); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Receive(ctx, 1, 0, 0); err != nil || len(got) != 1 || got[0].Receives != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("a server that is not there is an error, and no problem document", func(t *testing.T) {
		hc := kit.NewHTTPClient(nil, time.Second)
		_, err := client.New("http://127.0.0.1:1", hc).Enqueue(ctx, 1)
		var p *kit.Problem
		if err == nil || errors.As(err, &p) {
			t.Errorf("got %v", err)
		}
	})
}

// awaitWaiters returns when so many long polls stand in line.
func awaitWaiters(t *testing.T, s *Store, name string, n int) {
	t.Helper()
	kittest.Eventually(t, "so many wait", func() bool {
		q := s.find(name)
		if q == nil {
			return false
		}
		defer s.release(q)
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.waiters.list.Len() == n
	})
}

func TestServe(t *testing.T) {
	t.Run("the end of its context answers long polls, keeps the messages, and returns nil", func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.DataDir = t.TempDir()
		for round := range 2 {
			s, err := New(cfg, discard(), prometheus.NewRegistry())
			if err != nil {
				t.Fatal(err)
			}
			ln, err := kit.Listen("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Serve(ctx, ln) }()
			hc := kit.NewHTTPClient(nil, 0)
			c := client.New("http://"+ln.Addr().String(), hc)
			if round == 0 {
				if _, err := c.Enqueue(t.Context(), "kept"); err != nil {
					t.Fatal(err)
				}
			} else if got, err := c.Receive(t.Context(), 1, 0, 0); err != nil || len(got) != 1 || string(got[0].Message) != `"kept"` {
				t.Errorf("%v, %v", got, err)
			}
			polled := make(chan error, 1)
			go func() {
				_, err := c.Queue("empty").Receive(t.Context(), 1, 20*time.Second, 0)
				polled <- err
			}()
			awaitWaiters(t, s.store, "empty", 1)
			stop()
			if err := <-polled; err != nil {
				t.Errorf("the long poll: %v", err)
			}
			if err := <-ended; err != nil {
				t.Errorf("Serve: %v", err)
			}
			hc.CloseIdleConnections()
		}
	})
	t.Run("a store that does not open is returned, and the listener closed", func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.DataDir = "/dev/null/queue"
		s, err := New(cfg, discard(), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		ln, err := kit.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Serve(t.Context(), ln); err == nil {
			t.Error("Serve returned nil")
		}
		if _, err := ln.Accept(); err == nil {
			t.Error("the listener is open")
		}
	})
	t.Run("the metrics say what happened, before, during and after", func(t *testing.T) {
		reg := prometheus.NewRegistry()
		s, err := New(DefaultConfig(), discard(), reg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(DefaultConfig(), discard(), reg); err == nil {
			t.Error("two servers share a registry")
		}
		if _, err := reg.Gather(); err != nil {
			t.Errorf("before it is open: %v", err)
		}
		s.store.fs = vfs.NewMem()
		if err := s.openStore(); err != nil {
			t.Fatal(err)
		}
		enqueue(t, s.store, "q", "1")
		enqueue(t, s.store, "q", "2")
		if err := s.store.Ack(receive(t, s.store, "q", 1, time.Hour)[0].Receipt); err != nil {
			t.Fatal(err)
		}
		receive(t, s.store, "q", 1, 0)
		receive(t, s.store, "q", 1, time.Hour)
		text := scrape(t, reg)
		for _, line := range []string{
			"minicloud_queue_enqueued_total 2", "minicloud_queue_received_total 3", "minicloud_queue_redelivered_total 1",
			"minicloud_queue_acked_total 1", "minicloud_queue_dead_total 0", "minicloud_queue_waiting_receivers 0",
			`minicloud_queue_messages{state="ready"} 0`, `minicloud_queue_messages{state="in_flight"} 1`,
			`minicloud_queue_messages{state="dead"} 0`, "minicloud_queue_queues 1", "minicloud_queue_oldest_message_age_seconds",
			"minicloud_queue_disk_bytes",
		} {
			if !strings.Contains(text, line) {
				t.Errorf("no line %s in\n%s", line, text)
			}
		}
		if err := s.closeStore(); err != nil {
			t.Fatal(err)
		}
		if _, err := reg.Gather(); err != nil {
			t.Errorf("after it closed: %v", err)
		}
	})
}

func scrape(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	kit.Admin(kit.NewHealth(), reg, nil).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}
