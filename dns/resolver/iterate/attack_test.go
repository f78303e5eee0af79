package iterate

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// An attack is a world in which somebody means harm, and a question that sets it
// off. It must cost the world no more queries than bound, and the victim, where
// there is one, no more than harm.
type attack struct {
	name  string
	build func(w *world) (victim *atomic.Int64)
	asked string
	want  string // part of the answer
	bound int
	harm  int64
}

func (a attack) run(t *testing.T) {
	w := newWorld(t)
	victim := a.build(w)
	it, trace := w.iterator(), new(Trace)
	got := ask(it, a.asked, Options{Trace: trace})
	n := 0 // silent servers count no queries, the trace does
	steps, _ := trace.Steps()
	for _, s := range steps {
		n += s.Queries
	}
	if served := len(w.queries()); served > n {
		t.Errorf("%d queries were served, and %d traced", served, n)
	}
	if !strings.Contains(got, a.want) {
		t.Errorf("got %.300s\nwant %s\n%.3000s", got, a.want, explain(trace))
	}
	if n > a.bound {
		t.Errorf("%d queries, expected at most %d\n%.3000s", n, a.bound, explain(trace))
	}
	if victim == nil {
		t.Logf("one question: %d queries (bound %d)", n, a.bound)
		return
	}
	if victim.Load() > a.harm {
		t.Errorf("%d queries to the victim, expected at most %d", victim.Load(), a.harm)
	}
	t.Logf("one question: %d queries (bound %d), %d of them to the victim (bound %d)", n, a.bound, victim.Load(), a.harm)
}

// lines writes a line n times, with %d for the number.
func lines(format string, n int) string {
	var text strings.Builder
	for i := range n {
		text.WriteString(strings.ReplaceAll(format, "%d", fmt.Sprint(i)) + "\n")
	}
	return text.String()
}

func TestAmplificationIsBounded(t *testing.T) {
	for _, a := range []attack{
		{"a delegation to 900 name servers in a victim's zone that do not exist (NXNSAttack)", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", rootOf("victim 192.0.2.2", "evil 192.0.2.3"))
			victim := w.zone("192.0.2.2", "victim.", "")
			w.zone("192.0.2.3", "evil.", lines("sub IN NS none%d.victim.", 900))
			return victim
		}, "www.sub.evil. A", "11 were not looked up", 2 + 2 + 5 + 1, 5},
		{"one to 1000, which make a message of more records than are read", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", rootOf("victim 192.0.2.2", "evil 192.0.2.3"))
			victim := w.zone("192.0.2.2", "victim.", "")
			w.zone("192.0.2.3", "evil.", lines("sub IN NS none%d.victim.", 1000))
			return victim
		}, "www.sub.evil. A", "sent a message that cannot be read", 5, 0},
		{"one to name servers that exist, and do not answer for the zone", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", rootOf("victim 192.0.2.2", "evil 192.0.2.3"))
			victim := w.zone("192.0.2.2", "victim.", lines("ns%d IN A 192.0.2.2", 100))
			w.zone("192.0.2.3", "evil.", lines("sub IN NS ns%d.victim.", 100))
			return victim
		}, "www.sub.evil. A", "answered REFUSED", 12, 8},
		{"one to addresses without end", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", rootOf("evil 192.0.2.2"))
			var text strings.Builder
			for i := range 30 {
				fmt.Fprintf(&text, "sub IN NS ns%d.sub\n", i)
				for j := range 20 {
					fmt.Fprintf(&text, "ns%d.sub IN A 198.18.%d.%d\n", i, i, j+1)
				}
			}
			w.zone("192.0.2.2", "evil.", text.String())
			refuse := w.handle("198.18.0.1", func(out dns.ResponseWriter, q *dns.Msg) {
				_ = out.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused))
			})
			real, _ := w.hosts.Dial(context.Background(), "udp", "host-198.18.0.1:53")
			addr := real.RemoteAddr().String()
			_ = real.Close()
			for i := range 30 {
				for j := range 20 {
					w.route(fmt.Sprintf("198.18.%d.%d", i, j+1), addr)
				}
			}
			return refuse
		}, "www.sub.evil. A", "The question takes more than 50 queries", 50, 48},
		{"name servers in each other's zones (TsuNAME)", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", "x. IN NS ns.y.\ny. IN NS ns.x.\n")
			return nil
		}, "www.x. A", "none has a usable address", 4, 0},
		{"name servers of many zones in a circle", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", lines("z%d. IN NS ns.z1%d.\nz1%d. IN NS ns.z%d.", 9)+"z0. IN NS ns.z1.\nz1. IN NS ns.z2.\nz2. IN NS ns.z0.\n")
			return nil
		}, "www.z0. A", "none has a usable address", 12, 0},
		{"a zone whose only name server lies within it, without glue", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", "x. IN NS ns.x.\n")
			return nil
		}, "www.x. A", "none has a usable address", 1, 0},
		{"a long row of zones, each with its name server in the next", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", "z0. IN NS ns.z1.\nz1. IN NS ns.z2.\nz2. IN NS ns.z3.\nz3. IN NS ns.z4.\nz4. IN NS ns.z5.\nz5. IN NS ns.z6.\nz6. IN NS ns.z7.\n"+rootOf("z7 192.0.2.2"))
			w.zone("192.0.2.2", "z7.", "ns IN A 192.0.2.2\n")
			return nil
		}, "www.z0. A", "looking up an address reached a limit (max_depth)", 7, 0},
		{"referrals further and further down", func(w *world) *atomic.Int64 {
			n := 0
			w.serve("192.0.2.1", func(q *dns.Msg, _ string) []*dns.Msg {
				n++
				labels := dns.SplitDomainName(q.Question[0].Name)
				zone := dns.Fqdn(strings.Join(labels[max(0, len(labels)-n):], "."))
				m := new(dns.Msg)
				m.SetReply(q)
				m.Ns = []dns.RR{newRR(w.t, zone+" 60 IN NS ns."+zone)}
				m.Extra = []dns.RR{newRR(w.t, "ns."+zone+" 60 IN A 192.0.2.1")}
				return []*dns.Msg{m}
			})
			w.limits.MaxMinimise = 0
			return nil
		}, strings.Repeat("a.", 60) + " A", "The question takes more than 30 referrals", 31, 0},
		{"a loop of CNAMEs in one zone", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", "a IN CNAME b\nb IN CNAME a\n")
			return nil
		}, "a. A", "a. is an alias in a circle: a. leads back to itself", 1, 0},
		{"a CNAME to itself", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", "a IN CNAME a\n")
			return nil
		}, "a. A", "a. is an alias in a circle", 1, 0},
		{"a loop of CNAMEs over two zones", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", rootOf("x 192.0.2.2", "y 192.0.2.3"))
			w.zone("192.0.2.2", "x.", "a IN CNAME a.y.\n")
			w.zone("192.0.2.3", "y.", "a IN CNAME a.x.\n")
			return nil
		}, "a.x. A", "a.x. is an alias in a circle: a.x. leads back to itself", 4, 0},
		{"a row of eleven CNAMEs is followed", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", cnames(11))
			return nil
		}, "c0. A", "c11. 300 A 192.0.2.80", 1, 0},
		{"a row of twelve is not", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", cnames(12))
			return nil
		}, "c0. A", "c0. leads through more than 11 aliases (CNAME, DNAME)", 1, 0},
		{"a DNAME to below itself, which makes longer and longer names", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", "x IN DNAME y.x.\n")
			return nil
		}, "a.x. A", "a.x. leads through more than 11 aliases", 3, 0},
		{"a loop of DNAMEs over two zones", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", rootOf("x 192.0.2.2", "y 192.0.2.3"))
			w.zone("192.0.2.2", "x.", "d IN DNAME d.y.\n")
			w.zone("192.0.2.3", "y.", "d IN DNAME d.x.\n")
			return nil
		}, "a.d.x. A", "a.d.x. is an alias in a circle", 8, 0},
		{"a set of a thousand records (KeyTrap, large RRsets)", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", lines("big IN TXT \"%d\"", 900))
			return nil
		}, "big. TXT", "sent 900 records in one set, and 256 are the limit", 3, 0},
		{"a name of 120 labels", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", strings.Repeat("a.", 120)+" IN A 192.0.2.80\n")
			return nil
		}, strings.Repeat("a.", 120) + " A", "A 192.0.2.80", 11, 0},
		{"a dead root", func(w *world) *atomic.Int64 {
			w.silent("192.0.2.1")
			w.timeout = 100 * time.Millisecond
			return nil
		}, "www.com. A", "did not answer in time", 8, 0},
		{"all servers lame", func(w *world) *atomic.Int64 {
			w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2 192.0.2.3"))
			up := func(q *dns.Msg, _ string) []*dns.Msg {
				m := new(dns.Msg)
				m.SetReply(q)
				m.Ns = []dns.RR{newRR(w.t, ". 60 IN NS a.root.")}
				m.Extra = []dns.RR{newRR(w.t, "a.root. 60 IN A 192.0.2.66")}
				return []*dns.Msg{m}
			}
			w.serve("192.0.2.2", up)
			w.serve("192.0.2.3", up)
			return w.serve("192.0.2.66", up)
		}, "www.example.com. A", "does not answer for the zone", 5, 0},
	} {
		t.Run(a.name, a.run)
	}
}

func cnames(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "c%d IN CNAME c%d\n", i, i+1)
	}
	return text.String() + fmt.Sprintf("c%d IN A 192.0.2.80\n", n)
}

func TestAFailedLookUpIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.zone("192.0.2.1", ".", "x. IN NS ns.y.\n"+rootOf("y 192.0.2.2"))
	victim := w.serve("192.0.2.2", rcodeReply(dns.RcodeServerFailure))
	it := w.iterator()
	ask(it, "a.x. A", Options{})
	first := victim.Load()
	for i := range 20 {
		ask(it, fmt.Sprintf("n%d.x. A", i), Options{})
	}
	if first == 0 || victim.Load() != first {
		t.Errorf("%d queries after the first question, %d after 20 more", first, victim.Load())
	}
	t.Logf("21 questions: %d queries to the failing server", victim.Load())
	w.clock.forward(time.Minute)
	ask(it, "a.x. A", Options{})
	if victim.Load() == first {
		t.Error("it was remembered for ever")
	}
}

// Or else somebody's own zones, nested up to the limit, would have the names of
// another's remembered as failed.
func TestALookUpThatFailedByALimitSaysNothingOfTheZone(t *testing.T) {
	w := newWorld(t)
	w.limits.MaxDepth = 1
	w.zone("192.0.2.1", ".", "victim. IN NS ns.helper.\nhelper. IN NS ns.far.\n"+rootOf("far 192.0.2.2"))
	s := w.iterator().newResolution(Options{})
	victim := &Delegation{Zone: "victim.", Servers: []NameServer{{Name: "ns.helper."}}}
	for _, attempt := range []string{"the first time", "when it was looked up before"} {
		a, err := s.askZone(t.Context(), victim, question{"victim.", "www.victim.", dns.TypeA}, "", 0)
		if err != nil || a.failed == "" || a.limit != "max_depth" {
			t.Errorf("%s: %v, failed: %q, limit: %q", attempt, err, a.failed, a.limit)
		}
	}
}

func TestForgedAnswersAreIgnored(t *testing.T) {
	answer := zoneReply(t, ".", comZone)
	forge := func(f func(m *dns.Msg)) dns.HandlerFunc {
		return func(out dns.ResponseWriter, q *dns.Msg) {
			right := answer(q, "")[0]
			if out.LocalAddr().Network() == "udp" {
				m := right.Copy()
				m.Answer = []dns.RR{newRR(t, "www. 300 IN A 203.0.113.66")}
				f(m)
				_ = out.WriteMsg(m)
			}
			_ = out.WriteMsg(right)
		}
	}
	for _, tt := range []struct {
		name    string
		handler dns.HandlerFunc
		bound   int
	}{
		{"with another id", forge(func(m *dns.Msg) { m.Id++ }), 1},
		{"with another name", forge(func(m *dns.Msg) { m.Question[0].Name = "evil." }), 1},
		{"with another type", forge(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT }), 1},
		{"with another class", forge(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), 1},
		{"without the question", forge(func(m *dns.Msg) { m.Question = nil }), 1},
		{"with two questions", forge(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), 1},
		{"that is a query", forge(func(m *dns.Msg) { m.Response = false }), 1},
		{"that answers another opcode", forge(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }), 1},
		{"with the right id and other capitals", forge(func(m *dns.Msg) {
			name := []byte(m.Question[0].Name)
			for i := range 3 {
				name[i] ^= 0x20
			}
			m.Question[0].Name = string(name)
		}), 3},
		{"from another port", func(out dns.ResponseWriter, q *dns.Msg) {
			m := answer(q, "")[0]
			forged := m.Copy()
			forged.Answer = []dns.RR{newRR(t, "www. 300 IN A 203.0.113.66")}
			wire, _ := forged.Pack()
			if to, ok := out.RemoteAddr().(*net.UDPAddr); ok {
				pc, err := net.ListenPacket("udp", "127.0.0.1:0")
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = pc.WriteTo(wire, to)
				_ = pc.Close()
			}
			_ = out.WriteMsg(m)
		}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.handle("192.0.2.1", tt.handler)
			trace := new(Trace)
			if got := ask(w.iterator(), "www. A", Options{Trace: trace}); got != "NOERROR | www. 300 A 192.0.2.80" {
				t.Errorf("got %s\n%s", got, explain(trace))
			}
			n := len(w.queries())
			if n > tt.bound {
				t.Errorf("%d queries, expected at most %d", n, tt.bound)
			}
			t.Logf("one question: %d queries (bound %d)", n, tt.bound)
		})
	}
}

func TestMalformedMessagesAreNoUse(t *testing.T) {
	// raw begins with a good header and question, and goes on with body, which
	// claims to be one record of the answer.
	raw := func(body string) dns.HandlerFunc {
		return func(out dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg)
			m.SetReply(q)
			m.Authoritative = true
			wire, err := m.Pack()
			if err != nil {
				t.Error(err)
			}
			binary.BigEndian.PutUint16(wire[6:], 1)
			_, _ = out.Write(append(wire, body...))
		}
	}
	for name, handler := range map[string]dns.HandlerFunc{
		"a name that points to itself":              raw("\xC0\x15\x00\x01\x00\x01\x00\x00\x00\x3C\x00\x04\xC0\x00\x02\x42"),
		"names that point to each other":            raw("\xC0\x17\xC0\x15\x00\x01\x00\x01\x00\x00\x00\x3C\x00\x04\xC0\x00\x02\x42"),
		"a name that points behind the message":     raw("\xFF\xFF\x00\x01\x00\x01\x00\x00\x00\x3C\x00\x04\xC0\x00\x02\x42"),
		"a label longer than a label may be":        raw("\x80aaaa\x00\x00\x01\x00\x01\x00\x00\x00\x3C\x00\x04\xC0\x00\x02\x42"),
		"a record that is cut short":                raw("\xC0\x0C\x00\x01\x00\x01\x00\x00\x00\x3C\x00\x04\xC0"),
		"a record that is longer than its data":     raw("\xC0\x0C\x00\x01\x00\x01\x00\x00\x00\x3C\xFF\xFF\xC0\x00\x02\x42"),
		"a CNAME whose target points to itself":     raw("\xC0\x0C\x00\x05\x00\x01\x00\x00\x00\x3C\x00\x02\xC0\x21"),
		"nothing where a record was announced":      raw(""),
		"an address of three octets":                raw("\xC0\x0C\x00\x01\x00\x01\x00\x00\x00\x3C\x00\x03\xC0\x00\x02"),
		"a record without data where some must be":  raw("\xC0\x0C\x00\x01\x00\x01\x00\x00\x00\x3C\x00\x00"),
		"an owner of more than 255 octets, by jump": raw(strings.Repeat("\x3F"+strings.Repeat("a", 63), 5) + "\x00\x00\x01\x00\x01\x00\x00\x00\x3C\x00\x04\xC0\x00\x02\x42"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2 192.0.2.3"))
			w.handle("192.0.2.2", handler)
			w.zone("192.0.2.3", "com.", comZone)
			it := w.iterator()
			for i := range 5 { // so that the bad one is asked too
				asked := fmt.Sprintf("n%d.com. A", i)
				trace := new(Trace)
				got := ask(it, asked, Options{Trace: trace})
				if got != "NXDOMAIN" && got != "NODATA" { // the last case is an empty answer
					t.Errorf("got %s\n%s", got, explain(trace))
				}
			}
			n := len(w.queries())
			if n > 11 {
				t.Errorf("%d queries", n)
			}
			t.Logf("five questions: %d queries", n)
		})
	}
}

func TestWhatIsOutsideOfTheBailiwickIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	// The name server of evil. offers records of names that are not its own.
	w.zone("192.0.2.1", ".", rootOf("evil 192.0.2.2", "good 192.0.2.3"))
	w.serve("192.0.2.2", func(q *dns.Msg, _ string) []*dns.Msg {
		m := new(dns.Msg)
		m.SetReply(q)
		switch strings.ToLower(q.Question[0].Name) {
		case "sub.evil.": // a referral to a server in another zone, with its "address"
			m.Ns = []dns.RR{newRR(t, "sub.evil. 300 IN NS ns.good.")}
			m.Extra = []dns.RR{newRR(t, "ns.good. 300 IN A 192.0.2.66")}
		case "alias.evil.": // a CNAME out of the zone, with what it "leads to"
			m.Authoritative = true
			m.Answer = []dns.RR{newRR(t, "alias.evil. 300 IN CNAME www.good."), newRR(t, "www.good. 300 IN A 192.0.2.66")}
			m.Extra = []dns.RR{newRR(t, "www.good. 300 IN A 192.0.2.66")}
		case "gone.evil.": // a CNAME out of the zone to what "does not exist"
			m.Authoritative, m.Rcode = true, dns.RcodeNameError
			m.Answer = []dns.RR{newRR(t, "gone.evil. 300 IN CNAME www.good.")}
			m.Ns = []dns.RR{newRR(t, "good. 300 IN SOA ns.good. h.good. 1 1 1 1 300")}
		case "kashpureff.evil.": // an answer with all that it would like to be believed
			m.Authoritative = true
			m.Answer = []dns.RR{newRR(t, "kashpureff.evil. 300 IN A 192.0.2.80"), newRR(t, "www.good. 300 IN A 192.0.2.66")}
			m.Ns = []dns.RR{newRR(t, "good. 300 IN NS ns.evil."), newRR(t, ". 300 IN NS ns.evil."), newRR(t, "evil. 300 IN NS ns.good.")}
			m.Extra = []dns.RR{newRR(t, "ns.evil. 300 IN A 192.0.2.66"), newRR(t, "ns.good. 300 IN A 192.0.2.66"), newRR(t, "a.root. 300 IN A 192.0.2.66")}
		case "dname.evil.": // a DNAME above itself
			m.Authoritative = true
			m.Answer = []dns.RR{newRR(t, ". 300 IN DNAME evil."), newRR(t, "dname.evil. 300 IN A 192.0.2.80")}
		}
		return []*dns.Msg{m}
	})
	w.zone("192.0.2.3", "good.", "ns IN A 192.0.2.4\nwww IN A 192.0.2.80\n")
	w.zone("192.0.2.4", "sub.evil.", "www IN A 192.0.2.81\n")
	trap := w.serve("192.0.2.66", rcodeReply(dns.RcodeSuccess))
	it := w.iterator()
	for _, tt := range [][2]string{
		{"kashpureff.evil. A", "NOERROR | kashpureff.evil. 300 A 192.0.2.80"},
		{"www.sub.evil. A", "NOERROR | www.sub.evil. 300 A 192.0.2.81"},
		{"alias.evil. A", "NOERROR | alias.evil. 300 CNAME www.good.; www.good. 300 A 192.0.2.80"},
		{"gone.evil. A", "NOERROR | gone.evil. 300 CNAME www.good.; www.good. 300 A 192.0.2.80"},
		{"dname.evil. A", "NOERROR | dname.evil. 300 A 192.0.2.80"},
		{"ns.good. A", "NOERROR | ns.good. 300 A 192.0.2.4"},
		{"www.good. A", "NOERROR | www.good. 300 A 192.0.2.80"},
	} {
		trace := new(Trace)
		if got := ask(it, tt[0], Options{Trace: trace}); got != tt[1] {
			t.Errorf("%s: got %s, expected %s\n%s", tt[0], got, tt[1], explain(trace))
		}
	}
	if n := trap.Load(); n != 0 {
		t.Errorf("the trap was asked %d times", n)
	}
	t.Logf("seven questions: %d queries, 0 of them to the trap", len(w.queries()))
}

func TestGlueIsNotGivenToClients(t *testing.T) {
	w := newWorld(t)
	w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2"))
	w.zone("192.0.2.2", "com.", comZone+"ns0 IN A 192.0.2.99\n")
	it := w.iterator()
	ask(it, "www.com. A", Options{})
	if got := ask(it, "ns0.com. A", Options{}); got != "NOERROR | ns0.com. 300 A 192.0.2.99" {
		t.Errorf("got %s", got)
	}
}

func TestHugeTTLsAreCut(t *testing.T) {
	w := newWorld(t)
	w.zone("192.0.2.1", ".", "com. 2147483647 IN NS ns.com.\nns.com. 2147483647 IN A 192.0.2.2\nnet. 4294967295 IN NS ns.net.\nns.net. 60 IN A 192.0.2.3\n")
	w.zone("192.0.2.2", "com.", "www IN A 192.0.2.80\n")
	w.zone("192.0.2.3", "net.", "www IN A 192.0.2.80\n")
	it := w.iterator()
	ask(it, "www.com. A", Options{})
	ask(it, "www.net. A", Options{})
	if d := it.Closest("net."); d.Zone != "." {
		t.Error("a TTL with its top bit set was not taken for 0")
	}
	w.clock.forward(24*time.Hour - time.Second)
	if d := it.Closest("com."); d.Zone != "com." {
		t.Error("the delegation was forgotten too early")
	}
	w.clock.forward(time.Second)
	if d := it.Closest("com."); d.Zone != "." {
		t.Error("the delegation was not forgotten after max_delegation_ttl")
	}
}
