package server

import (
	"context"
	"net/netip"

	"github.com/miekg/dns"
)

// A Fast handler answers a query out of memory: in place, without allocation,
// without waiting. A [Handler] that is one too is asked first, on the loop that
// received the query; what it leaves goes the general way, through Answer.
type Fast interface {
	// AnswerFast appends the records of the answer to msg, which holds the
	// header and the question (12 octets, then [FastQuery.Name] in the case
	// that it was asked in, type and class), counts them in reply, and returns
	// the longer msg and true. Compression pointers count from msg[0], so that
	// 0xC00C is the name asked for. It adds no OPT record. It returns false,
	// whatever was appended, for what it cannot answer now or in q.Limit octets;
	// it may also cut what does not fit, with Truncated, as the general way would.
	//
	// It is called by several goroutines at once, and must neither keep nor
	// change q's slices.
	AnswerFast(q *FastQuery, msg []byte, reply *FastReply) ([]byte, bool)
}

// A FastQuery is a query, taken apart in place: opcode QUERY, class IN, one
// question without compression pointers, no other record but a valid OPT. Its
// slices are valid during the call.
type FastQuery struct {
	// Name is the name asked for in wire form (RFC 1035, section 3.1) with its
	// final zero octet, ASCII letters in lower case.
	Name []byte
	// Type is the type asked for; never one of the meta types (ANY, AXFR, OPT, …).
	Type uint16
	// RecursionDesired and CheckingDisabled are the bits RD and CD of the header.
	RecursionDesired, CheckingDisabled bool
	// EDNS says that the query has an OPT record, DO that its DO bit is set.
	EDNS, DO bool
	// Limit is how many octets msg may have, without the OPT record. Over UDP
	// msg has room for them.
	Limit int
	// Source is the address of the client, never an IPv4-mapped one.
	Source netip.AddrPort
	// Now is the time in nanoseconds since the Unix epoch, read once per batch.
	Now int64
}

// A FastReply is what a [Fast] handler says beside the records. It arrives
// zeroed, but for Sentence, which arrives empty with room for 255 octets.
type FastReply struct {
	// Rcode is the response code, without the extended bits.
	Rcode uint8
	// Authoritative, Truncated and RecursionAvailable are the bits AA, TC and RA.
	Authoritative, Truncated, RecursionAvailable bool
	// Answer, Authority and Additional count the records appended, in this order.
	Answer, Authority, Additional uint16
	// Code and Sentence are an Extended DNS Error (RFC 8914) for a client that
	// speaks EDNS; none where Explained is false.
	Explained bool
	Code      uint16
	Sentence  []byte
}

// A Transferrer answers the questions that take more than one message: AXFR
// (RFC 5936) and IXFR (RFC 1995). Where a [Handler] is none, they are refused.
type Transferrer interface {
	// Transfer answers q with messages that it gives to send, in order. It sets
	// the sections, the response code and AA; send does the rest: id and the
	// other flags, question and OPT record of the first, signature, packing. A
	// message must fit into 65,535 octets with a signature of up to 600. Send
	// returns an error when the connection broke or ctx ended; then Transfer
	// returns it. An error of Transfer's own closes the connection, or is
	// SERVFAIL where nothing was sent. Over UDP (an IXFR) it sends exactly one
	// message, of which q.Size is the limit. A refusal is one message too.
	//
	// An AXFR over UDP and any transfer over HTTPS are answered with NOTIMP
	// before; an IXFR's version is q.Serial.
	Transfer(ctx context.Context, q *Query, send func(*dns.Msg) error) error
}
