package resolver

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/resolver/cache"
	"minicloud.internal/dns/resolver/iterate"
)

// maxPrefetches is how many resolutions may run that nobody waits for.
const maxPrefetches = 64

// A flight is one resolution that many may wait for.
type flight struct {
	done  chan struct{}
	chain []cache.Entry // set before done is closed
	err   *iterate.Failure
}

// flights makes one resolution of many that ask the same at once.
type flights struct {
	limit int // how many may run that somebody began to wait for

	mu       sync.Mutex
	running  map[question]*flight
	prefetch int  // of them those that were started by a prefetch
	over     bool // no new ones
	wait     sync.WaitGroup
}

// end lets no further flight begin, and waits for those under way.
func (fs *flights) end() {
	fs.mu.Lock()
	fs.over = true
	fs.mu.Unlock()
	fs.wait.Wait()
}

var errStopping = &iterate.Failure{Rcode: dns.RcodeServerFailure, Code: dns.ExtendedErrorCodeNotReady, Sentence: "The resolver is stopping"}

// errFull is not remembered: the next time there may be room.
var errFull = &iterate.Failure{Rcode: dns.RcodeServerFailure, Code: dns.ExtendedErrorCodeOther, Sentence: "Too many questions are being resolved already"}

// board joins the resolution of a question, or starts it. It runs in its own
// time, so that a client which gives up takes the answer from nobody. That is also
// why it counts by itself: what bounds the clients that wait does not bound the
// resolutions of those who left (HTTP/2 rapid reset), or had a stale answer.
func (r *Resolver) board(q question) *flight {
	r.flights.mu.Lock()
	defer r.flights.mu.Unlock()
	f := r.flights.running[q]
	switch {
	case f != nil:
		return f
	case len(r.flights.running)-r.flights.prefetch >= r.flights.limit:
		return grounded(errFull)
	}
	return r.depart(q, iterate.Options{}, func() {})
}

// grounded is a flight that never departs.
func grounded(why *iterate.Failure) *flight {
	f := &flight{done: make(chan struct{}), err: why}
	close(f.done)
	return f
}

// depart starts a resolution; the caller holds the lock. landed is called under
// the lock when it is over.
func (r *Resolver) depart(q question, opts iterate.Options, landed func()) *flight {
	if r.flights.over {
		return grounded(errStopping)
	}
	f := &flight{done: make(chan struct{})}
	r.flights.running[q] = f
	r.flights.wait.Go(func() { r.fly(f, q, opts, landed) })
	return f
}

// prefetch resolves a question anew that is asked for often and whose time is
// nearly over. The cache calls it on the path of a query: it does not wait.
func (r *Resolver) prefetch(name string, qtype uint16) {
	q := question{name, qtype}
	r.flights.mu.Lock()
	defer r.flights.mu.Unlock()
	if r.flights.running[q] != nil || r.flights.prefetch >= maxPrefetches {
		return
	}
	r.metrics.prefetches.Add(1)
	r.flights.prefetch++
	r.depart(q, iterate.Options{Refresh: true}, func() { r.flights.prefetch-- })
}

// fly runs a resolution and lands it, whatever happens on the way.
func (r *Resolver) fly(f *flight, q question, opts iterate.Options, landed func()) {
	defer func() {
		if v := recover(); v != nil {
			r.logger.Error("a resolution ended in a panic", "name", q.name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			f.chain, f.err = nil, &iterate.Failure{Rcode: dns.RcodeServerFailure, Code: dns.ExtendedErrorCodeOther, Sentence: "The resolver failed; its log says why"}
		}
		if f.err == nil {
			r.cache.Recovered(q.name, q.qtype)
		} else if f.err.Rcode == dns.RcodeServerFailure && r.base.Err() == nil {
			// Or else every retry of every client would start again at once (RFC
			// 9520). What is stale stays: it is what they get.
			r.cache.Put(q.name, q.qtype, cache.Entry{Kind: cache.Failed, Code: f.err.Code, Sentence: f.err.Sentence})
		}
		r.flights.mu.Lock()
		delete(r.flights.running, q)
		landed()
		r.flights.mu.Unlock()
		close(f.done)
	}()
	f.chain, f.err = r.iterator.Resolve(r.base, q.name, q.qtype, opts)
}

// resolve waits for the resolution of a question, as long as its asker does.
func (r *Resolver) resolve(ctx context.Context, q question) answer {
	old := r.lookUp(q, stale)
	f := r.board(q)
	var impatient <-chan time.Time
	if old.good() {
		// The client response timer of RFC 8767, section 5.
		timer := time.NewTimer(r.cfg.StaleAfter)
		defer timer.Stop()
		impatient = timer.C
	}
	select {
	case <-f.done:
		if f.err != nil && old.good() {
			return r.giveStale(old, "This answer is past its time, but: "+f.err.Sentence)
		}
		return answer{chain: f.chain, failure: f.err, whole: true}
	case <-impatient:
		// The resolution goes on, and the next asker gets what it finds.
		return r.giveStale(old, "The name servers have not answered yet; this is what they said before, and is past its time")
	case <-ctx.Done():
		return answer{failure: errStopping, whole: true}
	}
}

// giveStale says why what is past its time is the answer all the same.
func (r *Resolver) giveStale(old answer, trouble string) answer {
	r.metrics.stale.Add(1)
	old.stale, old.trouble = true, trouble
	return old
}
