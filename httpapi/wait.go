package httpapi

import (
	"context"
	"time"
)

// A backoff gives growing waits between tries: first, then twice the one before,
// up to most.
type backoff struct {
	first, most time.Duration
	last        time.Duration
}

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, b.first), b.most)
	return b.last
}

func (b *backoff) reset() { b.last = 0 }

// sleep waits for d, and reports false where ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
