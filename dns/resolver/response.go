package resolver

import (
	"github.com/miekg/dns"
)

// An outcome is what became of one query to one name server; it is the label of
// a metric.
type outcome string

const (
	answered    outcome = "answer"
	referred    outcome = "referral"
	refused     outcome = "refused"     // a response code that says that it cannot
	lame        outcome = "lame"        // it does not answer for the zone
	timedOut    outcome = "timeout"     //
	unreachable outcome = "unreachable" // could not be sent, or the connection broke
)

// A response is what a name server's message means.
type response struct {
	outcome outcome
	reason  string // of refused and lame, for people
	// found are the sets and the "no"s that it tells of, the asked name's
	// among them; of answered.
	found map[key]*entry
	// delegation and its TTL in seconds; of referred.
	delegation *delegation
	ttl        uint32
}

// interpret decides what a message says to a question that was put to a server
// of the zone. The order of decisions:
//
//  1. another response code than NOERROR and NXDOMAIN: refused;
//  2. records of the name, or a CNAME and what follows it, as long as the names
//     lie in the zone: an answer, if the server is authoritative (AA);
//  3. NXDOMAIN, or an SOA record in the authority section: a negative answer
//     (RFC 2308, section 2), if it is authoritative;
//  4. name servers of a zone further down, towards the name: a referral;
//  5. an authoritative empty message: no such type, of unknown duration;
//  6. anything else: lame.
//
// Whatever else the message holds is ignored.
func interpret(m *dns.Msg, zone, name string, qtype uint16) response {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return response{outcome: refused, reason: "answered " + rcodeName(m.Rcode)}
	}
	found := map[key]*entry{}
	for range maxChain {
		if set := setOf(m.Answer, name, qtype); len(set) > 0 {
			found[key{name, qtype}] = positive(set)
			return authoritative(m, found)
		}
		alias := setOf(m.Answer, name, dns.TypeCNAME)
		if len(alias) == 0 {
			break
		}
		found[key{name, dns.TypeCNAME}] = positive(alias[:1])
		name = dns.CanonicalName(alias[0].(*dns.CNAME).Target)
		if !dns.IsSubDomain(zone, name) {
			return authoritative(m, found) // the rest is not its to say
		}
	}
	soa := soaOf(m.Ns, zone, name)
	switch {
	case m.Rcode == dns.RcodeNameError:
		found[key{name, dns.TypeNone}] = negative(noName, soa)
		return authoritative(m, found)
	case soa != nil && m.Authoritative:
		found[key{name, qtype}] = negative(noType, soa)
		return authoritative(m, found)
	case len(found) > 0:
		return authoritative(m, found) // the end of the chain must be asked for
	}
	if d, ttl := referralOf(m, zone, name); d != nil {
		return response{outcome: referred, delegation: d, ttl: ttl}
	}
	if m.Authoritative {
		found[key{name, qtype}] = negative(noType, nil)
	}
	return authoritative(m, found)
}

// authoritative lets an answer pass only from a server that says that it knows
// (RFC 2181, section 5.4.1): another one repeats what it heard.
func authoritative(m *dns.Msg, found map[key]*entry) response {
	if !m.Authoritative {
		return response{outcome: lame, reason: "does not answer for the zone"}
	}
	return response{outcome: answered, found: found}
}

// setOf returns the records of a name and type (of any type for ANY), without
// repetition and with one TTL, the smallest (RFC 2181, section 5.2).
func setOf(section []dns.RR, name string, qtype uint16) (set []dns.RR) {
	ttl := ^uint32(0)
next:
	for _, rr := range section {
		h := rr.Header()
		if h.Class != dns.ClassINET || h.Rrtype == dns.TypeOPT || h.Rdlength == 0 ||
			h.Rrtype != qtype && qtype != dns.TypeANY || dns.CanonicalName(h.Name) != name {
			continue
		}
		for _, other := range set {
			if dns.IsDuplicate(rr, other) {
				continue next
			}
		}
		ttl = min(ttl, sane(h.Ttl))
		set = append(set, rr)
	}
	for _, rr := range set {
		rr.Header().Ttl = ttl
	}
	return set
}

// sane takes a TTL with its top bit set for 0 (RFC 2181, section 8).
func sane(ttl uint32) uint32 {
	if ttl > 1<<31-1 {
		return 0
	}
	return ttl
}

// soaOf returns the SOA record of a negative answer: of a zone that the name
// lies in, and that lies in the zone asked.
func soaOf(section []dns.RR, zone, name string) *dns.SOA {
	for _, rr := range section {
		soa, ok := rr.(*dns.SOA)
		if !ok || soa.Hdr.Class != dns.ClassINET || soa.Hdr.Rdlength == 0 {
			continue
		}
		if owner := dns.CanonicalName(soa.Hdr.Name); dns.IsSubDomain(zone, owner) && dns.IsSubDomain(owner, name) {
			return soa
		}
	}
	return nil
}

// referralOf returns the delegation that a message makes: of a zone strictly
// below the one asked, on the way to the name. A referral to the side or upwards
// is none: it would lead in circles.
func referralOf(m *dns.Msg, zone, name string) (*delegation, uint32) {
	for _, rr := range m.Ns {
		if rr.Header().Rrtype != dns.TypeNS {
			continue
		}
		child := dns.CanonicalName(rr.Header().Name)
		if child == zone || !dns.IsSubDomain(zone, child) || !dns.IsSubDomain(child, name) {
			continue
		}
		ns := setOf(m.Ns, child, dns.TypeNS)
		d := delegationOf(child, zone, ns, m.Extra)
		if len(d.servers) == 0 {
			continue
		}
		ttl := ns[0].Header().Ttl
		for _, glue := range m.Extra {
			if t := glue.Header().Rrtype; t == dns.TypeA || t == dns.TypeAAAA {
				ttl = min(ttl, sane(glue.Header().Ttl))
			}
		}
		return d, ttl
	}
	return nil, 0
}

func positive(set []dns.RR) *entry {
	return &entry{kind: hasRecords, records: set, ttl: set[0].Header().Ttl}
}

// negative answers are remembered for the smaller of the SOA record's TTL and
// its minimum field (RFC 2308, section 5), and without it not at all.
func negative(k kind, soa *dns.SOA) *entry {
	e := &entry{kind: k, soa: soa}
	if soa != nil {
		e.ttl = min(sane(soa.Hdr.Ttl), sane(soa.Minttl))
	}
	return e
}

func rcodeName(rcode int) string {
	if name, ok := dns.RcodeToString[rcode]; ok {
		return name
	}
	return "an unknown response code"
}
