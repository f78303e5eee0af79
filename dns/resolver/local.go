package resolver

import (
	"net"
	"strconv"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/dns/resolver/iterate"
	"minicloud.internal/dns/server"
)

// A special is what becomes of a special-use name and all below it.
type special struct {
	exists bool   // without records, as opposed to "no such name"
	source string // where that is written
}

// specialNames are the names that no name server of the world is to be asked for:
// the registry of special-use domain names (RFC 6761), and the zones that every
// resolver should have itself (RFC 6303).
var specialNames = func() map[string]special {
	names := map[string]special{
		"localhost.":     {true, "RFC 6761, section 6.3"},
		"invalid.":       {false, "RFC 6761, section 6.4"},
		"test.":          {false, "RFC 6761, section 6.2"},
		"local.":         {false, "RFC 6762, section 22.1: it is multicast DNS's"},
		"onion.":         {false, "RFC 7686, section 2"},
		"alt.":           {false, "RFC 9476, section 2"},
		"home.arpa.":     {true, "RFC 8375, section 4"},
		"resolver.arpa.": {true, "RFC 9462, section 6.4"},
	}
	for _, zone := range []string{
		"0.in-addr.arpa.", "10.in-addr.arpa.", "127.in-addr.arpa.", "254.169.in-addr.arpa.", "168.192.in-addr.arpa.",
		"2.0.192.in-addr.arpa.", "100.51.198.in-addr.arpa.", "113.0.203.in-addr.arpa.", "255.255.255.255.in-addr.arpa.",
		"0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.",
		"d.f.ip6.arpa.", "8.e.f.ip6.arpa.", "9.e.f.ip6.arpa.", "a.e.f.ip6.arpa.", "b.e.f.ip6.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa.",
	} {
		names[zone] = special{true, "RFC 6303, section 4"}
	}
	for i := range 16 {
		names[strconv.Itoa(16+i)+".172.in-addr.arpa."] = special{true, "RFC 6303, section 4"}
	}
	for i := range 64 {
		names[strconv.Itoa(64+i)+".100.in-addr.arpa."] = special{true, "RFC 7793, section 2.1"}
	}
	return names
}()

// specialEnds are the top-level domains of the special-use names, in wire form.
var specialEnds = func() map[string]bool {
	ends := map[string]bool{}
	for name := range specialNames {
		wire, err := wirename.Pack(name)
		if err != nil {
			panic(err) // a constant
		}
		ends[string(topLevel(wire))] = true
	}
	return ends
}()

// topLevel returns the last label of a name in wire form, with the root's.
func topLevel(wire []byte) []byte {
	last := wire
	for len(wire) > 1 {
		last, wire = wire, wirename.Parent(wire)
	}
	return last
}

// maybeSpecial reports whether a name in wire form and lower case ends as a
// special-use name does.
func maybeSpecial(wire []byte) bool { return specialEnds[string(topLevel(wire))] }

// specialAbove returns the special-use name that a canonical name is or lies in.
func (r *Resolver) specialAbove(name string) (zone string, s special, ok bool) {
	for at := range iterate.Upwards(name) {
		if _, forwarded := r.forwarders[at]; forwarded && at != "." || r.ordinary[at] {
			return "", special{}, false
		}
		if s, ok := specialNames[at]; ok {
			return at, s, true
		}
	}
	return "", special{}, false
}

// answerLocally answers for a special-use name, and reports whether it did.
func (r *Resolver) answerLocally(q *server.Query, reply *dns.Msg) bool {
	const ttl = 3600
	zone, s, ok := r.specialAbove(q.Name)
	if !ok {
		return false
	}
	h := dns.RR_Header{Name: q.Question.Name, Rrtype: q.Type, Class: dns.ClassINET, Ttl: ttl}
	loopback := q.Name == loopback4 || q.Name == loopback6
	// As RFC 6303, section 3 has it.
	soa := &dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  zone, Mbox: "nobody.invalid.", Serial: 1, Refresh: 3600, Retry: 1200, Expire: 604800, Minttl: ttl,
	}
	switch {
	case zone == "localhost." && q.Type == dns.TypeA:
		reply.Answer = []dns.RR{&dns.A{Hdr: h, A: net.IPv4(127, 0, 0, 1)}}
	case zone == "localhost." && q.Type == dns.TypeAAAA:
		reply.Answer = []dns.RR{&dns.AAAA{Hdr: h, AAAA: net.IPv6loopback}}
	case loopback && q.Type == dns.TypePTR:
		reply.Answer = []dns.RR{&dns.PTR{Hdr: h, Ptr: "localhost."}}
	case s.exists && q.Name == zone && q.Type == dns.TypeSOA:
		reply.Answer = []dns.RR{soa}
	default:
		if !s.exists || q.Name != zone && zone != "localhost." && !loopback {
			reply.Rcode = dns.RcodeNameError
		}
		reply.Ns = []dns.RR{soa}
		q.Explain(dns.ExtendedErrorCodeOther, "Names in "+zone+" are answered here and asked of nobody ("+s.source+")")
	}
	return true
}

const (
	loopback4 = "1.0.0.127.in-addr.arpa."
	loopback6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa."
)
