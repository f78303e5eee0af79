package lb

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
	"minicloud.internal/lb/engine"
	routing "minicloud.internal/lb/route"
)

func TestStructuredAccessLog(t *testing.T) {
	_, target := backend(t, named("fine"))
	var out bytes.Buffer // read once the load balancer has ended
	lb, err := New(quick(target), kit.NewLogger(&out, "info", "json", "lb"), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := kit.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- lb.Serve(ctx, ln) }()
	do(t, client(t), "POST", "http://"+ln.Addr().String()+"/api/spells?q=secret", "four")
	raw(t, ln.Addr().String(), "GET / HTTP/1.1\r\n\r\n")
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var requests []map[string]any
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if m["msg"] == "request" {
			requests = append(requests, m)
		}
	}
	if len(requests) != 2 {
		t.Fatalf("the log has %d requests: %s", len(requests), &out)
	}
	t.Run("a request is one line with all that is known of it", func(t *testing.T) {
		got := requests[0]
		for _, key := range []string{"total", "first_byte", "connect"} {
			if s, ok := got[key].(float64); !ok || s <= 0 || s > patience.Seconds() {
				t.Errorf("%s is %v", key, got[key])
			}
			delete(got, key)
		}
		delete(got, "queue")
		if id, _ := got["request_id"].(string); len(id) != 32 {
			t.Errorf("the id is %q", id)
		}
		for key, want := range map[string]any{
			"level": "INFO", "method": "POST", "host": ln.Addr().String(), "path": "/api/spells", "status": 200.0, "reason": "answered",
			"route": "default", "target": target, "client": "127.0.0.1", "bytes_in": 4.0, "bytes_out": 4.0, "attempts": 1.0,
		} {
			if got[key] != want {
				t.Errorf("%s is %v, expected %v", key, got[key], want)
			}
		}
	})
	t.Run("what is refused is there too", func(t *testing.T) {
		if got := requests[1]; got["status"] != 400.0 || got["reason"] != "refused" || got["route"] != noRoute || got["target"] != "" {
			t.Errorf("got %v", got)
		}
	})
	t.Run("a query is not logged, it may hold a secret", func(t *testing.T) {
		if strings.Contains(out.String(), "secret") {
			t.Error("it is")
		}
	})
	t.Run("the sentences are for the text form", func(t *testing.T) {
		if strings.Contains(out.String(), "Request path") {
			t.Error("they are there")
		}
	})
}

func TestAccessLogInOrder(t *testing.T) {
	log := newLogbook()
	a := newAccessLog(slog.New(log))
	r := a.recorder()
	for range 3 * accessLogSize / 4 {
		r.Arrived([]byte("/a\x1b[2J\r\nmsg=\"forged\" \\\xff"), []byte("id"))
		r.Given(&routing.Route{Specific: true}, "b:1", []byte("id"))
	}
	if got, want := a.dropped.Load(), uint64(accessLogSize/2); got != want {
		t.Errorf("%d lines dropped, expected %d", got, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.run(ctx) // writes what is there
	lines := log.since(0, "")
	t.Run("what is there is written at the end, and what is not is reported", func(t *testing.T) {
		if len(lines) != accessLogSize+1 || lines[accessLogSize] != "access log lines dropped, they come faster than they can be written lines=2048" {
			t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
		}
	})
	t.Run("a path forges no line", func(t *testing.T) {
		if want := `Request path: /a\x1b[2J\x0d\x0amsg="forged" \\xff request_id=id`; lines[0] != want {
			t.Errorf("got %s\nwant %s", lines[0], want)
		}
		if want := "Routing to specific path-based backend: b:1 request_id=id"; lines[1] != want {
			t.Errorf("got %s", lines[1])
		}
	})
}

func TestAccessLogIsPromptAndWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLogbook()
		a := newAccessLog(slog.New(log))
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { a.run(ctx) })
		for _, path := range []string{"/first", "/second"} {
			mark := log.mark()
			a.recorder().Arrived([]byte(path), nil)
			synctest.Wait() // the clock stands still
			if got := log.since(mark, "Request path: "+path); len(got) != 1 {
				t.Errorf("%s is not written at once", path)
			}
		}
		cancel()
		group.Wait()
	})
}

// stuck is a log whose reader has gone away.
type stuck struct{ entered, leave chan struct{} }

func (s *stuck) Write(p []byte) (int, error) {
	select {
	case s.entered <- struct{}{}:
	default:
	}
	<-s.leave
	return len(p), nil
}

func TestAccessLogThatIsStuck(t *testing.T) {
	s := &stuck{make(chan struct{}, 1), make(chan struct{})}
	a := newAccessLog(slog.New(slog.NewTextHandler(s, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { a.run(ctx) })
	a.recorder().Arrived([]byte("/a"), nil)
	<-s.entered
	for range accessLogSize + 9 {
		a.recorder().Arrived([]byte("/a"), nil) // returns all the same
	}
	if got := a.dropped.Load(); got < 9 {
		t.Errorf("%d lines dropped", got)
	}
	close(s.leave)
	cancel()
	group.Wait()
}

func TestAccessLogFromMany(t *testing.T) {
	var written lines
	a := newAccessLog(slog.New(slog.NewTextHandler(&written, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	var run, writers sync.WaitGroup
	run.Go(func() { a.run(ctx) })
	const each = 20_000
	for range 4 {
		writers.Go(func() {
			for range each {
				a.recorder().Arrived([]byte("/path"), []byte("id"))
			}
		})
	}
	writers.Wait()
	cancel()
	run.Wait()
	if got := written.paths + int(a.dropped.Load()); got != 4*each || written.paths == 0 {
		t.Errorf("%d lines and %d dropped, expected %d in all", written.paths, a.dropped.Load(), 4*each)
	}
}

type lines struct{ paths int }

func (l *lines) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(`msg="Request path: /path"`)) {
		l.paths++
	}
	return len(p), nil
}

// raced is true under the race detector, which allocates.
var raced bool

func TestRecordingAllocatesNothing(t *testing.T) {
	if raced {
		t.Skip("under the race detector")
	}
	a := newAccessLog(slog.New(slog.NewTextHandler(io.Discard, nil)))
	record := &engine.Record{
		Client: netip.MustParseAddr("192.0.2.1"), Method: []byte("GET"), Host: []byte("example.com"),
		Path: []byte("/api/spells"), RequestID: []byte("0123456789abcdef0123456789abcdef"), Total: time.Millisecond,
	}
	route := &routing.Route{}
	drain := func() {
		for e := a.ring.next(); e != nil; e = a.ring.next() {
			a.clear(e)
		}
	}
	record1 := func() {
		sentences{a}.Arrived(record.Path, record.RequestID)
		sentences{a}.Given(route, "a:1", record.RequestID)
		structuredLog{a}.Done(record)
		drain()
	}
	for range accessLogSize {
		record1() // every slot has its buffer
	}
	if n := testing.AllocsPerRun(1000, record1); n != 0 {
		t.Errorf("%v allocations for a request", n)
	}
}

func TestAccessLogOff(t *testing.T) {
	if r := newAccessLog(kit.NewLogger(io.Discard, "warn", "text", "lb")).recorder(); r != nil {
		t.Error("a log that shows no info is written")
	}
}
