package resolver

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// message builds one from its parts, as it would come from the wire: "aa nx" for
// the header, then the answer, authority and additional sections, records
// divided by semicolons.
func message(t testing.TB, head string, sections ...string) *dns.Msg {
	t.Helper()
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}}
	for _, word := range strings.Fields(head) {
		switch word {
		case "aa":
			m.Authoritative = true
		case "nx":
			m.Rcode = dns.RcodeNameError
		case "servfail":
			m.Rcode = dns.RcodeServerFailure
		}
	}
	for i, section := range sections {
		for line := range strings.SplitSeq(section, ";") {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			list := []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra}[i]
			*list = append(*list, rr)
		}
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out := new(dns.Msg)
	if err := out.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestInterpret(t *testing.T) {
	const (
		soa = "com. 900 IN SOA ns.com. h.com. 1 1 1 1 60"
	)
	// Every case: a server of com. was asked for www.example.com. A.
	tests := []struct {
		name    string
		message *dns.Msg
		want    string
	}{
		{"records of the name are the answer", message(t, "aa", "www.example.com. 60 IN A 192.0.2.1"),
			"answer: www.example.com. A 60 192.0.2.1"},
		{"the case of the answer does not matter", message(t, "aa", "WWW.Example.com. 60 IN A 192.0.2.1"),
			"answer: www.example.com. A 60 192.0.2.1"},
		{"a set has its smallest TTL, and nothing twice", message(t, "aa", "www.example.com. 60 IN A 192.0.2.1; www.example.com. 50 IN A 192.0.2.2; www.example.com. 70 IN A 192.0.2.1"),
			"answer: www.example.com. A 50 192.0.2.1 192.0.2.2"},
		{"a TTL with its top bit set is 0", message(t, "aa", "www.example.com. 2147483648 IN A 192.0.2.1"),
			"answer: www.example.com. A 0 192.0.2.1"},
		{"records that nobody asked for are ignored", message(t, "aa", "www.example.com. 60 IN A 192.0.2.1; www.example.com. 60 IN TXT x; bank.com. 60 IN A 192.0.2.66; www.example.com. 60 CH A 192.0.2.66"),
			"answer: www.example.com. A 60 192.0.2.1"},
		{"a CNAME and what follows it in the zone", message(t, "aa", "www.example.com. 60 IN CNAME a.com.; a.com. 50 IN CNAME b.com.; b.com. 40 IN A 192.0.2.1"),
			"answer: a.com. CNAME 50 b.com.; b.com. A 40 192.0.2.1; www.example.com. CNAME 60 a.com."},
		{"of what follows a CNAME out of the zone nothing counts", message(t, "aa", "www.example.com. 60 IN CNAME a.org.; a.org. 50 IN A 192.0.2.66"),
			"answer: www.example.com. CNAME 60 a.org."},
		{"a CNAME without its end is an answer", message(t, "aa", "www.example.com. 60 IN CNAME a.com."),
			"answer: www.example.com. CNAME 60 a.com."},
		{"a CNAME to a name that does not exist", message(t, "aa nx", "www.example.com. 60 IN CNAME a.com.", soa),
			"answer: a.com. NONE noName 60; www.example.com. CNAME 60 a.com."},
		{"a CNAME to a name without the type", message(t, "aa", "www.example.com. 60 IN CNAME a.com.", soa),
			"answer: a.com. A noType 60; www.example.com. CNAME 60 a.com."},
		{"a loop of CNAMEs ends", message(t, "aa", "www.example.com. 60 IN CNAME www.example.com."),
			"answer: www.example.com. CNAME 60 www.example.com."},
		{"an answer from one that does not answer for the zone is none", message(t, "", "www.example.com. 60 IN A 192.0.2.1"), "lame"},
		{"a CNAME neither", message(t, "", "www.example.com. 60 IN CNAME a.com."), "lame"},

		{"no such name, for the time that the SOA says", message(t, "aa nx", "", soa),
			"answer: www.example.com. NONE noName 60"},
		{"or its TTL, where that is less", message(t, "aa nx", "", "com. 30 IN SOA ns.com. h.com. 1 1 1 1 60"),
			"answer: www.example.com. NONE noName 30"},
		{"no such name without SOA is not remembered", message(t, "aa nx"),
			"answer: www.example.com. NONE noName 0"},
		{"a SOA from elsewhere does not count", message(t, "aa nx", "", "org. 900 IN SOA ns.org. h.org. 1 1 1 1 60"),
			"answer: www.example.com. NONE noName 0"},
		{"nor one beside the name", message(t, "aa nx", "", "other.com. 900 IN SOA ns.org. h.org. 1 1 1 1 60"),
			"answer: www.example.com. NONE noName 0"},
		{"no such type", message(t, "aa", "", soa), "answer: www.example.com. A noType 60"},
		{"no such type, of a zone further down that it serves too", message(t, "aa", "", "example.com. 900 IN SOA ns.com. h.com. 1 1 1 1 20"),
			"answer: www.example.com. A noType 20"},
		{"no such type without SOA is not remembered", message(t, "aa"), "answer: www.example.com. A noType 0"},
		{"no such name from one that does not answer for the zone", message(t, "nx", "", soa), "lame"},
		{"no such type from one that does not answer for the zone", message(t, "", "", soa), "lame"},

		{"a referral with glue", message(t, "", "", "example.com. 900 IN NS ns1.example.com.; example.com. 800 IN NS ns2.example.com.", "ns1.example.com. 700 IN A 192.0.2.1; ns1.example.com. 900 IN AAAA 2001:db8::1"),
			"referral 700: example.com. ns1.example.com. [192.0.2.1 2001:db8::1] ns2.example.com. []"},
		{"glue from out of the bailiwick does not count", message(t, "", "", "example.com. 900 IN NS ns.example.org.", "ns.example.org. 900 IN A 192.0.2.66"),
			"referral 900: example.com. ns.example.org. []"},
		{"glue of the zone itself does", message(t, "", "", "example.com. 900 IN NS ns.other.com.", "ns.other.com. 900 IN A 192.0.2.1"),
			"referral 900: example.com. ns.other.com. [192.0.2.1]"},
		{"an address that belongs to no name server does not count", message(t, "", "", "example.com. 900 IN NS ns.example.com.", "www.example.com. 900 IN A 192.0.2.66"),
			"referral 900: example.com. ns.example.com. []"},
		{"a referral upwards is lame", message(t, "", "", ". 900 IN NS a.root."), "lame"},
		{"a referral to the zone itself is lame", message(t, "", "", "com. 900 IN NS ns.com."), "lame"},
		{"a referral to the side is lame", message(t, "", "", "other.com. 900 IN NS ns.other.com."), "lame"},
		{"a referral below the name is lame", message(t, "", "", "x.www.example.com. 900 IN NS ns.com."), "lame"},
		{"an empty message is lame", message(t, ""), "lame"},
		{"another response code is refused", message(t, "servfail aa", "www.example.com. 60 IN A 192.0.2.1"), "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := summary(interpret(tt.message, "com.", "www.example.com.", dns.TypeA))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("ANY takes every record of the name, and follows no CNAME", func(t *testing.T) {
		m := message(t, "aa", "www.example.com. 60 IN CNAME a.com.; www.example.com. 50 IN TXT x; a.com. 60 IN A 192.0.2.1")
		resp := interpret(m, "com.", "www.example.com.", dns.TypeANY)
		if e := resp.found[key{"www.example.com.", dns.TypeANY}]; len(resp.found) != 1 || len(e.records) != 2 || e.ttl != 50 {
			t.Errorf("got %v", summary(resp))
		}
	})
	t.Run("a referral has a bounded number of servers and addresses", func(t *testing.T) {
		var ns, glue []string
		for i := range 100 {
			ns = append(ns, fmt.Sprintf("example.com. 60 IN NS ns%d.example.com.", i))
			glue = append(glue, fmt.Sprintf("ns0.example.com. 60 IN A 192.0.2.%d", i))
		}
		resp := interpret(message(t, "", "", strings.Join(ns, ";"), strings.Join(glue, ";")), "com.", "www.example.com.", dns.TypeA)
		if len(resp.delegation.servers) != maxServers || len(resp.delegation.servers[0].addrs) != maxAddresses {
			t.Errorf("got %d servers, the first with %d addresses", len(resp.delegation.servers), len(resp.delegation.servers[0].addrs))
		}
	})
}

// summary writes a response on one line.
func summary(r response) string {
	switch r.outcome {
	case referred:
		out := fmt.Sprintf("referral %d: %s", r.ttl, r.delegation.zone)
		for _, ns := range r.delegation.servers {
			out += fmt.Sprintf(" %s %v", ns.name, ns.addrs)
		}
		return out
	case answered:
		var parts []string
		for k, e := range r.found {
			part := k.name + " " + strings.Replace(dns.Type(k.qtype).String(), "None", "NONE", 1)
			switch e.kind {
			case noName:
				part += " noName"
			case noType:
				part += " noType"
			}
			part += fmt.Sprint(" ", e.ttl)
			for _, rr := range e.records {
				part += strings.Replace(rr.String(), rr.Header().String(), " ", 1)
			}
			parts = append(parts, part)
		}
		slices.Sort(parts)
		return "answer: " + strings.Join(parts, "; ")
	}
	return string(r.outcome)
}

func TestFollow(t *testing.T) {
	alias := func(from, to string) (key, *entry) {
		rr, err := dns.NewRR(from + " 60 IN CNAME " + to)
		if err != nil {
			t.Fatal(err)
		}
		return key{from, dns.TypeCNAME}, &entry{records: []dns.RR{rr}}
	}
	known := map[key]*entry{
		{"a.", dns.TypeA}:         {},
		{"gone.", dns.TypeNone}:   {kind: noName},
		{"plain.", dns.TypeCNAME}: {kind: noType},
		{"bad.", dns.TypeA}:       {kind: failed},
	}
	for from, to := range map[string]string{"toa.": "A.", "tob.": "b.", "togone.": "gone.", "l1.": "l2.", "l2.": "l1."} {
		k, e := alias(from, to)
		known[k] = e
	}
	for _, tt := range []struct {
		name, asked string
		qtype       uint16
		length      int
		open        string
		fails       bool
	}{
		{"what is known is the answer", "a.", dns.TypeA, 1, "", false},
		{"another type must be asked for", "a.", dns.TypeTXT, 0, "a.", false},
		{"an alias is followed to its end, whatever its case", "toa.", dns.TypeA, 2, "", false},
		{"an alias is followed to where knowledge ends", "tob.", dns.TypeA, 1, "b.", false},
		{"an alias to nothing ends there", "togone.", dns.TypeA, 2, "", false},
		{"a question for the alias itself is not followed", "toa.", dns.TypeCNAME, 1, "", false},
		{"nor is one for ANY", "toa.", dns.TypeANY, 0, "toa.", false},
		{"a name that does not exist has no type", "gone.", dns.TypeTXT, 1, "", false},
		{"that there is no alias says nothing of other types", "plain.", dns.TypeA, 0, "plain.", false},
		{"a failure ends it", "bad.", dns.TypeA, 1, "", false},
		{"a loop ends it", "l1.", dns.TypeA, 0, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			chain, open, err := follow(func(k key) *entry { return known[k] }, tt.asked, tt.qtype)
			if len(chain) != tt.length || open != tt.open || (err != nil) != tt.fails {
				t.Errorf("got %d entries, open %q, %v", len(chain), open, err)
			}
		})
	}
}

func TestLRU(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := newLRU[string, int](2)
	expect := func(at time.Time, want map[string]int) {
		t.Helper()
		got := map[string]int{}
		for _, k := range []string{"a", "b", "c"} {
			if v, ok := c.get(k, at); ok {
				got[k] = v
			}
		}
		if !maps.Equal(got, want) || c.len() != len(want) || c.order.Len() != len(want) {
			t.Errorf("got %v, expected %v", got, want)
		}
	}
	c.put("a", 1, now.Add(time.Second), now)
	c.put("b", 2, now.Add(2*time.Second), now)
	expect(now, map[string]int{"a": 1, "b": 2})
	c.put("a", 3, now.Add(time.Second), now) // instead of the old one
	expect(now, map[string]int{"a": 3, "b": 2})
	c.get("a", now)
	c.put("c", 4, now.Add(time.Second), now) // b was used longest ago
	expect(now, map[string]int{"a": 3, "c": 4})
	c.put("c", 5, now, now) // over at once: even the old one is gone
	expect(now, map[string]int{"a": 3})
	expect(now.Add(time.Second), map[string]int{})
	c.put("a", 1, now.Add(time.Second), now)
	c.forget("a")
	c.forget("a")
	expect(now, map[string]int{})
}

func TestOrder(t *testing.T) {
	r := newWorld(t).resolver(nil)
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")}
	now := r.now()
	r.penalties.put(addrs[1], struct{}{}, now.Add(time.Hour), now)
	first := map[netip.Addr]bool{}
	for range 200 {
		got := r.newResolution().order(addrs)
		if got[2] != addrs[1] || len(got) != 3 || got[0] == got[1] {
			t.Fatalf("got %v", got)
		}
		first[got[0]] = true
	}
	if len(first) != 2 {
		t.Error("the load does not spread")
	}
}
