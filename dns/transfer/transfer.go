package transfer

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

// A Zone is one version of a zone. It must never change; its methods are called
// by many goroutines at once.
type Zone interface {
	// Origin returns the zone's name in canonical form.
	Origin() string
	// Serial returns the serial number of the zone's SOA record.
	Serial() uint32
	// All returns every record, each once, in the form that it has when it
	// comes from the wire, the SOA record first.
	All() iter.Seq[dns.RR]
}

// Transfers gives zones to secondaries and tells them of changes. Its methods
// may be called by many goroutines at once.
type Transfers struct {
	config   Config
	logger   *slog.Logger
	metrics  *metrics
	notifier *notifier
	slots    chan struct{} // one per transfer

	publishing sync.Mutex // one at a time

	mu    sync.RWMutex
	zones map[string]*published // by canonical name
}

// A published zone is what a transfer takes when it begins.
type published struct {
	*version
	rules rules
}

// New checks the configuration and registers the metrics. It starts nothing.
// With dial, nil for [kit.DefaultDial], secondaries are reached over UDP.
func New(cfg Config, dial kit.DialFunc, logger *slog.Logger, reg prometheus.Registerer) (*Transfers, error) {
	if err := cfg.ValidateTransfers(); err != nil {
		return nil, err
	}
	t := &Transfers{config: cfg, logger: logger, slots: make(chan struct{}, cfg.MaxTransfers), zones: map[string]*published{}}
	metrics, err := newMetrics(reg, t.journalBytes)
	if err != nil {
		return nil, err
	}
	t.metrics = metrics
	t.notifier = newNotifier(dial.Or(), logger, metrics)
	return t, nil
}

// Run notifies secondaries until ctx ends; then it joins its goroutines and
// returns nil. What was published before is notified at once.
func (t *Transfers) Run(ctx context.Context) error {
	t.notifier.run(ctx)
	return nil
}

// Publish makes a version of a zone the one that is given away, and notifies the
// secondaries if its serial number is another than before, or if they are new.
// The policy replaces the one before. It is to be called once the server answers
// with that version, because a notified secondary asks for its SOA record first.
// An error says what is wrong with the policy or the zone; then nothing changed.
func (t *Transfers) Publish(zone Zone, policy Policy) error {
	t.publishing.Lock()
	defer t.publishing.Unlock()
	origin := zone.Origin()
	rules, err := compile(origin, policy, t.config)
	if err != nil {
		return err
	}
	soa := first(zone)
	if soa == nil {
		return fmt.Errorf("publish the zone %s: its first record is no SOA record", origin)
	}
	t.mu.RLock()
	old := t.zones[origin]
	t.mu.RUnlock()
	next := &version{zone: zone}
	if old != nil && len(old.rules.allow) > 0 && len(rules.allow) > 0 {
		if next, err = old.follow(zone, limits{t.config.JournalVersions, int(t.config.JournalSize)}); err != nil {
			return fmt.Errorf("compare two versions of the zone %s: %w", origin, err)
		}
	}
	t.mu.Lock()
	t.zones[origin] = &published{next, rules}
	t.mu.Unlock()
	t.notifier.set(origin, soa, rules.notify, old == nil || old.zone.Serial() != zone.Serial())
	return nil
}

// Transfer implements [server.Transferrer]. A zone that is not served is NOTAUTH
// (RFC 5936, section 2.2.1), one that the client may not have REFUSED, and more
// transfers than MaxTransfers SERVFAIL.
func (t *Transfers) Transfer(ctx context.Context, q *server.Query, send func(*dns.Msg) error) error {
	kind := "axfr"
	if q.Type == dns.TypeIXFR {
		kind = "ixfr"
	}
	t.mu.RLock()
	zone := t.zones[q.Name]
	t.mu.RUnlock()
	refuse := func(rcode int, outcome string, code uint16, sentence string) error {
		t.metrics.transfer(kind, outcome)
		t.logger.Debug("a zone transfer was refused", "zone", q.Name, "kind", kind, "client", q.Source, "key", q.Key, "reason", sentence)
		q.Explain(code, sentence)
		reply := newReply(q)
		reply.Rcode, reply.Authoritative = rcode, false
		return send(reply)
	}
	switch {
	case zone == nil:
		return refuse(dns.RcodeNotAuth, "unknown", dns.ExtendedErrorCodeNotAuthoritative, "This server has no zone "+q.Name)
	case !zone.rules.allows(q.Source.Addr(), q.Key):
		return refuse(dns.RcodeRefused, "refused", dns.ExtendedErrorCodeProhibited, "The zone is not given to this address and key (allow_transfer)")
	}
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	default:
		return refuse(dns.RcodeServerFailure, "busy", dns.ExtendedErrorCodeNotReady, "Too many zone transfers at once; try again later")
	}
	begun := time.Now()
	s := &stream{ctx: ctx, send: send, reply: newReply(q), origin: q.Name}
	outcome, err := s.give(zone.version, q)
	logger := t.logger.With("zone", q.Name, "kind", kind, "client", q.Source, "key", q.Key,
		"serial", zone.zone.Serial(), "records", s.records, "messages", s.messages, "took", time.Since(begun))
	if err != nil {
		t.metrics.transfer(kind, "broken")
		logger.Warn("a zone transfer broke off", "error", err)
		return err
	}
	t.metrics.transfer(kind, outcome)
	logger.Info("a zone was transferred", "outcome", outcome)
	return nil
}

func newReply(q *server.Query) *dns.Msg {
	return &dns.Msg{
		MsgHdr:   dns.MsgHdr{Response: true, Opcode: dns.OpcodeQuery, Authoritative: true},
		Compress: true,
		Question: []dns.Question{q.Question},
	}
}

// give sends what the plan says, and returns what it was.
func (s *stream) give(v *version, q *server.Query) (outcome string, err error) {
	limit := 0
	if q.Transport == "udp" {
		limit = max(q.Size()-reserved(q), 1)
	}
	kind, deltas := whole, []delta(nil)
	if q.Type == dns.TypeIXFR {
		kind, deltas = v.plan(q.Serial, limit)
	}
	soa := first(v.zone)
	if kind == differences && limit > 0 {
		sent, err := s.datagram(soa, deltas, limit)
		if sent || err != nil {
			return outcomes[kind], err
		}
		kind = overTCP
	}
	switch kind {
	case whole:
		err = s.whole(v.zone)
	case differences:
		err = s.differences(soa, deltas)
	default:
		err = s.alone(soa)
	}
	return outcomes[kind], err
}

// reserved is how many octets the OPT and TSIG records of an answer may take, at
// most. Were they more, the answer would be cut, which says "use TCP" as well.
func reserved(q *server.Query) int {
	const opt, signature = 128, 128
	if q.Key == "" {
		return opt
	}
	return opt + signature + len(q.Key)
}

var outcomes = map[shape]string{whole: "whole", differences: "differences", current: "current", overTCP: "over_tcp"}

// first returns a zone's SOA record.
func first(zone Zone) *dns.SOA {
	for rr := range zone.All() {
		soa, _ := rr.(*dns.SOA)
		return soa
	}
	return nil
}

func (t *Transfers) journalBytes() float64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	total := 0
	for _, zone := range t.zones {
		for _, d := range zone.deltas {
			total += d.size()
		}
	}
	return float64(total)
}
