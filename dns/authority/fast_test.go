package authority

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/dns/server"
)

// generated returns zones of random records over few names, so that they meet:
// one that delegates, perhaps, another of them, and one elsewhere.
func generated(t testing.TB, seed uint64) (*zoneSet, reference) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	name := func(origin string) string {
		out := origin
		for range rng.IntN(4) {
			out = pick("a", "b", "c", "*", "Long-label-0123456789", "ns") + "." + out
		}
		return out
	}
	origins := []string{"ex.", "b.ex.", "other."}[:1+rng.IntN(3)]
	anywhere := func() string { return name(append(origins, "far.away.")[rng.IntN(len(origins)+1)]) }
	var zones []*Zone
	ref := reference{}
	for _, origin := range origins {
		minttl := pick("30", "900")
		text := fmt.Sprintf("$TTL 300\n%[1]s SOA ns.%[1]s h.%[1]s 1 9 8 7 %[2]s\n%[1]s NS ns.%[1]s\nns.%[1]s A 192.0.2.1\n", origin, minttl)
		for range rng.IntN(30) {
			owner, more := name(origin), ""
			switch pick("A", "AAAA", "TXT", "MX", "SRV", "CNAME", "CNAME", "DNAME", "NS", "NS", "DS", "HTTPS", "PTR") {
			case "A":
				more = owner + " A 192.0.2." + pick("1", "2", "3")
			case "AAAA":
				more = owner + " 200 AAAA 2001:db8::" + pick("1", "2")
			case "TXT":
				more = owner + " TXT " + pick("x", `"y z"`)
			case "MX":
				more = owner + " MX 10 " + anywhere()
			case "SRV":
				more = owner + " SRV 0 0 80 " + anywhere()
			case "CNAME":
				more = owner + " 100 CNAME " + anywhere()
			case "DNAME":
				more = owner + " 50 DNAME " + pick(anywhere(), ".")
			case "NS":
				more = owner + " 70 NS " + anywhere()
				if rng.IntN(2) == 0 {
					more = owner + " 70 NS ns." + owner + "\nns." + owner + " A 192.0.2.9"
				}
			case "DS":
				more = owner + " DS 1 8 2 " + strings.Repeat("00", 32)
			case "HTTPS":
				more = owner + " HTTPS " + pick("0 "+anywhere(), "1 .", "1 "+anywhere()+" alpn=h2")
			case "PTR":
				more = owner + " PTR " + anywhere()
			}
			if _, err := ReadZone(origin, strings.NewReader(text+more+"\n"), "generated"); err == nil {
				text += more + "\n"
			}
		}
		zones = append(zones, mustZone(t, origin, text))
		parser := dns.NewZoneParser(strings.NewReader(text), ".", "")
		for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
			if !slices.ContainsFunc(ref[origin], func(other dns.RR) bool { return dns.IsDuplicate(rr, other) }) {
				ref[origin] = append(ref[origin], rr)
			}
		}
	}
	return newZoneSet(zones...), ref
}

// questions returns names that are in the zones, below or beside one that is.
func questions(seed uint64, ref reference) (names []string) {
	rng := rand.New(rand.NewPCG(seed, 2))
	for _, origin := range slices.Sorted(maps.Keys(ref)) {
		for _, rr := range ref[origin] {
			name := rr.Header().Name
			names = append(names, name, "x."+name, "*."+name, "X.Y."+strings.ToUpper(name), "a."+name[strings.Index(name, ".")+1:])
			if rng.IntN(10) == 0 && len(name) < 60 {
				names = append(names, strings.Repeat("0123456789012345678901234567890123456789.", 5)[:rng.IntN(200)+1]+"."+name)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return slices.DeleteFunc(names, func(name string) bool { _, ok := dns.IsDomainName(name); return !ok || strings.Contains(name, "..") })
}

// askFast asks the fast path, as package server does, and returns what it said.
func askFast(t testing.TB, s *zoneSet, name string, qtype uint16, limit int) (fastAnswer, bool) {
	t.Helper()
	asked, err := wirename.Pack(name)
	if err != nil {
		t.Fatal(err)
	}
	msg := append(make([]byte, 12, 1232), asked...)
	msg = append(msg, byte(qtype>>8), byte(qtype), 0, 1)
	q := &server.FastQuery{Name: []byte(wirename.Lower(asked)), Type: qtype, Limit: limit}
	var reply server.FastReply
	msg, ok := s.answerFast(q, msg, &reply)
	if !ok {
		return fastAnswer{}, false
	}
	if len(msg) > limit {
		t.Fatalf("%s %s: %d octets, the limit is %d", name, dns.Type(qtype), len(msg), limit)
	}
	for i, n := range []uint16{1, reply.Answer, reply.Authority, reply.Additional} {
		msg[4+2*i], msg[5+2*i] = byte(n>>8), byte(n)
	}
	msg[2] = 0x80
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		t.Fatalf("%s %s: the fast answer is malformed: %v\n%x", name, dns.Type(qtype), err, msg)
	}
	m.Rcode, m.Authoritative, m.Truncated = int(reply.Rcode), reply.Authoritative, reply.Truncated
	return fastAnswer{m, len(msg), msg, questionAt + len(asked) + questionIs}, true
}

// A fastAnswer is a message of so many octets, and where its question ends.
type fastAnswer struct {
	*dns.Msg
	size        int
	wire        []byte
	questionEnd int
}

// canonicalText is a result to compare: without case, and with the additional
// records sorted where their order is free.
func canonicalText(r Result, sorted bool) string {
	var out strings.Builder
	fmt.Fprintln(&out, dns.RcodeToString[r.Rcode], r.Authoritative)
	for i, section := range [][]dns.RR{r.Answer, r.Authority, r.Additional} {
		var lines []string
		for _, rr := range section {
			lines = append(lines, strings.ToLower(rr.String()))
		}
		if sorted && i == 2 {
			slices.Sort(lines)
		}
		fmt.Fprintln(&out, []string{"answer", "authority", "additional"}[i], strings.Join(lines, "\n"))
	}
	return out.String()
}

var askedTypes = []uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeNS, dns.TypeCNAME, dns.TypeDNAME, dns.TypeDS, dns.TypeSOA,
	dns.TypeMX, dns.TypeSRV, dns.TypeHTTPS, dns.TypePTR, 65280,
}

// holdAgree compares the fast path, the general one and the reference on every
// question about the zones of a seed, and returns how many answers were fast.
func holdAgree(t *testing.T, seed uint64) (fast, all int) {
	set, ref := generated(t, seed)
	for i, name := range questions(seed, ref) {
		f, a := holdAgreeOn(t, seed, set, ref, name, i%5 == 0)
		fast, all = fast+f, all+a
	}
	return fast, all
}

// holdAgreeOn does so for one name, and all types; with cut, also where the answer
// does not fit.
func holdAgreeOn(t *testing.T, seed uint64, set *zoneSet, ref reference, name string, cut bool) (fast, all int) {
	asked, err := wirename.Pack(name)
	if err != nil {
		return 0, 0
	}
	for _, qtype := range askedTypes {
		if ref.zoneOf(dns.CanonicalName(name), qtype) == "" {
			continue
		}
		question := fmt.Sprintf("seed %d: %s %s", seed, name, dns.Type(qtype))
		general := set.lookup(asked, qtype)
		if diff := cmp.Diff(canonicalText(ref.lookup(name, qtype), true), canonicalText(general, true)); diff != "" {
			t.Fatalf("%s: the general answer is not the reference's: %s", question, diff)
		}
		if len(general.Answer) > 0 {
			if first := general.Answer[0].Header(); first.Rrtype != dns.TypeDNAME && first.Name != name {
				t.Fatalf("%s: the owner is %s", question, first.Name)
			}
		}
		all++
		m, ok := askFast(t, set, name, qtype, dns.MaxMsgSize)
		if !ok {
			if mustBeFast(general) {
				t.Fatalf("%s: the fast path left it: %s", question, canonicalText(general, false))
			}
			continue
		}
		fast++
		got := Result{m.Rcode, m.Authoritative, m.Answer, m.Ns, m.Extra}
		if diff := cmp.Diff(canonicalText(general, false), canonicalText(got, false)); diff != "" {
			t.Fatalf("%s: the fast answer is not the general one: %s", question, diff)
		}
		if len(m.Answer) > 0 && m.Answer[0].Header().Rrtype != dns.TypeDNAME && m.Answer[0].Header().Name != name {
			t.Fatalf("%s: the fast owner is %s", question, m.Answer[0].Header().Name)
		}
		if cut {
			holdCut(t, question, m, func(limit int) (fastAnswer, bool) { return askFast(t, set, name, qtype, limit) })
		}
	}
	return fast, all
}

// holdCut holds that an answer which does not fit is left to the general path or
// cut as package server cuts: to the most records that fit, and with the bit TC
// where one is missing that is needed.
func holdCut(t *testing.T, question string, whole fastAnswer, ask func(limit int) (fastAnswer, bool)) {
	t.Helper()
	records := func(m *dns.Msg) []dns.RR { return slices.Concat(m.Answer, m.Ns, m.Extra) }
	ends := []int{whole.questionEnd}
	for range records(whole.Msg) {
		_, end, err := dns.UnpackRR(whole.wire, ends[len(ends)-1])
		if err != nil {
			t.Fatalf("%s: %v", question, err)
		}
		ends = append(ends, end)
	}
	needed := len(whole.Answer) + len(whole.Ns)
	if len(whole.Answer) == 0 && !whole.Authoritative {
		needed += len(whole.Extra)
	}
	// A CNAME record led on, or a DNAME record would have, to a name too long.
	leads := whole.Rcode == dns.RcodeYXDomain ||
		slices.ContainsFunc(whole.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeCNAME })
	for n, end := range ends {
		limits := []int{end}
		if n < len(ends)-1 {
			limits = append(limits, ends[n+1]-1)
		}
		for _, limit := range limits {
			m, ok := ask(limit)
			if !ok {
				if n == len(ends)-1 || !leads {
					t.Fatalf("%s: left to the general path in %d octets", question, limit)
				}
				continue
			}
			if m.size != end || m.Rcode != whole.Rcode || m.Authoritative != whole.Authoritative || m.Truncated != (n < needed) {
				t.Fatalf("%s: in %d octets got %d, expected %d: %v", question, limit, m.size, end, m)
			}
			same := func(a, b dns.RR) bool { return a.String() == b.String() }
			if !slices.EqualFunc(records(m.Msg), records(whole.Msg)[:n], same) {
				t.Fatalf("%s: in %d octets got %v", question, limit, m)
			}
		}
	}
}

// mustBeFast reports whether an answer is one that the fast path has: no long
// chain or circle, and none that comes by a DNAME record twice.
func mustBeFast(r Result) bool {
	aliases, below := 0, ""
	owners := map[string]bool{}
	for _, rr := range r.Answer {
		switch rr := rr.(type) {
		case *dns.CNAME:
			aliases++
			owners[dns.CanonicalName(rr.Hdr.Name)] = true
			if owners[dns.CanonicalName(rr.Target)] {
				return false
			}
			if below != "" && (aliases > 1 || dns.IsSubDomain(below, rr.Target)) {
				return false
			}
		case *dns.DNAME:
			below = rr.Hdr.Name
		}
	}
	return aliases < fastChain
}

func TestFastAnswersAreTheGeneralOnes(t *testing.T) {
	fast, all := 0, 0
	for seed := range uint64(40) {
		f, a := holdAgree(t, seed)
		fast, all = fast+f, all+a
	}
	if fast*100 < all*90 {
		t.Errorf("%d of %d answers were fast", fast, all)
	}
}

// TestBothWaysThroughTheServer holds that a client sees no difference between the
// two paths. How much of an answer fits is each one's own matter: they compress
// differently.
func TestBothWaysThroughTheServer(t *testing.T) {
	for seed := range uint64(8) {
		set, ref := generated(t, seed)
		s, err := New(DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		s.zones.Store(set)
		counters, err := server.NewMetrics("general", prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		general := &server.Server{Handler: struct{ server.Handler }{s}, Logger: s.logger, Health: s.health, Metrics: counters, Limits: DefaultConfig().Limits}
		for i, name := range append(questions(seed, ref), "far.away.", "FAR.a\\.way.", ".") {
			for _, qtype := range append(askedTypes, dns.TypeANY, dns.TypeNXNAME, dns.TypeAXFR) {
				q := new(dns.Msg).SetQuestion(name, qtype)
				if i%2 == 0 {
					q.SetEdns0(1232, i%4 == 0)
				}
				q.CheckingDisabled = i%3 == 0
				wire, err := q.Pack()
				if err != nil {
					t.Fatal(err)
				}
				var got [2]*dns.Msg
				for way, of := range []*server.Server{general, s.server} {
					got[way] = new(dns.Msg)
					if err := got[way].Unpack(of.Respond(t.Context(), wire, netip.MustParseAddrPort("192.0.2.99:5"), "udp")); err != nil {
						t.Fatalf("seed %d: %s %s: %v", seed, name, dns.Type(qtype), err)
					}
				}
				if qtype == dns.TypeAXFR {
					got[0].Rcode, got[0].Extra = got[1].Rcode, got[1].Extra // one is a Transferrer
				}
				text := func(m *dns.Msg) string { return strings.ToLower(m.String()) }
				if got[0].Truncated || got[1].Truncated {
					text = func(m *dns.Msg) string { return fmt.Sprint(m.Rcode, m.Authoritative, m.Question, m.IsEdns0()) }
				}
				if diff := cmp.Diff(text(got[0]), text(got[1])); diff != "" {
					t.Fatalf("seed %d: %s %s: in place it says otherwise (-general +fast):\n%s", seed, name, dns.Type(qtype), diff)
				}
			}
		}
	}
}

// FuzzFast holds the same for a name of other zones.
func FuzzFast(f *testing.F) {
	f.Add(uint64(1), uint16(0))
	f.Fuzz(func(t *testing.T, seed uint64, at uint16) {
		set, ref := generated(t, seed)
		if names := questions(seed, ref); len(names) > 0 {
			holdAgreeOn(t, seed, set, ref, names[int(at)%len(names)], true)
		}
	})
}

// TestFastLeavesAnOverlongNameThatDoesNotFit: the zones of this seed have a DNAME
// record that leads to names too long, in an answer which is cut.
func TestFastLeavesAnOverlongNameThatDoesNotFit(t *testing.T) {
	set, ref := generated(t, 794)
	for _, name := range questions(794, ref) {
		holdAgreeOn(t, 794, set, ref, name, true)
	}
}

func TestFastRefusal(t *testing.T) {
	s := all(t)
	reply := server.FastReply{Sentence: make([]byte, 0, 255)}
	set := newZoneSet(zoneAt(t, s, "com."))
	msg, ok := set.answerFast(&server.FastQuery{Name: []byte("\x03a.b\x03org\x00"), Type: dns.TypeA}, []byte("before"), &reply)
	if !ok || string(msg) != "before" || reply.Rcode != dns.RcodeRefused || reply.Authoritative {
		t.Errorf("got %q, %v, %+v", msg, ok, reply)
	}
	if want := `This server does not answer for a\.b.org.`; !reply.Explained || string(reply.Sentence) != want {
		t.Errorf("got %q, want %q", reply.Sentence, want)
	}
}

// hot are questions of every kind, about testZone and hotZone.
var hot = map[string]string{
	"a name":       "www2.example.com. A",
	"no type":      "www2.example.com. AAAA",
	"no name":      "nope.example.com. A",
	"a wildcard":   "foo.bar.wild.example.com. A",
	"a CNAME":      "alias2.example.com. A",
	"a referral":   "www.sub.example.com. A",
	"a DNAME":      "onlytxt.old.example.com. TXT",
	"MX and hosts": "example.com. MX",
	"refused":      "example.org. A",
	"an ENT":       "ent.example.com. A",
}

const hotZone = testZone + "old IN DNAME example.com.\n"

func TestFastAllocatesNothing(t *testing.T) {
	set := newZoneSet(mustZone(t, "example.com.", hotZone))
	for name, question := range hot {
		t.Run(name, func(t *testing.T) {
			q, msg := fastQuestion(t, question)
			reply := server.FastReply{Sentence: make([]byte, 0, 255)}
			if n := testing.AllocsPerRun(100, func() {
				reply = server.FastReply{Sentence: reply.Sentence[:0]}
				if _, ok := set.answerFast(q, msg, &reply); !ok {
					t.Fatal("left to the general path")
				}
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func fastQuestion(t testing.TB, question string) (*server.FastQuery, []byte) {
	t.Helper()
	name, qtype, _ := strings.Cut(question, " ")
	asked, err := wirename.Pack(name)
	if err != nil {
		t.Fatal(err)
	}
	msg := append(make([]byte, 12, 1232), asked...)
	return &server.FastQuery{Name: asked, Type: dns.StringToType[qtype], Limit: 1232}, append(msg, 0, byte(dns.StringToType[qtype]), 0, 1)
}

func BenchmarkAnswerFast(b *testing.B) {
	set := newZoneSet(mustZone(b, "example.com.", hotZone))
	for name, question := range hot {
		b.Run(name, func(b *testing.B) {
			q, msg := fastQuestion(b, question)
			sentence := make([]byte, 0, 255)
			b.ReportAllocs()
			for b.Loop() {
				reply := server.FastReply{Sentence: sentence}
				set.answerFast(q, msg, &reply)
			}
		})
	}
}

func BenchmarkAnswerGeneral(b *testing.B) {
	s := all(b)
	q := &server.Query{Name: "example.com.", Type: dns.TypeA, Question: dns.Question{Name: "example.com.", Qtype: dns.TypeA, Qclass: 1}}
	b.ReportAllocs()
	for b.Loop() {
		s.Answer(context.Background(), q, new(dns.Msg))
	}
}
