package upstream

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// A Pool is targets that requests are balanced over. It is made by [Set.Apply],
// and goes on for the requests that hold it when another one takes its name. Its
// methods may be called concurrently.
type Pool struct {
	set      *Set
	name     string
	members  []*Target
	cfg      *PoolConfig // guarded by the set's mu
	snapshot atomic.Pointer[snapshot]
	turn     atomic.Uint64
	budget   budget

	// What follows is guarded by the set's queues.

	changed     chan struct{} // closed, and replaced, with every new snapshot
	first, last *waiter       // the queue
	length      int           // of it
}

// Name returns the name that the configuration gives the pool.
func (p *Pool) Name() string { return p.name }

// Targets returns the pool's targets, in the order of the configuration. The
// slice must not be changed.
func (p *Pool) Targets() []*Target { return p.members }

// Policy returns the policy in force.
func (p *Pool) Policy() Policy { return p.snapshot.Load().cfg.Policy }

// Candidates returns the targets that requests are given to now: those that are
// up and not draining, or, where there are none and the pool fails open, those
// that are not draining.
func (p *Pool) Candidates() []*Target {
	s := p.snapshot.Load()
	all := make([]*Target, len(s.candidates))
	for i := range s.candidates {
		all[i] = s.candidates[i].Target
	}
	return all
}

// Waiting returns how many requests wait in the queue for a place.
func (p *Pool) Waiting() int {
	p.set.queues.Lock()
	defer p.set.queues.Unlock()
	return p.length
}

// Requested counts a request, at its first attempt: it feeds the budget of
// retries.
func (p *Pool) Requested() { p.budget.requests.Add(1) }

// MayRetry takes one retry from the pool's budget, or reports that there is none:
// in any ten seconds a pool repeats at most its RetryBudget of its requests, and
// 100 more.
func (p *Pool) MayRetry() bool {
	return p.budget.take(time.Since(p.set.born), p.snapshot.Load().cfg.RetryBudget)
}

// RetriesDenied returns how often [Pool.MayRetry] found nothing.
func (p *Pool) RetriesDenied() uint64 { return p.budget.denied.Load() }

// refresh replaces the snapshot, and sees who of the waiting can go on with it;
// the set's mu is held.
func (p *Pool) refresh() {
	s := &snapshot{cfg: p.cfg}
	add := func(t *Target) {
		s.candidates = append(s.candidates, candidate{t, int64(t.cfg.Weight) * t.tenths})
	}
	for _, t := range p.members {
		switch {
		case t.draining.Load():
		case t.condition.state == Up:
			add(t)
		case t.condition.state == Unknown:
			s.unknown = append(s.unknown, t)
		}
	}
	if len(s.candidates) == 0 && p.cfg.FailOpen {
		s.failOpen = true
		for _, t := range p.members {
			if !t.draining.Load() {
				add(t)
			}
		}
	}
	s.prepare()
	p.set.queues.Lock()
	defer p.set.queues.Unlock()
	p.snapshot.Store(s)
	close(p.changed)
	p.changed = make(chan struct{})
	p.reconsider()
}

// maxTries is how many targets a walk visits. It bounds what a request carries
// with it; nobody repeats a request more than ten times.
const maxTries = 12

// A Walk is the order in which one request tries the targets of a pool: each at
// most once, and at most 12. It looks at the pool anew at every step, so that it
// passes over targets that went down meanwhile and finds those that came up. It
// is a value, which allocates nothing, for one goroutine.
type Walk struct {
	pool  *Pool
	hash  uint64
	tried [maxTries]*Target
	n     int
}

// Walk begins a request's way through the pool. The hash is of what [Hash] keeps
// together, such as the client's address; other policies have no use for it. It
// should come from a function that spreads well, but need not be a secret.
func (p *Pool) Walk(hash uint64) Walk { return Walk{pool: p, hash: hash} }

// Next returns the target that is next, whether it has a free place or not, and
// takes none. It returns nil at the end. It never blocks.
func (w *Walk) Next() *Target {
	t := w.pick(w.pool.snapshot.Load(), false)
	if t != nil {
		w.visit(t)
	}
	return t
}

// take takes a place at the target that is next and has one, or returns nil.
func (w *Walk) take(s *snapshot) *Target {
	for {
		t := w.pick(s, true)
		if t == nil {
			return nil
		}
		if t.take() { // otherwise somebody else was faster
			w.visit(t)
			return t
		}
	}
}

// pick asks the policy.
func (w *Walk) pick(s *snapshot, place bool) *Target {
	if len(s.candidates) == 0 || w.n == maxTries {
		return nil
	}
	i := -1
	switch s.cfg.Policy {
	case LeastConnections:
		i = s.leastConnections(w.pool.turn.Add(1)-1, w, place)
	case RandomTwo:
		i = s.randomTwo(rand.Uint64(), w, place)
	case Hash:
		i = s.rendezvous(w.hash, w, place)
	default:
		// A request that passes over somebody takes another turn first, so that
		// what a full target does not take is spread over all others.
		turn := w.pool.turn.Add(1) - 1
		for extra := 0; extra < 3 && w.passes(s.scheduled(turn), place); extra++ {
			turn = w.pool.turn.Add(1) - 1
		}
		i = s.roundRobin(turn, w, place)
	}
	if i < 0 {
		return nil
	}
	return s.candidates[i].Target
}

func (w *Walk) visit(t *Target) {
	w.tried[w.n] = t
	w.n++
}

func (w *Walk) visited(t *Target) bool { return slices.Contains(w.tried[:w.n], t) }

// passes reports whether the walk passes over a candidate: it has been there, or
// there is no place where it needs one.
func (w *Walk) passes(c *candidate, place bool) bool {
	return w.n > 0 && w.visited(c.Target) || place && !c.free()
}
