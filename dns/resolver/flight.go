package resolver

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/miekg/dns"
)

// A flight is one resolution that many may wait for.
type flight struct {
	done  chan struct{}
	chain []*entry // set before done is closed
	err   *failure
}

// flights makes one resolution of many that ask the same at once.
type flights struct {
	mu      sync.Mutex
	running map[key]*flight
	wait    sync.WaitGroup
}

// await joins the resolution of a question, or starts it. It runs in its own
// time, so that a client which gives up (ctx) takes the answer from nobody.
func (r *Resolver) await(ctx context.Context, k key) ([]*entry, *failure) {
	r.flights.mu.Lock()
	f := r.flights.running[k]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		r.flights.running[k] = f
		r.flights.wait.Go(func() { r.fly(f, k) })
	}
	r.flights.mu.Unlock()
	select {
	case <-f.done:
		return f.chain, f.err
	case <-ctx.Done():
		return nil, failuref(dns.ExtendedErrorCodeNotReady, "The resolver is stopping")
	}
}

// fly runs a resolution and lands it, whatever happens on the way.
func (r *Resolver) fly(f *flight, k key) {
	ctx, cancel := context.WithTimeout(r.base, r.cfg.ResolveTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			r.logger.Error("a resolution ended in a panic", "name", k.name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			f.chain, f.err = nil, failuref(dns.ExtendedErrorCodeOther, "The resolver failed; its log says why")
		}
		if f.err != nil {
			// Or else every retry of every client would start again at once.
			now := r.now()
			expires := now.Add(r.cfg.FailureTTL)
			r.answers.put(k, &entry{kind: failed, failure: f.err, expires: expires}, expires, now)
		}
		r.flights.mu.Lock()
		delete(r.flights.running, k)
		r.flights.mu.Unlock()
		close(f.done)
	}()
	f.chain, f.err = r.newResolution().resolve(ctx, k.name, k.qtype, 0)
}
