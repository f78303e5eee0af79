package iterate

import (
	"context"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/resolver/cache"
	"minicloud.internal/dns/resolver/exchange"
)

const (
	// maxConfirming is how many delegations may wait to be confirmed. More are
	// left as they are: their glue was good enough to get an answer.
	maxConfirming = 64
	// minRootTTL is how long the root's own word about its servers counts at least,
	// or that it did not give it, before it is primed again (RFC 8109).
	minRootTTL = time.Minute
)

// confirming is the queue of delegations to be confirmed.
type confirming struct {
	queue chan *Delegation

	mu      sync.Mutex
	waiting map[string]bool // zones
}

func newConfirming() *confirming {
	return &confirming{queue: make(chan *Delegation, maxConfirming), waiting: map[string]bool{}}
}

// confirm has a delegation confirmed whose servers have just been found to work.
// Only glue needs it: the other addresses are their own zones' word.
func (it *Iterator) confirm(d *Delegation) {
	if d.Confirmed || !d.hasAddress() {
		return
	}
	c := it.confirming
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[d.Zone] {
		return
	}
	select {
	case c.queue <- d:
		c.waiting[d.Zone] = true
	default:
		it.metrics.confirmed.WithLabelValues("dropped").Inc()
	}
}

// Run asks zones for their own name servers, and these for their addresses,
// after their parents' word was followed for the first time: glue is only a
// signpost (RFC 2181, section 5.4.1). With the root this is priming (RFC 8109).
// It does so one zone after the other, and ends when ctx does. Without it the
// parents' word stands.
func (it *Iterator) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-it.confirming.queue:
			it.confirmNow(ctx, d)
		}
	}
}

func (it *Iterator) confirmNow(ctx context.Context, d *Delegation) {
	defer func() {
		if v := recover(); v != nil {
			it.logger.Error("confirming a delegation ended in a panic", "zone", d.Zone, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
		it.confirming.mu.Lock()
		defer it.confirming.mu.Unlock()
		delete(it.confirming.waiting, d.Zone)
	}()
	ctx, cancel := context.WithTimeout(ctx, it.limits.ResolveTimeout)
	defer cancel()
	better, ttl := it.newResolution(Options{}).confirmed(ctx, d)
	result := "confirmed"
	if better == nil {
		same := *d
		better, result = &same, "failed"
	}
	it.metrics.confirmed.WithLabelValues(result).Inc()
	better.Confirmed = true
	if d.Zone != "." {
		it.delegations.replace(d, better)
		return
	}
	now := it.now()
	better.ends = now.Add(min(max(ttl, minRootTTL), it.limits.MaxDelegationTTL))
	it.delegations.put(better, now)
}

// confirmed returns the delegation as the zone's own servers give it, and its
// TTL; or nil where they do not, or not so that it would lead anywhere.
func (s *resolution) confirmed(ctx context.Context, d *Delegation) (*Delegation, time.Duration) {
	// A zone's word about itself comes from its own servers, and not from the
	// store: that is where it would have come from, but perhaps with less time left.
	a, err := s.askZone(ctx, d, question{d.Zone, d.Zone, dns.TypeNS}, "confirming the delegation: the zone's own name servers", 0)
	if err != nil || a.outcome != exchange.Answer || len(a.found) != 1 || a.found[0].key != (key{d.Zone, dns.TypeNS}) || a.found[0].entry.Kind != cache.Records {
		return nil, 0
	}
	s.learn(a.found, dns.TypeNS, a.source)
	ns := a.found[0].entry.Records
	better, ttl := delegationOf(d.Zone, d.Zone, ns, nil, &s.limits)
	better.Source = a.source
	for i := range better.Servers {
		server := &better.Servers[i]
		if old := d.find(server.Name); old != nil {
			server.Addrs = old.Addrs
		}
		if !dns.IsSubDomain(d.Zone, server.Name) {
			continue // another zone's to say, and asked there when it is needed
		}
		if addrs := s.confirmedAddresses(ctx, d, server.Name); len(addrs) > 0 {
			server.Addrs = addrs
		}
	}
	leads := slices.ContainsFunc(better.Servers, func(ns NameServer) bool {
		return len(ns.Addrs) > 0 || !dns.IsSubDomain(d.Zone, ns.Name)
	})
	if !leads {
		return nil, 0
	}
	return better, time.Duration(ttl) * time.Second
}

// confirmedAddresses asks the zone's own servers for the addresses of one of
// them, of the families that it had glue of.
func (s *resolution) confirmedAddresses(ctx context.Context, d *Delegation, name string) (addrs []netip.Addr) {
	for _, qtype := range families(d.find(name)) {
		a, err := s.askZone(ctx, d, question{d.Zone, name, qtype}, "confirming the delegation: the address of a name server", 0)
		if err != nil {
			return addrs
		}
		last := len(a.found) - 1
		if a.outcome != exchange.Answer || last < 0 || a.found[last].entry.Kind != cache.Records {
			continue
		}
		s.learn(a.found, qtype, a.source)
		for _, rr := range a.found[last].entry.Records {
			if addr, ok := addressOf(rr); ok && len(addrs) < s.limits.MaxAddresses {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}

func families(ns *NameServer) []uint16 {
	if ns == nil || len(ns.Addrs) == 0 {
		return []uint16{dns.TypeA, dns.TypeAAAA}
	}
	var types []uint16
	if slices.ContainsFunc(ns.Addrs, netip.Addr.Is4) {
		types = append(types, dns.TypeA)
	}
	if slices.ContainsFunc(ns.Addrs, netip.Addr.Is6) {
		types = append(types, dns.TypeAAAA)
	}
	return types
}
