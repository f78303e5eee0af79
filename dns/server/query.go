package server

import (
	"net/netip"

	"github.com/miekg/dns"
)

// A Query is one question of one client, checked: opcode QUERY, class IN, one
// question, no zone transfer, EDNS version 0 or none.
type Query struct {
	// Name is the name asked for in canonical form: lower case, with the
	// final dot. Type is the type asked for.
	Name string
	Type uint16
	// Question is the question as it was asked; its case is echoed.
	Question dns.Question
	// RecursionDesired is the RD bit (RFC 1035, section 4.1.1).
	RecursionDesired bool
	// Source is the address of the client. Transport is "udp" or "tcp".
	Source    netip.AddrPort
	Transport string

	edns *dns.OPT
	ede  *dns.EDNS0_EDE
}

// Explain adds an Extended DNS Error (RFC 8914) to the answer: one of the codes
// dns.ExtendedErrorCode… and a sentence. A client that does not speak EDNS does
// not get it. The last call counts.
func (q *Query) Explain(code uint16, sentence string) {
	const limit = 200 // with the longest question it still fits into 512 bytes
	if len(sentence) > limit {
		sentence = sentence[:limit]
	}
	q.ede = &dns.EDNS0_EDE{InfoCode: code, ExtraText: sentence}
}

// parse takes a message apart. It returns one of three things: a query with
// the empty reply to it; a nil query with the complete reply that refuses it; or
// nothing, for what must not be answered.
func parse(wire []byte, source netip.AddrPort, transport string) (*Query, *dns.Msg) {
	const header, responseBit = 12, 0x80
	if len(wire) < header || wire[2]&responseBit != 0 {
		return nil, nil
	}
	m := new(dns.Msg)
	err := m.Unpack(wire)
	reply := &dns.Msg{MsgHdr: dns.MsgHdr{
		Id:               uint16(wire[0])<<8 | uint16(wire[1]),
		Response:         true,
		Opcode:           int(wire[2]>>3) & 0xF,
		RecursionDesired: wire[2]&1 != 0,
		CheckingDisabled: wire[3]&0x10 != 0,
	}}
	q := &Query{Source: source, Transport: transport, RecursionDesired: reply.RecursionDesired}
	understood := err == nil && q.takeEDNS(m)
	switch {
	case reply.Opcode != dns.OpcodeQuery:
		reply.Rcode = dns.RcodeNotImplemented
	case !understood || len(m.Question) != 1: // RFC 9619: exactly one
		reply.Rcode = dns.RcodeFormatError
	default:
		q.Question, reply.Question = m.Question[0], m.Question
		q.Name, q.Type = dns.CanonicalName(q.Question.Name), q.Question.Qtype
		reply.Rcode = q.refusal()
	}
	if reply.Rcode != dns.RcodeSuccess {
		if understood {
			q.finish(reply)
		}
		return nil, reply
	}
	return q, reply
}

// takeEDNS reports whether the message holds at most one OPT record, of the
// root, in the additional section (RFC 6891, section 6.1.1).
func (q *Query) takeEDNS(m *dns.Msg) bool {
	for _, rr := range append(append([]dns.RR(nil), m.Answer...), m.Ns...) {
		if rr.Header().Rrtype == dns.TypeOPT {
			return false
		}
	}
	for _, rr := range m.Extra {
		if opt, ok := rr.(*dns.OPT); ok {
			if q.edns != nil || opt.Hdr.Name != "." {
				return false
			}
			q.edns = opt
		}
	}
	return true
}

// refusal returns the response code for a well-formed query that no handler
// answers, or success.
func (q *Query) refusal() int {
	switch {
	case q.edns != nil && q.edns.Version() != 0:
		return dns.RcodeBadVers
	case q.Type == dns.TypeNone || q.Type == dns.TypeOPT:
		return dns.RcodeFormatError
	case q.Question.Qclass != dns.ClassINET:
		return dns.RcodeRefused
	case q.Type == dns.TypeAXFR || q.Type == dns.TypeIXFR:
		return dns.RcodeRefused
	case q.Type == dns.TypeMAILA || q.Type == dns.TypeMAILB || q.Type == dns.TypeTSIG || q.Type == dns.TypeTKEY:
		return dns.RcodeNotImplemented
	}
	return dns.RcodeSuccess
}

// finish adds the OPT record that answers the query's own (RFC 6891, section
// 7), with the extended error in it.
func (q *Query) finish(reply *dns.Msg) {
	if q.edns == nil {
		return
	}
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(UDPSize)
	if q.edns.Do() {
		opt.SetDo() // copied as RFC 3225, section 3 has it
	}
	if q.ede != nil {
		opt.Option = append(opt.Option, q.ede)
	}
	reply.Extra = append(reply.Extra, opt)
}

// size returns how many bytes the answer may have.
func (q *Query) size() int {
	switch {
	case q.Transport == "tcp":
		return dns.MaxMsgSize
	case q.edns == nil:
		return dns.MinMsgSize
	}
	return min(max(int(q.edns.UDPSize()), dns.MinMsgSize), UDPSize)
}

// fit cuts an answer to size. Whole records go, from the end, and the TC bit
// says so, except for additional records that merely save a further question:
// those may be missing from a complete answer (RFC 2181, section 9), while a
// referral without its glue is not complete (RFC 9471).
func fit(m *dns.Msg, size int) {
	referral := len(m.Answer) == 0 && !m.Authoritative
	answer, authority := len(m.Answer), len(m.Ns)
	m.Truncate(size)
	if m.Truncated && !referral && len(m.Answer) == answer && len(m.Ns) == authority {
		m.Truncated = false
	}
	m.Compress = true
}
