package lb

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// classes are the values of the label "class": the first digit of the status,
// or "aborted" for an answer that did not come to its end.
var classes = [...]string{"aborted", "1xx", "2xx", "3xx", "4xx", "5xx"}

// aborted is the status of a request that has none.
const aborted = 0

func class(status int) int {
	if c := status / 100; c > 0 && c < len(classes) {
		return c
	}
	return aborted
}

// metrics is what the load balancer counts. Every label is bounded by the
// configuration; the children are resolved once, so that a request does
// nothing but add.
type metrics struct {
	reg            prometheus.Registerer
	inFlight       prometheus.Gauge
	requests       *prometheus.CounterVec
	duration       *prometheus.HistogramVec
	targetRequests *prometheus.CounterVec
	retries        *prometheus.CounterVec
	up             *prometheus.GaugeVec
	refused        routeMetrics
}

// newMetrics registers with reg; a second load balancer on one registry is a
// mistake in the wiring, and panics.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		reg: reg,
		inFlight: f.NewGauge(prometheus.GaugeOpts{
			Name: "minicloud_lb_requests_in_flight", Help: "Requests, tunnels included, that are being served."}),
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "minicloud_lb_requests_total", Help: "Requests by route and class of the answer."}, []string{"route", "class"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "minicloud_lb_request_duration_seconds", Help: "Time from the request's head to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"route"}),
		targetRequests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "minicloud_lb_target_requests_total", Help: "Requests given to a target, by class of its answer."}, []string{"target", "class"}),
		retries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "minicloud_lb_retries_total", Help: "Attempts that failed at a target and were repeated."}, []string{"target"}),
		up: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "minicloud_lb_target_up", Help: "1 while the target is healthy."}, []string{"target"}),
	}
	m.refused = m.route("none")
	return m
}

// routeMetrics are the children of one route; "none" is for requests that are
// refused before they have one.
type routeMetrics struct {
	requests [len(classes)]prometheus.Counter
	duration prometheus.Observer
}

func (m *metrics) route(name string) routeMetrics {
	r := routeMetrics{duration: m.duration.WithLabelValues(name)}
	for i, c := range classes {
		r.requests[i] = m.requests.WithLabelValues(name, c)
	}
	return r
}

func (r *routeMetrics) done(status int, took time.Duration) {
	r.requests[class(status)].Inc()
	r.duration.Observe(took.Seconds())
}

// targetMetrics are the children of one target.
type targetMetrics struct {
	requests [len(classes)]prometheus.Counter
	retries  prometheus.Counter
	up       prometheus.Gauge
}

func (m *metrics) target(t *target) targetMetrics {
	promauto.With(m.reg).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "minicloud_lb_target_in_flight", Help: "Requests that the target is working on.",
		ConstLabels: prometheus.Labels{"target": t.address},
	}, func() float64 { return float64(t.inFlight.Load()) })
	tm := targetMetrics{retries: m.retries.WithLabelValues(t.address), up: m.up.WithLabelValues(t.address)}
	for i, c := range classes {
		tm.requests[i] = m.targetRequests.WithLabelValues(t.address, c)
	}
	return tm
}
