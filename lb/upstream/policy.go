package upstream

import (
	"math"
	"slices"
)

// A candidate is a target that a pool's requests can be given to at one moment.
type candidate struct {
	*Target
	weight int64 // effective, in tenths
}

// A snapshot is who of a pool can be given requests at one moment. It never
// changes. Nobody is in it who is not up, so that the neighbour of a dead target
// does not inherit its share.
type snapshot struct {
	cfg        *PoolConfig
	candidates []candidate
	schedule   []uint32  // of round_robin and random_two: indexes of candidates
	uniform    bool      // all weights are equal
	failOpen   bool      // the candidates are not up: they are all there is
	unknown    []*Target // somebody's probe is still to come
}

// prepare computes what the policy needs to know of the candidates.
func (s *snapshot) prepare() {
	weights := make([]int64, len(s.candidates))
	s.uniform = true
	for i, c := range s.candidates {
		weights[i] = c.weight
		s.uniform = s.uniform && c.weight == weights[0]
	}
	if s.cfg.Policy == RoundRobin || s.cfg.Policy == RandomTwo {
		s.schedule = schedule(weights)
	}
}

func (s *snapshot) has(t *Target) bool {
	return slices.ContainsFunc(s.candidates, func(c candidate) bool { return c.Target == t })
}

// scheduled returns the candidate whose turn it is; there is one.
func (s *snapshot) scheduled(turn uint64) *candidate {
	return &s.candidates[s.schedule[turn%uint64(len(s.schedule))]]
}

// A policy is a function that returns the index of the candidate that a request
// is given to, or -1 where the request passes over all of them: it has been
// there, or, where it needs a place, there is none. The functions read the
// candidates' numbers of requests and change nothing.

// roundRobin takes the first from a turn on in the schedule, once around.
func (s *snapshot) roundRobin(turn uint64, w *Walk, place bool) int {
	n := uint64(len(s.schedule))
	if n == 0 {
		return -1
	}
	turn %= n
	for range n {
		if i := int(s.schedule[turn]); !w.passes(&s.candidates[i], place) {
			return i
		}
		if turn++; turn == n {
			turn = 0
		}
	}
	return -1
}

// leastConnections takes the one that would have the fewest requests for its
// weight with this one; of several, the first from a turn on.
func (s *snapshot) leastConnections(turn uint64, w *Walk, place bool) int {
	n := len(s.candidates)
	if n == 0 {
		return -1
	}
	best, load, weight := -1, int64(0), int64(0)
	for i, left := int(turn%uint64(n)), n; left > 0; left-- {
		c := &s.candidates[i]
		if l := c.inFlight.Load() + 1; !w.passes(c, place) && (best < 0 || l*weight < load*c.weight) {
			best, load, weight = i, l, c.weight
		}
		if i++; i == n {
			i = 0
		}
	}
	return best
}

// randomTwo takes the less loaded of two: one by its weight, one of the others
// whatever its weight. Where both have as much for their weight it is the first,
// so that weights count on quiet targets too.
func (s *snapshot) randomTwo(random uint64, w *Walk, place bool) int {
	n := uint64(len(s.candidates))
	high, low := random>>32, random&math.MaxUint32
	if n < 2 {
		return s.roundRobin(high, w, place)
	}
	i := uint64(s.schedule[high%uint64(len(s.schedule))])
	j := (i + 1 + low%(n-1)) % n
	a, b := &s.candidates[i], &s.candidates[j]
	switch passesA, passesB := w.passes(a, place), w.passes(b, place); {
	case passesA && passesB:
		return s.roundRobin(high, w, place)
	case passesA, !passesB && b.inFlight.Load()*a.weight < a.inFlight.Load()*b.weight:
		return int(j)
	}
	return int(i)
}

// rendezvous takes the one with the highest score for a key (weighted rendezvous
// hashing). The scores of the others do not change when one comes or goes, so
// that only the keys of that one move; the second highest is who inherits.
func (s *snapshot) rendezvous(key uint64, w *Walk, place bool) int {
	best := -1
	if s.uniform { // then the logarithm changes no order
		var highest uint64
		for i := range s.candidates {
			c := &s.candidates[i]
			if h := mix(key ^ c.seed); (best < 0 || h > highest) && !w.passes(c, place) {
				best, highest = i, h
			}
		}
		return best
	}
	highest := math.Inf(-1)
	for i := range s.candidates {
		c := &s.candidates[i]
		// u is in (0, 1): 53 bits, and a half, so that it is neither.
		u := (float64(mix(key^c.seed)>>11) + 0.5) / (1 << 53)
		if score := -float64(c.weight) / math.Log(u); score > highest && !w.passes(c, place) {
			best, highest = i, score
		}
	}
	return best
}

// mix spreads every bit of x over all (the finalizer of MurmurHash3).
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// seedOf is a target's number in the scores of [Hash]. It is the same in every
// process, so that several load balancers agree (FNV-1a over the address).
func seedOf(address string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(address) {
		h = (h ^ uint64(address[i])) * 0x100000001b3
	}
	return mix(h)
}

// maxSchedule is the length of the longest schedule: 16 targets of any weights
// have theirs to the full. Beyond, weights are rounded to fit, though no target
// gets less than one turn.
const maxSchedule = 16 * 256

// schedule returns indexes of weights, each as often as its weight, less what
// all weights have in common, and spread as evenly as can be: at each step all
// gain their weight, the highest is next and gives back the sum.
func schedule(weights []int64) []uint32 {
	weights = reduced(weights)
	var sum int64
	for _, w := range weights {
		sum += w
	}
	order := make([]uint32, 0, sum)
	credit := make([]int64, len(weights))
	for range sum {
		next := 0
		for i, w := range weights {
			credit[i] += w
			if credit[i] > credit[next] {
				next = i
			}
		}
		credit[next] -= sum
		order = append(order, uint32(next))
	}
	return order
}

// reduced returns weights without their common divisor, and rounded where their
// sum is above [maxSchedule].
func reduced(weights []int64) []int64 {
	small := make([]int64, len(weights))
	var divisor, sum int64
	for _, w := range weights {
		divisor = gcd(divisor, w)
	}
	for i, w := range weights {
		small[i] = w / divisor
		sum += small[i]
	}
	if sum <= maxSchedule {
		return small
	}
	for i, w := range small {
		small[i] = max(1, w*maxSchedule/sum)
	}
	return small
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
