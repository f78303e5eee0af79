package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the numbers of one replica; see README.md for their meaning.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	cache    *prometheus.CounterVec
	loads    prometheus.Counter
	refused  prometheus.Counter
	relayed  prometheus.Counter
	consumed *prometheus.CounterVec
	up       *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	const namespace, subsystem = "minicloud", "httpapi"
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(counter("requests_total",
			"Requests answered, by route pattern, method and class of status."), []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "request_seconds",
			Help:    "Time from the router to the end of the answer, by route pattern and method.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"route", "method"}),
		cache: prometheus.NewCounterVec(counter("cache_total",
			"Reads of one spell, by what the cache did: hit, miss, or bypass where it was not asked or did not answer."), []string{"outcome"}),
		loads: prometheus.NewCounter(counter("loads_total",
			"Loads of one spell from the data store; askers that came together share one.")),
		refused: prometheus.NewCounter(counter("cache_sets_refused_total",
			"Loaded spells that the cache did not take: changed, or stored by another, during the load.")),
		relayed: prometheus.NewCounter(counter("outbox_relayed_total",
			"Events that the message queue acknowledged.")),
		consumed: prometheus.NewCounterVec(counter("events_consumed_total",
			"Events taken from the queue: done, failed (it comes back), or poison (left to the dead letters)."), []string{"outcome"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: "dependency_up",
			Help: "1 while a service that this one depends on answers, 0 from its first failure on."}, []string{"service"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.cache, m.loads, m.refused, m.relayed, m.consumed, m.up} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observe counts one answered request.
func (m *metrics) observe(route, method string, status int, took time.Duration) {
	// A client may send any method: only the known ones become labels.
	if !slices.Contains(methods, method) {
		method = "other"
	}
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(max(status, http.StatusOK)/100)+"xx").Inc()
	m.seconds.WithLabelValues(route, method).Observe(took.Seconds())
}
