package httpapi

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
)

// A part is a service that this one depends on. It tells health, metrics and
// the log when the service stops answering and when it is back, once each.
type part struct {
	name   string
	why    string // what the operator reads in /healthz
	health *kit.Health
	logger *slog.Logger
	gauge  prometheus.Gauge
	down   atomic.Bool

	mu sync.Mutex // one change at a time, so that health and log keep their order
}

func newPart(name, why string, health *kit.Health, logger *slog.Logger, up *prometheus.GaugeVec) *part {
	p := &part{name: name, why: why, health: health, logger: logger, gauge: up.WithLabelValues(name)}
	p.gauge.Set(1)
	return p
}

// lost says that a call failed with err.
func (p *part) lost(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.down.Swap(true) {
		p.health.Reduce(p.name, p.why)
		p.gauge.Set(0)
		p.logger.Warn("a service does not answer", "part", p.name, "error", err)
	}
}

// found says that a call was answered.
func (p *part) found() {
	if !p.down.Load() { // nearly always: no lock on the way of a request
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down.Swap(false) {
		p.health.Restore(p.name)
		p.gauge.Set(1)
		p.logger.Info("a service answers again", "part", p.name)
	}
}
