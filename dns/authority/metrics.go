package authority

import (
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/dns/server"
)

// newMetrics registers the counters of queries and the serial of each zone.
func newMetrics(zones map[string]*Zone, reg prometheus.Registerer) (*server.Metrics, error) {
	serial := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "minicloud_authority_zone_serial",
		Help: "Serial number of each zone that is served.",
	}, []string{"zone"})
	for name, z := range zones {
		serial.WithLabelValues(name).Set(float64(z.Serial()))
	}
	if err := reg.Register(serial); err != nil {
		return nil, err
	}
	return server.NewMetrics("authority", reg)
}
