package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// retryFloor is how many retries a second a pool has in any case.
	retryFloor = 10
	// retryWindow is the number of seconds that are looked at. So a quiet pool
	// has a reserve of retryWindow * retryFloor = 100 retries.
	retryWindow = 10
)

// A budget bounds the retries of a pool, so that they cannot multiply an outage:
// in any ten seconds at most 100, and a share of the requests of that time. To
// count a request is one atomic addition; all else happens at a retry.
type budget struct {
	requests atomic.Uint64
	denied   atomic.Uint64

	mu      sync.Mutex
	slots   [retryWindow]slot // a ring; each second is at its number modulo the length
	second  uint64            // of the latest slot
	counted uint64            // requests that are in a slot
}

type slot struct{ requests, retries uint64 }

// take takes a retry from the budget, or reports that there is none. now is the
// time since some moment, the same in every call; percent is how many requests
// of a hundred give a retry.
func (b *budget) take(now time.Duration, percent int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(uint64(now / time.Second))
	var sum slot
	for _, s := range b.slots {
		sum.requests += s.requests
		sum.retries += s.retries
	}
	if sum.retries >= retryWindow*retryFloor+sum.requests*uint64(percent)/100 {
		b.denied.Add(1)
		return false
	}
	b.slots[b.second%retryWindow].retries++
	return true
}

// advance makes second the latest, and spreads the requests since the last call
// evenly over the time from then on: how they came nobody wrote down. b.mu is
// held.
func (b *budget) advance(second uint64) {
	requests := b.requests.Load()
	fresh := requests - b.counted
	b.counted = requests
	if passed := max(second, b.second) - b.second; passed > 0 {
		seen := min(passed, retryWindow)
		fresh = fresh * seen / passed // the others came before the window
		for s := second - seen + 1; s < second; s++ {
			b.slots[s%retryWindow] = slot{requests: fresh / seen}
		}
		fresh -= fresh / seen * (seen - 1)
		b.second = second
		b.slots[second%retryWindow] = slot{}
	}
	b.slots[b.second%retryWindow].requests += fresh
}
