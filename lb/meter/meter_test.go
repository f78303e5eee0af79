package meter

import (
	"testing"
	"time"
)

func TestAnAnswerIsCountedInItsClass(t *testing.T) {
	for status, want := range map[int]string{Aborted: "aborted", 101: "1xx", 204: "2xx", 304: "3xx", 404: "4xx", 503: "5xx", 600: "aborted", -1: "aborted"} {
		if got := Classes[Class(status)]; got != want {
			t.Errorf("status %d is of class %s, want %s", status, got, want)
		}
	}
	var r Requests
	r.Done(200, time.Second)
	r.Done(404, time.Second)
	if r.Class(2) != 1 || r.Class(4) != 1 || r.Class(5) != 0 {
		t.Errorf("classes: 2xx %d, 4xx %d, 5xx %d; want 1, 1, 0", r.Class(2), r.Class(4), r.Class(5))
	}
}

func TestBucketsHoldWhatIsAtMostTheirBound(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{0, Bounds[0], Bounds[0] + 1, time.Hour} {
		h.Observe(d)
	}
	count, sum, cumulative := h.Read()
	if count != 4 || sum != 2*Bounds[0]+1+time.Hour {
		t.Errorf("count %d, sum %s", count, sum)
	}
	if cumulative[0] != 2 || cumulative[1] != 3 || cumulative[len(Bounds)-1] != 3 {
		t.Errorf("at most %s: %d, at most %s: %d, in any bucket: %d; want 2, 3, 3",
			Bounds[0], cumulative[0], Bounds[1], cumulative[1], cumulative[len(Bounds)-1])
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	var r Requests
	if n := testing.AllocsPerRun(100, func() { r.Done(200, 3*time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
