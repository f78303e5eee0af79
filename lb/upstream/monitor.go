package upstream

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"minicloud.internal/kit"
)

// sweepEvery is how often idle connections are looked over.
const sweepEvery = time.Second

// Run probes every target, at once and then in intervals, and closes idle
// connections that are too old, until ctx ends. Then it closes all of them, lets
// none be kept, and joins its goroutines: one per target, and itself. It may be
// called once.
func (s *Set) Run(ctx context.Context) {
	var watchers sync.WaitGroup
	s.mu.Lock()
	s.watch = s.watching(ctx, &watchers)
	for _, t := range s.targets {
		s.watch(t)
	}
	s.mu.Unlock()
	s.keepHouse(ctx)
	s.mu.Lock()
	s.watch, s.ended = nil, true
	for _, t := range s.targets {
		t.Idle.setShut(true)
	}
	s.mu.Unlock()
	watchers.Wait()
}

// keepHouse sweeps idle connections, and takes slow starts their steps, until
// ctx ends.
func (s *Set) keepHouse(ctx context.Context) {
	timer := time.NewTimer(sweepEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.poke:
		}
		timer.Reset(s.tend(time.Now()))
	}
}

// tend does what is due, and returns the time until something is.
func (s *Set) tend(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := sweepEvery
	for _, t := range s.targets {
		t.Idle.sweep(now)
		before := t.tenths
		if due := t.ramp(now); due > 0 {
			next = min(next, due)
		}
		if t.tenths != before {
			t.refresh()
		}
	}
	return next
}

// ramp sets how much of the target's weight counts, and returns the time until
// it is more; 0: it will not be. The set's mu is held.
func (t *Target) ramp(now time.Time) (next time.Duration) {
	if t.recovery.IsZero() {
		return 0
	}
	if t.tenths, next = ramp(now.Sub(t.recovery), t.cfg.SlowStart); next == 0 {
		t.recovery = time.Time{}
	}
	return next
}

// refresh replaces the snapshots of the target's pools. The set's mu is held.
func (t *Target) refresh() {
	for _, p := range t.live() {
		p.refresh()
	}
}

// probe asks for a probe now.
func (t *Target) probe() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// probeUntil probes a target until ctx ends.
func (s *Set) probeUntil(ctx context.Context, t *Target) {
	for {
		s.mu.Lock()
		h, dial := t.cfg.Health, s.dial
		s.mu.Unlock()
		f := h.probe(ctx, dial, t.address)
		if ctx.Err() != nil {
			return
		}
		timer := time.NewTimer(s.learn(t, f))
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

// A finding is what a probe came back with.
type finding struct {
	evidence Evidence
	err      error          // why the evidence is not good
	remote   netip.AddrPort // where it was led; zero where it got no connection
}

// probe asks a target once, on a connection of its own: it asks whether the
// target can be connected to, and holds no place at it in between. It drives the
// connection itself, because an [http.Transport] goes on dialing when the probe
// is over.
func (h Health) probe(ctx context.Context, dial kit.DialFunc, address string) (f finding) {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	f.remote, f.err = h.ask(ctx, dial, address)
	if f.err != nil {
		f.evidence = EvidenceOf(f.err)
	}
	if f.evidence == Silent {
		f.err = fmt.Errorf("no answer within %s: %w", h.Timeout, f.err)
	}
	return f
}

const (
	// probeHead and probeBody are how much of an answer a probe reads, in bytes.
	probeHead, probeBody = 64 << 10, 64 << 10
	// probeReason is how much of a bad answer's body goes into its error.
	probeReason = 200
)

// ask returns nil for an answer as it is expected.
func (h Health) ask(ctx context.Context, dial kit.DialFunc, address string) (remote netip.AddrPort, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+h.Endpoint, nil)
	if err != nil {
		return remote, err
	}
	r.Header.Set("User-Agent", "minicloud-lb-health")
	r.Close = true
	c, err := dial(ctx, "tcp", address)
	if err != nil {
		return remote, err
	}
	defer c.Close()
	remote = addrOf(c)
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if err = r.Write(c); err == nil {
		err = h.judge(bufio.NewReader(io.LimitReader(c, probeHead+probeBody)), r)
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // rather than that of the connection it closed
	}
	return remote, err
}

// judge reads an answer.
func (h Health) judge(in *bufio.Reader, r *http.Request) error {
	for { // a 1xx answer comes before the answer
		res, err := http.ReadResponse(in, r)
		if err != nil {
			return err
		}
		switch {
		case res.StatusCode < 200 && res.StatusCode != http.StatusSwitchingProtocols:
			continue
		case !h.Status.Has(res.StatusCode):
			reason, _ := io.ReadAll(io.LimitReader(res.Body, probeReason))
			return fmt.Errorf("answered %d: %s", res.StatusCode, strings.TrimSpace(string(reason)))
		}
		return contains(io.LimitReader(res.Body, probeBody), h.Body)
	}
}

// contains reads a body no further than up to the text that it is to contain.
func contains(body io.Reader, text string) error {
	var seen bytes.Buffer
	var err error
	for !bytes.Contains(seen.Bytes(), []byte(text)) {
		switch err {
		case nil:
			_, err = io.CopyN(&seen, body, 4<<10)
		case io.EOF:
			return fmt.Errorf("answered without %q in the body", text)
		default:
			return err
		}
	}
	return nil
}

// learn takes in what a probe found, and returns the time until the next.
func (s *Set) learn(t *Target, f finding) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.removed {
		return 0 // its context has ended by now
	}
	first := !t.probed
	t.probed = true
	if f.remote.IsValid() && t.where.see(f.remote) {
		t.Idle.abandon(t.where.gone)
	}
	s.conclude(t, f.evidence, f.err)
	if first {
		s.count()
	}
	h := t.cfg.Health
	if !t.condition.settled() {
		return min(h.Timeout, h.Interval)
	}
	return h.Interval - rand.N(h.Interval/10+1)
}

// observe is [Target.Observe]. What is no target any more is nobody's concern.
func (s *Set) observe(t *Target, e Evidence, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.removed {
		return
	}
	before := t.condition
	s.conclude(t, e, err)
	if t.condition != before {
		t.probe()
	}
}

// conclude changes a target's condition, and tells everybody if its state
// changed. s.mu is held, so that the log has the changes in their order.
func (s *Set) conclude(t *Target, e Evidence, err error) {
	if err != nil {
		t.lastError = err.Error()
	}
	before := t.condition.state
	t.condition = t.condition.next(e, t.cfg.Health.Rise, t.cfg.Health.Fall)
	after := t.condition.state
	now := time.Now()
	if after != before || t.since.IsZero() {
		t.since = now
	}
	if after != before {
		s.turn(t, before, after, now)
	}
}

// turn does what follows from a new state. s.mu is held.
func (s *Set) turn(t *Target, before, after State, now time.Time) {
	t.state.Store(int32(after))
	if before == Down && after == Up && t.wasUp && t.cfg.SlowStart > 0 {
		t.recovery = now
		t.ramp(now)
		select {
		case s.poke <- struct{}{}:
		default:
		}
	}
	t.wasUp = t.wasUp || after == Up
	t.refresh()
	switch after {
	case Up:
		s.log.Info("target up", "target", t.address)
	case Down:
		s.log.Warn("target down", "target", t.address, "error", t.lastError)
	case Unknown:
		s.log.Warn("target in doubt, probing it", "target", t.address, "error", t.lastError)
	}
	if before == Up {
		// What idles now would break under a later request.
		t.Idle.CloseAll()
	}
	s.count()
}

// count logs the number of healthy targets when the first round of probes is
// complete, and whenever it changes after that. Whether one is drained does not
// count: that is no fault of its own. s.mu is held.
func (s *Set) count() {
	healthy := 0
	for _, t := range s.targets {
		if !t.probed {
			return
		}
		if t.condition.state == Up {
			healthy++
		}
	}
	if healthy < len(s.targets) {
		// Without names: clients can ask for this one.
		s.health.Reduce("targets", fmt.Sprintf("%d of %d healthy", healthy, len(s.targets)))
	} else {
		s.health.Restore("targets")
	}
	if healthy != s.counted && (len(s.targets) > 0 || s.counted >= 0) {
		s.counted = healthy
		s.log.Info("Healthy targets: " + strconv.Itoa(healthy))
	}
}
