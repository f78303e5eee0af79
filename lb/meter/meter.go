// Package meter counts requests without locks: the hot path adds, a scrape
// reads. What is read while requests are under way is each number by itself, not
// one moment of all of them; a counter never goes back.
package meter

import (
	"sync/atomic"
	"time"
)

// Classes are the names of the classes of an answer: the first digit of its
// status, or "aborted" for one that did not come to its end.
var Classes = [...]string{"aborted", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Aborted is the status of a request that was not answered.
const Aborted = 0

// Class returns the index in [Classes] of a status.
func Class(status int) int {
	if c := status / 100; c > 0 && c < len(Classes) {
		return c
	}
	return Aborted
}

// Bounds are the upper bounds, inclusive, of the buckets of a [Histogram].
var Bounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
	5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// A Histogram counts durations in the buckets of [Bounds]. The zero value is
// ready; it may be used concurrently.
type Histogram struct {
	buckets [len(Bounds) + 1]atomic.Uint64
	sum     atomic.Int64 // nanoseconds
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

// Read returns how many durations were counted, their sum, and how many were at
// most each of [Bounds].
func (h *Histogram) Read() (count uint64, sum time.Duration, cumulative [len(Bounds)]uint64) {
	for i := range cumulative {
		count += h.buckets[i].Load()
		cumulative[i] = count
	}
	return count + h.buckets[len(Bounds)].Load(), time.Duration(h.sum.Load()), cumulative
}

// Requests counts the requests of one route or one target. The zero value is
// ready; it may be used concurrently.
type Requests struct {
	classes  [len(Classes)]atomic.Uint64
	Duration Histogram
	// BytesIn and BytesOut are of the bodies, of requests and of answers.
	BytesIn, BytesOut atomic.Uint64
	// InFlight are those of a route that are being served, tunnels included. What
	// a target works on is [upstream.Target.InFlight], which its limit goes by.
	InFlight atomic.Int64
}

// Done counts a request that was answered with a status, or [Aborted].
func (r *Requests) Done(status int, took time.Duration) {
	r.classes[Class(status)].Add(1)
	r.Duration.Observe(took)
}

// Class returns the number of requests whose class has that index in [Classes].
func (r *Requests) Class(i int) uint64 { return r.classes[i].Load() }
