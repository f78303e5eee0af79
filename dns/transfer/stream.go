package transfer

import (
	"context"
	"iter"
	"strings"

	"github.com/miekg/dns"
)

// messageSize is how long a message becomes, in octets: compression pointers
// reach no further (RFC 1035, section 4.1.4). A longer record gets a message of
// its own.
const messageSize = 16 << 10

// A stream packs records into as few messages as it can.
type stream struct {
	ctx    context.Context
	send   func(*dns.Msg) error
	reply  *dns.Msg // the first message, still without records
	origin string

	msg      *dns.Msg
	size     int    // of msg, never less than it will be
	owner    string // of the last record of msg
	hasZone  bool   // msg holds the origin, so that it can be pointed at
	records  int
	messages int
}

// add puts a record behind the others, and sends them first if it is one too
// many.
func (s *stream) add(rr dns.RR) error {
	size := s.cost(rr)
	if s.msg != nil && s.size+size > messageSize {
		if err := s.flush(); err != nil {
			return err
		}
		size = s.cost(rr)
	}
	if s.msg == nil {
		s.begin()
	}
	owner := rr.Header().Name
	s.msg.Answer = append(s.msg.Answer, rr)
	s.size += size
	s.owner, s.hasZone = owner, s.hasZone || strings.HasSuffix(owner, s.origin)
	s.records++
	return nil
}

// begin starts a message. Only the first repeats the question (RFC 5936, section
// 2.2.1).
func (s *stream) begin() {
	s.msg = s.reply.Copy()
	s.size = s.msg.Len()
	if s.messages > 0 {
		s.msg.Question = nil
	}
}

// cost is how many octets a record adds to the message, at most: its owner can
// be a pointer if it is the last one again, letter by letter, and its end can be
// one if it is the zone's name.
func (s *stream) cost(rr dns.RR) int {
	const pointer = 2
	owner, size := rr.Header().Name, dns.Len(rr)
	switch {
	case s.msg == nil:
	case owner == s.owner:
		size += pointer - nameLen(owner)
	case s.hasZone && strings.HasSuffix(owner, s.origin):
		size += pointer - nameLen(s.origin)
	}
	return size
}

// nameLen is the length of a name in wire form.
func nameLen(name string) int {
	return dns.Len(&dns.RR_Header{Name: name}) - 10 // type, class, TTL, length
}

func (s *stream) flush() error {
	if s.msg == nil {
		return nil
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	msg := s.msg
	s.msg, s.owner, s.hasZone = nil, "", false
	s.messages++
	return s.send(msg)
}

// whole sends every record, with the SOA record again at the end (RFC 5936,
// section 2.2).
func (s *stream) whole(zone Zone) error {
	var soa dns.RR
	for rr := range zone.All() {
		if soa == nil {
			soa = rr
		}
		if err := s.add(rr); err != nil {
			return err
		}
	}
	if err := s.add(soa); err != nil {
		return err
	}
	return s.flush()
}

// changes returns the deltas between the new SOA record twice (RFC 1995, section
// 4).
func changes(soa dns.RR, deltas []delta) iter.Seq2[dns.RR, error] {
	return func(yield func(dns.RR, error) bool) {
		if !yield(soa, nil) {
			return
		}
		for _, d := range deltas {
			for _, half := range [][]byte{d.removed, d.added} {
				for rr, err := range unpack(half) {
					if !yield(rr, err) || err != nil {
						return
					}
				}
			}
		}
		yield(soa, nil)
	}
}

// differences sends the deltas in as many messages as it takes.
func (s *stream) differences(soa dns.RR, deltas []delta) error {
	for rr, err := range changes(soa, deltas) {
		if err != nil {
			return err
		}
		if err := s.add(rr); err != nil {
			return err
		}
	}
	return s.flush()
}

// datagram sends the deltas in one message of at most limit octets, or nothing
// if they need more.
func (s *stream) datagram(soa dns.RR, deltas []delta, limit int) (sent bool, err error) {
	s.begin()
	for rr, err := range changes(soa, deltas) {
		if err != nil {
			return false, err
		}
		s.msg.Answer = append(s.msg.Answer, rr)
	}
	if s.msg.Len() > limit {
		s.msg = nil
		return false, nil
	}
	s.records = len(s.msg.Answer)
	return true, s.flush()
}

// alone sends the SOA record, which says which version there is.
func (s *stream) alone(soa dns.RR) error {
	if err := s.add(soa); err != nil {
		return err
	}
	return s.flush()
}
