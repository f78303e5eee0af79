package resolver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A failure is why a question has no answer: an Extended DNS Error (RFC 8914).
type failure struct {
	code     uint16
	sentence string
}

func (f *failure) Error() string { return f.sentence }

func failuref(code uint16, format string, args ...any) *failure {
	return &failure{code, fmt.Sprintf(format, args...)}
}

const (
	// maxDepth is how many resolutions of name servers' names may be nested.
	maxDepth = 5
	// penalty is how long an address that did not answer is asked last.
	penalty = 10 * time.Second
)

// A resolution is the work on one question. It belongs to one goroutine.
type resolution struct {
	*Resolver
	left      int             // queries that it may still cost
	found     map[key]*entry  // what it learnt, however short the TTL
	resolving map[string]bool // name servers whose address is being looked for
}

func (r *Resolver) newResolution() *resolution {
	return &resolution{Resolver: r, left: r.cfg.MaxQueries, found: map[key]*entry{}, resolving: map[string]bool{}}
}

// spend takes one from what the question may cost.
func (s *resolution) spend() *failure {
	if s.left == 0 {
		return failuref(dns.ExtendedErrorCodeOther, "The question takes more than %d queries", s.cfg.MaxQueries)
	}
	s.left--
	return nil
}

// resolve answers a question from what is known, asking for what is not.
func (s *resolution) resolve(ctx context.Context, name string, qtype uint16, depth int) ([]*entry, *failure) {
	for {
		chain, open, err := follow(s.known, name, qtype)
		if err != nil {
			return nil, err
		}
		if open == "" {
			return chain, nil
		}
		if err := s.ask(ctx, open, qtype, depth); err != nil {
			return nil, err
		}
	}
}

// known looks an entry up in what the resolution learnt itself, then in the
// cache.
func (s *resolution) known(k key) *entry {
	if e := s.found[k]; e != nil {
		return e
	}
	return s.cached(k)
}

// ask goes down from the closest known delegation until a server answers, and
// remembers what it says. Every referral leads further down, so that it ends.
func (s *resolution) ask(ctx context.Context, name string, qtype uint16, depth int) *failure {
	d := s.closest(name, qtype)
	for {
		resp, err := s.askZone(ctx, d, name, qtype, depth)
		if err != nil {
			// Perhaps the zone has moved: next time its parent is asked.
			s.delegations.forget(d.zone)
			return err
		}
		if resp.outcome == answered {
			for k, e := range resp.found {
				s.found[k] = e
				s.remember(k, e)
			}
			return nil
		}
		d = resp.delegation
		now := s.now()
		s.delegations.put(d.zone, d, now.Add(min(seconds(resp.ttl), s.cfg.MaxTTL)), now)
	}
}

// closest returns the deepest known delegation at or above the name. A DS record
// stands in the zone above the one that it is about.
func (s *resolution) closest(name string, qtype uint16) *delegation {
	if qtype == dns.TypeDS {
		name = parent(name)
	}
	for now := s.now(); name != "."; name = parent(name) {
		if d, ok := s.delegations.get(name, now); ok {
			return d
		}
	}
	return s.root
}

func parent(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}

// askZone puts a question to the zone's name servers, one after the other, until
// one gives an answer or a referral. Those that did not answer in time are asked
// again, up to attempts times; those that answered badly are not. Name servers
// without a known address come last: finding it costs further queries.
func (s *resolution) askZone(ctx context.Context, d *delegation, name string, qtype uint16, depth int) (response, *failure) {
	var addrs []netip.Addr
	var nameless []string
	for _, ns := range d.servers {
		addrs = append(addrs, ns.addrs...)
		if len(ns.addrs) == 0 && !dns.IsSubDomain(d.zone, ns.name) { // below the zone only glue could tell
			nameless = append(nameless, ns.name)
		}
	}
	troubles := []string{}
	for range s.cfg.Attempts {
		var again []netip.Addr
		queue := s.order(addrs)
		for len(queue) > 0 || len(nameless) > 0 {
			if len(queue) == 0 {
				queue = s.addressesOf(ctx, nameless[0], depth)
				nameless = nameless[1:]
				continue
			}
			addr := queue[0]
			queue = queue[1:]
			if !s.askable(addr) {
				continue
			}
			resp, err := s.askServer(ctx, d.zone, addr, name, qtype)
			switch {
			case err != nil:
				return response{}, err
			case resp.outcome == answered || resp.outcome == referred:
				return resp, nil
			case resp.outcome == timedOut:
				again = append(again, addr)
			}
			if trouble := addr.String() + " " + resp.reason; len(troubles) == 0 || troubles[len(troubles)-1] != trouble {
				troubles = append(troubles, trouble)
			}
		}
		if addrs = again; len(addrs) == 0 {
			break
		}
	}
	if len(troubles) == 0 {
		troubles = append(troubles, "none has a usable address")
	}
	return response{}, failuref(dns.ExtendedErrorCodeNoReachableAuthority,
		"No name server of %s gave an answer: %s", d.zone, strings.Join(troubles, "; "))
}

// order puts the servers that lately did not answer behind the others, and else
// begins anywhere, so that the load spreads.
func (s *resolution) order(addrs []netip.Addr) []netip.Addr {
	if len(addrs) == 0 {
		return nil
	}
	var good, late []netip.Addr
	start, now := rand.IntN(len(addrs)), s.now()
	for i := range addrs {
		addr := addrs[(start+i)%len(addrs)]
		if _, bad := s.penalties.get(addr, now); bad {
			late = append(late, addr)
		} else {
			good = append(good, addr)
		}
	}
	return append(good, late...)
}

// askServer makes one exchange and says what came of it. Its error ends the
// resolution: out of queries, or out of time.
func (s *resolution) askServer(ctx context.Context, zone string, addr netip.Addr, name string, qtype uint16) (response, *failure) {
	if err := s.spend(); err != nil {
		return response{}, err
	}
	start := time.Now()
	m, err := s.exchange(ctx, addr, name, qtype)
	var resp response
	switch {
	case err == nil:
		resp = interpret(m, zone, name, qtype)
		s.penalties.forget(addr)
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		resp = response{outcome: timedOut, reason: "did not answer in time"}
	default:
		resp = response{outcome: unreachable, reason: "cannot be reached"}
	}
	if err != nil {
		now := s.now()
		s.penalties.put(addr, struct{}{}, now.Add(penalty), now)
	}
	s.metrics.upstream.WithLabelValues(string(resp.outcome)).Inc()
	s.logger.Debug("asked a name server", "zone", zone, "server", addr, "name", name, "type", dns.Type(qtype).String(),
		"outcome", string(resp.outcome), "took", time.Since(start), "trouble", resp.reason)
	if ctx.Err() != nil && resp.outcome != answered {
		return response{}, failuref(dns.ExtendedErrorCodeNoReachableAuthority, "The time for the question ran out at the name servers of %s (%s %s)", zone, addr, resp.reason)
	}
	return resp, nil
}

// addressesOf resolves the name of a name server. What goes wrong is not an
// error: the next name server may do.
func (s *resolution) addressesOf(ctx context.Context, ns string, depth int) (addrs []netip.Addr) {
	if depth >= maxDepth || s.resolving[ns] {
		return nil
	}
	s.resolving[ns] = true
	defer delete(s.resolving, ns)
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if s.spend() != nil {
			return nil
		}
		chain, err := s.resolve(ctx, ns, qtype, depth+1)
		if err != nil || len(chain) == 0 {
			continue
		}
		for _, rr := range chain[len(chain)-1].records {
			if addr, ok := addressOf(rr); ok && len(addrs) < maxAddresses {
				addrs = append(addrs, addr)
			}
		}
		if len(addrs) > 0 {
			return addrs
		}
	}
	return nil
}
