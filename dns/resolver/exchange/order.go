package exchange

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// A standing is what is known of a server that might be asked.
type standing struct {
	addr     netip.Addr
	measured bool
	srtt     time.Duration
	behind   bool      // backed off, or lame for the zone
	until    time.Time // when that ends
	probe    bool      // was backed off: it is this question's to find out
}

// An explored server is asked first once in this many questions, although
// another is faster: the network may have changed.
const explore = 32

// arrange puts servers in the order in which they are to be asked:
//
//  1. one whose time of being backed off has ended: this question finds out;
//  2. those of which nothing is known, so that something will be (as BIND does);
//  3. in random order, those about as fast as the fastest: within half of its
//     round-trip time and 5 ms. That spreads load, and who would forge an answer
//     does not know whose (RFC 5452, section 4.4). Unbound does the same, in a
//     band of 400 ms; here a server across the room should win over one abroad;
//  4. the slower ones, by round-trip time; once in [explore] times one of them
//     comes before 3;
//  5. those backed off or lame, the soonest to be forgiven first.
func arrange(list []standing, intN func(int) int) []netip.Addr {
	for i := len(list) - 1; i > 0; i-- {
		j := intN(i + 1)
		list[i], list[j] = list[j], list[i]
	}
	best := time.Duration(-1)
	for _, s := range list {
		if s.measured && !s.behind && !s.probe && (best < 0 || s.srtt < best) {
			best = s.srtt
		}
	}
	class := func(s standing) int {
		switch {
		case s.probe:
			return 0
		case s.behind:
			return 4
		case !s.measured:
			return 1
		case s.srtt <= best+best/2+5*time.Millisecond:
			return 2
		}
		return 3
	}
	slices.SortStableFunc(list, func(a, b standing) int {
		ca, cb := class(a), class(b)
		switch {
		case ca != cb:
			return ca - cb
		case ca == 3:
			return int(a.srtt - b.srtt)
		case ca == 4:
			return a.until.Compare(b.until)
		}
		return 0
	})
	fast := slices.IndexFunc(list, func(s standing) bool { return class(s) == 2 })
	slow := slices.IndexFunc(list, func(s standing) bool { return class(s) == 3 })
	if slow >= 0 && intN(explore) == 0 {
		end := slow
		for end < len(list) && class(list[end]) == 3 {
			end++
		}
		i := slow + intN(end-slow)
		chosen := list[i]
		list = slices.Insert(slices.Delete(list, i, i+1), fast, chosen)
	}
	out := make([]netip.Addr, len(list))
	for i, s := range list {
		out[i] = s.addr
	}
	return out
}

// Order returns a zone's server addresses in the order in which they are to be
// asked (see [arrange]); zone is canonical. Whoever calls it is expected to ask
// the first. It is safe for concurrent use.
func (x *Exchanger) Order(zone string, addrs []netip.Addr) []netip.Addr {
	return arrange(x.servers.standings(zone, addrs, x.cfg.Now()), rand.IntN)
}

// Lame remembers that a server does not answer for a zone (canonical), or not
// usably: for [lameFor] it is asked last. It is safe for concurrent use.
func (x *Exchanger) Lame(addr netip.Addr, zone string) {
	x.servers.lame(At(addr).key(), zone, x.cfg.Now())
}
