package datastore

import "github.com/prometheus/client_golang/prometheus"

// metrics are those of one data store. Every label is bounded: classes of
// statements, and the first two characters of a SQLSTATE.
type metrics struct {
	connections  prometheus.Gauge
	refused      *prometheus.CounterVec
	statements   *prometheus.CounterVec
	duration     *prometheus.HistogramVec
	errors       *prometheus.CounterVec
	transactions *prometheus.CounterVec
	lockWait     prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	name := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "minicloud", Subsystem: "datastore", Name: name, Help: help}
	}
	histogram := func(n, help string) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Namespace: "minicloud", Subsystem: "datastore", Name: n, Help: help,
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}
	}
	m := &metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts(name("connections", "Clients that are connected."))),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts(
			name("refused_connections_total", "Connections that were refused, by SQLSTATE.")), []string{"sqlstate"}),
		statements: prometheus.NewCounterVec(prometheus.CounterOpts(
			name("statements_total", "Statements that were run, by class.")), []string{"class"}),
		duration: prometheus.NewHistogramVec(
			histogram("statement_duration_seconds", "Time from the start of a statement to its last row, by class."), []string{"class"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts(
			name("errors_total", "Errors that were answered, by class of SQLSTATE (its first two characters).")), []string{"class"}),
		transactions: prometheus.NewCounterVec(prometheus.CounterOpts(
			name("transactions_total", "Transactions that ended, by outcome: commit, rollback or failed.")), []string{"outcome"}),
		lockWait: prometheus.NewHistogram(histogram("write_lock_wait_seconds", "Time that a writer waited for the writers before it.")),
	}
	for _, c := range []prometheus.Collector{m.connections, m.refused, m.statements, m.duration, m.errors, m.transactions, m.lockWait} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
