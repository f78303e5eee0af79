package authority

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
)

// A packed answer is what stands behind the question in a message: records of up
// to three sections, compressed. It is packed as the answer to one question, and
// fits any other after its compression pointers were moved: each leads to the
// name asked for as a whole, to an end of it, or to another place in the answer.
type packed struct {
	at     uint32 // in Zone.bodies; behind it, where its pointers are
	size   uint16 // octets; none where 0: there is no such answer
	moving uint16 // how many pointers there are
	base   uint16 // octets of the name in the question that it was packed for
	counts [3]uint16
}

const (
	questionAt = 12     // where the question stands in a message
	questionIs = 4      // what follows the name in it: type and class
	maxPointer = 0x3fff // the farthest that a compression pointer leads
	pointer    = 0xc0
)

// body returns the records, and where the pointers in it are: 16 bits each.
func (z *Zone) body(p *packed) (body, moving []byte) {
	end := int(p.at) + int(p.size)
	return z.bodies[p.at:end], z.bodies[end : end+2*int(p.moving)]
}

// A packer packs the answers of one zone.
type packer struct {
	zone   *Zone
	msg    []byte         // with the header and the question
	names  map[string]int // where in it a name can be pointed to, by its lower case
	moving []byte
	base   int
	counts [3]uint16
}

// begin begins an answer to a question for name. A wildcard's own name only
// stands for the one that will be asked for, and is nothing to point to. Where
// the answer is for names below, the question is for one of them.
func (p *packer) begin(name string, below bool) {
	if below {
		name = "\x01." + name
	}
	p.msg = append(p.msg[:0], make([]byte, questionAt)...)
	p.msg = append(append(p.msg, name...), make([]byte, questionIs)...)
	p.moving, p.base, p.counts = p.moving[:0], len(name), [3]uint16{}
	clear(p.names)
	at := questionAt
	if below || strings.HasPrefix(name, star) {
		at += 1 + int(name[0])
		name = wirename.Parent(name)
	}
	for ; name != wirename.Root; name = wirename.Parent(name) {
		p.names[name] = at
		at += 1 + int(name[0])
	}
}

// end returns what was packed, or nothing where it is too long for a message.
func (p *packer) end() packed {
	start := questionAt + p.base + questionIs
	if size := len(p.msg) - start; size <= maxSet {
		out := packed{uint32(len(p.zone.bodies)), uint16(size), uint16(len(p.moving) / 2), uint16(p.base), p.counts}
		p.zone.bodies = append(append(p.zone.bodies, p.msg[start:]...), p.moving...)
		return out
	}
	return packed{}
}

// point adds a compression pointer.
func (p *packer) point(to int) {
	p.moving = binary.BigEndian.AppendUint16(p.moving, uint16(len(p.msg)-questionAt-p.base-questionIs))
	p.msg = append(p.msg, pointer|byte(to>>8), byte(to))
}

// name adds a name, with a pointer to as much of it as stands in the message
// already, if it may have one (RFC 3597, section 4).
func (p *packer) name(name []byte, compress bool) {
	rest := wirename.Lower(name)
	for rest != wirename.Root {
		at, known := p.names[rest]
		if known && compress {
			p.point(at)
			return
		}
		if !known && len(p.msg) <= maxPointer {
			p.names[rest] = len(p.msg)
		}
		p.msg = append(p.msg, name[:1+int(name[0])]...)
		rest, name = wirename.Parent(rest), wirename.Parent(name)
	}
	p.msg = append(p.msg, 0)
}

// records adds a set to a section, the owner being the name asked for where it
// is not given.
func (p *packer) records(section int, set *rrset, owner []byte) {
	for _, rdata := range set.all() {
		if owner == nil {
			p.point(questionAt)
		} else {
			p.name(owner, true)
		}
		p.msg = binary.BigEndian.AppendUint16(p.msg, set.rrtype)
		p.msg = binary.BigEndian.AppendUint16(p.msg, dns.ClassINET)
		p.msg = binary.BigEndian.AppendUint32(p.msg, set.ttl)
		length := len(p.msg)
		p.msg = append(p.msg, 0, 0)
		p.rdata(set.rrtype, rdata)
		binary.BigEndian.PutUint16(p.msg[length:], uint16(len(p.msg)-length-2))
		p.counts[section]++
	}
}

// rdata adds the data of a record, compressed where RFC 1035 knows the type; in
// the others only where they are known are names taken to be names, to point to.
func (p *packer) rdata(rrtype uint16, rdata []byte) {
	before, names, compress := 0, 0, true
	switch rrtype {
	case dns.TypeNS, dns.TypeCNAME, dns.TypePTR, dns.TypeMB, dns.TypeMD, dns.TypeMF, dns.TypeMG, dns.TypeMR:
		names = 1
	case dns.TypeMX:
		before, names = 2, 1
	case dns.TypeSOA, dns.TypeMINFO:
		names = 2
	case dns.TypeSRV:
		before, names, compress = 6, 1, false
	case dns.TypeSVCB, dns.TypeHTTPS:
		before, names, compress = 2, 1, false
	}
	p.msg = append(p.msg, rdata[:before]...)
	rdata = rdata[before:]
	for range names {
		n := nameLength(rdata)
		p.name(rdata[:n], compress)
		rdata = rdata[n:]
	}
	p.msg = append(p.msg, rdata...)
}

// extras adds the addresses that go with a set to the additional section.
func (p *packer) extras(set *rrset, self, cut string) {
	for _, e := range p.zone.extras(set, self, cut) {
		p.records(2, e.set, e.owner)
	}
}

// pack packs every answer that the zone has: of each name that is not hidden the
// sets, of each delegation the referral, and the SOA record for what is not there.
func (z *Zone) pack() {
	p := &packer{zone: z, names: map[string]int{}}
	for _, name := range z.order {
		n := z.nodes[name]
		if c := n.cover; c != nil && c.owner == n {
			p.begin(name, true)
			if c.delegation {
				p.records(1, c.set, []byte(name))
				p.extras(c.set, "", name)
			} else {
				p.records(0, c.set, []byte(name))
			}
			c.packed = p.end()
		}
		for i := range n.sets {
			set := &n.sets[i]
			if c := n.cover; c != nil && (c.owner != n || c.delegation && set.rrtype != dns.TypeDS) {
				continue
			}
			p.begin(name, false)
			p.records(0, set, nil)
			p.extras(set, name, "")
			set.packed = p.end()
		}
	}
	p.begin(z.apex, true)
	p.records(1, &rrset{rrtype: dns.TypeSOA, ttl: z.negativeTTL(), data: z.nodes[z.apex].set(dns.TypeSOA).data}, []byte(z.apex))
	z.negative = p.end()
	z.bodies = slices.Clone(z.bodies) // as long as it is
}

// negativeTTL is how long a negative answer may be remembered, in seconds (RFC
// 2308, section 3).
func (z *Zone) negativeTTL() uint32 { return min(z.soa.Hdr.Ttl, z.soa.Minttl) }
