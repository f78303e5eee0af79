package upstream

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"minicloud.internal/kit"
	"minicloud.internal/lb/meter"
)

// A Set is all targets and all pools of a load balancer. Make one with [NewSet],
// configure it with [Set.Apply], as often as need be, and have [Set.Run] probe.
// All methods may be called concurrently.
type Set struct {
	log    *slog.Logger
	health *kit.Health
	born   time.Time
	poke   chan struct{} // asks for housekeeping now; capacity 1

	// mu guards the configuration, and the condition of every target. It is
	// held for a change, never while a probe or a request is under way.
	mu      sync.Mutex
	targets []*Target
	pools   map[string]*Pool
	dial    kit.DialFunc
	counted int           // the number of healthy targets last logged; -1: none yet
	watch   func(*Target) // begins to probe a target; nil while nobody runs
	ended   bool          // Run has returned

	// queues guards the queues of all pools. It may be taken while mu is held,
	// not the other way round. It is one lock because a place at a target of
	// several pools goes to whoever waits longest in any of them.
	queues   sync.Mutex
	arrivals uint64
	spare    []*waiter
	waiting  atomic.Int64 // requests that wait, or are about to
}

// NewSet returns a Set of nothing. It says of itself on health, as the part
// "targets", how many of its targets are healthy while not all of them are.
func NewSet(logger *slog.Logger, health *kit.Health) *Set {
	return &Set{
		log:     logger,
		health:  health,
		born:    time.Now(),
		poke:    make(chan struct{}, 1),
		pools:   map[string]*Pool{},
		dial:    kit.DefaultDial,
		counted: -1,
	}
}

// Apply makes cfg the configuration, and returns the pools by their names.
//
//   - A target whose address stays keeps its state, its connections and its
//     counters, and stays drained; a new one is unknown and, while Run runs, is
//     probed at once. One that is gone is probed no more, its idle connections
//     are closed, and what is in flight there ends by itself.
//   - A pool whose name and members stay keeps its turn, its queue and its budget.
//     Another one takes the place of any other; requests that hold the old one
//     end with it.
//
// It panics where a pool has an address that is no target's.
func (s *Set) Apply(cfg Config) map[string]*Pool {
	cfg.check()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dial = cfg.Dial.Or()
	known := s.applyTargets(cfg.Targets)
	pools := map[string]*Pool{}
	for _, pc := range cfg.Pools {
		members := make([]*Target, len(pc.Targets))
		for i, address := range pc.Targets {
			members[i] = known[canonical(address)]
		}
		p := s.pools[pc.Name]
		if p == nil || !slices.Equal(p.members, members) {
			p = &Pool{set: s, name: pc.Name, members: members, changed: make(chan struct{})}
			s.join(p)
		}
		pc = pc.withDefaults()
		p.cfg = &pc
		pools[pc.Name] = p
	}
	s.pools = pools
	for p := range s.live() {
		p.refresh()
	}
	s.count()
	return pools
}

// check panics where a pool has an address that is no target's.
func (c Config) check() {
	known := map[string]bool{}
	for _, t := range c.Targets {
		known[canonical(t.Address)] = true
	}
	for _, p := range c.Pools {
		for _, address := range p.Targets {
			if !known[canonical(address)] {
				panic("upstream: the pool " + p.Name + " has the address " + address + ", which is no target's")
			}
		}
	}
}

// applyTargets replaces the targets, and returns them by their canonical
// addresses. s.mu is held.
func (s *Set) applyTargets(configs []TargetConfig) map[string]*Target {
	before := map[string]*Target{}
	for _, t := range s.targets {
		before[canonical(t.address)] = t
	}
	known := map[string]*Target{}
	s.targets = make([]*Target, 0, len(configs))
	for _, tc := range configs {
		key := canonical(tc.Address)
		t := before[key]
		delete(before, key)
		if t == nil {
			t = s.newTarget(tc.Address)
		}
		s.configure(t, tc.withDefaults())
		s.targets = append(s.targets, t)
		known[key] = t
	}
	for _, t := range before {
		t.removed = true
		if t.stop != nil {
			t.stop()
		}
		t.Idle.setShut(true)
	}
	return known
}

func (s *Set) newTarget(address string) *Target {
	return &Target{
		Meter:   &meter.Requests{},
		Idle:    &Idle{shut: s.ended},
		set:     s,
		address: address,
		seed:    seedOf(canonical(address)),
		wake:    make(chan struct{}, 1),
		tenths:  1 + rampSteps,
	}
}

// configure gives a target its configuration, and has it probed at once where
// that asks for something else. s.mu is held.
func (s *Set) configure(t *Target, cfg TargetConfig) {
	news := t.cfg.Health != cfg.Health
	t.cfg = cfg
	t.places.Store(int64(cfg.MaxConnections))
	t.Idle.configure(cfg.MaxIdle, cfg.IdleTimeout)
	t.ramp(time.Now())
	switch {
	case t.stop == nil && s.watch != nil:
		s.watch(t)
	case news && t.probed:
		t.probe()
	}
}

// join tells the members of a pool that they are, and has them forget pools that
// nobody holds any more. s.mu is held.
func (s *Set) join(p *Pool) {
	s.queues.Lock()
	defer s.queues.Unlock()
	for _, t := range p.members {
		t.pools = slices.DeleteFunc(t.pools, func(held weak.Pointer[Pool]) bool { return held.Value() == nil })
		t.pools = append(t.pools, weak.Make(p))
	}
}

// live returns every pool that somebody holds. s.mu is held.
func (s *Set) live() map[*Pool]bool {
	all := map[*Pool]bool{}
	for _, p := range s.pools {
		all[p] = true
	}
	for _, t := range s.targets {
		for _, p := range t.live() {
			all[p] = true
		}
	}
	return all
}

func (t *Target) live() []*Pool {
	var all []*Pool
	for _, held := range t.pools {
		if p := held.Value(); p != nil {
			all = append(all, p)
		}
	}
	return all
}

// Targets returns every target, in the order of the configuration.
func (s *Set) Targets() []*Target {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.targets)
}

// Drain keeps new requests from a target, until [Set.Enable]: those in flight,
// tunnels included, finish there; its idle connections are closed, and it is
// still probed. It reports whether there is such a target. To drain is to
// operate, not to configure: a new configuration does not end it, a restart does.
func (s *Set) Drain(address string) bool { return s.setDraining(address, true) }

// Enable ends what [Set.Drain] began. It reports whether there is such a target.
func (s *Set) Enable(address string) bool { return s.setDraining(address, false) }

func (s *Set) setDraining(address string, draining bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.targets, func(t *Target) bool { return canonical(t.address) == canonical(address) })
	if i < 0 {
		return false
	}
	t := s.targets[i]
	if t.draining.Swap(draining) == draining {
		return true
	}
	t.refresh()
	t.Idle.setShut(draining || s.ended)
	if draining {
		s.log.Info("target draining", "target", t.address)
	} else {
		s.log.Info("target enabled", "target", t.address)
	}
	return true
}

// A Status is what is known of one target at one moment.
type Status struct {
	Address             string `json:"address"`
	HealthCheckEndpoint string `json:"health_check_endpoint"`
	State               string `json:"state"` // "unknown", "up" or "down"
	Draining            bool   `json:"draining"`
	// Since is when it came into its state; absent before the first probe.
	Since *time.Time `json:"since,omitempty"`
	// LastError is of the last evidence against it; kept once it is up again.
	LastError string `json:"last_error,omitempty"`
	// Resolved is the address, and port, of the last connection of a probe; absent
	// where there was none.
	Resolved string `json:"resolved,omitempty"`
	Weight   int    `json:"weight"`
	// EffectiveWeight is less than the weight in a slow start only.
	EffectiveWeight float64 `json:"effective_weight"`
	InFlight        int64   `json:"in_flight"`
	MaxConnections  int     `json:"max_connections,omitempty"` // absent: no bound
	// Queue is how many requests wait in the queues of the target's pools.
	Queue           int `json:"queue"`
	IdleConnections int `json:"idle_connections"`
}

// Statuses returns the status of every target, in the order of the configuration.
func (s *Set) Statuses() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, len(s.targets))
	for i, t := range s.targets {
		all[i] = t.status()
	}
	return all
}

// Status returns what is known of the target.
func (t *Target) Status() Status {
	t.set.mu.Lock()
	defer t.set.mu.Unlock()
	return t.status()
}

// status is Status with the set's mu held.
func (t *Target) status() Status {
	s := Status{
		Address:             t.address,
		HealthCheckEndpoint: t.cfg.Health.Endpoint,
		State:               t.condition.state.String(),
		Draining:            t.draining.Load(),
		LastError:           t.lastError,
		Weight:              t.cfg.Weight,
		EffectiveWeight:     float64(int64(t.cfg.Weight)*t.tenths) / (1 + rampSteps),
		InFlight:            t.inFlight.Load(),
		MaxConnections:      t.cfg.MaxConnections,
		IdleConnections:     t.Idle.Len(),
	}
	if !t.since.IsZero() {
		since := t.since
		s.Since = &since
	}
	if addr := t.where.latest(); addr.IsValid() {
		s.Resolved = addr.String()
	}
	for _, p := range t.live() {
		s.Queue += p.Waiting()
	}
	return s
}

// watching is what Run hands to Apply: it probes a target until ctx ends, or the
// target is removed.
func (s *Set) watching(ctx context.Context, watchers *sync.WaitGroup) func(*Target) {
	return func(t *Target) {
		ctx, cancel := context.WithCancel(ctx)
		t.stop = cancel
		watchers.Go(func() {
			defer cancel()
			s.probeUntil(ctx, t)
		})
	}
}
