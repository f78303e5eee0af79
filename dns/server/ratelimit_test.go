package server

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/kit/kittest"
)

func TestLimiter(t *testing.T) {
	const limit = 100
	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC).UnixNano()
	stranger, neighbour := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("198.51.100.8")
	exempt := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	// count asks n times at a time and counts what becomes of the answers.
	count := func(l *limiter, who netip.Addr, k kind, at time.Duration, n int) (got [3]int) {
		for range n {
			got[l.judge(who, k, start+int64(at))]++
		}
		return got
	}
	t.Run("a second's worth passes at once, and of the rest every second answer says TC", func(t *testing.T) {
		if got := count(newLimiter(limit, nil), stranger, kindRecords, 0, 3*limit); got != [3]int{limit, limit, limit} {
			t.Errorf("got %v", got)
		}
	})
	t.Run("time gives back what the limit is", func(t *testing.T) {
		l := newLimiter(limit, nil)
		count(l, stranger, kindRecords, 0, 2*limit)
		if got := count(l, stranger, kindRecords, time.Second/10, limit)[pass]; got != limit/10 {
			t.Errorf("after 100 ms %d passed", got)
		}
		if got := count(l, stranger, kindRecords, 10*time.Second, 2*limit)[pass]; got != limit {
			t.Errorf("after 10 s %d passed", got)
		}
	})
	t.Run("a clock that is set back, or far ahead, leaves nobody without answers", func(t *testing.T) {
		l := newLimiter(limit, nil)
		for _, hours := range []time.Duration{0, -1, 24 * 365, 0} {
			if got := count(l, stranger, kindRecords, hours*time.Hour, 2*limit)[pass]; got != limit {
				t.Errorf("%d h: %d passed", hours, got)
			}
		}
	})
	t.Run("a network shares its limit, kinds do not", func(t *testing.T) {
		l := newLimiter(limit, nil)
		count(l, stranger, kindRecords, 0, limit)
		if got := count(l, neighbour, kindRecords, 0, 1)[pass]; got != 0 {
			t.Error("the neighbour passed")
		}
		if got := count(l, neighbour, kindNo, 0, 1)[pass]; got != 1 {
			t.Error("another kind did not pass")
		}
	})
	t.Run("an IPv6 /56 is one network", func(t *testing.T) {
		l := newLimiter(limit, nil)
		count(l, netip.MustParseAddr("2001:db8:1:2200::1"), kindRecords, 0, limit)
		if count(l, netip.MustParseAddr("2001:db8:1:22ff::2"), kindRecords, 0, 1)[pass] != 0 || count(l, netip.MustParseAddr("2001:db8:1:2300::2"), kindRecords, 0, 1)[pass] != 1 {
			t.Error("got another network")
		}
	})
	t.Run("who is exempt has no limit", func(t *testing.T) {
		if got := count(newLimiter(limit, exempt), netip.MustParseAddr("10.1.2.3"), kindRecords, 0, 10*limit)[pass]; got != 10*limit {
			t.Errorf("%d passed", got)
		}
	})
	t.Run("a flood from everywhere takes no memory, and leaves others nearly all of theirs", func(t *testing.T) {
		l := newLimiter(limit, nil)
		for i := range 1 << 17 {
			l.judge(netip.AddrFrom4([4]byte{byte(1 + i>>16), byte(i >> 8), byte(i), 1}), kindRecords, start)
		}
		if got := count(l, stranger, kindRecords, 0, limit)[pass]; got < limit-2 || len(l.table) != limiterPlaces {
			t.Errorf("%d passed", got)
		}
		if n := testing.AllocsPerRun(100, func() { l.judge(stranger, kindRecords, start) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
	t.Run("loops that share it do not lose count", func(t *testing.T) {
		l := newLimiter(limit, nil)
		var wg sync.WaitGroup
		passed := make([]int, 4)
		for i := range passed {
			wg.Go(func() { passed[i] = count(l, stranger, kindRecords, 0, limit)[pass] })
		}
		wg.Wait()
		// Who loses a place four times in a row passes.
		if sum := passed[0] + passed[1] + passed[2] + passed[3]; sum < limit || sum > 2*limit {
			t.Errorf("%d passed", sum)
		}
	})
}

// TestAFloodInAVictimsName holds the server to its promise: a flood of queries
// in somebody's name brings him no more octets than the attacker spends, beyond
// what the limit lets through.
func TestAFloodInAVictimsName(t *testing.T) {
	for _, name := range []string{"rose.", "slow."} { // in place, and the general way
		t.Run(name, func(t *testing.T) {
			s := newServer(t, nil)
			s.Handler = new(garden)
			s.Limits.RateLimit, s.Limits.RateLimitExempt = 10, nil
			s.Limits.UDPLoops = 1
			addr, _ := start(t, s)
			conn, err := net.Dial("udp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			const flood = 200
			began := time.Now()
			query := pack(t, question(name, dns.TypeTXT, withEDNS(1232)))
			for range flood {
				_, _ = conn.Write(query)
			}
			var whole, cut, size int
			buf := make([]byte, UDPSize)
			kittest.Eventually(t, "each query is answered or its answer dropped", func() bool {
				_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				for {
					n, err := conn.Read(buf)
					if err != nil {
						break
					}
					size += n
					if m := unpack(t, buf[:n]); m.Truncated && len(m.Answer) == 0 {
						cut++
					} else {
						whole++
					}
				}
				shed := s.Metrics.sum(func(c *counters) *atomic.Uint64 { return &c.limited[1] })
				return int(shed)+whole+cut >= flood
			})
			most := s.Limits.RateLimit * (2 + int(time.Since(began)/time.Second))
			if whole < s.Limits.RateLimit || whole > most || cut != (flood-whole+1)/2 || size > whole*UDPSize+flood*len(query) {
				t.Errorf("%d whole, %d cut, %d octets for %d", whole, cut, size, flood*len(query))
			}
			t.Logf("%d octets asked, %d answered: %d whole, %d cut, %d dropped", flood*len(query), size, whole, cut, flood-whole-cut)
		})
	}
}

func TestWhoHasACookieHasNoRateLimit(t *testing.T) {
	for _, name := range []string{"rose.", "slow."} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, nil)
			s.Handler = new(garden)
			s.Limits.RateLimit, s.Limits.RateLimitExempt = 1, nil
			addr, _ := start(t, s)
			cookie := "0102030405060708"
			for i := range 20 {
				q := question(name, dns.TypeA, withEDNS(1232, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie}))
				m, err := dns.Exchange(q, addr)
				if err != nil || m.Truncated || len(m.Answer) != 1 {
					t.Fatalf("query %d: %v %v", i, m, err)
				}
				cookie = m.IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie
			}
		})
	}
}

func TestLimitedAnswersAreCounted(t *testing.T) {
	s := newServer(t, nil)
	s.Handler = new(garden)
	s.Limits.RateLimit, s.Limits.RateLimitExempt = 1, nil
	addr, _ := start(t, s)
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 9 {
		_, _ = conn.Write(pack(t, question("rose.", dns.TypeA)))
	}
	kittest.Eventually(t, "they are counted", func() bool {
		got := scraped(t, s, "minicloud_test_rate_limited_total")
		return got["dropped"] >= 3 && got["truncated"] >= 3
	})
}
