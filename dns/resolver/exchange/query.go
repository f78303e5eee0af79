package exchange

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/miekg/dns"

	"minicloud.internal/dns/server"
)

const (
	// bufferSize is the longest datagram that is asked for: it needs no
	// fragments on any network (RFC 9715), and fragments can be forged
	// without a guess at id or port.
	bufferSize = server.UDPSize
	// maxRecords is how many records a message may have. Compressed, a record
	// takes 14 octets and unpacks to kilobytes.
	maxRecords = 1000

	headerSize       = 12
	clientCookieSize = 8
)

// A way is how a question is put.
type way struct {
	transport Transport
	edns      bool // with an OPT record
	capitals  bool // with random capitals, over UDP
}

// A cookie is the pair of RFC 7873, section 4; fromServer is empty until the
// server sent its half.
type cookie struct {
	fromClient [clientCookieSize]byte
	fromServer []byte // 8 to 32 octets
}

// A query is one message to one server, and what is needed to know its answer.
type query struct {
	way
	wire     []byte
	question []byte // as asked, in wire; letters in random case
	plain    []byte // the same in lower case
	cookie   *cookie
}

// newQuery packs a question; cookie may be nil.
func newQuery(name string, qtype uint16, recurse bool, w way, c *cookie) (*query, error) {
	name = dns.CanonicalName(name)
	// One bit for each octet of the name, and the id.
	var random [2 + 256/8]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	m := &dns.Msg{
		MsgHdr:   dns.MsgHdr{Id: binary.BigEndian.Uint16(random[:2]), RecursionDesired: recurse},
		Question: []dns.Question{{Name: name, Qtype: qtype, Qclass: dns.ClassINET}},
	}
	q := &query{way: w}
	if w.edns {
		m.SetEdns0(bufferSize, false)
		if c != nil && w.transport == UDP {
			q.cookie = c
			opt := m.IsEdns0()
			opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{
				Code:   dns.EDNS0COOKIE,
				Cookie: hex.EncodeToString(append(c.fromClient[:len(c.fromClient):len(c.fromClient)], c.fromServer...)),
			})
		}
	}
	var err error
	if q.wire, err = m.Pack(); err != nil {
		return nil, fmt.Errorf("pack the question %s: %w", name, err)
	}
	end := endOfQuestion(q.wire)
	q.question = q.wire[headerSize:end:end]
	q.plain = bytes.Clone(q.question)
	if w.capitals && w.transport == UDP {
		randomCase(q.question[:len(q.question)-4], random[2:])
	} else {
		q.capitals = false
	}
	return q, nil
}

// without returns the query as a server gets it that is not told of EDNS: the
// same id, question and capitals, so that either message's answer will do.
func (q *query) without() *query {
	plain := *q
	plain.edns, plain.cookie = false, nil
	plain.wire = bytes.Clone(q.wire[:headerSize+len(q.question)])
	binary.BigEndian.PutUint16(plain.wire[10:], 0) // ARCOUNT
	return &plain
}

// randomCase gives each letter of a name in wire form the case that a bit says
// (draft-vixie-dnsext-dns0x20). The lengths of labels are below the letters.
func randomCase(name, bits []byte) {
	for i, b := range name {
		if b >= 'a' && b <= 'z' && bits[i/8]>>(i%8)&1 != 0 {
			name[i] = b - 'a' + 'A'
		}
	}
}

// endOfQuestion returns where the question of a message that was packed here ends.
func endOfQuestion(wire []byte) int {
	i := headerSize
	for wire[i] != 0 {
		i += 1 + int(wire[i])
	}
	return i + 1 + 4
}

// A verdict is what a message is to the query that it came after.
type verdict uint8

const (
	ignored   verdict = iota // not for this query: forged or late
	accepted                 // its answer
	otherCase                // its answer, but for the capitals
	truncated                // its answer did not fit (TC)
	noEDNS                   // it was not understood, perhaps for the OPT record
	badCookie                // the server wants the cookie that it sent (BADCOOKIE)
	noCookie                 // the cookie is missing, of a server that sends one
	malformed                // its answer, but not to be read
	suspected                // too much was ignored; never of a single message
)

// judge says what a message is to the query. The order of decisions:
//
//  1. the id, that it is a response, and the question must be the query's; an
//     error may come without the question, from who could not read it;
//  2. the capitals must be;
//  3. TC, and a response code that a server gives which does not know EDNS, need
//     no more of the message;
//  4. it must be readable to the end, and hold what its header says;
//  5. its cookie must be ours (RFC 7873, section 5.3).
//
// The names that an accepted message compressed into its question have no
// capitals any more: wire is changed.
func (q *query) judge(wire []byte) (*dns.Msg, verdict) {
	if len(wire) < headerSize || wire[0] != q.wire[0] || wire[1] != q.wire[1] || wire[2]&0xF8 != 0x80 {
		return nil, ignored // another id, no response, or another opcode
	}
	rcode := int(wire[3] & 0xF)
	if v := q.judgeQuestion(wire, rcode); v != accepted {
		return nil, v
	}
	if wire[2]&0x02 != 0 {
		if q.transport != UDP {
			return nil, malformed
		}
		return nil, truncated
	}
	if q.edns && (rcode == dns.RcodeFormatError || rcode == dns.RcodeNotImplemented) {
		return nil, noEDNS
	}
	m := unpack(wire)
	if m == nil {
		return nil, malformed
	}
	if v := q.judgeCookie(m); v != accepted {
		return nil, v
	}
	if q.edns && m.Rcode == dns.RcodeBadVers {
		return nil, noEDNS
	}
	return m, accepted
}

func (q *query) judgeQuestion(wire []byte, rcode int) verdict {
	switch binary.BigEndian.Uint16(wire[4:]) {
	case 0:
		switch rcode {
		case dns.RcodeFormatError, dns.RcodeServerFailure, dns.RcodeNotImplemented, dns.RcodeRefused:
			return accepted
		}
		return ignored
	case 1:
	default:
		return ignored
	}
	if len(wire) < headerSize+len(q.question) {
		return ignored
	}
	got := wire[headerSize : headerSize+len(q.question)]
	switch {
	case bytes.Equal(got, q.question):
	case !sameFold(got, q.plain):
		return ignored
	case q.capitals:
		return otherCase
	}
	copy(got, q.plain)
	return accepted
}

// sameFold reports whether a question is plain, but for the case of its letters.
// The type and class, the last four octets, have none.
func sameFold(got, plain []byte) bool {
	end := len(plain) - 4
	for i, b := range got[:end] {
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		if b != plain[i] {
			return false
		}
	}
	return bytes.Equal(got[end:], plain[end:])
}

// unpack reads a message, or returns nil where it is cut short, holds another
// number of records than it says, or too many.
func unpack(wire []byte) *dns.Msg {
	counts := [3]int{}
	for i := range counts {
		counts[i] = int(binary.BigEndian.Uint16(wire[6+2*i:]))
	}
	if counts[0]+counts[1]+counts[2] > maxRecords {
		return nil
	}
	m := new(dns.Msg)
	if m.Unpack(wire) != nil || len(m.Answer) != counts[0] || len(m.Ns) != counts[1] || len(m.Extra) != counts[2] {
		return nil
	}
	return m
}

// judgeCookie checks the client's half of the cookie, and keeps the server's.
func (q *query) judgeCookie(m *dns.Msg) verdict {
	if q.cookie == nil {
		return accepted
	}
	raw, ok := cookieOf(m)
	switch {
	case !ok && len(q.cookie.fromServer) > 0:
		return noCookie
	case !ok && m.Rcode == dns.RcodeBadCookie:
		return ignored
	case !ok:
		return accepted
	}
	own, theirs := raw[:min(len(raw), clientCookieSize)], raw[min(len(raw), clientCookieSize):]
	if subtle.ConstantTimeCompare(own, q.cookie.fromClient[:]) != 1 || len(theirs) != 0 && (len(theirs) < 8 || len(theirs) > 32) {
		return ignored
	}
	if len(theirs) > 0 {
		q.cookie = &cookie{q.cookie.fromClient, theirs}
	}
	if m.Rcode == dns.RcodeBadCookie {
		return badCookie
	}
	return accepted
}

// cookieOf returns the octets of the first cookie option.
func cookieOf(m *dns.Msg) ([]byte, bool) {
	opt := m.IsEdns0()
	if opt == nil {
		return nil, false
	}
	for _, o := range opt.Option {
		if c, ok := o.(*dns.EDNS0_COOKIE); ok {
			raw, err := hex.DecodeString(c.Cookie)
			return raw, err == nil
		}
	}
	return nil, false
}
