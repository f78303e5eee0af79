//go:build linux

package peers

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const garden = `$ORIGIN garden.test.
@ 60 IN SOA ns hostmaster 1 2 3 4 5
@ 60 IN NS ns
ns 60 IN A 192.0.2.1
`

// begin starts a server, or skips where it cannot be had.
func begin(t *testing.T, k Kind, c Config) *Server {
	t.Helper()
	if k.Ours() {
		var err error
		if c.Program, err = Build(t.Context(), k, t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Start(t.Context(), k, c)
	if errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func serial(t *testing.T, s *Server) uint32 {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion("garden.test.", dns.TypeSOA)
	r, err := dns.Exchange(m, s.Address.String())
	if err != nil || len(r.Answer) != 1 {
		t.Fatalf("%v, %v", r, err)
	}
	return r.Answer[0].(*dns.SOA).Serial
}

func TestAuthoritativeServers(t *testing.T) {
	for _, k := range []Kind{DNSServer, Knot, NSD, BIND, CoreDNS} {
		t.Run(k.Title()+" answers, and is gone when it is stopped", func(t *testing.T) {
			t.Parallel()
			s := begin(t, k, Config{Zones: []Zone{{Origin: "garden.test.", Text: garden}, {Origin: "other.test.", Text: strings.ReplaceAll(garden, "garden", "other")}}})
			if got, version := serial(t, s), Version(t.Context(), k, s.Program); got != 1 || version == "" {
				t.Errorf("serial %d, version %q", got, version)
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
			if c, err := net.DialTimeout("tcp", s.Address.String(), time.Second); err == nil {
				_ = c.Close()
				t.Error("somebody listens still")
			}
			if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("its directory: %v", err)
			}
		})
	}
}

func TestResolvers(t *testing.T) {
	for _, k := range []Kind{Resolver, Unbound, BIND} {
		t.Run(k.Title()+" starts with hints", func(t *testing.T) {
			t.Parallel()
			s := begin(t, k, Config{Hints: ". 60 IN NS a.root.test.\na.root.test. 60 IN A 127.0.0.1\n"})
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	t.Run("a program that is not there is told from one that fails", func(t *testing.T) {
		t.Setenv("PATH", "")
		if _, err := Find("no-such-server"); !errors.Is(err, ErrNotInstalled) {
			t.Error(err)
		}
		if _, err := Start(t.Context(), "no-such-server", Config{}); err == nil || errors.Is(err, ErrNotInstalled) {
			t.Error(err)
		}
	})
	t.Run("a zone that is refused is an error with what the server said", func(t *testing.T) {
		program, err := Build(t.Context(), DNSServer, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		_, err = Start(t.Context(), DNSServer, Config{Program: program, Zones: []Zone{{Origin: "garden.test.", Text: "nonsense"}}})
		if err == nil || !strings.Contains(err.Error(), "0.zone") {
			t.Error(err)
		}
	})
	t.Run("a server that ended by itself is an error of Stop", func(t *testing.T) {
		s := begin(t, NSD, Config{Zones: []Zone{{Origin: "garden.test.", Text: garden}}})
		if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-s.ended
		if err := s.Stop(); err == nil {
			t.Error("no error")
		}
		if err := s.Stop(); err != nil {
			t.Error("a second Stop:", err)
		}
	})
}

func TestFreeAddress(t *testing.T) {
	a, err := FreeAddress(port)
	if err != nil {
		t.Fatal(err)
	}
	b, err := FreeAddress(port)
	if err != nil {
		t.Fatal(err)
	}
	if a == b || !a.Addr().IsLoopback() || b.Port() != port {
		t.Errorf("%v and %v", a, b)
	}
}
