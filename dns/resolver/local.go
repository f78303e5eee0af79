package resolver

import (
	"net"

	"github.com/miekg/dns"
)

// answerLocally answers for the names that no name server of the world is to be
// asked for (RFC 6761, sections 6.3 and 6.4), and reports whether it did.
func answerLocally(name string, asked dns.Question, reply *dns.Msg) bool {
	const ttl = 3600
	h := dns.RR_Header{Name: asked.Name, Rrtype: asked.Qtype, Class: dns.ClassINET, Ttl: ttl}
	switch {
	case dns.IsSubDomain("invalid.", name):
		reply.Rcode = dns.RcodeNameError
	case !dns.IsSubDomain("localhost.", name):
		return false
	case asked.Qtype == dns.TypeA:
		reply.Answer = []dns.RR{&dns.A{Hdr: h, A: net.IPv4(127, 0, 0, 1)}}
	case asked.Qtype == dns.TypeAAAA:
		reply.Answer = []dns.RR{&dns.AAAA{Hdr: h, AAAA: net.IPv6loopback}}
	}
	return true
}
