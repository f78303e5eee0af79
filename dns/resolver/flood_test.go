package resolver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/server"
	"minicloud.internal/kit/kittest"
)

func TestResolutionsOfWhoLeftAreBounded(t *testing.T) {
	w := newWorld(t)
	w.silent("192.0.2.1")
	r := w.resolver(func(c *Config) { c.MaxInFlight, c.QueryTimeout, c.ResolveTimeout = 8, time.Minute, time.Minute })
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

func TestAFloodOfDifferentNames(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(w *world) (asked func() int64)
		each  int64 // queries that one name may cost
		wait  time.Duration
	}{
		{"that exist", func(w *world) func() int64 {
			return w.zone("192.0.2.1", ".", "* IN A 192.0.2.80\n").Load
		}, 4, 800 * time.Millisecond}, // sent again where loopback loses datagrams
		{"that do not", func(w *world) func() int64 { return w.zone("192.0.2.1", ".", "").Load }, 4, 800 * time.Millisecond},
		{"of a server that fails", func(w *world) func() int64 {
			return w.serve("192.0.2.1", rcodeReply(dns.RcodeServerFailure)).Load
		}, 4, 800 * time.Millisecond},
		{"of a server that is silent", func(w *world) func() int64 {
			return w.serve("192.0.2.1", func(*dns.Msg, string) []*dns.Msg { return nil }).Load
		}, 6, 100 * time.Millisecond}, // twice four times at most, where there is a place at all
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			asked := tt.serve(w)
			r := w.resolver(func(c *Config) { c.QueryTimeout, c.ResolveTimeout = tt.wait, 5*tt.wait })
			before := runtime.NumGoroutine()
			goroutines, heap := flood(t, r)
			resolved := int64(r.metrics.misses.Load())
			if got := asked(); got > tt.each*resolved || resolved == 0 {
				t.Errorf("%d resolutions made %d queries", resolved, got)
			}
			// A query and its resolution are two, for each of max_in_flight; the name
			// server has one for each query that it got.
			if bound := before + 2*r.cfg.MaxInFlight + r.cfg.MaxUpstream; goroutines > bound {
				t.Errorf("%d goroutines, expected at most %d", goroutines, bound)
			}
			if heap > 128<<20 {
				t.Errorf("%d MiB of heap", heap>>20)
			}
			t.Logf("10,000 questions, %d of them resolved, the others dropped: %d queries, at most %d goroutines and %d MiB of heap (with the name server's)",
				resolved, asked(), goroutines, heap>>20)
		})
	}
}
