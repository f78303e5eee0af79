package lb

import (
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/lb/meter"
	"minicloud.internal/lb/upstream"
)

// noRoute is the label of what was refused before it had a route. No route is
// called so: the name of each has a slash in it, or is "default".
const noRoute = "none"

// A collector reads, at each scrape, what the engine, the routes and the targets
// count by themselves. So a request adds to plain atomic numbers and no more, and
// what is gone from the configuration is gone from the metrics. Every label is
// bounded by the configuration.
type collector struct {
	lb *LoadBalancer

	requests, duration, routeIn, routeOut, inFlight *prometheus.Desc

	targetRequests, targetDuration, targetIn, targetOut,
	targetInFlight, targetUp, targetDraining, targetIdle, retries *prometheus.Desc

	queue, retriesDenied *prometheus.Desc

	clients, accepted, upstreamConnections *prometheus.Desc

	linesDropped, reloads, reloaded *prometheus.Desc
}

func newCollector(lb *LoadBalancer) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("minicloud_lb_"+name, help, labels, nil)
	}
	return &collector{
		lb:       lb,
		requests: desc("requests_total", "Requests by route and class of the answer.", "route", "class"),
		duration: desc("request_duration_seconds", "Time from the request's head to the end of its answer.", "route"),
		routeIn:  desc("request_body_bytes_total", "Bytes of the bodies of requests.", "route"),
		routeOut: desc("response_body_bytes_total", "Bytes of the bodies of answers.", "route"),
		inFlight: desc("requests_in_flight", "Requests, tunnels included, that are being served.", "route"),

		targetRequests: desc("target_requests_total", "Requests given to a target, by class of its answer.", "target", "class"),
		targetDuration: desc("target_request_duration_seconds", "Time from giving a request to a target to the end of its answer.", "target"),
		targetIn:       desc("target_request_body_bytes_total", "Bytes of the bodies that a target was sent.", "target"),
		targetOut:      desc("target_response_body_bytes_total", "Bytes of the bodies that a target answered with.", "target"),
		targetInFlight: desc("target_in_flight", "Requests that the target is working on.", "target"),
		targetUp:       desc("target_up", "1 while the target is healthy.", "target"),
		targetDraining: desc("target_draining", "1 while the target is kept from new requests.", "target"),
		targetIdle:     desc("target_idle_connections", "Connections to the target that nobody uses.", "target"),
		retries:        desc("retries_total", "Attempts that failed at a target and were repeated.", "target"),

		queue:         desc("queue_waiting", "Requests that wait for a free place at a target of the pool.", "pool"),
		retriesDenied: desc("retries_denied_total", "Retries that the budget of the pool did not allow.", "pool"),

		clients:             desc("client_connections", "Connections of clients that are open."),
		accepted:            desc("client_connections_total", "Connections of clients that were accepted."),
		upstreamConnections: desc("upstream_connections_total", "Connections that requests were given, by where they come from.", "from"),

		linesDropped: desc("access_log_dropped_lines_total", "Lines of the access log that came too fast to be written."),
		reloads:      desc("reloads_total", "Reloads of the configuration, by what came of them.", "result"),
		reloaded:     desc("configuration_loaded_timestamp_seconds", "When the configuration in force was loaded, Unix time."),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.requests, c.duration, c.routeIn, c.routeOut, c.inFlight,
		c.targetRequests, c.targetDuration, c.targetIn, c.targetOut,
		c.targetInFlight, c.targetUp, c.targetDraining, c.targetIdle, c.retries,
		c.queue, c.retriesDenied,
		c.clients, c.accepted, c.upstreamConnections,
		c.linesDropped, c.reloads, c.reloaded,
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s, out := c.lb.now.Load(), metricsOut(ch)
	e := c.lb.engine
	out.requests(&e.Refused, noRoute, c.requests, c.duration, c.routeIn, c.routeOut)
	for _, r := range s.table.Routes() {
		out.requests(r.Requests, r.Name, c.requests, c.duration, c.routeIn, c.routeOut)
		out.gauge(c.inFlight, float64(r.Requests.InFlight.Load()), r.Name)
	}
	for _, t := range c.lb.set.Targets() {
		a := t.Address()
		out.requests(t.Meter, a, c.targetRequests, c.targetDuration, c.targetIn, c.targetOut)
		out.gauge(c.targetInFlight, float64(t.InFlight()), a)
		out.gauge(c.targetUp, one(t.State() == upstream.Up), a)
		out.gauge(c.targetDraining, one(t.Draining()), a)
		out.gauge(c.targetIdle, float64(t.Idle.Len()), a)
		out.counter(c.retries, t.Retries.Load(), a)
	}
	for _, p := range s.pools {
		out.gauge(c.queue, float64(p.Waiting()), p.Name())
		out.counter(c.retriesDenied, p.RetriesDenied(), p.Name())
	}
	out.gauge(c.clients, float64(e.Connections()))
	out.counter(c.accepted, e.Accepted.Load())
	out.counter(c.upstreamConnections, e.UpstreamOpened.Load(), "opened")
	out.counter(c.upstreamConnections, e.UpstreamReused.Load(), "reused")
	out.counter(c.linesDropped, c.lb.access.dropped.Load())
	out.counter(c.reloads, c.lb.reloads.good.Load(), "good")
	out.counter(c.reloads, c.lb.reloads.failed.Load(), "failed")
	out.gauge(c.reloaded, float64(s.since.UnixNano())/1e9)
}

// metricsOut is where a scrape gets its numbers.
type metricsOut chan<- prometheus.Metric

func (out metricsOut) gauge(d *prometheus.Desc, value float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (out metricsOut) counter(d *prometheus.Desc, value uint64, labels ...string) {
	out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
}

// requests tells what was counted of a route or a target.
func (out metricsOut) requests(m *meter.Requests, label string, requests, duration, in, answered *prometheus.Desc) {
	for i, class := range meter.Classes {
		out.counter(requests, m.Class(i), label, class)
	}
	count, sum, cumulative := m.Duration.Read()
	buckets := make(map[float64]uint64, len(cumulative))
	for i, n := range cumulative {
		buckets[meter.Bounds[i].Seconds()] = n
	}
	out <- prometheus.MustNewConstHistogram(duration, count, sum.Seconds(), buckets, label)
	out.counter(in, m.BytesIn.Load(), label)
	out.counter(answered, m.BytesOut.Load(), label)
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
