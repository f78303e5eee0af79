package exchange

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestArrange(t *testing.T) {
	const ms = time.Millisecond
	base := time.Unix(1_800_000_000, 0)
	at := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }
	fast, near, slow, slower := standing{addr: at(1), measured: true, srtt: 10 * ms}, standing{addr: at(2), measured: true, srtt: 20 * ms},
		standing{addr: at(3), measured: true, srtt: 21 * ms}, standing{addr: at(4), measured: true, srtt: 500 * ms}
	unknown := standing{addr: at(5)}
	dead, deader := standing{addr: at(6), measured: true, srtt: ms, behind: true, until: base}, standing{addr: at(7), behind: true, until: base.Add(time.Second)}
	probe := standing{addr: at(8), measured: true, srtt: ms, probe: true}
	tests := []struct {
		name    string
		list    []standing
		explore bool
		want    []string // every order that chance makes of it
	}{
		{"none", nil, false, []string{""}},
		{"the faster comes first", []standing{slower, slow, fast}, false, []string{"1 3 4"}},
		{"those about as fast are equals", []standing{fast, near}, false, []string{"1 2", "2 1"}},
		{"nobody else is", []standing{slow, near, fast}, false, []string{"1 2 3", "2 1 3"}},
		{"who is unknown comes first", []standing{fast, unknown}, false, []string{"5 1"}},
		{"who is backed off comes last, the soonest forgiven first", []standing{deader, dead, slower}, false, []string{"4 6 7"}},
		{"all backed off are still asked", []standing{deader, dead}, false, []string{"6 7"}},
		{"a probe comes before everybody", []standing{fast, unknown, probe}, false, []string{"8 5 1"}},
		{"now and then a slow one comes first", []standing{slower, fast, slow}, true, []string{"3 1 4", "4 1 3"}},
		{"but not before the unknown, nor one backed off", []standing{slow, fast, unknown, dead}, true, []string{"5 3 1 6"}},
		{"with nobody slow nothing is tried out", []standing{near, fast, dead}, true, []string{"1 2 6", "2 1 6"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for seed := range 1000 {
				state := uint64(seed)
				intN := func(n int) int {
					if n == explore {
						if tt.explore {
							return 0
						}
						return 1
					}
					state = state*6364136223846793005 + 1442695040888963407
					return int(state>>33) % n
				}
				var s []string
				for _, addr := range arrange(slices.Clone(tt.list), intN) {
					s = append(s, strings.TrimPrefix(addr.String(), "192.0.2."))
				}
				got = append(got, strings.Join(s, " "))
			}
			slices.Sort(got)
			if diff := cmp.Diff(tt.want, slices.Compact(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A clock stands still until it is moved.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

// table returns the servers' table at work: learn and fail stand for exchanges.
func table(t *testing.T) (x *Exchanger, c *clock, learn func(netip.Addr, lesson), fail func(netip.Addr)) {
	c = &clock{time.Unix(1_800_000_000, 0)}
	x = exchanger(t, func(cfg *Config) { cfg.Now = c.now })
	with := func(addr netip.Addr, f func(*host)) {
		s, _, err := x.servers.enter(t.Context(), At(addr).key(), c.now())
		if err != nil {
			t.Fatal(err)
		}
		f(s)
		x.servers.leave(s)
	}
	learn = func(addr netip.Addr, l lesson) { with(addr, func(s *host) { x.servers.answered(s, l, c.now()) }) }
	fail = func(addr netip.Addr) { with(addr, func(s *host) { x.servers.failed(s, c.now()) }) }
	return x, c, learn, fail
}

func TestOrderFollowsWhatWasMeasured(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	x, c, learn, fail := table(t)
	first := func(zone string) netip.Addr { return x.Order(zone, []netip.Addr{a, b})[0] }
	// mostly asks often enough that exploring does not matter.
	mostly := func(zone string) netip.Addr {
		n := map[netip.Addr]int{}
		for range 200 {
			n[first(zone)]++
		}
		if n[a] > n[b] {
			return a
		}
		return b
	}
	learn(a, lesson{rtt: time.Millisecond})
	if got := first("."); got != b {
		t.Errorf("first %v, not the one that was never asked", got)
	}
	learn(b, lesson{rtt: 100 * time.Millisecond})
	if got := mostly("."); got != a {
		t.Errorf("mostly %v, not the faster", got)
	}
	x.Lame(a, "com.")
	if got := mostly("com."); got != b {
		t.Errorf("for com. mostly %v, which is lame for it", got)
	}
	if got := mostly("org."); got != a {
		t.Errorf("for org. mostly %v, although only com. is lame", got)
	}
	c.Time = c.Add(lameFor)
	if got := mostly("com."); got != a {
		t.Errorf("for com. mostly %v: lameness does not end", got)
	}
	fail(a)
	if got := mostly("."); got != b {
		t.Errorf("mostly %v, which is backed off", got)
	}
	c.Time = c.Add(firstBackoff)
	var probes []netip.Addr
	for range 3 {
		probes = append(probes, first("."))
	}
	if diff := cmp.Diff([]netip.Addr{a, b, b}, probes, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("after backing off: %s", diff)
	}
	learn(a, lesson{rtt: time.Millisecond})
	if got := mostly("."); got != a {
		t.Errorf("mostly %v, although the probe was answered", got)
	}
	c.Time = c.Add(forgetAfter + time.Second)
	learn(b, lesson{rtt: 100 * time.Millisecond})
	if got := first("."); got != a {
		t.Errorf("first %v: what was measured is never forgotten", got)
	}
}

func TestBackingOffDoublesUpToItsBound(t *testing.T) {
	x, c, learn, fail := table(t)
	behind := func() bool { return x.servers.standings(".", []netip.Addr{nsAddr}, c.now())[0].behind }
	for _, want := range []time.Duration{2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		fail(nsAddr)
		c.Time = c.Add(want*time.Second - 1)
		if !behind() {
			t.Errorf("it is asked again before %v s", int(want))
		}
		c.Time = c.Add(1)
		if behind() {
			t.Errorf("it is still backed off after %d s", int(want))
		}
	}
	learn(nsAddr, lesson{})
	fail(nsAddr)
	if c.Time = c.Add(firstBackoff); behind() {
		t.Error("an answer does not end the doubling")
	}
}

func TestTheTableIsBounded(t *testing.T) {
	x, c, _, fail := table(t)
	busy, _, err := x.servers.enter(t.Context(), At(nsAddr).key(), c.now())
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr("10.0.0.0")
	for range 2 * maxServers {
		x.Lame(addr, "com.")
		addr = addr.Next()
	}
	if n := x.servers.len(); n != maxServers {
		t.Errorf("%d servers are remembered, want %d", n, maxServers)
	}
	for i := range 10 * maxLame {
		x.Lame(nsAddr, fmt.Sprintf("z%d.", i))
	}
	if n := len(busy.lame); n != maxLame {
		t.Errorf("%d lame zones are remembered of a server, want %d", n, maxLame)
	}
	x.servers.leave(busy)
	fail(addr) // the table is full: the least recently used goes
	if n := x.servers.len(); n != maxServers {
		t.Errorf("%d servers are remembered, want %d", n, maxServers)
	}
}

func TestAServerInUseIsNotForgotten(t *testing.T) {
	x, c, _, _ := table(t)
	busy, _, err := x.servers.enter(t.Context(), At(nsAddr).key(), c.now())
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr("10.0.0.0")
	for range maxServers {
		x.Lame(addr, "com.")
		addr = addr.Next()
	}
	again, _, err := x.servers.enter(t.Context(), At(nsAddr).key(), c.now())
	if err != nil {
		t.Fatal(err)
	}
	if again != busy {
		t.Error("its places are counted from zero")
	}
	x.servers.leave(busy)
	x.servers.leave(again)
}

func TestWaits(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name  string
		known known
		hurry bool
		want  string
	}{
		{"an unknown server", known{}, false, "200ms 400ms 200ms"},
		{"an unknown server, in a hurry", known{}, true, "200ms 400ms"},
		{"a fast server", known{measured: true, srtt: ms, rttvar: ms}, false, "50ms 100ms 200ms 450ms"},
		{"a fast server, in a hurry", known{measured: true, srtt: ms, rttvar: ms}, true, "50ms 100ms"},
		{"a server whose answers take from 60 to 140 ms", known{measured: true, srtt: 100 * ms, rttvar: 20 * ms}, false, "180ms 360ms 260ms"},
		{"a server at the limit", known{measured: true, srtt: 760 * ms, rttvar: 5 * ms}, false, "800ms"},
		{"a server beyond it", known{measured: true, srtt: 2000 * ms, rttvar: ms}, true, "800ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			sum := time.Duration(0)
			for _, w := range waits(resendAfter(tt.known, 800*ms), 800*ms, tt.hurry) {
				got = append(got, w.String())
				sum += w
			}
			if s := strings.Join(got, " "); s != tt.want || sum > 800*ms {
				t.Errorf("waits %s, want %s", s, tt.want)
			}
		})
	}
}

func TestTheMeasurementFollowsTheNetwork(t *testing.T) {
	var s host
	for range 100 {
		s.measure(100 * time.Millisecond)
	}
	if s.srtt != 100*time.Millisecond || s.rttvar > time.Microsecond {
		t.Errorf("of a steady 100 ms: %v, varying %v", s.srtt, s.rttvar)
	}
	for range 50 {
		s.measure(10 * time.Millisecond)
	}
	if s.srtt > 11*time.Millisecond || s.rttvar > 5*time.Millisecond {
		t.Errorf("then of a steady 10 ms: %v, varying %v", s.srtt, s.rttvar)
	}
}

func TestAPlaceIsWaitedForUntilTheContextEnds(t *testing.T) {
	x, c, _, _ := table(t)
	ctx, cancel := context.WithCancel(t.Context())
	var taken []*host
	for range x.cfg.MaxUpstreamPerServer {
		s, _, err := x.servers.enter(ctx, At(nsAddr).key(), c.now())
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, s)
	}
	cancel()
	if _, _, err := x.servers.enter(ctx, At(nsAddr).key(), c.now()); err == nil {
		t.Error("there is a place too many")
	}
	for _, s := range taken {
		x.servers.leave(s)
	}
	if users := taken[0].users; users != 0 {
		t.Errorf("%d users are left", users)
	}
}

func TestLameZonesOfLongNamesTakeLittleMemory(t *testing.T) {
	x, _, _, _ := table(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	addr, zones := netip.MustParseAddr("10.0.0.0"), 0
	for range 1000 {
		for range maxLame {
			zones++
			x.Lame(addr, strings.Repeat(`\000`, 200)+fmt.Sprint(zones)+".")
		}
		addr = addr.Next()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / 1000; each > 4096 {
		t.Errorf("a server that is lame for %d zones takes %d octets", maxLame, each)
	} else {
		t.Logf("%d octets for each server", each)
	}
	runtime.KeepAlive(x)
}
