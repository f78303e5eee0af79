package cache

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
	"minicloud.internal/services/cache/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// serve runs a cache on a free port until the test ends.
func serve(t *testing.T, change func(*Config)) (base string, c *client.Client) {
	t.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, discard(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := kit.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	hc := kit.NewHTTPClient(nil, 10*time.Second)
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
		hc.CloseIdleConnections()
		http.DefaultClient.CloseIdleConnections()
	})
	for status := 0; status != http.StatusOK; {
		status, _ = s.Health().Status()
		runtime.Gosched()
	}
	base = "http://" + ln.Addr().String()
	return base, client.New(base, hc)
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
		kittest.ConfigFile(t, "../../configs/cache-store.toml", &cfg)
		kittest.Readme(t, "README.md", &cfg)
	})
	for _, c := range []struct {
		name, key string
		change    func(*Config)
	}{
		{"memory that holds no largest entry is refused", "max_memory", func(c *Config) { c.MaxMemory = 1 << 20 }},
		{"a value size of 0 is refused", "max_value_size", func(c *Config) { c.MaxValueSize = 0 }},
		{"a value size that the weight cannot hold is refused", "max_value_size", func(c *Config) { c.MaxValueSize = 1 << 40 }},
		{"a key size of 0 is refused", "max_key_size", func(c *Config) { c.MaxKeySize = 0 }},
		{"a key size that no path carries is refused", "max_key_size", func(c *Config) { c.MaxKeySize = 1 << 20 }},
		{"a negative time to live is refused", "default_ttl", func(c *Config) { c.DefaultTTL = -1 }},
		{"leases without time are refused", "lease_time", func(c *Config) { c.LeaseTime = 0 }},
		{"no leases are refused", "max_leases", func(c *Config) { c.MaxLeases = 0 }},
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
