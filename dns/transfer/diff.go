package transfer

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/miekg/dns"
)

// A delta is what changed from one version of a zone to the next, in the form of
// RFC 1995, section 4: the old SOA record and what went, the new SOA record and
// what came. Both are records in wire form one after the other, uncompressed, so
// that a delta keeps nothing of its versions alive and its size is known.
type delta struct {
	from, to       uint32
	removed, added []byte
}

func (d delta) size() int { return len(d.removed) + len(d.added) }

// header is the length of a message's header (RFC 1035, section 4.1.1).
const header = 12

// A packer turns records into wire form, one at a time. A message does that
// without writing to the record, which others may be reading; dns.PackRR would
// set its Rdlength.
type packer struct {
	msg    dns.Msg
	buffer []byte
}

// pack returns the record in wire form, valid until the next call.
func (p *packer) pack(rr dns.RR) ([]byte, error) {
	if p.buffer == nil {
		p.buffer = make([]byte, dns.MaxMsgSize)
	}
	p.msg.Answer = append(p.msg.Answer[:0], rr)
	out, err := p.msg.PackBuffer(p.buffer)
	if err != nil {
		return nil, fmt.Errorf("pack the %s record of %s: %w", dns.Type(rr.Header().Rrtype), rr.Header().Name, err)
	}
	return out[header:], nil
}

// difference returns the delta between two versions, whether they differ in
// anything, and how many octets the newer takes in wire form. Spelling and TTL
// count: what a secondary holds afterwards is the new version, letter by letter.
func difference(before, after Zone) (d delta, differ bool, size int, err error) {
	d.from, d.to = before.Serial(), after.Serial()
	var p packer
	var soa []byte
	gone := map[string]struct{}{}
	for wire, err := range p.records(before.All()) {
		if err != nil {
			return delta{}, false, 0, err
		}
		if d.removed == nil {
			d.removed = slices.Clone(wire)
			continue
		}
		gone[string(wire)] = struct{}{}
	}
	for wire, err := range p.records(after.All()) {
		if err != nil {
			return delta{}, false, 0, err
		}
		size += len(wire)
		if d.added == nil {
			soa = slices.Clone(wire)
			d.added = slices.Clone(wire)
			continue
		}
		if _, stays := gone[string(wire)]; stays {
			delete(gone, string(wire))
			continue
		}
		d.added = append(d.added, wire...)
	}
	differ = len(gone) > 0 || len(d.added) > len(soa) || string(soa) != string(d.removed)
	for _, wire := range slices.Sorted(maps.Keys(gone)) {
		d.removed = append(d.removed, wire...)
	}
	return d, differ, size, nil
}

// records packs the records of a zone. It ends with the first error.
func (p *packer) records(all iter.Seq[dns.RR]) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for rr := range all {
			wire, err := p.pack(rr)
			if !yield(wire, err) || err != nil {
				return
			}
		}
	}
}

// unpack returns the records of one half of a delta. They were packed here, so
// that an error is a fault of the program.
func unpack(wire []byte) iter.Seq2[dns.RR, error] {
	return func(yield func(dns.RR, error) bool) {
		for at := 0; at < len(wire); {
			rr, next, err := dns.UnpackRR(wire, at)
			if !yield(rr, err) || err != nil {
				return
			}
			at = next
		}
	}
}
