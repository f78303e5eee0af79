package httpapi

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

func TestConfigFile(t *testing.T) {
	cfg := DefaultConfig()
	kittest.ConfigFile(t, "../configs/http-api.toml", &cfg)
	if cfg.Listen != ":8001" || cfg.Admin != ":9100" || cfg.DrainDelay != 3*time.Second || !strings.Contains(cfg.Database, "@data-store:8004/") {
		t.Errorf("got %+v", cfg)
	}
}

func TestConfigValues(t *testing.T) {
	for _, c := range []struct {
		name, key string
		change    func(*Config)
		says      string
	}{
		{"the defaults are valid", "", func(*Config) {}, ""},
		{"so is a URL with a slash at its end", "", func(c *Config) { c.Cache = "http://cache-store:8005/" }, ""},
		{"a cache without a scheme is not", "cache", func(c *Config) { c.Cache = "cache-store:8005" }, `expected http://host:port`},
		{"a queue with a path is not", "queue", func(c *Config) { c.Queue = "http://q:8006/v1" }, `expected http://host:port`},
		{"an empty object storage is not", "objects", func(c *Config) { c.Objects = "" }, `expected http://host:port`},
		{"a database of another kind is not", "database", func(c *Config) { c.Database = "mysql://a@b/c" }, "expected postgres://user@host:port/name"},
		{"a database without a name is not", "database", func(c *Config) { c.Database = "postgres://a@b:1" }, "expected postgres://"},
		{"a database with a bad option is not", "database", func(c *Config) { c.Database = "postgres://a@b:1/c?sslmode=maybe" }, "sslmode"},
		{"no connections are not enough", "database_conns", func(c *Config) { c.DatabaseConns = 0 }, "from 1 to 1000"},
		{"a fraction of a second is no TTL", "cache_ttl", func(c *Config) { c.CacheTTL = 1500 * time.Millisecond }, "whole seconds"},
		{"a wait over the queue's limit is not", "receive_wait", func(c *Config) { c.ReceiveWait = time.Minute }, "from 0s to 20s"},
		{"a query without a limit is not", "query_timeout", func(c *Config) { c.QueryTimeout = 0 }, "from 1ms"},
		{"a body of nothing is not", "max_body", func(c *Config) { c.MaxBody = 0 }, "1KiB"},
		{"a name that is no header is not", "name", func(c *Config) { c.Name = "a\r\nb" }, "visible ASCII"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultConfig()
			c.change(&cfg)
			err := cfg.Validate()
			var key *kit.KeyError
			switch {
			case c.key == "" && err != nil:
				t.Error(err)
			case c.key != "" && (!errors.As(err, &key) || key.Key != c.key || !strings.Contains(err.Error(), c.says)):
				t.Errorf("got %v, want %s … %s", err, c.key, c.says)
			}
		})
	}
	t.Run("a password stays out of the error", func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Database = "mysql://user:secret@host/name"
		if err := cfg.Validate(); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	})
}

func TestDialGetsTheName(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Database = "postgres://spells@data-store:8004/spells?sslmode=disable"
	var dialed []string
	cfg.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
		dialed = append(dialed, address)
		return nil, errors.New("not in this test")
	}
	pc, err := cfg.poolConfig()
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := pc.ConnConfig.LookupFunc(t.Context(), "data-store")
	if err != nil || len(hosts) != 1 || hosts[0] != "data-store" {
		t.Errorf("looked up as %v, %v", hosts, err)
	}
	_, _ = pc.ConnConfig.DialFunc(t.Context(), "tcp", "data-store:8004")
	if len(dialed) != 1 || dialed[0] != "data-store:8004" {
		t.Errorf("dialed %v", dialed)
	}
}

func TestNewStartsNothingAndRegistersOnce(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := New(DefaultConfig(), quiet(), reg); err != nil {
		t.Fatal(err)
	}
	if _, err := New(DefaultConfig(), quiet(), reg); err == nil {
		t.Error("two in one registry, without an error")
	}
}
