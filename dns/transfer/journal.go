package transfer

import "slices"

// A version is one version of a zone, with what leads to it. It never changes.
type version struct {
	zone Zone
	// deltas lead, without a gap, from an older version to this one.
	deltas []delta
	// size is how many octets the zone takes in wire form; known where there
	// are deltas.
	size int
}

// limits bounds a journal.
type limits struct {
	versions, bytes int
}

// follow returns the version that zone is after v. The journal goes on where the
// serial number went up (RFC 1982); otherwise no secondary could follow it, and
// it begins anew.
func (v *version) follow(zone Zone, l limits) (*version, error) {
	next := &version{zone: zone}
	if l.versions == 0 || l.bytes == 0 {
		return next, nil
	}
	d, differ, size, err := difference(v.zone, zone)
	if err != nil {
		return nil, err
	}
	if !differ {
		return &version{zone, v.deltas, v.size}, nil
	}
	if !Older(d.from, d.to) {
		return next, nil
	}
	deltas := append(slices.Clone(v.deltas), d)
	total := 0
	for _, d := range deltas {
		total += d.size()
	}
	// A version that is not older than the newest by RFC 1982 (after a long way
	// round) could be taken for another one with the same number.
	for len(deltas) > 0 && (len(deltas) > l.versions || total > l.bytes || !Older(deltas[0].from, d.to)) {
		total -= deltas[0].size()
		deltas = deltas[1:]
	}
	return &version{zone, slices.Clip(deltas), size}, nil
}

// since returns the deltas from a serial number on, their size in octets, and
// whether they are known.
func (v *version) since(serial uint32) (deltas []delta, size int, known bool) {
	for i := len(v.deltas) - 1; i >= 0; i-- {
		size += v.deltas[i].size()
		if v.deltas[i].from == serial {
			return v.deltas[i:], size, true
		}
	}
	return nil, 0, false
}

// A shape is what an answer consists of.
type shape int

const (
	// whole is every record, the SOA record first and last.
	whole shape = iota
	// differences is the deltas, between the new SOA record twice.
	differences
	// current is the SOA record alone: the client has this version, or a newer.
	current
	// overTCP is the SOA record alone: the answer does not fit into a datagram.
	overTCP
)

// plan decides what a client gets who asked for the changes since a serial
// number (RFC 1995, section 2), in this order: nothing new; the changes, if they
// are known and shorter than the zone; the whole zone. A datagram with room for
// limit octets (0: TCP) takes changes only, and no great many: whether they fit
// is seen when they are packed.
func (v *version) plan(serial uint32, limit int) (shape, []delta) {
	const compression = 4 // what packing may save at best, about
	if serial == v.zone.Serial() || Older(v.zone.Serial(), serial) {
		return current, nil
	}
	deltas, size, known := v.since(serial)
	switch {
	case limit > 0 && (!known || size/compression > limit):
		return overTCP, nil
	case limit == 0 && (!known || size >= v.size):
		return whole, nil
	}
	return differences, deltas
}
