package lb

import "iter"

// roundRobin is the order in which a request tries the healthy: from the one
// whose turn it is, once around, at most limit of them. A retry is the next
// step of a range loop over it.
//
// turn counts the requests of the pool. Because healthy holds nobody who is
// down, the neighbour of a dead target does not inherit its share.
func roundRobin[T any](healthy []T, turn uint64, limit int) iter.Seq[T] {
	return func(yield func(T) bool) {
		n := uint64(len(healthy))
		for i := range min(n, uint64(max(limit, 0))) {
			if !yield(healthy[(turn%n+i)%n]) {
				return
			}
		}
	}
}
