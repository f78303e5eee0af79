package server

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// The transports, as labels have them and as [Query.Transport] has.
const (
	transportUDP   = "udp"
	transportTCP   = "tcp"
	transportTLS   = "tls"
	transportHTTPS = "https"
)

var (
	transports = [...]string{transportUDP, transportTCP, transportTLS, transportHTTPS}
	reasons    = [...]string{reasonMalformed, reasonOverload}
)

const (
	reasonMalformed = "malformed"
	reasonOverload  = "overload"
	rcodeOther      = 24 // counts every code above BADCOOKIE (23)
)

// Metrics counts what a server answered. Each loop counts for itself, so that
// no two cores write the same memory; the sum is taken when it is asked for.
type Metrics struct {
	queries, dropped, limited, connections *prometheus.Desc

	shared counters // of everything but the loops
	open   [len(transports)]atomic.Int64

	mu    sync.Mutex
	loops []*counters
}

// counters is one goroutine's, or many's without a hot path.
type counters struct {
	queries [len(transports)][rcodeOther + 1]atomic.Uint64
	dropped [len(transports)][len(reasons)]atomic.Uint64
	limited [2]atomic.Uint64 // by action: truncated, dropped
}

// NewMetrics registers the counters as minicloud_<service>_…; a second
// registration with the same registerer is an error.
func NewMetrics(service string, reg prometheus.Registerer) (*Metrics, error) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("minicloud_"+service+"_"+name, help, labels, nil)
	}
	m := &Metrics{
		queries:     desc("queries_total", "Queries that were answered, by transport (udp, tcp, tls, https) and response code.", "transport", "rcode"),
		dropped:     desc("dropped_total", "Messages and connections that got no answer, by transport and reason (malformed, overload).", "transport", "reason"),
		limited:     desc("rate_limited_total", "Answers over the rate limit, by action: truncated (the client may ask over TCP), dropped.", "action"),
		connections: desc("connections", "Connections that are open, by transport (tcp, tls, https).", "transport"),
	}
	return m, reg.Register(m)
}

// loop returns counters for one loop.
func (m *Metrics) loop() *counters {
	c := new(counters)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loops = append(m.loops, c)
	return c
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.queries, m.dropped, m.limited, m.connections} {
		out <- d
	}
}

// Collect implements [prometheus.Collector]. What was never counted is left
// out, but for the rate limit and the connections.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for t, transport := range transports {
		for code := range rcodeOther + 1 {
			if n := m.sum(func(c *counters) *atomic.Uint64 { return &c.queries[t][code] }); n > 0 {
				counter(m.queries, n, transport, rcodeLabel(code))
			}
		}
		for r, reason := range reasons {
			if n := m.sum(func(c *counters) *atomic.Uint64 { return &c.dropped[t][r] }); n > 0 {
				counter(m.dropped, n, transport, reason)
			}
		}
		if transport != transportUDP {
			out <- prometheus.MustNewConstMetric(m.connections, prometheus.GaugeValue, float64(m.open[t].Load()), transport)
		}
	}
	counter(m.limited, m.sum(func(c *counters) *atomic.Uint64 { return &c.limited[0] }), "truncated")
	counter(m.limited, m.sum(func(c *counters) *atomic.Uint64 { return &c.limited[1] }), "dropped")
}

func (m *Metrics) sum(of func(*counters) *atomic.Uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := of(&m.shared).Load()
	for _, c := range m.loops {
		n += of(c).Load()
	}
	return n
}

// RcodeName returns the name of a response code, and "RCODE n" for one that has
// none. It is for what a header and an OPT record say: 16 is BADVERS, while as the
// error of a TSIG record, and to the library, it is BADSIG.
func RcodeName(code int) string {
	if code == dns.RcodeBadVers {
		return "BADVERS"
	}
	if name, known := dns.RcodeToString[code]; known {
		return name
	}
	return "RCODE " + strconv.Itoa(code)
}

// rcodeLabel is [RcodeName] for a label, whose values are bounded.
func rcodeLabel(code int) string {
	if _, known := dns.RcodeToString[code]; known && code < rcodeOther {
		return RcodeName(code)
	}
	return "other"
}

func transportIndex(transport string) int {
	for i, t := range transports {
		if t == transport {
			return i
		}
	}
	panic("server: unknown transport " + transport)
}

func (m *Metrics) answered(transport string, rcode int) {
	m.shared.queries[transportIndex(transport)][min(rcode, rcodeOther)].Add(1)
}

func (m *Metrics) drop(transport, reason string) {
	i := 0
	if reason == reasonOverload {
		i = 1
	}
	m.shared.dropped[transportIndex(transport)][i].Add(1)
}

// limit counts what the rate limit did.
func (c *counters) limit(a action) {
	switch a {
	case slip:
		c.limited[0].Add(1)
	case shed:
		c.limited[1].Add(1)
	}
}
