package upstream

import (
	"context"
	"sync/atomic"
	"time"
	"weak"

	"minicloud.internal/lb/meter"
)

// A Target is one service that requests can be given to. It is made, configured
// and removed by [Set.Apply]. Its methods may be called concurrently, and those
// that a request calls take no lock, but for Leave where others wait in a queue,
// and Observe.
type Target struct {
	// Meter counts the requests that were given to the target.
	Meter *meter.Requests
	// Retries counts the attempts that failed here and were repeated.
	Retries atomic.Uint64
	// Idle is the connections to the target that nobody uses.
	Idle *Idle

	set     *Set
	address string
	seed    uint64
	wake    chan struct{} // asks for a probe now; capacity 1

	inFlight atomic.Int64
	places   atomic.Int64 // how many requests it works on at once; 0: any number
	state    atomic.Int32 // as in condition, for those who hold no lock
	draining atomic.Bool  // changes under the set's mu

	// What follows is guarded by the set's mu; pools by its queues as well, so
	// that one of the two is enough to read it.

	cfg       TargetConfig
	condition condition
	since     time.Time // of the state; zero before the first
	probed    bool      // its first probe is done
	wasUp     bool      // at any time
	lastError string    // of the last evidence against it; kept once it is up again
	where     whereabouts
	recovery  time.Time          // when it came back; the beginning of its slow start
	tenths    int64              // of its weight that count now; 10 but in a slow start
	stop      context.CancelFunc // ends its probes; nil where there are none
	removed   bool
	pools     []weak.Pointer[Pool] // those that hold it, and are held by somebody
}

// Address returns "host:port" as the configuration has it.
func (t *Target) Address() string { return t.address }

// InFlight returns how many requests hold a place at the target.
func (t *Target) InFlight() int64 { return t.inFlight.Load() }

// State returns what is thought of the target now.
func (t *Target) State() State { return State(t.state.Load()) }

// Draining reports whether the target was drained with [Set.Drain].
func (t *Target) Draining() bool { return t.draining.Load() }

// Observe takes in what a request learned about the target: a connection that
// could not be made, as [EvidenceOf] classifies it, or [Broken] where a
// connection that was made was cut. If that is news, the target is probed at
// once. An answer, whatever its status, is no evidence, and neither is what a
// client did.
func (t *Target) Observe(e Evidence, err error) { t.set.observe(t, e, err) }

// Sparing reports whether a connection that is idle is to be used, whoever has it,
// before another one is made: the target works on so many requests at once, or on
// none but the one that asks. It might serve no more connections than that.
func (t *Target) Sparing() bool { return t.places.Load() != 0 || t.inFlight.Load() <= 1 }

// free reports whether there is a place.
func (t *Target) free() bool {
	places := t.places.Load()
	return places == 0 || t.inFlight.Load() < places
}

// take takes a place, or reports that there is none.
func (t *Target) take() bool {
	places := t.places.Load()
	if places == 0 {
		t.inFlight.Add(1)
		return true
	}
	for {
		n := t.inFlight.Load()
		if n >= places {
			return false
		}
		if t.inFlight.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Leave gives back a place that [Pool.Enter] returned, once. Where requests wait
// for a place at this target, the one that waits longest gets it.
func (t *Target) Leave() {
	bounded := t.places.Load() != 0
	if bounded && t.set.waiting.Load() != 0 {
		t.set.handOver(t)
		return
	}
	t.inFlight.Add(-1)
	// Who began to wait meanwhile has either seen the place, or is seen here.
	if bounded && t.set.waiting.Load() != 0 {
		t.set.offer(t)
	}
}

// rampSteps is the number of steps from a tenth of the weight to all of it.
const rampSteps = 9

// ramp returns how many tenths of the weight count after a time of a slow start,
// and the time until there is one more; 0: there will be none.
func ramp(elapsed, slowStart time.Duration) (tenths int64, next time.Duration) {
	if elapsed >= slowStart {
		return 1 + rampSteps, 0
	}
	elapsed = max(0, elapsed)
	step := int64(float64(rampSteps) * float64(elapsed) / float64(slowStart))
	due := time.Duration(float64(slowStart) * float64(step+1) / rampSteps)
	return 1 + step, max(due-elapsed, time.Millisecond)
}
