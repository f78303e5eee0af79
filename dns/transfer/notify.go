package transfer

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

const (
	// notifyAttempts is how often a secondary is told that does not answer: the
	// first answer may take notifyPause, and each further attempt comes after a
	// pause twice as long, so that it ends after 160 s (RFC 1996, section 3.6,
	// asks for a bound and leaves the rest open).
	notifyAttempts = 6
	notifyPause    = 5 * time.Second
	// notifyInterval is what lies at least between two notifications of one
	// secondary and zone; of the changes in between only the last is told.
	notifyInterval = time.Second
	// notifyConcurrency is how many notifications wait for an answer at once.
	notifyConcurrency = 64
)

// A notifier tells secondaries of new versions.
type notifier struct {
	dial    kit.DialFunc
	logger  *slog.Logger
	metrics *metrics
	slots   chan struct{}
	wake    chan struct{} // there is something to tell

	mu      sync.Mutex
	targets map[string]map[string]*target // by zone and address
}

// A target is one secondary of one zone. Its fields are guarded by the
// notifier's mu, but for changed.
type target struct {
	zone string
	to   secondary
	// pending is what is still to be told; nil where nothing is.
	pending *dns.SOA
	// running says that a goroutine is at it.
	running bool
	// changed interrupts that goroutine's pauses: there is something newer to
	// tell, or nobody to tell it.
	changed chan struct{}
}

func newNotifier(dial kit.DialFunc, logger *slog.Logger, m *metrics) *notifier {
	return &notifier{
		dial: dial, logger: logger, metrics: m,
		slots: make(chan struct{}, notifyConcurrency), wake: make(chan struct{}, 1),
		targets: map[string]map[string]*target{},
	}
}

// set makes these the secondaries of a zone. All are told if the serial number
// changed, and otherwise those that are new.
func (n *notifier) set(zone string, soa *dns.SOA, secondaries []secondary, changed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before, now := n.targets[zone], map[string]*target{}
	for _, s := range secondaries {
		t := before[s.address]
		switch {
		case t == nil:
			t = &target{zone: zone, pending: soa, changed: make(chan struct{}, 1)}
		case changed:
			t.pending = soa
			signal(t.changed)
		}
		t.to = s
		now[s.address] = t
	}
	for address, t := range before {
		if now[address] == nil {
			t.pending = nil
			signal(t.changed)
		}
	}
	n.targets[zone] = now
	signal(n.wake)
}

// signal leaves a mark that is found by whoever looks next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run tells what is to be told until ctx ends, and joins its goroutines.
func (n *notifier) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for ctx.Err() == nil {
		for _, t := range n.due() {
			running.Go(func() { n.serve(ctx, t) })
		}
		select {
		case <-n.wake:
		case <-ctx.Done():
		}
	}
}

// due returns the targets that need a goroutine, and counts on their getting one.
func (n *notifier) due() (due []*target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, targets := range n.targets {
		for _, t := range targets {
			if t.pending != nil && !t.running {
				t.running = true
				due = append(due, t)
			}
		}
	}
	return due
}

// take returns what a target is to be told now, or nil, with which its
// goroutine's work ends.
func (n *notifier) take(t *target) (*dns.SOA, secondary) {
	n.mu.Lock()
	defer n.mu.Unlock()
	soa := t.pending
	t.pending = nil
	t.running = soa != nil
	select {
	case <-t.changed: // it said what is taken here
	default:
	}
	return soa, t.to
}

// serve tells one target until there is nothing to tell.
func (n *notifier) serve(ctx context.Context, t *target) {
	for {
		soa, to := n.take(t)
		if soa == nil {
			return
		}
		next := time.Now().Add(notifyInterval)
		n.tell(ctx, t, to, soa)
		if !pause(ctx, time.Until(next), nil) {
			return
		}
	}
}

// pause waits, and reports whether it was not interrupted by ctx or changed,
// before its end or at it.
func pause(ctx context.Context, d time.Duration, changed <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		select {
		case <-changed:
			return false
		default:
			return ctx.Err() == nil
		}
	case <-changed:
	case <-ctx.Done():
	}
	return false
}

// tell notifies one secondary of one version until it answers, there is
// something newer, or it was tried often enough.
func (n *notifier) tell(ctx context.Context, t *target, to secondary, soa *dns.SOA) {
	log := n.logger.With("zone", t.zone, "serial", soa.Serial, "secondary", to.address)
	length := notifyPause
	for attempt := 1; ; attempt++ {
		begun := time.Now()
		rcode, err := n.ask(ctx, to, t.zone, soa)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && rcode == dns.RcodeSuccess:
			n.metrics.notify("acknowledged")
			log.Info("a secondary was notified", "attempts", attempt)
			return
		case err == nil:
			// It has heard, which is all that a notification is for (RFC 1996,
			// section 4.7).
			n.metrics.notify("refused")
			log.Warn("a secondary refused a notification", "rcode", server.RcodeName(rcode))
			return
		case attempt == notifyAttempts:
			n.metrics.notify("unanswered")
			log.Warn("a secondary does not answer notifications", "attempts", attempt, "error", err)
			return
		}
		log.Debug("a notification got no answer", "attempt", attempt, "error", err)
		if !pause(ctx, length-time.Since(begun), t.changed) {
			if ctx.Err() == nil {
				n.metrics.notify("superseded")
			}
			return
		}
		length *= 2
	}
}

// ask sends one notification and returns the response code of its answer.
func (n *notifier) ask(ctx context.Context, to secondary, zone string, soa *dns.SOA) (int, error) {
	select {
	case n.slots <- struct{}{}:
		defer func() { <-n.slots }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, notifyPause)
	defer cancel()
	q, err := newNotification(zone, soa, to.key)
	if err != nil {
		return 0, err
	}
	conn, err := n.dial(ctx, "udp", to.address) // connected: answers from elsewhere do not arrive
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(q.wire); err != nil {
		return 0, err
	}
	var ignored error
	for buffer := make([]byte, 4096); ; {
		length, err := conn.Read(buffer)
		if err != nil {
			if ignored != nil {
				err = ignored // says more than that the time ran out
			}
			return 0, err
		}
		rcode, err := q.check(buffer[:length])
		if err == nil {
			return rcode, nil
		}
		ignored = err
	}
}
