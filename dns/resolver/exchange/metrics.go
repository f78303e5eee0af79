package exchange

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	queries   *prometheus.CounterVec
	rtt       *prometheus.HistogramVec
	ignored   prometheus.Counter
	malformed prometheus.Counter
	truncated prometheus.Counter
	flattened prometheus.Counter
	fallbacks prometheus.Counter
	resent    prometheus.Counter
	suspected prometheus.Counter
}

func newMetrics(x *Exchanger, reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "minicloud_resolver_upstream_" + name, Help: help})
	}
	gauge := func(name, help string, f func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "minicloud_resolver_upstream_" + name, Help: help},
			func() float64 { return float64(f()) })
	}
	m := &metrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "minicloud_resolver_upstream_queries_total",
			Help: "Questions to name servers, by outcome (answer, referral, refused, lame, timeout, unreachable, malformed, busy, unaskable).",
		}, []string{"outcome"}),
		rtt: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "minicloud_resolver_upstream_rtt_seconds",
			Help:    "Time from a question to its answer, by transport, without the time to connect.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"transport"}),
		ignored:   counter("ignored_total", "Messages from name servers that did not belong to the question: forged or late."),
		malformed: counter("malformed_total", "Answers of name servers that cannot be read."),
		truncated: counter("truncated_total", "Answers that did not fit into a datagram and were asked for again over TCP."),
		flattened: counter("case_mismatch_total", "Answers that did not keep the capitals of the question."),
		fallbacks: counter("edns_fallback_total", "Questions that a name server only took without EDNS."),
		resent:    counter("resent_total", "Messages sent again because no answer came."),
		suspected: counter("spoofing_suspected_total", "Questions put over TCP because too many messages did not belong to them."),
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.queries, m.rtt, m.ignored, m.malformed, m.truncated, m.flattened, m.fallbacks, m.resent, m.suspected,
		gauge("in_flight", "Questions to name servers under way.", func() int { return len(x.slots) }),
		gauge("servers", "Name servers of which something is remembered.", x.servers.len),
	} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}
