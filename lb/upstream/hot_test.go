package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var everyPolicy = []Policy{RoundRobin, LeastConnections, RandomTwo, Hash}

// pass is what a request does in the steady state.
func pass(p *Pool, hash uint64, now time.Time) {
	p.Requested()
	w := p.Walk(hash)
	t, err := p.Enter(&w, nil)
	if err != nil {
		panic(err)
	}
	c, _ := t.Idle.Pop(0, now)
	t.Idle.Push(0, c, now)
	t.Meter.Done(200, time.Millisecond)
	t.Leave()
}

// steady is a pool of two targets that are up, with a connection to each.
func steady(policy Policy, bound int) *Pool {
	cfg := of("a:1", "b:1")
	cfg.Pools[0].Policy = policy
	for i := range cfg.Targets {
		cfg.Targets[i].Weight = i + 1
		cfg.Targets[i].MaxConnections = bound
	}
	r := newRig(cfg)
	r.up("a:1", "b:1")
	var closed closings
	for _, t := range r.Targets() {
		for range 8 {
			t.Idle.Push(0, &parked{"", &closed}, time.Now())
		}
	}
	return r.pool
}

func TestARequestAllocatesNothing(t *testing.T) {
	now := time.Now()
	for _, policy := range everyPolicy {
		for what, bound := range map[string]int{"without a bound": 0, "with one": 8} {
			t.Run(string(policy)+" "+what, func(t *testing.T) {
				p := steady(policy, bound)
				if n := testing.AllocsPerRun(1000, func() { pass(p, 7, now) }); n != 0 {
					t.Errorf("%v allocations", n)
				}
				if n := testing.AllocsPerRun(1000, func() {
					w := p.Walk(7)
					for w.Next() != nil {
					}
					_, _ = p.Enter(&w, nil)
					_ = p.MayRetry()
				}); n != 0 {
					t.Errorf("%v allocations of one that finds nobody", n)
				}
			})
		}
	}
}

// A request that waits in the queue needs no allocation either, once as many
// have waited at once before.
func TestAWaitAllocatesNothing(t *testing.T) {
	cfg := narrow("a:1")
	cfg.Pools[0].QueueTimeout = time.Nanosecond
	r := newRig(cfg)
	r.up("a:1")
	w := r.pool.Walk(0)
	if _, err := r.pool.Enter(&w, nil); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		w := r.pool.Walk(0)
		if _, err := r.pool.Enter(&w, nil); !errors.Is(err, ErrQueueTimeout) {
			t.Error(err)
		}
	}); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

// Everything at once, for the race detector; and in the end every place is back.
func TestEverythingAtOnce(t *testing.T) {
	network := newNetwork("a:1", "b:1", "c:1")
	configure := func(round int) Config {
		cfg := of([]string{"a:1", "b:1", "c:1"}[:2+round%2]...)
		cfg.Dial = network.dial
		for i := range cfg.Targets {
			cfg.Targets[i].MaxConnections = (round + i) % 3
			cfg.Targets[i].Weight = 1 + (round+i)%5
			cfg.Targets[i].SlowStart = time.Duration(round%2) * time.Second
		}
		cfg.Pools[0].Policy = everyPolicy[round%4]
		cfg.Pools[0].QueueLength = 4
		cfg.Pools[0].QueueTimeout = time.Millisecond
		cfg.Pools[0].FailOpen = round%3 == 0
		cfg.Pools = append(cfg.Pools, PoolConfig{Name: "q", Targets: []string{"b:1"}, QueueLength: 2})
		return cfg
	}
	r := newRig(configure(0))
	var table atomic.Pointer[map[string]*Pool]
	pools := r.Apply(configure(1))
	table.Store(&pools)
	seen := map[*Target]bool{}
	for _, target := range r.Targets() {
		seen[target] = true
	}
	var monitor, users, operator sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	monitor.Go(func() { r.Run(ctx) })
	over := make(chan struct{})
	closed := make(chan struct{})
	close(closed)
	var served atomic.Int64
	for i := range 8 {
		users.Go(func() {
			for n := range 500 {
				p := (*table.Load())[string("pq"[(i+n)%2])]
				var stop chan struct{}
				if n%50 == 0 {
					stop = closed
				}
				use(p, uint64(n), stop, &served)
			}
		})
	}
	operator.Go(func() {
		for round := 0; ; round++ {
			select {
			case <-over:
				return
			default:
			}
			pools := r.Apply(configure(round))
			table.Store(&pools)
			for _, target := range r.Targets() {
				seen[target] = true
			}
			r.Drain("a:1")
			r.Statuses()
			pools["p"].Candidates()
			r.Enable("a:1")
			runtime.Gosched()
		}
	})
	users.Wait()
	close(over)
	operator.Wait()
	cancel()
	monitor.Wait()
	network.servers.Wait()
	if served.Load() == 0 || r.waiting.Load() != 0 {
		t.Errorf("%d were served, %d wait", served.Load(), r.waiting.Load())
	}
	for target := range seen {
		if n := target.InFlight(); n != 0 {
			t.Errorf("%d places at %s are not given back", n, target.Address())
		}
	}
}

// use sends one request through a pool, which fails now and then.
func use(p *Pool, hash uint64, stop <-chan struct{}, served *atomic.Int64) {
	p.Requested()
	w := p.Walk(hash)
	for {
		target, err := p.Enter(&w, stop)
		if err != nil {
			return
		}
		served.Add(1)
		c := &parked{closed: &closings{}}
		if target.Idle.Push(0, c, time.Now()) {
			target.Idle.Pop(0, time.Now())
		}
		switch rand.IntN(40) {
		case 0:
			target.Observe(Refused, errors.New("refused"))
		case 1:
			target.Observe(Broken, errors.New("reset"))
		}
		target.Leave()
		if rand.IntN(4) > 0 || !p.MayRetry() {
			return
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	now := time.Now()
	for _, policy := range everyPolicy {
		for what, bound := range map[string]int{"": 0, "/bounded": 8} {
			b.Run(string(policy)+what, func(b *testing.B) {
				p := steady(policy, bound)
				b.ReportAllocs()
				for b.Loop() {
					pass(p, 7, now)
				}
			})
		}
	}
}
