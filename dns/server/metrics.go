package server

import (
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what a server answered.
type Metrics struct {
	queries *prometheus.CounterVec
	dropped *prometheus.CounterVec
}

// NewMetrics registers the counters as minicloud_<service>_…; a second
// registration with the same registerer is an error.
func NewMetrics(service string, reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "minicloud_" + service + "_queries_total",
			Help: "Queries that were answered, by transport (udp, tcp) and response code.",
		}, []string{"transport", "rcode"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "minicloud_" + service + "_dropped_total",
			Help: "Messages and connections that got no answer, by transport and reason (malformed, overload).",
		}, []string{"transport", "reason"}),
	}
	for _, c := range []prometheus.Collector{m.queries, m.dropped} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) answered(transport string, rcode int) {
	name, known := dns.RcodeToString[rcode]
	if !known {
		name = "other"
	}
	m.queries.WithLabelValues(transport, name).Inc()
}

func (m *Metrics) drop(transport, reason string) {
	m.dropped.WithLabelValues(transport, reason).Inc()
}
