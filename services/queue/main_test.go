package queue

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
	"minicloud.internal/services/queue/client"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("QUEUE_TEST_SERVE"); dir != "" {
		serveForTest(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// serveForTest is the child of the test that kills it: a queue on a free port,
// which it prints.
func serveForTest(dir string) {
	cfg := DefaultConfig()
	cfg.DataDir = dir
	s, err := New(cfg, discard(), prometheus.NewRegistry())
	if err != nil {
		panic(err)
	}
	ln, err := kit.Listen("127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(ln.Addr())
	panic(s.Serve(context.Background(), ln))
}

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// openStore opens a store on a file system in memory, or the one given.
func openStore(t testing.TB, fs vfs.FS, change func(*Config)) *Store {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir = "data"
	if change != nil {
		change(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s := NewStore(cfg, discard(), newMetrics(), nil)
	s.fs = fs
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func enqueue(t testing.TB, s *Store, queue, payload string) string {
	t.Helper()
	i, err := s.Enqueue(queue, []byte(payload))
	if err != nil {
		t.Fatalf("enqueue %s: %v", payload, err)
	}
	return i
}

// receive takes without waiting.
func receive(t testing.TB, s *Store, queue string, limit int, visibility time.Duration) []Delivery {
	t.Helper()
	got, err := s.Receive(t.Context(), queue, limit, 0, visibility)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return got
}

func payloads(ds []Delivery) string {
	var all []string
	for _, d := range ds {
		all = append(all, string(d.Payload))
	}
	return strings.Join(all, " ")
}

// serve runs a queue on a free port until the test ends.
func serve(t *testing.T, change func(*Config)) (base string, c *client.Client, s *Server) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir = "data"
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, discard(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s.store.fs = vfs.NewMem()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	hc := kit.NewHTTPClient(nil, 0)
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
		hc.CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
	})
	for status := 0; status != http.StatusOK; { // open, and its health set
		status, _ = s.Health().Status()
		runtime.Gosched()
	}
	base = "http://" + ln.Addr().String()
	return base, client.New(base, hc), s
}

func TestConfig(t *testing.T) {
	t.Run("the defaults are valid without a file", func(t *testing.T) {
		cfg := DefaultConfig()
		if err := kit.LoadConfig("", &cfg); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("the composition's file is valid and states every key", func(t *testing.T) {
		cfg := DefaultConfig()
		kittest.ConfigFile(t, "../../configs/message-queue.toml", &cfg)
		kittest.Readme(t, "README.md", &cfg)
	})
	for _, c := range []struct {
		name, key string
		change    func(*Config)
	}{
		{"an empty data directory is refused", "data_dir", func(c *Config) { c.DataDir = "" }},
		{"a visibility timeout of 0 is refused as a default", "visibility_timeout", func(c *Config) { c.VisibilityTimeout = 0 }},
		{"a visibility timeout over 12 hours is refused", "visibility_timeout", func(c *Config) { c.VisibilityTimeout = 13 * time.Hour }},
		{"a wait over 20 seconds is refused", "max_wait", func(c *Config) { c.MaxWait = 21 * time.Second }},
		{"a message size of 0 is refused", "max_message_size", func(c *Config) { c.MaxMessageSize = 0 }},
		{"no receives are refused", "max_receives", func(c *Config) { c.MaxReceives = 0 }},
		{"no queues are refused", "max_queues", func(c *Config) { c.MaxQueues = 0 }},
		{"no messages are refused", "max_messages", func(c *Config) { c.MaxMessages = -1 }},
		{"none in flight is refused", "max_in_flight", func(c *Config) { c.MaxInFlight = 0 }},
		{"no waiters are refused", "max_waiters", func(c *Config) { c.MaxWaiters = 0 }},
		{"a drain without time is refused", "drain_timeout", func(c *Config) { c.DrainTimeout = 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultConfig()
			c.change(&cfg)
			if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), c.key+" is ") {
				t.Errorf("Validate() = %v, expected an error about %s", err, c.key)
			}
			if _, err := New(cfg, discard(), prometheus.NewRegistry()); err == nil {
				t.Error("New took it")
			}
		})
	}
}
