package iterate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"minicloud.internal/dns/resolver/exchange"
)

const comZone = "www IN A 192.0.2.80\nalias IN CNAME www\n"

// shop is a world of three levels: the root, com. and example.com.
func shop(t testing.TB) *world {
	w := newWorld(t)
	w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2"))
	w.zone("192.0.2.2", "com.", rootOf("example.com 192.0.2.3")+"www.com. IN A 192.0.2.80\n")
	w.zone("192.0.2.3", "example.com.", `
@       IN A 192.0.2.80
ns0     IN A 192.0.2.3
www     IN CNAME @
out     IN CNAME www.com.
lost    IN CNAME none
zero  0 IN A 192.0.2.80
deep.er IN A 192.0.2.80
a.b.c.d.e.f.g.h.i.j.k.l.m.n IN A 192.0.2.80
_x._tcp IN SRV 0 0 80 www
tree    IN DNAME example.com.
away    IN DNAME www.com.
sub     IN NS ns.sub
ns.sub  IN A 192.0.2.4
sub     IN DS 1 8 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
`)
	w.zone("192.0.2.4", "sub.example.com.", "www IN A 192.0.2.81\n")
	return w
}

func TestResolve(t *testing.T) {
	for _, tt := range []struct {
		name, asked, want string
		queries           []string
	}{
		{"an answer is found from the root down, and no server is told more than it needs",
			"example.com. A", "NOERROR | example.com. 300 A 192.0.2.80",
			[]string{"192.0.2.1 com. A", "192.0.2.2 example.com. A", "192.0.2.3 example.com. A"}},
		{"an alias is followed to its end in one message",
			"www.example.com. A", "NOERROR | www.example.com. 300 CNAME example.com.; example.com. 300 A 192.0.2.80",
			[]string{"192.0.2.1 com. A", "192.0.2.2 example.com. A", "192.0.2.3 www.example.com. A"}},
		{"an alias into another zone is asked for there",
			"out.example.com. A", "NOERROR | out.example.com. 300 CNAME www.com.; www.com. 300 A 192.0.2.80",
			[]string{"192.0.2.1 com. A", "192.0.2.2 example.com. A", "192.0.2.3 out.example.com. A", "192.0.2.2 www.com. A"}},
		{"an alias to nothing ends in NXDOMAIN",
			"lost.example.com. A", "NXDOMAIN | lost.example.com. 300 CNAME none.example.com.", nil},
		{"a name without the type ends in NODATA", "www.com. TXT", "NODATA", nil},
		{"a name that does not exist ends in NXDOMAIN", "none.example.com. A", "NXDOMAIN", nil},
		{"an empty non-terminal is no zone, and does exist",
			"deep.er.example.com. A", "NOERROR | deep.er.example.com. 300 A 192.0.2.80",
			[]string{"192.0.2.1 com. A", "192.0.2.2 example.com. A", "192.0.2.3 er.example.com. A", "192.0.2.3 deep.er.example.com. A"}},
		{"below an underscore nothing is kept back",
			"_x._tcp.example.com. SRV", "NOERROR | _x._tcp.example.com. 300 SRV 0 0 80 www.example.com.",
			[]string{"192.0.2.1 com. A", "192.0.2.2 example.com. A", "192.0.2.3 _x._tcp.example.com. SRV"}},
		{"a DNAME is given with the CNAME that it makes",
			"www.tree.example.com. A", "NOERROR | tree.example.com. 300 DNAME example.com.; www.tree.example.com. 300 CNAME www.example.com.; www.example.com. 300 CNAME example.com.; example.com. 300 A 192.0.2.80", nil},
		{"a DNAME into another zone is followed there",
			"a.away.example.com. A", "NXDOMAIN | away.example.com. 300 DNAME www.com.; a.away.example.com. 300 CNAME a.www.com.", nil},
		{"a DNAME itself can be asked for", "tree.example.com. DNAME", "NOERROR | tree.example.com. 300 DNAME example.com.", nil},
		{"the CNAME that a DNAME makes can be too", "x.tree.example.com. CNAME", "NOERROR | tree.example.com. 300 DNAME example.com.; x.tree.example.com. 300 CNAME x.example.com.", nil},
		{"the DS records of a zone are its parent's to give",
			"sub.example.com. DS", "NOERROR | sub.example.com. 300 DS 1 8 2 00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF",
			[]string{"192.0.2.1 com. A", "192.0.2.2 example.com. A", "192.0.2.3 sub.example.com. DS"}},
		{"the DS record of the root is asked of the root", ". DS", "NODATA", []string{"192.0.2.1 . DS"}},
		{"the NS records of a zone are its own to give", "sub.example.com. NS", "NOERROR | sub.example.com. 300 NS ns.outside.", nil},
		{"ANY gives what the server sends, without following an alias", "www.example.com. ANY", "NOERROR | www.example.com. 300 CNAME example.com.", nil},
		{"a name of many labels costs a bounded number of queries", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.example.com. A", "NOERROR | a.b.c.d.e.f.g.h.i.j.k.l.m.n.example.com. 300 A 192.0.2.80",
			[]string{"192.0.2.1 com. A", "192.0.2.2 example.com. A",
				"192.0.2.3 n.example.com. A", "192.0.2.3 m.n.example.com. A",
				"192.0.2.3 k.l.m.n.example.com. A", "192.0.2.3 i.j.k.l.m.n.example.com. A",
				"192.0.2.3 g.h.i.j.k.l.m.n.example.com. A", "192.0.2.3 e.f.g.h.i.j.k.l.m.n.example.com. A",
				"192.0.2.3 c.d.e.f.g.h.i.j.k.l.m.n.example.com. A",
				"192.0.2.3 a.b.c.d.e.f.g.h.i.j.k.l.m.n.example.com. A"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := shop(t)
			it, trace := w.iterator(), new(Trace)
			got := ask(it, tt.asked, Options{Trace: trace})
			if got != tt.want {
				t.Errorf("got  %s\nwant %s\n%s", got, tt.want, explain(trace))
			}
			queries := w.queries()
			if tt.queries != nil {
				if diff := cmp.Diff(tt.queries, queries); diff != "" {
					t.Error(diff)
				}
			}
			if got := ask(it, tt.asked, Options{}); !strings.HasSuffix(tt.asked, "ANY") && got != tt.want {
				t.Errorf("the second time got %s", got)
			}
			if again := w.queries(); !strings.HasSuffix(tt.asked, "ANY") && len(again) > 0 {
				t.Errorf("the second time asked %v", again)
			}
			w.limits.MaxMinimise = 0
			w.store = newStore(w.clock)
			if got := ask(w.iterator(), tt.asked, Options{}); got != tt.want {
				t.Errorf("without minimisation got %s", got)
			}
		})
	}
}

func TestWhatIsKnown(t *testing.T) {
	t.Run("known labels and delegations are not asked for again", func(t *testing.T) {
		w := shop(t)
		it := w.iterator()
		ask(it, "deep.er.example.com. A", Options{})
		w.queries()
		ask(it, "other.er.example.com. A", Options{})
		if diff := cmp.Diff([]string{"192.0.2.3 other.er.example.com. A"}, w.queries()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a TTL of 0 is used once, through the whole of the question", func(t *testing.T) {
		w := shop(t)
		it := w.iterator()
		for range 2 {
			if got := ask(it, "zero.example.com. A", Options{}); got != "NOERROR | zero.example.com. 0 A 192.0.2.80" {
				t.Errorf("got %s", got)
			}
			if q := w.queries(); q[len(q)-1] != "192.0.2.3 zero.example.com. A" {
				t.Errorf("asked %v", q)
			}
		}
	})
	t.Run("Refresh asks again for the name and what it is an alias of", func(t *testing.T) {
		w := shop(t)
		it := w.iterator()
		ask(it, "out.example.com. A", Options{})
		w.queries()
		ask(it, "out.example.com. A", Options{Refresh: true})
		if diff := cmp.Diff([]string{"192.0.2.3 out.example.com. A", "192.0.2.2 www.com. A"}, w.queries()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("FromRoot asks everybody again", func(t *testing.T) {
		w := shop(t)
		it := w.iterator()
		ask(it, "example.com. A", Options{})
		first := w.queries()
		ask(it, "example.com. A", Options{FromRoot: true})
		if diff := cmp.Diff(first, w.queries()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a delegation ends with its TTL", func(t *testing.T) {
		w := shop(t)
		it := w.iterator()
		ask(it, "example.com. A", Options{})
		if got := it.Closest("x.example.com."); got.Zone != "example.com." || got.Source != "host-192.0.2.2" {
			t.Errorf("got %+v", got)
		}
		w.clock.forward(300 * time.Second)
		if got := it.Closest("x.example.com."); got.Zone != "." || got.Source != "hints" {
			t.Errorf("got %+v", got)
		}
		w.queries()
		ask(it, "example.com. A", Options{})
		if n := len(w.queries()); n != 3 {
			t.Errorf("%d queries", n)
		}
	})
	t.Run("a name that does not exist has nothing below it once two answers agree", func(t *testing.T) {
		w := shop(t)
		it := w.iterator()
		if got := ask(it, "a.none.com. A", Options{}); got != "NXDOMAIN" {
			t.Errorf("got %s", got)
		}
		w.queries()
		if got := ask(it, "b.none.com. A", Options{}); got != "NXDOMAIN" || len(w.queries()) > 0 {
			t.Errorf("got %s", got)
		}
	})
	t.Run("a server that denies an empty non-terminal is not believed", func(t *testing.T) {
		w := newWorld(t)
		answer := zoneReply(t, ".", "www.empty IN A 192.0.2.80\n")
		w.serve("192.0.2.1", func(q *dns.Msg, network string) []*dns.Msg {
			m := answer(q, network)[0]
			if strings.EqualFold(q.Question[0].Name, "empty.") {
				m.Rcode = dns.RcodeNameError
			}
			return []*dns.Msg{m}
		})
		it := w.iterator()
		for range 2 {
			if got := ask(it, "www.empty. A", Options{}); got != "NOERROR | www.empty. 300 A 192.0.2.80" {
				t.Errorf("got %s", got)
			}
		}
		if got := ask(it, "other.empty. A", Options{}); got != "NXDOMAIN" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("servers that fail at questions for part of a name are told all of it", func(t *testing.T) {
		for _, rcode := range []int{dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeFormatError} {
			w := newWorld(t)
			answer := zoneReply(t, ".", "www.empty IN A 192.0.2.80\n")
			w.serve("192.0.2.1", func(q *dns.Msg, network string) []*dns.Msg {
				if strings.EqualFold(q.Question[0].Name, "empty.") {
					return rcodeReply(rcode)(q, network)
				}
				return answer(q, network)
			})
			if got := ask(w.iterator(), "www.empty. A", Options{}); got != "NOERROR | www.empty. 300 A 192.0.2.80" {
				t.Errorf("got %s", got)
			}
		}
	})
}

func TestTheNextServerIsTried(t *testing.T) {
	answer := zoneReply(t, "com.", comZone)
	edit := func(f func(q, m *dns.Msg)) reply {
		return func(q *dns.Msg, network string) []*dns.Msg {
			m := answer(q, network)[0].Copy()
			f(q, m)
			return []*dns.Msg{m}
		}
	}
	for _, tt := range []struct {
		name    string
		first   reply // nil: silent
		outcome exchange.Outcome
	}{
		{"after one that is silent", nil, exchange.Timeout},
		{"after SERVFAIL", rcodeReply(dns.RcodeServerFailure), exchange.Refused},
		{"after REFUSED", rcodeReply(dns.RcodeRefused), exchange.Refused},
		{"after FORMERR", rcodeReply(dns.RcodeFormatError), exchange.Refused},
		{"after an answer without authority", edit(func(_, m *dns.Msg) { m.Authoritative = false }), exchange.Lame},
		{"after NXDOMAIN without authority", edit(func(_, m *dns.Msg) {
			m.Authoritative, m.Answer, m.Rcode = false, nil, dns.RcodeNameError
		}), exchange.Lame},
		{"after a referral upwards", edit(func(_, m *dns.Msg) {
			m.Authoritative, m.Answer, m.Ns = false, nil, []dns.RR{newRR(t, ". 60 IN NS a.root.")}
		}), exchange.Lame},
		{"after a referral to itself", edit(func(_, m *dns.Msg) {
			m.Authoritative, m.Answer, m.Ns = false, nil, []dns.RR{newRR(t, "com. 60 IN NS ns0.com.")}
		}), exchange.Lame},
		{"after a referral to the side", edit(func(_, m *dns.Msg) {
			m.Authoritative, m.Answer, m.Ns = false, nil, []dns.RR{newRR(t, "other.com. 60 IN NS ns.other.com.")}
		}), exchange.Lame},
		{"after an empty answer", edit(func(_, m *dns.Msg) { m.Authoritative, m.Answer, m.Ns = false, nil, nil }), exchange.Lame},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			// The bad one is the only one with glue, so that it comes first.
			w.zone("192.0.2.1", ".", "com. IN NS ns0.com.\ncom. IN NS good.net.\nns0.com. IN A 192.0.2.2\nnet. IN NS ns.net.\nns.net. IN A 192.0.2.4\n")
			if tt.first == nil {
				w.silent("192.0.2.2")
				w.timeout = 600 * time.Millisecond
			} else {
				w.serve("192.0.2.2", tt.first)
			}
			w.zone("192.0.2.4", "net.", "good IN A 192.0.2.3\n")
			w.serve("192.0.2.3", answer)
			trace := new(Trace)
			if got := ask(w.iterator(), "www.com. A", Options{Trace: trace}); got != "NOERROR | www.com. 300 A 192.0.2.80" {
				t.Errorf("got %s\n%s", got, explain(trace))
			}
			steps, _ := trace.Steps()
			n := 0
			for _, s := range steps {
				if s.Address == "192.0.2.2" {
					n++
					if s.Outcome != tt.outcome {
						t.Errorf("outcome %s, expected %s", s.Outcome, tt.outcome)
					}
				}
			}
			if n != 1 {
				t.Errorf("the first was asked %d times", n)
			}
		})
	}
	t.Run("after one that cannot be reached", func(t *testing.T) {
		w := newWorld(t)
		w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2 192.0.2.3"))
		w.route("192.0.2.2", "no port at all")
		w.serve("192.0.2.3", answer)
		it := w.iterator()
		for _, asked := range []string{"www.com. A", "alias.com. A"} {
			if got := ask(it, asked, Options{}); !strings.Contains(got, "192.0.2.80") {
				t.Errorf("got %s", got)
			}
		}
	})
}

func TestWhenEveryServerFails(t *testing.T) {
	w := newWorld(t)
	root := w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2 192.0.2.3"))
	w.serve("192.0.2.2", rcodeReply(dns.RcodeServerFailure))
	w.silent("192.0.2.3")
	w.timeout, w.limits.Attempts = 400*time.Millisecond, 3
	it, trace := w.iterator(), new(Trace)
	_, err := it.Resolve(context.Background(), "www.com.", dns.TypeA, Options{Trace: trace})
	if err == nil || err.Rcode != dns.RcodeServerFailure || err.Code != dns.ExtendedErrorCodeNoReachableAuthority {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"No name server of com. gave an answer", "ns0.com. (192.0.2.2) answered SERVFAIL", "ns1.com. (192.0.2.3) did not answer in time"} {
		if !strings.Contains(err.Sentence, part) {
			t.Errorf("%q is not in %q", part, err.Sentence)
		}
	}
	asked := map[string]int{}
	steps, _ := trace.Steps()
	for _, s := range steps {
		asked[s.Address]++
	}
	if asked["192.0.2.3"] != 3 || asked["192.0.2.2"] != 1 {
		t.Errorf("asked %v", asked)
	}
	// The zone has moved: its parent is asked again.
	w.serve("192.0.2.3", zoneReply(t, "com.", comZone))
	before := root.Load()
	if got := ask(it, "www.com. A", Options{}); got != "NOERROR | www.com. 300 A 192.0.2.80" {
		t.Errorf("got %s", got)
	}
	if root.Load() != before+1 {
		t.Error("the parent was not asked again")
	}
}

func TestWhatFailedIsSaidInASentence(t *testing.T) {
	refuse := rcodeReply(dns.RcodeRefused)
	for _, tt := range []struct {
		name  string
		build func(w *world)
		asked string
		want  string
	}{
		{"a dead root", func(w *world) { w.silent("192.0.2.1"); w.timeout = 100 * time.Millisecond }, "www.com. A",
			"SERVFAIL: No name server of . gave an answer: a.root. (192.0.2.1) did not answer in time"},
		{"a root that refuses", func(w *world) { w.serve("192.0.2.1", refuse) }, "www.com. A",
			"SERVFAIL: No name server of . gave an answer: a.root. (192.0.2.1) answered REFUSED"},
		{"a zone with more broken servers than anybody wants to read of", func(w *world) {
			w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.6 192.0.2.7"))
			for i := range 6 {
				w.serve(fmt.Sprintf("192.0.2.%d", i+2), refuse)
			}
		}, "www.com. A", "and 2 more"},
		{"a DNAME that makes too long a name", func(w *world) {
			w.zone("192.0.2.1", ".", "x IN DNAME "+strings.Repeat(strings.Repeat("y", 40)+".", 6)+"\n")
		}, strings.Repeat("a", 40) + ".x. A", "YXDOMAIN: The DNAME of x. makes a name of more than 255 octets"},
		{"a name server on the resolver's own machine", func(w *world) {
			w.zone("192.0.2.1", ".", rootOf("x 127.0.0.1 0.0.0.0 224.0.0.1 169.254.169.254"))
		}, "www.x. A", "SERVFAIL: No name server of x. gave an answer: none has a usable address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.build(w)
			trace := new(Trace)
			if got := ask(w.iterator(), tt.asked, Options{Trace: trace}); !strings.Contains(got, tt.want) {
				t.Errorf("got %s\n%s", got, explain(trace))
			}
		})
	}
}

func TestNameServersWithoutGlue(t *testing.T) {
	for _, tt := range []struct {
		name  string
		zones map[string]string // "address origin" -> records
		asked string
		want  string
	}{
		{"are looked up", map[string]string{
			"192.0.2.1 .":  rootOf("y 192.0.2.3") + "x. IN NS ns.y.\n",
			"192.0.2.2 x.": "www IN A 192.0.2.80\n",
			"192.0.2.3 y.": "ns IN A 192.0.2.2\n",
		}, "www.x. A", "NOERROR | www.x. 300 A 192.0.2.80"},
		{"are found where they only have an IPv6 address", map[string]string{
			"192.0.2.1 .":    rootOf("y 192.0.2.3") + "x. IN NS ns.y.\n",
			"2001:db8::2 x.": "www IN A 192.0.2.80\n",
			"192.0.2.3 y.":   "ns IN AAAA 2001:db8::2\n",
		}, "www.x. A", "NOERROR | www.x. 300 A 192.0.2.80"},
		{"are reached by IPv6 glue", map[string]string{
			"192.0.2.1 .":    rootOf("x 2001:db8::2"),
			"2001:db8::2 x.": "www IN A 192.0.2.80\n",
		}, "www.x. A", "NOERROR | www.x. 300 A 192.0.2.80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			for where, records := range tt.zones {
				addr, origin, _ := strings.Cut(where, " ")
				w.zone(addr, origin, records)
			}
			trace := new(Trace)
			if got := ask(w.iterator(), tt.asked, Options{Trace: trace}); got != tt.want {
				t.Errorf("got %s\n%s", got, explain(trace))
			}
		})
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
	trace := new(Trace)
	if got := ask(w.iterator(), "www. TXT", Options{Trace: trace}); !strings.Contains(got, "xxx") {
		t.Errorf("got %v", got)
	}
	if first, second := <-networks, <-networks; first != "udp" || second != "tcp" || len(networks) > 0 {
		t.Errorf("asked over %s, %s and %d more", first, second, len(networks))
	}
	steps, _ := trace.Steps()
	if s := steps[0]; s.Transport != "tcp" || s.Queries != 2 || !slices.ContainsFunc(s.Notes, func(n string) bool { return strings.Contains(n, "TCP") }) {
		t.Errorf("traced %+v", s)
	}
}

func TestTimeForAQuestion(t *testing.T) {
	t.Run("ends with resolve_timeout", func(t *testing.T) {
		w := newWorld(t)
		w.silent("192.0.2.1")
		w.timeout, w.limits.ResolveTimeout, w.limits.Attempts = 60*time.Millisecond, 100*time.Millisecond, 10
		got := ask(w.iterator(), "www. A", Options{})
		if !strings.Contains(got, "SERVFAIL: The time for the question ran out at the name servers of .: a.root. (192.0.2.1) did not answer in time") {
			t.Errorf("got %s", got)
		}
	})
	t.Run("ends with its caller's", func(t *testing.T) {
		w := newWorld(t)
		w.silent("192.0.2.1")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := w.iterator().Resolve(ctx, "www.", dns.TypeA, Options{}); err == nil {
			t.Error("no failure")
		}
	})
}

// A crowded exchanger has no place for questions to an address.
type crowded struct {
	Exchanger
	addr string
}

func (c crowded) Exchange(ctx context.Context, to exchange.Target, name string, qtype uint16, opts exchange.Options) (*exchange.Result, error) {
	if to.Addr.Addr().String() == c.addr {
		return &exchange.Result{}, &exchange.Error{Outcome: exchange.Busy}
	}
	return c.Exchanger.Exchange(ctx, to, name, qtype, opts)
}

func TestAZoneIsNotForgottenBecauseThereIsMuchToDo(t *testing.T) {
	w := newWorld(t)
	root := w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2"))
	w.silent("192.0.2.2")
	it := w.iterator()
	it.exchanger = crowded{it.exchanger, "192.0.2.2"}
	for i := range 20 {
		if got := ask(it, fmt.Sprintf("n%d.com. A", i), Options{}); !strings.Contains(got, "too many questions are under way") {
			t.Fatal(got)
		}
	}
	if n := root.Load(); n != 1 {
		t.Errorf("%d queries to the root for 20 questions that found no place", n)
	}
}
