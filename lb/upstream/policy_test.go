package upstream

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
)

// among returns a snapshot of targets "0", "1", … with these weights, and a walk.
func among(policy Policy, weights ...int64) (*snapshot, *Walk) {
	s := &snapshot{cfg: &PoolConfig{Policy: policy}}
	for i, weight := range weights {
		address := strconv.Itoa(i)
		s.candidates = append(s.candidates, candidate{&Target{address: address, seed: seedOf(address)}, weight})
	}
	s.prepare()
	return s, &Walk{}
}

// loaded gives the snapshot's targets requests in flight.
func loaded(s *snapshot, requests ...int64) {
	for i, n := range requests {
		s.candidates[i].inFlight.Store(n)
	}
}

func TestSchedule(t *testing.T) {
	many := make([]int64, 40)
	for i := range many {
		many[i] = 256 - int64(i%2)
	}
	for _, c := range []struct {
		name    string
		weights []int64
		want    string // or "" where only the shares count
	}{
		{"one has every turn", []int64{7}, "[0]"},
		{"equals take turns", []int64{1, 1, 1}, "[0 1 2]"},
		{"what all weights have in common does not count", []int64{50, 50, 100}, "[2 0 1 2]"},
		{"the turns of a heavy one are spread", []int64{5, 1, 1}, "[0 0 1 0 2 0 0]"},
		{"a slow start among equals has one turn in ten of theirs", []int64{10, 10, 1}, ""},
		{"the widest weights are exact", []int64{256, 1}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			order := schedule(c.weights)
			if got := fmt.Sprint(order); c.want != "" && got != c.want {
				t.Errorf("got %s, expected %s", got, c.want)
			}
			turns := make([]int64, len(c.weights))
			for _, i := range order {
				turns[i]++
			}
			for i, w := range c.weights {
				if turns[i]*c.weights[0] != turns[0]*w {
					t.Errorf("%d turns for the weights %d", turns, c.weights)
				}
			}
		})
	}
	t.Run("a schedule too long is rounded, and nobody is without a turn", func(t *testing.T) {
		order := schedule(append(many, 1))
		if len(order) > maxSchedule+1 || !slices.Contains(order, uint32(len(many))) {
			t.Errorf("it has %d turns", len(order))
		}
	})
	t.Run("between two turns of one target lie as many of others as its share demands, give or take one round", func(t *testing.T) {
		weights := []int64{9, 5, 3, 2, 1}
		order := schedule(weights)
		for i, w := range weights {
			last := -1
			for at, who := range append(order, order...) {
				if int(who) != i {
					continue
				}
				if gap := float64(at - last); last >= 0 && gap > math.Ceil(20/float64(w))+float64(len(weights)-1) {
					t.Errorf("%d of weight %d waits %v turns", i, w, gap)
				}
				last = at
			}
		}
	})
}

// share has a policy choose often, with the number of the choice, and returns how
// often each target was it.
func share(s *snapshot, choose func(n uint64) int, choices uint64) []int {
	got := make([]int, len(s.candidates))
	for n := range choices {
		got[choose(n)]++
	}
	return got
}

func TestRoundRobin(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights []int64
		places  []int64
		visited []int
		turn    uint64
		place   bool
		want    int
	}{
		{"the first turn is the first's", []int64{1, 1, 1}, nil, nil, 0, true, 0},
		{"the next turn is the next's", []int64{1, 1, 1}, nil, nil, 1, true, 1},
		{"turns go round", []int64{1, 1, 1}, nil, nil, 5, true, 2},
		{"the turn may be as large as its type can", []int64{1, 1, 1}, nil, nil, math.MaxUint64, true, 0},
		{"nobody is visited twice", []int64{1, 1, 1}, nil, []int{0, 1}, 0, true, 2},
		{"where all were visited, nobody is left", []int64{1, 1, 1}, nil, []int{0, 1, 2}, 0, true, -1},
		{"of nobody there is nobody", nil, nil, nil, 7, true, -1},
		{"a full target is passed over", []int64{1, 1, 1}, []int64{1, 0, 0}, nil, 0, true, 1},
		{"but not where no place is needed", []int64{1, 1, 1}, []int64{1, 0, 0}, nil, 0, false, 0},
		{"where all are full, nobody has a place", []int64{2, 1}, []int64{1, 1}, nil, 0, true, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, w := among(RoundRobin, c.weights...)
			for i, n := range c.places {
				s.candidates[i].places.Store(n)
				s.candidates[i].inFlight.Store(n)
			}
			for _, i := range c.visited {
				w.visit(s.candidates[i].Target)
			}
			if got := s.roundRobin(c.turn, w, c.place); got != c.want {
				t.Errorf("got %d, expected %d", got, c.want)
			}
		})
	}
	t.Run("each gets its weight", func(t *testing.T) {
		s, w := among(RoundRobin, 3, 2, 1)
		if got := share(s, func(n uint64) int { return s.roundRobin(n, w, true) }, 600); !slices.Equal(got, []int{300, 200, 100}) {
			t.Errorf("the shares are %v", got)
		}
	})
}

func TestLeastConnections(t *testing.T) {
	for _, c := range []struct {
		name     string
		weights  []int64
		inFlight []int64
		visited  []int
		turn     uint64
		want     int
	}{
		{"the one with the fewest is it", []int64{1, 1, 1}, []int64{2, 1, 3}, nil, 0, 1},
		{"of several with the fewest it is the first from the turn on", []int64{1, 1, 1}, []int64{1, 2, 1}, nil, 1, 2},
		{"and turns go round", []int64{1, 1, 1}, []int64{1, 1, 2}, nil, 5, 0},
		{"a heavy one has more before it is as loaded", []int64{1, 3}, []int64{0, 1}, nil, 0, 1},
		{"but not more than its weight", []int64{1, 3}, []int64{0, 3}, nil, 0, 0},
		{"nobody is visited twice", []int64{1, 1, 1}, []int64{0, 5, 7}, []int{0}, 0, 1},
		{"where all were visited, nobody is left", []int64{1}, []int64{0}, []int{0}, 0, -1},
		{"of nobody there is nobody", nil, nil, nil, 3, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, w := among(LeastConnections, c.weights...)
			loaded(s, c.inFlight...)
			for _, i := range c.visited {
				w.visit(s.candidates[i].Target)
			}
			if got := s.leastConnections(c.turn, w, true); got != c.want {
				t.Errorf("got %d, expected %d", got, c.want)
			}
		})
	}
	t.Run("quiet equals take turns", func(t *testing.T) {
		s, w := among(LeastConnections, 1, 1, 1)
		if got := share(s, func(n uint64) int { return s.leastConnections(n, w, true) }, 300); !slices.Equal(got, []int{100, 100, 100}) {
			t.Errorf("the shares are %v", got)
		}
	})
	t.Run("requests that stay are spread by weight", func(t *testing.T) {
		s, w := among(LeastConnections, 4, 2, 1)
		got := share(s, func(n uint64) int {
			i := s.leastConnections(n, w, true)
			s.candidates[i].inFlight.Add(1)
			return i
		}, 700)
		if !slices.Equal(got, []int{400, 200, 100}) {
			t.Errorf("the shares are %v", got)
		}
	})
}

func TestRandomTwo(t *testing.T) {
	numbers := rand.New(rand.NewPCG(1, 2))
	near := func(t *testing.T, got []int, want ...int) {
		t.Helper()
		for i := range want {
			if math.Abs(float64(got[i]-want[i])) > 300 {
				t.Errorf("the shares are %v, expected about %v", got, want)
				return
			}
		}
	}
	for _, c := range []struct {
		name     string
		weights  []int64
		inFlight []int64
		want     []int // of 12,000
	}{
		{"quiet equals have equal shares", []int64{1, 1, 1}, nil, []int{4000, 4000, 4000}},
		{"quiet targets have shares by weight", []int64{3, 2, 1}, nil, []int{6000, 4000, 2000}},
		{"the most loaded gets nothing", []int64{1, 1, 1}, []int64{0, 0, 9}, []int{6000, 6000, 0}},
		{"the least loaded gets whatever choice it is in", []int64{1, 1, 1}, []int64{5, 5, 0}, []int{2000, 2000, 8000}},
		{"as loaded for its weight is as loaded", []int64{2, 1}, []int64{20, 10}, []int{8000, 4000}},
		{"one alone gets all", []int64{5}, []int64{3}, []int{12000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, w := among(RandomTwo, c.weights...)
			loaded(s, c.inFlight...)
			near(t, share(s, func(uint64) int { return s.randomTwo(numbers.Uint64(), w, true) }, 12_000), c.want...)
		})
	}
	t.Run("a target that is passed over is replaced by the other, or by anyone", func(t *testing.T) {
		s, w := among(RandomTwo, 1, 1, 1, 1)
		for left := 4; left > 0; left-- {
			i := s.randomTwo(numbers.Uint64(), w, true)
			if i < 0 || w.visited(s.candidates[i].Target) {
				t.Fatalf("with %d left it is %d", left, i)
			}
			w.visit(s.candidates[i].Target)
		}
		if i := s.randomTwo(numbers.Uint64(), w, true); i != -1 {
			t.Errorf("with nobody left it is %d", i)
		}
	})
	t.Run("of nobody there is nobody", func(t *testing.T) {
		s, w := among(RandomTwo)
		if i := s.randomTwo(numbers.Uint64(), w, true); i != -1 {
			t.Errorf("it is %d", i)
		}
	})
}

func TestRendezvous(t *testing.T) {
	const keys = 20_000
	// owners returns, for each key, whose it is and who inherits.
	owners := func(s *snapshot) (first, second []string) {
		for key := range uint64(keys) {
			w := &Walk{}
			i := s.rendezvous(key, w, true)
			first = append(first, s.candidates[i].address)
			w.visit(s.candidates[i].Target)
			if j := s.rendezvous(key, w, true); j >= 0 {
				second = append(second, s.candidates[j].address)
			}
		}
		return first, second
	}
	for _, weights := range [][]int64{{10, 10, 10, 10}, {30, 20, 10}, {10, 10, 1}, {2560, 10}} {
		t.Run(fmt.Sprintf("keys are spread by weight over %d, and stay where they are", weights), func(t *testing.T) {
			s, _ := among(Hash, weights...)
			first, _ := owners(s)
			got, sum := map[string]int{}, int64(0)
			for _, owner := range first {
				got[owner]++
			}
			for _, w := range weights {
				sum += w
			}
			for i, w := range weights {
				want := float64(keys*w) / float64(sum)
				if math.Abs(float64(got[strconv.Itoa(i)])-want) > 5*math.Sqrt(want)+5 {
					t.Errorf("the shares are %v", got)
				}
			}
			if again, _ := owners(s); !slices.Equal(again, first) {
				t.Error("asked again, keys have other owners")
			}
		})
		t.Run(fmt.Sprintf("when one of %d goes, its keys alone move, each to who was to inherit it", weights), func(t *testing.T) {
			s, _ := among(Hash, weights...)
			first, second := owners(s)
			s.candidates = s.candidates[1:]
			s.prepare()
			after, _ := owners(s)
			for key := range after {
				want := first[key]
				if want == "0" {
					want = second[key]
				}
				if after[key] != want {
					t.Fatalf("key %d moved from %s to %s, expected %s", key, first[key], after[key], want)
				}
			}
		})
	}
	t.Run("a weight that grows takes keys and gives none", func(t *testing.T) {
		s, _ := among(Hash, 10, 10, 1)
		before, _ := owners(s)
		s.candidates[2].weight = 10
		s.prepare()
		after, _ := owners(s)
		for key := range after {
			if after[key] != before[key] && after[key] != "2" {
				t.Fatalf("key %d moved from %s to %s", key, before[key], after[key])
			}
		}
	})
	t.Run("the address decides, not its place in the configuration", func(t *testing.T) {
		s, _ := among(Hash, 10, 10, 10)
		before, _ := owners(s)
		slices.Reverse(s.candidates)
		if after, _ := owners(s); !slices.Equal(after, before) {
			t.Error("in another order, keys have other owners")
		}
	})
	t.Run("the owners are the same in every version of the program", func(t *testing.T) {
		s, _ := among(Hash, 10, 10, 10)
		w, got := &Walk{}, ""
		for key := range uint64(12) {
			got += strconv.Itoa(s.rendezvous(key*0x9e3779b97f4a7c15, w, true))
		}
		if got != "202100200022" {
			t.Errorf("they are %s", got)
		}
	})
	t.Run("of nobody there is nobody", func(t *testing.T) {
		s, w := among(Hash)
		if i := s.rendezvous(1, w, true); i != -1 {
			t.Errorf("it is %d", i)
		}
	})
}

func TestRamp(t *testing.T) {
	for name, c := range map[string]struct {
		elapsed, slowStart time.Duration
		tenths             int64
		next               time.Duration
	}{
		"it begins with a tenth":               {0, 90 * time.Second, 1, 10 * time.Second},
		"between two steps nothing changes":    {9 * time.Second, 90 * time.Second, 1, time.Second},
		"each ninth of the time is a step":     {10 * time.Second, 90 * time.Second, 2, 10 * time.Second},
		"the last step is the whole weight":    {90 * time.Second, 90 * time.Second, 10, 0},
		"after it nothing changes":             {time.Hour, 90 * time.Second, 10, 0},
		"without a slow start it is over":      {0, 0, 10, 0},
		"a clock that was set back is patient": {-time.Second, 90 * time.Second, 1, 10 * time.Second},
		"a short one never spins":              {0, time.Microsecond, 1, time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			if tenths, next := ramp(c.elapsed, c.slowStart); tenths != c.tenths || next != c.next {
				t.Errorf("got %d tenths, the next in %s; expected %d, %s", tenths, next, c.tenths, c.next)
			}
		})
	}
}
