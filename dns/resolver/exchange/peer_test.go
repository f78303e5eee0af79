package exchange

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nsAddr is the name server of most tests; only a route leads to it.
var nsAddr = netip.MustParseAddr("192.0.2.1")

// A question is what a peer received.
type question struct {
	*dns.Msg
	network string // "udp", "tcp" or "tls"
	n       int    // how many came before
	client  string // its address and port
}

// name is the name as it was asked, capitals and all.
func (q question) name() string { return q.Question[0].Name }

// An answer returns the messages to send back: bytes or *dns.Msg.
type answer func(q question) []any

// A peer is a scripted name server on loopback.
type peer struct {
	t      testing.TB
	addr   string // UDP and TCP
	tls    string
	answer answer

	mu    sync.Mutex
	got   []question
	conns int
}

func newPeer(t testing.TB, cert *tls.Certificate, f answer) *peer {
	t.Helper()
	ln, pc, err := kit.ListenDNS("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, addr: ln.Addr().String(), answer: f}
	var running sync.WaitGroup
	running.Go(func() { p.datagrams(pc) })
	running.Go(func() { p.streams(ln, "tcp", &running) })
	closers := []io.Closer{ln, pc}
	if cert != nil {
		inner, err := kit.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		secured := tls.NewListener(inner, &tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: []string{"dot"}})
		p.tls = inner.Addr().String()
		closers = append(closers, inner)
		running.Go(func() { p.streams(secured, "tls", &running) })
	}
	t.Cleanup(func() {
		for _, c := range closers {
			_ = c.Close()
		}
		running.Wait()
	})
	return p
}

func (p *peer) datagrams(pc net.PacketConn) {
	buf := make([]byte, 65536)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		for _, out := range p.respond(buf[:n], "udp", from.String()) {
			_, _ = pc.WriteTo(out, from)
		}
	}
}

func (p *peer) streams(ln net.Listener, network string, running *sync.WaitGroup) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.conns++
		p.mu.Unlock()
		running.Go(func() {
			defer conn.Close()
			for {
				wire, err := server.ReadMessage(conn)
				if err != nil {
					return
				}
				for _, out := range p.respond(wire, network, conn.RemoteAddr().String()) {
					if out == nil { // a server that hangs up
						return
					}
					_ = server.WriteMessage(conn, out)
				}
			}
		})
	}
}

func (p *peer) respond(wire []byte, network, client string) (out [][]byte) {
	q := question{Msg: new(dns.Msg), network: network, client: client}
	if err := q.Unpack(wire); err != nil {
		p.t.Errorf("a question cannot be read: %v", err)
		return nil
	}
	p.mu.Lock()
	q.n = len(p.got)
	p.got = append(p.got, q)
	p.mu.Unlock()
	for _, m := range p.answer(q) {
		switch m := m.(type) {
		case *dns.Msg:
			packed, err := m.Pack()
			if err != nil {
				p.t.Errorf("pack the peer's answer: %v", err)
			}
			out = append(out, packed)
		case []byte:
			out = append(out, m)
		default:
			out = append(out, nil)
		}
	}
	return out
}

func (p *peer) received() []question {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]question(nil), p.got...)
}

func (p *peer) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns
}

// good is a right answer: one address, and EDNS where the question has it.
func good(q question, change ...func(*dns.Msg)) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q.Msg)
	m.Authoritative, m.Compress = true, true
	m.Answer = []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: q.name(), Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300},
		A:   net.IPv4(192, 0, 2, 80),
	}}
	if q.IsEdns0() != nil {
		m.SetEdns0(1232, false)
	}
	for _, f := range change {
		f(m)
	}
	return m
}

// exchanger builds one with routes to peers, at 192.0.2.1 and up. Where nothing
// else is set, the timeout is so long that no slow machine sends anything again.
func exchanger(t testing.TB, change func(*Config), peers ...*peer) *Exchanger {
	t.Helper()
	cfg := Config{Settings: DefaultSettings(), Routes: map[netip.Addr]string{}}
	cfg.QueryTimeout, cfg.ForwardTimeout = time.Minute, time.Minute
	addr := nsAddr
	for _, p := range peers {
		cfg.Routes[addr] = p.addr
		addr = addr.Next()
	}
	if change != nil {
		change(&cfg)
	}
	x, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

// ask asks the name server of most tests for an address, in capitals and all.
func ask(t testing.TB, x *Exchanger) (*Result, error) {
	t.Helper()
	return x.Exchange(t.Context(), At(nsAddr), "www.example.com.", dns.TypeA, Options{})
}

func mustAsk(t testing.TB, x *Exchanger) *Result {
	t.Helper()
	res, err := ask(t, x)
	if err != nil {
		t.Fatalf("no answer: %v (%q)", err, res.Notes)
	}
	return res
}

// dialer turns a function into the network: it is given the far end of each
// socket. Closing it ends the function.
func dialer(f func(network, address string, conn net.Conn)) kit.DialFunc {
	return func(_ context.Context, network, address string) (net.Conn, error) {
		near, far := net.Pipe()
		go f(network, address, far)
		return near, nil
	}
}

// contextAfter is the test's context, ended after a time.
func contextAfter(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
