package differential

import (
	"slices"
	"strings"

	"github.com/miekg/dns"

	"minicloud.internal/dns/peers"
)

// A verdict is a question with what everybody made of it.
type verdict struct {
	zone    *zone
	query   query
	kinds   []peers.Kind // the first is ours
	answers []answer
	forms   []form
	aspect  aspect
}

// A rule is a difference that is meant: ours answers otherwise than the peers, and
// says why it may.
type rule struct {
	name   string
	source string // the standard and its section
	reason string
	aspect aspect
	covers func(v verdict) bool
}

// rules that hold for all of our servers.
var commonRules = []rule{
	{
		name: "an answer fits, or just does not", source: "RFC 1035, section 4.1.4", aspect: content,
		reason: "compression may be done or left out: ours fits where the peers' does not (by pointing into a DNAME's target), or is up to 64 octets longer",
		covers: func(v verdict) bool {
			mine := v.answers[0]
			return slices.ContainsFunc(v.answers[1:], func(a answer) bool {
				if mine.msg == nil || a.msg == nil || mine.msg.Truncated == a.msg.Truncated {
					return false
				}
				return a.msg.Truncated || len(a.wire) > v.query.limit()-64
			})
		},
	},
	{
		name: "IXFR that does not say what the asker has", source: "RFC 1995, section 3", aspect: content,
		reason: "the query has to have a SOA record in its authority section; without one it is malformed, whatever the name",
		covers: func(v verdict) bool { return v.query.qtype == dns.TypeIXFR && v.rcode() == dns.RcodeFormatError },
	},
	{
		name: "type 0, and TKEY, TSIG, MAILA and MAILB", source: "RFC 6895, section 3.1", aspect: content,
		reason: "they are no types of data: a question for one is for something that we do not do",
		covers: func(v verdict) bool {
			switch v.query.qtype {
			case dns.TypeTKEY, dns.TypeTSIG, dns.TypeMAILA, dns.TypeMAILB:
				return v.rcode() == dns.RcodeNotImplemented
			case dns.TypeNone:
				return v.rcode() == dns.RcodeFormatError
			}
			return false
		},
	},
}

var authorityRules = append([]rule{
	{
		name: "glue of an answer that just does not fit", source: "RFC 9471, section 3.1", aspect: glue,
		reason: "TC says that it is missing; see above",
		covers: func(v verdict) bool { return v.answers[0].msg != nil && v.answers[0].msg.Truncated },
	},
	{
		name: "ANY gets another set", source: "RFC 8482, section 4.1", aspect: content,
		reason: "one set of the name's is enough, and any will do; BIND sends all of them, and ours has to be among those",
		covers: func(v verdict) bool {
			var theirs []string
			for _, f := range v.theirs() {
				theirs = append(theirs, strings.Split(lower(f), "\n")...)
			}
			mine := strings.Split(lower(v.of(0)), "\n")
			return v.query.qtype == dns.TypeANY && len(mine) > 1 && !slices.ContainsFunc(mine, func(line string) bool { return !slices.Contains(theirs, line) })
		},
	},
	{
		name: "class ANY", source: "RFC 1035, sections 3.2.5 and 4.1.1", aspect: content,
		reason: "we have class IN alone and refuse all others; what the peers say of class ANY is of three kinds",
		covers: func(v verdict) bool { return v.query.qclass == dns.ClassANY && v.rcode() == dns.RcodeRefused },
	},
}, commonRules...)

var resolverRules = append([]rule{
	{
		name: "a chain of more than ten CNAMEs", source: "RFC 1034, section 3.6.2", aspect: content,
		reason: "it has to end somewhere; where, is everybody's own matter. We say SERVFAIL, and why",
		covers: func(v verdict) bool {
			return v.rcode() == dns.RcodeServerFailure && slices.ContainsFunc(v.answers[1:], func(a answer) bool { return a.count(dns.TypeCNAME) > 10 })
		},
	},
	{
		name: "a type between 128 and 255 that nobody has defined", source: "RFC 6895, section 3.1", aspect: content,
		reason: "such types will be for questions alone; until one is, we ask for it as for any other, as authoritative servers do",
		covers: func(v verdict) bool {
			t := v.query.qtype
			return t >= 128 && t < 249 && t != dns.TypeNXNAME && v.peersSay(dns.RcodeFormatError)
		},
	},
	{
		name: "a DNAME that is asked for below a DNAME", source: "RFC 6672, section 3.2; RFC 2308, section 2.2", aspect: content,
		reason: "the name is redirected, and what counts is where it leads (no data, with the SOA, or a failure); the peers stop on the way",
		covers: func(v verdict) bool {
			return v.query.qtype == dns.TypeDNAME && slices.ContainsFunc(v.answers[1:], func(a answer) bool {
				return a.count(dns.TypeDNAME) > 0 && lower(a.msg.Answer[0].Header().Name) != lower(v.query.name) || a.count(dns.TypeCNAME) > 0
			})
		},
	},
	{
		name: "the TTL of a CNAME that a DNAME has made", source: "RFC 6672, section 3.1", aspect: ttls,
		reason: "it is that of the DNAME; the peers still say 0, as the standard before did (RFC 2672)",
		covers: func(v verdict) bool {
			wrong := strings.Split(strings.TrimSpace(v.of(0)), "\n")
			return v.answers[0].count(dns.TypeDNAME) > 0 && !slices.ContainsFunc(wrong, func(line string) bool { return !strings.Contains(line, " in cname ") })
		},
	},
}, commonRules...)

// count is how many records of a type are in the answer section.
func (a answer) count(rtype uint16) (n int) {
	if a.msg != nil {
		for _, rr := range a.msg.Answer {
			if rr.Header().Rrtype == rtype {
				n++
			}
		}
	}
	return n
}

// peersSay reports whether all peers answer with the code.
func (v verdict) peersSay(rcode int) bool {
	return !slices.ContainsFunc(v.answers[1:], func(a answer) bool { return a.msg == nil || a.msg.Rcode != rcode })
}

// rcode is ours; -1 where there is no answer.
func (v verdict) rcode() int {
	if m := v.answers[0].msg; m != nil {
		return m.Rcode
	}
	return -1
}

// limit is how many octets an answer may have: 1232 is the most that each of the
// servers sends over UDP.
func (q query) limit() int {
	switch {
	case q.transport == "tcp":
		return dns.MaxMsgSize
	case !q.edns:
		return dns.MinMsgSize
	}
	return min(max(int(q.size), dns.MinMsgSize), 1232)
}
