package lb

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"minicloud.internal/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds a wait for something that must come; it is never waited out
// in a test that passes.
const patience = 20 * time.Second

// A logbook is a log handler that tests wait on.
type logbook struct {
	mu    sync.Mutex
	lines []string // message, then attributes as " key=value"
	more  chan struct{}
}

func newLogbook() *logbook { return &logbook{more: make(chan struct{})} }

func (l *logbook) Enabled(context.Context, slog.Level) bool { return true }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logbook) WithGroup(string) slog.Handler            { return l }
func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	close(l.more)
	l.more = make(chan struct{})
	return nil
}

// mark returns the number of lines so far.
func (l *logbook) mark() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

// since returns the lines after a mark that begin with a prefix.
func (l *logbook) since(mark int, prefix string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines[mark:] {
		if strings.HasPrefix(line, prefix) {
			found = append(found, line)
		}
	}
	return found
}

// wait returns once a line after the mark begins with the prefix.
func (l *logbook) wait(t *testing.T, mark int, prefix string) {
	t.Helper()
	timeout := time.After(patience)
	for {
		l.mu.Lock()
		more, lines := l.more, slices.Clone(l.lines[mark:])
		l.mu.Unlock()
		if slices.ContainsFunc(lines, func(s string) bool { return strings.HasPrefix(s, prefix) }) {
			return
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("no log line begins with %q; there are\n%s", prefix, strings.Join(lines, "\n"))
		}
	}
}

// A balancer is a load balancer that a test talks to.
type balancer struct {
	*LoadBalancer
	addr string
	log  *logbook
	reg  *prometheus.Registry
	stop func() // ends it and joins it
}

func (b *balancer) url(path string) string { return "http://" + b.addr + path }

// start runs a load balancer until the test ends, and returns when its first
// round of probes is complete.
func start(t *testing.T, cfg Config) *balancer {
	t.Helper()
	ln, err := kit.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, cfg, ln)
}

func startOn(t *testing.T, cfg Config, ln net.Listener) *balancer {
	t.Helper()
	log, reg := newLogbook(), prometheus.NewRegistry()
	lb, err := New(cfg, slog.New(log), reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- lb.Serve(ctx, ln) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	t.Cleanup(stop)
	log.wait(t, 0, "Healthy targets: ")
	return &balancer{LoadBalancer: lb, addr: ln.Addr().String(), log: log, reg: reg, stop: stop}
}

// quick is a configuration that probes often; patient one that probes once, so
// that only requests bring news.
func quick(targets ...string) Config {
	cfg := DefaultConfig()
	cfg.HealthCheckInterval = 20 * time.Millisecond
	for _, a := range targets {
		cfg.Targets = append(cfg.Targets, Target{Address: a})
	}
	return cfg
}

func patient(targets ...string) Config {
	cfg := quick(targets...)
	cfg.HealthCheckInterval = time.Hour
	return cfg
}

// backend runs a handler behind a /healthz that says OK, and returns its address.
func backend(t *testing.T, handler http.HandlerFunc) (*httptest.Server, string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			mux.ServeHTTP(w, r)
			return
		}
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s, s.Listener.Addr().String()
}

// named answers every request with a name.
func named(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, name)
	}
}

// client is one that keeps no connections behind the test's back.
func client(t *testing.T) *http.Client {
	tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// do sends a request and returns status, body and headers.
func do(t *testing.T, c *http.Client, method, url, body string) (int, string, http.Header) {
	t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, url, in)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

// raw sends text on a connection of its own and reads one answer.
func raw(t *testing.T, addr, text string) (*http.Response, string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// stateOf returns the state of one target as GET /targets has it.
func stateOf(lb *LoadBalancer, address string) string {
	for _, s := range lb.set.Statuses() {
		if s.Address == address {
			return s.State
		}
	}
	return fmt.Sprintf("no target %s", address)
}

// metric returns the value of the metric with these labels, in pairs.
func (b *balancer) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := b.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "minicloud_lb_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			var has []string
			for _, l := range m.GetLabel() { // by name
				has = append(has, l.GetName(), l.GetValue())
			}
			if slices.Equal(has, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("there is no metric %s%q", name, labels)
	return 0
}
