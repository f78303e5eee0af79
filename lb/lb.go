package lb

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
)

// A LoadBalancer routes and balances HTTP requests over its targets. Make one
// with [New].
type LoadBalancer struct {
	*core
	engine engine
}

// An engine speaks HTTP: with the clients that connect to ln, and with the
// targets. It asks its [core] where a request goes and whether it may be
// repeated, and tells it what it learns; it decides none of that itself. serve
// blocks until ctx has ended and what was in flight is done or cut off, joins
// every goroutine that it started, and returns nil then.
type engine interface {
	serve(ctx context.Context, ln net.Listener) error
}

// core is what every engine stands on: routing, balancing, health, counting.
type core struct {
	cfg     Config
	log     *slog.Logger
	health  *kit.Health
	metrics *metrics
	monitor *monitor
	targets []*target
	table   *table[*route]
}

// New validates cfg and returns a load balancer that has registered its metrics
// with reg, and started nothing.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*LoadBalancer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &core{cfg: cfg, log: logger, health: kit.NewHealth(), metrics: newMetrics(reg)}
	c.targets, c.table = build(&c.cfg, c.metrics)
	c.monitor = newMonitor(&c.cfg, c.targets, c.health, logger)
	return &LoadBalancer{core: c, engine: newStandardEngine(c)}, nil
}

// Health is what the load balancer says of itself: OK while it serves, reduced
// while a target is not healthy.
func (lb *LoadBalancer) Health() *kit.Health { return lb.health }

// Serve balances what arrives on ln until ctx ends, then drains and returns nil.
// Probing goes on during the drain: what is in flight may need another target.
// Serve may be called once.
func (lb *LoadBalancer) Serve(ctx context.Context, ln net.Listener) error {
	probing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var monitor sync.WaitGroup
	monitor.Go(func() { lb.monitor.run(probing) })
	err := lb.engine.serve(ctx, ln)
	stop()
	monitor.Wait()
	for _, t := range lb.targets {
		t.idle.CloseIdleConnections()
	}
	return err
}

var (
	// errPath is a path that [normalPath] refuses.
	errPath = errors.New("ambiguous path")
	// errNoTarget means that the route has no healthy target.
	errNoTarget = errors.New("no healthy target")
)

// route returns where a path leads, given as the request line has it.
func (c *core) route(path string) (*route, error) {
	normal, ok := normalPath(path)
	if !ok {
		return nil, errPath
	}
	return c.table.match(normal), nil
}

// order returns the targets that the next request of a route tries, in their
// order. It blocks only where nobody is known to be up and somebody may be.
func (c *core) order(ctx context.Context, r *route) (iter.Seq[*target], error) {
	s := c.monitor.candidates(ctx, r.pool)
	if len(s.healthy) == 0 {
		return nil, errNoTarget
	}
	return r.pool.order(s, 1+c.cfg.Retries), nil
}

// logPath and logTarget write the sentences that users of the log look for.
func (c *core) logPath(ctx context.Context, path, requestID string) {
	if c.cfg.AccessLog && c.log.Enabled(ctx, slog.LevelInfo) {
		c.log.LogAttrs(ctx, slog.LevelInfo, "Request path: "+path, slog.String("request_id", requestID))
	}
}

func (c *core) logTarget(ctx context.Context, r *route, t *target, requestID string) {
	if !c.cfg.AccessLog || !c.log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	sentence := "Forwarding connection to backend: "
	if r.specific {
		sentence = "Routing to specific path-based backend: "
	}
	c.log.LogAttrs(ctx, slog.LevelInfo, sentence+t.address, slog.String("request_id", requestID))
}
