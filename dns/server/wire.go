package server

import (
	"encoding/binary"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
)

const (
	headerSize = 12
	optSize    = 11 // an OPT record without options

	// Octet 2 and octet 3 of the header (RFC 1035, section 4.1.1; RFC 4035,
	// section 3.2).
	flagQR, flagAA, flagTC, flagRD = 0x80, 0x04, 0x02, 0x01
	flagRA, flagCD                 = 0x80, 0x10
	opcodeMask                     = 0x78
)

// An edns is what the OPT record of a query says (RFC 6891).
type edns struct {
	present  bool
	do       bool
	version  uint8
	size     uint16 // what the client takes over UDP
	nsid     bool   // asks for it (RFC 5001)
	keep     bool   // edns-tcp-keepalive (RFC 7828)
	padding  bool   // RFC 7830
	cookie   bool   // RFC 7873
	client   [clientCookieSize]byte
	server   [maxServerCookie]byte
	serverIs int // octets of server
}

// read takes the fields of an OPT record, at its type, whose rdata is in wire.
// It reports whether the options are well formed. Unknown ones are ignored, and
// so is what stands in an option that ought to be empty.
func (e *edns) read(opt []byte) bool {
	*e = edns{present: true}
	e.size = binary.BigEndian.Uint16(opt[2:])
	e.version = opt[5]
	e.do = opt[6]&0x80 != 0
	for options := opt[10:]; len(options) > 0; {
		if len(options) < 4 {
			return false
		}
		code, n := binary.BigEndian.Uint16(options), int(binary.BigEndian.Uint16(options[2:]))
		if len(options) < 4+n {
			return false
		}
		data := options[4 : 4+n]
		options = options[4+n:]
		switch code {
		case dns.EDNS0NSID:
			e.nsid = true
		case dns.EDNS0TCPKEEPALIVE:
			e.keep = true
		case dns.EDNS0PADDING:
			e.padding = true
		case dns.EDNS0COOKIE:
			if e.cookie { // of several the first counts (RFC 7873, section 4)
				continue
			}
			if n != clientCookieSize && (n < clientCookieSize+8 || n > clientCookieSize+maxServerCookie) {
				return false // RFC 7873, section 5.2.2
			}
			e.cookie = true
			e.serverIs = copy(e.server[:], data[copy(e.client[:], data):])
		}
	}
	return true
}

// A shape is where the parts of a message are.
type shape struct {
	opt, tsig int // where the type of these records stands; 0: none
	optEnd    int
	tsigName  int // where the name of the TSIG record begins
	misplaced bool
}

// walk goes over a whole message without decoding it. It returns false where
// the counts of the header and the records do not agree, or something follows
// them. What is in names and in rdata it does not judge.
func walk(wire []byte) (s shape, ok bool) {
	off := headerSize
	for range binary.BigEndian.Uint16(wire[4:]) {
		if off = skipName(wire, off) + 4; off > len(wire) {
			return s, false
		}
	}
	answers := int(binary.BigEndian.Uint16(wire[6:])) + int(binary.BigEndian.Uint16(wire[8:]))
	total := answers + int(binary.BigEndian.Uint16(wire[10:]))
	for i := range total {
		name := off
		off = skipName(wire, off)
		if off+10 > len(wire) {
			return s, false
		}
		end := off + 10 + int(binary.BigEndian.Uint16(wire[off+8:]))
		if end > len(wire) {
			return s, false
		}
		switch binary.BigEndian.Uint16(wire[off:]) {
		case dns.TypeOPT:
			// One, of the root, in the additional section (RFC 6891, section 6.1.1).
			s.misplaced = s.misplaced || s.opt != 0 || i < answers || wire[name] != 0
			s.opt, s.optEnd = off, end
		case dns.TypeTSIG:
			s.misplaced = s.misplaced || i < answers || i != total-1 // RFC 8945, section 5.1
			s.tsig, s.tsigName = off, name
		}
		off = end
	}
	return s, off == len(wire)
}

// skipName returns where a name ends, or a place far behind the message where
// it does not.
func skipName(wire []byte, off int) int {
	const never = 1 << 20
	for off < len(wire) {
		switch n := int(wire[off]); {
		case n == 0:
			return off + 1
		case n >= 0xC0:
			return off + 2
		case n > 63:
			return never
		default:
			off += 1 + n
		}
	}
	return never
}

// A verdict is what becomes of a message that a loop has read.
type verdict uint8

const (
	general  verdict = iota // it goes the way of [Server.Respond]
	answered                // in place
	dropped                 // no answer at all
)

// parse takes a query apart, into f.query and f.edns. It answers general for
// whatever is not plainly a [FastQuery], without saying why: the general way
// finds it out.
func (f *fastPath) parse(wire []byte) verdict {
	if len(wire) < headerSize || wire[2]&flagQR != 0 {
		return dropped
	}
	// One question, nothing else but perhaps one additional record.
	counts := binary.BigEndian.Uint64(wire[4:])
	if wire[2]&opcodeMask != 0 || counts&^1 != 1<<48 {
		return general
	}
	off := headerSize
	for {
		if off >= len(wire) {
			return general
		}
		n := int(wire[off])
		off++
		if n == 0 {
			break
		}
		if off += n; n > 63 || off-headerSize >= wirename.Max {
			return general
		}
	}
	if off+4 > len(wire) {
		return general
	}
	// An octet that counts is below every letter, so that the whole can be
	// lowered without a look at where the labels begin.
	asked := wire[headerSize:off]
	name := f.name[:len(asked)]
	for i, c := range asked {
		name[i] = lower[c]
	}
	q := &f.query
	q.Name, q.Type = name, binary.BigEndian.Uint16(wire[off:])
	if binary.BigEndian.Uint16(wire[off+2:]) != dns.ClassINET || MetaType(q.Type) {
		return general
	}
	off += 4
	f.end = off
	q.RecursionDesired, q.CheckingDisabled = wire[2]&flagRD != 0, wire[3]&flagCD != 0
	q.EDNS, q.DO = false, false
	if counts&1 == 0 {
		f.edns.present = false
		if off != len(wire) {
			return general
		}
		return answered
	}
	return f.parseOPT(wire[off:])
}

// parseOPT reads the one record behind the question.
func (f *fastPath) parseOPT(record []byte) verdict {
	if len(record) < optSize || record[0] != 0 || binary.BigEndian.Uint16(record[1:]) != dns.TypeOPT ||
		optSize+int(binary.BigEndian.Uint16(record[9:])) != len(record) {
		return general
	}
	for options := record[optSize:]; len(options) >= 4; {
		code := binary.BigEndian.Uint16(options)
		if code < 32 && code != dns.EDNS0COOKIE && code != dns.EDNS0NSID {
			return general // the library knows it, and perhaps objects to what it says
		}
		options = options[min(len(options), 4+int(binary.BigEndian.Uint16(options[2:]))):]
	}
	if !f.edns.read(record[1:]) || f.edns.version != 0 {
		return general
	}
	f.query.EDNS, f.query.DO = true, f.edns.do
	return answered
}

// MetaType reports whether a type is none that records have: 0, OPT, and those
// for questions only (RFC 6895, section 3.1).
func MetaType(t uint16) bool { return t == dns.TypeNone || t == dns.TypeOPT || t >= 128 && t <= 255 }

// lower maps ASCII letters to lower case, and every other octet to itself (RFC
// 4343).
var lower = func() (table [256]byte) {
	for i := range table {
		table[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			table[i] += 'a' - 'A'
		}
	}
	return table
}()
