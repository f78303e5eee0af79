package authority

import "github.com/prometheus/client_golang/prometheus"

// metrics tell which version of each zone is served. There are as many zones as
// the configuration has.
type metrics struct {
	serial, names, since *prometheus.GaugeVec
	failures             *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "minicloud_authority_" + name, Help: help}, []string{"zone"})
	}
	m := &metrics{
		serial: gauge("zone_serial", "Serial number of each zone that is served."),
		names:  gauge("zone_names", "Names with records in each zone that is served."),
		since:  gauge("zone_loaded_timestamp_seconds", "When each zone was last loaded without an error."),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "minicloud_authority_zone_load_failures_total",
			Help: "How often each zone could not be loaded again, and the version before stayed.",
		}, []string{"zone"}),
	}
	for _, c := range []prometheus.Collector{m.serial, m.names, m.since, m.failures} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// loaded notes that this version is served.
func (m *metrics) loaded(z *Zone) {
	m.serial.WithLabelValues(z.origin).Set(float64(z.Serial()))
	m.names.WithLabelValues(z.origin).Set(float64(z.Names()))
	m.since.WithLabelValues(z.origin).SetToCurrentTime()
	m.failures.WithLabelValues(z.origin) // so that it is 0, and not missing
}
