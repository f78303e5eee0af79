package upstream

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestBudget(t *testing.T) {
	// A step lets time pass, then counts requests, then asks for retries.
	type step struct {
		after    time.Duration
		requests uint64
		ask, get int
	}
	for name, steps := range map[string][]step{
		"a quiet pool has a reserve of 100":                        {{0, 0, 150, 100}},
		"the reserve comes back, after ten seconds":                {{0, 0, 150, 100}, {9 * time.Second, 0, 50, 0}, {time.Second, 0, 150, 100}},
		"a steady ten a second go on for ever":                     {{0, 0, 10, 10}, {time.Second, 0, 10, 10}, {time.Minute, 0, 100, 100}, {10 * time.Second, 0, 10, 10}},
		"five requests give one retry":                             {{0, 1000, 500, 300}},
		"four do not":                                              {{0, 4, 150, 100}},
		"requests of ten seconds ago give none":                    {{0, 1000, 0, 0}, {time.Second, 0, 1, 1}, {10 * time.Second, 0, 500, 100}},
		"requests of nine seconds ago do":                          {{0, 1000, 1, 1}, {9 * time.Second, 0, 500, 299}},
		"a burst after an hour counts the last ten seconds only":   {{time.Hour, 360_000, 500, 300}},
		"a few requests after an hour are as if they had not been": {{time.Hour, 3599, 500, 101}},
		"what was taken is taken, when requests are counted later": {{0, 0, 100, 100}, {time.Second, 50, 20, 10}},
		"a few seconds are spread without loss":                    {{0, 0, 1, 1}, {3 * time.Second, 1000, 500, 299}},
	} {
		t.Run(name, func(t *testing.T) {
			var b budget
			var now time.Duration
			for i, s := range steps {
				now += s.after
				b.requests.Add(s.requests)
				got := 0
				denied := b.denied.Load()
				for range s.ask {
					if b.take(now, 20) {
						got++
					}
				}
				if got != s.get || b.denied.Load()-denied != uint64(s.ask-s.get) {
					t.Errorf("step %d: got %d retries, expected %d; %d denied", i+1, got, s.get, b.denied.Load()-denied)
				}
			}
		})
	}
	t.Run("with all requests failing, no ten seconds see more than a fifth of them and 100", func(t *testing.T) {
		var b budget
		var retries [60]int
		for second := range retries {
			for range 1000 {
				b.requests.Add(1)
				if b.take(time.Duration(second)*time.Second, 20) {
					retries[second]++
				}
			}
		}
		for from := range len(retries) - retryWindow + 1 {
			sum := 0
			for _, n := range retries[from : from+retryWindow] {
				sum += n
			}
			if sum > retryWindow*1000/5+retryWindow*retryFloor {
				t.Errorf("%d retries in the ten seconds from %d on", sum, from)
			}
		}
	})
	for name, c := range map[string]struct{ percent, get int }{
		"at 0 % there is the reserve alone":                 {0, 100},
		"at 50 % two requests give one":                     {50, 600},
		"at 100 % each request may be repeated, on average": {100, 1100},
	} {
		t.Run(name, func(t *testing.T) {
			var b budget
			b.requests.Add(1000)
			got := 0
			for b.take(0, c.percent) {
				got++
			}
			if got != c.get {
				t.Errorf("1000 requests give %d retries, expected %d", got, c.get)
			}
		})
	}
	t.Run("of a pool, it is of that pool alone, and its time is the clock's", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cfg := of("a:1")
			cfg.Pools[0].RetryBudget = 20
			cfg.Pools = append(cfg.Pools, PoolConfig{Name: "q", Targets: []string{"a:1"}, RetryBudget: 40})
			r := newRig(cfg)
			drain := func(p *Pool) (n int) {
				for p.MayRetry() {
					n++
				}
				return n
			}
			for range 50 {
				r.pool.Requested()
			}
			if n, denied := drain(r.pool), r.pool.RetriesDenied(); n != 110 || denied != 1 {
				t.Errorf("%d retries, %d denied; expected 110, 1", n, denied)
			}
			if n := drain(r.pools["q"]); n != 100 {
				t.Errorf("the other pool has %d retries", n)
			}
			time.Sleep(retryWindow * time.Second)
			if n := drain(r.pool); n != 100 {
				t.Errorf("later there are %d retries", n)
			}
			for range 50 {
				r.pools["q"].Requested()
			}
			cfg.Pools[1].RetryBudget = 60
			r.Apply(cfg)
			if n := drain(r.pools["q"]); n != 130 {
				t.Errorf("with 60 %% after a reload there are %d retries, expected 130", n)
			}
		})
	})
}
