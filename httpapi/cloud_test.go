package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
	"minicloud.internal/services/datastore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The names under which a replica finds the others.
const (
	dataStore     = "data-store:8004"
	cacheStore    = "cache-store:8005"
	messageQueue  = "message-queue:8006"
	objectStorage = "object-storage:8007"
)

// A cloud is what a replica stands on: a real data store on disk, and the other
// services' HTTP contracts.
type cloud struct {
	t       *testing.T
	net     *network
	cache   *fakeCache
	queue   *fakeQueue
	objects *fakeObjects
	dir     string // of the data store

	stopDataStore func()
}

func newCloud(t *testing.T) *cloud {
	c := &cloud{t: t, net: newNetwork(), cache: newFakeCache(), queue: newFakeQueue(), objects: newFakeObjects()}
	for name, handler := range map[string]http.Handler{cacheStore: c.cache, messageQueue: c.queue, objectStorage: c.objects} {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		c.net.set(name, server.Listener.Addr().String())
	}
	c.dir = filepath.Join(t.TempDir(), "datastore")
	c.startDataStore()
	return c
}

// startDataStore starts it anew, at another address, on the same data.
func (c *cloud) startDataStore() {
	c.t.Helper()
	cfg := datastore.DefaultConfig()
	cfg.DataDir = c.dir
	ds, err := datastore.New(cfg, quiet(), prometheus.NewRegistry())
	if err != nil {
		c.t.Fatal(err)
	}
	ln := listen(c.t)
	c.net.set(dataStore, ln.Addr().String())
	c.stopDataStore = background(c.t, func(ctx context.Context) error { return ds.Serve(ctx, ln) })
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func listen(t *testing.T) net.Listener {
	ln, err := kit.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// background runs serve until stop, or the end of the test, and wants nil of it.
func background(t *testing.T, serve func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel(kit.ErrStopNow)
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// A replica is an API that serves.
type replica struct {
	*API
	t    *testing.T
	url  string
	reg  *prometheus.Registry
	stop func()
}

// config is the default one with the names of the cloud and short waits.
func (c *cloud) config(name string) Config {
	cfg := DefaultConfig()
	cfg.Name, cfg.Dial = name, c.net.Dial
	cfg.Database = "postgres://spells@" + dataStore + "/spells?sslmode=disable"
	cfg.Cache, cfg.Queue, cfg.Objects = "http://"+cacheStore, "http://"+messageQueue, "http://"+objectStorage
	cfg.OutboxInterval = 20 * time.Millisecond
	cfg.CachePause = 50 * time.Millisecond
	// The machine that runs the tests may be slow; no test waits for these.
	cfg.QueryTimeout, cfg.CacheTimeout = 20*time.Second, 5*time.Second
	return cfg
}

// replica starts an API. It does not wait for the schema.
func (c *cloud) replica(cfg Config) *replica {
	c.t.Helper()
	r := &replica{t: c.t, reg: prometheus.NewRegistry()}
	var err error
	if r.API, err = New(cfg, quiet(), r.reg); err != nil {
		c.t.Fatal(err)
	}
	ln := listen(c.t)
	r.url = "http://" + ln.Addr().String()
	r.stop = background(c.t, func(ctx context.Context) error { return r.Serve(ctx, ln) })
	return r
}

// start starts an API and waits until it is healthy.
func (c *cloud) start(name string) *replica {
	c.t.Helper()
	r := c.replica(c.config(name))
	r.eventually("the replica is healthy", func() bool { return r.health200() })
	<-r.store.schema
	return r
}

func (r *replica) health200() bool {
	status, _ := r.Health().Status()
	return status == http.StatusOK
}

// eventually waits for a condition, for as long as a slow machine may need.
func (r *replica) eventually(what string, holds func() bool) {
	r.t.Helper()
	kittest.Eventually(r.t, what, holds)
}

// An answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) spell(t *testing.T) (sp Spell) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &sp); err != nil {
		t.Fatalf("%q is no spell: %v", a.body, err)
	}
	return sp
}

// problem reads a problem document, and wants it to be one.
func (a answer) problem(t *testing.T) (p kit.Problem) {
	t.Helper()
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Fatalf("the content type is %q, body %q", ct, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Status != a.status || p.RequestID == "" {
		t.Fatalf("%q is no problem document for %d: %v", a.body, a.status, err)
	}
	return p
}

// call sends a request, with a body as JSON where it is not empty.
func (r *replica) call(method, path, body string, headers ...string) answer {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections() // nothing is left for goleak
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// metric is the value of a counter or gauge, summed over what the labels leave
// open.
func (r *replica) metric(name string, labels ...string) (sum float64) {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			matches := f.GetName() == name
			for i := 0; i < len(labels); i += 2 {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
				}
				matches = matches && found
			}
			if matches {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// quietNow waits until no event is on its way, and every card is written.
func (c *cloud) quietNow(r *replica) {
	c.t.Helper()
	r.eventually("every event is done", func() bool {
		waiting, err := r.store.eventsWait(c.t.Context())
		return err == nil && !waiting && len(c.queue.waiting()) == 0
	})
}
