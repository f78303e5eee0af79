package authority

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

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
	for _, rrs := range ref {
		for _, rr := range rrs {
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
	asked, err := packName(name)
	if err != nil {
		t.Fatal(err)
	}
	msg := append(make([]byte, 12, 1232), asked...)
	msg = append(msg, byte(qtype>>8), byte(qtype), 0, 1)
	q := &server.FastQuery{Name: []byte(lower(asked)), Type: qtype, Limit: limit}
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
	m.Rcode, m.Authoritative = int(reply.Rcode), reply.Authoritative
	return fastAnswer{m, len(msg)}, true
}

// A fastAnswer is a message of so many octets.
type fastAnswer struct {
	*dns.Msg
	size int
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

// holdAgree compares the fast path, the general one and the reference, and
// returns how many answers were fast.
func holdAgree(t *testing.T, seed uint64) (fast, all int) {
	set, ref := generated(t, seed)
	for _, name := range questions(seed, ref) {
		asked, err := packName(name)
		if err != nil {
			continue
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
			if _, ok := askFast(t, set, name, qtype, m.size-1); ok {
				t.Fatalf("%s: an answer of %d octets was given in fewer", question, m.size)
			}
			if again, ok := askFast(t, set, name, qtype, m.size); !ok || again.size != m.size {
				t.Fatalf("%s: an answer of %d octets was not given in as many", question, m.size)
			}
		}
	}
	return fast, all
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

// FuzzFast holds the same for other zones.
func FuzzFast(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { holdAgree(t, seed) })
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
	asked, err := packName(name)
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
