package cache

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A ticking is a store on a clock that the test sets.
type ticking struct {
	*Store
	time atomic.Int64
}

func (s *ticking) pass(d time.Duration) { s.time.Add(int64(d)) }

func newStore(t testing.TB, change func(*Config)) *ticking {
	t.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	s := &ticking{}
	s.time.Store(1e18)
	var err error
	if s.Store, err = NewStore(cfg, discard(), newMetrics(), s.time.Load); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *ticking) miss(t testing.TB, key string) (lease uint64) {
	t.Helper()
	value, _, lease, ok := s.GetOrLease(key)
	if ok || lease == 0 || lease >= 1<<53 {
		t.Fatalf("get %s: %q, lease %d, %v", key, value, lease, ok)
	}
	return lease
}

func (s *ticking) has(t testing.TB, key, want string) {
	t.Helper()
	if value, _, ok := s.Get(key); !ok || value != want {
		t.Errorf("%s is %q (%v), expected %q", key, value, ok, want)
	}
}

func TestTTL(t *testing.T) {
	t.Run("an entry lives to the nanosecond before its end", func(t *testing.T) {
		s := newStore(t, nil)
		_ = s.Set("k", "v", 10*time.Second, 0)
		s.pass(10*time.Second - 1)
		if _, ttl, ok := s.Get("k"); !ok || ttl != 1 {
			t.Errorf("ttl %v, %v", ttl, ok)
		}
		s.pass(1)
		if _, _, ok := s.Get("k"); ok {
			t.Error("it outlived its end")
		}
	})
	t.Run("without a ttl it has no end", func(t *testing.T) {
		s := newStore(t, nil)
		_ = s.Set("k", "v", 0, 0)
		s.pass(20 * 365 * 24 * time.Hour)
		s.CleanUp()
		if _, ttl, ok := s.Get("k"); !ok || ttl != 0 {
			t.Errorf("ttl %v, %v", ttl, ok)
		}
	})
	t.Run("another set replaces the end, longer, shorter or none", func(t *testing.T) {
		s := newStore(t, nil)
		for _, ttl := range []time.Duration{time.Second, time.Hour, time.Minute, 0, time.Second} {
			_ = s.Set("k", "v", ttl, 0)
			if _, got, ok := s.Get("k"); !ok || got != ttl {
				t.Errorf("ttl %v, expected %v", got, ttl)
			}
		}
		s.pass(time.Second)
		s.miss(t, "k")
	})
	t.Run("a clean-up gives back the memory of what has ended", func(t *testing.T) {
		s := newStore(t, nil)
		for i := range 100 {
			_ = s.Set(fmt.Sprint("k", i), "v", time.Minute, 0)
		}
		_ = s.Set("stays", "v", 0, 0)
		s.pass(2 * time.Minute)
		s.CleanUp()
		if n, bytes := s.Size(); n != 1 || bytes != uint64(weight("stays", "v")) {
			t.Errorf("%d entries, %d bytes", n, bytes)
		}
		if got := count(s.metrics.evictedExpired); got != 100 {
			t.Errorf("%d expired", got)
		}
	})
}

func TestBound(t *testing.T) {
	t.Run("the weight stays within max_memory whatever is stored", func(t *testing.T) {
		const limit = 4 << 20
		s := newStore(t, func(c *Config) { c.MaxMemory = limit })
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range 3000 {
			size := rng.IntN(1 << uint(rng.IntN(21)))
			_ = s.Set(fmt.Sprint("k", rng.IntN(1000)), strings.Repeat("x", size), 0, 0)
			if _, bytes := s.Size(); bytes > limit {
				t.Fatalf("after %d sets: %d bytes", i, bytes)
			}
		}
		if n, bytes := s.Size(); n < 10 || bytes < limit/2 {
			t.Errorf("only %d entries, %d bytes are left", n, bytes)
		}
		if count(s.metrics.evictedSize) == 0 {
			t.Error("no eviction was counted")
		}
	})
	t.Run("what the store counts is what its entries weigh", func(t *testing.T) {
		s := newStore(t, nil)
		var want uint64
		for i := range 50 {
			key, value := fmt.Sprint("key", i), strings.Repeat("v", i*100)
			_ = s.Set(key, "something else", 0, 0)
			_ = s.Set(key, value, 0, 0)
			want += uint64(weight(key, value))
		}
		s.Delete("key7")
		want -= uint64(weight("key7", strings.Repeat("v", 700)))
		if n, bytes := s.Size(); n != 49 || bytes != want {
			t.Errorf("%d entries, %d bytes, expected 49, %d", n, bytes, want)
		}
	})
	t.Run("an entry of the largest size is kept", func(t *testing.T) {
		s := newStore(t, func(c *Config) { c.MaxMemory = c.MaxValueSize + c.MaxKeySize + overhead })
		value := strings.Repeat("v", 1<<20)
		_ = s.Set("k", value, 0, 0)
		s.has(t, "k", value)
	})
	t.Run("what is read often survives a flood of what is not", func(t *testing.T) {
		s := newStore(t, func(c *Config) { c.MaxMemory = 2 << 20 })
		_ = s.Set("hot", "v", 0, 0)
		for i := range 20000 {
			_ = s.Set(fmt.Sprint("cold", i), strings.Repeat("x", 100), 0, 0)
			_, _, _ = s.Get("hot")
		}
		s.has(t, "hot", "v")
	})
}

func TestLease(t *testing.T) {
	t.Run("the lease of a miss stores once", func(t *testing.T) {
		s := newStore(t, nil)
		lease := s.miss(t, "k")
		if err := s.Set("k", "1", 0, lease); err != nil {
			t.Fatal(err)
		}
		if err := s.Set("k", "2", 0, lease); !errors.Is(err, ErrLease) {
			t.Errorf("the second set: %v", err)
		}
		s.has(t, "k", "1")
	})
	for name, revoke := range map[string]func(s *ticking){
		"a delete":                     func(s *ticking) { s.Delete("k") },
		"a set":                        func(s *ticking) { _ = s.Set("k", "newer", 0, 0) },
		"a set that was deleted again": func(s *ticking) { _ = s.Set("k", "newer", 0, 0); s.Delete("k") },
		"a set that has expired":       func(s *ticking) { _ = s.Set("k", "newer", 1, 0); s.pass(1) },
		"the end of its time":          func(s *ticking) { s.pass(10 * time.Second) },
	} {
		t.Run(name+" revokes a lease", func(t *testing.T) {
			s := newStore(t, nil)
			lease := s.miss(t, "k")
			revoke(s)
			if err := s.Set("k", "stale", 0, lease); !errors.Is(err, ErrLease) {
				t.Errorf("got %v", err)
			}
			if value, _, _ := s.Get("k"); value == "stale" {
				t.Error("the stale value is stored")
			}
			if got := count(s.metrics.leaseRefused); got != 1 {
				t.Errorf("%d refusals counted", got)
			}
		})
	}
	t.Run("a miss after a delete gives a lease that holds, and the old one does not", func(t *testing.T) {
		s := newStore(t, nil)
		old := s.miss(t, "k")
		s.Delete("k")
		lease := s.miss(t, "k")
		if err := s.Set("k", "stale", 0, old); !errors.Is(err, ErrLease) {
			t.Errorf("the old one: %v", err)
		}
		if err := s.Set("k", "fresh", 0, lease); err != nil {
			t.Errorf("the new one: %v", err)
		}
	})
	t.Run("a lease holds for its own key, and survives what happens to others", func(t *testing.T) {
		s := newStore(t, nil)
		a, b := s.miss(t, "a"), s.miss(t, "b")
		s.Delete("b")
		if err := s.Set("b", "v", 0, a); !errors.Is(err, ErrLease) {
			t.Errorf("a's lease for b: %v", err)
		}
		if err := s.Set("b", "v", 0, b); !errors.Is(err, ErrLease) {
			t.Errorf("b's lease: %v", err)
		}
		if err := s.Set("a", "v", 0, a); err != nil {
			t.Errorf("a's lease: %v", err)
		}
	})
	t.Run("misses at one time share the lease, and the first set wins", func(t *testing.T) {
		s := newStore(t, nil)
		first, second := s.miss(t, "k"), s.miss(t, "k")
		if err := s.Set("k", "first", 0, first); err != nil {
			t.Error(err)
		}
		if err := s.Set("k", "second", 0, second); !errors.Is(err, ErrLease) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a read without a lease leaves none behind", func(t *testing.T) {
		s := newStore(t, nil)
		_, _, _ = s.Get("k")
		if s.Leases() != 0 {
			t.Errorf("%d leases", s.Leases())
		}
	})
	t.Run("there are at most max_leases, and the oldest gives way", func(t *testing.T) {
		s := newStore(t, func(c *Config) { c.MaxLeases = stripes })
		first := s.miss(t, "first")
		for i := range 40 * stripes {
			s.miss(t, fmt.Sprint(i))
		}
		if n := s.Leases(); n != stripes {
			t.Errorf("%d leases", n)
		}
		if err := s.Set("first", "v", 0, first); !errors.Is(err, ErrLease) {
			t.Errorf("the oldest: %v", err)
		}
	})
	t.Run("a clean-up drops the leases that have ended", func(t *testing.T) {
		s := newStore(t, nil)
		s.miss(t, "a")
		s.pass(5 * time.Second)
		s.miss(t, "b")
		s.pass(5 * time.Second)
		s.CleanUp()
		if n := s.Leases(); n != 1 {
			t.Errorf("%d leases", n)
		}
	})
}

// TestLeaseRace runs readers that fill the cache against writers that delete
// after each write, as an API and its database do. At the end of a round no key
// may hold anything but its row.
func TestLeaseRace(t *testing.T) {
	const keys, rounds = 4, 200
	s := newStore(t, nil)
	var rows [keys]atomic.Int64
	for round := range rounds {
		var all sync.WaitGroup
		for k := range keys {
			key := fmt.Sprint("row", k)
			for range 3 {
				all.Go(func() {
					if _, _, lease, ok := s.GetOrLease(key); !ok {
						row := rows[k].Load()
						_ = s.Set(key, fmt.Sprint(row), 0, lease)
					}
				})
			}
			for range 2 {
				all.Go(func() {
					rows[k].Add(1)
					s.Delete(key)
				})
			}
		}
		all.Wait()
		for k := range keys {
			value, _, ok := s.Get(fmt.Sprint("row", k))
			if want := fmt.Sprint(rows[k].Load()); ok && value != want {
				t.Fatalf("round %d: the cache has %s of row %s", round, value, want)
			}
		}
	}
}

// TestStoreBehavesAsAMap compares random operations with a map that never
// evicts, under a bound that is never reached.
func TestStoreBehavesAsAMap(t *testing.T) {
	type row struct {
		value string
		end   int64
	}
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		s := newStore(t, nil)
		model := map[string]row{}
		leases := map[uint64]string{} // those that must hold -> key
		revoke := func(key string) {
			for l, k := range leases {
				if k == key {
					delete(leases, l)
				}
			}
		}
		for step := range 500 {
			key := fmt.Sprint(rng.IntN(8))
			want, live := model[key]
			live = live && want.end > s.now()
			switch rng.IntN(6) {
			case 0, 1:
				value, _, lease, ok := s.GetOrLease(key)
				if ok != live || ok && value != want.value {
					t.Fatalf("seed %d, step %d: get %s: %q, %v; expected %+v, %v", seed, step, key, value, ok, want, live)
				}
				if !ok {
					leases[lease] = key
				}
			case 2:
				value, ttl, end := fmt.Sprint(step), time.Duration(rng.IntN(5000))*time.Millisecond, int64(math.MaxInt64)
				if ttl > 0 {
					end = s.now() + int64(ttl)
				}
				_ = s.Set(key, value, ttl, 0)
				model[key] = row{value, end}
				revoke(key)
			case 3:
				if s.Delete(key) != live {
					t.Fatalf("seed %d, step %d: delete %s reported %v", seed, step, key, !live)
				}
				delete(model, key)
				revoke(key)
			case 4:
				for lease, key := range leases {
					if err := s.Set(key, "leased", 0, lease); err != nil {
						t.Fatalf("seed %d, step %d: the lease of %s: %v", seed, step, key, err)
					}
					model[key] = row{"leased", math.MaxInt64}
					revoke(key)
					break
				}
			default:
				s.pass(time.Duration(rng.IntN(1500)) * time.Millisecond)
				clear(leases) // their time may be over: they prove nothing more
			}
		}
	}
}
