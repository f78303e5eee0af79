package authority

import (
	"encoding/binary"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/dns/server"
)

// AnswerFast implements [server.Fast]. It says what Answer says, out of what was
// packed when the zone was loaded. It leaves to Answer what a CNAME or DNAME record
// leads to where the answer does not fit, and chains of more names than fastChain.
func (s *Server) AnswerFast(q *server.FastQuery, msg []byte, reply *server.FastReply) ([]byte, bool) {
	return s.zones.Load().answerFast(q, msg, reply)
}

// fastChain is how many names of a chain of CNAME records the fast path answers
// for, the one asked for included. It bounds loops too; what they look like is for
// the general path to say.
const fastChain = 4

func (s *zoneSet) answerFast(q *server.FastQuery, msg []byte, reply *server.FastReply) ([]byte, bool) {
	z := s.of(q.Name, q.Type)
	if z == nil {
		reply.Rcode, reply.Explained = dns.RcodeRefused, true
		reply.Code = dns.ExtendedErrorCodeNotAuthoritative
		reply.Sentence = appendText(append(reply.Sentence[:0], notOurs...), q.Name)
		return msg, true
	}
	w := walk{limit: q.Limit, qtype: q.Type, length: len(q.Name)}
	w.parts[0], w.count = part{questionAt, len(q.Name)}, 1
	reply.Authoritative = true
	name, ok := q.Name, true
	for range fastChain {
		var more bool
		if msg, more, ok = w.step(z, name, msg, reply); !ok || !more {
			return msg, ok
		}
		name = w.lower[:w.length]
		if z = s.of(name, q.Type); z == nil {
			return msg, true
		}
	}
	return msg, false
}

// notOurs begins the sentence that explains REFUSED.
const notOurs = "This server does not answer for "

// A walk is the state of one answer: the name that is answered now, in the end
// the last of a chain, and where it stands in the message.
type walk struct {
	limit  int
	qtype  uint16
	length int // octets of the name
	// parts are where the name stands, from its beginning to its end: each part
	// but the last ends with a pointer to the next.
	parts  [fastChain + 2]part
	count  int
	lower  [wirename.Max]byte // the name in lower case, but for the first
	spelt  [wirename.Max]byte // and as it is written
	dnames [fastChain]*cover
	passed int // DNAME records in the answer
}

// A part of a name holds its last octets, size of them, from at on.
type part struct{ at, size int }

// step answers for one name. It returns true for more where that leads to a name
// to answer for, which is in w then.
func (w *walk) step(z *Zone, name, msg []byte, reply *server.FastReply) (out []byte, more, ok bool) {
	n, c := z.find(name, w.qtype)
	switch {
	case c != nil && c.delegation:
		reply.Authoritative = reply.Answer > 0
		out, ok = w.putLast(z, &c.packed, msg, reply)
		return out, false, ok
	case c != nil:
		return w.substitute(z, c, name, msg, reply)
	case n == nil:
		reply.Rcode = dns.RcodeNameError
		out, ok = w.putLast(z, &z.negative, msg, reply)
		return out, false, ok
	}
	if set := n.set(w.qtype); set != nil {
		out, ok = w.putLast(z, &set.packed, msg, reply)
		return out, false, ok
	}
	if alias := n.set(dns.TypeCNAME); alias != nil {
		start := len(msg)
		if out, ok = w.put(z, &alias.packed, msg, reply); ok {
			w.follow(alias.first(), start+rdataAt, len(out)-start-rdataAt)
		}
		return out, true, ok
	}
	out, ok = w.putLast(z, &z.negative, msg, reply)
	return out, false, ok
}

// rdataAt is where the data of a record stands whose owner is a pointer.
const rdataAt = 12

// put appends a packed answer that more will follow, as a whole.
func (w *walk) put(z *Zone, p *packed, msg []byte, reply *server.FastReply) ([]byte, bool) {
	if p.size == 0 || len(msg)+int(p.size) > w.limit {
		return msg, false
	}
	body, moving := z.body(p)
	return w.place(p, body, moving, p.counts, msg, reply)
}

// putLast appends the packed answer that ends the message; of one that does not
// fit, the records that do. Like package server it says so with the bit TC, but for
// additional records, which may be missing from anything but a referral.
func (w *walk) putLast(z *Zone, p *packed, msg []byte, reply *server.FastReply) ([]byte, bool) {
	if p.size == 0 || len(msg) > w.limit {
		return msg, false
	}
	body, moving := z.body(p)
	counts := p.counts
	if room := w.limit - len(msg); len(body) > room {
		body, counts = cut(body, counts, room)
		referral := reply.Answer == 0 && !reply.Authoritative
		reply.Truncated = referral || counts[0] < p.counts[0] || counts[1] < p.counts[1]
	}
	return w.place(p, body, moving, counts, msg, reply)
}

// cut returns the first of the records, as many as fit into room octets, and how
// many they are in each section.
func cut(body []byte, counts [3]uint16, room int) ([]byte, [3]uint16) {
	var kept [3]uint16
	end := 0
	for section, n := range counts {
		for range n {
			next := end
			for body[next] != 0 && body[next] < pointer {
				next += 1 + int(body[next])
			}
			if body[next] == 0 {
				next++
			} else {
				next += 2
			}
			next += 10 + int(binary.BigEndian.Uint16(body[next+8:]))
			if next > room {
				return body[:end], kept
			}
			end = next
			kept[section]++
		}
	}
	return body, kept
}

// place appends records, the first of a packed answer, and moves their pointers.
func (w *walk) place(p *packed, body, moving []byte, counts [3]uint16, msg []byte, reply *server.FastReply) ([]byte, bool) {
	start := len(msg)
	msg = append(msg, body...)
	reply.Answer += counts[0]
	reply.Authority += counts[1]
	reply.Additional += counts[2]
	base := int(p.base)
	packedAt := questionAt + base + questionIs
	if w.length == base && start == packedAt {
		return msg, true // everything stands where it stood when it was packed
	}
	for ; len(moving) > 0; moving = moving[2:] {
		at := start + int(binary.BigEndian.Uint16(moving))
		if at >= len(msg) {
			break // it was cut off
		}
		to := int(binary.BigEndian.Uint16(msg[at:])) & maxPointer
		switch {
		case to == questionAt:
			to = w.locate(w.length)
		case to < questionAt+base:
			to = w.locate(questionAt + base - to)
		default:
			to += start - packedAt
		}
		if to > maxPointer {
			return msg, false
		}
		binary.BigEndian.PutUint16(msg[at:], pointer<<8|uint16(to))
	}
	return msg, true
}

// locate returns where the last octets of the name stand; they begin a label.
func (w *walk) locate(octets int) int {
	i := w.count - 1
	for w.parts[i].size < octets {
		i--
	}
	return w.parts[i].at + w.parts[i].size - octets
}

// follow makes the target of the CNAME record that was put last the name. Its data
// stands at octet at, and is shorter than the target where it is compressed.
func (w *walk) follow(target []byte, at, size int) {
	shared := 0 // octets at the end that are the pointer's to say
	if size < len(target) {
		shared = len(target) - (size - 2)
	}
	parts, count := w.parts, 0
	if shared < len(target) {
		w.parts[0], count = part{at, len(target)}, 1
	}
	for i := range w.count {
		p := parts[i]
		if i+1 < w.count && parts[i+1].size >= shared || shared == 0 {
			continue // it only holds what comes before
		}
		if p.size > shared {
			p = part{p.at + p.size - shared, shared}
		}
		w.parts[count] = p
		count++
	}
	w.count, w.length = count, len(target)
	copy(w.spelt[:], target)
	wirename.AppendLower(w.lower[:0], target)
}

// substitute adds the DNAME record that covers the name and the CNAME record that
// follows from it, and makes the target of that the name.
func (w *walk) substitute(z *Zone, c *cover, name, msg []byte, reply *server.FastReply) (out []byte, more, ok bool) {
	for _, passed := range w.dnames[:w.passed] {
		if passed == c {
			return msg, false, false // the record is not said twice
		}
	}
	w.dnames[w.passed] = c
	w.passed++
	spelt := msg[questionAt:]
	if w.passed > 1 || reply.Answer > 0 {
		spelt = w.spelt[:]
	}
	target := c.set.first()
	prefix := spelt[:w.length-len(c.name)]
	out, ok = w.put(z, &c.packed, msg, reply)
	if !ok {
		return out, false, false
	}
	if len(prefix)+len(target) > wirename.Max {
		reply.Rcode = dns.RcodeYXDomain
		return out, false, true
	}
	targetAt, owner := len(out)-len(target), w.locate(w.length)
	size := len(prefix) + 2
	if len(target) == 1 {
		size = len(prefix) + 1
	}
	start := len(out)
	if start+rdataAt+size > w.limit || start+rdataAt > maxPointer {
		return out, false, false
	}
	out = binary.BigEndian.AppendUint16(out, pointer<<8|uint16(owner))
	out = binary.BigEndian.AppendUint16(out, dns.TypeCNAME)
	out = binary.BigEndian.AppendUint16(out, dns.ClassINET)
	out = binary.BigEndian.AppendUint32(out, c.set.ttl)
	out = binary.BigEndian.AppendUint16(out, uint16(size))
	out = append(out, prefix...)
	if len(target) == 1 {
		out = append(out, 0)
	} else {
		out = binary.BigEndian.AppendUint16(out, pointer<<8|uint16(targetAt))
	}
	reply.Answer++
	if w.qtype == dns.TypeCNAME {
		return out, false, true // it is what was asked for
	}
	length := len(prefix) + len(target)
	w.parts[0] = part{start + rdataAt, length}
	w.parts[1] = part{targetAt, len(target)}
	w.count = 2
	copy(w.spelt[copy(w.spelt[:], prefix):], target)
	wirename.AppendLower(w.lower[:0], w.spelt[:length])
	w.length = length
	return out, true, true
}
