package cache

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"minicloud.internal/dns/server"
)

// ask puts a question to AnswerFast as package server does, and returns the
// message as miekg/dns reads it.
func ask(t testing.TB, c *Cache, now time.Time, name string, qtype uint16, change func(*server.FastQuery)) (*dns.Msg, *server.FastReply, bool) {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.Id = 0
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := wireName(name)
	if err != nil {
		t.Fatal(err)
	}
	q := &server.FastQuery{Name: canonical, Type: qtype, EDNS: true, Limit: 1232, Now: now.UnixNano(), Source: netip.MustParseAddrPort("127.0.0.1:53")}
	if change != nil {
		change(q)
	}
	reply := &server.FastReply{Sentence: make([]byte, 0, 255)}
	out, ok := c.AnswerFast(q, slices.Grow(wire, 2048), reply)
	if !ok {
		return nil, reply, false
	}
	if len(out) > q.Limit {
		t.Fatalf("%d octets, over the limit of %d", len(out), q.Limit)
	}
	binary.BigEndian.PutUint16(out[6:], reply.Answer)
	binary.BigEndian.PutUint16(out[8:], reply.Authority)
	binary.BigEndian.PutUint16(out[10:], reply.Additional)
	out[3] |= reply.Rcode
	got := new(dns.Msg)
	if err := got.Unpack(out); err != nil {
		t.Fatalf("the answer is malformed: %v\n%x", err, out)
	}
	return got, reply, true
}

func summary(m *dns.Msg, reply *server.FastReply, ok bool) string {
	if !ok {
		return "left"
	}
	var out strings.Builder
	out.WriteString(dns.RcodeToString[m.Rcode])
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		out.WriteString(" |")
		for _, rr := range section {
			out.WriteString(" " + strings.ReplaceAll(rr.String(), "\t", " ") + ";")
		}
	}
	if reply.Explained {
		fmt.Fprintf(&out, " %d %s", reply.Code, reply.Sentence)
	}
	return out.String()
}

func TestAnswerFast(t *testing.T) {
	c, now := newCache(t, nil)
	put := func(name, qtype, text string) {
		c.Put(name, dns.StringToType[qtype], entry(t, text))
	}
	put("www.example.com.", "A", "answer ns: www.example.com. 60 IN A 192.0.2.1")
	put("alias.example.com.", "CNAME", "answer ns: alias.example.com. 60 IN CNAME Alias2.Example.com.")
	put("alias2.example.com.", "CNAME", "answer ns: alias2.example.com. 30 IN CNAME www.example.com.")
	put("nowhere.example.com.", "CNAME", "answer ns: nowhere.example.com. 60 IN CNAME x.gone.example.com.")
	put("open.example.com.", "CNAME", "answer ns: open.example.com. 60 IN CNAME unknown.example.com.")
	put("loop.example.com.", "CNAME", "answer ns: loop.example.com. 60 IN CNAME loop.example.com.")
	put("gone.example.com.", "A", "answer dns-com: NXDOMAIN "+soa)
	put("www.example.com.", "TXT", "answer dns-com: NODATA "+soa)
	put("bare.example.com.", "TXT", "answer dns-com: NODATA")
	put("corp.example.com.", "A", "forwarded ns: corp.example.com. 60 IN A 192.0.2.66")
	put("old.example.com.", "A", "answer ns: old.example.com. 5 IN A 192.0.2.1")
	put("old.example.com.", "A", "answer ns: FAILED nobody answers")
	put("dead.example.com.", "A", "answer ns: FAILED nobody answers")
	put("toolong.example.com.", "TXT", "answer ns: toolong.example.com. 60 IN TXT "+strings.Repeat(strings.Repeat("x", 250)+" ", 6))
	put(".", "NS", "answer ns: . 60 IN NS a.root.")
	*now = now.Add(500 * time.Millisecond)

	const counted = "example.com. 60 IN SOA ns.example.com. h.example.com. 1 1 1 1 60;"
	tests := []struct{ name, question, want string }{
		{"a set is answered in the case of the question", "wWw.Example.com. A", "NOERROR | wWw.Example.com. 60 IN A 192.0.2.1; | |"},
		{"a chain of CNAMEs is followed, each with its own TTL", "alias.example.com. A",
			"NOERROR | alias.example.com. 60 IN CNAME Alias2.Example.com.; Alias2.Example.com. 30 IN CNAME www.example.com.; www.example.com. 60 IN A 192.0.2.1; | |"},
		{"a CNAME that is asked for is not followed", "alias.example.com. CNAME", "NOERROR | alias.example.com. 60 IN CNAME Alias2.Example.com.; | |"},
		{"a chain may end in nothing of the type", "alias2.example.com. TXT",
			"NOERROR | alias2.example.com. 30 IN CNAME www.example.com.; | " + counted + " | 0 No record of type TXT cached 0 s ago from dns-com"},
		{"a chain may end in no name", "nowhere.example.com. A",
			"NXDOMAIN | nowhere.example.com. 60 IN CNAME x.gone.example.com.; | " + counted + " | 0 NXDOMAIN cached 0 s ago from dns-com"},
		{"a chain whose end is unknown is left", "open.example.com. A", "left"},
		{"a loop is left", "loop.example.com. A", "left"},
		{"no such name", "gone.example.com. MX", "NXDOMAIN | | " + counted + " | 0 NXDOMAIN cached 0 s ago from dns-com"},
		{"no such name above", "A.b.Gone.example.com. A", "NXDOMAIN | | " + counted + " | 0 NXDOMAIN cached 0 s ago from dns-com"},
		{"no such type", "www.example.com. TXT", "NOERROR | | " + counted + " | 0 No record of type TXT cached 0 s ago from dns-com"},
		{"no such type without SOA", "bare.example.com. TXT", "NOERROR | | | 0 No record of type TXT cached 0 s ago from dns-com"},
		{"what is not authoritative is an answer too", "corp.example.com. A", "NOERROR | corp.example.com. 60 IN A 192.0.2.66; | |"},
		{"a failure is answered with its reason", "dead.example.com. A", "SERVFAIL | | | 22 nobody answers"},
		{"what is unknown is left", "unknown.example.com. A", "left"},
		{"what is too long is left", "toolong.example.com. TXT", "left"},
		{"the root is a name", ". NS", "NOERROR | . 60 IN NS a.root.; | |"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name, qtype, _ := strings.Cut(tt.question, " ")
			if diff := cmp.Diff(tt.want, summary(ask(t, c, *now, name, dns.StringToType[qtype], nil))); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("nothing is explained to who does not speak EDNS", func(t *testing.T) {
		for _, name := range []string{"gone.example.com.", "dead.example.com."} {
			if _, reply, ok := ask(t, c, *now, name, dns.TypeA, func(q *server.FastQuery) { q.EDNS = false }); !ok || reply.Explained {
				t.Errorf("%s: answered: %v, explained: %q", name, ok, reply.Sentence)
			}
		}
	})
	t.Run("no answer is over the limit, to the octet", func(t *testing.T) {
		at := func(limit int) func(*server.FastQuery) { return func(q *server.FastQuery) { q.Limit = limit } }
		const size = 12 + 17 + 4 + 16
		if _, _, ok := ask(t, c, *now, "www.example.com.", dns.TypeA, at(size)); !ok {
			t.Error("it fits, and was left")
		}
		if _, _, ok := ask(t, c, *now, "www.example.com.", dns.TypeA, at(size-1)); ok {
			t.Error("it does not fit, and was answered")
		}
	})
	t.Run("hits are counted", func(t *testing.T) {
		before := c.Stats().FastHits
		ask(t, c, *now, "www.example.com.", dns.TypeA, nil)
		ask(t, c, *now, "unknown.example.com.", dns.TypeA, nil)
		if n := c.Stats().FastHits - before; n != 1 {
			t.Errorf("%d hits", n)
		}
	})
	t.Run("stale data go before a failure, and are left", func(t *testing.T) {
		*now = epoch.Add(5 * time.Second)
		c.Put("old.example.com.", dns.TypeA, entry(t, "answer ns: FAILED nobody answers"))
		if got := summary(ask(t, c, *now, "old.example.com.", dns.TypeA, nil)); got != "left" {
			t.Errorf("got %s", got)
		}
	})
}

func TestSetsBeginWithEachRecordInTurn(t *testing.T) {
	c, now := newCache(t, nil)
	c.Put("a.", dns.TypeMX, entry(t, "answer ns: a. 60 IN MX 1 m.; a. 60 IN MX 2 mail.; a. 60 IN MX 3 ."))
	q := &server.FastQuery{Name: []byte{1, 'a', 0}, Type: dns.TypeMX, Limit: 512, Now: now.UnixNano()}
	var got []string
	for id := range byte(4) {
		msg := append([]byte{0, id}, make([]byte, 10+3+4)...)
		copy(msg[12:], []byte{1, 'a', 0, 0, 15, 0, 1})
		msg, ok := c.AnswerFast(q, msg, &server.FastReply{})
		if !ok {
			t.Fatal("left")
		}
		msg[5], msg[7] = 1, 3
		m := new(dns.Msg)
		if err := m.Unpack(msg); err != nil {
			t.Fatal(err)
		}
		order := ""
		for _, rr := range m.Answer {
			order += fmt.Sprint(rr.(*dns.MX).Preference)
		}
		got = append(got, order)
	}
	if diff := cmp.Diff([]string{"123", "231", "312", "123"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPrefetchIsReported(t *testing.T) {
	var reports []string
	c, now := newCache(t, func(c *Config) {
		c.Prefetch = func(name string, qtype uint16) {
			reports = append(reports, name+" "+dns.Type(qtype).String())
		}
	})
	learn := func() {
		c.Put("www.example.com.", dns.TypeA, entry(t, "answer ns: www.example.com. 100 IN A 192.0.2.1"))
		c.Put("alias.example.com.", dns.TypeCNAME, entry(t, "answer ns: alias.example.com. 100 IN CNAME www.example.com."))
		c.Put("gone.example.com.", dns.TypeA, entry(t, "answer ns: NXDOMAIN "+soa))
	}
	asked := func(name string, qtype uint16) {
		t.Helper()
		if _, _, ok := ask(t, c, *now, name, qtype, nil); !ok {
			t.Fatalf("%s was left", name)
		}
	}
	expect := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, reports); diff != "" {
			t.Error(diff)
		}
		reports = nil
	}
	learn()
	asked("www.example.com.", dns.TypeA)
	asked("gone.example.com.", dns.TypeTXT)
	*now = now.Add(53 * time.Second)
	expect()
	asked("gone.example.com.", dns.TypeTXT)
	expect() // 7 of 60 s are left
	*now = now.Add(time.Second)
	asked("gone.example.com.", dns.TypeTXT)
	expect("gone.example.com. TXT")
	*now = now.Add(36 * time.Second)
	asked("www.example.com.", dns.TypeA)
	expect("www.example.com. A")
	asked("www.example.com.", dns.TypeA) // nor a second time
	asked("alias.example.com.", dns.TypeA)
	expect() // asked for once
	asked("alias.example.com.", dns.TypeA)
	expect("alias.example.com. CNAME")

	learn()
	*now = now.Add(95 * time.Second)
	asked("www.example.com.", dns.TypeA)
	expect() // it counts from when it was learnt
	asked("www.example.com.", dns.TypeA)
	expect("www.example.com. A")
}

func TestPrefetchMayUseTheCache(t *testing.T) {
	var c *Cache
	c, now := newCache(t, func(cfg *Config) {
		cfg.Prefetch = func(name string, qtype uint16) {
			c.Put(name, qtype, entry(t, "answer ns: www.example.com. 100 IN A 192.0.2.2"))
		}
	})
	c.Put("www.example.com.", dns.TypeA, entry(t, "answer ns: www.example.com. 100 IN A 192.0.2.1"))
	*now = now.Add(95 * time.Second)
	for range 2 {
		ask(t, c, *now, "www.example.com.", dns.TypeA, nil)
	}
	if got := summary(ask(t, c, *now, "www.example.com.", dns.TypeA, nil)); got != "NOERROR | www.example.com. 100 IN A 192.0.2.2; | |" {
		t.Errorf("got %s", got)
	}
}

func TestAnswerFastAllocatesNothing(t *testing.T) {
	c, now := newCache(t, nil)
	c.Put("www.example.com.", dns.TypeA, entry(t, "answer ns: www.example.com. 60 IN A 192.0.2.1; www.example.com. 60 IN A 192.0.2.2"))
	c.Put("alias.example.com.", dns.TypeCNAME, entry(t, "answer ns: alias.example.com. 60 IN CNAME www.example.com."))
	c.Put("gone.example.com.", dns.TypeA, entry(t, "answer dns-com: NXDOMAIN "+soa))
	c.Put("dead.example.com.", dns.TypeA, entry(t, "answer dns-com: FAILED nobody"))
	for _, name := range []string{"www.example.com.", "alias.example.com.", "gone.example.com.", "a.b.gone.example.com.", "dead.example.com.", "unknown.example.org."} {
		run := asker(t, c, *now, name)
		if n := testing.AllocsPerRun(100, func() { run() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// asker returns a function that asks as package server does, with memory that is
// used again.
func asker(t testing.TB, c *Cache, now time.Time, name string) func() bool {
	t.Helper()
	wire, err := wireName(name)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 12+len(wire)+4, 1232)
	copy(buf[12:], wire)
	q := &server.FastQuery{Name: wire, Type: dns.TypeA, EDNS: true, Limit: 1232, Now: now.UnixNano()}
	reply, sentence := new(server.FastReply), make([]byte, 0, 255)
	return func() bool {
		*reply = server.FastReply{Sentence: sentence}
		_, ok := c.AnswerFast(q, buf, reply)
		return ok
	}
}
