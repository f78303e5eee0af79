package upstream

import (
	"errors"
	"time"
)

// The errors of [Pool.Enter].
var (
	// ErrNoTarget: there is no target to go to that the walk has not been to.
	ErrNoTarget = errors.New("no healthy target")
	// ErrQueueFull: no target has a free place, and as many wait as may.
	ErrQueueFull = errors.New("every target is full, and so is the queue")
	// ErrQueueTimeout: no target had a free place in time.
	ErrQueueTimeout = errors.New("no target had a free place in time")
	// ErrStopped: stop was closed first.
	ErrStopped = errors.New("stopped waiting for a target")
)

// A waiter is a request in the queue of a pool. Its fields are guarded by the
// set's queues; the walk is a copy, so that the request's own need not be on the
// heap.
type waiter struct {
	walk       Walk
	arrived    uint64 // its number; the lower has waited longer
	queued     bool
	prev, next *waiter
	ready      chan *Target // gets what queued turning false means; nil: nobody is left
	timer      *time.Timer
}

// Enter takes a place at the walk's next target that has one free; the request
// gives it back with [Target.Leave]. Where all are full it waits in the pool's
// queue, first in, first out, for at most QueueTimeout. Where no target is up but
// one may be, it waits for news of it, at most FirstVerdict. A closed stop ends
// either; nil never does. w is a walk of this pool. Enter returns a target, or
// one of [ErrNoTarget], [ErrQueueFull], [ErrQueueTimeout] and [ErrStopped].
func (p *Pool) Enter(w *Walk, stop <-chan struct{}) (*Target, error) {
	if t := p.TryEnter(w); t != nil {
		return t, nil
	}
	return p.wait(w, stop)
}

// TryEnter is [Pool.Enter] for those who cannot wait: it returns nil where Enter
// would wait, or fail.
func (p *Pool) TryEnter(w *Walk) *Target {
	s := p.snapshot.Load()
	if s.failOpen && len(s.unknown) > 0 {
		return nil
	}
	return w.take(s)
}

// wait is Enter where no target can be had at once.
func (p *Pool) wait(w *Walk, stop <-chan struct{}) (*Target, error) {
	// Before the last look for a free place, so that [Target.Leave] sees us, or
	// we see the place.
	p.set.waiting.Add(1)
	defer p.set.waiting.Add(-1)
	var verdict *time.Timer
	for late := false; ; {
		p.set.queues.Lock()
		s, changed := p.snapshot.Load(), p.changed
		awaits := !late && w.awaits(s)
		if !s.failOpen || !awaits {
			if t := w.take(s); t != nil {
				p.set.queues.Unlock()
				return t, nil
			}
			if w.hopes(s) {
				return p.queue(w, s.cfg, stop)
			}
		}
		p.set.queues.Unlock()
		if !awaits {
			return nil, ErrNoTarget
		}
		if verdict == nil {
			verdict = time.NewTimer(s.cfg.FirstVerdict)
			defer verdict.Stop()
		}
		select {
		case <-changed:
		case <-verdict.C:
			late = true
		case <-stop:
			return nil, ErrStopped
		}
	}
}

// awaits reports whether somebody's probe is still to come to whom the walk could
// go. hopes reports whether there is a candidate to whom it could go, full or not.
func (w *Walk) awaits(s *snapshot) bool {
	for _, t := range s.unknown {
		if !w.visited(t) {
			return w.n < maxTries
		}
	}
	return false
}

func (w *Walk) hopes(s *snapshot) bool {
	for _, c := range s.candidates {
		if !w.visited(c.Target) {
			return w.n < maxTries
		}
	}
	return false
}

// queue waits for a place. The set's queues is held; queue gives it up.
func (p *Pool) queue(w *Walk, cfg *PoolConfig, stop <-chan struct{}) (*Target, error) {
	if p.length >= cfg.QueueLength {
		p.set.queues.Unlock()
		return nil, ErrQueueFull
	}
	wt := p.set.newWaiter()
	wt.walk = *w
	p.push(wt)
	p.set.queues.Unlock()
	wt.timer.Reset(cfg.QueueTimeout)
	var t *Target
	var err error
	select {
	case t = <-wt.ready:
	case <-wt.timer.C:
		err = ErrQueueTimeout
	case <-stop:
		err = ErrStopped
	}
	wt.timer.Stop()
	p.set.queues.Lock()
	switch {
	case wt.queued:
		p.remove(wt)
	case err != nil: // the place came at the same moment
		if t = <-wt.ready; err == ErrQueueTimeout {
			err = nil
		}
	}
	*w = wt.walk
	p.set.spare = append(p.set.spare, wt)
	p.set.queues.Unlock()
	switch {
	case err != nil && t != nil: // stopped, but with a place
		t.Leave()
		return nil, err
	case err == nil && t == nil:
		return nil, ErrNoTarget
	}
	return t, err
}

// newWaiter returns a waiter, used or new; queues is held.
func (s *Set) newWaiter() *waiter {
	if n := len(s.spare); n > 0 {
		wt := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return wt
	}
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &waiter{ready: make(chan *Target, 1), timer: timer}
}

// push puts a waiter at the end of the queue; remove takes it out of anywhere;
// deliver takes it out with a place, or without where t is nil. The set's queues
// is held.
func (p *Pool) push(wt *waiter) {
	p.set.arrivals++
	wt.arrived, wt.queued = p.set.arrivals, true
	wt.prev, wt.next = p.last, nil
	if p.last == nil {
		p.first = wt
	} else {
		p.last.next = wt
	}
	p.last = wt
	p.length++
}

func (p *Pool) remove(wt *waiter) {
	if wt.prev == nil {
		p.first = wt.next
	} else {
		wt.prev.next = wt.next
	}
	if wt.next == nil {
		p.last = wt.prev
	} else {
		wt.next.prev = wt.prev
	}
	wt.prev, wt.next, wt.queued = nil, nil, false
	p.length--
}

func (p *Pool) deliver(wt *waiter, t *Target) {
	p.remove(wt)
	wt.ready <- t // has room: it is sent to once each time it is queued
}

// reconsider sees, for each of the waiting in their order, whether the pool's
// snapshot has a place now, or none ever. The set's queues is held.
func (p *Pool) reconsider() {
	s := p.snapshot.Load()
	for wt := p.first; wt != nil; {
		next := wt.next
		if t := wt.walk.take(s); t != nil {
			p.deliver(wt, t)
		} else if !wt.walk.hopes(s) && !wt.walk.awaits(s) {
			p.deliver(wt, nil)
		}
		wt = next
	}
}

// handOver gives back a place at t, to the one that waits longest for it.
func (s *Set) handOver(t *Target) {
	s.queues.Lock()
	defer s.queues.Unlock()
	p, wt := s.oldest(t)
	if wt == nil || t.inFlight.Load() > t.places.Load() { // fewer places than there were
		t.inFlight.Add(-1)
		return
	}
	wt.walk.visit(t)
	p.deliver(wt, t)
}

// offer gives a free place at t to the one that waits longest for it.
func (s *Set) offer(t *Target) {
	s.queues.Lock()
	defer s.queues.Unlock()
	if p, wt := s.oldest(t); wt != nil && t.take() {
		wt.walk.visit(t)
		p.deliver(wt, t)
	}
}

// oldest returns who of all pools waits longest for a place at t, and where.
// queues is held.
func (s *Set) oldest(t *Target) (in *Pool, oldest *waiter) {
	for _, held := range t.pools {
		p := held.Value()
		if p == nil || p.first == nil || !p.snapshot.Load().has(t) {
			continue
		}
		wt := p.first
		for wt != nil && wt.walk.visited(t) {
			wt = wt.next
		}
		if wt != nil && (oldest == nil || wt.arrived < oldest.arrived) {
			in, oldest = p, wt
		}
	}
	return in, oldest
}
