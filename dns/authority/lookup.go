package authority

import (
	"slices"

	"github.com/miekg/dns"
)

// A Result is what a zone says to a question, section by section (RFC 1034,
// section 4.3.2).
type Result struct {
	Rcode         int
	Authoritative bool
	Answer        []dns.RR
	Authority     []dns.RR
	Additional    []dns.RR
}

// maxChain is how many CNAME records are followed; a loop ends there.
const maxChain = 8

// Lookup answers a question for a name at or below the zone's origin, given as
// asked and in canonical form. The order of decisions, from the origin down:
//
//  1. a name at or below a delegation: a referral (but DS at the delegation
//     itself belongs to this side of it, RFC 4035, section 3.1.4.1);
//  2. the name exists: its records, its CNAME, or "no such type" (NODATA);
//  3. a wildcard stands below the closest name that exists: 2. with its records
//     (RFC 4592);
//  4. no such name (NXDOMAIN).
//
// The records must not be changed: they are the zone's own, except where their
// owner had to be written anew.
func (z *Zone) Lookup(asked, name string, qtype uint16) Result {
	r := Result{Authoritative: true}
	for range maxChain {
		n, cut := z.find(name, qtype)
		if cut != "" {
			// After a CNAME the answer stays authoritative: the bit speaks
			// of the first owner name (RFC 1035, section 4.1.1).
			r.Authoritative = len(r.Answer) > 0
			z.refer(&r, cut)
			return r
		}
		if n == nil {
			// Of a chain the last name counts (RFC 6604).
			r.Rcode = dns.RcodeNameError
			r.Authority = []dns.RR{z.negativeSOA()}
			return r
		}
		set := n.pick(qtype)
		if len(set) == 0 && qtype != dns.TypeCNAME {
			if alias := n.sets[dns.TypeCNAME]; len(alias) > 0 {
				r.Answer = append(r.Answer, own(alias, asked)...)
				asked = alias[0].(*dns.CNAME).Target
				name = dns.CanonicalName(asked)
				if !dns.IsSubDomain(z.origin, name) {
					return r // the asker goes on elsewhere
				}
				continue
			}
		}
		if len(set) == 0 {
			r.Authority = []dns.RR{z.negativeSOA()}
			return r
		}
		r.Answer = append(r.Answer, own(set, asked)...)
		z.addTargets(&r, set)
		return r
	}
	return r
}

// find walks from the origin down to name. It returns the node that answers
// (perhaps a wildcard), or the name of the delegation in between, or neither.
func (z *Zone) find(name string, qtype uint16) (n *node, cut string) {
	n = z.nodes[z.origin]
	encloser := z.origin
	labels := dns.Split(name) // where each label begins; nil for the root
	for i := len(labels) - dns.CountLabel(z.origin) - 1; i >= 0; i-- {
		here := name[labels[i]:]
		next := z.nodes[here]
		if next == nil {
			return z.nodes[wildcard(encloser)], ""
		}
		if len(next.sets[dns.TypeNS]) > 0 && !(qtype == dns.TypeDS && i == 0) {
			return nil, here
		}
		n, encloser = next, here
	}
	return n, ""
}

func wildcard(encloser string) string {
	if encloser == "." {
		return "*."
	}
	return "*." + encloser
}

// pick returns the set of a type. ANY gets one set, not all (RFC 8482, section
// 4.1): all of them would be a lever for whoever asks in another's name.
func (n *node) pick(qtype uint16) []dns.RR {
	if qtype != dns.TypeANY {
		return n.sets[qtype]
	}
	lowest := uint16(0)
	for t := range n.sets {
		if lowest == 0 || t < lowest {
			lowest = t
		}
	}
	return n.sets[lowest]
}

// own gives records the owner name as it was asked, in its own case: that is
// what a wildcard's records need, and what compresses best.
func own(set []dns.RR, name string) []dns.RR {
	out := slices.Clone(set)
	for i, rr := range out {
		if rr.Header().Name != name {
			out[i] = dns.Copy(rr)
			out[i].Header().Name = name
		}
	}
	return out
}

// refer adds the name servers of a delegation and their glue. Addresses of name
// servers below the delegation come first: without them nobody gets there.
func (z *Zone) refer(r *Result, cut string) {
	servers := z.nodes[cut].sets[dns.TypeNS]
	r.Authority = servers
	var within, sibling []dns.RR
	for _, rr := range servers {
		target := dns.CanonicalName(rr.(*dns.NS).Ns)
		if dns.IsSubDomain(cut, target) {
			within = append(within, z.addresses(target)...)
		} else {
			sibling = append(sibling, z.addresses(target)...)
		}
	}
	r.Additional = append(within, sibling...)
}

// addTargets adds the addresses of the hosts that the records name, where the
// zone knows them: they save the asker a question.
func (z *Zone) addTargets(r *Result, set []dns.RR) {
	for _, rr := range set {
		var target string
		switch rr := rr.(type) {
		case *dns.NS:
			target = rr.Ns
		case *dns.MX:
			target = rr.Mx
		case *dns.SRV:
			target = rr.Target
		default:
			return
		}
		for _, address := range z.addresses(dns.CanonicalName(target)) {
			if !slices.Contains(r.Additional, address) {
				r.Additional = append(r.Additional, address)
			}
		}
	}
}

// negativeSOA returns the SOA record of a negative answer. Its TTL is how long
// the answer may be remembered (RFC 2308, section 3).
func (z *Zone) negativeSOA() dns.RR {
	soa := dns.Copy(z.soa)
	soa.Header().Ttl = min(z.soa.Hdr.Ttl, z.soa.Minttl)
	return soa
}
