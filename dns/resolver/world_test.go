package resolver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"minicloud.internal/dns/authority"
	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const configs = "../../configs"

// A world is a tree of name servers on loopback, each at an address of its own
// that only the resolver's routes and host table lead to.
type world struct {
	t      testing.TB
	hosts  kit.Hosts
	routes map[string]string
	real   map[string]string // where each is on loopback
	hints  string
}

func newWorld(t testing.TB) *world {
	return &world{t: t, routes: map[string]string{}, real: map[string]string{}, hints: ". 60 IN NS a.root.\na.root. 60 IN A 192.0.2.1\n"}
}

// A reply answers one query; each message that it returns is sent.
type reply func(q *dns.Msg, network string) []*dns.Msg

// serve puts a name server at an address and returns how many queries it got.
func (w *world) serve(addr string, f reply) *atomic.Int64 {
	w.t.Helper()
	queries := new(atomic.Int64)
	ln, pc, err := kit.ListenDNS("127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	handler := dns.HandlerFunc(func(out dns.ResponseWriter, q *dns.Msg) {
		queries.Add(1)
		for _, m := range f(q, out.LocalAddr().Network()) {
			_ = out.WriteMsg(m)
		}
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
	w.routes[addr] = "host-" + addr + ":53"
	if strings.Contains(addr, ":") {
		w.routes[addr] = "host-six:53"
	}
	w.hosts.Set(w.routes[addr], real)
	w.real[addr] = real
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

// zone serves a zone at an address. The SOA and NS records at its head are given.
func (w *world) zone(addr, origin, records string) *atomic.Int64 {
	w.t.Helper()
	return w.serve(addr, zoneReply(w.t, origin, records))
}

func zoneReply(t testing.TB, origin, records string) reply {
	t.Helper()
	z, err := authority.ReadZone(origin, strings.NewReader("$TTL 300\n@ IN SOA ns.outside. h.outside. 1 1 1 1 60\n@ IN NS ns.outside.\n"+
		map[bool]string{true: "ns.outside. IN A 192.0.2.1\n"}[origin == "."]+records), origin)
	if err != nil {
		t.Fatal(err)
	}
	return func(q *dns.Msg, _ string) []*dns.Msg {
		m := new(dns.Msg)
		m.SetReply(q)
		r := z.Lookup(q.Question[0].Name, q.Question[0].Qtype)
		m.Rcode, m.Authoritative, m.Answer, m.Ns, m.Extra = r.Rcode, r.Authoritative, r.Answer, r.Authority, r.Additional
		return []*dns.Msg{m}
	}
}

// rcodeReply answers every query with a response code.
func rcodeReply(rcode int) reply {
	return func(q *dns.Msg, _ string) []*dns.Msg {
		m := new(dns.Msg)
		return []*dns.Msg{m.SetRcode(q, rcode)}
	}
}

// resolver builds one that begins at this world's root.
func (w *world) resolver(change func(*Config)) *built {
	w.t.Helper()
	return w.resolverAt(time.Now, change)
}

// patient sets timeouts so long that no slow machine asks anything twice.
func patient(cfg *Config) {
	cfg.QueryTimeout, cfg.ForwardTimeout, cfg.ResolveTimeout = time.Minute, time.Minute, 5*time.Minute
}

func (w *world) resolverAt(now func() time.Time, change func(*Config)) *built {
	w.t.Helper()
	cfg := DefaultConfig()
	cfg.Dir = w.t.TempDir()
	cfg.Hints = "hints"
	if err := os.WriteFile(cfg.Path(cfg.Hints), []byte(w.hints), 0o600); err != nil {
		w.t.Fatal(err)
	}
	cfg.Routes = w.routes
	cfg.Dial = w.hosts.Dial
	patient(&cfg)
	if change != nil {
		change(&cfg)
	}
	return build(w.t, cfg, now)
}

// A built resolver has its metrics at hand.
type built struct {
	*Resolver
	registry *prometheus.Registry
}

// clocked tells the fast path the time of the resolver's clock, where the server
// tells that of the machine.
type clocked struct{ *Resolver }

func (c clocked) AnswerFast(q *server.FastQuery, msg []byte, reply *server.FastReply) ([]byte, bool) {
	q.Now = c.now().UnixNano()
	return c.Resolver.AnswerFast(q, msg, reply)
}

// build makes a resolver that the tests ask without sockets.
func build(t testing.TB, cfg Config, now func() time.Time) *built {
	t.Helper()
	registry := prometheus.NewRegistry()
	r, err := newResolver(cfg, slog.New(slog.DiscardHandler), registry, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.stop(); r.flights.end(); r.exchanger.Close() })
	r.server.Handler = clocked{r}
	return &built{r, registry}
}

// shipped starts the three name servers of the cloud on its own configuration,
// and a resolver on its own.
func shipped(t testing.TB, now func() time.Time, change func(*Config)) *built {
	t.Helper()
	hosts := new(kit.Hosts)
	for _, name := range []string{"dns-root", "dns-com", "dns-example-com"} {
		cfg := authority.DefaultConfig()
		if err := kit.LoadConfig(filepath.Join(configs, name+".toml"), &cfg); err != nil {
			t.Fatal(err)
		}
		s, err := authority.New(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		hosts.Set(name+":53", serving(t, s.Serve))
	}
	cfg := DefaultConfig()
	if err := kit.LoadConfig(filepath.Join(configs, "dns-resolver.toml"), &cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Dial = hosts.Dial
	patient(&cfg)
	if change != nil {
		change(&cfg)
	}
	return build(t, cfg, now)
}

// serving runs a server on a free port until the test ends.
func serving(t testing.TB, serve func(context.Context, net.Listener, net.PacketConn) error) (address string) {
	t.Helper()
	ln, pc, err := kit.ListenDNS("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ln, pc) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// query puts a question to the resolver as a client on loopback does.
func query(t testing.TB, r *built, question string) *dns.Msg {
	t.Helper()
	return queryFrom(t, r, question, "127.0.0.1", true)
}

func queryFrom(t testing.TB, r *built, question, source string, recursion bool) *dns.Msg {
	t.Helper()
	name, qtype, _ := strings.Cut(question, " ")
	q := new(dns.Msg)
	q.SetQuestion(name, dns.StringToType[qtype])
	q.RecursionDesired = recursion
	return exchanged(t, r, q, source)
}

// queryType asks for a type that has no name.
func queryType(t testing.TB, r *built, name string, qtype uint16) *dns.Msg {
	t.Helper()
	return exchanged(t, r, new(dns.Msg).SetQuestion(name, qtype), "127.0.0.1")
}

func exchanged(t testing.TB, r *built, q *dns.Msg, source string) *dns.Msg {
	t.Helper()
	q.SetEdns0(1232, false)
	wire, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(r.server.Respond(context.Background(), wire, netip.AddrPortFrom(netip.MustParseAddr(source), 4444), "udp")); err != nil {
		t.Fatal(err)
	}
	if !m.RecursionAvailable || m.Authoritative || m.Id != q.Id {
		t.Errorf("header of the answer: %v", m)
	}
	return m
}

// brief writes an answer on one line: RCODE | answer | authority.
func brief(m *dns.Msg) string {
	parts := []string{dns.RcodeToString[m.Rcode]}
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		var rrs []string
		for _, rr := range section {
			h := rr.Header()
			data := strings.TrimPrefix(rr.String(), h.String())
			if h.Rrtype == dns.TypeSOA {
				data = ""
			}
			rrs = append(rrs, strings.TrimSpace(fmt.Sprintf("%s %d %s %s", h.Name, h.Ttl, dns.Type(h.Rrtype), data)))
		}
		parts = append(parts, strings.Join(rrs, "; "))
	}
	return strings.TrimRight(strings.Join(parts, " | "), " |")
}

// explained returns the code and sentence of the extended error.
func explained(m *dns.Msg) (uint16, string) {
	for _, option := range m.IsEdns0().Option {
		if ede, ok := option.(*dns.EDNS0_EDE); ok {
			return ede.InfoCode, ede.ExtraText
		}
	}
	return 0, ""
}

// A clock stands still until it is moved.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time           { return time.Unix(0, c.at.Load()) }
func (c *clock) forward(by time.Duration) { c.at.Add(int64(by)) }

func stoppedClock() *clock {
	c := new(clock)
	c.at.Store(time.Unix(1_800_000_000, 0).UnixNano())
	return c
}
