package cache

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// newCache returns one whose clock the test moves.
func newCache(t testing.TB, change func(*Config)) (*Cache, *time.Time) {
	t.Helper()
	now := epoch
	cfg := Config{MaxBytes: MinBytes, StaleFor: time.Hour, Now: func() time.Time { return now }}
	if change != nil {
		change(&cfg)
	}
	return New(cfg), &now
}

func rrs(t testing.TB, lines ...string) []dns.RR {
	t.Helper()
	var out []dns.RR
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rr)
	}
	return out
}

// entry reads an entry from a line: "rank source: record; record", or "rank
// source: NODATA", "NXDOMAIN" or "FAILED", where an SOA record or a sentence may
// follow.
func entry(t testing.TB, text string) Entry {
	t.Helper()
	head, body, ok := strings.Cut(text, ": ")
	rank, source, ok2 := strings.Cut(head, " ")
	if !ok || !ok2 {
		t.Fatalf("no entry: %q", text)
	}
	e := Entry{Source: source, TTL: 60}
	for r := RankForwarded; r <= RankAnswer; r++ {
		if r.String() == rank {
			e.Rank = r
		}
	}
	word, rest, _ := strings.Cut(body, " ")
	switch word {
	case "NODATA":
		e.Kind = NoType
	case "NXDOMAIN":
		e.Kind = NoName
	case "FAILED":
		e.Kind, e.Code, e.Sentence = Failed, dns.ExtendedErrorCodeNoReachableAuthority, rest
		return e
	default:
		e.Records = rrs(t, strings.Split(body, "; ")...)
		e.TTL = e.Records[0].Header().Ttl
		return e
	}
	if rest != "" {
		e.SOA = rrs(t, rest)[0].(*dns.SOA)
		e.TTL = min(e.SOA.Hdr.Ttl, e.SOA.Minttl)
	}
	return e
}

// brief writes an entry on a line.
func brief(e Entry, s State) string {
	if s == Missing {
		return "missing"
	}
	parts := []string{s.String(), fmt.Sprint(e.TTL), e.Kind.String()}
	for _, rr := range e.Records {
		parts = append(parts, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	if e.SOA != nil {
		parts = append(parts, e.SOA.Hdr.Name)
	}
	if e.Sentence != "" {
		parts = append(parts, e.Sentence)
	}
	return strings.Join(parts, " | ")
}

const soa = "example.com. 900 IN SOA ns.example.com. h.example.com. 1 1 1 1 60"

func TestWhatIsRemembered(t *testing.T) {
	type step struct {
		after time.Duration
		put   string // "name TYPE entry"; "" for none
		get   string // "name TYPE"
		want  string
	}
	tests := []struct {
		name   string
		change func(*Config)
		steps  []step
	}{
		{"a TTL is counted down, and a second that has begun counts", nil, []step{
			{0, "a. A answer ns: a. 60 IN A 192.0.2.1; a. 60 IN A 192.0.2.2", "a. A", "fresh | 60 | records | a. 60 IN A 192.0.2.1 | a. 60 IN A 192.0.2.2"},
			{10*time.Second + time.Millisecond, "", "a. A", "fresh | 50 | records | a. 50 IN A 192.0.2.1 | a. 50 IN A 192.0.2.2"},
			{49 * time.Second, "", "a. A", "fresh | 1 | records | a. 1 IN A 192.0.2.1 | a. 1 IN A 192.0.2.2"},
			{time.Second, "", "a. A", "stale | 0 | records | a. 0 IN A 192.0.2.1 | a. 0 IN A 192.0.2.2"},
			{time.Hour, "", "a. A", "missing"},
		}},
		{"the case of an owner does not matter, that of data is kept", nil, []step{
			{0, "a. CNAME answer ns: A. 60 IN CNAME Www.Example.COM.", "a. CNAME", "fresh | 60 | records | a. 60 IN CNAME Www.Example.COM."},
		}},
		{"a TTL has an upper and a lower limit", func(c *Config) { c.MaxTTL, c.MinTTL = 50*time.Second, 5*time.Second }, []step{
			{0, "a. A answer ns: a. 60 IN A 192.0.2.1", "a. A", "fresh | 50 | records | a. 50 IN A 192.0.2.1"},
			{0, "b. A answer ns: b. 0 IN A 192.0.2.1", "b. A", "fresh | 5 | records | b. 5 IN A 192.0.2.1"},
		}},
		{"\"no\" has a limit of its own", func(c *Config) { c.MaxNegativeTTL = 7 * time.Second }, []step{
			{0, "x.example.com. A answer ns: NODATA " + soa, "x.example.com. A", "fresh | 7 | no such type | example.com."},
			{0, "y.example.com. A answer ns: NXDOMAIN " + soa, "y.example.com. A", "fresh | 7 | no such name | example.com."},
		}},
		{"what counts for no time is not remembered, and ends what was", nil, []step{
			{0, "a. A answer ns: a. 60 IN A 192.0.2.1", "a. A", "fresh | 60 | records | a. 60 IN A 192.0.2.1"},
			{0, "a. A answer ns: a. 0 IN A 192.0.2.2", "a. A", "missing"},
		}},
		{"that a name does not exist goes for every type and all below", nil, []step{
			{0, "x.example.com. A answer ns: NXDOMAIN " + soa, "x.example.com. TXT", "fresh | 60 | no such name | example.com."},
			{0, "", "a.b.x.example.com. MX", "fresh | 60 | no such name | example.com."},
			{0, "", "example.com. MX", "missing"},
			{60 * time.Second, "", "a.x.example.com. A", "missing"},
			{0, "", "x.example.com. A", "stale | 0 | no such name | example.com."},
		}},
		{"but not for what is known to exist", nil, []step{
			{0, "x.example.com. A answer ns: NXDOMAIN " + soa, "x.example.com. A", "fresh | 60 | no such name | example.com."},
			{0, "x.example.com. TXT answer ns: x.example.com. 60 IN TXT a", "x.example.com. A", "missing"},
		}},
		{"that a type does not exist goes for that type", nil, []step{
			{0, "x.example.com. A answer ns: NODATA " + soa, "x.example.com. A", "fresh | 60 | no such type | example.com."},
			{0, "", "x.example.com. AAAA", "missing"},
		}},
		{"an SOA beside the name is left out", nil, []step{
			{0, "x.example.org. A answer ns: NODATA " + soa, "x.example.org. A", "fresh | 60 | no such type"},
		}},
		{"data of a lower rank do not replace those of a higher one", nil, []step{
			{0, "a. A answer ns: a. 60 IN A 192.0.2.1", "a. A", "fresh | 60 | records | a. 60 IN A 192.0.2.1"},
			{0, "a. A forwarded ns: a. 600 IN A 192.0.2.66", "a. A", "fresh | 60 | records | a. 60 IN A 192.0.2.1"},
			{60 * time.Second, "a. A forwarded ns: a. 600 IN A 192.0.2.66", "a. A", "fresh | 600 | records | a. 600 IN A 192.0.2.66"},
			{0, "a. A answer ns: a. 60 IN A 192.0.2.1", "a. A", "fresh | 60 | records | a. 60 IN A 192.0.2.1"},
		}},
		{"of what is stale the younger counts", nil, []step{
			{0, "x.example.com. A answer ns: x.example.com. 70 IN A 192.0.2.1", "x.example.com. A", "fresh | 70 | records | x.example.com. 70 IN A 192.0.2.1"},
			{71 * time.Second, "x.example.com. A answer ns: NXDOMAIN " + soa, "x.example.com. A", "fresh | 60 | no such name | example.com."},
			{61 * time.Second, "", "x.example.com. A", "stale | 0 | no such name | example.com."},
		}},
		{"a failure counts when there is nothing fresh", nil, []step{
			{0, "a. A answer ns: FAILED nobody answers", "a. A", "fresh | 1 | failure | nobody answers"},
			{0, "", "a. AAAA", "missing"},
			{time.Second, "", "a. A", "missing"},
			{0, "a. A answer ns: a. 60 IN A 192.0.2.1", "a. A", "fresh | 60 | records | a. 60 IN A 192.0.2.1"},
			{0, "a. A answer ns: FAILED nobody answers", "a. A", "fresh | 60 | records | a. 60 IN A 192.0.2.1"},
		}},
		{"further failures count for twice the time, to a limit, and from the start after a success", nil, []step{
			{0, "a. A answer ns: FAILED x", "a. A", "fresh | 1 | failure | x"},
			{1 * time.Second, "a. A answer ns: FAILED x", "a. A", "fresh | 2 | failure | x"},
			{2 * time.Second, "a. A answer ns: FAILED x", "a. A", "fresh | 4 | failure | x"},
			{4 * time.Second, "a. A answer ns: FAILED x", "a. A", "fresh | 8 | failure | x"},
			{8 * time.Second, "a. A answer ns: FAILED x", "a. A", "fresh | 16 | failure | x"},
			{16 * time.Second, "a. A answer ns: FAILED x", "a. A", "fresh | 30 | failure | x"},
			{30 * time.Second, "a. A answer ns: a. 1 IN A 192.0.2.1", "a. A", "fresh | 1 | records | a. 1 IN A 192.0.2.1"},
			{1 * time.Second, "a. A answer ns: FAILED x", "a. A", "fresh | 1 | failure | x"},
			{31 * time.Second, "a. A answer ns: FAILED x", "a. A", "fresh | 1 | failure | x"},
		}},
		{"nothing stale is kept where it is not wanted", func(c *Config) { c.StaleFor = 0 }, []step{
			{0, "a. A answer ns: a. 1 IN A 192.0.2.1", "a. A", "fresh | 1 | records | a. 1 IN A 192.0.2.1"},
			{time.Second, "", "a. A", "missing"},
		}},
		{"a set of several types can be remembered for ANY", nil, []step{
			{0, "a. ANY answer ns: a. 60 IN A 192.0.2.1; a. 60 IN TXT x", "a. ANY", "fresh | 60 | records | a. 60 IN A 192.0.2.1 | a. 60 IN TXT \"x\""},
			{0, "", "a. A", "missing"},
		}},
		{"a name with every octet is one", nil, []step{
			{0, `\000\.\255X. A answer ns: \000\.\255X. 60 IN A 192.0.2.1`, `\000\.\255x. A`, `fresh | 60 | records | \000\.\255x. 60 IN A 192.0.2.1`},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, now := newCache(t, tt.change)
			for i, s := range tt.steps {
				*now = now.Add(s.after)
				if s.put != "" {
					parts := strings.SplitN(s.put, " ", 3)
					c.Put(parts[0], dns.StringToType[parts[1]], entry(t, parts[2]))
				}
				name, qtype, _ := strings.Cut(s.get, " ")
				if diff := cmp.Diff(s.want, brief(c.Get(name, dns.StringToType[qtype]))); diff != "" {
					t.Errorf("step %d: %s", i, diff)
				}
			}
		})
	}
}

func TestAnEntryIsWholeAgain(t *testing.T) {
	c, now := newCache(t, nil)
	want := entry(t, "forwarded dns-com: NXDOMAIN "+soa)
	c.Put("x.example.com.", dns.TypeA, want)
	*now = now.Add(41 * time.Second)
	got, _ := c.Get("www.x.example.com.", dns.TypeA)
	want.TTL, want.Stored = 19, epoch
	want.SOA.Hdr.Ttl, want.SOA.Hdr.Rdlength = 19, got.SOA.Hdr.Rdlength
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := Reason(&got, dns.TypeA, *now); got != "NXDOMAIN cached 41 s ago from dns-com" {
		t.Errorf("got %q", got)
	}
}

func TestGetDataFindsWhatIsStaleBesideAFailure(t *testing.T) {
	c, now := newCache(t, nil)
	c.Put("a.", dns.TypeA, entry(t, "answer ns: a. 5 IN A 192.0.2.1"))
	*now = now.Add(5 * time.Second)
	c.Put("a.", dns.TypeA, entry(t, "answer ns: FAILED nobody"))
	if got := brief(c.Get("a.", dns.TypeA)); got != "fresh | 1 | failure | nobody" {
		t.Errorf("got %s", got)
	}
	if got := brief(c.GetData("a.", dns.TypeA)); got != "stale | 0 | records | a. 0 IN A 192.0.2.1" {
		t.Errorf("got %s", got)
	}
	c.Recovered("a.", dns.TypeA)
	if got := brief(c.Get("a.", dns.TypeA)); got != "stale | 0 | records | a. 0 IN A 192.0.2.1" {
		t.Errorf("got %s", got)
	}
}

func TestExactLooksInOnePlace(t *testing.T) {
	c, now := newCache(t, nil)
	c.Put("a.example.com.", dns.TypeA, entry(t, "answer ns: a.example.com. 60 IN A 192.0.2.1"))
	c.Put("a.example.com.", dns.TypeTXT, entry(t, "answer ns: NODATA "+soa))
	c.Put("a.example.com.", dns.TypeMX, entry(t, "answer ns: FAILED nobody"))
	c.Put("gone.example.com.", dns.TypeA, entry(t, "answer ns: NXDOMAIN "+soa))
	for _, tt := range []struct{ asked, want string }{
		{"a.example.com. A", "fresh | 60 | records | a.example.com. 60 IN A 192.0.2.1"},
		{"a.example.com. TXT", "fresh | 60 | no such type | example.com."},
		{"a.example.com. MX", "missing"},
		{"gone.example.com. A", "missing"},
		{"a.gone.example.com. A", "missing"},
		{"a..b. A", "missing"},
	} {
		name, qtype, _ := strings.Cut(tt.asked, " ")
		if got := brief(c.Exact(name, dns.StringToType[qtype])); got != tt.want {
			t.Errorf("%s: got %s, expected %s", tt.asked, got, tt.want)
		}
	}
	*now = now.Add(61 * time.Second)
	if got := brief(c.Exact("a.example.com.", dns.TypeA)); got != "stale | 0 | records | a.example.com. 0 IN A 192.0.2.1" {
		t.Errorf("got %s", got)
	}
	c.Put("a.example.com.", dns.TypeA, entry(t, "answer ns: NXDOMAIN "+soa))
	if got := brief(c.Exact("a.example.com.", dns.TypeA)); got != "missing" {
		t.Errorf("although the name does not exist any more: %s", got)
	}
}

func TestNamesAreAsLongAsTheyMayBe(t *testing.T) {
	c, now := newCache(t, nil)
	long := strings.Repeat(strings.Repeat("a", 62)+".", 4) // 253 octets in wire form
	for name, want := range map[string]State{"a." + long: Fresh, "aa." + long: Missing, "aaa." + long: Missing} {
		c.Put(name, dns.TypeA, Entry{Rank: RankAnswer, TTL: 60, Records: rrs(t, ". 60 IN A 192.0.2.1")})
		c.Put(name, dns.TypeTXT, Entry{Kind: Failed, Code: 22, Sentence: "no"})
		_, data := c.Get(name, dns.TypeA)
		if _, failure := c.Get(name, dns.TypeTXT); data != want || failure != want {
			t.Errorf("%d octets: %s, and the failure %s; expected %s", len(name)+1, data, failure, want)
		}
	}
	if st := c.Stats(); st.Entries != 2 {
		t.Errorf("%d entries", st.Entries)
	}
	if got := summary(ask(t, c, *now, "a."+long, dns.TypeA, nil)); !strings.HasPrefix(got, "NOERROR | a.") {
		t.Errorf("got %s", got)
	}
}

func TestDumpAndRemove(t *testing.T) {
	c, _ := newCache(t, nil)
	fill := func() {
		c.Put("a.example.com.", dns.TypeA, entry(t, "answer ns: a.example.com. 60 IN A 192.0.2.1"))
		c.Put("a.example.com.", dns.TypeTXT, entry(t, "answer ns: NODATA "+soa))
		c.Put("a.example.com.", dns.TypeMX, entry(t, "answer ns: FAILED nobody"))
		c.Put("example.com.", dns.TypeA, entry(t, "answer ns: NXDOMAIN "+soa))
		c.Put("example.com.", dns.TypeMX, entry(t, "answer ns: FAILED nobody"))
		c.Put("b.example.com.", dns.TypeA, entry(t, "answer ns: b.example.com. 60 IN A 192.0.2.1"))
	}
	fill()
	got := map[string]string{}
	for _, item := range c.Dump("a.example.com.") {
		got[item.Name+" "+dns.Type(item.Type).String()] = item.State.String() + " " + item.Kind.String()
	}
	want := map[string]string{
		"a.example.com. A": "fresh records", "a.example.com. TXT": "fresh no such type",
		"a.example.com. MX": "fresh failure", "example.com. None": "fresh no such name",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := c.Remove("a.example.com."); n != 4 {
		t.Errorf("removed %d", n)
	}
	if items := c.Dump("a.example.com."); len(items) != 0 {
		t.Errorf("got %v", items)
	}
	if _, s := c.Get("b.example.com.", dns.TypeA); s != Fresh {
		t.Error("another name is gone")
	}
	if n := c.Stats().Entries; n != 2 {
		t.Errorf("%d entries are left, expected 2", n)
	}
	if n := c.Remove("a.example.com."); n != 0 {
		t.Errorf("removed %d", n)
	}
}

func TestReason(t *testing.T) {
	for want, e := range map[string]Entry{
		"NXDOMAIN cached 41 s ago from dns-com":        {Kind: NoName, Source: "dns-com"},
		"No record of type MX cached 41 s ago from ns": {Kind: NoType, Source: "ns"},
		"No record of type TYPE65000 cached 41 s ago":  {Kind: NoType},
		"": {Kind: Records, Source: "ns"},
	} {
		e.Stored = epoch
		qtype := dns.TypeMX
		if strings.Contains(want, "TYPE65000") {
			qtype = 65000
		}
		if got := Reason(&e, qtype, epoch.Add(41*time.Second)); got != want {
			t.Errorf("got %q, expected %q", got, want)
		}
	}
}

func TestAClockThatIsSetBackMakesNothingLastForYears(t *testing.T) {
	wrong := time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)
	now := wrong
	c := New(Config{MaxBytes: MinBytes, StaleFor: time.Hour, Now: func() time.Time { return now }})
	c.Put("a.", dns.TypeA, address(t, "a.", 300))
	c.Put("b.", dns.TypeA, Entry{Kind: Failed, Code: 22, Sentence: "no"})
	for _, tt := range []struct {
		back           time.Duration
		records, fails State
		ttl            uint32
	}{
		{0, Fresh, Fresh, 300},
		{30 * time.Second, Fresh, Fresh, 300}, // no more than it ever counted
		{2 * time.Minute, Stale, Missing, 0},
		{10 * 365 * 24 * time.Hour, Stale, Missing, 0},
	} {
		now = wrong.Add(-tt.back)
		e, state := c.Get("a.", dns.TypeA)
		if _, fails := c.Get("b.", dns.TypeA); state != tt.records || e.TTL != tt.ttl || fails != tt.fails {
			t.Errorf("set back by %v: records %v (%d s), failure %v; want %v (%d s), %v", tt.back, state, e.TTL, fails, tt.records, tt.ttl, tt.fails)
		}
		if _, _, ok := ask(t, c, now, "a.", dns.TypeA, nil); ok != (tt.records == Fresh) {
			t.Errorf("set back by %v: answered in place: %v", tt.back, ok)
		}
		if _, _, ok := ask(t, c, now, "b.", dns.TypeA, nil); ok != (tt.fails == Fresh) {
			t.Errorf("set back by %v: the failure is the answer: %v", tt.back, ok)
		}
	}
}
