package lb

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"minicloud.internal/kit"
)

// firstVerdict is how long a request waits for a probe when nobody in its pool
// is up but somebody may be.
const firstVerdict = time.Second

// A monitor probes the targets, gathers what requests learn about them, and
// publishes who is healthy. The state machine is [condition.next].
type monitor struct {
	targets    []*target
	log        *slog.Logger
	health     *kit.Health
	thresholds thresholds
	interval   time.Duration
	timeout    time.Duration
	dial       kit.DialFunc

	// mu guards the condition of every target, too. It is held for a change,
	// never while a probe or a request is under way.
	mu       sync.Mutex
	changed  chan struct{} // closed, and replaced, when a state changes
	unprobed int           // targets whose first probe is still to come
	counted  int           // the number of healthy targets last logged; -1: none yet
}

func newMonitor(cfg *Config, targets []*target, health *kit.Health, logger *slog.Logger) *monitor {
	return &monitor{
		targets:    targets,
		log:        logger,
		health:     health,
		thresholds: thresholds{fall: cfg.Fall, rise: cfg.Rise},
		interval:   cfg.HealthCheckInterval,
		timeout:    cfg.HealthCheckTimeout,
		dial:       cfg.Dial.Or(),
		changed:    make(chan struct{}),
		unprobed:   len(targets),
		counted:    -1,
	}
}

// run probes every target, at once and then in intervals, until ctx ends, and
// joins its goroutines, one per target.
func (m *monitor) run(ctx context.Context) {
	var watchers sync.WaitGroup
	for _, t := range m.targets {
		watchers.Go(func() { m.watch(ctx, t) })
	}
	watchers.Wait()
}

func (m *monitor) watch(ctx context.Context, t *target) {
	for first := true; ; first = false {
		e, err := m.probe(ctx, t)
		if ctx.Err() != nil {
			return
		}
		timer := time.NewTimer(m.learn(t, e, err, first))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-t.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// probe asks a target once, on a connection of its own: it asks whether the
// target can be connected to, and holds no place at it in between. It drives the
// connection itself, because an [http.Transport] goes on dialing when the probe
// is over.
func (m *monitor) probe(ctx context.Context, t *target) (evidence, error) {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	status, reason, err := m.ask(ctx, t)
	switch {
	case err != nil && evidenceOf(err) == silent:
		return silent, fmt.Errorf("no answer within %s: %w", m.timeout, err)
	case err != nil:
		return bad, err
	case status/100 != 2:
		return bad, fmt.Errorf("answered %d: %s", status, reason)
	}
	return good, nil
}

// ask returns the status of a target's endpoint, and how its answer begins.
func (m *monitor) ask(ctx context.Context, t *target) (status int, reason string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.address+t.endpoint, nil)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("User-Agent", "minicloud-lb-health")
	r.Close = true
	c, err := m.dial(ctx, "tcp", t.address)
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	if err := r.Write(c); err != nil {
		return 0, "", err
	}
	in := bufio.NewReader(io.LimitReader(c, 64<<10))
	for { // a 1xx answer comes before the answer
		res, err := http.ReadResponse(in, r)
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err() // rather than that of the connection it closed
			}
			return 0, "", err
		}
		if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			b, _ := io.ReadAll(io.LimitReader(res.Body, 200))
			return res.StatusCode, strings.TrimSpace(string(b)), nil
		}
	}
}

// learn takes in what a probe found, and returns the time until the next.
func (m *monitor) learn(t *target, e evidence, err error, first bool) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if first {
		m.unprobed--
	}
	m.apply(t, e, err)
	if !t.condition.settled() {
		return min(m.timeout, m.interval)
	}
	return m.interval - rand.N(m.interval/10+1)
}

// observe takes in what a request learned about a target. If that is news, the
// target is probed at once.
func (m *monitor) observe(t *target, e evidence, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := t.condition
	m.apply(t, e, err)
	if t.condition != before {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// apply changes a target's condition, and tells everybody if its state changed.
// m.mu is held, so that the log has the changes in their order.
func (m *monitor) apply(t *target, e evidence, err error) {
	if err != nil {
		t.lastError = err.Error()
	}
	before := t.condition.state
	t.condition = t.condition.next(e, m.thresholds)
	after := t.condition.state
	if after != before || t.since.IsZero() {
		t.since = time.Now()
	}
	if after != before {
		for _, p := range t.pools {
			p.refresh()
		}
		close(m.changed)
		m.changed = make(chan struct{})
		switch after {
		case up:
			t.metrics.up.Set(1)
			m.log.Info("target up", "target", t.address)
		case down:
			t.metrics.up.Set(0)
			m.log.Warn("target down", "target", t.address, "error", t.lastError)
		case unknown:
			t.metrics.up.Set(0)
			m.log.Warn("target in doubt, probing it", "target", t.address, "error", t.lastError)
		}
		if before == up {
			// What idles now would break under a later request.
			t.idle.CloseIdleConnections()
		}
	}
	m.count()
}

// count logs the number of healthy targets when the first round of probes is
// complete, and whenever it changes after that. m.mu is held.
func (m *monitor) count() {
	healthy := 0
	for _, t := range m.targets {
		if t.condition.state == up {
			healthy++
		}
	}
	if m.unprobed > 0 || healthy == m.counted {
		return
	}
	m.counted = healthy
	m.log.Info("Healthy targets: " + strconv.Itoa(healthy))
	if healthy < len(m.targets) {
		// Without names: clients can ask for this one.
		m.health.Reduce("targets", fmt.Sprintf("%d of %d healthy", healthy, len(m.targets)))
	} else {
		m.health.Restore("targets")
	}
}

// candidates returns the pool's snapshot. Where nobody is up but somebody may
// be, it waits for news, at most [firstVerdict].
func (m *monitor) candidates(ctx context.Context, p *pool) *snapshot {
	s := p.snapshot.Load()
	if len(s.healthy) > 0 || !s.unknown {
		return s
	}
	timer := time.NewTimer(firstVerdict)
	defer timer.Stop()
	for {
		m.mu.Lock()
		changed := m.changed
		m.mu.Unlock()
		// Read after the channel was taken, so that no change is missed.
		if s = p.snapshot.Load(); len(s.healthy) > 0 || !s.unknown {
			return s
		}
		select {
		case <-changed:
		case <-timer.C:
			return s
		case <-ctx.Done():
			return s
		}
	}
}
