package transfer

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fixture is a zone of records as they come from the wire.
type fixture []dns.RR

func (f fixture) Origin() string        { return dns.CanonicalName(f[0].Header().Name) }
func (f fixture) Serial() uint32        { return f[0].(*dns.SOA).Serial }
func (f fixture) All() iter.Seq[dns.RR] { return slices.Values(f) }

// zone returns example.com. with a serial number and further records.
func zone(t testing.TB, serial uint32, records ...string) fixture {
	t.Helper()
	text := fmt.Sprintf("$ORIGIN example.com.\n$TTL 300\n@ SOA ns hostmaster %d 86400 7200 604800 60\n@ NS ns\nns A 127.0.0.1\n%s\n", serial, strings.Join(records, "\n"))
	p := dns.NewZoneParser(strings.NewReader(text), "", "")
	var f fixture
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		f = append(f, wired(t, rr))
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return f
}

// wired returns a record as it comes from the wire.
func wired(t testing.TB, rr dns.RR) dns.RR {
	t.Helper()
	buf := make([]byte, dns.MaxMsgSize)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := dns.UnpackRR(buf[:n], 0)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// many returns so many records, a%d from 0 on, with an address from the seed.
func many(count, seed int) (records []string) {
	for i := range count {
		records = append(records, fmt.Sprintf("a%d A 10.%d.%d.%d", i, seed%256, i/256%256, i%256))
	}
	return records
}

const testSecret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0IQ=="

func testKey(t testing.TB, name string) Key {
	t.Helper()
	k := Key{Name: name}
	if err := k.Secret.UnmarshalText([]byte(testSecret)); err != nil {
		t.Fatal(err)
	}
	return k
}

// A log collects what is logged.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// newTransfers returns Transfers with the key "transfer." and what it logs.
func newTransfers(t testing.TB, dial kit.DialFunc, change func(*Config)) (*Transfers, *log) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Keys = []Key{testKey(t, "transfer.")}
	if change != nil {
		change(&cfg)
	}
	l := &log{}
	transfers, err := New(cfg, dial, slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return transfers, l
}

var loopback = Policy{AllowTransfer: []string{"127.0.0.0/8", "::1"}}

func publish(t testing.TB, transfers *Transfers, z Zone, p Policy) {
	t.Helper()
	if err := transfers.Publish(z, p); err != nil {
		t.Fatal(err)
	}
}

// query returns a question for example.com. from 127.0.0.1.
func query(qtype uint16, serial uint32, transport string) *server.Query {
	return &server.Query{
		Name: "example.com.", Type: qtype, Serial: serial, Transport: transport,
		Question: dns.Question{Name: "Example.com.", Qtype: qtype, Qclass: dns.ClassINET},
		Source:   netip.MustParseAddrPort("127.0.0.1:4711"),
	}
}

// collect answers a question and returns the messages as they arrive.
func collect(t testing.TB, transfers *Transfers, q *server.Query) (messages []*dns.Msg) {
	t.Helper()
	err := transfers.Transfer(t.Context(), q, func(m *dns.Msg) error {
		wire, err := m.Pack()
		if err != nil {
			return err
		}
		arrived := new(dns.Msg)
		if err := arrived.Unpack(wire); err != nil {
			return err
		}
		messages = append(messages, arrived)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

func answers(messages []*dns.Msg) (records []dns.RR) {
	for _, m := range messages {
		records = append(records, m.Answer...)
	}
	return records
}

func texts(records []dns.RR) (lines []string) {
	for _, rr := range records {
		lines = append(lines, rr.String())
	}
	return lines
}

func sorted(records []dns.RR) []string {
	lines := texts(records)
	slices.Sort(lines)
	return lines
}

// apply returns what a secondary has after an IXFR answer (RFC 1995, section 4).
func apply(old, answer []dns.RR) ([]string, error) {
	if len(answer) == 1 {
		return sorted(old), nil
	}
	last := answer[0].(*dns.SOA)
	if _, isDelta := answer[1].(*dns.SOA); !isDelta {
		return sorted(answer[:len(answer)-1]), nil
	}
	have := map[string]bool{}
	serial := uint32(0)
	for _, rr := range old {
		have[rr.String()] = true
		if soa, ok := rr.(*dns.SOA); ok {
			serial = soa.Serial
		}
	}
	adding := true
	for _, rr := range answer[1 : len(answer)-1] {
		if soa, ok := rr.(*dns.SOA); ok {
			if adding = !adding; !adding && soa.Serial != serial {
				return nil, fmt.Errorf("a delta from %d comes after %d", soa.Serial, serial)
			}
			serial = soa.Serial
		}
		if line := rr.String(); adding == have[line] {
			return nil, fmt.Errorf("adding is %v and the record there is %v: %s", adding, have[line], line)
		} else if adding {
			have[line] = true
		} else {
			delete(have, line)
		}
	}
	if final, ok := answer[len(answer)-1].(*dns.SOA); !ok || !adding || serial != last.Serial || final.Serial != last.Serial {
		return nil, fmt.Errorf("the answer ends at %d with %v, expected %d", serial, answer[len(answer)-1], last.Serial)
	}
	lines := []string{}
	for line := range have {
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines, nil
}

func counted(transfers *Transfers, kind, outcome string) float64 {
	return testutil.ToFloat64(transfers.metrics.transfers.WithLabelValues(kind, outcome))
}

func notified(transfers *Transfers, outcome string) float64 {
	return testutil.ToFloat64(transfers.metrics.notifies.WithLabelValues(outcome))
}

// A primary answers for example.com. over loopback, as the authoritative server
// does: its SOA record, and transfers.
type primary struct {
	*Transfers
	mu      sync.RWMutex
	current fixture
}

func (p *primary) Answer(_ context.Context, q *server.Query, reply *dns.Msg) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	reply.Authoritative = true
	for _, rr := range p.current {
		if dns.CanonicalName(rr.Header().Name) == q.Name && rr.Header().Rrtype == q.Type {
			reply.Answer = append(reply.Answer, rr)
		}
	}
}

// serve publishes a version as the authoritative server does: it answers with it
// first.
func (p *primary) serve(t testing.TB, z fixture, policy Policy) {
	t.Helper()
	p.mu.Lock()
	p.current = z
	p.mu.Unlock()
	publish(t, p.Transfers, z, policy)
}

// startPrimary listens on loopback and runs until the end of the test.
func startPrimary(t testing.TB, transfers *Transfers) (p *primary, address string) {
	t.Helper()
	p = &primary{Transfers: transfers}
	metrics, err := server.NewMetrics("test", prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	var keys []server.Key
	for _, k := range transfers.config.Keys {
		keys = append(keys, server.Key{Name: k.CanonicalName(), Algorithm: k.CanonicalAlgorithm(), Secret: k.Secret})
	}
	s := &server.Server{Handler: p, Logger: transfers.logger, Health: kit.NewHealth(), Metrics: metrics, Limits: server.DefaultLimits(), Keys: keys}
	ln, pc, err := kit.ListenDNS("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- s.Serve(ctx, ln, pc) }()
	go func() { done <- transfers.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	return p, ln.Addr().String()
}
