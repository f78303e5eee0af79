package cache

import (
	"encoding/binary"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/dns/server"
)

const (
	// maxFastAliases is how many CNAMEs AnswerFast follows; a longer chain goes the
	// general way, which has its own bound.
	maxFastAliases = 8
	// maxPointer is the last place that a compression pointer reaches (RFC 1035,
	// section 4.1.4).
	maxPointer = 0x3FFF
	// prefetchShare: an entry is due for prefetching in the last tenth of its time,
	// when clients have asked for it prefetchAsked times.
	prefetchShare, prefetchAsked = 10, 2
)

// AnswerFast answers from what is fresh, as [server.Fast] has it: a set, the chain
// of CNAMEs to it, "no" with the SOA, or a failure. It reports false for what is
// unknown, stale, or does not fit. Sets of several records begin with a different
// one each time, by the message's id, as clients take the first.
func (c *Cache) AnswerFast(q *server.FastQuery, msg []byte, reply *server.FastReply) ([]byte, bool) {
	a := answering{q: q, reply: reply, msg: msg, at: 12}
	first, _ := c.shardOf(q.Name)
	var target [wirename.Max]byte // on the stack, and so in no struct
	name := q.Name
	for range maxFastAliases + 1 {
		switch c.step(&a, name) {
		case done:
			first.hits.Add(1)
			return a.msg, true
		case stuck:
			return a.msg, false
		}
		name = wirename.AppendLower(target[:0], a.msg[a.at:])
	}
	return a.msg, false
}

// An answering is the work on one answer.
type answering struct {
	q     *server.FastQuery
	reply *server.FastReply
	msg   []byte
	at    int // where the name whose records are wanted now stands in msg
}

// progress is what a step leads to.
type progress int

const (
	unknown progress = iota // nothing usable was found yet
	stuck                   // the general way must go on
	follow                  // there is a CNAME: its target stands at a.at, and ends msg
	done
)

// step looks for the records, then for a CNAME, then for the word that there is
// nothing.
func (c *Cache) step(a *answering, name []byte) progress {
	s, h := c.shardOf(name)
	p, known, due := c.exact(a, name, s, h)
	if due != dns.TypeNone {
		c.cfg.Prefetch(wirename.Text(string(name)), due) // of a copy, or else every name would be on the heap
	}
	if p != unknown {
		return p
	}
	for above := wirename.Parent(name); len(above) > 1; above = wirename.Parent(above) {
		s, h := c.shardOf(above)
		if p := c.denied(a, name, s, h, above); p != unknown {
			return p
		}
	}
	if known || a.at != 12 {
		return stuck // stale data are better than a failure
	}
	return c.failed(a, name, s, h)
}

// exact tries what is known of the very name. known says that something is, though
// it may be no use here; due is the type that is to be prefetched, or TypeNone.
func (c *Cache) exact(a *answering, name []byte, s *shard, h uint64) (p progress, known bool, due uint16) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if i := s.find(keyHash(h, a.q.Type, false), name, a.q.Type, false); i >= 0 {
		r := s.at(s.slots[i].ref)
		if r.counts(a.q.Now) {
			return a.records(r), true, c.asked(a, s, i, r, a.q.Type)
		}
		known = s.state(r, a.q.Now) != Missing
	}
	if a.q.Type != dns.TypeCNAME {
		if i := s.find(keyHash(h, dns.TypeCNAME, false), name, dns.TypeCNAME, false); i >= 0 {
			if r := s.at(s.slots[i].ref); r.kind() == Records {
				if r.counts(a.q.Now) {
					return a.alias(r), true, c.asked(a, s, i, r, dns.TypeCNAME)
				}
				known = known || s.state(r, a.q.Now) != Missing
			}
		}
	}
	if i := s.find(keyHash(h, dns.TypeNone, false), name, dns.TypeNone, false); i >= 0 {
		r := s.at(s.slots[i].ref)
		if r.counts(a.q.Now) {
			return a.negative(r, 0), true, c.asked(a, s, i, r, a.q.Type)
		}
		known = known || s.state(r, a.q.Now) != Missing
	}
	return unknown, known, dns.TypeNone
}

// asked counts that a client was given an entry, and returns its type when the
// time has come to prefetch it. That is told without the lock.
func (c *Cache) asked(a *answering, s *shard, i int, r record, qtype uint16) uint16 {
	times := s.bump(i, true)
	left := r.expires() - a.q.Now
	if c.cfg.Prefetch != nil && times >= prefetchAsked && left*prefetchShare <= int64(r.ttl())*int64(time.Second) && s.report(i) {
		return qtype
	}
	return dns.TypeNone
}

// records appends what is known of the name and type, whether a set or none.
func (a *answering) records(r record) progress {
	if r.kind() == NoType {
		return a.negative(r, 0)
	}
	if !a.set(r, a.at, &a.reply.Answer) {
		return stuck
	}
	return done
}

// set appends the records of an entry with a pointer to their owner.
func (a *answering) set(r record, owner int, count *uint16) bool {
	n, data := r.count(), r.data()
	if owner > maxPointer || len(a.msg)+len(data)+2*n > a.q.Limit {
		return false
	}
	first := 0
	if n > 1 {
		for range int(binary.BigEndian.Uint16(a.msg)) % n {
			first += rrHeader + int(binary.BigEndian.Uint16(data[first+8:]))
		}
	}
	ttl := r.left(a.q.Now)
	a.msg = appendSet(a.msg, data[first:], owner, ttl)
	a.msg = appendSet(a.msg, data[:first], owner, ttl)
	*count += uint16(n)
	return true
}

func appendSet(msg, data []byte, owner int, ttl uint32) []byte {
	for len(data) > 0 {
		n := rrHeader + int(binary.BigEndian.Uint16(data[8:]))
		at := len(msg)
		msg = append(msg, 0xC0|byte(owner>>8), byte(owner))
		msg = append(msg, data[:n]...)
		binary.BigEndian.PutUint32(msg[at+6:], ttl)
		data = data[n:]
	}
	return msg
}

// alias appends a CNAME.
func (a *answering) alias(r record) progress {
	if !a.set(r, a.at, &a.reply.Answer) {
		return stuck
	}
	a.at = len(a.msg) - int(binary.BigEndian.Uint16(r.data()[8:]))
	return follow
}

// denied answers that a name above does not exist.
func (c *Cache) denied(a *answering, name []byte, s *shard, h uint64, above []byte) progress {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := s.find(keyHash(h, dns.TypeNone, false), above, dns.TypeNone, false)
	if i < 0 {
		return unknown
	}
	r := s.at(s.slots[i].ref)
	if !r.counts(a.q.Now) {
		return unknown
	}
	s.bump(i, false)
	return a.negative(r, len(name)-len(above))
}

// negative answers that there is nothing; the name of the entry begins skip octets
// into the one asked for.
func (a *answering) negative(r record, skip int) progress {
	if r.owner() != noOwner && !a.set(r, a.at+skip+r.owner(), &a.reply.Authority) {
		return stuck
	}
	if r.kind() == NoName {
		a.reply.Rcode = dns.RcodeNameError
	}
	a.explain(r)
	return done
}

// explain says since when it is known, and from whom.
func (a *answering) explain(r record) {
	if !a.q.EDNS {
		return
	}
	a.reply.Explained, a.reply.Code = true, dns.ExtendedErrorCodeOther
	a.reply.Sentence = appendReason(a.reply.Sentence, r.kind(), a.q.Type, (a.q.Now-r.stored())/int64(time.Second), r.source())
}

// failed answers that the same question has just failed.
func (c *Cache) failed(a *answering, name []byte, s *shard, h uint64) progress {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := s.find(keyHash(h, a.q.Type, true), name, a.q.Type, true)
	if i < 0 {
		return stuck
	}
	r := s.at(s.slots[i].ref)
	data := r.data()
	if !r.counts(a.q.Now) || len(data) < 2 {
		return stuck
	}
	a.reply.Rcode = dns.RcodeServerFailure
	if a.q.EDNS {
		a.reply.Explained, a.reply.Code = true, binary.BigEndian.Uint16(data)
		a.reply.Sentence = append(a.reply.Sentence, data[2:]...)
	}
	return done
}
