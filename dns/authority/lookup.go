package authority

import (
	"slices"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
)

// A Result is what a zone says to a question, section by section (RFC 1034,
// section 4.3.2). The records are the caller's own.
type Result struct {
	Rcode         int
	Authoritative bool
	Answer        []dns.RR
	Authority     []dns.RR
	Additional    []dns.RR
}

// maxChain is how many CNAME records a chain in an answer has at most, synthesized
// ones included. A loop ends where it closes.
const maxChain = 16

// Lookup answers a question for a name, which the answer repeats as it is spelt, out
// of this zone alone; REFUSED for one that lies elsewhere. The order of decisions,
// from the origin down:
//
//  1. a name at or below a delegation: a referral (but DS at the delegation
//     itself belongs to this side of it, RFC 4035, section 3.1.4.1); a name below
//     a DNAME record: that, and the CNAME record that follows from it (RFC 6672);
//     whichever of the two stands higher up;
//  2. the name exists: its records, its CNAME, or "no such type" (NODATA);
//  3. a wildcard stands below the closest name that exists: 2. with its records
//     (RFC 4592);
//  4. no such name (NXDOMAIN).
//
// A CNAME that was not asked for itself leads back to 1. with its target.
func (z *Zone) Lookup(name string, qtype uint16) Result {
	wire, err := wirename.Pack(name)
	if err != nil || !dns.IsSubDomain(z.origin, name) {
		return Result{Rcode: dns.RcodeRefused}
	}
	return newZoneSet(z).lookup(wire, qtype)
}

// A zoneSet is the zones that a server has at one time. It is never changed.
type zoneSet struct {
	zones   map[string]*Zone // by name in wire form
	longest int              // octets of the longest of the names
}

func newZoneSet(zones ...*Zone) *zoneSet {
	s := &zoneSet{zones: map[string]*Zone{}}
	for _, z := range zones {
		s.zones[z.apex] = z
		s.longest = max(s.longest, len(z.apex))
	}
	return s
}

// of returns the zone with the longest name that this name, in lower case, lies
// in, or nil. The DS record at a zone's origin is its parent's to answer.
func (s *zoneSet) of(name []byte, qtype uint16) (own *Zone) {
	if qtype == dns.TypeDS && len(name) > 1 {
		if own = s.zones[string(name)]; own != nil {
			name = wirename.Parent(name)
		}
	}
	for {
		if len(name) <= s.longest {
			if z := s.zones[string(name)]; z != nil {
				return z
			}
		}
		if len(name) == 1 {
			return own
		}
		name = wirename.Parent(name)
	}
}

// lookup answers out of all zones: a CNAME may lead from one into another (RFC
// 1034, section 4.3.2, goes back to its step 2). The name is in wire form.
func (s *zoneSet) lookup(asked []byte, qtype uint16) Result {
	r := Result{Authoritative: true}
	var followed []string
	for {
		name := wirename.Lower(asked)
		if slices.Contains(followed, name) || len(followed) == maxChain {
			return r
		}
		followed = append(followed, name)
		z := s.of([]byte(name), qtype)
		if z == nil {
			return r // the asker goes on elsewhere
		}
		asked = z.answer(&r, asked, name, qtype)
		if asked == nil {
			return r
		}
	}
}

// answer adds what the zone says to one name, and returns where it leads to.
func (z *Zone) answer(r *Result, asked []byte, name string, qtype uint16) (next []byte) {
	n, c := z.find([]byte(name), qtype)
	switch {
	case c != nil && c.delegation:
		// After a CNAME the answer stays authoritative: the bit speaks of the
		// first owner name (RFC 1035, section 4.1.1).
		r.Authoritative = len(r.Answer) > 0
		r.Authority = c.set.appendRecords(nil, wirename.Text(asked[len(asked)-len(c.name):]))
		z.addExtras(r, c.set, asked, "", c.name)
		return nil
	case c != nil:
		return z.substitute(r, c, asked, qtype)
	case n == nil:
		// Of a chain the last name counts (RFC 6604).
		r.Rcode = dns.RcodeNameError
		z.deny(r, asked)
		return nil
	}
	set := n.set(qtype)
	if qtype == dns.TypeANY && len(n.sets) > 0 {
		// One set, not all: all of them would be a lever for whoever asks in
		// another's name (RFC 8482, section 4.1).
		set = &n.sets[0]
	}
	if set == nil && qtype != dns.TypeANY {
		if alias := n.set(dns.TypeCNAME); alias != nil {
			r.Answer = alias.appendRecords(r.Answer, wirename.Text(asked))
			return alias.first()
		}
	}
	if set == nil {
		z.deny(r, asked)
		return nil
	}
	r.Answer = set.appendRecords(r.Answer, wirename.Text(asked))
	self := name
	if z.nodes[name] == nil {
		self = star + z.encloser(name)
	}
	z.addExtras(r, set, asked, self, "")
	return nil
}

// encloser returns the closest name above one that does not exist which does.
func (z *Zone) encloser(name string) string {
	for z.nodes[name] == nil {
		name = wirename.Parent(name)
	}
	return name
}

// substitute follows a DNAME record (RFC 6672, section 2.2). The CNAME record has
// its TTL (section 3.1). To who asks for CNAME or ANY it is the answer, as any
// other CNAME record is (RFC 1034, section 4.3.2).
func (z *Zone) substitute(r *Result, c *cover, asked []byte, qtype uint16) (next []byte) {
	owner := wirename.Text(asked[len(asked)-len(c.name):])
	known := func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeDNAME && dns.CanonicalName(rr.Header().Name) == dns.CanonicalName(owner)
	}
	if !slices.ContainsFunc(r.Answer, known) {
		r.Answer = c.set.appendRecords(r.Answer, owner)
	}
	target := c.set.first()
	prefix := asked[:len(asked)-len(c.name)]
	if len(prefix)+len(target) > wirename.Max {
		r.Rcode = dns.RcodeYXDomain
		return nil
	}
	next = slices.Concat(prefix, target)
	r.Answer = append(r.Answer, &dns.CNAME{
		Hdr:    dns.RR_Header{Name: wirename.Text(asked), Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: c.set.ttl},
		Target: wirename.Text(next),
	})
	if qtype == dns.TypeCNAME || qtype == dns.TypeANY {
		return nil
	}
	return next
}

// deny adds the SOA record of a negative answer (RFC 2308, section 2).
func (z *Zone) deny(r *Result, asked []byte) {
	soa := z.nodes[z.apex].set(dns.TypeSOA)
	r.Authority = soa.appendRecords(r.Authority, wirename.Text(asked[len(asked)-len(z.apex):]))
	r.Authority[len(r.Authority)-1].Header().Ttl = z.negativeTTL()
}

// addExtras adds the records that go with a set.
func (z *Zone) addExtras(r *Result, set *rrset, asked []byte, self, cut string) {
	for _, e := range z.extras(set, self, cut) {
		owner := e.owner
		if owner == nil {
			owner = asked
		}
		r.Additional = e.set.appendRecords(r.Additional, wirename.Text(owner))
	}
}

// An extra is a set for the additional section: it saves the asker a question.
type extra struct {
	owner []byte // nil for the name asked for
	set   *rrset
}

// extras returns the addresses of the hosts that a set names, where the zone
// knows them. The set stands at the node self, or makes the delegation cut. In a
// referral the addresses of name servers below the delegation come first: without
// them nobody gets there (RFC 9471).
func (z *Zone) extras(set *rrset, self, cut string) (extras []extra) {
	add := func(node string, owner []byte, rrtypes ...uint16) {
		n := z.nodes[node]
		if n == nil || !n.helps(set.rrtype) {
			return
		}
		for _, rrtype := range rrtypes {
			more := n.set(rrtype)
			known := func(e extra) bool { return e.set == more }
			if more != nil && more != set && !slices.ContainsFunc(extras, known) {
				extras = append(extras, extra{owner, more})
			}
		}
	}
	for _, rdata := range set.all() {
		target, alias := hostOf(set.rrtype, rdata)
		switch {
		case target == nil:
		case alias:
			add(wirename.Lower(target), target, dns.TypeA, dns.TypeAAAA, set.rrtype)
		case len(target) > 1:
			add(wirename.Lower(target), target, dns.TypeA, dns.TypeAAAA)
		case set.rrtype == dns.TypeSVCB || set.rrtype == dns.TypeHTTPS:
			add(self, nil, dns.TypeA, dns.TypeAAAA) // "." is the name itself
		}
	}
	if cut != "" {
		outside := func(e extra) int {
			if within(wirename.Lower(e.owner), cut) {
				return 0
			}
			return 1
		}
		slices.SortStableFunc(extras, func(a, b extra) int { return outside(a) - outside(b) })
	}
	return extras
}

// helps reports whether the node's addresses go with a set of this type. Below a
// delegation they are glue, and only for name servers; below a DNAME record
// nothing is.
func (n *node) helps(rrtype uint16) bool {
	switch c := n.cover; {
	case c == nil:
		return true
	case c.delegation:
		return rrtype == dns.TypeNS
	default:
		return c.owner == n
	}
}

// hostOf returns the host that a record names, or nil for types that name none,
// and whether it stands for all that there is to ask (RFC 9460, sections 2.4.2
// and 4.1).
func hostOf(rrtype uint16, rdata []byte) (target []byte, alias bool) {
	switch rrtype {
	case dns.TypeNS:
		return rdata, false
	case dns.TypeMX:
		return rdata[2:], false
	case dns.TypeSRV:
		return rdata[6:], false
	case dns.TypeSVCB, dns.TypeHTTPS:
		target = rdata[2 : 2+nameLength(rdata[2:])]
		if rdata[0] != 0 || rdata[1] != 0 {
			return target, false
		}
		if len(target) > 1 {
			return target, true
		}
	}
	return nil, false
}
