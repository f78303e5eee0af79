package objectstorage

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
	"minicloud.internal/objectstorage/store"
	"minicloud.internal/objectstorage/store/disk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a service on a free port.
type running struct {
	url, addr, dir string
	server         *Server
	registry       *prometheus.Registry
	client         *http.Client
	stop           func() error // ends it and waits; safe to call twice
}

// run starts the service with its own data directory, or on objects where that
// is not nil.
func run(t *testing.T, objects store.Store, change func(*Config)) *running {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	cfg.DrainTimeout = time.Second
	if change != nil {
		change(&cfg)
	}
	registry := prometheus.NewRegistry()
	s, err := New(cfg, slog.New(slog.DiscardHandler), registry)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := kit.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		if objects != nil {
			done <- s.serve(ctx, ln, objects)
		} else {
			done <- s.Serve(ctx, ln)
		}
	}()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	stopped := false
	r := &running{url: "http://" + ln.Addr().String(), addr: ln.Addr().String(), dir: cfg.DataDir, server: s, registry: registry, client: client}
	r.stop = func() error {
		client.CloseIdleConnections()
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	kittest.Eventually(t, "the service starts", func() bool {
		return r.do(t, http.MethodGet, "/healthz", nil).status == http.StatusOK
	})
	return r
}

// answer is an answer that was read.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request; headers are "Name: value".
func (r *running) do(t *testing.T, method, path string, body io.Reader, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, r.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// raw sends bytes as they are and returns the answer, or its status 0 where
// none came.
func (r *running) raw(t *testing.T, request string) answer {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return answer{}
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// put stores an object or ends the test.
func (r *running) put(t *testing.T, path, body string, headers ...string) answer {
	t.Helper()
	a := r.do(t, http.MethodPut, path, strings.NewReader(body), headers...)
	if a.status != http.StatusCreated && a.status != http.StatusOK {
		t.Fatalf("PUT %s: %d %s", path, a.status, a.body)
	}
	return a
}

func TestConfigFile(t *testing.T) {
	cfg := DefaultConfig()
	kittest.ConfigFile(t, "../configs/object-storage.toml", &cfg)
	want := DefaultConfig()
	want.Listen, want.Admin, want.LogFormat, want.DataDir, want.DrainDelay = ":8007", ":9100", "text", "/data", 3*time.Second
	want.Dir, want.File = cfg.Dir, cfg.File
	if cfg != want {
		t.Errorf("the file gives %+v, want %+v", cfg, want)
	}
}

func TestConfigRefusesWhatCannotBe(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"an empty data directory", `data_dir = ""`, "data_dir is empty"},
		{"a limit of nothing", `max_object_size = "0B"`, "max_object_size is 0B"},
		{"a limit beyond all disks", `max_object_size = "9999999GiB"`, "max_object_size is"},
		{"a size that is none", `max_object_size = "much"`, "max_object_size is \"much\""},
		{"no idle timeout", `body_idle_timeout = "0s"`, "body_idle_timeout is 0s"},
		{"a negative delay", `drain_delay = "-1s"`, "drain_delay is -1s"},
		{"no drain timeout", `drain_timeout = "0s"`, "drain_timeout is 0s"},
		{"an unknown key", `data_dirr = "x"`, "did you mean data_dir"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "c.toml")
			if err := os.WriteFile(file, []byte("\n"+c.text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg := DefaultConfig()
			err := kit.LoadConfig(file, &cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file+":2") {
				t.Errorf("%v, want %q with file and line", err, c.want)
			}
		})
	}
	if _, err := New(Config{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err == nil {
		t.Error("New accepted an empty Config")
	}
}

func TestARestartKeepsEverything(t *testing.T) {
	first := run(t, nil, nil)
	put := first.put(t, "/files/a/b.txt", "hello", "Content-Type: text/x-mine", "Cache-Control: max-age=5")
	first.put(t, "/files/gone", "x")
	first.do(t, http.MethodDelete, "/files/gone", nil)
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	if status, reason := first.server.Health().Status(); status != 503 || reason != "draining" {
		t.Errorf("after the end health is %d %s", status, reason)
	}
	second := run(t, nil, func(c *Config) { c.DataDir = first.dir })
	got := second.do(t, http.MethodGet, "/files/a/b.txt", nil)
	if got.body != "hello" || got.header.Get("Etag") != put.header.Get("Etag") ||
		got.header.Get("Content-Type") != "text/x-mine" || got.header.Get("Cache-Control") != "max-age=5" {
		t.Errorf("after the restart: %+v", got)
	}
	if got := second.do(t, http.MethodGet, "/files/gone", nil); got.status != 404 {
		t.Errorf("a deleted object is back: %+v", got)
	}
	if got := second.do(t, http.MethodGet, "/files/", nil); strings.Count(got.body, `"key"`) != 1 {
		t.Errorf("the listing: %s", got.body)
	}
}

func TestASecondServiceOnOneDirectoryIsRefused(t *testing.T) {
	first := run(t, nil, nil)
	first.put(t, "/files/k", "x") // it has opened its store
	cfg := DefaultConfig()
	cfg.DataDir = first.dir
	s, err := New(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := kit.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), ln); err == nil || !strings.Contains(err.Error(), "in use by another object store") {
		t.Errorf("serve: %v", err)
	}
	if _, err := ln.Accept(); err == nil {
		t.Error("the listener is still open")
	}
}

func TestHealth(t *testing.T) {
	r := run(t, nil, nil)
	if a := r.do(t, http.MethodGet, "/healthz", nil); a.status != 200 || a.body != "OK\n" {
		t.Errorf("healthz: %+v", a)
	}
	r.put(t, "/files/k", "value")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(r.dir, "objects", "*", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v, want one file", files, err)
	}
	if err := os.Truncate(files[0], 10); err != nil {
		t.Fatal(err)
	}
	r = run(t, nil, func(c *Config) { c.DataDir = r.dir })
	if a := r.do(t, http.MethodGet, "/healthz", nil); a.status != 200 || !strings.Contains(a.body, "reduced: objects: 1 damaged") {
		t.Errorf("healthz with a damaged object: %+v", a)
	}
	if a := r.do(t, http.MethodGet, "/files/k", nil); a.status != 500 || !strings.Contains(a.body, "damaged") || strings.Contains(a.body, r.dir) {
		t.Errorf("a damaged object: %+v", a)
	}
}

// A store that could not make a write durable says 503, and goes on serving
// reads.
func TestAFailedSyncStopsWritesAndHealth(t *testing.T) {
	fs := &brokenDisk{}
	d, err := disk.Open(t.TempDir(), disk.Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	r := run(t, d, nil)
	r.put(t, "/files/old", "old")
	fs.err = io.ErrClosedPipe
	for range 2 {
		a := r.do(t, http.MethodPut, "/files/new", strings.NewReader("new"))
		if a.status != 503 || !strings.Contains(a.body, "could not be made durable") || strings.Contains(a.body, "pipe") {
			t.Errorf("PUT: %+v", a)
		}
	}
	if a := r.do(t, http.MethodDelete, "/files/old", nil); a.status != 503 {
		t.Errorf("DELETE: %+v", a)
	}
	if a := r.do(t, http.MethodGet, "/files/new", nil); a.status != 404 {
		t.Errorf("GET of what was not stored: %+v", a)
	}
	if a := r.do(t, http.MethodGet, "/files/old", nil); a.body != "old" {
		t.Errorf("GET of what was: %+v", a)
	}
	if a := r.do(t, http.MethodGet, "/healthz", nil); a.status != 503 || !strings.Contains(a.body, "check the disk") {
		t.Errorf("healthz: %+v", a)
	}
}

// brokenDisk fails every sync of a file with err, once that is set.
type brokenDisk struct {
	disk.OS
	err   error
	write error // of writes
}

func (b *brokenDisk) Create(name string) (disk.File, error) {
	f, err := b.OS.Create(name)
	return &brokenFile{f, b}, err
}

type brokenFile struct {
	disk.File
	disk *brokenDisk
}

func (f *brokenFile) Write(p []byte) (int, error) {
	if f.disk.write != nil {
		return 0, f.disk.write
	}
	return f.File.Write(p)
}

func (f *brokenFile) Sync() error {
	if f.disk.err != nil {
		return f.disk.err
	}
	return f.File.Sync()
}

func TestMetrics(t *testing.T) {
	r := run(t, nil, nil)
	r.put(t, "/files/a", "12345")
	r.put(t, "/files/a", "123456")
	r.put(t, "/files/b", "")
	r.do(t, http.MethodGet, "/files/a", nil)
	r.do(t, http.MethodGet, "/files/none", nil)
	r.do(t, "BREW", "/files/a", nil)
	server := kit.Admin(r.server.Health(), r.registry, nil)
	w := &recorder{header: http.Header{}}
	req, _ := http.NewRequest(http.MethodGet, "/metrics", nil)
	// A request is counted just after its answer has left.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	server.ServeHTTP(w, req)
	for _, want := range []string{
		`minicloud_objectstorage_requests_total{class="2xx",method="PUT"} 3`,
		`minicloud_objectstorage_requests_total{class="2xx",method="GET"} 1`,
		`minicloud_objectstorage_requests_total{class="4xx",method="GET"} 1`,
		`minicloud_objectstorage_requests_total{class="4xx",method="other"} 1`,
		`minicloud_objectstorage_received_bytes_total 11`,
		`minicloud_objectstorage_put_duration_seconds_count 3`,
		`minicloud_objectstorage_damaged_objects 0`,
	} {
		if !strings.Contains(w.body.String(), want+"\n") {
			t.Errorf("no %s in\n%s", want, &w.body)
		}
	}
	if _, err := New(DefaultConfig(), slog.New(slog.DiscardHandler), r.registry); err == nil {
		t.Error("New registered its metrics twice")
	}
}

func TestObjectsMetric(t *testing.T) {
	r := run(t, nil, nil)
	r.put(t, "/files/a", "x")
	r.put(t, "/files/b", "x")
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "minicloud_objectstorage_objects" {
			if got := f.GetMetric()[0].GetGauge().GetValue(); got != 2 {
				t.Errorf("objects is %v, want 2", got)
			}
			return
		}
	}
	t.Error("no metric of the number of objects")
}

type recorder struct {
	header http.Header
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
func (r *recorder) WriteHeader(int)             {}
