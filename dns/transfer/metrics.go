package transfer

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	transfers *prometheus.CounterVec
	notifies  *prometheus.CounterVec
}

// newMetrics registers the counters; journal returns the size of all journals.
func newMetrics(reg prometheus.Registerer, journal func() float64) (*metrics, error) {
	m := &metrics{
		transfers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "minicloud_authority_transfers_total",
			Help: "Zone transfers asked for, by kind (axfr, ixfr) and outcome (whole, differences, current, over_tcp, refused, unknown, busy, broken).",
		}, []string{"kind", "outcome"}),
		notifies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "minicloud_authority_notifies_total",
			Help: "Secondaries told of a new serial number, by outcome (acknowledged, refused, unanswered, superseded).",
		}, []string{"outcome"}),
	}
	size := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "minicloud_authority_journal_bytes",
		Help: "Size of the changes that are remembered for IXFR, of all zones.",
	}, journal)
	for _, c := range []prometheus.Collector{m.transfers, m.notifies, size} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) transfer(kind, outcome string) { m.transfers.WithLabelValues(kind, outcome).Inc() }

func (m *metrics) notify(outcome string) { m.notifies.WithLabelValues(outcome).Inc() }
