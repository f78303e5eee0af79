package upstream

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A request is one that a test sends into a pool, in a bubble.
type request struct {
	name   string
	target *Target
	err    error
	took   time.Duration
	stop   chan struct{}
	done   chan struct{}
}

// enter begins a request, and returns when it has its place, or waits.
func (r *rig) enter(name string, w Walk) *request {
	q := &request{name: name, stop: make(chan struct{}), done: make(chan struct{})}
	start := time.Now()
	go func() {
		defer close(q.done)
		q.target, q.err = w.pool.Enter(&w, q.stop)
		q.took = time.Since(start)
	}()
	synctest.Wait()
	return q
}

// String says what became of a request: where it is, or why it is not.
func (q *request) String() string {
	select {
	case <-q.done:
	default:
		return q.name + " waits"
	}
	if q.err != nil {
		return fmt.Sprintf("%s %v after %s", q.name, q.err, q.took)
	}
	return fmt.Sprintf("%s %s after %s", q.name, q.target.Address(), q.took)
}

// expect compares what became of requests.
func expect(t *testing.T, what string, want string, all ...*request) {
	t.Helper()
	got := ""
	for _, q := range all {
		got += ", " + q.String()
	}
	if got[2:] != want {
		t.Errorf("%s: got %q, expected %q", what, got[2:], want)
	}
}

// leave ends requests, and has those that wait go on.
func leave(all ...*request) {
	for _, q := range all {
		<-q.done
		if q.err == nil {
			q.target.Leave()
		}
	}
	synctest.Wait()
}

// narrow is a configuration of a pool of targets with places for one request
// each, and two in the queue, for a second.
func narrow(targets ...string) Config {
	cfg := of(targets...)
	for i := range cfg.Targets {
		cfg.Targets[i].MaxConnections = 1
	}
	cfg.Pools[0].QueueLength = 2
	return cfg
}

func TestQueue(t *testing.T) {
	bubble(t, "who came first is served first, and a queue has its end", func(t *testing.T) {
		r := newRig(narrow("a:1"))
		r.up("a:1")
		q1, q2 := r.enter("1", r.pool.Walk(0)), r.enter("2", r.pool.Walk(0))
		time.Sleep(time.Millisecond)
		q3, q4 := r.enter("3", r.pool.Walk(0)), r.enter("4", r.pool.Walk(0))
		expect(t, "at first", "1 a:1 after 0s, 2 waits, 3 waits, 4 every target is full, and so is the queue after 0s", q1, q2, q3, q4)
		if n, status := r.pool.Waiting(), r.Statuses()[0]; n != 2 || status.Queue != 2 || status.InFlight != 1 {
			t.Errorf("%d wait, and the status is %+v", n, status)
		}
		leave(q1)
		expect(t, "then", "2 a:1 after 1ms, 3 waits", q2, q3)
		leave(q2)
		expect(t, "then", "3 a:1 after 0s", q3)
		leave(q3)
		if n, in := r.pool.Waiting(), r.target("a:1").InFlight(); n != 0 || in != 0 {
			t.Errorf("in the end %d wait, and %d are in flight", n, in)
		}
	})
	bubble(t, "a wait ends after its time", func(t *testing.T) {
		cfg := narrow("a:1")
		cfg.Pools[0].QueueTimeout = 3 * time.Second
		r := newRig(cfg)
		r.up("a:1")
		q1, q2 := r.enter("1", r.pool.Walk(0)), r.enter("2", r.pool.Walk(0))
		passing(time.Second)
		q3 := r.enter("3", r.pool.Walk(0))
		passing(2 * time.Second)
		expect(t, "after three seconds", "2 no target had a free place in time after 3s, 3 waits", q2, q3)
		leave(q1)
		expect(t, "then", "3 a:1 after 2s", q3)
		leave(q3)
	})
	bubble(t, "a wait that is stopped ends, wherever in the queue it stands", func(t *testing.T) {
		cfg := narrow("a:1")
		cfg.Pools[0].QueueLength = 3
		r := newRig(cfg)
		r.up("a:1")
		q1, q2, q3, q4 := r.enter("1", r.pool.Walk(0)), r.enter("2", r.pool.Walk(0)), r.enter("3", r.pool.Walk(0)), r.enter("4", r.pool.Walk(0))
		close(q3.stop)
		synctest.Wait()
		expect(t, "the one in the middle", "3 stopped waiting for a target after 0s", q3)
		close(q4.stop)
		close(q2.stop)
		synctest.Wait()
		expect(t, "both others", "2 stopped waiting for a target after 0s, 4 stopped waiting for a target after 0s", q2, q4)
		leave(q1)
		if n, in := r.pool.Waiting(), r.target("a:1").InFlight(); n != 0 || in != 0 {
			t.Errorf("in the end %d wait, and %d are in flight", n, in)
		}
	})
	bubble(t, "without a queue nobody waits", func(t *testing.T) {
		cfg := narrow("a:1")
		cfg.Pools[0].QueueLength = 0
		r := newRig(cfg)
		r.up("a:1")
		q1, q2 := r.enter("1", r.pool.Walk(0)), r.enter("2", r.pool.Walk(0))
		expect(t, "at once", "1 a:1 after 0s, 2 every target is full, and so is the queue after 0s", q1, q2)
		leave(q1)
	})
	bubble(t, "a place goes to whoever waits longest among those who can use it", func(t *testing.T) {
		cfg := narrow("a:1", "b:1")
		cfg.Pools = append(cfg.Pools, PoolConfig{Name: "q", Targets: []string{"b:1"}, QueueLength: 2})
		r := newRig(cfg)
		r.up("a:1", "b:1")
		a, b := r.enter("a", r.pool.Walk(0)), r.enter("b", r.pool.Walk(0))
		been := r.pool.Walk(0) // has failed at b, and wants a
		been.visit(r.target("b:1"))
		q1, q2, q3 := r.enter("1", been), r.enter("2", r.pools["q"].Walk(0)), r.enter("3", r.pool.Walk(0))
		leave(b)
		expect(t, "when b is free", "1 waits, 2 b:1 after 0s, 3 waits", q1, q2, q3)
		leave(q2)
		expect(t, "when it is free again", "1 waits, 3 b:1 after 0s", q1, q3)
		leave(a)
		expect(t, "when a is free", "1 a:1 after 0s", q1)
		leave(q1, q3)
	})
	bubble(t, "a place that comes at the moment of a stop is given back", func(t *testing.T) {
		r := newRig(narrow("a:1"))
		r.up("a:1")
		q1, q2, q3 := r.enter("1", r.pool.Walk(0)), r.enter("2", r.pool.Walk(0)), r.enter("3", r.pool.Walk(0))
		r.queues.Lock()
		close(q2.stop) // and it waits for the lock now
		wt, a := r.pool.first, r.target("a:1")
		wt.walk.visit(a)
		r.pool.deliver(wt, a) // the place of the first
		r.queues.Unlock()
		synctest.Wait()
		expect(t, "then", "1 a:1 after 0s, 2 stopped waiting for a target after 0s, 3 a:1 after 0s", q1, q2, q3)
		leave(q3)
		if n := a.InFlight(); n != 0 {
			t.Errorf("%d in flight in the end", n)
		}
	})
	bubble(t, "a place that comes at the moment of the timeout is taken", func(t *testing.T) {
		r := newRig(narrow("a:1"))
		r.up("a:1")
		q1, q2 := r.enter("1", r.pool.Walk(0)), r.enter("2", r.pool.Walk(0))
		r.queues.Lock()
		time.Sleep(time.Second) // and it waits for the lock now
		wt, a := r.pool.first, r.target("a:1")
		wt.walk.visit(a)
		r.pool.deliver(wt, a)
		r.queues.Unlock()
		synctest.Wait()
		expect(t, "then", "1 a:1 after 0s, 2 a:1 after 1s", q1, q2)
		leave(q2)
	})
	bubble(t, "a place that was left while somebody began to wait is offered to them", func(t *testing.T) {
		r := newRig(narrow("a:1"))
		r.up("a:1")
		q1, q2 := r.enter("1", r.pool.Walk(0)), r.enter("2", r.pool.Walk(0))
		r.target("a:1").inFlight.Add(-1) // by a Leave that saw nobody wait
		r.offer(r.target("a:1"))
		synctest.Wait()
		expect(t, "then", "1 a:1 after 0s, 2 a:1 after 0s", q1, q2)
		leave(q2)
	})
	bubble(t, "a target that comes up is a place for those who wait", func(t *testing.T) {
		r := newRig(narrow("a:1", "b:1"))
		r.up("a:1")
		q1, q2 := r.enter("1", r.pool.Walk(0)), r.enter("2", r.pool.Walk(0))
		r.up("b:1")
		synctest.Wait()
		expect(t, "then", "2 b:1 after 0s", q2)
		leave(q1, q2)
	})
	bubble(t, "when the last target goes down nobody waits for it", func(t *testing.T) {
		r := newRig(narrow("a:1"))
		r.up("a:1")
		q1, q2 := r.enter("1", r.pool.Walk(0)), r.enter("2", r.pool.Walk(0))
		r.target("a:1").Observe(Refused, errors.New("refused"))
		synctest.Wait()
		expect(t, "then", "2 no healthy target after 0s", q2)
		leave(q1)
	})
	bubble(t, "while the last target is in doubt they wait on", func(t *testing.T) {
		r := newRig(narrow("a:1"))
		r.up("a:1")
		q1, q2 := r.enter("1", r.pool.Walk(0)), r.enter("2", r.pool.Walk(0))
		r.target("a:1").Observe(Broken, errors.New("reset"))
		leave(q1)
		expect(t, "in doubt", "2 waits", q2)
		r.up("a:1")
		synctest.Wait()
		expect(t, "then", "2 a:1 after 0s", q2)
		leave(q2)
	})
	bubble(t, "when the last target is drained nobody waits for it", func(t *testing.T) {
		r := newRig(narrow("a:1"))
		r.up("a:1")
		q1, q2 := r.enter("1", r.pool.Walk(0)), r.enter("2", r.pool.Walk(0))
		r.Drain("a:1")
		synctest.Wait()
		expect(t, "then", "2 no healthy target after 0s", q2)
		leave(q1)
	})
	bubble(t, "a new configuration with more places has them go on", func(t *testing.T) {
		cfg := narrow("a:1")
		r := newRig(cfg)
		r.up("a:1")
		q1, q2, q3 := r.enter("1", r.pool.Walk(0)), r.enter("2", r.pool.Walk(0)), r.enter("3", r.pool.Walk(0))
		cfg.Targets = slices.Clone(cfg.Targets)
		cfg.Targets[0].MaxConnections = 2
		r.apply(cfg)
		synctest.Wait()
		expect(t, "two places", "2 a:1 after 0s, 3 waits", q2, q3)
		cfg.Targets[0].MaxConnections = 1
		r.apply(cfg)
		leave(q1)
		expect(t, "one place, and one too many there", "3 waits", q3)
		cfg.Targets[0].MaxConnections = 0
		r.apply(cfg)
		synctest.Wait()
		expect(t, "no bound", "3 a:1 after 0s", q3)
		leave(q2, q3)
	})
	bubble(t, "a new configuration without the pool lets them wait for what they waited for", func(t *testing.T) {
		r := newRig(narrow("a:1"))
		r.up("a:1")
		q1, q2 := r.enter("1", r.pool.Walk(0)), r.enter("2", r.pool.Walk(0))
		other := narrow("a:1")
		other.Pools[0].Name = "q"
		r.Apply(other)
		leave(q1)
		expect(t, "then", "2 a:1 after 0s", q2)
		leave(q2)
	})
	bubble(t, "many who come, wait, lose patience and go leave nothing behind", func(t *testing.T) {
		cfg := narrow("a:1", "b:1")
		cfg.Targets[0].MaxConnections = 2
		cfg.Pools[0].QueueLength = 10
		r := newRig(cfg)
		r.up("a:1", "b:1")
		var all []*request
		for i := range 400 {
			q := r.enter("", r.pool.Walk(0))
			all = append(all, q)
			go func() {
				if <-q.done; q.err == nil {
					time.Sleep(time.Duration(i%7) * 90 * time.Millisecond)
					q.target.Leave()
				}
			}()
			if i%13 == 0 {
				close(q.stop)
			}
			passing(time.Duration(i%5) * 20 * time.Millisecond)
			for _, target := range r.Targets() {
				if n := target.InFlight(); n > target.places.Load() || n < 0 {
					t.Errorf("%d in flight at %s", n, target.Address())
				}
			}
		}
		passing(time.Minute)
		errs := map[error]int{}
		for _, q := range all {
			errs[q.err]++
		}
		for _, err := range []error{nil, ErrQueueFull, ErrStopped} {
			if errs[err] == 0 {
				t.Errorf("none ended with %v: %v", err, errs)
			}
		}
		if n, a, b := r.pool.Waiting(), r.target("a:1").InFlight(), r.target("b:1").InFlight(); n != 0 || a != 0 || b != 0 || r.waiting.Load() != 0 {
			t.Errorf("in the end %d wait, %d and %d are in flight", n, a, b)
		}
	})
}

func TestFirstVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		answer  int
		late    time.Duration
		timeout time.Duration
		open    bool
		want    string
	}{
		"a request waits for the first verdict":              {200, 300 * time.Millisecond, time.Second, false, "1 a:1 after 300ms"},
		"it learns at once that nobody is left":              {503, 300 * time.Millisecond, time.Second, false, "1 no healthy target after 300ms"},
		"it waits no longer than a second for anybody":       {200, 3 * time.Second, 4 * time.Second, false, "1 no healthy target after 1s"},
		"a pool that fails open waits for it too":            {200, 300 * time.Millisecond, time.Second, true, "1 a:1 after 300ms"},
		"and gives the request to who is down":               {503, 300 * time.Millisecond, time.Second, true, "1 a:1 after 300ms"},
		"or to who is unknown still, after a second of that": {200, 3 * time.Second, 4 * time.Second, true, "1 a:1 after 1s"},
	} {
		n := newNetwork()
		n.set("a:1", c.answer)
		n.delay(c.late)
		cfg := of("a:1")
		cfg.Targets[0].Health.Timeout = c.timeout
		cfg.Pools[0].FailOpen = c.open
		running(t, name, n, cfg, func(t *testing.T, r *rig) {
			q := r.enter("1", r.pool.Walk(0))
			passing(time.Second)
			expect(t, "after a second", c.want, q)
			leave(q)
		})
	}
	bubble(t, "the time is the pool's", func(t *testing.T) {
		cfg := of("a:1")
		cfg.Pools[0].FirstVerdict = time.Minute
		r := newRig(cfg)
		q := r.enter("1", r.pool.Walk(0))
		passing(time.Minute)
		expect(t, "after a minute", "1 no healthy target after 1m0s", q)
	})
	bubble(t, "a request that is stopped waits no more", func(t *testing.T) {
		r := newRig(of("a:1"))
		q := r.enter("1", r.pool.Walk(0))
		passing(time.Millisecond)
		close(q.stop)
		synctest.Wait()
		expect(t, "then", "1 stopped waiting for a target after 1ms", q)
	})
	bubble(t, "a request that has been to the one in doubt does not wait for it", func(t *testing.T) {
		r := newRig(of("a:1"))
		r.up("a:1")
		w := r.pool.Walk(0)
		w.Next()
		r.target("a:1").Observe(Broken, errors.New("reset"))
		expect(t, "at once", "1 no healthy target after 0s", r.enter("1", w))
	})
	bubble(t, "a request that failed at one target waits for another in doubt", func(t *testing.T) {
		r := newRig(of("a:1", "b:1"))
		r.up("a:1", "b:1")
		w := r.pool.Walk(0)
		w.Next()
		r.target("a:1").Observe(Refused, errors.New("refused"))
		r.target("b:1").Observe(Broken, errors.New("reset"))
		q := r.enter("1", w)
		expect(t, "in doubt", "1 waits", q)
		r.up("b:1")
		synctest.Wait()
		expect(t, "then", "1 b:1 after 0s", q)
		leave(q)
	})
	bubble(t, "a pool of nobody is no reason to wait", func(t *testing.T) {
		r := newRig(of())
		expect(t, "at once", "1 no healthy target after 0s", r.enter("1", r.pool.Walk(0)))
	})
	bubble(t, "a full queue behind the verdict is a queue all the same", func(t *testing.T) {
		r := newRig(narrow("a:1"))
		var all []*request
		for i := range 4 {
			all = append(all, r.enter(fmt.Sprint(i), r.pool.Walk(0)))
		}
		r.up("a:1")
		synctest.Wait()
		got := map[string]int{}
		for _, q := range all {
			got[q.String()[2:]]++
		}
		if got["a:1 after 0s"] != 1 || got["waits"] != 2 || got["every target is full, and so is the queue after 0s"] != 1 {
			t.Errorf("got %v", got)
		}
		for range all { // one after the other has its place
			for _, q := range all {
				select {
				case <-q.done:
					if q.target != nil {
						q.target.Leave()
						q.target = nil
						synctest.Wait()
					}
				default:
				}
			}
		}
		if n := r.target("a:1").InFlight(); n != 0 {
			t.Errorf("%d in flight in the end", n)
		}
	})
}
