package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/dns/resolver/cache"
	"minicloud.internal/dns/resolver/exchange"
	"minicloud.internal/dns/resolver/iterate"
	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

// A Resolver answers by asking name servers from the root down.
type Resolver struct {
	cfg        Config
	root       *iterate.Delegation
	allowed    []netip.Prefix
	forwarders map[string]*exchange.Forwarder // by canonical zone
	ordinary   map[string]bool                // special-use names that are none here

	cache     *cache.Cache
	exchanger *exchange.Exchanger
	iterator  *iterate.Iterator
	flights   flights
	traces    chan struct{}   // one for each trace under way
	base      context.Context // of resolutions, which outlive their askers
	stop      context.CancelFunc

	server  *server.Server
	logger  *slog.Logger
	health  *kit.Health
	metrics *metrics
	now     func() time.Time
}

// New reads the hints and registers the metrics. It starts nothing.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Resolver, error) {
	return newResolver(cfg, logger, reg, time.Now)
}

func newResolver(cfg Config, logger *slog.Logger, reg prometheus.Registerer, now func() time.Time) (*Resolver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Resolver{
		cfg:        cfg,
		forwarders: map[string]*exchange.Forwarder{},
		flights:    flights{limit: 2 * cfg.MaxInFlight, running: map[question]*flight{}}, // as many as ask over UDP and HTTPS
		traces:     make(chan struct{}, maxTraces),
		logger:     logger,
		health:     kit.NewHealth(),
		now:        now,
	}
	var err error
	if r.root, err = cfg.rootServers(); err != nil { // the file may have changed since Validate read it
		return nil, err
	}
	// Validate has read these without an error.
	r.allowed, _ = kit.Networks("allow", cfg.Allow)
	r.ordinary, _ = cfg.resolveSpecial()
	routes, _ := cfg.routes()
	forwards, _ := cfg.forwards()
	r.base, r.stop = context.WithCancel(context.Background())
	r.cache = cache.New(cache.Config{
		MaxBytes: int64(cfg.CacheSize),
		MinTTL:   cfg.MinTTL, MaxTTL: cfg.MaxTTL, MaxNegativeTTL: cfg.MaxNegativeTTL,
		FailureTTL: cfg.FailureTTL, MaxFailureTTL: cfg.MaxFailureTTL, StaleFor: cfg.StaleFor, Now: now, Prefetch: r.prefetch,
	})
	r.exchanger, err = exchange.New(exchange.Config{Settings: cfg.Settings, Routes: routes, Dial: cfg.Dial, Now: now, Registerer: reg})
	if err != nil {
		return nil, err
	}
	for zone, targets := range forwards {
		r.forwarders[zone] = r.exchanger.Forwarder(targets)
	}
	var walkErr, ownErr error
	r.iterator, walkErr = iterate.New(iterate.Config{
		Limits: cfg.WalkLimits, Hints: r.root, Exchanger: r.exchanger, Store: uncut{r.cache, r.forwarders}, Forwarder: r.forwarder,
		Now: now, Logger: logger, Registerer: reg,
	})
	r.metrics, ownErr = newMetrics(r, reg)
	queries, serverErr := server.NewMetrics("resolver", reg)
	if err := errors.Join(walkErr, ownErr, serverErr); err != nil {
		return nil, err
	}
	r.server = &server.Server{Handler: r, Logger: logger, Health: r.health, Metrics: queries, Limits: cfg.Limits, Recursive: true}
	return r, nil
}

// Health answers 200 while Serve serves. It does not depend on name servers:
// names that are known are still answered without them.
func (r *Resolver) Health() *kit.Health { return r.health }

// Serve answers on both sockets, which it closes in the end, until ctx ends;
// then it finishes what is in flight and returns nil. It may be called once.
func (r *Resolver) Serve(ctx context.Context, ln net.Listener, pc net.PacketConn) error {
	roots := []string{}
	for _, ns := range r.root.Servers {
		for _, addr := range ns.Addrs {
			roots = append(roots, fmt.Sprintf("%s (%s)", ns.Name, r.exchanger.Route(exchange.At(addr))))
		}
	}
	r.logger.Info("resolving from the root", "root_servers", roots, "address", pc.LocalAddr().String())
	var work sync.WaitGroup
	work.Go(func() { r.iterator.Run(r.base) })
	defer r.exchanger.Close()
	defer work.Wait()
	defer r.flights.end()
	defer r.stop()
	return r.server.Serve(ctx, ln, pc)
}

// AnswerFast implements [server.Fast]: what is fresh in the cache. Special-use
// names are left to Answer, whatever the cache knows of names above them.
func (r *Resolver) AnswerFast(q *server.FastQuery, msg []byte, reply *server.FastReply) ([]byte, bool) {
	if !r.allows(q.Source.Addr()) || maybeSpecial(q.Name) {
		return msg, false
	}
	msg, ok := r.cache.AnswerFast(q, msg, reply)
	reply.RecursionAvailable = true
	return msg, ok
}

// Answer implements [server.Handler].
func (r *Resolver) Answer(ctx context.Context, q *server.Query, reply *dns.Msg) {
	reply.RecursionAvailable = true
	if !r.allows(q.Source.Addr()) {
		reply.Rcode = dns.RcodeRefused
		q.Explain(dns.ExtendedErrorCodeProhibited, "The resolver does not answer "+q.Source.Addr().Unmap().String()+"; its key allow lists whom")
		return
	}
	if r.answerLocally(q, reply) {
		return
	}
	asked := question{q.Name, q.Type}
	a := r.lookUp(asked, fresh)
	switch {
	case a.whole:
		r.metrics.hits.Add(1)
		a.fromCache = true
		if a.failure != nil {
			if old := r.lookUp(asked, stale); old.good() {
				a = r.giveStale(old, "The name servers did not answer a moment ago ("+a.failure.Sentence+"); this is what they said before, and is past its time")
			}
		}
	case !q.RecursionDesired:
		r.metrics.misses.Add(1)
		reply.Rcode = dns.RcodeRefused
		q.Explain(dns.ExtendedErrorCodeNotAuthoritative, "The answer is not in the cache, and the query did not ask for recursion (RD)")
		return
	default:
		r.metrics.misses.Add(1)
		a = r.resolve(ctx, asked)
	}
	r.fill(q, reply, a)
}

// allows reports whether queries from an address are answered.
func (r *Resolver) allows(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range r.allowed {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// A question is what is asked: a canonical name, and a type.
type question struct {
	name  string
	qtype uint16
}

// An answer is what is known of a question.
type answer struct {
	chain     []cache.Entry // through the aliases to the end
	failure   *iterate.Failure
	whole     bool // nothing is missing: chain or failure are the answer
	stale     bool // something in it is past its time
	fromCache bool
	trouble   string // why it is stale
}

// good reports whether it is records or a "no".
func (a answer) good() bool { return a.whole && a.failure == nil }

// fresh is what the cache holds that still counts, failures too; stale is data
// of any age, and no failures.
const (
	fresh = false
	stale = true
)

// lookUp puts an answer together from what the cache holds.
func (r *Resolver) lookUp(q question, old bool) (a answer) {
	usable := func(get func(string, uint16) (cache.Entry, cache.State)) func(string, uint16) []cache.Entry {
		return func(name string, qtype uint16) []cache.Entry {
			e, state := get(name, qtype)
			if state == cache.Missing || state == cache.Stale && !old {
				return nil
			}
			a.stale = a.stale || state == cache.Stale
			return []cache.Entry{e}
		}
	}
	get := r.cache.Get
	if old {
		get = r.cache.GetData
	}
	var open string
	a.chain, open, a.failure = iterate.Follow(iterate.Known{Get: usable(get), Exact: usable(r.cache.Exact)}, q.name, q.qtype, r.cfg.MaxAliases)
	a.whole = open == ""
	return a
}

// fill writes an answer into the reply.
func (r *Resolver) fill(q *server.Query, reply *dns.Msg, a answer) {
	if a.failure != nil {
		reply.Rcode = a.failure.Rcode
		q.Explain(a.failure.Code, a.failure.Sentence)
		if reply.Rcode == dns.RcodeServerFailure { // YXDOMAIN has the chain to its DNAME
			return
		}
	}
	for _, e := range a.chain {
		ttl := r.ttl(e, a.stale)
		for _, rr := range e.Records {
			reply.Answer = append(reply.Answer, as(rr, q, ttl))
		}
		if e.Kind == cache.NoName {
			reply.Rcode = dns.RcodeNameError
		}
		if e.SOA != nil {
			reply.Ns = []dns.RR{as(e.SOA, q, ttl)}
		}
	}
	switch {
	case a.failure != nil:
	case a.stale && reply.Rcode == dns.RcodeNameError:
		q.Explain(dns.ExtendedErrorCodeStaleNXDOMAINAnswer, a.trouble)
	case a.stale:
		q.Explain(dns.ExtendedErrorCodeStaleAnswer, a.trouble)
	case a.fromCache:
		last := a.chain[len(a.chain)-1]
		if reason := cache.Reason(&last, q.Type, r.now()); reason != "" {
			q.Explain(dns.ExtendedErrorCodeOther, reason)
		}
	}
}

// ttl returns what a client is told of an entry's time: what the cache says is left
// of it, or will say of what was only just learnt and does not come from there.
func (r *Resolver) ttl(e cache.Entry, old bool) uint32 {
	switch {
	case old:
		return staleTTL
	case e.Stored.IsZero():
		return r.cache.Limit(e.Kind, e.TTL)
	}
	return e.TTL
}

// as returns a copy for the asker: the record itself is shared with other answers.
// The name that was asked for has the case that it was asked in; others have none,
// since what a name server sent may have that of another question.
func as(rr dns.RR, q *server.Query, ttl uint32) dns.RR {
	out := dns.Copy(rr)
	h := out.Header()
	h.Ttl = ttl
	if h.Name = dns.CanonicalName(h.Name); h.Name == q.Name {
		h.Name = q.Question.Name
	}
	return out
}
