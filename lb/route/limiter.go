package route

import (
	"net/netip"
	"sync"
	"time"
)

// A Rate is how often one client may come. The zero value is no limit.
type Rate struct {
	// PerSecond is the number of requests per second in the long run.
	PerSecond float64
	// Burst is how many may come at once after a pause; at least 1.
	Burst int
}

// On reports whether r limits anything.
func (r Rate) On() bool { return r.PerSecond > 0 }

// The table of a [Limiter] holds at most shards*shardSize clients, in about 6 MB.
const (
	shards    = 16
	shardSize = 4096
)

// A Limiter holds each client to a [Rate]: a token bucket for each address, all
// of an IPv6 /64 counted as one. It knows a bounded number of clients; where
// there are more, the one that was not seen for the longest time starts anew.
type Limiter struct {
	rate      Rate
	interval  int64 // nanoseconds from one token to the next
	tolerance int64 // nanoseconds that a client may be ahead
	start     time.Time
	shards    [shards]shard
}

// NewLimiter returns a limiter; times are counted from start. The rate is on.
func NewLimiter(rate Rate, start time.Time) *Limiter { return newLimiter(rate, start, shardSize) }

func newLimiter(rate Rate, start time.Time, size int) *Limiter {
	const century = 100 * 365 * 24 * time.Hour // no sum of times overflows
	interval := min(float64(century), max(1, float64(time.Second)/rate.PerSecond))
	tolerance := min(float64(century), interval*float64(max(0, rate.Burst-1)))
	l := &Limiter{rate: rate, interval: int64(interval), tolerance: int64(tolerance), start: start}
	for i := range l.shards {
		l.shards[i] = shard{size: size, index: map[client]int32{}, newest: none, oldest: none}
	}
	return l
}

// Allow takes a token of the client at an address, and reports whether there was
// one; otherwise, how long it takes until there is. now is read from a clock that
// never steps back, as [time.Now]'s does not.
func (l *Limiter) Allow(addr netip.Addr, now time.Time) (ok bool, retryAfter time.Duration) {
	c := clientOf(addr)
	at := int64(now.Sub(l.start))
	s := &l.shards[c.hash()%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.visit(c)
	due := max(e.due, at)
	if wait := due - l.tolerance - at; wait > 0 {
		return false, time.Duration(wait)
	}
	e.due = due + l.interval
	return true, 0
}

// A shard is a part of the clients, in a list from the newest to the oldest. It
// holds no pointers, so that the collector has nothing to look at.
type shard struct {
	mu             sync.Mutex
	size           int
	index          map[client]int32
	buckets        []bucket
	newest, oldest int32
}

// A bucket is one client. In place of a number of tokens it has the time at
// which the next request is due: a client that keeps to the rate is never ahead
// of it, and one that uses its burst is, at most by the tolerance.
type bucket struct {
	client
	due          int64 // nanoseconds since the limiter's start
	newer, older int32 // indices, or none
}

const none = -1

// visit returns a client's bucket, now the newest. s.mu is held.
func (s *shard) visit(c client) *bucket {
	i, ok := s.index[c]
	switch {
	case ok && i == s.newest:
		return &s.buckets[i]
	case ok:
		s.unlink(i)
	case len(s.buckets) < s.size:
		i = int32(len(s.buckets))
		s.buckets = append(s.buckets, bucket{client: c})
		s.index[c] = i
	default:
		i = s.oldest
		s.unlink(i)
		delete(s.index, s.buckets[i].client)
		s.buckets[i] = bucket{client: c}
		s.index[c] = i
	}
	b := &s.buckets[i]
	b.newer, b.older = none, s.newest
	if s.newest != none {
		s.buckets[s.newest].newer = i
	} else {
		s.oldest = i
	}
	s.newest = i
	return b
}

func (s *shard) unlink(i int32) {
	b := &s.buckets[i]
	if b.newer != none {
		s.buckets[b.newer].older = b.older
	} else {
		s.newest = b.older
	}
	if b.older != none {
		s.buckets[b.older].newer = b.newer
	} else {
		s.oldest = b.newer
	}
}
