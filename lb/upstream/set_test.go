package upstream

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestDraining(t *testing.T) {
	n := newNetwork("a:1", "b:1")
	running(t, "a drained target gets no requests, keeps those it has, and is probed", n, of("a:1", "b:1"), func(t *testing.T, r *rig) {
		var closed closings
		target := r.target("a:1")
		w := r.pool.Walk(0)
		if got, err := r.pool.Enter(&w, nil); got != target || err != nil {
			t.Fatalf("the first request went to %v, %v", got, err)
		}
		target.Idle.Push(0, &parked{"idle", &closed}, time.Now())
		if !r.Drain("A:1") || !target.Draining() {
			t.Error("a target is not found by its name in capitals")
		}
		if got := addresses(r.pool.Candidates()); got != "b:1" || target.InFlight() != 1 {
			t.Errorf("the candidates are %s, %d in flight", got, target.InFlight())
		}
		if got := closed.take(); got != "idle" {
			t.Errorf("%q is closed", got)
		}
		if target.Idle.Push(0, &parked{"in use", &closed}, time.Now()) {
			t.Error("a connection is kept")
		}
		if s := r.Statuses()[0]; s.State != "up" || !s.Draining {
			t.Errorf("the status is %+v", s)
		}
		passing(2 * interval)
		if n.count("a:1") < 3 {
			t.Errorf("%d probes in two intervals", n.count("a:1"))
		}
		again := of("b:1", "a:1")
		again.Dial = n.dial
		r.apply(again)
		if got := addresses(r.pool.Candidates()); got != "b:1" || target.Idle.Push(0, &parked{"in use", &closed}, time.Now()) {
			t.Errorf("after a new configuration the candidates are %s", got)
		}
		target.Leave()
		for _, time := range []string{"once", "twice"} {
			if !r.Enable("a:1") {
				t.Errorf("enabled %s, the target is not found", time)
			}
		}
		if got := addresses(r.pool.Candidates()); got != "b:1 a:1" || !target.Idle.Push(0, &parked{"in use", &closed}, time.Now()) {
			t.Errorf("in the end the candidates are %s", got)
		}
		if r.Drain("c:1") || r.Enable("c:1") {
			t.Error("a target that is not there is found")
		}
		want := []string{"target draining target=a:1", "target enabled target=a:1"}
		if got := append(r.log.with("target draining"), r.log.with("target enabled")...); !slices.Equal(got, want) {
			t.Errorf("logged %q", got)
		}
		if got := r.log.counts(); !slices.Equal(got, []string{"Healthy targets: 2"}) {
			t.Errorf("logged %q", got)
		}
	})
}

func TestApply(t *testing.T) {
	n := newNetwork("a:1", "b:1", "c:1")
	with := func(cfg Config) Config {
		cfg.Dial = n.dial
		return cfg
	}
	running(t, "what stays keeps its state, its connections and its counters; what is new is probed at once", n, of("a:1", "b:1"), func(t *testing.T, r *rig) {
		var closed closings
		a, b := r.target("a:1"), r.target("b:1")
		a.Retries.Add(3)
		a.Idle.Push(0, &parked{"a", &closed}, time.Now())
		b.Idle.Push(0, &parked{"b", &closed}, time.Now())
		w := r.pool.Walk(0)
		w.Next()
		if got, _ := r.pool.Enter(&w, nil); got != b {
			t.Fatalf("the request went to %v", got)
		}
		old := r.pool
		n.delay(time.Second / 2)
		r.apply(with(of("A:1", "c:1")))
		if r.target("a:1") != a || a.State() != Up || a.Retries.Load() != 3 || a.Idle.Len() != 1 {
			t.Errorf("what stays is %+v", a.Status())
		}
		if got := addresses(r.pool.Candidates()); got != "a:1" || r.pool == old {
			t.Errorf("before the first probe of the new one the candidates are %s", got)
		}
		if b.Idle.Len() != 0 || b.InFlight() != 1 || b.Idle.Push(0, &parked{"b", &closed}, time.Now()) {
			t.Errorf("what is gone is %+v", b.Status())
		}
		b.Observe(Refused, errors.New("refused")) // is nobody's concern
		b.Leave()
		probes := n.count("b:1")
		passing(time.Second)
		if got := addresses(r.pool.Candidates()); got != "a:1 c:1" {
			t.Errorf("after it they are %s", got)
		}
		passing(10 * interval)
		if got := n.count("b:1"); got != probes {
			t.Errorf("what is gone is probed, %d times", got-probes)
		}
		if got := r.log.with("target down"); len(got) != 0 {
			t.Errorf("logged %q", got)
		}
		if got := addresses(old.Candidates()); got != "a:1 b:1" {
			t.Errorf("for requests under way the candidates are %s", got)
		}
	})
	running(t, "a pool with the same members is the same, with another order of work", newNetwork("a:1", "b:1"), of("a:1", "b:1"), func(t *testing.T, r *rig) {
		old := r.pool
		w := old.Walk(0)
		w.Next()
		cfg := of("a:1", "b:1")
		cfg.Pools[0].Policy = LeastConnections
		cfg.Dial = r.dial
		r.apply(cfg)
		w = r.pool.Walk(0)
		if r.pool != old || r.pool.Policy() != LeastConnections || r.pool.Name() != "p" || w.Next().Address() != "b:1" {
			t.Error("it has lost its turn")
		}
	})
	numbers := newNetwork("a:1", "b:1")
	running(t, "the number of the healthy is logged when a configuration changes it", numbers, of("a:1", "b:1", "c:1"), func(t *testing.T, r *rig) {
		r.health.OK()
		next := func(addresses ...string) {
			cfg := of(addresses...)
			cfg.Dial = numbers.dial
			r.apply(cfg)
			synctest.Wait()
		}
		next("a:1", "b:1") // c was down
		if _, got := r.health.Status(); got != "OK" {
			t.Errorf("health is %q", got)
		}
		next("a:1")
		next("a:1", "b:1", "c:1")
		next()
		if got := r.log.counts(); !slices.Equal(got, []string{"Healthy targets: 2", "Healthy targets: 1", "Healthy targets: 2", "Healthy targets: 0"}) {
			t.Errorf("logged %q", got)
		}
		if _, got := r.health.Status(); got != "OK" {
			t.Errorf("in the end health is %q", got)
		}
	})
	changing := newNetwork("a:1")
	changing.set("a:1", 404)
	running(t, "another way of probing is tried at once", changing, of("a:1"), func(t *testing.T, r *rig) {
		cfg := of("a:1")
		cfg.Dial = changing.dial
		cfg.Targets[0].Health.Status = status("404")
		r.apply(cfg)
		synctest.Wait()
		if got := r.target("a:1").State(); got != Up || changing.count("a:1") != 2 {
			t.Errorf("the target is %s after %d probes", got, changing.count("a:1"))
		}
		r.apply(cfg)
		synctest.Wait()
		if changing.count("a:1") != 2 {
			t.Error("the same way is tried again at once")
		}
	})
	bubble(t, "a target says of itself what the set says of it", func(t *testing.T) {
		cfg := of("a:1", "b:1")
		cfg.Targets[1].MaxConnections, cfg.Targets[1].Weight = 7, 3
		r := newRig(cfg)
		r.up("b:1")
		all := r.Statuses()
		if got := r.target("b:1").Status(); !got.Since.Equal(time.Now()) || got.MaxConnections != 7 || got.Weight != 3 || got.EffectiveWeight != 3 || got.State != all[1].State {
			t.Errorf("got %+v", got)
		}
		if got := addresses(r.pool.Targets()); got != "a:1 b:1" {
			t.Errorf("the pool's targets are %s", got)
		}
	})
	t.Run("before Run everything is unknown, and nothing is logged", func(t *testing.T) {
		r := newRig(of("a:1"))
		r.apply(of())
		r.apply(of("a:1", "b:1"))
		if s := r.Statuses(); len(s) != 2 || s[0].State != "unknown" || s[0].Since != nil || s[0].HealthCheckEndpoint != "/healthz" || len(r.log.lines) != 0 {
			t.Errorf("the statuses are %+v, logged %q", s, r.log.lines)
		}
		if r.target("a:1").State().String() != "unknown" {
			t.Error("the target is not unknown")
		}
	})
	t.Run("a pool with an address of nobody is a mistake in the wiring, and changes nothing", func(t *testing.T) {
		r := newRig(of("a:1"))
		defer func() {
			if recover() == nil || addresses(r.Targets()) != "a:1" {
				t.Error("it was taken")
			}
		}()
		cfg := of("b:1")
		cfg.Pools[0].Targets = []string{"c:1"}
		r.apply(cfg)
	})
	t.Run("a pool that nobody holds is forgotten", func(t *testing.T) {
		r := newRig(of("a:1"))
		r.up("a:1")
		for i := range 10 {
			cfg := of("a:1")
			cfg.Pools[0].Name = fmt.Sprint(i)
			r.apply(cfg)
			runtime.GC()
		}
		if got := len(r.target("a:1").pools); got > 3 {
			t.Errorf("the target remembers %d pools", got)
		}
	})
}
