package lb

import (
	"sync/atomic"
)

// A ring is a queue of bounded length between many writers and one reader. Nobody
// waits for anybody: a writer that finds it full is told so, and the slots keep
// their buffers. Each slot's turn says whose it is: that of the writer with the
// same number, or one more for the reader (after Dmitry Vyukov's bounded queue).
type ring[T any] struct {
	slots []slot[T] // a power of two
	_     [64]byte  // the two ends are on cache lines of their own
	write atomic.Uint64
	_     [56]byte
	read  uint64
	idle  atomic.Bool   // the reader waits, or is about to
	wake  chan struct{} // ends its wait; capacity 1
}

type slot[T any] struct {
	turn  atomic.Uint64
	value T
}

func newRing[T any](size int) *ring[T] {
	r := &ring[T]{slots: make([]slot[T], size), wake: make(chan struct{}, 1)}
	for i := range r.slots {
		r.slots[i].turn.Store(uint64(i))
	}
	return r
}

// claim returns a slot to fill, and then to publish; nil where the ring is full.
func (r *ring[T]) claim() (s *slot[T], n uint64) {
	for n = r.write.Load(); ; n = r.write.Load() {
		s = &r.slots[n%uint64(len(r.slots))]
		switch turn := s.turn.Load(); {
		case turn == n && r.write.CompareAndSwap(n, n+1):
			return s, n
		case turn < n:
			return nil, 0
		}
	}
}

// publish gives a slot that was claimed as number n to the reader.
func (r *ring[T]) publish(s *slot[T], n uint64) {
	s.turn.Store(n + 1)
	if r.idle.Load() && r.idle.CompareAndSwap(true, false) {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// next returns the oldest value, which is the reader's until it is released, or
// nil where there is none.
func (r *ring[T]) next() *T {
	s := &r.slots[r.read%uint64(len(r.slots))]
	if s.turn.Load() != r.read+1 {
		return nil
	}
	return &s.value
}

// release gives the slot of [ring.next] back to the writers.
func (r *ring[T]) release() {
	r.slots[r.read%uint64(len(r.slots))].turn.Store(r.read + uint64(len(r.slots)))
	r.read++
}

// wait returns when there is a value, or done is closed.
func (r *ring[T]) wait(done <-chan struct{}) {
	r.idle.Store(true)
	if r.next() != nil { // published before the writer could see that we wait
		r.idle.Store(false)
		return
	}
	select {
	case <-r.wake:
	case <-done:
	}
}
