package queue

import "container/heap"

// A flight is a message that was received and whose visibility timeout runs.
type flight struct {
	id       id
	deadline int64
	receives uint32
	index    int // in the heap
}

// flights are the messages of one queue in flight, by id and by deadline.
// Guarded by the queue's lock.
type flights struct {
	byID   map[id]*flight
	byTime flightHeap
}

func newFlights() flights { return flights{byID: map[id]*flight{}} }

func (f *flights) len() int { return len(f.byTime) }

func (f *flights) add(i id, deadline int64, receives uint32) {
	x := &flight{id: i, deadline: deadline, receives: receives}
	f.byID[i] = x
	heap.Push(&f.byTime, x)
}

func (f *flights) remove(i id) {
	if x := f.byID[i]; x != nil {
		heap.Remove(&f.byTime, x.index)
		delete(f.byID, i)
	}
}

// next returns the earliest deadline.
func (f *flights) next() (deadline int64, ok bool) {
	if len(f.byTime) == 0 {
		return 0, false
	}
	return f.byTime[0].deadline, true
}

// expired removes and returns those whose deadline is at or before now.
func (f *flights) expired(now int64) (over []*flight) {
	for len(f.byTime) > 0 && f.byTime[0].deadline <= now {
		x := heap.Pop(&f.byTime).(*flight)
		delete(f.byID, x.id)
		over = append(over, x)
	}
	return over
}

// flightHeap implements [heap.Interface].
type flightHeap []*flight

func (h flightHeap) Len() int           { return len(h) }
func (h flightHeap) Less(a, b int) bool { return h[a].deadline < h[b].deadline }
func (h flightHeap) Swap(a, b int) {
	h[a], h[b] = h[b], h[a]
	h[a].index, h[b].index = a, b
}

func (h *flightHeap) Push(x any) {
	f := x.(*flight)
	f.index = len(*h)
	*h = append(*h, f)
}

func (h *flightHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
