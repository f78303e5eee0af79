package resolver

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the resolver's own; those of queries, of the walk and of what is
// asked upstream are their packages'.
type metrics struct {
	hits                      atomic.Uint64 // of the general path; the cache counts those of the fast one
	misses, stale, prefetches atomic.Uint64
}

func newMetrics(r *Resolver, reg prometheus.Registerer) (*metrics, error) {
	m := new(metrics)
	var errs []error
	counter := func(name, help string, labels prometheus.Labels, n func() float64) {
		errs = append(errs, reg.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "minicloud_resolver_" + name, Help: help, ConstLabels: labels}, n)))
	}
	gauge := func(name, help string, n func() float64) {
		errs = append(errs, reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "minicloud_resolver_" + name, Help: help}, n)))
	}
	of := func(n *atomic.Uint64) func() float64 { return func() float64 { return float64(n.Load()) } }
	const lookups = "Questions that the cache answered (hit) and did not (miss)."
	counter("cache_lookups_total", lookups, prometheus.Labels{"result": "hit"}, func() float64 { return float64(r.hits()) })
	counter("cache_lookups_total", lookups, prometheus.Labels{"result": "miss"}, of(&m.misses))
	counter("stale_answers_total", "Answers that were past their time, because no fresh one could be had.", nil, of(&m.stale))
	counter("prefetches_total", "Resolutions of names that are asked for often, shortly before their time was over.", nil, of(&m.prefetches))
	counter("cache_evictions_total", "Entries that were dropped from the cache for want of room.", nil, func() float64 { return float64(r.cache.Stats().Evicted) })
	const refused = "What was learnt and not kept, because it was larger than 32 KiB or cannot be packed (too_large), or because something better is known (outranked)."
	counter("cache_refused_total", refused, prometheus.Labels{"reason": "too_large"}, func() float64 { return float64(r.cache.Stats().TooLarge) })
	counter("cache_refused_total", refused, prometheus.Labels{"reason": "outranked"}, func() float64 { return float64(r.cache.Stats().Outranked) })
	gauge("cache_entries", "Entries of the cache.", func() float64 { return float64(r.cache.Stats().Entries) })
	gauge("cache_bytes", "What the entries of the cache take.", func() float64 { return float64(r.cache.Stats().Bytes) })
	return m, errors.Join(errs...)
}

// hits returns how many questions the cache answered.
func (r *Resolver) hits() uint64 { return r.metrics.hits.Load() + r.cache.Stats().FastHits }
