package iterate

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the walk's own; those of queries are package exchange's.
type metrics struct {
	limits    *prometheus.CounterVec
	confirmed *prometheus.CounterVec
	minimised prometheus.Counter
}

func newMetrics(it *Iterator, reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		limits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "minicloud_resolver_limits_total",
			Help: "Questions that reached a limit (the key of its configuration).",
		}, []string{"limit"}),
		confirmed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "minicloud_resolver_confirmations_total",
			Help: "Delegations whose zone was asked for its own name servers (confirmed, failed), and those that had to be left (dropped).",
		}, []string{"result"}),
		minimised: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "minicloud_resolver_minimised_total",
			Help: "Queries that did not tell the whole name (RFC 9156).",
		}),
	}
	for _, c := range []prometheus.Collector{
		m.limits, m.confirmed, m.minimised,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "minicloud_resolver_delegations",
			Help: "Zones whose name servers are remembered.",
		}, func() float64 { return float64(it.delegations.len()) }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
