package resolver

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the resolver's own; those of queries are package server's.
type metrics struct {
	lookups   *prometheus.CounterVec
	upstream  *prometheus.CounterVec
	ignored   prometheus.Counter
	truncated prometheus.Counter
}

func newMetrics(r *Resolver, reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "minicloud_resolver_cache_lookups_total",
			Help: "Questions that the cache answered (hit) and did not (miss).",
		}, []string{"result"}),
		upstream: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "minicloud_resolver_upstream_queries_total",
			Help: "Queries to name servers, by outcome (answer, referral, refused, lame, timeout, unreachable).",
		}, []string{"outcome"}),
		ignored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "minicloud_resolver_upstream_ignored_total",
			Help: "Messages from name servers that did not belong to the query: forged, late or malformed.",
		}),
		truncated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "minicloud_resolver_upstream_truncated_total",
			Help: "Answers that did not fit into a datagram and were asked for again over TCP.",
		}),
	}
	entries := func(kind string, n func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "minicloud_resolver_cache_entries",
			Help:        "What is remembered: answers and delegations.",
			ConstLabels: prometheus.Labels{"kind": kind},
		}, func() float64 { return float64(n()) })
	}
	for _, c := range []prometheus.Collector{
		m.lookups, m.upstream, m.ignored, m.truncated,
		entries("answers", r.answers.len), entries("delegations", r.delegations.len),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
