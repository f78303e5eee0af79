package authority

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
)

// A Zone is the data of one zone, ready to be asked. It is never changed, and
// may be read by many goroutines at once.
//
// Records are kept as they are sent, and become values of package dns only where
// they are needed: a record takes some ten octets beside its data.
type Zone struct {
	origin   string // as text
	apex     string // in wire form; both in lower case
	soa      *dns.SOA
	nodes    map[string]*node  // by name in wire form, in lower case
	order    []string          // the names, shorter ones first
	spelling map[string]string // of owners that were not written in lower case
	skipped  []string          // entries of Records without a value
	files    []string          // that records come from

	bodies   []byte // what the packed answers consist of
	negative packed // the SOA record, for names and types that do not exist
}

// A node is one name of the zone. A name that only has names below it is a node
// without sets (an "empty non-terminal", RFC 4592, section 2.2.2): it exists.
type node struct {
	sets  []rrset // by type
	cover *cover  // what hides the name, or those below it
	star  *node   // the wildcard right below it
}

// A cover is what hides the names below it: a delegation (RFC 1034, section
// 4.2.1), which hides its own name too, or a DNAME record (RFC 6672).
type cover struct {
	owner      *node
	name       string
	delegation bool
	set        *rrset // NS or DNAME
	packed     packed // the referral, or the DNAME record
}

// A rrset is all records of one name and type (RFC 2181, section 5).
type rrset struct {
	rrtype uint16
	count  uint16
	ttl    uint32
	data   []byte // one after the other, each behind a recordHead
	packed packed // the answer to a question for it
}

// recordHead is how many octets stand before the data of each record: the length
// of it, and where it comes from: the file and the line.
const recordHead = 2 + 2 + 4

// A position is where a record stands; line 0 for an entry of Records.
type position struct {
	file uint16
	line uint32
}

func appendRecord(dst []byte, at position, rdata []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(rdata)))
	dst = binary.BigEndian.AppendUint16(dst, at.file)
	dst = binary.BigEndian.AppendUint32(dst, at.line)
	return append(dst, rdata...)
}

// nextRecord takes the first record off: where it stands, its data, and the others.
func nextRecord(records []byte) (at position, rdata, rest []byte) {
	end := recordHead + int(binary.BigEndian.Uint16(records))
	at = position{binary.BigEndian.Uint16(records[2:]), binary.BigEndian.Uint32(records[4:])}
	return at, records[recordHead:end], records[end:]
}

// all yields where each record stands, and its data.
func (s *rrset) all() iter.Seq2[position, []byte] {
	return func(yield func(position, []byte) bool) {
		for rest := s.data; len(rest) > 0; {
			at, rdata, others := nextRecord(rest)
			if !yield(at, rdata) {
				return
			}
			rest = others
		}
	}
}

// first returns the data of the first record.
func (s *rrset) first() []byte {
	_, rdata, _ := nextRecord(s.data)
	return rdata
}

// position returns where the first record stands.
func (s *rrset) position() position {
	at, _, _ := nextRecord(s.data)
	return at
}

// appendRecords appends the records under an owner, given as text.
func (s *rrset) appendRecords(rrs []dns.RR, owner string) []dns.RR {
	for _, rdata := range s.all() {
		rr, err := unpack(owner, s.rrtype, s.ttl, rdata)
		if err != nil {
			panic(fmt.Sprintf("a record of %s that was checked cannot be read: %v", owner, err))
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

func unpack(owner string, rrtype uint16, ttl uint32, rdata []byte) (dns.RR, error) {
	h := dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl, Rdlength: uint16(len(rdata))}
	rr, _, err := dns.UnpackRRWithHeader(h, rdata, 0)
	return rr, err
}

// set returns the records of a type, or nil.
func (n *node) set(rrtype uint16) *rrset {
	for i := range n.sets {
		if n.sets[i].rrtype == rrtype {
			return &n.sets[i]
		}
	}
	return nil
}

// Origin returns the zone's name as text, in lower case and with its final dot.
func (z *Zone) Origin() string { return z.origin }

// Serial returns the serial number of the zone's SOA record.
func (z *Zone) Serial() uint32 { return z.soa.Serial }

// Names returns how many names have records.
func (z *Zone) Names() int {
	n := 0
	for _, node := range z.nodes {
		if len(node.sets) > 0 {
			n++
		}
	}
	return n
}

// All yields each record of the zone once, glue and what is hidden included, the
// SOA record first, in an order that is always the same. The records are the
// caller's own.
func (z *Zone) All() iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		if !yield(dns.Copy(z.soa)) {
			return
		}
		for _, name := range z.order {
			owner := ""
			for i := range z.nodes[name].sets {
				set := &z.nodes[name].sets[i]
				if set.rrtype == dns.TypeSOA {
					continue
				}
				if owner == "" {
					owner = z.written(name)
				}
				for _, rr := range set.appendRecords(nil, owner) {
					if !yield(rr) {
						return
					}
				}
			}
		}
	}
}

// written returns a name as text, in the case that the zone file has it in.
func (z *Zone) written(name string) string {
	if spelled, ok := z.spelling[name]; ok {
		return wirename.Text(spelled)
	}
	return wirename.Text(name)
}

// where returns "file:line".
func (z *Zone) where(at position) string {
	if at.line == 0 {
		return z.files[at.file]
	}
	return fmt.Sprintf("%s:%d", z.files[at.file], at.line)
}

// equal reports whether two zones have the same records, in the same order and
// case, wherever they stand.
func (z *Zone) equal(other *Zone) bool {
	if !slices.Equal(z.order, other.order) {
		return false
	}
	for _, name := range z.order {
		a, b := z.nodes[name].sets, other.nodes[name].sets
		if len(a) != len(b) || z.spelling[name] != other.spelling[name] {
			return false
		}
		for i := range a {
			if a[i].rrtype != b[i].rrtype || a[i].ttl != b[i].ttl || !sameData(&a[i], &b[i]) {
				return false
			}
		}
	}
	return true
}

func sameData(a, b *rrset) bool {
	x, y := a.data, b.data
	for len(x) > 0 && len(y) > 0 {
		var one, other []byte
		_, one, x = nextRecord(x)
		_, other, y = nextRecord(y)
		if !bytes.Equal(one, other) {
			return false
		}
	}
	return len(x) == len(y)
}

// find walks to a name in the zone, given in wire form and lower case. The order
// of decisions is [Zone.Lookup]'s. It returns one of: what covers the name; the
// node that answers, perhaps a wildcard; neither, where there is no such name.
func (z *Zone) find(name []byte, qtype uint16) (*node, *cover) {
	n := z.nodes[string(name)]
	exact := n != nil
	for rest := name; n == nil; n = z.nodes[string(rest)] {
		rest = wirename.Parent(rest)
	}
	if c := n.cover; c != nil {
		at := exact && c.owner == n
		if !at || c.delegation && qtype != dns.TypeDS {
			return nil, c
		}
	}
	if exact {
		return n, nil
	}
	return n.star, nil
}
