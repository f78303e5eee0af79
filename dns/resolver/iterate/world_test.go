package iterate

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"minicloud.internal/dns/resolver/cache"
	"minicloud.internal/dns/resolver/exchange"
	"minicloud.internal/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is a tree of name servers on loopback, each at an address of its own
// that only routes and a host table lead to.
type world struct {
	t       testing.TB
	hosts   kit.Hosts
	routes  map[netip.Addr]string
	hints   string
	clock   *clock
	store   Store
	limits  Limits
	timeout time.Duration // of one query

	mu   sync.Mutex
	seen []string // "address name type" of each query
}

func newWorld(t testing.TB) *world {
	c := new(clock)
	c.at.Store(time.Unix(1_800_000_000, 0).UnixNano())
	limits := DefaultLimits()
	// So long that no slow machine asks anything twice; tests with silent name
	// servers set less.
	limits.ResolveTimeout = 5 * time.Minute
	return &world{
		t: t, routes: map[netip.Addr]string{}, hints: ". 60 IN NS a.root.\na.root. 60 IN A 192.0.2.1\n",
		clock: c, store: newStore(c), limits: limits, timeout: time.Minute,
	}
}

func newStore(c *clock) Store {
	return cache.New(cache.Config{
		MaxBytes: 1 << 20, MaxTTL: 24 * time.Hour, MaxNegativeTTL: 15 * time.Minute, FailureTTL: time.Second, Now: c.now,
	})
}

// A clock stands still until it is moved.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time           { return time.Unix(0, c.at.Load()) }
func (c *clock) forward(by time.Duration) { c.at.Add(int64(by)) }

// A reply answers one query; each message that it returns is sent.
type reply func(q *dns.Msg, network string) []*dns.Msg

// serve puts a name server at an address and returns how many queries it got.
func (w *world) serve(addr string, f reply) *atomic.Int64 {
	w.t.Helper()
	return w.handle(addr, func(out dns.ResponseWriter, q *dns.Msg) {
		for _, m := range f(q, out.LocalAddr().Network()) {
			if out.LocalAddr().Network() == "udp" && m.Len() > 1232 {
				m = new(dns.Msg).SetReply(q)
				m.Truncated = true
			}
			m.Compress = true
			_ = out.WriteMsg(m)
		}
	})
}

func (w *world) handle(addr string, f dns.HandlerFunc) *atomic.Int64 {
	w.t.Helper()
	queries := new(atomic.Int64)
	ln, pc, err := kit.ListenDNS("127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	handler := dns.HandlerFunc(func(out dns.ResponseWriter, q *dns.Msg) {
		queries.Add(1)
		w.mu.Lock()
		w.seen = append(w.seen, fmt.Sprintf("%s %s %s", addr, dns.CanonicalName(q.Question[0].Name), dns.Type(q.Question[0].Qtype)))
		w.mu.Unlock()
		f(out, q)
	})
	var running sync.WaitGroup
	w.t.Cleanup(running.Wait) // after the shutdowns, which come behind
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: ln, Handler: handler}} {
		ready := make(chan struct{})
		s.NotifyStartedFunc = func() { close(ready) }
		running.Go(func() { _ = s.ActivateAndServe() })
		<-ready
		w.t.Cleanup(func() { _ = s.Shutdown() })
	}
	w.route(addr, ln.Addr().String())
	return queries
}

func (w *world) route(addr, real string) {
	host := "host-" + strings.ReplaceAll(addr, ":", "-") + ":53"
	w.routes[netip.MustParseAddr(addr)] = host
	w.hosts.Set(host, real)
}

// silent puts a name server at an address that takes queries and never answers.
func (w *world) silent(addr string) {
	w.t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = pc.Close() })
	w.route(addr, pc.LocalAddr().String())
}

// zone serves a zone at an address.
func (w *world) zone(addr, origin, records string) *atomic.Int64 {
	w.t.Helper()
	return w.serve(addr, zoneReply(w.t, origin, records))
}

// queries returns what the servers were asked since the last call.
func (w *world) queries() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

// iterator builds one that begins at this world's root.
func (w *world) iterator() *Iterator {
	w.t.Helper()
	settings := exchange.DefaultSettings()
	settings.QueryTimeout = w.timeout
	x, err := exchange.New(exchange.Config{Settings: settings, Routes: w.routes, Dial: w.hosts.Dial, Now: w.clock.now})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(x.Close)
	hints, err := ReadHints(w.hints, "hints")
	if err != nil {
		w.t.Fatal(err)
	}
	it, err := New(Config{Limits: w.limits, Hints: hints, Exchanger: x, Store: w.store, Now: w.clock.now})
	if err != nil {
		w.t.Fatal(err)
	}
	return it
}

// ask resolves "name TYPE" and writes what came of it on one line.
func ask(it *Iterator, asked string, opts Options) string {
	name, qtype, _ := strings.Cut(asked, " ")
	chain, err := it.Resolve(context.Background(), name, dns.StringToType[qtype], opts)
	if err != nil {
		return dns.RcodeToString[err.Rcode] + ": " + err.Sentence
	}
	return brief(chain)
}

// brief writes an answer on one line: RCODE | answer.
func brief(chain []cache.Entry) string {
	rcode, rrs := "NOERROR", []string{}
	for _, e := range chain {
		switch e.Kind {
		case cache.NoName:
			rcode = "NXDOMAIN"
		case cache.NoType:
			rcode = "NODATA"
		}
		for _, rr := range e.Records {
			h := rr.Header()
			rrs = append(rrs, strings.TrimSpace(fmt.Sprintf("%s %d %s %s", dns.CanonicalName(h.Name), e.TTL, dns.Type(h.Rrtype), strings.TrimPrefix(rr.String(), h.String()))))
		}
	}
	return strings.TrimRight(rcode+" | "+strings.Join(rrs, "; "), " |")
}

// explain writes a trace on lines, for a test that fails.
func explain(t *Trace) string {
	var b bytes.Buffer
	steps, _ := t.Steps()
	for _, s := range steps {
		fmt.Fprintf(&b, "%*s%s %s %s @%s %s: %s -> %s %s %v\n", 2*s.Depth, "", s.Kind, s.Name, s.Type, s.Address, s.Zone, s.Why, s.Outcome, s.Reason, s.Notes)
	}
	return b.String()
}

// rcodeReply answers every query with a response code.
func rcodeReply(rcode int) reply {
	return func(q *dns.Msg, _ string) []*dns.Msg {
		m := new(dns.Msg)
		return []*dns.Msg{m.SetRcode(q, rcode)}
	}
}

// rootOf delegates zones: "com 192.0.2.2 192.0.2.3" has the servers ns0.com. and
// ns1.com. at those addresses.
func rootOf(delegations ...string) string {
	var text strings.Builder
	for _, d := range delegations {
		parts := strings.Fields(d)
		for i, addr := range parts[1:] {
			qtype := "A"
			if strings.Contains(addr, ":") {
				qtype = "AAAA"
			}
			fmt.Fprintf(&text, "%s. IN NS ns%d.%s.\nns%d.%s. IN %s %s\n", parts[0], i, parts[0], i, parts[0], qtype, addr)
		}
	}
	return text.String()
}

func newRR(t testing.TB, s string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// A testZone answers as RFC 1034, section 4.3.2 has it, without wildcards. It
// takes nothing from the code that it tests.
type testZone struct {
	origin string
	soa    dns.RR
	sets   map[string]map[uint16][]dns.RR // nil: exists for what is below it
}

// zoneReply serves a zone whose SOA and NS records are given.
func zoneReply(t testing.TB, origin, records string) reply {
	t.Helper()
	z := &testZone{origin: origin, sets: map[string]map[uint16][]dns.RR{}}
	text := "$TTL 300\n@ IN SOA ns.outside. h.outside. 1 1 1 1 60\n@ IN NS ns.outside.\n" + records
	if origin == "." {
		text += "ns.outside. IN A 192.0.2.1\n"
	}
	parser := dns.NewZoneParser(strings.NewReader(text), origin, origin)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		h := rr.Header()
		name := dns.CanonicalName(h.Name)
		if z.sets[name] == nil {
			z.sets[name] = map[uint16][]dns.RR{}
		}
		z.sets[name][h.Rrtype] = append(z.sets[name][h.Rrtype], rr)
		for up := name; up != origin; {
			up = oneUp(up)
			if _, ok := z.sets[up]; !ok {
				z.sets[up] = nil
			}
		}
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	z.soa = z.sets[origin][dns.TypeSOA][0]
	return func(q *dns.Msg, _ string) []*dns.Msg {
		m := new(dns.Msg)
		m.SetReply(q)
		z.answer(m, dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype)
		if q.IsEdns0() != nil {
			m.SetEdns0(1232, false)
		}
		return []*dns.Msg{m}
	}
}

// oneUp cuts off a name's first label, in which there are no escapes.
func oneUp(name string) string {
	_, up, _ := strings.Cut(name, ".")
	return cmp.Or(up, ".")
}

func (z *testZone) answer(m *dns.Msg, name string, qtype uint16) {
	if !dns.IsSubDomain(z.origin, name) {
		if len(m.Answer) == 0 {
			m.Rcode = dns.RcodeRefused
		}
		return
	}
	var above []string // from the zone's head down to the name
	for up := name; ; up = oneUp(up) {
		above = append(above, up)
		if up == z.origin {
			break
		}
	}
	slices.Reverse(above)
	for _, up := range above {
		sets := z.sets[up]
		if ns := sets[dns.TypeNS]; up != z.origin && len(ns) > 0 && (up != name || qtype != dns.TypeDS) {
			m.Ns = ns
			for _, rr := range ns {
				target := z.sets[dns.CanonicalName(rr.(*dns.NS).Ns)]
				m.Extra = append(append(m.Extra, target[dns.TypeA]...), target[dns.TypeAAAA]...)
			}
			return
		}
		if dname := sets[dns.TypeDNAME]; up != name && len(dname) > 0 {
			m.Authoritative = true
			target := strings.TrimSuffix(name, up) + strings.TrimPrefix(dname[0].(*dns.DNAME).Target, ".")
			m.Answer = append(m.Answer, dname...)
			if len(target) > 254 { // one octet less than on the wire, without escapes
				m.Rcode = dns.RcodeYXDomain
				return
			}
			m.Answer = append(m.Answer, &dns.CNAME{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 300}, Target: target})
			if len(m.Answer) < 40 {
				z.answer(m, target, qtype)
			}
			return
		}
	}
	m.Authoritative = true
	sets, exists := z.sets[name]
	switch {
	case !exists:
		m.Rcode, m.Ns = dns.RcodeNameError, []dns.RR{z.soa}
	case qtype == dns.TypeANY:
		for _, set := range sets {
			m.Answer = append(m.Answer, set...)
		}
	case len(sets[qtype]) > 0:
		m.Answer = append(m.Answer, sets[qtype]...)
	case len(sets[dns.TypeCNAME]) > 0:
		m.Answer = append(m.Answer, sets[dns.TypeCNAME]...)
		if len(m.Answer) < 40 {
			z.answer(m, dns.CanonicalName(sets[dns.TypeCNAME][0].(*dns.CNAME).Target), qtype)
		}
	default:
		m.Ns = []dns.RR{z.soa}
	}
}
