package httpapi

import (
	"context"
	"sync"
)

// flightKey names a load: with a lease of the cache, or past it.
type flightKey struct {
	id     int64
	bypass bool
}

// A flight is one load that several askers may wait for.
type flight struct {
	done   chan struct{}
	spell  Spell
	stored bool // the cache took it
	err    error
}

// flights lets one load per key run at a time. The load runs in a goroutine of
// its own, so that an asker who gives up takes nothing from the others;
// golang.org/x/sync/singleflight does that too, but its goroutines cannot be
// joined.
type flights struct {
	running sync.WaitGroup

	mu  sync.Mutex
	now map[flightKey]*flight
}

// do joins the load of key, or begins one, and waits for it or for the end of
// ctx. joined reports that the load began before this call, so that it may have
// read what a write changed since.
func (f *flights) do(ctx context.Context, key flightKey, load func() (Spell, bool, error)) (spell Spell, stored, joined bool, err error) {
	f.mu.Lock()
	l, joined := f.now[key]
	if !joined {
		l = &flight{done: make(chan struct{})}
		if f.now == nil {
			f.now = map[flightKey]*flight{}
		}
		f.now[key] = l
		f.running.Go(func() {
			l.spell, l.stored, l.err = load()
			f.mu.Lock()
			if f.now[key] == l { // not forgotten and begun again
				delete(f.now, key)
			}
			f.mu.Unlock()
			close(l.done)
		})
	}
	f.mu.Unlock()
	select {
	case <-l.done:
		return l.spell, l.stored, joined, l.err
	case <-ctx.Done():
		return Spell{}, false, joined, ctx.Err()
	}
}

// forget lets nobody else join the running loads of a spell, which was changed.
func (f *flights) forget(id int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.now, flightKey{id, false})
	delete(f.now, flightKey{id, true})
}
