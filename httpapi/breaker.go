package httpapi

import (
	"sync"
	"time"
)

// A breaker keeps callers away from a service for pause after a call failed.
// After that it lets one caller through at a time, at most one per pause, until
// one succeeds: a service that hangs costs one request in each pause its
// timeout, and not all of them.
type breaker struct {
	now   func() time.Time
	pause time.Duration

	mu     sync.Mutex
	failed bool
	until  time.Time // while failed: nobody before this
}

// allow reports whether to call the service. Whoever is let through while the
// service is down is the probe.
func (b *breaker) allow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.failed {
		return true
	}
	now := b.now()
	if now.Before(b.until) {
		return false
	}
	b.until = now.Add(b.pause)
	return true
}

// report says how a call ended.
func (b *breaker) report(ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = !ok
	if !ok {
		b.until = b.now().Add(b.pause)
	}
}
