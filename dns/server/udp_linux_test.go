package server

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"minicloud.internal/kit"
)

// aLoop returns a loop without Serve around it, and a client of its socket.
func aLoop(t testing.TB, s *Server, address string) (*udpLoop, *net.UDPConn) {
	t.Helper()
	pc, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	run := &serving{core: s.prepared(), limits: s.Limits, ctx: t.Context(), slots: make(chan struct{}, 1)}
	l, err := run.newLoop(pc.(*net.UDPConn))
	if err != nil {
		t.Fatal(err)
	}
	port := pc.LocalAddr().(*net.UDPAddr).Port
	conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return l, conn
}

// turn is one turn of the loop.
func (l *udpLoop) turn() error {
	if err := l.raw.Read(l.receive); err != nil {
		return err
	}
	l.answer(l.n)
	return l.flush()
}

func TestTheLoopAllocatesNothing(t *testing.T) {
	for name, address := range map[string]string{"bound to one address": "127.0.0.1:0", "bound to all": ":0"} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, nil)
			s.Handler = roses
			s.Limits.RateLimitExempt, s.Limits.RateLimit = nil, 1_000_000
			l, conn := aLoop(t, s, address)
			query := pack(t, question("Rose.", dns.TypeA, withEDNS(1232, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"})))
			buf := make([]byte, UDPSize)
			const each = 5
			answers := 0
			if n := testing.AllocsPerRun(20, func() {
				for range each {
					_, _ = conn.Write(query)
				}
				if err := l.turn(); err != nil {
					t.Fatal(err)
				}
				for range each {
					if n, err := conn.Read(buf); err != nil || n < len(query) {
						t.Fatal(n, err)
					}
					answers++
				}
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
			if got := l.counts.queries[0][0].Load(); int(got) != answers {
				t.Errorf("%d counted of %d", got, answers)
			}
		})
	}
}

func BenchmarkLoop(b *testing.B) {
	s := newServer(b, nil)
	s.Handler = roses
	l, conn := aLoop(b, s, "127.0.0.1:0")
	query := pack(b, question("Rose.", dns.TypeA, withEDNS(1232)))
	buf := make([]byte, UDPSize)
	b.ReportAllocs()
	for i := 0; i < b.N; i += batch {
		for range batch {
			_, _ = conn.Write(query)
		}
		if err := l.turn(); err != nil {
			b.Fatal(err)
		}
		for range batch {
			if _, err := conn.Read(buf); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkFastPath(b *testing.B) {
	s := newServer(b, nil)
	s.Handler = roses
	f := &fastPath{core: s.prepared()}
	wire := pack(b, question("Rose.Garden.Example.", dns.TypeA, withEDNS(1232, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"})))
	out := make([]byte, 0, UDPSize)
	b.ReportAllocs()
	for b.Loop() {
		f.answer(wire, client, udpSize, out)
	}
}

func TestEveryLoopHasItsSocket(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::1]:0"} {
		t.Run(listen, func(t *testing.T) {
			ln, pc, err := kit.ListenDNS(listen)
			if err != nil {
				t.Skip("no such address here:", err)
			}
			defer ln.Close()
			defer pc.Close()
			s := newServer(t, address)
			s.Limits.UDPLoops = 3
			run := &serving{core: s.prepared(), limits: s.Limits, ctx: t.Context()}
			loops, err := run.openUDP(pc)
			if err != nil || len(loops) != 3 {
				t.Fatalf("%d loops, %v", len(loops), err)
			}
			for _, l := range loops[1:] {
				defer l.conn.Close()
				if l.conn.LocalAddr().String() != pc.LocalAddr().String() {
					t.Errorf("a socket at %s beside %s", l.conn.LocalAddr(), pc.LocalAddr())
				}
			}
			// Somebody else's program comes to no part of the port, before and
			// after.
			if ln, pc, err := kit.ListenDNS(pc.LocalAddr().String()); !errors.Is(err, syscall.EADDRINUSE) {
				_, _ = ln.Close(), pc.Close()
				t.Errorf("a second server is bound: %v", err)
			}
		})
	}
	t.Run("by default there is one for each core", func(t *testing.T) {
		if got := DefaultLimits().loops(); got != runtime.GOMAXPROCS(0) {
			t.Errorf("got %d", got)
		}
	})
}

func TestAPortThatIsSharedWithAnotherProgramIsFound(t *testing.T) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		_ = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return err
	}}
	pc, err := lc.ListenPacket(context.Background(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	ln, mine, err := kit.ListenDNS(pc.LocalAddr().String())
	if !errors.Is(err, syscall.EADDRINUSE) {
		_, _ = ln.Close(), mine.Close()
		t.Errorf("got %v", err)
	}
}

func TestEveryAnswerOfABatchGoesToItsClient(t *testing.T) {
	s := newServer(t, nil)
	s.Handler = new(garden)
	s.Limits.UDPLoops = 1
	l, _ := aLoop(t, s, ":0")
	port := l.conn.LocalAddr().(*net.UDPAddr).Port
	var conns []*net.UDPConn
	for i, ip := range []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2), net.IPv6loopback, net.IPv4(127, 0, 0, 3)} {
		conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: ip, Port: port})
		if err != nil {
			t.Skip("no such address here:", err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		conns = append(conns, conn)
		_, _ = conn.Write(pack(t, question("rose.", dns.TypeA, func(m *dns.Msg) { m.Id = uint16(i) })))
		_, _ = conn.Write([]byte{1, 2, 3}) // is dropped without a gap
	}
	for l.counts.queries[0][0].Load() < uint64(len(conns)) {
		if err := l.turn(); err != nil {
			t.Fatal(err)
		}
	}
	for i, conn := range conns {
		buf := make([]byte, UDPSize)
		// A connected socket takes an answer only from the address it asked.
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(conn.RemoteAddr(), err)
		}
		if m := unpack(t, buf[:n]); int(m.Id) != i || len(m.Answer) != 1 {
			t.Errorf("%s got\n%v", conn.RemoteAddr(), m)
		}
	}
	if got := l.counts.dropped[0][0].Load(); got != uint64(len(conns)) {
		t.Errorf("%d dropped", got)
	}
}

func TestAnAnswerThatTheSystemRefusesHoldsUpNoOther(t *testing.T) {
	s := newServer(t, nil)
	s.Handler = roses
	l, conn := aLoop(t, s, "127.0.0.1:0")
	for range 3 {
		_, _ = conn.Write(pack(t, question("rose.", dns.TypeA)))
	}
	for l.pending = 0; l.pending < 3; {
		if err := l.raw.Read(l.receive); err != nil {
			t.Fatal(err)
		}
		l.answer(l.n)
	}
	l.out[1].Namelen = 1 // EINVAL
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	for range 2 {
		if _, err := conn.Read(make([]byte, UDPSize)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheLoopSurvivesAPanic(t *testing.T) {
	var calls atomic.Int64
	s := newServer(t, nil)
	s.Handler = fastFunc(func(q *FastQuery, msg []byte, reply *FastReply) ([]byte, bool) {
		if calls.Add(1); q.Name[0] == 5 {
			panic("thorns")
		}
		return roses(q, msg, reply)
	})
	addr, _ := start(t, s)
	for name, want := range map[string]int{"panic.": dns.RcodeServerFailure, "rose.": dns.RcodeSuccess} {
		for range 3 {
			m, err := dns.Exchange(question(name, dns.TypeA), addr)
			if err != nil || m.Rcode != want {
				t.Errorf("%s: %v %v", name, m, err)
			}
		}
	}
	if calls.Load() != 6 {
		t.Errorf("%d calls", calls.Load())
	}
}

func TestADatagramThatIsTooLongIsAFormatError(t *testing.T) {
	s := newServer(t, nil)
	s.Handler = roses
	addr, _ := start(t, s)
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	q := pack(t, question("rose.", dns.TypeA, withEDNS(1232, &dns.EDNS0_LOCAL{Code: 65001, Data: make([]byte, maxQuery)})))
	_, _ = conn.Write(q)
	buf := make([]byte, UDPSize)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if m := unpack(t, buf[:n]); m.Rcode != dns.RcodeFormatError {
		t.Errorf("got\n%v", m)
	}
}
