package iterate

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/dns/resolver/cache"
	"minicloud.internal/dns/resolver/exchange"
)

// An Exchanger puts one question to one name server; an [exchange.Exchanger] is
// one.
type Exchanger interface {
	Exchange(ctx context.Context, to exchange.Target, name string, qtype uint16, opts exchange.Options) (*exchange.Result, error)
	Order(zone string, addrs []netip.Addr) []netip.Addr
	Lame(addr netip.Addr, zone string)
	Askable(addr netip.Addr) bool
	Route(to exchange.Target) string
	Count(o exchange.Outcome)
}

// A Store is where answers are kept; a [cache.Cache] is one. Names are canonical.
// It is used by many goroutines at once.
type Store interface {
	Get(name string, qtype uint16) (cache.Entry, cache.State)
	Exact(name string, qtype uint16) (cache.Entry, cache.State)
	Put(name string, qtype uint16, e cache.Entry)
}

// An Iterator finds answers from the root down. It is safe for concurrent use.
type Iterator struct {
	limits      Limits
	hints       *Delegation
	exchanger   Exchanger
	store       Store
	forwarder   func(name string) (zone string, f Forwarder)
	delegations *delegations
	confirming  *confirming
	logger      *slog.Logger
	metrics     *metrics
	now         func() time.Time
}

// New checks the limits and registers the metrics. It starts nothing.
func New(cfg Config) (*Iterator, error) {
	if err := cfg.Limits.ValidateLimits(); err != nil {
		return nil, err
	}
	if cfg.Exchanger == nil || cfg.Store == nil {
		return nil, errors.New("an iterator needs an Exchanger and a Store")
	}
	it := &Iterator{
		limits:      cfg.Limits,
		hints:       cfg.Hints,
		exchanger:   cfg.Exchanger,
		store:       cfg.Store,
		forwarder:   cfg.Forwarder,
		delegations: newDelegations(cfg.Limits.MaxDelegations),
		confirming:  newConfirming(),
		logger:      cfg.Logger,
		now:         cfg.Now,
	}
	if it.hints == nil {
		it.hints = InternetHints()
	}
	if it.logger == nil {
		it.logger = slog.New(slog.DiscardHandler)
	}
	if it.forwarder == nil {
		it.forwarder = func(string) (string, Forwarder) { return "", nil }
	}
	if it.now == nil {
		it.now = time.Now
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	var err error
	it.metrics, err = newMetrics(it, cfg.Registerer)
	return it, err
}

// Options are how one question is resolved. The zero value uses all that is
// known.
type Options struct {
	// Trace records the steps; nil records none.
	Trace *Trace
	// Refresh asks for the name, and for the names that it is an alias of,
	// although the store knows them: to renew what will soon be old.
	Refresh bool
	// FromRoot takes nothing as known: neither answers nor delegations. What is
	// learnt is kept all the same.
	FromRoot bool
}

// Resolve answers a question of class IN; name is canonical. The chain is the
// sets from the name through its aliases to the end, or to a "no"; the entries'
// TTLs are what is left of them. What was learnt is in the store by then. It
// takes at most resolve_timeout, and less where ctx ends before. For ANY it
// gives the sets of the name that the first server sent, which need not be all.
func (it *Iterator) Resolve(ctx context.Context, name string, qtype uint16, opts Options) ([]cache.Entry, *Failure) {
	ctx, cancel := context.WithTimeout(ctx, it.limits.ResolveTimeout)
	defer cancel()
	return it.newResolution(opts).resolve(ctx, name, qtype, 0)
}

// Closest returns the deepest delegation that is known at or above a canonical
// name, for people: at worst the root hints. It must not be changed.
func (it *Iterator) Closest(name string) *Delegation {
	now := it.now()
	for zone := range Upwards(name) {
		if d := it.delegations.get(zone, now); d != nil {
			return d
		}
	}
	return it.hints
}

// Forget forgets what is known of a zone's name servers, if anything is; zone is
// canonical.
func (it *Iterator) Forget(zone string) { it.delegations.forget(zone) }
