package lb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"minicloud.internal/kit"
)

// dying counts the requests that reach it, and cuts the connection of each.
func dying(t *testing.T) (string, *atomic.Int64) {
	var count atomic.Int64
	_, addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		count.Add(1)
		panic(http.ErrAbortHandler)
	})
	return addr, &count
}

func TestRefusedConnection(t *testing.T) {
	large := strings.Repeat("x", 3*(64<<10))
	for name, c := range map[string]struct{ method, body string }{
		"GET":                                {"GET", ""},
		"POST":                               {"POST", "small"},
		"POST with a body too large to keep": {"POST", large},
		"an unknown method":                  {"BREW", "small"},
	} {
		t.Run(name+" goes to the next target, and the dead one is down at once", func(t *testing.T) {
			s, gone := backend(t, named("gone"))
			_, alive := backend(t, named("alive"))
			lb := start(t, patient(gone, alive))
			mark := lb.log.mark()
			s.Close()
			if code, body, _ := do(t, client(t), c.method, lb.url("/a"), c.body); code != 200 || body != "alive" {
				t.Errorf("got %d %q", code, body)
			}
			lb.log.wait(t, mark, "Healthy targets: 1")
			if got := lb.metric(t, "retries_total", "target", gone); got != 1 {
				t.Errorf("%v retries counted", got)
			}
		})
	}
	t.Run("nobody left is a 503 that says when to come back", func(t *testing.T) {
		s, gone := backend(t, named("gone"))
		cfg := patient(gone)
		cfg.HealthCheckInterval = 7 * time.Second
		lb, c := start(t, cfg), client(t)
		s.Close()
		for i, what := range []string{"the one that finds out", "the one after it"} {
			code, body, h := do(t, c, "POST", lb.url("/a"), "b")
			if code != 503 || !strings.HasPrefix(body, `{"title":"Service Unavailable"`) || h.Get("Retry-After") != []string{"1", "7"}[i] || len(h["X-Request-Id"]) != 1 {
				t.Errorf("%s got %d %s, Retry-After %q", what, code, body, h.Get("Retry-After"))
			}
			if strings.Contains(body, "127.0.0.1") {
				t.Errorf("%s is told an address: %s", what, body)
			}
		}
	})
	t.Run("retries = 0 means one target", func(t *testing.T) {
		s, gone := backend(t, named("gone"))
		_, alive := backend(t, named("alive"))
		cfg := patient(gone, alive)
		cfg.Retries = 0
		lb := start(t, cfg)
		s.Close()
		if code, _, _ := do(t, client(t), "GET", lb.url("/a"), ""); code != 503 {
			t.Errorf("got %d", code)
		}
	})
	t.Run("a path route has no other target than its own", func(t *testing.T) {
		s, gone := backend(t, named("gone"))
		_, alive := backend(t, named("alive"))
		cfg := patient(alive, gone)
		cfg.PathRoutes = []PathRoute{{Path: "/files", Address: gone}}
		lb, c := start(t, cfg), client(t)
		s.Close()
		if code, _, _ := do(t, c, "GET", lb.url("/files/a"), ""); code != 503 {
			t.Errorf("/files got %d", code)
		}
		if code, body, _ := do(t, c, "GET", lb.url("/api"), ""); code != 200 || body != "alive" {
			t.Errorf("/api got %d %q", code, body)
		}
	})
}

func TestCutConnection(t *testing.T) {
	for name, c := range map[string]struct {
		method, body string
		code         int
	}{
		"GET is repeated":                         {"GET", "", 200},
		"PUT with a small body is repeated":       {"PUT", "small", 200},
		"PUT with a body too large to keep, not":  {"PUT", strings.Repeat("x", 3*(64<<10)), 502},
		"DELETE is repeated":                      {"DELETE", "", 200},
		"POST is not, for it may have been heard": {"POST", "small", 502},
		"PATCH is not":                            {"PATCH", "small", 502},
	} {
		t.Run(name, func(t *testing.T) {
			cut, count := dying(t)
			var repeated atomic.Int64
			_, alive := backend(t, func(w http.ResponseWriter, r *http.Request) {
				repeated.Add(1)
				named("alive")(w, r)
			})
			lb := start(t, patient(cut, alive))
			mark := lb.log.mark()
			code, body, _ := do(t, client(t), c.method, lb.url("/a"), c.body)
			if got := repeated.Load() == 1; got != (c.code == 200) {
				t.Errorf("repeated: %v", got)
			}
			if code != c.code || code == 200 && body != "alive" {
				t.Errorf("got %d %s, expected %d", code, body, c.code)
			}
			if got := count.Load(); got != 1 {
				t.Errorf("the target heard it %d times", got)
			}
			// It answers its probe, so the doubt is gone without any interval.
			lb.log.wait(t, mark, "target in doubt")
			lb.log.wait(t, mark, "Healthy targets: 2")
		})
	}
	t.Run("a request that cuts every connection takes the targets from nobody", func(t *testing.T) {
		var addrs []string
		for range 2 {
			_, addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/poison" {
					panic(http.ErrAbortHandler)
				}
				_, _ = io.WriteString(w, "fine")
			})
			addrs = append(addrs, addr)
		}
		lb, c := start(t, patient(addrs...)), client(t)
		for range 20 {
			if code, _, _ := do(t, c, "GET", lb.url("/poison"), ""); code != 502 {
				t.Errorf("the poison got %d", code)
			}
			if code, body, _ := do(t, c, "POST", lb.url("/a"), "b"); code != 200 {
				t.Errorf("the next request got %d %s", code, body)
			}
		}
	})
	t.Run("an answer that breaks off is not made whole, and raises doubt", func(t *testing.T) {
		_, addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		lb := start(t, patient(addr))
		mark := lb.log.mark()
		res, err := client(t).Get(lb.url("/a"))
		if err == nil {
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
		}
		if !isCut(err) {
			t.Errorf("the client sees %v", err)
		}
		lb.log.wait(t, mark, "target in doubt")
	})
}

func TestReusedConnection(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		code   int
		heard  int64
	}{
		"PUT is repeated on a fresh one, at the same target": {"PUT", 200, 2},
		"GET is repeated on a fresh one, at the same target": {"GET", 200, 2},
		"POST is not repeated":                               {"POST", 502, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var heard atomic.Int64
			_, addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if r.URL.Path == "/second" && heard.Add(1) == 1 {
					panic(http.ErrAbortHandler)
				}
			})
			lb, cl := start(t, patient(addr)), client(t)
			do(t, cl, "GET", lb.url("/first"), "")
			if code, body, _ := do(t, cl, c.method, lb.url("/second"), "small"); code != c.code {
				t.Errorf("got %d %s, expected %d", code, body, c.code)
			}
			if got := heard.Load(); got != c.heard {
				t.Errorf("heard %d times, expected %d", got, c.heard)
			}
		})
	}
	t.Run("a POST goes out on a fresh one where the old one takes not a byte", func(t *testing.T) {
		var heard, connections atomic.Int64
		_, addr := backend(t, func(w http.ResponseWriter, r *http.Request) { heard.Add(1) })
		cfg := patient(addr)
		dead := &atomic.Bool{}
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := kit.DefaultDial(ctx, network, address)
			if connections.Add(1) == 2 { // the first is the probe's
				c = &mute{c, dead}
			}
			return c, err
		}
		lb, cl := start(t, cfg), client(t)
		do(t, cl, "GET", lb.url("/first"), "")
		dead.Store(true)
		if code, body, _ := do(t, cl, "POST", lb.url("/second"), "small"); code != 200 || heard.Load() != 2 {
			t.Errorf("got %d %s, heard %d requests in all", code, body, heard.Load())
		}
	})
}

func TestNameThatDoesNotResolveYet(t *testing.T) {
	_, alive := backend(t, named("alive"))
	_, late := backend(t, named("late"))
	var known atomic.Bool
	cfg := quick(alive, "late:1")
	cfg.PathRoutes = []PathRoute{{Path: "/late", Address: "late:1"}}
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "late:1" {
			if !known.Load() {
				return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "late", IsNotFound: true}}
			}
			address = late
		}
		return kit.DefaultDial(ctx, network, address)
	}
	lb, c := start(t, cfg), client(t)
	if code, body, _ := do(t, c, "GET", lb.url("/a"), ""); code != 200 || body != "alive" {
		t.Errorf("the other target answers %d %q", code, body)
	}
	if code, _, _ := do(t, c, "GET", lb.url("/late"), ""); code != 503 {
		t.Errorf("the unknown one answers %d", code)
	}
	mark := lb.log.mark()
	known.Store(true)
	lb.log.wait(t, mark, "Healthy targets: 2")
	if code, body, _ := do(t, c, "GET", lb.url("/late"), ""); code != 200 || body != "late" {
		t.Errorf("once known it answers %d %q", code, body)
	}
}

// mute is a connection that takes no more once it is dead.
type mute struct {
	net.Conn
	dead *atomic.Bool
}

func (c *mute) Write(p []byte) (int, error) {
	if c.dead.Load() {
		return 0, errors.New("broken pipe")
	}
	return c.Conn.Write(p)
}

func TestDrainOfTheLoadBalancer(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	_, addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		_, _ = io.WriteString(w, "done")
	})
	lb, c := start(t, patient(addr)), client(t)
	stopped := make(chan struct{})
	go func() {
		<-arrived
		go func() { lb.stop(); close(stopped) }()
		for status := 200; status == 200; { // until the drain has begun
			status, _ = lb.Health().Status()
		}
		close(release)
	}()
	if code, body, _ := do(t, c, "POST", lb.url("/a"), "x"); code != 200 || body != "done" {
		t.Errorf("what was in flight got %d %q", code, body)
	}
	<-stopped
}

func TestConnectionsOfATargetThatGoesDown(t *testing.T) {
	var sick atomic.Bool
	var used atomic.Value
	closed := make(chan string, 100)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			used.Store(r.RemoteAddr)
		} else if sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			select {
			case closed <- c.RemoteAddr().String():
			default: // a probe's: there are many
			}
		}
	}
	s.Start()
	defer s.Close()
	lb := start(t, quick(s.Listener.Addr().String()))
	do(t, client(t), "GET", lb.url("/a"), "")
	sick.Store(true)
	timeout := time.After(patience)
	for {
		select {
		case addr := <-closed:
			if addr == used.Load() {
				return
			}
		case <-timeout:
			t.Fatal("the connection stays open, for a later request to meet its end")
		}
	}
}

// replica is a service of this cloud, which can be stopped and started.
type replica struct {
	t    *testing.T
	addr string
	stop func()
}

func (r *replica) start() {
	ln, err := kit.Listen(r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s := &kit.HTTPServer{Handler: named("replica"), Logger: slog.New(slog.DiscardHandler), Health: kit.NewHealth(), DrainDelay: patience}
	go func() {
		defer close(done)
		if err := s.Serve(ctx, ln); err != nil {
			r.t.Error(err)
		}
	}()
	r.stop = sync.OnceFunc(func() { cancel(); <-done })
}

func TestReplicaStoppedUnderLoad(t *testing.T) {
	replicas := make([]*replica, 2)
	for i := range replicas {
		replicas[i] = &replica{t: t, addr: "127.0.0.1:0"}
		replicas[i].start()
		defer func() { replicas[i].stop() }()
	}
	lb := start(t, quick(replicas[0].addr, replicas[1].addr))
	ctx, cancel := context.WithCancel(t.Context())
	var workers sync.WaitGroup
	var answered atomic.Int64
	for i := range 8 {
		c := client(t)
		workers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				r, _ := http.NewRequest([]string{"GET", "POST", "PUT"}[(i+n)%3], lb.url(fmt.Sprintf("/%d/%d", i, n)), bytes.NewReader([]byte("body")))
				res, err := c.Do(r)
				if err != nil {
					t.Errorf("request %d/%d: %v", i, n, err)
					return
				}
				body, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != 200 {
					t.Errorf("request %d/%d: %d %s", i, n, res.StatusCode, body)
				}
				answered.Add(1)
			}
		})
	}
	for range 2 {
		for _, r := range replicas {
			mark, before := lb.log.mark(), answered.Load()
			r.stop()
			lb.log.wait(t, mark, "Healthy targets: 1")
			mark = lb.log.mark()
			r.start()
			lb.log.wait(t, mark, "Healthy targets: 2")
			if answered.Load() == before {
				t.Error("no request was answered meanwhile: the test proves nothing")
			}
		}
	}
	cancel()
	workers.Wait()
}

func TestTwoReplicasShareTheLoad(t *testing.T) {
	var counts [3]atomic.Int64
	var addrs []string
	var stop func()
	for i := range counts {
		s, addr := backend(t, func(http.ResponseWriter, *http.Request) { counts[i].Add(1) })
		addrs = append(addrs, addr)
		if i == 1 {
			stop = s.Close
		}
	}
	lb, c := start(t, quick(addrs...)), client(t)
	mark := lb.log.mark()
	stop()
	lb.log.wait(t, mark, "Healthy targets: 2")
	for range 100 {
		do(t, c, "GET", lb.url("/a"), "")
	}
	if a, b, d := counts[0].Load(), counts[1].Load(), counts[2].Load(); a != 50 || b != 0 || d != 50 {
		t.Errorf("the shares are %d, %d, %d, expected 50, 0, 50", a, b, d)
	}
}
