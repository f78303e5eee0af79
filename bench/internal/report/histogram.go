package report

import (
	"math/bits"
	"time"
)

// subBits is how many bits below its highest one a value keeps: a bucket is at
// most 1/128 of its value wide.
const subBits = 7

// A Histogram counts durations in buckets whose width grows with the value. To
// record allocates nothing and costs a few nanoseconds.
type Histogram struct {
	counts [(64 - subBits + 1) << subBits]uint32
	total  int64
}

// bucket numbers the values so that neighbours share one only where they differ
// by less than 1 in 128.
func bucket(v uint64) int {
	shift := max(bits.Len64(v)-subBits-1, 0)
	return shift<<subBits + int(v>>shift)
}

// lowest is the smallest value of a bucket.
func lowest(b int) uint64 {
	if b < 2<<subBits {
		return uint64(b)
	}
	shift := b>>subBits - 1
	return uint64(b-shift<<subBits) << shift
}

// Record counts a duration; a negative one as none.
func (h *Histogram) Record(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.total++
}

// Total is how many were recorded.
func (h *Histogram) Total() int64 { return h.total }

// Add counts all that another has counted.
func (h *Histogram) Add(other *Histogram) {
	for b, n := range other.counts {
		h.counts[b] += n
	}
	h.total += other.total
}

// Quantile is the lowest duration that at least the share q of all recorded
// ones do not exceed, rounded down to its bucket; 0 where nothing was recorded.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank, seen := q*float64(h.total), int64(0)
	for b, n := range h.counts {
		seen += int64(n)
		if n > 0 && float64(seen) >= rank {
			return time.Duration(lowest(b))
		}
	}
	return 0
}
