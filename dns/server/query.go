package server

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// MaxSentence bounds the text of an Extended DNS Error, in octets: with the
// longest question it still fits into 512. Longer text is cut.
const MaxSentence = 200

// A Query is one question of one client, checked: opcode QUERY, class IN, one
// question, EDNS version 0 or none, and signed rightly where it is signed.
type Query struct {
	// Name is the name asked for in canonical form: lower case, with the
	// final dot. Type is the type asked for; AXFR and IXFR only for a
	// [Transferrer].
	Name string
	Type uint16
	// Question is the question as it was asked; its case is echoed.
	Question dns.Question
	// RecursionDesired is the RD bit (RFC 1035, section 4.1.1).
	RecursionDesired bool
	// Source is the address of the client. Transport is "udp", "tcp", "tls" or
	// "https".
	Source    netip.AddrPort
	Transport string
	// Key is the name of the TSIG key that the query was signed with, in
	// canonical form; "" where it was not signed.
	Key string
	// Serial is the serial number that the client of an IXFR has (RFC 1995,
	// section 3).
	Serial uint32

	edns    edns
	trusted bool // see emitter
	ede     *dns.EDNS0_EDE
	sig     *signature
}

// Explain adds an Extended DNS Error (RFC 8914) to the answer: one of the codes
// dns.ExtendedErrorCode… and a sentence. A client that does not speak EDNS does
// not get it. The last call counts.
func (q *Query) Explain(code uint16, sentence string) {
	q.ede = &dns.EDNS0_EDE{InfoCode: code, ExtraText: CutText(sentence, MaxSentence)}
}

// Size returns how many octets the answer may have, signature and OPT record
// included.
func (q *Query) Size() int {
	if q.Transport != transportUDP {
		return dns.MaxMsgSize
	}
	return udpSize(&q.edns)
}

// udpSize returns how many octets an answer over UDP may have.
func udpSize(e *edns) int {
	if !e.present {
		return dns.MinMsgSize
	}
	return min(max(int(e.size), dns.MinMsgSize), UDPSize)
}

func streamSize(*edns) int { return dns.MaxMsgSize }

// parse takes a message apart. It returns one of three things: a query with the
// empty reply to it; a query with the complete reply that refuses it, and
// refused; or nothing, for what must not be answered.
func (c *core) parse(wire []byte, source netip.AddrPort, transport string) (q *Query, reply *dns.Msg, refused bool) {
	if len(wire) < headerSize || wire[2]&flagQR != 0 {
		return nil, nil, false
	}
	reply = &dns.Msg{MsgHdr: dns.MsgHdr{
		Id:       uint16(wire[0])<<8 | uint16(wire[1]),
		Response: true,
		Opcode:   int(wire[2]&opcodeMask) >> 3,
	}}
	if reply.Opcode == dns.OpcodeQuery { // for others these bits have no meaning
		reply.RecursionDesired = wire[2]&flagRD != 0
		reply.CheckingDisabled = wire[3]&flagCD != 0
	}
	q = &Query{Source: source, Transport: transport, RecursionDesired: reply.RecursionDesired}
	reply.Rcode = c.take(q, wire, reply)
	return q, reply, reply.Rcode != dns.RcodeSuccess || q.Name == ""
}

// take fills q from the message, and returns the response code for what no
// handler answers, or success. A success without a name is a complete answer.
func (c *core) take(q *Query, wire []byte, reply *dns.Msg) int {
	m := new(dns.Msg)
	shape, ok := walk(wire)
	// Messages of other opcodes may have another shape (RFC 8490, section 5.4).
	supported := reply.Opcode == dns.OpcodeQuery
	if !ok || shape.misplaced || m.Unpack(wire) != nil {
		if !supported {
			return dns.RcodeNotImplemented
		}
		return dns.RcodeFormatError
	}
	optOK := shape.opt == 0 || q.edns.read(wire[shape.opt:shape.optEnd])
	if supported && len(m.Question) == 1 {
		reply.Question = m.Question
	}
	if shape.tsig != 0 {
		if rcode := c.authenticate(q, wire, shape, m); rcode != dns.RcodeSuccess {
			return rcode
		}
	}
	if q.edns.cookie && optOK {
		valid := c.cookies.check(&q.edns, q.Source.Addr(), uint32(time.Now().Unix()))
		q.trusted = q.trusted || valid
	}
	switch {
	case q.edns.present && q.edns.version != 0:
		return dns.RcodeBadVers // RFC 6891, section 6.1.3: before anything else
	case !supported:
		return dns.RcodeNotImplemented
	case !optOK:
		return dns.RcodeFormatError
	case len(m.Question) == 0 && q.edns.cookie:
		return dns.RcodeSuccess // asks for a cookie only (RFC 7873, section 5.4)
	case len(m.Question) != 1: // RFC 9619: exactly one
		return dns.RcodeFormatError
	}
	q.Question = m.Question[0]
	q.Name, q.Type = dns.CanonicalName(q.Question.Name), q.Question.Qtype
	if q.Question.Qclass == dns.ClassCHAOS {
		return c.answerChaos(q, reply)
	}
	return c.refusal(q, m)
}

// refusal returns the response code for a well-formed query of class IN that no
// handler answers, or success.
func (c *core) refusal(q *Query, m *dns.Msg) int {
	switch {
	case q.Type == dns.TypeNone || q.Type == dns.TypeOPT:
		return dns.RcodeFormatError
	case q.Type == dns.TypeNXNAME:
		// It marks names that do not exist, and is never asked for (RFC 9824,
		// section 3.4).
		q.Explain(dns.ExtendedErrorCodeInvalidQueryType, "NXNAME is no type to ask for")
		return dns.RcodeFormatError
	case q.Question.Qclass != dns.ClassINET:
		return dns.RcodeRefused
	case q.Type == dns.TypeIXFR:
		// The client's version is the one record of the authority section (RFC
		// 1995, section 3).
		if len(m.Ns) != 1 || !q.takeSerial(m.Ns[0]) {
			return dns.RcodeFormatError
		}
		return c.transferable(q)
	case q.Type == dns.TypeAXFR:
		return c.transferable(q)
	case q.Type == dns.TypeMAILA || q.Type == dns.TypeMAILB || q.Type == dns.TypeTSIG || q.Type == dns.TypeTKEY:
		return dns.RcodeNotImplemented
	}
	return dns.RcodeSuccess
}

// takeSerial takes the serial number from an SOA record of the name asked for.
func (q *Query) takeSerial(rr dns.RR) bool {
	soa, ok := rr.(*dns.SOA)
	if !ok || dns.CanonicalName(soa.Hdr.Name) != q.Name {
		return false
	}
	q.Serial = soa.Serial
	return true
}

// answerChaos answers what a server says of itself (RFC 4892). What the
// configuration does not name is refused.
func (c *core) answerChaos(q *Query, reply *dns.Msg) int {
	var text string
	switch q.Name {
	case "id.server.", "hostname.bind.":
		text = c.nsid
	case "version.bind.", "version.server.":
		text = c.version
	}
	if text == "" || q.Type != dns.TypeTXT && q.Type != dns.TypeANY {
		return dns.RcodeRefused
	}
	reply.Authoritative = true
	reply.Answer = []dns.RR{&dns.TXT{
		Hdr: dns.RR_Header{Name: q.Question.Name, Rrtype: dns.TypeTXT, Class: dns.ClassCHAOS},
		Txt: []string{escapeText(text)},
	}}
	q.Name = "" // complete
	return dns.RcodeSuccess
}

// escapeText writes text as the library wants it in a TXT record.
func escapeText(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
}

// settle completes the reply: flags, the OPT record (RFC 6891, section 7), and
// a size that the client takes.
func (c *core) settle(q *Query, reply *dns.Msg) {
	if reply.Authoritative {
		// CD is between resolvers (RFC 4035, sections 3.1.6 and 3.2.2).
		reply.CheckingDisabled = false
	}
	size := q.Size() - q.sig.size()
	reply.Compress = true
	if q.edns.present {
		opt := c.opt(q)
		reply.Extra = append(reply.Extra, opt)
		if q.ede != nil {
			opt.Option = append(opt.Option, q.ede)
			if reply.Len() > size { // records first
				opt.Option = opt.Option[:len(opt.Option)-1]
			}
		}
		if q.edns.padding && (q.Transport == transportTLS || q.Transport == transportHTTPS) {
			// RFC 7830, section 4, with the block of RFC 8467, section 4.1.
			const block, header = 468, 4
			length := reply.Len() + header + q.sig.size()
			if n := (block - length%block) % block; length+n <= dns.MaxMsgSize {
				opt.Option = append(opt.Option, &dns.EDNS0_PADDING{Padding: make([]byte, n)})
			}
		}
	}
	fit(reply, size)
}

// opt returns the OPT record of the answer.
func (c *core) opt(q *Query) *dns.OPT {
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(UDPSize)
	if q.edns.do {
		opt.SetDo() // copied as RFC 3225, section 3 has it
	}
	if q.edns.cookie && q.edns.serverIs == serverCookieSize {
		cookie := append(q.edns.client[:], q.edns.server[:serverCookieSize]...)
		opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex.EncodeToString(cookie)})
	}
	if q.edns.nsid && c.nsid != "" {
		opt.Option = append(opt.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: hex.EncodeToString([]byte(c.nsid))})
	}
	if q.edns.keep && (q.Transport == transportTCP || q.Transport == transportTLS) {
		// In units of 100 ms (RFC 7828, section 3.1).
		idle := min(c.idle/(100*time.Millisecond), 0xFFFF)
		opt.Option = append(opt.Option, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE, Timeout: uint16(idle)})
	}
	return opt
}

// fit cuts an answer to size. Whole records go, from the end, and the TC bit
// says so, except for additional records that merely save a further question:
// those may be missing from a complete answer (RFC 2181, section 9), while a
// referral without its glue is not complete (RFC 9471).
func fit(m *dns.Msg, size int) {
	m.Compress = true
	if m.Len() <= size {
		return
	}
	answer, authority, additional := m.Answer, m.Ns, m.Extra
	var opt []dns.RR
	if n := len(additional); n > 0 && additional[n-1].Header().Rrtype == dns.TypeOPT {
		additional, opt = additional[:n-1], additional[n-1:]
	}
	total := len(answer) + len(authority) + len(additional)
	keep := func(n int) {
		m.Answer = answer[:min(n, len(answer))]
		n -= len(m.Answer)
		m.Ns = authority[:min(n, len(authority))]
		n -= len(m.Ns)
		m.Extra = append(slices.Clone(additional[:n]), opt...)
	}
	kept := sort.Search(total, func(n int) bool { keep(n + 1); return m.Len() > size })
	keep(kept)
	referral := len(answer) == 0 && !m.Authoritative
	m.Truncated = referral || kept < len(answer)+len(authority)
}
