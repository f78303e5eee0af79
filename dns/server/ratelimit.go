package server

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// A kind is what an answer is to the rate limit: each has a budget of its own,
// so that whoever floods with one kind does not use up another's.
type kind uint8

const (
	kindRecords kind = iota
	kindNo           // NXDOMAIN, NODATA, referrals
	kindError
)

// An action is what becomes of an answer.
type action uint8

const (
	pass action = iota
	slip        // answer with TC: a real client comes back over TCP
	shed        // do not answer
)

// A limiter is response rate limiting: it keeps the server from being a lever
// against somebody in whose name others ask. Who asks in a victim's name is not
// told from the victim, which therefore gets every second answer in the form
// "ask over TCP", no longer than the question.
//
// Each network and kind has a bucket in a table of fixed size: no flood makes
// it grow. A bucket is one word, so that loops share the table without a lock:
//
//	tag (19 bits) | slip (1 bit) | time (44 bits, in microseconds)
//
// The time is when the bucket will be empty (the "theoretical arrival time" of
// GCRA): every answer moves it on by 1/limit seconds, and none is given that
// would move it further than one second ahead. The tag tells networks apart
// that meet in one place; of the two places that each may take it gets its own,
// or that which has been idle for longer.
type limiter struct {
	exempt []netip.Prefix
	period uint64 // µs between two answers
	seed   maphash.Seed
	table  []atomic.Uint64
}

const (
	limiterPlaces = 1 << 16 // half a MiB
	limiterBurst  = 1_000_000
	timeBits      = 44
	timeMask      = 1<<timeBits - 1
	slipBit       = 1 << timeBits
	tagShift      = timeBits + 1
)

// newLimiter returns nil where the limit is 0.
func newLimiter(perSecond int, exempt []netip.Prefix) *limiter {
	if perSecond == 0 {
		return nil
	}
	return &limiter{
		exempt: exempt,
		period: uint64(time.Second/time.Microsecond) / uint64(perSecond),
		seed:   maphash.MakeSeed(),
		table:  make([]atomic.Uint64, limiterPlaces),
	}
}

// judge counts one answer to a client at a time in nanoseconds. It is safe for
// concurrent use.
func (l *limiter) judge(client netip.Addr, k kind, nanos int64) action {
	for _, p := range l.exempt {
		if p.Contains(client) {
			return pass
		}
	}
	hash := l.hash(client, k)
	now := uint64(nanos/1000) & timeMask
	tag := hash >> tagShift
	first := hash & (limiterPlaces - 1)
	for range 4 { // who loses against another loop tries again
		place := &l.table[first]
		word := place.Load()
		if word>>tagShift != tag {
			other := &l.table[first^1]
			if w := other.Load(); w>>tagShift == tag || ahead(w, now) < ahead(word, now) {
				place, word = other, w
			}
		}
		level, slipped := uint64(0), word&slipBit
		if word>>tagShift == tag {
			level = uint64(max(0, ahead(word, now)))
		}
		next, act := tag<<tagShift|slipped, pass
		switch {
		case level+l.period <= limiterBurst:
			next |= (now + level + l.period) & timeMask
		default:
			next = next ^ slipBit | (now+level)&timeMask
			act = shed
			if slipped == 0 {
				act = slip
			}
		}
		if place.CompareAndSwap(word, next) {
			return act
		}
	}
	return pass
}

// ahead returns how far the time in a word lies ahead of now, in µs; negative
// where it has passed. A time further ahead than any that was ever written is
// a very old one.
func ahead(word, now uint64) int64 {
	d := int64((word-now)<<(64-timeBits)) >> (64 - timeBits)
	if d > limiterBurst {
		d = -1 << timeBits
	}
	return d
}

// hash hashes the client's network and the kind.
func (l *limiter) hash(client netip.Addr, k kind) uint64 {
	var key [9]byte
	if client.Is4() {
		a := client.As4()
		copy(key[:], a[:3])
		key[7] = 4
	} else {
		a := client.As16()
		copy(key[:], a[:7])
		key[7] = 6
	}
	key[8] = byte(k)
	return maphash.Bytes(l.seed, key[:])
}

// kindOf returns what an answer is to the limiter.
func kindOf(answer []byte) kind {
	switch {
	case answer[3]&0xF == dns.RcodeNameError:
		return kindNo
	case answer[3]&0xF != dns.RcodeSuccess:
		return kindError
	case answer[6]|answer[7] == 0:
		return kindNo
	}
	return kindRecords
}

// truncate leaves of an answer only that it must be asked for over TCP: the
// header, the question, which ends there, and the OPT record, which begins there
// and is the last; 0 is none.
func truncate(answer []byte, question, opt int) []byte {
	answer[2] |= flagTC
	clear(answer[6:headerSize])
	if opt == 0 {
		return answer[:question]
	}
	answer[11] = 1
	return append(answer[:question], answer[opt:]...)
}
