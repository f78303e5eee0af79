package lb

import (
	"context"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
	"minicloud.internal/lb/engine"
	routing "minicloud.internal/lb/route"
	"minicloud.internal/lb/upstream"
)

// A LoadBalancer routes and balances HTTP requests over its targets. Make one
// with [New].
type LoadBalancer struct {
	// Hangup has [LoadBalancer.Serve] load the configuration file again. A program
	// has SIGHUP sent there, with [os/signal.Notify].
	Hangup chan os.Signal

	log    *slog.Logger
	health *kit.Health
	set    *upstream.Set
	engine *engine.Engine
	access *accessLog
	now    atomic.Pointer[state]

	reloading sync.Mutex // one reload at a time
	reloads   struct{ good, failed atomic.Uint64 }
}

// A state is what a configuration was made into. It does not change; a reload
// replaces it as a whole.
type state struct {
	cfg   Config
	table *routing.Table
	pools []*upstream.Pool // in the order of the layout
	since time.Time
}

// New validates cfg and returns a load balancer that has registered its metrics
// with reg, and started nothing. A second one on one registry is a mistake in the
// wiring, and panics.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*LoadBalancer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	lb := &LoadBalancer{Hangup: make(chan os.Signal, 1), log: logger, health: kit.NewHealth(), access: newAccessLog(logger)}
	lb.set = upstream.NewSet(logger, lb.health)
	s, err := lb.build(cfg, nil)
	if err != nil {
		return nil, err
	}
	lb.engine = engine.New(settings(&s.cfg, s.table), logger, lb.health)
	lb.use(s)
	reg.MustRegister(newCollector(lb))
	return lb, nil
}

// build applies a valid configuration to the targets and pools, and returns the
// state that goes with it.
func (lb *LoadBalancer) build(cfg Config, old *routing.Table) (*state, error) {
	s := &state{cfg: cfg, since: time.Now()}
	u := upstreams(&cfg)
	pools := lb.set.Apply(u)
	for _, p := range u.Pools {
		s.pools = append(s.pools, pools[p.Name])
	}
	var err error
	s.table, err = routes(&cfg, pools, old, time.Now())
	return s, err
}

// use makes s the state in force.
func (lb *LoadBalancer) use(s *state) {
	lb.now.Store(s)
	if s.cfg.AccessLog {
		lb.engine.Record(lb.access.recorder())
	} else {
		lb.engine.Record(nil)
	}
}

// Health is what the load balancer says of itself: OK while it serves, reduced
// while a target is not healthy.
func (lb *LoadBalancer) Health() *kit.Health { return lb.health }

// Serve balances what arrives on ln until ctx ends, then drains, closes ln and
// returns nil. Meanwhile it watches the file of its configuration, if there is
// one (see [LoadBalancer.Reload]). Probing goes on during the drain: what is in
// flight may need another target. Serve may be called once, and joins what it
// started.
func (lb *LoadBalancer) Serve(ctx context.Context, ln net.Listener) error {
	base := context.WithoutCancel(ctx)
	beside, stop := context.WithCancel(base) // of what ends after the engine
	attending, cease := context.WithCancel(ctx)
	serving, drain := context.WithCancel(base)
	defer drain()
	var group sync.WaitGroup
	group.Go(func() { lb.set.Run(beside) })
	group.Go(func() { lb.access.run(beside) })
	group.Go(func() {
		defer drain()
		cfg := &lb.now.Load().cfg
		if cfg.File != "" {
			lb.watch(attending, cfg.File)
		}
		<-attending.Done()
		lb.health.Drain()
		if cfg.ReusePort && ctx.Err() != nil {
			lb.yield(ln)
		}
	})
	err := lb.engine.Serve(serving, ln)
	cease()
	stop()
	group.Wait()
	return err
}
