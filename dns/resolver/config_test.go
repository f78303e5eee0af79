package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

func TestShippedConfig(t *testing.T) {
	cfg := DefaultConfig()
	kittest.ConfigFile(t, filepath.Join(configs, "dns-resolver.toml"), &cfg)
	// What the file states as the default is the default.
	want := DefaultConfig()
	want.Common = cfg.Common
	want.Hints, want.Routes = cfg.Hints, cfg.Routes
	if got, want := fmt.Sprint(cfg), fmt.Sprint(want); got != want {
		t.Errorf("got %s, expected %s", got, want)
	}
	root, err := cfg.rootServers()
	if err != nil {
		t.Fatal(err)
	}
	if len(root.Servers) != 1 || root.Servers[0].Name != "a.root.minicloud." || fmt.Sprint(root.Servers[0].Addrs) != "[192.0.2.53]" {
		t.Errorf("got %v", root.Servers)
	}
}

func TestValidate(t *testing.T) {
	hints := func(text string) func(*Config) {
		return func(c *Config) {
			c.Hints = filepath.Join(t.TempDir(), "hints")
			if err := os.WriteFile(c.Hints, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name   string
		change func(*Config)
		key    string
		want   string
	}{
		{"a network is checked", func(c *Config) { c.Allow = []string{"10.0.0.0/8", "10.0.0.1"} }, "allow[1]", "expected a network"},
		{"the address of a route is checked", func(c *Config) { c.Routes = map[string]string{"dns-root": "dns-root:53"} }, `routes."dns-root"`, "is no IP address"},
		{"the target of a route is checked", func(c *Config) { c.Routes = map[string]string{"192.0.2.53": "dns-root"} }, `routes."192.0.2.53"`, "expected host:port"},
		{"the hints must be there", func(c *Config) { c.Hints = "not-there" }, "hints", "no such file"},
		{"the hints must be records", hints("a. 60 IN A 300.1.1.1\n"), "hints", "line: 1"},
		{"the hints must name a server", hints("a. 60 IN A 192.0.2.1\n"), "hints", "no name server of the root with an address"},
		{"the hints must have its address", hints(". 60 IN NS a.\n"), "hints", "no name server of the root with an address"},
		{"a timeout is checked", func(c *Config) { c.QueryTimeout = 0 }, "query_timeout", "expected 1ms to 1m0s"},
		{"the whole takes no less than a part", func(c *Config) { c.ResolveTimeout = c.QueryTimeout - 1 }, "resolve_timeout", "expected at least query_timeout, 800ms"},
		{"attempts are checked", func(c *Config) { c.Attempts = 0 }, "attempts", "expected 1 to 10"},
		{"the budget is checked", func(c *Config) { c.MaxQueries = 0 }, "max_queries", "expected 1"},
		{"the cache has a size", func(c *Config) { c.CacheSize = 0 }, "cache_size", "expected \"1MiB\""},
		{"a forwarded zone is a name", func(c *Config) { c.Forward = []ForwardConfig{{Zone: "corp", Addresses: []string{"192.0.2.1"}}} }, "forward[0].zone", "with its final dot"},
		{"of 255 octets at most", func(c *Config) {
			c.Forward = []ForwardConfig{{Zone: strings.Repeat("a.", 126) + "aa.", Addresses: []string{"192.0.2.1"}}}
		}, "forward[0].zone", "expected a domain name"},
		{"it is forwarded once", func(c *Config) {
			f := ForwardConfig{Zone: "corp.", Addresses: []string{"192.0.2.1"}}
			c.Forward = []ForwardConfig{f, {Zone: "CORP.", Addresses: f.Addresses}}
		}, "forward[1].zone", "forwarded already"},
		{"it is forwarded to somebody", func(c *Config) { c.Forward = []ForwardConfig{{Zone: "."}} }, "forward[0].addresses", "is empty"},
		{"to addresses", func(c *Config) {
			c.Forward = []ForwardConfig{{Zone: ".", Addresses: []string{"192.0.2.1", "dns.example"}}}
		}, "forward[0].addresses[1]", "expected an address"},
		{"a name that is not special cannot be made ordinary", func(c *Config) { c.ResolveSpecial = []string{"example.com."} }, "resolve_special[0]", "no special-use name"},
		{"stale answers have a limit", func(c *Config) { c.StaleFor = 1000 * time.Hour }, "stale_for", "expected 0s to 168h0m0s"},
		{"a shortest TTL is short", func(c *Config) { c.MinTTL = 2 * time.Hour }, "min_ttl", "expected 0s to 1h0m0s"},
		{"TTLs are checked", func(c *Config) { c.MaxTTL = 0 }, "max_ttl", "expected 1s"},
		{"negative TTLs are checked", func(c *Config) { c.MaxNegativeTTL = -1 }, "max_negative_ttl", "expected 1s"},
		{"failures are remembered for 1 s at least", func(c *Config) { c.FailureTTL = 0 }, "failure_ttl", "expected 1s to 5m0s"},
		{"limits are checked", func(c *Config) { c.MaxTCPConnections = 0 }, "max_tcp_connections", "expected 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			tt.change(&cfg)
			var key *kit.KeyError
			if err := cfg.Validate(); !errors.As(err, &key) || key.Key != tt.key || !strings.Contains(key.Msg, tt.want) {
				t.Errorf("got %v", err)
			}
			if _, err := New(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err == nil {
				t.Error("New took it")
			}
		})
	}
	t.Run("the defaults are valid, and begin at the Internet's root", func(t *testing.T) {
		cfg := DefaultConfig()
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		if root, err := cfg.rootServers(); err != nil || len(root.Servers) != 13 {
			t.Errorf("got %v %v", root, err)
		}
	})
}

// FuzzRespond holds that no client's message makes the resolver fail, and that
// what it answers is a response to it. No name server can be reached.
func FuzzRespond(f *testing.F) {
	cfg := DefaultConfig()
	cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }
	r := build(f, cfg, time.Now)
	for _, name := range []string{"example.com.", "LOCALHOST.", "x.invalid.", "."} {
		q := new(dns.Msg)
		q.SetQuestion(name, dns.TypeA)
		wire, _ := q.Pack()
		f.Add(wire)
		q.SetEdns0(512, true)
		wire, _ = q.Pack()
		f.Add(wire)
	}
	source := netip.MustParseAddrPort("127.0.0.1:5")
	f.Fuzz(func(t *testing.T, wire []byte) {
		out := r.server.Respond(context.Background(), wire, source, "udp")
		if len(wire) < 12 || wire[2]&0x80 != 0 {
			if out != nil {
				t.Fatal("answered what must be dropped")
			}
			return
		}
		m := new(dns.Msg)
		if err := m.Unpack(out); err != nil {
			t.Fatalf("the answer is malformed: %v", err)
		}
		if len(out) > 1232 || !m.Response || out[0] != wire[0] || out[1] != wire[1] {
			t.Fatalf("not an answer to it: %d bytes, %v", len(out), m)
		}
	})
}
