package iterate

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/resolver/cache"
	"minicloud.internal/dns/resolver/exchange"
)

// A resolution is the work on one question, and on those that it raises. It
// belongs to one goroutine.
type resolution struct {
	*Iterator
	opts Options

	queries, referrals, glueless int // how many it may still cost

	// found and zones are what it learnt, however short the TTL.
	found map[key][]cache.Entry
	zones map[string]*Delegation
	// lookedUp are the name servers whose address was or is being looked for:
	// nobody is looked for twice, and nobody to find himself. The value is the limit
	// that kept the address from being found.
	lookedUp map[string]string
}

func (it *Iterator) newResolution(opts Options) *resolution {
	return &resolution{
		Iterator: it, opts: opts,
		queries: it.limits.MaxQueries, referrals: it.limits.MaxReferrals, glueless: it.limits.MaxGlueless,
		found: map[key][]cache.Entry{}, zones: map[string]*Delegation{}, lookedUp: map[string]string{},
	}
}

// resolve answers a question from what is known, asking for what is not.
func (s *resolution) resolve(ctx context.Context, name string, qtype uint16, depth int) ([]cache.Entry, *Failure) {
	known := s.known()
	if s.opts.Refresh && depth == 0 {
		known = Known{s.learnt, s.learnt}
	}
	var w *walk
	for {
		chain, open, err := Follow(known, name, qtype, s.limits.MaxAliases)
		if err != nil {
			if err.limit != "" {
				s.reached(err.limit, depth, err.Sentence)
			}
			return chain, err
		}
		if open == "" {
			if s.opts.Trace != nil && w == nil {
				s.noteKnown(name, qtype, chain, depth)
			}
			return chain, nil
		}
		if w == nil || w.name != open {
			w = &walk{name: open, qtype: qtype, depth: depth, plain: map[string]bool{}}
		}
		if err := s.step(ctx, w); err != nil {
			return nil, err
		}
	}
}

// learnt returns what the resolution learnt itself.
func (s *resolution) learnt(name string, qtype uint16) []cache.Entry {
	if e := s.found[key{name, qtype}]; e != nil {
		return e
	}
	return s.found[key{name, dns.TypeNone}]
}

// known is that, or else what the store knows and is not stale.
func (s *resolution) known() Known { return Known{s.or(s.store.Get), s.or(s.store.Exact)} }

// or looks at what the resolution learnt, and then into the store.
func (s *resolution) or(stored func(string, uint16) (cache.Entry, cache.State)) func(string, uint16) []cache.Entry {
	return func(name string, qtype uint16) []cache.Entry {
		if e := s.learnt(name, qtype); e != nil || s.opts.FromRoot {
			return e
		}
		if e, state := stored(name, qtype); state == cache.Fresh {
			return []cache.Entry{e}
		}
		return nil
	}
}

// learn keeps what a response told.
func (s *resolution) learn(found []finding, qtype uint16, source string) {
	for _, f := range found {
		f.entry.Source = source
		s.store.Put(f.name, f.qtype, f.entry)
		s.found[f.key] = []cache.Entry{f.entry}
		if qtype == dns.TypeANY {
			any := key{f.name, dns.TypeANY}
			s.found[any] = append(s.found[any], f.entry)
		}
	}
}

// A walk is the way down to one name.
type walk struct {
	name  string
	qtype uint16
	depth int
	sent  int             // minimised queries
	plain map[string]bool // zones whose servers are to be told the whole name
	gone  *finding        // the "no such name" of a part of it, not yet to be trusted
}

// step goes one step further: to a referral, an answer, or another way to ask.
func (s *resolution) step(ctx context.Context, w *walk) *Failure {
	above := w.name
	if w.qtype == dns.TypeDS { // stands in the zone above
		above = parent(above)
	}
	if zone, f := s.forwarder(above); f != nil {
		return s.askForwarder(ctx, w, zone, f)
	}
	d := s.closest(w.name, w.qtype)
	q, why := s.ask(w, d)
	minimised := q.name != w.name
	a, err := s.askZone(ctx, d, q, why, w.depth)
	switch {
	case err != nil:
		return err
	case a.failed != "" && minimised && a.heard:
		// Servers that fail at such questions exist (RFC 9156, section 2.3).
		w.plain[d.Zone] = true
		return nil
	case a.failed != "":
		// Perhaps the zone has moved: next time its parent is asked. Not when it is
		// we who have too much to do: then the parent would get all of it too.
		if !a.busy {
			s.forget(d)
		}
		f := failuref(dns.ExtendedErrorCodeNoReachableAuthority, "No name server of %s gave an answer: %s", d.Zone, a.failed)
		f.limit = a.limit
		return f
	}
	// A walk from the root takes the hints although the root's own word is known.
	if !s.opts.FromRoot || d != s.hints {
		s.confirm(d)
	}
	if a.outcome == exchange.Referral {
		return s.refer(a, d, w.depth)
	}
	if minimised {
		for i, f := range a.found {
			if f.key == (key{q.name, dns.TypeNone}) {
				// Some servers deny names that only have others below them.
				// Whether there is nothing at all, only the whole name tells.
				w.plain[d.Zone], w.gone = true, &a.found[i]
				w.gone.entry.Source = a.source
				s.note(w.depth, "%s said that %s does not exist: asking it for the whole name", a.source, q.name)
				return nil
			}
		}
	}
	s.learn(a.found, q.qtype, a.source)
	if w.gone != nil && len(a.found) == 1 && a.found[0].key == (key{w.name, dns.TypeNone}) {
		s.learn([]finding{*w.gone}, dns.TypeNone, w.gone.entry.Source)
	}
	return nil
}

// ask decides what to ask a zone's servers on the way to a name, and says why.
func (s *resolution) ask(w *walk, d *Delegation) (question, string) {
	q := question{d.Zone, w.name, w.qtype}
	why := "the closest known servers are those of " + d.Zone
	if w.plain[d.Zone] {
		return q, why + "; they are told the whole name"
	}
	child := minimised(d.Zone, w.name, w.sent, s.limits.MaxMinimise, s.exists)
	if child == w.name {
		return q, why
	}
	w.sent++
	s.metrics.minimised.Inc()
	q.name, q.qtype = child, dns.TypeA
	return q, why + "; minimised: asking only for " + child
}

// exists reports whether something is known at a name that says that it is in
// the same zone as the one above it: then nobody needs to be asked.
func (s *resolution) exists(name string) bool {
	known := s.or(s.store.Exact)
	for _, qtype := range []uint16{dns.TypeA, dns.TypeCNAME} {
		if e := known(name, qtype); len(e) == 1 && (e[0].Kind == cache.Records || e[0].Kind == cache.NoType) {
			return true
		}
	}
	return false
}

// refer takes a referral from a zone's servers. It ends with their own delegation at
// the latest: or else a zone that was taken from its owner would live on by
// delegating to itself, a label further down each time (CVE-2022-30698). The root
// is nobody's to take away.
func (s *resolution) refer(a answer, from *Delegation, depth int) *Failure {
	if s.referrals == 0 {
		return s.limitf("max_referrals", depth, "The question takes more than %d referrals", s.limits.MaxReferrals)
	}
	s.referrals--
	d, now := a.delegation, s.now()
	d.Source = a.source
	s.zones[d.Zone] = d
	d.ends = now.Add(min(time.Duration(a.ttl)*time.Second, s.limits.MaxDelegationTTL))
	if from.Zone != "." && from.ends.Before(d.ends) {
		d.ends = from.ends
	}
	s.delegations.put(d, now)
	return nil
}

// closest returns the deepest known delegation at or above the name. A DS record
// stands in the zone above the one that it is about.
func (s *resolution) closest(name string, qtype uint16) *Delegation {
	if qtype == dns.TypeDS {
		name = parent(name)
	}
	now := s.now()
	for zone := range Upwards(name) {
		if d := s.zones[zone]; d != nil {
			return d
		}
		if !s.opts.FromRoot {
			if d := s.delegations.get(zone, now); d != nil {
				return d
			}
		}
	}
	return s.hints
}

func (s *resolution) forget(d *Delegation) {
	delete(s.zones, d.Zone)
	s.delegations.discard(d)
}

// limitf is the failure of a question that reached a limit.
func (s *resolution) limitf(limit string, depth int, format string, args ...any) *Failure {
	f := failuref(dns.ExtendedErrorCodeOther, format, args...)
	f.limit = limit
	s.reached(limit, depth, f.Sentence)
	return f
}

// reached takes down that a limit was.
func (s *resolution) reached(limit string, depth int, sentence string) {
	s.metrics.limits.WithLabelValues(limit).Inc()
	s.note(depth, "%s", sentence)
}

func (s *resolution) note(depth int, format string, args ...any) {
	if s.opts.Trace != nil {
		s.opts.Trace.add(Step{Kind: StepNote, Depth: depth, Why: fmt.Sprintf(format, args...)})
	}
}

// noteKnown records that nobody needed to be asked.
func (s *resolution) noteKnown(name string, qtype uint16, chain []cache.Entry, depth int) {
	step := Step{Kind: StepKnown, Depth: depth, Name: name, Type: dns.Type(qtype).String(), Why: "the answer is known"}
	for _, e := range chain {
		for _, rr := range e.Records {
			if len(step.Accepted) < maxShown {
				step.Accepted = append(step.Accepted, recordText(rr))
			}
		}
		if e.Kind == cache.NoName {
			step.Why = "it is known that the name does not exist"
		}
		if e.Kind == cache.NoType {
			step.Why = "it is known that the name has no records of the type"
		}
	}
	s.opts.Trace.add(step)
}
