package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type handlerFunc func(ctx context.Context, q *Query, reply *dns.Msg)

func (f handlerFunc) Answer(ctx context.Context, q *Query, reply *dns.Msg) { f(ctx, q, reply) }

var client = netip.MustParseAddrPort("127.0.0.1:4444")

func newServer(t testing.TB, h handlerFunc) *Server {
	t.Helper()
	m, err := NewMetrics("test", prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return &Server{Handler: h, Logger: slog.New(slog.DiscardHandler), Health: kit.NewHealth(), Metrics: m, Limits: DefaultLimits()}
}

func queriesCounted(s *Server, transport string, rcode int) uint64 {
	return s.Metrics.sum(func(c *counters) *atomic.Uint64 { return &c.queries[transportIndex(transport)][rcode] })
}

func droppedCounted(s *Server, transport string, reason int) uint64 {
	return s.Metrics.sum(func(c *counters) *atomic.Uint64 { return &c.dropped[transportIndex(transport)][reason] })
}

// address answers every question with one address.
func address(_ context.Context, q *Query, reply *dns.Msg) {
	reply.Answer = []dns.RR{record(q.Question.Name + " 60 IN A 192.0.2.1")}
}

func record(s string) dns.RR {
	rr, err := dns.NewRR(s)
	if err != nil {
		panic(err)
	}
	return rr
}

// start serves s until the returned function stops it and waits.
func start(t *testing.T, s *Server) (address string, stop func() error) {
	t.Helper()
	ln, pc, err := kit.ListenDNS("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln, pc) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return ln.Addr().String(), stop
}

func TestServe(t *testing.T) {
	s := newServer(t, address)
	if status, _ := s.Health.Status(); status != http.StatusServiceUnavailable {
		t.Errorf("before: %d", status)
	}
	addr, stop := start(t, s)
	for _, network := range []string{"udp", "tcp"} {
		c := &dns.Client{Net: network}
		q := new(dns.Msg)
		q.SetQuestion("example.com.", dns.TypeA)
		m, _, err := c.Exchange(q, addr)
		if err != nil || len(m.Answer) != 1 {
			t.Fatalf("%s: %v %v", network, m, err)
		}
		if got := queriesCounted(s, network, dns.RcodeSuccess); got != 1 {
			t.Errorf("%s: %v queries counted", network, got)
		}
	}
	if status, _ := s.Health.Status(); status != http.StatusOK {
		t.Errorf("while serving: %d", status)
	}
	if err := stop(); err != nil {
		t.Errorf("at the end: %v", err)
	}
	if status, _ := s.Health.Status(); status != http.StatusServiceUnavailable {
		t.Errorf("after: %d", status)
	}
}

func TestTheAnswerComesFromTheAddressThatWasAsked(t *testing.T) {
	ln, pc, err := kit.ListenDNS("0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- newServer(t, address).Serve(ctx, ln, pc) }()
	defer func() { cancel(); <-done }()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	q := new(dns.Msg)
	q.SetQuestion("example.com.", dns.TypeA)
	// The client's socket is connected: it takes an answer from 127.0.0.2 only.
	if m, err := dns.Exchange(q, "127.0.0.2:"+port); err != nil || len(m.Answer) != 1 {
		t.Errorf("%v %v", m, err)
	}
}

func TestManyQueriesOnOneConnection(t *testing.T) {
	slow := make(chan struct{})
	addr, _ := start(t, newServer(t, func(ctx context.Context, q *Query, reply *dns.Msg) {
		if q.Name == "slow." {
			<-slow
		}
		address(ctx, q, reply)
	}))
	conn, err := dns.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	send := func(name string) {
		q := new(dns.Msg)
		q.SetQuestion(name, dns.TypeA)
		if err := conn.WriteMsg(q); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(name string) {
		m, err := conn.ReadMsg()
		if err != nil || m.Question[0].Name != name {
			t.Fatalf("expected %s, got %v %v", name, m, err)
		}
	}
	send("slow.")
	send("fast.")
	expect("fast.") // overtakes
	// The client has nothing more to say, and still gets what it asked for.
	if err := conn.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	close(slow)
	expect("slow.")
	if _, err := conn.ReadMsg(); !errors.Is(err, io.EOF) {
		t.Errorf("expected the end, got %v", err)
	}
}

func TestTCPLimits(t *testing.T) {
	t.Run("a connection over the bound is closed", func(t *testing.T) {
		s := newServer(t, address)
		s.Limits.MaxTCPConnections = 1
		addr, _ := start(t, s)
		first, err := dns.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		q := new(dns.Msg)
		q.SetQuestion("example.com.", dns.TypeA)
		c := &dns.Client{Net: "tcp"}
		if _, _, err := c.ExchangeWithConn(q, first); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Exchange(q, addr); err == nil {
			t.Error("a second connection was served")
		}
		if got := droppedCounted(s, "tcp", 1); got != 1 {
			t.Errorf("%v counted", got)
		}
	})
	t.Run("an idle connection is closed", func(t *testing.T) {
		s := newServer(t, address)
		s.Limits.TCPIdle = 20 * time.Millisecond
		addr, _ := start(t, s)
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = conn.Write([]byte{0}) // half a length is idle too
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("expected the end, got %v", err)
		}
	})
	t.Run("a connection that speaks no DNS is closed", func(t *testing.T) {
		addr, _ := start(t, newServer(t, address))
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_ = WriteMessage(conn, []byte("hello"))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("expected the end, got %v", err)
		}
	})
}

func TestQueriesOverTheBoundAreDropped(t *testing.T) {
	inside, leave := make(chan struct{}, 1), make(chan struct{})
	s := newServer(t, func(ctx context.Context, q *Query, reply *dns.Msg) {
		inside <- struct{}{}
		<-leave
		address(ctx, q, reply)
	})
	s.Limits.MaxInFlight = 1
	addr, _ := start(t, s)
	conn, err := dns.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	q := new(dns.Msg)
	q.SetQuestion("first.", dns.TypeA)
	_ = conn.WriteMsg(q)
	<-inside
	q.SetQuestion("second.", dns.TypeA)
	_ = conn.WriteMsg(q)
	kittest.Eventually(t, "the overload is counted", func() bool { return droppedCounted(s, "udp", 1) == 1 })
	close(leave)
	if m, err := conn.ReadMsg(); err != nil || m.Question[0].Name != "first." {
		t.Errorf("got %v %v", m, err)
	}
}

func TestTheEndFinishesWhatHasBegun(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	addr, stop := start(t, newServer(t, func(ctx context.Context, q *Query, reply *dns.Msg) {
		inside <- struct{}{}
		<-leave
		address(ctx, q, reply)
	}))
	answers := make(chan error, 2)
	for _, network := range []string{"udp", "tcp"} {
		go func() {
			q := new(dns.Msg)
			q.SetQuestion("example.com.", dns.TypeA)
			_, _, err := (&dns.Client{Net: network, Timeout: 10 * time.Second}).Exchange(q, addr)
			answers <- err
		}()
		<-inside
	}
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	// New connections are refused from now on, while the old are still served.
	kittest.Eventually(t, "new connections are refused", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	close(leave)
	for range 2 {
		if err := <-answers; err != nil {
			t.Errorf("an answer was lost: %v", err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestASocketThatBreaksIsAnError(t *testing.T) {
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			ln, pc, err := kit.ListenDNS("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if network == "udp" {
				_ = pc.Close()
			} else {
				_ = ln.Close()
			}
			if err := newServer(t, address).Serve(t.Context(), ln, pc); err == nil {
				t.Error("Serve returned nil")
			}
		})
	}
}

func TestReadMessage(t *testing.T) {
	wire := binary.BigEndian.AppendUint16(nil, 3)
	if got, err := ReadMessage(strings.NewReader(string(wire) + "abcdef")); string(got) != "abc" || err != nil {
		t.Errorf("got %q %v", got, err)
	}
	if _, err := ReadMessage(strings.NewReader(string(wire) + "ab")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

func TestValidateLimits(t *testing.T) {
	for key, change := range map[string]func(*Limits){
		"max_in_flight":        func(l *Limits) { l.MaxInFlight = 0 },
		"udp_loops":            func(l *Limits) { l.UDPLoops = -1 },
		"max_tcp_connections":  func(l *Limits) { l.MaxTCPConnections = -1 },
		"max_tcp_per_client":   func(l *Limits) { l.MaxTCPPerClient = -1 },
		"tcp_idle":             func(l *Limits) { l.TCPIdle = 0 },
		"nsid":                 func(l *Limits) { l.NSID = strings.Repeat("x", 65) },
		"version":              func(l *Limits) { l.Version = strings.Repeat("x", 65) },
		"cookie_secret":        func(l *Limits) { l.CookieSecret = "0123" },
		"rate_limit":           func(l *Limits) { l.RateLimit = -1 },
		"rate_limit_exempt[1]": func(l *Limits) { l.RateLimitExempt = []string{"10.0.0.0/8", "10.0.0.1"} },
		"tls_listen":           func(l *Limits) { l.TLSListen = "853" },
		"https_listen":         func(l *Limits) { l.HTTPSListen = ":443" }, // without a certificate
		"certificate":          func(l *Limits) { l.Certificate = "cert.pem" },
		"key":                  func(l *Limits) { l.Key = "key.pem" },
	} {
		t.Run(key+" is checked", func(t *testing.T) {
			l := DefaultLimits()
			if err := l.ValidateLimits(); err != nil {
				t.Fatal(err)
			}
			change(&l)
			if got := (*kit.KeyError)(nil); !errors.As(l.ValidateLimits(), &got) || got.Key != key {
				t.Errorf("got %v", got)
			}
		})
	}
	t.Run("a wrong secret is not shown", func(t *testing.T) {
		l := DefaultLimits()
		l.CookieSecret = "geheim"
		if err := l.ValidateLimits(); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("one client may have half of the connections by default", func(t *testing.T) {
		l := DefaultLimits()
		if l.MaxTCPConnections = 1; l.tcpPerClient() != 1 {
			t.Error("of one, none")
		}
		if l.MaxTCPConnections = 10; l.tcpPerClient() != 5 {
			t.Error("not half")
		}
	})
}

func TestWriteMessage(t *testing.T) {
	var out bytes.Buffer
	if err := WriteMessage(&out, make([]byte, 1<<16)); err == nil || out.Len() != 0 {
		t.Errorf("a message without a length: %v, %d octets written", err, out.Len())
	}
	if err := WriteMessage(&out, []byte("abc")); err != nil || out.String() != "\x00\x03abc" {
		t.Errorf("got %q %v", &out, err)
	}
}
