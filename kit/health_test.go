package kit

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestHealth(t *testing.T) {
	for _, c := range []struct {
		name   string
		events func(*Health)
		status int
		want   string
	}{
		{"begins as starting", func(*Health) {}, 503, "starting"},
		{"is OK once it serves", (*Health).OK, 200, "OK"},
		{"says why it cannot serve", func(h *Health) { h.OK(); h.Fail("the disk is full") }, 503, "the disk is full"},
		{"recovers", func(h *Health) { h.Fail("the disk is full"); h.OK() }, 200, "OK"},
		{"stays 200 without a part, and names the parts in order", func(h *Health) {
			h.OK()
			h.Reduce("queue", "timeout")
			h.Reduce("cache", "refused")
		}, 200, "OK, reduced: cache: refused; queue: timeout"},
		{"keeps the latest reason for a part", func(h *Health) { h.OK(); h.Reduce("cache", "a"); h.Reduce("cache", "b") }, 200, "OK, reduced: cache: b"},
		{"is whole again when the part is back", func(h *Health) { h.OK(); h.Reduce("cache", "a"); h.Restore("cache") }, 200, "OK"},
		{"a failure outweighs a missing part", func(h *Health) { h.Reduce("cache", "a"); h.Fail("full") }, 503, "full"},
		{"drains for good", func(h *Health) { h.OK(); h.Drain(); h.OK(); h.Fail("x") }, 503, "draining"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := NewHealth()
			c.events(h)
			if status, sentence := h.Status(); status != c.status || sentence != c.want {
				t.Errorf("got %d %q, want %d %q", status, sentence, c.status, c.want)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
			if w.Code != c.status || w.Body.String() != c.want+"\n" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("answers %d %q %v, want %d %q, not to be stored", w.Code, w.Body, w.Header(), c.status, c.want)
			}
		})
	}
}

func TestReduceAndRestoreReportNews(t *testing.T) {
	h := NewHealth()
	for i, got := range []bool{h.Restore("a"), h.Reduce("a", "x"), h.Reduce("a", "y"), h.Restore("a"), h.Restore("a")} {
		if want := i == 1 || i == 3; got != want {
			t.Errorf("step %d is news: %v, want %v", i, got, want)
		}
	}
}

func TestADrainIsNoticed(t *testing.T) {
	ask := func(h http.Handler) {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/healthz", nil))
	}
	isNoticed := func(noticed <-chan struct{}) bool {
		select {
		case <-noticed:
			return true
		default:
			return false
		}
	}
	synctest.Test(t, func(t *testing.T) {
		h := NewHealth()
		admin := Admin(h, prometheus.NewRegistry(), nil)
		ask(h) // told 503, but of the start
		h.OK()
		ask(h)
		time.Sleep(3 * time.Second)
		ask(admin)
		noticed, lastAsked := h.Drain()
		if isNoticed(noticed) || lastAsked != 3*time.Second {
			t.Errorf("noticed %v, last asked %v ago; want nobody, and 3s, as the admin listener does not count", isNoticed(noticed), lastAsked)
		}
		ask(admin)
		if isNoticed(noticed) {
			t.Error("the admin listener's asker counts as one who watches")
		}
		ask(h)
		ask(h)
		if again, _ := h.Drain(); !isNoticed(noticed) || !isNoticed(again) {
			t.Error("who was told of the drain did not count")
		}
	})
}

func TestAdmin(t *testing.T) {
	registry := NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "minicloud_test_total", Help: "h"}))
	health := NewHealth()
	health.OK()
	admin := Admin(health, registry, map[string]http.Handler{"GET /targets": http.RedirectHandler("/x", http.StatusFound)})
	for _, c := range []struct {
		name, method, path string
		status             int
		contains           string
	}{
		{"/metrics has the service's own", "GET", "/metrics", 200, "\nminicloud_test_total 0\n"},
		{"/metrics has the runtime's", "GET", "/metrics", 200, "\ngo_goroutines "},
		{"/metrics has the process's", "GET", "/metrics", 200, "\nprocess_start_time_seconds "},
		{"/healthz is the health", "GET", "/healthz", 200, "OK\n"},
		{"/readyz is the health", "GET", "/readyz", 200, "OK\n"},
		{"/debug/pprof/ lists profiles", "GET", "/debug/pprof/", 200, "goroutine"},
		{"/debug/pprof/goroutine is one of them", "GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile:"},
		{"/debug/pprof/cmdline is the command", "GET", "/debug/pprof/cmdline", 200, "test"},
		{"a service's own pattern is served", "GET", "/targets", 302, ""},
		{"what is unknown is not found", "GET", "/nothing", 404, ""},
		{"what is read is not written", "POST", "/metrics", 405, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			admin.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.contains) {
				t.Errorf("got %d %.300s, want %d and %q in it", w.Code, w.Body, c.status, c.contains)
			}
		})
	}
}

func TestServeAdminCutsAProfileOffAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln, began, done := newPipes(), make(chan struct{}), make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			done <- ServeAdmin(ctx, ln, (&logs{}).logger(), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				close(began)
				<-r.Context().Done()
			}))
		}()
		client := NewHTTPClient(ln.dial, 0)
		go func() {
			if resp, err := client.Get("http://admin/"); err == nil {
				_ = resp.Body.Close()
			}
		}()
		<-began
		start := time.Now()
		cancel()
		if err := <-done; err != nil || time.Since(start) != time.Second {
			t.Errorf("ended after %v with %v, want 1s, nil", time.Since(start), err)
		}
	})
}
