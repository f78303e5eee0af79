package resolver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// rootOf delegates zones: "com 192.0.2.2 192.0.2.3" has the servers ns0.com. and
// ns1.com. at those addresses.
func rootOf(delegations ...string) string {
	var text strings.Builder
	for _, d := range delegations {
		parts := strings.Fields(d)
		for i, addr := range parts[1:] {
			fmt.Fprintf(&text, "%s. IN NS ns%d.%s.\nns%d.%s. IN A %s\n", parts[0], i, parts[0], i, parts[0], addr)
		}
	}
	return text.String()
}

const comZone = "www IN A 192.0.2.80\nalias IN CNAME www\n"

func TestTheNextServerIsTried(t *testing.T) {
	answer := zoneReply(t, "com.", comZone)
	edit := func(f func(q, m *dns.Msg)) reply {
		return func(q *dns.Msg, network string) []*dns.Msg {
			m := answer(q, network)[0].Copy()
			f(q, m)
			return []*dns.Msg{m}
		}
	}
	rr := func(s string) dns.RR {
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		return rr
	}
	tests := []struct {
		name    string
		first   reply // nil: silent
		outcome outcome
	}{
		{"after one that is silent", nil, timedOut},
		{"after SERVFAIL", rcodeReply(dns.RcodeServerFailure), refused},
		{"after REFUSED", rcodeReply(dns.RcodeRefused), refused},
		{"after FORMERR", rcodeReply(dns.RcodeFormatError), refused},
		{"after an answer without authority", edit(func(_, m *dns.Msg) { m.Authoritative = false }), lame},
		{"after NXDOMAIN without authority", edit(func(_, m *dns.Msg) {
			m.Authoritative, m.Answer, m.Rcode = false, nil, dns.RcodeNameError
		}), lame},
		{"after a referral upwards", edit(func(_, m *dns.Msg) {
			m.Authoritative, m.Answer, m.Ns = false, nil, []dns.RR{rr(". 60 IN NS a.root.")}
		}), lame},
		{"after a referral to itself", edit(func(_, m *dns.Msg) {
			m.Authoritative, m.Answer, m.Ns = false, nil, []dns.RR{rr("com. 60 IN NS ns0.com.")}
		}), lame},
		{"after a referral to the side", edit(func(_, m *dns.Msg) {
			m.Authoritative, m.Answer, m.Ns = false, nil, []dns.RR{rr("other.com. 60 IN NS ns.other.com.")}
		}), lame},
		{"after an empty answer", edit(func(_, m *dns.Msg) { m.Authoritative, m.Answer, m.Ns = false, nil, nil }), lame},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			// The bad one is the only one with glue, so that it comes first.
			w.zone("192.0.2.1", ".", "com. IN NS ns0.com.\ncom. IN NS good.net.\nns0.com. IN A 192.0.2.2\nnet. IN NS ns.net.\nns.net. IN A 192.0.2.4\n")
			if tt.first == nil {
				w.silent("192.0.2.2")
			} else {
				w.serve("192.0.2.2", tt.first)
			}
			w.zone("192.0.2.4", "net.", "good IN A 192.0.2.3\n")
			w.serve("192.0.2.3", answer)
			r := w.resolver(func(c *Config) {
				if tt.first == nil {
					c.QueryTimeout = 300 * time.Millisecond
				}
			})
			if got := brief(query(t, r, "www.com. A")); got != "NOERROR | www.com. 300 A 192.0.2.80" {
				t.Errorf("got %s", got)
			}
			if n := testutil.ToFloat64(r.metrics.upstream.WithLabelValues(string(tt.outcome))); n != 1 {
				t.Errorf("%v queries had the outcome %s", n, tt.outcome)
			}
		})
	}
	t.Run("after one that cannot be reached", func(t *testing.T) {
		w := newWorld(t)
		w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2 192.0.2.3"))
		w.route("192.0.2.2", "no port at all")
		w.serve("192.0.2.3", answer)
		r := w.resolver(nil)
		for _, question := range []string{"www.com. A", "alias.com. A"} {
			if m := query(t, r, question); m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0 {
				t.Errorf("got %v", m)
			}
		}
	})
}

func TestWhenEveryServerFails(t *testing.T) {
	w := newWorld(t)
	root := w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2 192.0.2.3"))
	w.serve("192.0.2.2", rcodeReply(dns.RcodeServerFailure))
	w.silent("192.0.2.3")
	r := w.resolver(func(c *Config) { c.QueryTimeout, c.Attempts = 200*time.Millisecond, 3 })
	c := stopClock(r)
	m := query(t, r, "www.com. A")
	code, sentence := explained(m)
	if m.Rcode != dns.RcodeServerFailure || code != dns.ExtendedErrorCodeNoReachableAuthority || len(m.Answer) != 0 {
		t.Fatalf("got %v", m)
	}
	for _, part := range []string{"No name server of com. gave an answer", "192.0.2.2 answered SERVFAIL", "192.0.2.3 did not answer in time"} {
		if !strings.Contains(sentence, part) {
			t.Errorf("%q is not in %q", part, sentence)
		}
	}
	if n := testutil.ToFloat64(r.metrics.upstream.WithLabelValues("timeout")); n != 3 {
		t.Errorf("the silent one was asked %v times, expected 3", n)
	}
	if n := testutil.ToFloat64(r.metrics.upstream.WithLabelValues("refused")); n != 1 {
		t.Errorf("the failing one was asked %v times, expected 1", n)
	}

	// The zone has moved. That is found out once the failure is forgotten.
	w.serve("192.0.2.3", zoneReply(t, "com.", comZone))
	if m := query(t, r, "www.com. A"); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("the failure was not remembered: %v", m)
	}
	before := root.Load()
	c.forward(time.Second)
	if got := brief(query(t, r, "www.com. A")); got != "NOERROR | www.com. 300 A 192.0.2.80" {
		t.Errorf("got %s", got)
	}
	if root.Load() != before+1 {
		t.Error("the parent was not asked again")
	}
}

func TestAServerThatDidNotAnswerIsAskedLast(t *testing.T) {
	w := newWorld(t)
	w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2 192.0.2.3"))
	w.silent("192.0.2.2")
	w.zone("192.0.2.3", "com.", comZone)
	r := w.resolver(func(c *Config) { c.QueryTimeout = 300 * time.Millisecond })
	stopClock(r)
	for i := range 20 {
		if m := query(t, r, fmt.Sprintf("n%d.com. A", i)); m.Rcode != dns.RcodeNameError {
			t.Fatalf("got %v", m)
		}
	}
	if n := testutil.ToFloat64(r.metrics.upstream.WithLabelValues("timeout")); n > 1 {
		t.Errorf("it was asked %v times", n)
	}
}

func TestForgedAnswersAreIgnored(t *testing.T) {
	answer := zoneReply(t, ".", comZone)
	forged, _ := dns.NewRR("www. 300 IN A 203.0.113.66")
	forge := func(f func(m *dns.Msg)) reply {
		return func(q *dns.Msg, network string) []*dns.Msg {
			m := answer(q, network)[0].Copy()
			m.Answer = []dns.RR{forged}
			f(m)
			return []*dns.Msg{m, answer(q, network)[0]}
		}
	}
	for name, f := range map[string]reply{
		"with another id":             forge(func(m *dns.Msg) { m.Id++ }),
		"with another name":           forge(func(m *dns.Msg) { m.Question[0].Name = "evil." }),
		"with another type":           forge(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT }),
		"with another class":          forge(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }),
		"without the question":        forge(func(m *dns.Msg) { m.Question = nil }),
		"with two questions":          forge(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }),
		"that is a query":             forge(func(m *dns.Msg) { m.Response = false }),
		"that answers another opcode": forge(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serve("192.0.2.1", f)
			r := w.resolver(nil)
			if got := brief(query(t, r, "www. A")); got != "NOERROR | www. 300 A 192.0.2.80" {
				t.Errorf("got %s", got)
			}
			if n := testutil.ToFloat64(r.metrics.ignored); n != 1 {
				t.Errorf("%v messages were ignored", n)
			}
		})
	}
}

func TestWhatIsOutsideOfTheBailiwickIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	// The name server of evil. offers addresses for names that are not its own.
	w.zone("192.0.2.1", ".", rootOf("evil 192.0.2.2", "good 192.0.2.3"))
	rr := func(s string) dns.RR {
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		return rr
	}
	w.serve("192.0.2.2", func(q *dns.Msg, _ string) []*dns.Msg {
		m := new(dns.Msg)
		m.SetReply(q)
		switch q.Question[0].Name {
		case "www.sub.evil.": // a referral to a server in another zone, with its "address"
			m.Ns = []dns.RR{rr("sub.evil. 300 IN NS ns.good.")}
			m.Extra = []dns.RR{rr("ns.good. 300 IN A 192.0.2.66")}
		case "alias.evil.": // a CNAME out of the zone, with what it "leads to"
			m.Authoritative = true
			m.Answer = []dns.RR{rr("alias.evil. 300 IN CNAME www.good."), rr("www.good. 300 IN A 192.0.2.66")}
			m.Extra = []dns.RR{rr("www.good. 300 IN A 192.0.2.66")}
		case "gone.evil.": // a CNAME out of the zone to what "does not exist"
			m.Authoritative, m.Rcode = true, dns.RcodeNameError
			m.Answer = []dns.RR{rr("gone.evil. 300 IN CNAME www.good.")}
			m.Ns = []dns.RR{rr("good. 300 IN SOA ns.good. h.good. 1 1 1 1 300")}
		}
		return []*dns.Msg{m}
	})
	w.zone("192.0.2.3", "good.", "ns IN A 192.0.2.4\nwww IN A 192.0.2.80\n")
	w.zone("192.0.2.4", "sub.evil.", "www IN A 192.0.2.81\n")
	trap := w.serve("192.0.2.66", rcodeReply(dns.RcodeSuccess))
	r := w.resolver(nil)
	for question, want := range map[string]string{
		"www.sub.evil. A": "NOERROR | www.sub.evil. 300 A 192.0.2.81",
		"alias.evil. A":   "NOERROR | alias.evil. 300 CNAME www.good.; www.good. 300 A 192.0.2.80",
		"gone.evil. A":    "NOERROR | gone.evil. 300 CNAME www.good.; www.good. 300 A 192.0.2.80",
		"ns.good. A":      "NOERROR | ns.good. 300 A 192.0.2.4",
	} {
		if got := brief(query(t, r, question)); got != want {
			t.Errorf("%s: got %s, expected %s", question, got, want)
		}
	}
	if n := trap.Load(); n != 0 {
		t.Errorf("the trap was asked %d times", n)
	}
}

func TestGlueIsNotGivenToClients(t *testing.T) {
	w := newWorld(t)
	w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2"))
	w.zone("192.0.2.2", "com.", comZone+"ns0 IN A 192.0.2.99\n")
	r := w.resolver(nil)
	query(t, r, "www.com. A")
	if got := brief(query(t, r, "ns0.com. A")); got != "NOERROR | ns0.com. 300 A 192.0.2.99" {
		t.Errorf("got %s", got)
	}
}

func TestAnswersTooLongForADatagramComeOverTCP(t *testing.T) {
	w := newWorld(t)
	answer := zoneReply(t, ".", "www IN TXT \""+strings.Repeat("x", 200)+"\"\n")
	networks := make(chan string, 10)
	w.serve("192.0.2.1", func(q *dns.Msg, network string) []*dns.Msg {
		networks <- network
		m := answer(q, network)[0].Copy()
		if network == "udp" {
			m.Answer, m.Truncated = nil, true
		}
		return []*dns.Msg{m}
	})
	r := w.resolver(nil)
	if m := query(t, r, "www. TXT"); len(m.Answer) != 1 || m.Truncated {
		t.Errorf("got %v", m)
	}
	if first, second := <-networks, <-networks; first != "udp" || second != "tcp" || len(networks) > 0 {
		t.Errorf("asked over %s, %s and %d more", first, second, len(networks))
	}
	if n := testutil.ToFloat64(r.metrics.truncated); n != 1 {
		t.Errorf("%v counted", n)
	}
}

func TestBounds(t *testing.T) {
	chain := func(n int) (text string) {
		for i := range n {
			text += fmt.Sprintf("c%d IN CNAME c%d\n", i, i+1)
		}
		return text + fmt.Sprintf("c%d IN A 192.0.2.80\n", n)
	}
	tests := []struct {
		name     string
		zones    map[string]string // "address origin" -> records
		question string
		rcode    int
		why      string
	}{
		{"eight CNAMEs are followed", map[string]string{"192.0.2.1 .": chain(8)}, "c0. A", dns.RcodeSuccess, ""},
		{"nine are not", map[string]string{"192.0.2.1 .": chain(9)}, "c0. A", dns.RcodeServerFailure, "chain of CNAME records"},
		{"a CNAME loop in one zone ends", map[string]string{"192.0.2.1 .": "a IN CNAME b\nb IN CNAME a\n"}, "a. A", dns.RcodeServerFailure, "chain of CNAME records"},
		{"a CNAME to itself ends", map[string]string{"192.0.2.1 .": "a IN CNAME a\n"}, "a. A", dns.RcodeServerFailure, "chain of CNAME records"},
		{"a CNAME loop over two zones ends", map[string]string{
			"192.0.2.1 .":  rootOf("x 192.0.2.2", "y 192.0.2.3"),
			"192.0.2.2 x.": "a IN CNAME a.y.\n",
			"192.0.2.3 y.": "a IN CNAME a.x.\n",
		}, "a.x. A", dns.RcodeServerFailure, "chain of CNAME records"},
		{"a name server without glue is looked up", map[string]string{
			"192.0.2.1 .":  rootOf("y 192.0.2.3") + "x. IN NS ns.y.\n",
			"192.0.2.2 x.": "www IN A 192.0.2.80\n",
			"192.0.2.3 y.": "ns IN A 192.0.2.2\n",
		}, "www.x. A", dns.RcodeSuccess, ""},
		{"a name server that only has an IPv6 address is found", map[string]string{
			"192.0.2.1 .":    rootOf("y 192.0.2.3") + "x. IN NS ns.y.\n",
			"2001:db8::2 x.": "www IN A 192.0.2.80\n",
			"192.0.2.3 y.":   "ns IN AAAA 2001:db8::2\n",
		}, "www.x. A", dns.RcodeSuccess, ""},
		{"name servers that lie in each other's zones are given up", map[string]string{
			"192.0.2.1 .": "x. IN NS ns.y.\ny. IN NS ns.x.\n",
		}, "www.x. A", dns.RcodeServerFailure, "No name server of x. gave an answer: none has a usable address"},
		{"a long row of name servers without glue is given up", map[string]string{
			"192.0.2.1 .":   "z0. IN NS ns.z1.\nz1. IN NS ns.z2.\nz2. IN NS ns.z3.\nz3. IN NS ns.z4.\nz4. IN NS ns.z5.\nz5. IN NS ns.z6.\nz6. IN NS ns.z7.\n" + rootOf("z7 192.0.2.2"),
			"192.0.2.2 z7.": "ns IN A 192.0.2.2\n",
		}, "www.z0. A", dns.RcodeServerFailure, "none has a usable address"},
		{"a name server on the resolver's own machine is not asked", map[string]string{
			"192.0.2.1 .": rootOf("x 127.0.0.1 0.0.0.0 224.0.0.1 169.254.169.254"),
		}, "www.x. A", dns.RcodeServerFailure, "none has a usable address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			for where, records := range tt.zones {
				addr, origin, _ := strings.Cut(where, " ")
				w.zone(addr, origin, records)
			}
			r := w.resolver(nil)
			for range 2 { // from the name servers, then from the cache
				m := query(t, r, tt.question)
				if _, why := explained(m); m.Rcode != tt.rcode || !strings.Contains(why, tt.why) {
					t.Errorf("got %v", m)
				}
				if m.Rcode == dns.RcodeSuccess && len(m.Answer) == 0 {
					t.Errorf("got %v", m)
				}
			}
		})
	}
}

func TestAQuestionHasABudget(t *testing.T) {
	// Sixteen name servers whose names lead nowhere: each costs queries to
	// find that out, at the expense of somebody else (NXNSAttack, 2020).
	var text strings.Builder
	for i := range maxServers {
		fmt.Fprintf(&text, "x. IN NS none%d.y.\n", i)
	}
	for budget, want := range map[int]int64{10: 8, 50: maxServers} {
		t.Run(fmt.Sprintf("%d queries", budget), func(t *testing.T) {
			w := newWorld(t)
			w.zone("192.0.2.1", ".", text.String()+rootOf("y 192.0.2.2"))
			victim := w.zone("192.0.2.2", "y.", "")
			r := w.resolver(func(c *Config) { c.MaxQueries = budget })
			if m := query(t, r, "www.x. A"); m.Rcode != dns.RcodeServerFailure {
				t.Errorf("got %v", m)
			}
			if n := victim.Load(); n > want || budget == 50 && n != want {
				t.Errorf("%d queries, expected %d", n, want)
			}
		})
	}
}

func TestAQuestionHasATimeLimit(t *testing.T) {
	w := newWorld(t)
	w.silent("192.0.2.1")
	r := w.resolver(func(c *Config) {
		c.QueryTimeout, c.ResolveTimeout, c.Attempts = 60*time.Millisecond, 100*time.Millisecond, 10
	})
	m := query(t, r, "www. A")
	if _, why := explained(m); m.Rcode != dns.RcodeServerFailure || !strings.Contains(why, "The time for the question ran out") {
		t.Errorf("got %v", m)
	}
	if n := testutil.ToFloat64(r.metrics.upstream.WithLabelValues("timeout")); n > 2 {
		t.Errorf("%v queries", n)
	}
}

func TestATTLOfZeroIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	queries := w.zone("192.0.2.1", ".", "alias 0 IN CNAME www\nwww 0 IN A 192.0.2.80\n")
	r := w.resolver(nil)
	for i := range int64(2) {
		if got := brief(query(t, r, "alias. A")); got != "NOERROR | alias. 0 CNAME www.; www. 0 A 192.0.2.80" {
			t.Errorf("got %s", got)
		}
		if queries.Load() != i+1 {
			t.Errorf("%d queries", queries.Load())
		}
	}
}
