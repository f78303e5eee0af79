package resolver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

// A Resolver answers by asking name servers from the root down.
type Resolver struct {
	cfg     Config
	root    *delegation
	routes  map[netip.Addr]string
	allowed []netip.Prefix

	answers     *lru[key, *entry]
	delegations *lru[string, *delegation]
	penalties   *lru[netip.Addr, struct{}]
	flights     flights
	base        context.Context // of resolutions, which outlive their askers
	stop        context.CancelFunc

	server  *server.Server
	logger  *slog.Logger
	health  *kit.Health
	metrics *metrics
	now     func() time.Time
}

// New reads the hints and registers the metrics. It starts nothing.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Resolver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r := &Resolver{
		cfg:         cfg,
		answers:     newLRU[key, *entry](cfg.CacheEntries),
		delegations: newLRU[string, *delegation](cfg.CacheEntries),
		penalties:   newLRU[netip.Addr, struct{}](1000),
		flights:     flights{running: map[key]*flight{}},
		logger:      logger,
		health:      kit.NewHealth(),
		now:         time.Now,
	}
	// Validate has read them without an error.
	r.root, _ = cfg.rootServers()
	r.routes, _ = cfg.routes()
	r.allowed, _ = cfg.allowed()
	r.base, r.stop = context.WithCancel(context.Background())
	var err error
	if r.metrics, err = newMetrics(r, reg); err != nil {
		return nil, err
	}
	queries, err := server.NewMetrics("resolver", reg)
	if err != nil {
		return nil, err
	}
	r.server = &server.Server{Handler: r, Logger: logger, Health: r.health, Metrics: queries, Limits: cfg.Limits}
	return r, nil
}

// Health answers 200 while Serve serves. It does not depend on name servers:
// names that are known are still answered without them.
func (r *Resolver) Health() *kit.Health { return r.health }

// Serve answers on both sockets, which it closes in the end, until ctx ends;
// then it finishes what is in flight and returns nil. It may be called once.
func (r *Resolver) Serve(ctx context.Context, ln net.Listener, pc net.PacketConn) error {
	roots := []string{}
	for _, ns := range r.root.servers {
		for _, addr := range ns.addrs {
			roots = append(roots, fmt.Sprintf("%s (%s)", ns.name, r.route(addr)))
		}
	}
	r.logger.Info("resolving from the root", "root_servers", roots, "address", pc.LocalAddr().String())
	defer r.flights.wait.Wait()
	defer r.stop()
	return r.server.Serve(ctx, ln, pc)
}

// Answer implements [server.Handler].
func (r *Resolver) Answer(ctx context.Context, q *server.Query, reply *dns.Msg) {
	reply.RecursionAvailable = true
	if !r.allows(q.Source.Addr()) {
		reply.Rcode = dns.RcodeRefused
		q.Explain(dns.ExtendedErrorCodeProhibited, "The resolver does not answer "+q.Source.Addr().Unmap().String()+"; its key allow lists whom")
		return
	}
	if answerLocally(q.Name, q.Question, reply) {
		return
	}
	chain, open, err := follow(r.cached, q.Name, q.Type)
	switch {
	case err == nil && open != "" && !q.RecursionDesired:
		r.metrics.lookups.WithLabelValues("miss").Inc()
		reply.Rcode = dns.RcodeRefused
		q.Explain(dns.ExtendedErrorCodeNotAuthoritative, "The answer is not in the cache, and the query did not ask for recursion (RD)")
		return
	case err == nil && open != "":
		r.metrics.lookups.WithLabelValues("miss").Inc()
		chain, err = r.await(ctx, key{q.Name, q.Type})
	default:
		r.metrics.lookups.WithLabelValues("hit").Inc()
	}
	if err != nil {
		chain = []*entry{{kind: failed, failure: err}}
	}
	r.fill(q, reply, chain)
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

// cached returns what the cache holds, or nil.
func (r *Resolver) cached(k key) *entry {
	e, _ := r.answers.get(k, r.now())
	return e
}

// remember puts what a name server said into the cache, for no longer than
// configured.
func (r *Resolver) remember(k key, e *entry) {
	limit := r.cfg.MaxTTL
	if e.kind != hasRecords {
		limit = min(limit, r.cfg.MaxNegativeTTL)
	}
	now := r.now()
	e.expires = now.Add(min(seconds(e.ttl), limit))
	r.answers.put(k, e, e.expires, now)
}

func seconds(ttl uint32) time.Duration { return time.Duration(ttl) * time.Second }

// fill writes a chain into the reply, its TTLs counted down.
func (r *Resolver) fill(q *server.Query, reply *dns.Msg, chain []*entry) {
	now := r.now()
	for _, e := range chain {
		switch e.kind {
		case hasRecords:
			for _, rr := range e.records {
				out := withTTL(rr, e.left(now))
				if dns.CanonicalName(out.Header().Name) == q.Name {
					out.Header().Name = q.Question.Name // in the case it was asked
				}
				reply.Answer = append(reply.Answer, out)
			}
			continue
		case noName:
			reply.Rcode = dns.RcodeNameError
		case failed:
			reply.Rcode, reply.Answer = dns.RcodeServerFailure, nil
			q.Explain(e.failure.code, e.failure.sentence)
		}
		if e.soa != nil {
			reply.Ns = []dns.RR{withTTL(e.soa, e.left(now))}
		}
	}
}

// withTTL returns a copy: the record itself is shared with other answers.
func withTTL(rr dns.RR, ttl uint32) dns.RR {
	out := dns.Copy(rr)
	out.Header().Ttl = ttl
	return out
}
