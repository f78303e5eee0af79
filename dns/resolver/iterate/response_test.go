package iterate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"minicloud.internal/dns/resolver/cache"
	"minicloud.internal/dns/resolver/exchange"
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
		case "yx":
			m.Rcode = dns.RcodeYXDomain
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
	const soa = "com. 900 IN SOA ns.com. h.com. 1 1 1 1 60"
	long := strings.Repeat(strings.Repeat("y", 41)+".", 6)
	// Every case: a server of com. was asked for www.example.com. A.
	for _, tt := range []struct {
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
		{"an answer from one that does not answer for the zone is none", message(t, "", "www.example.com. 60 IN A 192.0.2.1"),
			"lame: does not answer for the zone"},
		{"a CNAME neither", message(t, "", "www.example.com. 60 IN CNAME a.com."), "lame: does not answer for the zone"},
		{"of two CNAMEs the first counts", message(t, "aa", "www.example.com. 60 IN CNAME a.org.; www.example.com. 60 IN CNAME b.org."),
			"answer: www.example.com. CNAME 60 a.org."},
		{"records of the name go before a CNAME beside them", message(t, "aa", "www.example.com. 60 IN CNAME a.org.; www.example.com. 60 IN A 192.0.2.1"),
			"answer: www.example.com. A 60 192.0.2.1"},
		{"records of a name that does not exist contradict themselves", message(t, "aa nx", "www.example.com. 60 IN A 192.0.2.1", soa),
			"refused: answered NXDOMAIN, with records of the name"},

		{"a DNAME and what follows it in the zone", message(t, "aa", "example.com. 60 IN DNAME other.com.; www.example.com. 0 IN CNAME www.other.com.; www.other.com. 40 IN A 192.0.2.1"),
			"answer: example.com. DNAME 60 other.com.; www.other.com. A 40 192.0.2.1"},
		{"a DNAME without the CNAME that it makes", message(t, "aa", "example.com. 60 IN DNAME other.com.; www.other.com. 40 IN A 192.0.2.1"),
			"answer: example.com. DNAME 60 other.com.; www.other.com. A 40 192.0.2.1"},
		{"a DNAME out of the zone, of which nothing more counts", message(t, "aa", "example.com. 60 IN DNAME example.org.; www.example.com. 0 IN CNAME www.example.org.; www.example.org. 40 IN A 192.0.2.66"),
			"answer: example.com. DNAME 60 example.org."},
		{"a CNAME that its DNAME does not make", message(t, "aa", "example.com. 60 IN DNAME example.org.; www.example.com. 0 IN CNAME bank.com.; bank.com. 40 IN A 192.0.2.66"),
			"refused: sent a CNAME that its DNAME does not make"},
		{"a DNAME to a name that does not exist", message(t, "aa nx", "example.com. 60 IN DNAME other.com.; www.example.com. 0 IN CNAME www.other.com.", soa),
			"answer: example.com. DNAME 60 other.com.; www.other.com. NONE noName 60"},
		{"a DNAME above the zone is not the server's to give", message(t, "aa", ". 60 IN DNAME other.; www.example.com. 60 IN A 192.0.2.1"),
			"answer: www.example.com. A 60 192.0.2.1"},
		{"a DNAME of the name itself does not change it", message(t, "aa", "www.example.com. 60 IN DNAME other.com.; www.example.com. 60 IN A 192.0.2.1"),
			"answer: www.example.com. A 60 192.0.2.1"},
		{"a DNAME that makes too long a name", message(t, "aa yx", "example.com. 60 IN DNAME "+long),
			"answer: example.com. DNAME 60 " + long},
		{"YXDOMAIN without one", message(t, "aa yx", "example.com. 60 IN DNAME other.com."),
			"refused: answered YXDOMAIN"},

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
		{"no such name from one that does not answer for the zone", message(t, "nx", "", soa), "lame: does not answer for the zone"},
		{"no such type from one that does not answer for the zone", message(t, "", "", soa), "lame: does not answer for the zone"},

		{"a referral with glue", message(t, "", "", "example.com. 900 IN NS ns1.example.com.; example.com. 800 IN NS ns2.example.com.", "ns1.example.com. 700 IN A 192.0.2.1; ns1.example.com. 900 IN AAAA 2001:db8::1"),
			"referral 700: example.com. ns1.example.com. [192.0.2.1 2001:db8::1] ns2.example.com. []"},
		{"glue from out of the bailiwick does not count", message(t, "", "", "example.com. 900 IN NS ns.example.org.", "ns.example.org. 900 IN A 192.0.2.66"),
			"referral 900: example.com. ns.example.org. []"},
		{"glue of the zone itself does", message(t, "", "", "example.com. 900 IN NS ns.other.com.", "ns.other.com. 900 IN A 192.0.2.1"),
			"referral 900: example.com. ns.other.com. [192.0.2.1]"},
		{"an address that belongs to no name server does not count", message(t, "", "", "example.com. 900 IN NS ns.example.com.", "www.example.com. 900 IN A 192.0.2.66"),
			"referral 900: example.com. ns.example.com. []"},
		{"a referral upwards is lame", message(t, "", "", ". 900 IN NS a.root."), "lame: does not answer for the zone"},
		{"a referral to the zone itself is lame", message(t, "", "", "com. 900 IN NS ns.com."), "lame: does not answer for the zone"},
		{"a referral to the side is lame", message(t, "", "", "other.com. 900 IN NS ns.other.com."), "lame: does not answer for the zone"},
		{"a referral below the name is lame", message(t, "", "", "x.www.example.com. 900 IN NS ns.com."), "lame: does not answer for the zone"},
		{"an empty message is lame", message(t, ""), "lame: does not answer for the zone"},
		{"another response code is refused", message(t, "servfail aa", "www.example.com. 60 IN A 192.0.2.1"), "refused: answered SERVFAIL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := DefaultLimits()
			got := summary(interpret(tt.message, question{"com.", "www.example.com.", dns.TypeA}, &l))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInterpretOtherTypes(t *testing.T) {
	l := DefaultLimits()
	for _, tt := range []struct {
		name    string
		qtype   uint16
		message *dns.Msg
		want    string
	}{
		{"ANY takes every record of the name, and follows no CNAME", dns.TypeANY,
			message(t, "aa", "www.example.com. 60 IN CNAME a.com.; www.example.com. 50 IN TXT x; a.com. 60 IN A 192.0.2.1"),
			`answer: www.example.com. CNAME 60 a.com.; www.example.com. TXT 50 "x"`},
		{"records of types that no record has are none, and deny nothing", dns.TypeANY,
			message(t, "aa", `www.example.com. 60 IN TYPE0 \# 1 00; www.example.com. 60 IN TYPE200 \# 1 00; www.example.com. 50 IN TXT x`),
			`answer: www.example.com. TXT 50 "x"`},
		{"the CNAME that a DNAME makes is the answer where that was asked for", dns.TypeCNAME,
			message(t, "aa", "example.com. 60 IN DNAME other.com.; www.example.com. 0 IN CNAME www.other.com."),
			"answer: example.com. DNAME 60 other.com."},
		{"an alias to the zone itself says nothing of its DS records", dns.TypeDS,
			message(t, "aa", "www.example.com. 60 IN CNAME com.", "com. 900 IN SOA ns.com. h.com. 1 1 1 1 60"),
			"answer: www.example.com. CNAME 60 com."},
		{"a referral to the zone whose DS records were asked for is lame", dns.TypeDS,
			message(t, "", "", "www.example.com. 900 IN NS ns.www.example.com.", "ns.www.example.com. 60 IN A 192.0.2.1"),
			"lame: does not answer for the zone"},
		{"a referral to a zone above it is not", dns.TypeDS,
			message(t, "", "", "example.com. 900 IN NS ns.com."), "referral 900: example.com. ns.com. []"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, summary(interpret(tt.message, question{"com.", "www.example.com.", tt.qtype}, &l))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAReferralIsBounded(t *testing.T) {
	var ns, glue []string
	for i := range 100 {
		ns = append(ns, fmt.Sprintf("example.com. 60 IN NS ns%d.example.com.", i))
		glue = append(glue, fmt.Sprintf("ns0.example.com. 60 IN A 192.0.2.%d", i))
	}
	l := DefaultLimits()
	l.MaxServers, l.MaxAddresses = 7, 3
	d := interpret(message(t, "", "", strings.Join(ns, ";"), strings.Join(glue, ";")), question{"com.", "www.example.com.", dns.TypeA}, &l).delegation
	if len(d.Servers) != 7 || len(d.Servers[0].Addrs) != 3 {
		t.Errorf("got %d servers, the first with %d addresses", len(d.Servers), len(d.Servers[0].Addrs))
	}
}

// summary writes a response on one line.
func summary(r response) string {
	switch r.outcome {
	case exchange.Referral:
		out := fmt.Sprintf("referral %d: %s", r.ttl, r.delegation.Zone)
		for _, ns := range r.delegation.Servers {
			out += fmt.Sprintf(" %s %v", ns.Name, ns.Addrs)
		}
		return out
	case exchange.Answer:
		var parts []string
		for _, f := range r.found {
			part := f.name + " " + strings.Replace(dns.Type(f.qtype).String(), "None", "NONE", 1)
			switch f.entry.Kind {
			case cache.NoName:
				part += " noName"
			case cache.NoType:
				part += " noType"
			}
			part += fmt.Sprint(" ", f.entry.TTL)
			for _, rr := range f.entry.Records {
				part += strings.Replace(rr.String(), rr.Header().String(), " ", 1)
			}
			parts = append(parts, part)
		}
		slices.Sort(parts)
		return "answer: " + strings.Join(parts, "; ")
	}
	return string(r.outcome) + ": " + r.reason
}

// FuzzInterpret checks of any message at all that only that is taken from it
// which its sender may speak of, and no more than the limits allow.
func FuzzInterpret(f *testing.F) {
	for _, m := range []*dns.Msg{
		message(f, "aa", "www.example.com. 60 IN CNAME a.com.; a.com. 50 IN A 192.0.2.1"),
		message(f, "aa", "example.com. 60 IN DNAME other.com.; www.example.com. 0 IN CNAME www.other.com."),
		message(f, "aa nx", "", "com. 900 IN SOA ns.com. h.com. 1 1 1 1 60"),
		message(f, "", "", "example.com. 900 IN NS ns1.example.com.", "ns1.example.com. 700 IN A 192.0.2.1; ns1.example.com. 700 IN AAAA 2001:db8::1"),
	} {
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire, false)
		f.Add(wire, true)
	}
	f.Fuzz(func(t *testing.T, wire []byte, any bool) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil {
			return
		}
		l := DefaultLimits()
		q := question{"com.", "www.example.com.", dns.TypeA}
		if any {
			q.qtype = dns.TypeANY
		}
		r := interpret(m, q, &l)
		for _, found := range r.found {
			if !dns.IsSubDomain(q.zone, found.name) || found.name != dns.CanonicalName(found.name) {
				t.Errorf("found something of %s", found.name)
			}
			if len(found.entry.Records) > l.MaxRecords {
				t.Errorf("%d records", len(found.entry.Records))
			}
			for _, rr := range found.entry.Records {
				if h := rr.Header(); h.Rrtype != found.qtype || h.Ttl != found.entry.TTL || dns.CanonicalName(h.Name) != found.name {
					t.Errorf("%v stands under %s %d", rr, found.name, found.qtype)
				}
			}
			if soa := found.entry.SOA; soa != nil && !dns.IsSubDomain(q.zone, dns.CanonicalName(soa.Hdr.Name)) {
				t.Errorf("the SOA of %s", soa.Hdr.Name)
			}
		}
		switch r.outcome {
		case exchange.Answer:
			if !m.Authoritative || len(r.found) == 0 {
				t.Errorf("an answer of %d findings, authoritative: %v", len(r.found), m.Authoritative)
			}
		case exchange.Referral:
			d := r.delegation
			if d.Zone == q.zone || !dns.IsSubDomain(q.zone, d.Zone) || !dns.IsSubDomain(d.Zone, q.name) {
				t.Errorf("a referral to %s", d.Zone)
			}
			if len(d.Servers) == 0 || len(d.Servers) > l.MaxServers {
				t.Errorf("%d servers", len(d.Servers))
			}
			for _, ns := range d.Servers {
				if len(ns.Addrs) > l.MaxAddresses || len(ns.Addrs) > 0 && !dns.IsSubDomain(q.zone, ns.Name) ||
					slices.ContainsFunc(ns.Addrs, func(a netip.Addr) bool { return !a.IsValid() || a.Is4In6() }) {
					t.Errorf("the addresses %v of %s", ns.Addrs, ns.Name)
				}
			}
		default:
			if r.reason == "" {
				t.Error("no reason")
			}
		}
		judge(m, q, r)
		describe(m)
	})
}
