package iterate

import (
	"fmt"

	"github.com/miekg/dns"

	"minicloud.internal/dns/resolver/cache"
	"minicloud.internal/dns/resolver/exchange"
	"minicloud.internal/dns/server"
)

// A question is what is asked of a zone's servers.
type question struct {
	zone  string // canonical, like name
	name  string
	qtype uint16
}

// A finding is a piece of knowledge that a response brought.
type finding struct {
	key
	entry cache.Entry
}

// A response is what a name server's message means.
type response struct {
	outcome exchange.Outcome
	reason  string // of all but Answer and Referral: what the server did, for people
	// found is what it tells, along the way from the name asked; of Answer.
	found []finding
	// delegation and its TTL in seconds; of Referral.
	delegation *Delegation
	ttl        uint32
}

// interpret decides what a message says to a question that was put to a server
// of the zone. The order of decisions:
//
//  1. another response code than NOERROR and NXDOMAIN, or than YXDOMAIN with the
//     DNAME that it comes of: refused;
//  2. records of the name, or an alias (CNAME, DNAME) and what follows it, as
//     long as the names lie in the zone: an answer, if the server is
//     authoritative (AA);
//  3. NXDOMAIN, or an SOA record in the authority section: a negative answer
//     (RFC 2308, section 2), if it is authoritative;
//  4. name servers of a zone further down, towards the name: a referral;
//  5. an authoritative empty message: no such type, of unknown duration;
//  6. anything else: lame.
//
// An answer that contradicts itself is refused whole. Whatever else the message
// holds is ignored.
func interpret(m *dns.Msg, q question, l *Limits) response {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError && m.Rcode != dns.RcodeYXDomain {
		return response{outcome: exchange.Refused, reason: "answered " + server.RcodeName(m.Rcode)}
	}
	w := &answerWalk{question: q, records: group(m.Answer), authoritative: m.Authoritative, limits: l}
	w.run()
	switch {
	case w.bad != "":
		return response{outcome: exchange.Refused, reason: w.bad}
	case m.Rcode == dns.RcodeYXDomain && !w.tooLong:
		return response{outcome: exchange.Refused, reason: "answered " + server.RcodeName(m.Rcode)}
	case w.complete && m.Rcode == dns.RcodeNameError && w.answered:
		return response{outcome: exchange.Refused, reason: "answered NXDOMAIN, with records of the name"}
	case w.complete:
		return w.response()
	}
	soa := soaOf(m.Ns, q.zone, w.name)
	switch {
	case m.Rcode == dns.RcodeNameError:
		w.found = append(w.found, negative(key{w.name, dns.TypeNone}, soa))
		return w.response()
	case soa != nil && m.Authoritative:
		w.found = append(w.found, negative(key{w.name, q.qtype}, soa))
		return w.response()
	case len(w.found) > 0:
		return w.response() // the end of the chain must be asked for
	}
	if d, ttl := referralOf(m, q, l); d != nil {
		return response{outcome: exchange.Referral, delegation: d, ttl: ttl}
	}
	if m.Authoritative {
		w.found = append(w.found, negative(key{w.name, q.qtype}, nil))
	}
	return w.response()
}

// An answerWalk goes through an answer section, from the name asked to the end
// of its aliases.
type answerWalk struct {
	question // its name moves
	records  map[key][]dns.RR
	limits   *Limits

	authoritative bool
	found         []finding
	complete      bool   // nothing is open that this message may say
	answered      bool   // the last thing found are records of the type
	tooLong       bool   // a DNAME made a name that is none
	bad           string // why nothing of it counts
}

func (w *answerWalk) run() {
	seen := map[string]bool{}
	for range w.limits.MaxAliases + 1 {
		if seen[w.name] {
			break
		}
		seen[w.name] = true
		if w.throughDNAME() {
			continue
		}
		if w.complete || w.bad != "" {
			return
		}
		if w.end() {
			w.complete, w.answered = true, true
			return
		}
		set := w.records[key{w.name, dns.TypeCNAME}]
		if len(set) == 0 || w.qtype == dns.TypeANY {
			return
		}
		// More than one is against RFC 1034, section 3.6.2; the first counts.
		w.take(key{w.name, dns.TypeCNAME}, set[:1])
		w.move(set[0].(*dns.CNAME).Target)
		if w.complete {
			return
		}
	}
	w.complete = true // a loop, or a row too long: the resolution says so
}

// end takes the records of the name and type, if there are any.
func (w *answerWalk) end() bool {
	if w.qtype != dns.TypeANY {
		set := w.records[key{w.name, w.qtype}]
		return len(set) > 0 && w.take(key{w.name, w.qtype}, set)
	}
	for k, set := range w.records {
		if k.name == w.name {
			w.take(k, set)
		}
	}
	return len(w.found) > 0
}

// throughDNAME goes through a DNAME above the name, if there is one: below it
// there is nothing else (RFC 6672, section 2.4). The CNAME that a server makes
// of it must be the one that it makes.
func (w *answerWalk) throughDNAME() bool {
	owner, set := w.dname()
	if len(set) == 0 {
		return false
	}
	target, ok := substitute(w.name, owner, dns.CanonicalName(set[0].(*dns.DNAME).Target))
	made := w.records[key{w.name, dns.TypeCNAME}]
	if len(made) > 0 && (!ok || dns.CanonicalName(made[0].(*dns.CNAME).Target) != target) {
		w.bad = "sent a CNAME that its DNAME does not make"
		return false
	}
	w.take(key{owner, dns.TypeDNAME}, set[:1])
	if !ok || w.qtype == dns.TypeCNAME {
		w.complete, w.tooLong = true, !ok
		return false
	}
	w.move(target)
	return !w.complete
}

// dname returns the closest DNAME above the name, in the zone.
func (w *answerWalk) dname() (owner string, set []dns.RR) {
	for owner := range Upwards(w.name) {
		if set := w.records[key{owner, dns.TypeDNAME}]; owner != w.name && len(set) > 0 {
			return owner, set
		}
		if owner == w.zone {
			break
		}
	}
	return "", nil
}

// move goes on at an alias's target. What lies outside of the zone is not the
// server's to say, nor are the DS records of the zone itself: those stand above it
// (RFC 4035, section 3.1.4.1).
func (w *answerWalk) move(target string) {
	w.name = dns.CanonicalName(target)
	w.complete = !dns.IsSubDomain(w.zone, w.name) || w.qtype == dns.TypeDS && w.name == w.zone
}

// take notes a set, without repetition and with one TTL, the smallest (RFC 2181,
// section 5.2).
func (w *answerWalk) take(k key, set []dns.RR) bool {
	// Comparing each with each takes the square of the time.
	if len(set) > w.limits.MaxRecords {
		w.bad = fmt.Sprintf("sent %d records in one set, and %d are the limit", len(set), w.limits.MaxRecords)
		return false
	}
	ttl := ^uint32(0)
	var kept []dns.RR
next:
	for _, rr := range set {
		ttl = min(ttl, sane(rr.Header().Ttl))
		for _, other := range kept {
			if dns.IsDuplicate(rr, other) {
				continue next
			}
		}
		kept = append(kept, rr)
	}
	for _, rr := range kept {
		rr.Header().Ttl = ttl
	}
	w.found = append(w.found, finding{k, cache.Entry{Kind: cache.Records, Rank: cache.RankAnswer, Records: kept, TTL: ttl}})
	return true
}

// response lets an answer pass only from a server that says that it knows (RFC
// 2181, section 5.4.1): another one repeats what it heard.
func (w *answerWalk) response() response {
	if w.bad != "" {
		return response{outcome: exchange.Refused, reason: w.bad}
	}
	if !w.authoritative {
		return response{outcome: exchange.Lame, reason: "does not answer for the zone"}
	}
	return response{outcome: exchange.Answer, found: w.found}
}

// usable reports whether a record says anything about the Internet. Without data
// are only records of types that may be so: those that nobody knows (RFC 3597,
// section 5), NULL and APL.
func usable(rr dns.RR) bool {
	h := rr.Header()
	// Type 0 would stand where the store has that a name does not exist.
	if server.MetaType(h.Rrtype) {
		return false
	}
	switch rr.(type) {
	case *dns.RFC3597, *dns.NULL, *dns.APL:
		return h.Class == dns.ClassINET
	}
	return h.Class == dns.ClassINET && h.Rdlength > 0
}

// group sorts a section by name and type.
func group(section []dns.RR) map[key][]dns.RR {
	sets := make(map[key][]dns.RR, len(section))
	for _, rr := range section {
		if usable(rr) {
			k := key{dns.CanonicalName(rr.Header().Name), rr.Header().Rrtype}
			sets[k] = append(sets[k], rr)
		}
	}
	return sets
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
		if !ok || !usable(rr) {
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
// is none: it would lead in circles. Neither is one to the very zone whose DS
// records were asked for: those stand above it (RFC 4035, section 3.1.4.1).
func referralOf(m *dns.Msg, q question, l *Limits) (*Delegation, uint32) {
	for _, rr := range m.Ns {
		if rr.Header().Rrtype != dns.TypeNS {
			continue
		}
		child := dns.CanonicalName(rr.Header().Name)
		if child == q.zone || !dns.IsSubDomain(q.zone, child) || !dns.IsSubDomain(child, q.name) ||
			q.qtype == dns.TypeDS && child == q.name {
			continue
		}
		// Only the first name counts: to try every one takes the square of the time.
		d, ttl := delegationOf(child, q.zone, m.Ns, m.Extra, l)
		if len(d.Servers) == 0 {
			return nil, 0
		}
		return d, ttl
	}
	return nil, 0
}

// negative answers are remembered for the smaller of the SOA record's TTL and
// its minimum field (RFC 2308, section 5), and without it not at all.
func negative(k key, soa *dns.SOA) finding {
	e := cache.Entry{Kind: cache.NoType, Rank: cache.RankAnswer, SOA: soa}
	if k.qtype == dns.TypeNone {
		e.Kind = cache.NoName
	}
	if soa != nil {
		e.TTL = min(sane(soa.Hdr.Ttl), sane(soa.Minttl))
	}
	return finding{k, e}
}
