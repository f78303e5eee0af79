package queue

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the numbers of the whole store: names of queues are the clients'
// to choose, and so make no labels.
type metrics struct {
	enqueued, received, redelivered, acked, dead prometheus.Counter
	waiting                                      prometheus.Gauge
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "minicloud_queue_" + name, Help: help})
	}
	return &metrics{
		enqueued:    counter("enqueued_total", "Messages enqueued and durable."),
		received:    counter("received_total", "Deliveries, the first and later ones."),
		redelivered: counter("redelivered_total", "Deliveries of a message that was delivered before."),
		acked:       counter("acked_total", "Messages acknowledged."),
		dead:        counter("dead_total", "Messages moved to a dead-letter queue."),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "minicloud_queue_waiting_receivers", Help: "Long polls that wait for a message.",
		}),
	}
}

func (m *metrics) register(reg prometheus.Registerer, s *Server) error {
	for _, c := range []prometheus.Collector{m.enqueued, m.received, m.redelivered, m.acked, m.dead, m.waiting, storeCollector{s}} {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}

var (
	messagesDesc = prometheus.NewDesc("minicloud_queue_messages",
		"Messages held: ready, in_flight (received and not acknowledged), or dead (in dead-letter queues).", []string{"state"}, nil)
	queuesDesc = prometheus.NewDesc("minicloud_queue_queues", "Queues, dead-letter queues included.", nil, nil)
	oldestDesc = prometheus.NewDesc("minicloud_queue_oldest_message_age_seconds",
		"Age of the oldest message that is no dead letter; 0 without one.", nil, nil)
	sizeDesc = prometheus.NewDesc("minicloud_queue_disk_bytes", "Size of the data directory's files.", nil, nil)
)

// storeCollector asks the store when it is scraped. Between Open and Close only.
type storeCollector struct{ s *Server }

func (c storeCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- messagesDesc
	ch <- queuesDesc
	ch <- oldestDesc
	ch <- sizeDesc
}

func (c storeCollector) Collect(ch chan<- prometheus.Metric) {
	c.s.mu.RLock()
	defer c.s.mu.RUnlock()
	if !c.s.open || c.s.store.engine.Failure() != nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	var ready, inFlight, dead int
	var oldest time.Time
	stats := c.s.store.Stats()
	for _, q := range stats {
		if isDead(q.Name) {
			dead += q.Ready + q.InFlight
			continue
		}
		ready += q.Ready
		inFlight += q.InFlight
		if !q.Oldest.IsZero() && (oldest.IsZero() || q.Oldest.Before(oldest)) {
			oldest = q.Oldest
		}
	}
	age := 0.0
	if !oldest.IsZero() {
		age = max(0, time.Unix(0, c.s.store.now()).Sub(oldest).Seconds())
	}
	gauge(messagesDesc, float64(ready), "ready")
	gauge(messagesDesc, float64(inFlight), "in_flight")
	gauge(messagesDesc, float64(dead), "dead")
	gauge(queuesDesc, float64(len(stats)))
	gauge(oldestDesc, age)
	gauge(sizeDesc, float64(c.s.store.engine.DB().Metrics().DiskSpaceUsage()))
}
