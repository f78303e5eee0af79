package objectstorage

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
	"minicloud.internal/objectstorage/sigv4"
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
	s.look = 10 * time.Millisecond
	ln, err := kit.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		if objects != nil {
			done <- s.serve(ctx, ln, nil, opened{Store: objects})
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
		if name == "Host" {
			req.Host = value
		}
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

// signed is do with the signature of the development credential.
func (r *running) signed(t *testing.T, method, path, body string) answer {
	t.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sigv4.Sign(req, sigv4.Credential(DefaultCredential()), "us-east-1", time.Now(), sigv4.UnsignedPayload)
	var headers []string
	for name := range req.Header {
		headers = append(headers, name+": "+req.Header.Get(name))
	}
	return r.do(t, method, path, strings.NewReader(body), headers...)
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
	want.Anonymous = map[string]string{"files": "read-write"} // which is what it is without
	if !reflect.DeepEqual(cfg, want) {
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
		{"a driver that is none", `driver = "tape"`, "driver is \"tape\""},
		{"the driver s3 without a service", `driver = "s3"`, "s3.endpoint is \"\""},
		{"bodies in memory that are long", `inline_threshold = "2MiB"`, "inline_threshold is 2MiB"},
		{"next to no cache", `cache_size = "1KiB"`, "cache_size is 1KiB"},
		{"a scrub that goes backwards", `scrub_interval = "-1s"`, "scrub_interval is -1s"},
		{"a scrub that stands still", `scrub_rate = "1B"`, "scrub_rate is 1B"},
		{"lifecycles that go backwards", `lifecycle_interval = "-1s"`, "lifecycle_interval is -1s"},
		{"a bucket that S3 would not take", `buckets = ["Files"]`, "buckets[0] is \"Files\""},
		{"a bucket twice", `buckets = ["aaa", "aaa"]`, "buckets[1] is \"aaa\" again"},
		{"access to a bucket that is not there", `anonymous = {aaa = "read"}`, "anonymous.aaa is about a bucket"},
		{"access that is none", `anonymous = {files = "all"}`, "anonymous.files is \"all\""},
		{"an access key with a slash", `credentials = [{access_key = "a/b", secret_key = "12345678"}]`, "credentials[0].access_key is \"a/b\""},
		{"a short secret, which is not shown", `credentials = [{access_key = "abc", secret_key = "1234567"}]`, "credentials[0].secret_key has 7 bytes"},
		{"an access key twice", `credentials = [{access_key = "abc", secret_key = "12345678"}, {access_key = "abc", secret_key = "87654321"}]`, "credentials[1].access_key is \"abc\" again"},
		{"a domain with a port", `hosts = ["s3.example.com:80"]`, "hosts[0] is"},
		{"an alias that is a URL", `aliases = ["http://localhost"]`, "aliases[0] is"},
		{"HTTPS without a certificate", `listen_tls = ":8443"`, "tls_cert is empty"},
		{"HTTPS nowhere", `listen_tls = "8443"`, "listen_tls is \"8443\""},
		{"an unknown key", `data_dirr = "x"`, "did you mean data_dir"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "c.toml")
			if err := os.WriteFile(file, []byte("\n"+c.text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg := DefaultConfig()
			err := kit.LoadConfig(file, &cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "1234567") {
				t.Errorf("%v, want %q with the file", err, c.want)
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

// The service on another one: both doors of the second lead to objects of the first.
func TestTheDriverS3(t *testing.T) {
	behind := run(t, nil, func(c *Config) { c.Buckets = nil })
	r := run(t, nil, func(c *Config) {
		c.Driver = "s3"
		c.S3 = Upstream{Endpoint: behind.url, Region: "us-east-1", AccessKey: "minicloud", SecretKey: "minicloud-secret", PathStyle: true}
	})
	large := strings.Repeat("large", 1_000_000)
	r.put(t, "/files/a/b", "hello", "Content-Type: text/x-mine")
	r.put(t, "/files/large", large)
	for path, want := range map[string]string{"/files/a/b": "hello", "/files/large": large} {
		if a := r.do(t, http.MethodGet, path, nil); a.status != 200 || a.body != want {
			t.Errorf("GET %s: %d with %d bytes", path, a.status, len(a.body))
		}
	}
	if a := r.do(t, http.MethodGet, "/files/a/b", nil, "Range: bytes=1-2"); a.status != 206 || a.body != "el" || a.header.Get("Content-Type") != "text/x-mine" {
		t.Errorf("a range: %+v", a)
	}
	if l := r.page(t, ""); len(l.Objects) != 2 {
		t.Errorf("the listing: %+v", l)
	}
	if a := r.do(t, http.MethodPut, "/files/a/b", strings.NewReader("new"), "If-None-Match: *"); a.status != 412 {
		t.Errorf("a condition: %+v", a)
	}
	if a := r.do(t, http.MethodDelete, "/files/a/b", nil); a.status != 204 {
		t.Errorf("DELETE: %+v", a)
	}
	if err := behind.stop(); err != nil {
		t.Fatal(err)
	}
	a := r.do(t, http.MethodPut, "/files/new", strings.NewReader("x"))
	if a.status < 500 || strings.Contains(a.body, behind.addr) {
		t.Errorf("PUT without the service behind: %+v", a)
	}
}

// Without the service of the driver s3 there is a sentence, and an end.
func TestTheDriverS3WithoutItsService(t *testing.T) {
	ln, err := kit.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.DataDir, cfg.Driver = t.TempDir(), "s3"
	cfg.S3 = Upstream{Endpoint: "http://" + nobody, Region: "us-east-1", AccessKey: "abc", SecretKey: "a secret of mine"}
	s, err := New(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if ln, err = kit.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), ln); err == nil || !strings.Contains(err.Error(), nobody) || strings.Contains(err.Error(), "a secret") {
		t.Errorf("serve: %v", err)
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
	if err := s.Serve(t.Context(), ln); err == nil || !strings.Contains(err.Error(), "another service uses this directory") {
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
	// With a file of its own, to damage.
	r.put(t, "/files/k", strings.Repeat("value", 100_000))
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	files := r.bodies(t)
	if len(files) != 1 {
		t.Fatalf("the bodies are %v, want one", files)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(files[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	r = run(t, nil, func(c *Config) { c.DataDir, c.ScrubInterval, c.ScrubRate = r.dir, time.Millisecond, 1<<30 })
	kittest.Eventually(t, "the scrub finds it", func() bool {
		a := r.do(t, http.MethodGet, "/healthz", nil)
		return a.status == 200 && strings.Contains(a.body, "reduced: objects: 1 damaged")
	})
	r.put(t, "/files/k", "value")
	kittest.Eventually(t, "the object is replaced", func() bool { return r.do(t, http.MethodGet, "/healthz", nil).body == "OK\n" })
}

// bodies are the files of those bodies that have one.
func (r *running) bodies(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(r.dir, "blobs"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A store that could not make a write durable says 503, and goes on serving
// reads.
func TestAFailedSyncStopsWritesAndHealth(t *testing.T) {
	broken := newBroken(t)
	r := run(t, broken, nil)
	r.put(t, "/files/old", "old")
	broken.fail(fmt.Errorf("%w: %w", store.ErrStopped, io.ErrClosedPipe))
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

// Health waits for the buckets of the configuration, and then turns good by
// itself.
func TestHealthWaitsForTheBuckets(t *testing.T) {
	broken := newBroken(t)
	broken.fail(store.ErrNoSpace)
	cfg := DefaultConfig()
	cfg.Buckets, cfg.Anonymous = []string{"files", "photos"}, map[string]string{"photos": "read"}
	s, err := New(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s.retry = time.Millisecond
	ln, err := kit.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.serve(ctx, ln, nil, opened{Store: broken}) }()
	where := "http://" + ln.Addr().String()
	kittest.Eventually(t, "health says what it waits for", func() bool {
		status, _, body := kittest.Call(t, http.MethodGet, where+"/healthz", "")
		return status == 503 && strings.Contains(body, "waits for the buckets")
	})
	broken.fail(nil)
	kittest.Eventually(t, "health is good", func() bool {
		status, _, _ := kittest.Call(t, http.MethodGet, where+"/healthz", "")
		return status == 200
	})
	for name, want := range map[string]string{"files": "read-write", "photos": "read"} {
		if b, err := broken.GetBucket(t.Context(), name); err != nil || b.Anonymous != want {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// broken is a store whose writes end with an error, once that is set.
type broken struct {
	store.Store
	err atomic.Pointer[error]
}

// newBroken is one that is whole to begin with.
func newBroken(t *testing.T) *broken {
	t.Helper()
	d, err := disk.Open(t.TempDir(), disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return &broken{Store: d}
}

func (b *broken) fail(err error) { b.err.Store(&err) }

func (b *broken) now() error {
	if err := b.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (b *broken) CreateBucket(ctx context.Context, bucket store.Bucket) error {
	if err := b.now(); err != nil {
		return err
	}
	return b.Store.CreateBucket(ctx, bucket)
}

func (b *broken) Stage(ctx context.Context, body io.Reader, size int64) (store.Upload, error) {
	if err := b.now(); err != nil {
		return nil, err
	}
	return b.Store.Stage(ctx, body, size)
}

func (b *broken) Delete(ctx context.Context, bucket, key, version string, c store.Condition) (store.Deleted, error) {
	if err := b.now(); err != nil {
		return store.Deleted{}, err
	}
	return b.Store.Delete(ctx, bucket, key, version, c)
}

func TestMetrics(t *testing.T) {
	r := run(t, nil, nil)
	r.put(t, "/files/a", "12345")
	r.put(t, "/files/a", "123456")
	r.put(t, "/files/b", "")
	r.do(t, http.MethodGet, "/files/a", nil)
	r.do(t, http.MethodGet, "/files/none", nil)
	r.do(t, "BREW", "/files/a", nil)
	r.do(t, http.MethodGet, "/", nil) // S3, and nobody signed
	server := kit.Admin(r.server.Health(), r.registry, nil)
	w := &recorder{header: http.Header{}}
	req, _ := http.NewRequest(http.MethodGet, "/metrics", nil)
	// A request is counted just after its answer has left.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	server.ServeHTTP(w, req)
	for _, want := range []string{
		`minicloud_objectstorage_requests_total{class="2xx",door="files",operation="put"} 3`,
		`minicloud_objectstorage_requests_total{class="2xx",door="files",operation="get"} 1`,
		`minicloud_objectstorage_requests_total{class="4xx",door="files",operation="get"} 1`,
		`minicloud_objectstorage_requests_total{class="4xx",door="files",operation="other"} 1`,
		`minicloud_objectstorage_requests_total{class="4xx",door="s3",operation="ListBuckets"} 1`,
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

func TestMetricsOfTheStore(t *testing.T) {
	r := run(t, nil, nil)
	r.put(t, "/files/a", "12345")
	r.put(t, "/files/b", "123")
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"objects": 2, "object_bytes": 8, "damaged_objects": 0, "scrubbed_bytes": 0}
	for _, f := range families {
		name := strings.TrimPrefix(f.GetName(), "minicloud_objectstorage_")
		if value, ok := want[name]; ok {
			if got := f.GetMetric()[0].GetGauge().GetValue(); got != value {
				t.Errorf("%s is %v, want %v", name, got, value)
			}
			delete(want, name)
		}
	}
	if len(want) > 0 {
		t.Errorf("no metrics %v", want)
	}
}

type recorder struct {
	header http.Header
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
func (r *recorder) WriteHeader(int)             {}
