package route

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"
)

var (
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("192.0.2.2")
)

func TestLimiter(t *testing.T) {
	type visit struct {
		after time.Duration // since the start
		who   netip.Addr
		wait  time.Duration // 0: allowed
	}
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		rate   Rate
		visits []visit
	}{
		"a burst passes, and the next waits for its token": {Rate{10, 3}, []visit{
			{0, alice, 0}, {0, alice, 0}, {0, alice, 0}, {0, alice, 100 * ms}}},
		"who keeps to the rate is never refused": {Rate{10, 1}, []visit{
			{0, alice, 0}, {100 * ms, alice, 0}, {200 * ms, alice, 0}, {300 * ms, alice, 0}}},
		"one token comes after the other": {Rate{10, 2}, []visit{
			{0, alice, 0}, {0, alice, 0}, {60 * ms, alice, 40 * ms}, {100 * ms, alice, 0}, {100 * ms, alice, 100 * ms}}},
		"a refusal costs nothing": {Rate{10, 1}, []visit{
			{0, alice, 0}, {90 * ms, alice, 10 * ms}, {95 * ms, alice, 5 * ms}, {100 * ms, alice, 0}}},
		"a pause fills the burst, and no more": {Rate{10, 2}, []visit{
			{0, alice, 0}, {0, alice, 0}, {time.Hour, alice, 0}, {time.Hour, alice, 0}, {time.Hour, alice, 100 * ms}}},
		"clients do not count for each other": {Rate{1, 1}, []visit{
			{0, alice, 0}, {0, bob, 0}, {0, alice, time.Second}}},
		"a /64 is one client": {Rate{1, 1}, []visit{
			{0, netip.MustParseAddr("2001:db8::1"), 0}, {0, netip.MustParseAddr("2001:db8::2"), time.Second},
			{0, netip.MustParseAddr("2001:db8:0:1::1"), 0}}},
		"IPv4 within IPv6 is the same client": {Rate{1, 1}, []visit{
			{0, alice, 0}, {0, netip.MustParseAddr("::ffff:192.0.2.1"), time.Second}}},
		"a request an hour is a rate too": {Rate{1. / 3600, 1}, []visit{
			{0, alice, 0}, {0, alice, time.Hour}, {time.Hour, alice, 0}}},
		"an absurd rate does no harm": {Rate{1e300, 1 << 62}, []visit{
			{0, alice, 0}, {0, alice, 0}}},
		"an absurd pause does no harm": {Rate{1e-300, 1 << 62}, []visit{
			{0, alice, 0}, {time.Hour, alice, 0}, {time.Hour, alice, 100*365*24*time.Hour - time.Hour}}},
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLimiter(c.rate, start)
			for i, v := range c.visits {
				ok, wait := l.Allow(v.who, start.Add(v.after))
				if ok != (v.wait == 0) || wait != v.wait {
					t.Errorf("visit %d of %s after %s: %v, %s, expected to wait %s", i+1, v.who, v.after, ok, wait, v.wait)
				}
			}
		})
	}
}

func addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func TestTheLimiterGivesUpTheStalestClients(t *testing.T) {
	const size, fresh, many = 64, 16, 100_000
	l := newLimiter(Rate{1. / 3600, 1}, start, size)
	now := start
	for i := range many {
		now = now.Add(time.Microsecond)
		if ok, _ := l.Allow(addr(i), now); !ok {
			t.Fatalf("client %d is refused at its first visit", i)
		}
	}
	for i := range l.shards {
		if s := &l.shards[i]; len(s.index) != size || len(s.buckets) != size {
			t.Errorf("shard %d knows %d clients in %d buckets, expected %d", i, len(s.index), len(s.buckets), size)
		}
	}
	for i := many - fresh; i < many; i++ {
		if ok, _ := l.Allow(addr(i), now); ok {
			t.Errorf("the fresh client %d is forgotten", i)
		}
	}
	if ok, _ := l.Allow(addr(0), now); !ok {
		t.Error("the stalest client is remembered")
	}
}

// The list of a shard is compared with the plain way of keeping an order.
func TestAShardKeepsItsOrder(t *testing.T) {
	const size = 8
	s := &shard{size: size, index: map[client]int32{}, newest: none, oldest: none}
	var order []client // the newest is the last
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		c := client{low: random.Uint64N(2 * size)}
		if b := s.visit(c); b.client != c {
			t.Fatalf("visit(%v) returns the bucket of %v", c, b.client)
		}
		for i, o := range order {
			if o == c {
				order = append(order[:i], order[i+1:]...)
				break
			}
		}
		if order = append(order, c); len(order) > size {
			order = order[1:]
		}
		i := s.newest
		for n := len(order) - 1; n >= 0; n-- {
			if i == none || s.buckets[i].client != order[n] {
				t.Fatalf("place %d from the end is not %v", len(order)-1-n, order[n])
			}
			i = s.buckets[i].older
		}
		if i != none {
			t.Fatal("the list goes on behind its end")
		}
	}
}

func TestTheLimiterIsSafeForConcurrentUse(t *testing.T) {
	const clients, visits, burst = 40, 200, 50
	l := newLimiter(Rate{1. / 3600, burst}, start, clients)
	var wg sync.WaitGroup
	allowed := make([]int, 4)
	for w := range allowed {
		wg.Go(func() {
			for v := range visits {
				if ok, _ := l.Allow(addr(v%clients), start); ok {
					allowed[w]++
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range allowed {
		sum += n
	}
	if want := min(len(allowed)*visits, clients*burst); sum != want {
		t.Errorf("%d requests were allowed, expected %d", sum, want)
	}
}

func TestAKnownClientAllocatesNothing(t *testing.T) {
	l := NewLimiter(Rate{1, 1}, start)
	for i := range 1000 {
		l.Allow(addr(i), start)
	}
	i := 0
	if n := testing.AllocsPerRun(1000, func() { l.Allow(addr(i), start); i = (i + 1) % 1000 }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
