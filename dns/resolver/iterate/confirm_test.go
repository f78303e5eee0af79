package iterate

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"minicloud.internal/dns/resolver/exchange"
)

// settle does what Run does, until there is nothing more to do.
func settle(it *Iterator) {
	for len(it.confirming.queue) > 0 {
		it.confirmNow(context.Background(), <-it.confirming.queue)
	}
}

func TestConfirmation(t *testing.T) {
	settled := func(t *testing.T, it *Iterator, zone string) *Delegation {
		t.Helper()
		settle(it)
		d := it.Closest(zone)
		if d.Zone != zone || !d.Confirmed || len(it.confirming.waiting) > 0 {
			t.Fatalf("got %+v", d)
		}
		return d
	}
	addrs := func(d *Delegation) (list []string) {
		for _, ns := range d.Servers {
			for _, addr := range ns.Addrs {
				list = append(list, ns.Name+" "+addr.String())
			}
		}
		slices.Sort(list)
		return list
	}
	t.Run("the zone's own name servers and addresses replace the parent's", func(t *testing.T) {
		w := newWorld(t)
		w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2"))
		com := ownZone(t, "com.", "com. 300 IN NS ns0.com.\ncom. 300 IN NS more.com.\nns0.com. 300 IN A 192.0.2.3\nmore.com. 300 IN A 192.0.2.4\nmore.com. 300 IN AAAA 2001:db8::4")
		w.serve("192.0.2.2", com)
		other := w.serve("192.0.2.3", com)
		w.serve("192.0.2.4", com)
		w.route("2001:db8::4", "no port at all")
		it := w.iterator()
		ask(it, "www.com. A", Options{})
		d := settled(t, it, "com.")
		// The glue's address goes from the list: its zone says otherwise.
		if got := strings.Join(addrs(d), ", "); got != "more.com. 192.0.2.4, more.com. 2001:db8::4, ns0.com. 192.0.2.3" {
			t.Errorf("got %s", got)
		}
		w.queries()
		for i := range 30 {
			ask(it, strings.Repeat("n", i+1)+".com. A", Options{})
		}
		for _, q := range w.queries() {
			if strings.HasPrefix(q, "192.0.2.2 ") {
				t.Errorf("glue was asked: %s", q)
			}
		}
		if other.Load() == 0 {
			t.Error("the right address was not asked")
		}
		if got := ask(it, "ns0.com. A", Options{}); got != "NOERROR | ns0.com. 300 A 192.0.2.3" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("a zone that does not know its name servers keeps its parent's", func(t *testing.T) {
		w := newWorld(t)
		w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2"))
		w.serve("192.0.2.2", func(q *dns.Msg, network string) []*dns.Msg {
			if q.Question[0].Qtype == dns.TypeNS {
				return rcodeReply(dns.RcodeRefused)(q, network)
			}
			return zoneReply(t, "com.", comZone)(q, network)
		})
		it := w.iterator()
		ask(it, "www.com. A", Options{})
		if got := addrs(settled(t, it, "com.")); !slices.Equal(got, []string{"ns0.com. 192.0.2.2"}) {
			t.Errorf("got %v", got)
		}
		if testutil.ToFloat64(it.metrics.confirmed.WithLabelValues("failed")) != 1 {
			t.Error("the failure was not counted")
		}
	})
	t.Run("a zone whose name servers lead nowhere keeps its parent's", func(t *testing.T) {
		w := newWorld(t)
		w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2"))
		w.serve("192.0.2.2", ownZone(t, "com.", "com. 300 IN NS none.com.\nwww.com. 300 IN A 192.0.2.80"))
		it := w.iterator()
		ask(it, "www.com. A", Options{})
		if got := addrs(settled(t, it, "com.")); !slices.Equal(got, []string{"ns0.com. 192.0.2.2"}) {
			t.Errorf("got %v", got)
		}
	})
	t.Run("it does not prolong a delegation", func(t *testing.T) {
		w := newWorld(t)
		w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2"))
		w.serve("192.0.2.2", ownZone(t, "com.", "com. 86400 IN NS ns0.com.\nns0.com. 86400 IN A 192.0.2.2\nwww.com. 60 IN A 192.0.2.80"))
		it := w.iterator()
		ask(it, "www.com. A", Options{})
		settled(t, it, "com.")
		w.clock.forward(300 * time.Second)
		if d := it.Closest("com."); d.Zone == "com." {
			t.Errorf("after its TTL it is %+v", d)
		}
	})
	t.Run("the root is primed, and again after its TTL", func(t *testing.T) {
		w := newWorld(t)
		w.serve("192.0.2.1", ownZone(t, ".", ". 3600 IN NS a.root.\n. 3600 IN NS b.root.\na.root. 3600 IN A 192.0.2.1\nb.root. 3600 IN A 192.0.2.2\nwww. 60 IN A 192.0.2.80"))
		w.zone("192.0.2.2", ".", "")
		it := w.iterator()
		ask(it, "www. A", Options{})
		if got := addrs(settled(t, it, ".")); !slices.Equal(got, []string{"a.root. 192.0.2.1", "b.root. 192.0.2.2"}) {
			t.Errorf("got %v", got)
		}
		w.clock.forward(time.Hour)
		if d := it.Closest("."); d.Source != "hints" {
			t.Errorf("after its TTL it is %+v", d)
		}
		ask(it, "www. A", Options{})
		settled(t, it, ".")
	})
	t.Run("a walk from the root does not have the hints confirmed", func(t *testing.T) {
		w := newWorld(t)
		w.serve("192.0.2.1", ownZone(t, ".", ". 3600 IN NS a.root.\na.root. 3600 IN A 192.0.2.1\nwww. 60 IN A 192.0.2.80"))
		it := w.iterator()
		for range 2 {
			ask(it, "www. A", Options{FromRoot: true})
			if n := len(it.confirming.queue); n > 0 {
				t.Errorf("%d wait", n)
			}
			ask(it, "www. A", Options{Refresh: true})
			settled(t, it, ".")
		}
	})
	t.Run("what waits is bounded", func(t *testing.T) {
		w := newWorld(t)
		it := w.iterator()
		for i := range 2 * maxConfirming {
			it.confirm(&Delegation{Zone: strings.Repeat("a", i+1) + ".", Servers: []NameServer{{Name: "ns.", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}})
		}
		if len(it.confirming.queue) != maxConfirming || len(it.confirming.waiting) != maxConfirming {
			t.Errorf("%d wait", len(it.confirming.queue))
		}
	})
}

func TestRunConfirmsAndEnds(t *testing.T) {
	w := newWorld(t)
	com, confirmed := ownZone(t, ".", ". 300 IN NS a.root.\na.root. 300 IN A 192.0.2.1\nwww. 60 IN A 192.0.2.80"), make(chan struct{})
	confirm := sync.OnceFunc(func() { close(confirmed) })
	w.serve("192.0.2.1", func(q *dns.Msg, network string) []*dns.Msg {
		if strings.EqualFold(q.Question[0].Name, "a.root.") {
			confirm()
		}
		return com(q, network)
	})
	it := w.iterator()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { it.Run(ctx); close(ended) }()
	ask(it, "www. A", Options{})
	<-confirmed
	cancel()
	<-ended
}

// ownZone answers with the records given and no others, each name's and type's.
func ownZone(t testing.TB, origin, records string) reply {
	t.Helper()
	soa := newRR(t, origin+" 300 IN SOA ns.outside. h.outside. 1 1 1 1 60")
	sets := map[key][]dns.RR{}
	for line := range strings.SplitSeq(records, "\n") {
		rr := newRR(t, line)
		k := key{rr.Header().Name, rr.Header().Rrtype}
		sets[k] = append(sets[k], rr)
	}
	return func(q *dns.Msg, _ string) []*dns.Msg {
		m := new(dns.Msg)
		m.SetReply(q)
		m.Authoritative = true
		m.Answer = sets[key{dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype}]
		if len(m.Answer) == 0 {
			m.Ns = []dns.RR{soa}
		}
		return []*dns.Msg{m}
	}
}

// A panicking exchanger is a bug of ours that some message brings to light.
type panicking struct{ Exchanger }

func (panicking) Exchange(context.Context, exchange.Target, string, uint16, exchange.Options) (*exchange.Result, error) {
	panic("a bug")
}

func TestAPanicOfAConfirmationEndsNothingElse(t *testing.T) {
	w := newWorld(t)
	w.silent("192.0.2.1")
	it := w.iterator()
	it.exchanger = panicking{it.exchanger}
	d := &Delegation{Zone: "com.", Servers: []NameServer{{Name: "ns.com.", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}}
	it.confirm(d)
	settle(it)
	if len(it.confirming.waiting) != 0 {
		t.Error("the zone waits for ever")
	}
}
