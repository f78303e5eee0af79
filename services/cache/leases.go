package cache

import (
	"container/list"
	"math/rand/v2"
	"time"
)

// leases are the leases of one stripe's keys, one for each key, in the order in
// which they were given, which is that of their ends. Guarded by the stripe.
type leases struct {
	limit  int
	byHash map[uint64]*list.Element // of lease
	order  *list.List
}

type lease struct {
	hash, token uint64
	deadline    int64
}

func newLeases(limit int) leases {
	return leases{limit: limit, byHash: map[uint64]*list.Element{}, order: list.New()}
}

func (l *leases) len() int { return l.order.Len() }

// give returns the key's lease, a new one where it has none. The oldest of all
// gives way where there are too many.
func (l *leases) give(hash uint64, now int64, valid time.Duration) uint64 {
	l.expire(now)
	if e := l.byHash[hash]; e != nil {
		return e.Value.(lease).token
	}
	if l.order.Len() >= l.limit {
		l.remove(l.order.Front())
	}
	// Random, so that a token from before a restart, or one that was revoked,
	// is not met again. 0 means no lease.
	x := lease{hash: hash, token: 1 + rand.Uint64N(1<<53-1), deadline: now + int64(valid)}
	l.byHash[hash] = l.order.PushBack(x)
	return x.token
}

// holds reports whether token is the key's lease at this time.
func (l *leases) holds(hash, token uint64, now int64) bool {
	e := l.byHash[hash]
	return e != nil && e.Value.(lease).token == token && now < e.Value.(lease).deadline
}

func (l *leases) revoke(hash uint64) {
	if e := l.byHash[hash]; e != nil {
		l.remove(e)
	}
}

// expire drops the leases that have ended.
func (l *leases) expire(now int64) {
	for e := l.order.Front(); e != nil && e.Value.(lease).deadline <= now; e = l.order.Front() {
		l.remove(e)
	}
}

func (l *leases) remove(e *list.Element) {
	delete(l.byHash, e.Value.(lease).hash)
	l.order.Remove(e)
}
