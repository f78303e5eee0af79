package authority

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/dns/server"
)

// A builder makes a zone out of records.
type builder struct {
	zone *Zone
	buf  []byte
	open []*lineReader // the file that is being read, behind those that include it
}

func newBuilder(apex string) *builder {
	z := &Zone{apex: apex, origin: wirename.Text(apex), nodes: map[string]*node{}, spelling: map[string]string{}}
	return &builder{zone: z, buf: make([]byte, dns.MaxMsgSize)}
}

// maxSet is how many octets the records of a set may have together: as many as
// fit into one message with the longest question and an OPT record.
const maxSet = dns.MaxMsgSize - 12 - wirename.Max - 4 - 512

// add takes one record in.
func (b *builder) add(rr dns.RR, at position) error {
	h := *rr.Header()
	if h.Name == "" {
		return fmt.Errorf("there is no name, and no record before it that has one")
	}
	n, err := dns.PackRR(rr, b.buf, 0, nil, false)
	if err != nil {
		return fmt.Errorf("the record of %s cannot be sent: %w", h.Name, err)
	}
	length := nameLength(b.buf)
	rdata := b.buf[length+10 : n]
	if _, err := unpack(h.Name, h.Rrtype, h.Ttl, rdata); err != nil {
		return fmt.Errorf("the record of %s cannot be sent: %w", h.Name, err)
	}
	owner := b.buf[:length]
	name := wirename.Lower(owner)
	if err := b.zone.admit(h, name, rdata); err != nil {
		return err
	}
	if name != string(owner) {
		if _, known := b.zone.spelling[name]; !known {
			b.zone.spelling[name] = string(owner)
		}
	}
	if h.Rrtype == dns.TypeSOA {
		soa, err := unpack(wirename.Text(owner), h.Rrtype, h.Ttl, rdata)
		if err != nil {
			return err
		}
		b.zone.soa = soa.(*dns.SOA)
	}
	return b.zone.node(name).add(h, name == b.zone.apex, at, rdata)
}

// admit refuses what no zone, or not this one, can hold.
func (z *Zone) admit(h dns.RR_Header, name string, rdata []byte) error {
	_, known := dns.TypeToRR[h.Rrtype]
	mayBeEmpty := !known || h.Rrtype == dns.TypeNULL || h.Rrtype == dns.TypeAPL
	switch {
	case !within(name, z.apex):
		return fmt.Errorf("%s lies outside of the zone %s", h.Name, z.origin)
	case h.Class != dns.ClassINET:
		return fmt.Errorf("the class of %s is %s, expected IN", h.Name, dns.Class(h.Class))
	case h.Ttl == noTTL:
		return fmt.Errorf("the record of %s has no TTL, and there is no $TTL before it", h.Name)
	case h.Ttl > 1<<31-1:
		return fmt.Errorf("the TTL of %s is %d, expected at most %d (RFC 2181, section 8)", h.Name, h.Ttl, 1<<31-1)
	case len(rdata) == 0 && !mayBeEmpty || server.MetaType(h.Rrtype):
		return fmt.Errorf("the record of %s with the type %s has no data, or none that a zone can hold", h.Name, dns.Type(h.Rrtype))
	case h.Rrtype == dns.TypeNS && strings.HasPrefix(name, star) && name != z.apex:
		return fmt.Errorf("%s is a wildcard with an NS record, which has no meaning (RFC 4592, section 4.2)", h.Name)
	case h.Rrtype == dns.TypeSOA && (name != z.apex || z.soa != nil):
		return fmt.Errorf("there is a SOA record at %s, expected exactly one, at %s", h.Name, z.origin)
	}
	return nil
}

// node returns the node of a name, which it makes, with all above it, if needed.
func (z *Zone) node(name string) *node {
	if n := z.nodes[name]; n != nil {
		return n
	}
	n := new(node)
	z.nodes[name] = n
	if name != z.apex {
		above := z.node(wirename.Parent(name))
		if strings.HasPrefix(name, star) {
			above.star = n
		}
	}
	return n
}

// add keeps the rules of a name: no CNAME beside other data (RFC 1034, section
// 3.6.2), no DNAME beside a CNAME, another DNAME or a delegation (RFC 6672,
// section 2.4), one TTL per set (RFC 2181, section 5.2), no record twice.
func (n *node) add(h dns.RR_Header, apex bool, at position, rdata []byte) error {
	set := n.set(h.Rrtype)
	if set != nil {
		if set.ttl != h.Ttl {
			return fmt.Errorf("the %s records of %s have the TTLs %d and %d, expected one", dns.Type(h.Rrtype), h.Name, set.ttl, h.Ttl)
		}
		for _, other := range set.all() {
			if sameRecord(h.Rrtype, rdata, other) {
				return nil
			}
		}
	}
	beside := func(rrtype uint16) bool { return h.Rrtype != rrtype && n.set(rrtype) != nil }
	switch {
	case h.Rrtype == dns.TypeCNAME && len(n.sets) > 0 || beside(dns.TypeCNAME):
		return fmt.Errorf("%s has a CNAME record beside other records", h.Name)
	case h.Rrtype == dns.TypeDNAME && set != nil:
		return fmt.Errorf("%s has two DNAME records, expected one (RFC 6672, section 2.4)", h.Name)
	case !apex && (h.Rrtype == dns.TypeDNAME && beside(dns.TypeNS) || h.Rrtype == dns.TypeNS && beside(dns.TypeDNAME)):
		return fmt.Errorf("%s has a DNAME record and is delegated, expected one of the two (RFC 6672, section 2.3)", h.Name)
	case set != nil && len(set.data)+len(rdata)+int(set.count+1)*(12-recordHead) > maxSet:
		return fmt.Errorf("the %s records of %s are too many for one message", dns.Type(h.Rrtype), h.Name)
	}
	if set == nil {
		n.sets = append(n.sets, rrset{rrtype: h.Rrtype, ttl: h.Ttl})
		set = &n.sets[len(n.sets)-1]
	}
	set.count++
	set.data = appendRecord(set.data, at, rdata)
	return nil
}

// sameRecord compares the data of two records; names in it without case.
func sameRecord(rrtype uint16, a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if !bytes.EqualFold(a, b) {
		return false
	}
	x, err := unpack(".", rrtype, 0, a)
	if err != nil {
		return false
	}
	y, err := unpack(".", rrtype, 0, b)
	return err == nil && dns.IsDuplicate(x, y)
}

// finish checks the whole and makes it ready to be asked.
func (b *builder) finish() (*Zone, error) {
	z := b.zone
	apex := z.nodes[z.apex]
	if z.soa == nil {
		return nil, fmt.Errorf("the SOA record of %s is missing", z.origin)
	}
	if apex.set(dns.TypeNS) == nil {
		return nil, fmt.Errorf("the NS records of %s are missing", z.origin)
	}
	z.tidy()
	z.findCovers()
	z.pack()
	return z, nil
}

// tidy orders the names and sets, and puts the data into one piece of memory.
func (z *Zone) tidy() {
	z.order = make([]string, 0, len(z.nodes))
	size := 0
	for name, n := range z.nodes {
		z.order = append(z.order, name)
		for i := range n.sets {
			size += len(n.sets[i].data)
		}
	}
	slices.SortFunc(z.order, func(a, b string) int { return cmp.Or(len(a)-len(b), cmp.Compare(a, b)) })
	data := make([]byte, 0, size)
	for _, name := range z.order {
		n := z.nodes[name]
		n.sets = slices.Clip(n.sets)
		slices.SortFunc(n.sets, func(a, b rrset) int { return int(a.rrtype) - int(b.rrtype) })
		for i := range n.sets {
			start := len(data)
			data = append(data, n.sets[i].data...)
			n.sets[i].data = data[start:len(data):len(data)]
		}
	}
}

// findCovers finds what hides names. Whatever is higher up wins: below it
// nothing is this zone's own.
func (z *Zone) findCovers() {
	for _, name := range z.order {
		n := z.nodes[name]
		if name != z.apex {
			n.cover = z.nodes[wirename.Parent(name)].cover // shorter names come first
		}
		if n.cover != nil {
			continue
		}
		set, delegation := n.set(dns.TypeNS), true
		if name == z.apex || set == nil {
			set, delegation = n.set(dns.TypeDNAME), false
		}
		if set != nil {
			n.cover = &cover{owner: n, name: name, delegation: delegation, set: set}
		}
	}
}
