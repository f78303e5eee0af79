package resolver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/server"
	"minicloud.internal/kit/kittest"
)

func TestResolutionsOfWhoLeftAreBounded(t *testing.T) {
	w := newWorld(t)
	w.silent("192.0.2.1")
	r := w.resolver(func(c *Config) { c.MaxInFlight = 8 })
	gone, leave := context.WithCancel(t.Context())
	leave()
	for i := range 100 {
		name := fmt.Sprintf("n%d.", i)
		r.Answer(gone, &server.Query{Name: name, Type: dns.TypeA, RecursionDesired: true, Source: netip.MustParseAddrPort("127.0.0.1:5"),
			Question: dns.Question{Name: name, Qtype: dns.TypeA}}, new(dns.Msg))
	}
	r.flights.mu.Lock()
	running := len(r.flights.running)
	r.flights.mu.Unlock()
	if running != 16 {
		t.Errorf("%d resolutions run, want 16: twice max_in_flight", running)
	}
	m := query(t, r, "another. A")
	if code, sentence := explained(m); m.Rcode != dns.RcodeServerFailure || code != dns.ExtendedErrorCodeOther || !strings.Contains(sentence, "Too many questions") {
		t.Errorf("got %v, explained with %d %q", m, code, sentence)
	}
	if items := r.cache.Dump("another."); len(items) != 0 {
		t.Errorf("that there was no room is remembered: %v", items)
	}
}

// A flood asks for 10,000 different names over UDP, as fast as they can be sent,
// and returns what the resolver took at most: goroutines and octets of heap.
func flood(t *testing.T, r *built) (goroutines int, heap uint64) {
	t.Helper()
	conn, err := net.Dial("udp", serving(t, r.Serve))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	look := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		goroutines, heap = max(goroutines, runtime.NumGoroutine()), max(heap, m.HeapAlloc)
	}
	for i := range 10_000 {
		wire, err := new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.", i), dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(wire); err != nil {
			t.Fatal(err)
		}
		if i%500 == 0 {
			look()
		}
	}
	look()
	kittest.Eventually(t, "every resolution has ended", func() bool {
		r.flights.mu.Lock()
		defer r.flights.mu.Unlock()
		return len(r.flights.running) == 0
	})
	look()
	return goroutines, heap
}

// flat is serve without a goroutine for each query, over UDP alone: of the
// goroutines in a flood those of the resolver are left.
func (w *world) flat(addr string, f reply) *atomic.Int64 {
	w.t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.route(addr, pc.LocalAddr().String())
	queries, done := new(atomic.Int64), make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			queries.Add(1)
			q := new(dns.Msg)
			if err := q.Unpack(buf[:n]); err != nil {
				w.t.Error(err)
				continue
			}
			for _, m := range f(q, "udp") {
				wire, err := m.Pack()
				if err != nil {
					w.t.Error(err)
				}
				_, _ = pc.WriteTo(wire, from)
			}
		}
	}()
	w.t.Cleanup(func() { _ = pc.Close(); <-done })
	return queries
}

func TestAFloodOfDifferentNames(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reply func(t *testing.T) reply
	}{
		{"that exist", func(t *testing.T) reply { return zoneReply(t, ".", "* IN A 192.0.2.80\n") }},
		{"that do not", func(t *testing.T) reply { return zoneReply(t, ".", "") }},
		{"of a server that fails", func(*testing.T) reply { return rcodeReply(dns.RcodeServerFailure) }},
		{"of a server that is silent", func(*testing.T) reply { return func(*dns.Msg, string) []*dns.Msg { return nil } }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			asked := w.flat("192.0.2.1", tt.reply(t))
			// Loopback loses datagrams; they are sent again soon.
			r := w.resolver(func(c *Config) { c.QueryTimeout, c.ResolveTimeout = 100*time.Millisecond, 500*time.Millisecond })
			before := runtime.NumGoroutine()
			goroutines, heap := flood(t, r)
			// All bounds are of what may happen on the slowest machine. A server is
			// asked attempts times, with four datagrams each at most, for a name or
			// for one of the three things that confirm the root.
			resolved := int64(r.metrics.misses.Load())
			if got, bound := asked.Load(), int64(4*r.cfg.Attempts)*(resolved+3); got > bound || resolved == 0 {
				t.Errorf("%d resolutions made %d queries, expected at most %d", resolved, got, bound)
			}
			// Each of max_in_flight queries, each of twice as many resolutions, and what
			// ends each wait upstream; the rest are the server's loops.
			if bound := before + 3*r.cfg.MaxInFlight + r.cfg.MaxUpstream + 100; goroutines > bound {
				t.Errorf("%d goroutines, expected at most %d", goroutines, bound)
			}
			if heap > 128<<20 {
				t.Errorf("%d MiB of heap", heap>>20)
			}
			t.Logf("10,000 questions, %d of them resolved, the others dropped: %d queries, at most %d goroutines and %d MiB of heap",
				resolved, asked.Load(), goroutines, heap>>20)
		})
	}
}
