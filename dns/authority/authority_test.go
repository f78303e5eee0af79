package authority

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const configs = "../../configs"

// shipped loads one of the configuration files that the cloud runs on.
func shipped(t testing.TB, file string) Config {
	t.Helper()
	cfg := DefaultConfig()
	if err := kit.LoadConfig(filepath.Join(configs, file), &cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestShippedConfigs(t *testing.T) {
	for file, zone := range map[string]string{"dns-root.toml": ".", "dns-com.toml": "com.", "dns-example-com.toml": "example.com."} {
		t.Run(file, func(t *testing.T) {
			cfg := DefaultConfig()
			kittest.ConfigFile(t, filepath.Join(configs, file), &cfg)
			if len(cfg.Zones) != 1 || cfg.Zones[0].Name != zone || cfg.Listen != ":53" {
				t.Errorf("got %+v", cfg)
			}
		})
	}
}

func TestThePortOfTheLoadBalancer(t *testing.T) {
	for value, want := range map[string]string{"unset": "80", "8080": "8080", "": ""} {
		t.Run(fmt.Sprintf("MINICLOUD_HTTP_PORT %q is published as %q", value, want), func(t *testing.T) {
			t.Setenv("MINICLOUD_HTTP_PORT", value)
			if value == "unset" {
				if err := os.Unsetenv("MINICLOUD_HTTP_PORT"); err != nil {
					t.Fatal(err)
				}
			}
			z, err := New(shipped(t, "dns-example-com.toml"), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, rr := range zoneAt(t, z, "example.com.").Lookup("_http._tcp.example.com.", dns.TypeSRV).Answer {
				got += fmt.Sprint(rr.(*dns.SRV).Port)
			}
			if got != want {
				t.Errorf("got %q", got)
			}
		})
	}
}

// zoneAt returns a zone that a server has.
func zoneAt(t testing.TB, s *Server, origin string) *Zone {
	t.Helper()
	name, err := wirename.Pack(origin)
	if err != nil {
		t.Fatal(err)
	}
	return s.zones.Load().zones[string(name)]
}

// all serves the three shipped zones at once.
func all(t testing.TB) *Server {
	t.Helper()
	cfg := shipped(t, "dns-root.toml")
	cfg.Zones = append(cfg.Zones, shipped(t, "dns-com.toml").Zones...)
	cfg.Zones = append(cfg.Zones, shipped(t, "dns-example-com.toml").Zones...)
	s, err := New(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(t testing.TB, s *Server, name string, qtype uint16) *dns.Msg {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(name, qtype).SetEdns0(1232, false)
	wire, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(s.server.Respond(context.Background(), wire, netip.MustParseAddrPort("192.0.2.99:5"), "udp")); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAnswer(t *testing.T) {
	s := all(t)
	tests := []struct {
		name  string
		qname string
		qtype uint16
		check func(*dns.Msg) bool
	}{
		{"the longest zone answers", "www.example.com.", dns.TypeA, func(m *dns.Msg) bool { return m.Authoritative && len(m.Answer) == 2 }},
		{"the zone above answers for its own", "com.", dns.TypeSOA, func(m *dns.Msg) bool { return len(m.Answer) == 1 && m.Answer[0].Header().Name == "com." }},
		{"the root answers for the rest", "org.", dns.TypeA, func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeNameError && m.Ns[0].Header().Name == "." && m.Ns[0].Header().Ttl == 60
		}},
		{"DS of a zone is its parent's to answer", "example.com.", dns.TypeDS, func(m *dns.Msg) bool {
			return m.Authoritative && len(m.Answer) == 0 && m.Ns[0].Header().Name == "com."
		}},
		{"DS of the root is the root's", ".", dns.TypeDS, func(m *dns.Msg) bool { return m.Authoritative && m.Ns[0].Header().Name == "." }},
		{"recursion is not available", "example.com.", dns.TypeA, func(m *dns.Msg) bool { return !m.RecursionAvailable && m.RecursionDesired }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if m := ask(t, s, tt.qname, tt.qtype); !tt.check(m) {
				t.Errorf("got\n%v", m)
			}
		})
	}
	t.Run("a name outside of every zone is refused, and why", func(t *testing.T) {
		s, err := New(shipped(t, "dns-com.toml"), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"example.org.", ".", "badcom."} {
			m := ask(t, s, name, dns.TypeA)
			if m.Rcode != dns.RcodeRefused || m.Authoritative || !strings.Contains(m.String(), "does not answer for "+name) {
				t.Errorf("got\n%v", m)
			}
		}
		if m := ask(t, s, "com.", dns.TypeDS); m.Rcode != dns.RcodeSuccess || !m.Authoritative {
			t.Errorf("DS without the parent: got\n%v", m)
		}
	})
}

func TestServe(t *testing.T) {
	s := all(t)
	ln, pc, err := kit.ListenDNS("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln, pc) }()
	q := new(dns.Msg)
	q.SetQuestion("example.com.", dns.TypeA)
	for _, network := range []string{"udp", "tcp"} {
		m, _, err := (&dns.Client{Net: network}).Exchange(q, ln.Addr().String())
		if err != nil || len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "127.0.0.1" {
			t.Errorf("%s: %v %v", network, m, err)
		}
	}
	if status, sentence := s.Health().Status(); status != 200 {
		t.Errorf("health: %d %s", status, sentence)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// FuzzRespond holds that no message makes the server fail, and that what it
// answers is a response to it of a permitted size.
func FuzzRespond(f *testing.F) {
	s := all(f)
	for _, name := range []string{"example.com.", "www.EXAMPLE.com.", "nope.example.com.", "."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeANY, dns.TypeDS, dns.TypeAXFR} {
			q := new(dns.Msg)
			q.SetQuestion(name, qtype)
			wire, _ := q.Pack()
			f.Add(wire)
			q.SetEdns0(512, true)
			wire, _ = q.Pack()
			f.Add(wire)
		}
	}
	source := netip.MustParseAddrPort("127.0.0.1:5")
	f.Fuzz(func(t *testing.T, wire []byte) {
		out := s.server.Respond(context.Background(), wire, source, "udp")
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
		if m.Rcode == dns.RcodeServerFailure {
			t.Fatalf("the server failed: %v", m)
		}
	})
}
