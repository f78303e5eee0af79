package resolver

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/server"
)

func TestTheShippedZones(t *testing.T) {
	t.Setenv("MINICLOUD_HTTP_PORT", "8080")
	r := shipped(t, stoppedClock().now, nil)
	address := serving(t, r.Serve)
	tests := []struct {
		name, question, want string
	}{
		{"the load balancer has its address", "example.com. A", "NOERROR | example.com. 30 A 127.0.0.1"},
		{"its other name leads there", "www.example.com. A", "NOERROR | www.example.com. 30 CNAME example.com.; example.com. 30 A 127.0.0.1"},
		{"the case of the question is kept", "WWW.example.COM. A", "NOERROR | WWW.example.COM. 30 CNAME example.com.; example.com. 30 A 127.0.0.1"},
		{"its port is published", "_http._tcp.example.com. SRV", "NOERROR | _http._tcp.example.com. 30 SRV 0 0 8080 example.com."},
		{"it has no IPv6 address", "example.com. AAAA", "NOERROR |  | example.com. 30 SOA"},
		{"a name that does not exist", "nope.example.com. A", "NXDOMAIN |  | example.com. 30 SOA"},
		{"a domain that does not exist", "nope.com. A", "NXDOMAIN |  | com. 60 SOA"},
		{"a top-level domain that does not exist", "example.org. A", "NXDOMAIN |  | . 60 SOA"},
		{"a name server has its address", "ns1.example.com. A", "NOERROR | ns1.example.com. 3600 A 203.0.113.53"},
		{"the root can be asked for", ". NS", "NOERROR | . 86400 NS a.root.minicloud."},
		{"a DS record is asked for at the parent", "example.com. DS", "NOERROR |  | com. 60 SOA"},
		{"ANY gets something", "example.com. ANY", "NOERROR | example.com. 30 A 127.0.0.1"},
		{"localhost is this machine", "localhost. A", "NOERROR | localhost. 3600 A 127.0.0.1"},
		{"below localhost too", "x.Localhost. AAAA", "NOERROR | x.Localhost. 3600 AAAA ::1"},
		{"localhost has nothing else", "localhost. MX", "NOERROR |  | localhost. 3600 SOA"},
		{"invalid does not exist", "some.invalid. A", "NXDOMAIN |  | invalid. 3600 SOA"},
		{"the reverse of loopback is localhost", "1.0.0.127.in-addr.arpa. PTR", "NOERROR | 1.0.0.127.in-addr.arpa. 3600 PTR localhost."},
		{"in IPv6 too", loopback6 + " PTR", "NOERROR | " + loopback6 + " 3600 PTR localhost."},
		{"the reverse of a private network is nobody's", "7.1.168.192.in-addr.arpa. PTR", "NXDOMAIN |  | 168.192.in-addr.arpa. 3600 SOA"},
		{"nor is one in the middle of a range", "1.1.20.172.in-addr.arpa. PTR", "NXDOMAIN |  | 20.172.in-addr.arpa. 3600 SOA"},
		{"but the next to it is asked for", "1.1.32.172.in-addr.arpa. PTR", "NXDOMAIN |  | . 60 SOA"},
		{"home.arpa. is empty", "home.arpa. A", "NOERROR |  | home.arpa. 3600 SOA"},
		{"onion. is not asked for", "x.onion. A", "NXDOMAIN |  | onion. 3600 SOA"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name, qtype, _ := strings.Cut(tt.question, " ")
			for _, network := range []string{"udp", "tcp"} {
				q := new(dns.Msg)
				q.SetQuestion(name, dns.StringToType[qtype])
				m, _, err := (&dns.Client{Net: network, Timeout: time.Minute}).Exchange(q, address)
				if err != nil {
					t.Fatal(err)
				}
				if got := brief(m); got != tt.want {
					t.Errorf("%s: got %s, expected %s", network, got, tt.want)
				}
			}
		})
	}
}

func TestCaching(t *testing.T) {
	// steps says after how long what is asked, what comes, and how many
	// queries that took.
	type step struct {
		after    time.Duration
		question string
		want     string
		queries  float64
	}
	tests := []struct {
		name   string
		change func(*Config)
		steps  []step
	}{
		{"TTLs are counted down, and then it is asked again, but not from the root", nil, []step{
			{0, "example.com. A", "NOERROR | example.com. 30 A 127.0.0.1", 3},
			{29*time.Second + 500*time.Millisecond, "example.com. A", "NOERROR | example.com. 1 A 127.0.0.1", 0},
			{500 * time.Millisecond, "example.com. A", "NOERROR | example.com. 30 A 127.0.0.1", 1},
		}},
		{"a second name of a zone asks only that zone", nil, []step{
			{0, "example.com. A", "NOERROR | example.com. 30 A 127.0.0.1", 3},
			{0, "ns1.example.com. A", "NOERROR | ns1.example.com. 3600 A 203.0.113.53", 1},
		}},
		{"a name of the zone above asks from there", nil, []step{
			{0, "example.com. A", "NOERROR | example.com. 30 A 127.0.0.1", 3},
			{0, "nope.com. A", "NXDOMAIN |  | com. 60 SOA", 1},
		}},
		{"a delegation is forgotten with its TTL", nil, []step{
			{0, "example.com. A", "NOERROR | example.com. 30 A 127.0.0.1", 3},
			{24 * time.Hour, "example.com. A", "NOERROR | example.com. 30 A 127.0.0.1", 3},
		}},
		{"what a CNAME leads to is remembered with it", nil, []step{
			{0, "www.example.com. A", "NOERROR | www.example.com. 30 CNAME example.com.; example.com. 30 A 127.0.0.1", 3},
			{5 * time.Second, "example.com. A", "NOERROR | example.com. 25 A 127.0.0.1", 0},
		}},
		{"that a name does not exist is remembered, for every type", nil, []step{
			{0, "nope.example.com. A", "NXDOMAIN |  | example.com. 30 SOA", 3},
			{10 * time.Second, "nope.example.com. TXT", "NXDOMAIN |  | example.com. 20 SOA", 0},
			{20 * time.Second, "nope.example.com. A", "NXDOMAIN |  | example.com. 30 SOA", 1},
		}},
		{"that a type does not exist is remembered for that type", nil, []step{
			{0, "example.com. AAAA", "NOERROR |  | example.com. 30 SOA", 3},
			{10 * time.Second, "example.com. AAAA", "NOERROR |  | example.com. 20 SOA", 0},
			{0, "example.com. A", "NOERROR | example.com. 30 A 127.0.0.1", 1},
		}},
		{"no TTL is over the limit", func(c *Config) { c.MaxTTL = 10 * time.Second }, []step{
			{0, "example.com. A", "NOERROR | example.com. 10 A 127.0.0.1", 3},
			{0, "nope.example.com. A", "NXDOMAIN |  | example.com. 10 SOA", 1},
			{10 * time.Second, "example.com. A", "NOERROR | example.com. 10 A 127.0.0.1", 1},
		}},
		{"a negative answer has a limit of its own", func(c *Config) { c.MaxNegativeTTL = 7 * time.Second }, []step{
			{0, "nope.example.com. A", "NXDOMAIN |  | example.com. 7 SOA", 3},
			{7 * time.Second, "nope.example.com. A", "NXDOMAIN |  | example.com. 7 SOA", 1},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := stoppedClock()
			r := shipped(t, c.now, tt.change)
			for i, s := range tt.steps {
				c.forward(s.after)
				before := upstream(t, r)
				if got := brief(query(t, r, s.question)); got != s.want {
					t.Errorf("step %d: got %s, expected %s", i, got, s.want)
				}
				if got := upstream(t, r) - before; got != s.queries {
					t.Errorf("step %d: took %v queries, expected %v", i, got, s.queries)
				}
			}
		})
	}
}

func TestTheShortestTTLIsNotGivenTwice(t *testing.T) {
	c := stoppedClock()
	r := shipped(t, c.now, func(cfg *Config) { cfg.MinTTL = time.Minute })
	const whole = "NOERROR | www.example.com. %d CNAME example.com.; example.com. 60 A 127.0.0.1"
	if got := brief(query(t, r, "www.example.com. A")); got != fmt.Sprintf(whole, 60) {
		t.Errorf("got %s", got)
	}
	c.forward(50 * time.Second)
	r.cache.Remove("example.com.") // so that the answer is half known and half learnt
	if got := brief(query(t, r, "www.example.com. A")); got != fmt.Sprintf(whole, 10) {
		t.Errorf("got %s", got)
	}
}

// upstream returns how many queries name servers were asked.
func upstream(t testing.TB, r *built) (n float64) {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "minicloud_resolver_upstream_queries_total" {
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

func TestWithoutRecursionOnlyTheCacheAnswers(t *testing.T) {
	r := shipped(t, time.Now, nil)
	m := queryFrom(t, r, "example.com. A", "127.0.0.1", false)
	if code, _ := explained(m); m.Rcode != dns.RcodeRefused || code != dns.ExtendedErrorCodeNotAuthoritative {
		t.Errorf("got %v", m)
	}
	query(t, r, "example.com. A")
	if m := queryFrom(t, r, "example.com. A", "127.0.0.1", false); len(m.Answer) != 1 {
		t.Errorf("got %v", m)
	}
	if hits, misses := r.hits(), r.metrics.misses.Load(); hits != 1 || misses != 2 {
		t.Errorf("%v hits, %v misses", hits, misses)
	}
}

func TestOnlyTheAllowedAreAnswered(t *testing.T) {
	r := shipped(t, time.Now, nil)
	for source, allowed := range map[string]bool{
		"127.0.0.53": true, "::1": true, "10.1.2.3": true, "172.31.255.255": true, "192.168.1.1": true,
		"fd00::1": true, "fe80::1%eth0": true, "169.254.1.1": true, "::ffff:10.0.0.1": true,
		"8.8.8.8": false, "172.32.0.1": false, "2001:db8::1": false, "::ffff:8.8.8.8": false,
	} {
		t.Run(fmt.Sprintf("%s: %v", source, allowed), func(t *testing.T) {
			for _, question := range []string{"example.com. A", "localhost. A"} {
				m := queryFrom(t, r, question, source, true)
				if allowed != (m.Rcode == dns.RcodeSuccess) || !allowed && m.Rcode != dns.RcodeRefused {
					t.Errorf("%s: got %v", question, m)
				}
				if code, _ := explained(m); !allowed && code != dns.ExtendedErrorCodeProhibited {
					t.Errorf("%s: explained %d", question, code)
				}
			}
		})
	}
}

func TestManyAskersCostOneQuery(t *testing.T) {
	w := newWorld(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	arrive := sync.OnceFunc(func() { close(arrived) })
	answer := zoneReply(t, ".", "www IN A 192.0.2.80\n")
	queries := w.serve("192.0.2.1", func(q *dns.Msg, network string) []*dns.Msg {
		arrive()
		<-release
		return answer(q, network)
	})
	r := w.resolver(nil)
	q := &server.Query{Name: "www.", Type: dns.TypeA, RecursionDesired: true, Question: dns.Question{Name: "www.", Qtype: dns.TypeA},
		Source: netip.MustParseAddrPort("127.0.0.1:5")}

	impatient, leave := context.WithCancel(t.Context())
	gone := make(chan *dns.Msg)
	go func() {
		m := new(dns.Msg)
		asked := *q
		r.Answer(impatient, &asked, m)
		gone <- m
	}()
	<-arrived
	var askers sync.WaitGroup
	answers := make(chan *dns.Msg, 100)
	for range cap(answers) {
		askers.Go(func() {
			m := new(dns.Msg)
			asked := *q
			r.Answer(t.Context(), &asked, m)
			answers <- m
		})
	}
	leave() // the one that began it all
	if m := <-gone; m.Rcode != dns.RcodeServerFailure {
		t.Errorf("who gave up got %v", m)
	}
	close(release)
	askers.Wait()
	for range cap(answers) {
		if m := <-answers; len(m.Answer) != 1 {
			t.Errorf("got %v", m)
		}
	}
	if n := queries.Load(); n != 1 {
		t.Errorf("%d queries", n)
	}
}

func TestStoppingEndsResolutionsThatNobodyWaitsFor(t *testing.T) {
	w := newWorld(t)
	w.silent("192.0.2.1")
	r := w.resolver(nil)
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		r.Answer(ctx, &server.Query{Name: "www.", Type: dns.TypeA, RecursionDesired: true, Source: netip.MustParseAddrPort("127.0.0.1:5")}, new(dns.Msg))
	}()
	cancel()
	<-asked // the client is gone, its resolution is not
	r.stop()
	r.flights.wait.Wait()
}
