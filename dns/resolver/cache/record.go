package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/dns/server"
)

// A record is an entry in packed form, at an offset that is a multiple of 8:
//
//	 0  size, in units of 8 octets; 0 ends a chunk          2
//	 2  kind | rank<<2 | dead<<7                             1
//	 3  length of the name                                   1
//	 4  type                                                 2
//	 6  how many DNS records; of Failed, failures in a row   2
//	 8  when it ends, ns since the epoch                     8
//	16  how long it counted, s                               4
//	20  length of the data                                   2
//	22  length of the source                                 1
//	23  where in the name the owner of the SOA begins        1
//	24  name, in wire form and lower case; source; data
//
// The data are DNS records without their owner, [type class TTL rdlength rdata],
// uncompressed: a copy of them, with the TTL that is left written over theirs, is
// what goes into a message. Of Failed it is the code and the sentence.
//
// A record lies in shared memory: it is read under its shard's lock, and all of it
// is written under the lock for writing.
type record []byte

const (
	headerSize = 24
	maxSource  = 63
	// noOwner stands for "no SOA": a name's last label begins before it.
	noOwner = 0xFF
	deadBit = 0x80
	// rrHeader is the size of type, class, TTL and rdlength.
	rrHeader = 10
	// maxRecord bounds a record: a larger one is not remembered.
	maxRecord = chunkSize
)

func (r record) size() int      { return int(binary.LittleEndian.Uint16(r)) * 8 }
func (r record) kind() Kind     { return Kind(r[2] & 3) }
func (r record) rank() Rank     { return Rank(r[2] >> 2 & 0x1F) }
func (r record) dead() bool     { return r[2]&deadBit != 0 }
func (r record) qtype() uint16  { return binary.LittleEndian.Uint16(r[4:]) }
func (r record) count() int     { return int(binary.LittleEndian.Uint16(r[6:])) }
func (r record) expires() int64 { return int64(binary.LittleEndian.Uint64(r[8:])) }
func (r record) ttl() uint32    { return binary.LittleEndian.Uint32(r[16:]) }
func (r record) stored() int64  { return r.expires() - int64(r.ttl())*int64(time.Second) }
func (r record) owner() int     { return int(r[23]) }
func (r record) name() []byte   { return r[headerSize : headerSize+int(r[3])] }

func (r record) source() []byte {
	start := headerSize + int(r[3])
	return r[start : start+int(r[22])]
}

func (r record) data() []byte {
	start := headerSize + int(r[3]) + int(r[22])
	return r[start : start+int(binary.LittleEndian.Uint16(r[20:]))]
}

// used is how many octets it needs; size may be more after a larger one.
func (r record) used() int {
	return headerSize + int(r[3]) + int(r[22]) + int(binary.LittleEndian.Uint16(r[20:]))
}

func (r record) setSize(size int) { binary.LittleEndian.PutUint16(r, uint16(size/8)) }
func (r record) setCount(n int)   { binary.LittleEndian.PutUint16(r[6:], uint16(n)) }
func (r record) kill()            { r[2] |= deadBit }

// is reports whether the record is about a name and type. Failures stand beside
// what is known.
func (r record) is(name []byte, qtype uint16, failure bool) bool {
	return r.qtype() == qtype && (r.kind() == Failed) == failure && bytes.Equal(r.name(), name)
}

// maxSlip is how far the clock may be set back, in ns, before what was stored in
// what is the future now no longer counts. A machine that starts with a wrong year
// would otherwise keep its first answers, and failures, for years.
const maxSlip = int64(time.Minute)

// counts reports whether the record is fresh.
func (r record) counts(now int64) bool {
	left := r.expires() - now
	return 0 < left && left <= int64(r.ttl())*int64(time.Second)+maxSlip
}

// left returns the seconds that the record still counts for; a second that has
// begun counts. It is 0 for what is stale.
func (r record) left(now int64) uint32 {
	if !r.counts(now) {
		return 0
	}
	return min(uint32((r.expires()-now+int64(time.Second)-1)/int64(time.Second)), r.ttl())
}

// wireName returns a name in wire form and lower case.
func wireName(name string) ([]byte, error) {
	wire, err := wirename.Pack(name)
	return wirename.AppendLower(wire[:0], wire), err
}

var errNotKept = errors.New("cannot be remembered")

// pack makes the record of an entry. Its times are set by [record.stamp].
func pack(name []byte, qtype uint16, e *Entry) (record, error) {
	r := make(record, headerSize, 256)
	r[2] = byte(e.Kind) | byte(e.Rank)<<2
	r[3] = byte(len(name))
	r[23] = noOwner
	if e.Kind == NoName {
		qtype = dns.TypeNone
	}
	binary.LittleEndian.PutUint16(r[4:], qtype)
	source := server.CutText(e.Source, maxSource)
	r[22] = byte(len(source))
	r = append(append(r, name...), source...)
	start := len(r)
	var err error
	switch {
	case e.Kind == Failed:
		r = binary.BigEndian.AppendUint16(r, e.Code)
		r = append(r, server.CutText(e.Sentence, server.MaxSentence)...)
	case e.Kind == Records:
		if len(e.Records) == 0 || len(e.Records) > 0xFFFF {
			return nil, errNotKept
		}
		binary.LittleEndian.PutUint16(r[6:], uint16(len(e.Records)))
		for _, rr := range e.Records {
			if r, _, err = appendRR(r, rr); err != nil {
				return nil, err
			}
		}
	case e.SOA != nil:
		packed, owner, err := appendRR(r, e.SOA)
		// Its owner is written as a pointer into the name, and therefore must be
		// at or above it. Another one says nothing about the name.
		if at := len(name) - len(owner); err == nil && at >= 0 && bytes.Equal(name[at:], owner) {
			r = packed
			r[23] = byte(at)
			binary.LittleEndian.PutUint16(r[6:], 1)
		}
	}
	if len(r) > maxRecord {
		return nil, errNotKept
	}
	binary.LittleEndian.PutUint16(r[20:], uint16(len(r)-start))
	return r, nil
}

// appendRR appends a DNS record without its owner, which it returns in lower case.
func appendRR(r record, rr dns.RR) (record, []byte, error) {
	buf := make([]byte, dns.Len(rr)+64)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, nil, err
	}
	_, start, err := dns.UnpackDomainName(buf[:n], 0)
	if err != nil {
		return nil, nil, err
	}
	// The library packs records that it does not read, such as an SOA that ends
	// early; nobody is to be given them.
	if _, _, err := dns.UnpackRR(buf[:n], 0); err != nil {
		return nil, nil, err
	}
	return append(r, buf[start:n]...), wirename.AppendLower(buf[:0], buf[:start]), nil
}

// stamp sets from when on and for how many seconds the record counts.
func (r record) stamp(now int64, ttl uint32) {
	binary.LittleEndian.PutUint64(r[8:], uint64(now+int64(ttl)*int64(time.Second)))
	binary.LittleEndian.PutUint32(r[16:], ttl)
}

// unpack makes the entry of a record.
func (r record) unpack(now int64) (Entry, error) {
	e := Entry{
		Kind:   r.kind(),
		Rank:   r.rank(),
		TTL:    r.left(now),
		Source: string(r.source()),
		Stored: time.Unix(0, r.stored()),
	}
	data := r.data()
	if e.Kind == Failed {
		if len(data) < 2 {
			return Entry{}, errNotKept
		}
		e.Code, e.Sentence = binary.BigEndian.Uint16(data), string(data[2:])
		return e, nil
	}
	owner := r.name()
	if r.owner() != noOwner {
		owner = owner[r.owner():]
	}
	for range r.count() {
		if len(data) < rrHeader {
			return Entry{}, errNotKept
		}
		end := rrHeader + int(binary.BigEndian.Uint16(data[8:]))
		if len(data) < end {
			return Entry{}, errNotKept
		}
		rr, _, err := dns.UnpackRR(append(append(make([]byte, 0, len(owner)+end), owner...), data[:end]...), 0)
		if err != nil {
			return Entry{}, err
		}
		rr.Header().Ttl = e.TTL
		if soa, ok := rr.(*dns.SOA); ok && e.Kind != Records {
			e.SOA = soa
		} else {
			e.Records = append(e.Records, rr)
		}
		data = data[end:]
	}
	return e, nil
}
