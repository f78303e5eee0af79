package authority

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

const testZone = `
$ORIGIN example.com.
$TTL 3600
@           IN SOA ns1 hostmaster 7 1800 900 604800 60
@           IN NS  ns1
@           IN NS  ns.elsewhere.org.
@           IN A   192.0.2.1
@           IN MX  10 mail
ns1         IN A   192.0.2.53
mail        IN A   192.0.2.25
mail        IN AAAA 2001:db8::25
www         IN CNAME @
alias2      IN CNAME www
dangling    IN CNAME nowhere
notype      IN CNAME onlytxt
outside     IN CNAME www.elsewhere.org.
onlytxt     IN TXT "hello"
loop1       IN CNAME loop2
loop2       IN CNAME loop1
intodeleg   IN CNAME host.sub
_http._tcp  IN SRV 0 0 80 www2
www2        IN A   192.0.2.80
a.b.ent     IN A   192.0.2.2
; RFC 4592, section 2.2.1, in small
*.wild      IN A   192.0.2.3
*.wild      IN TXT "star"
here.wild   IN TXT "I exist"
deep.ent.wild IN A 192.0.2.4
*.cwild     IN CNAME www
*.entwild   IN TXT "x"
x.*.starent IN A   192.0.2.5
; delegations
sub         IN NS  ns.sub
sub         IN NS  mail
sub         IN NS  ns.elsewhere.org.
ns.sub      IN A   192.0.2.6
other.sub   IN A   192.0.2.7
signed      IN NS  ns1
signed      IN DS  1 8 2 0000000000000000000000000000000000000000000000000000000000000000
Mixed.CASE  IN A   192.0.2.8
a\.b        IN A   192.0.2.9
`

func mustZone(t testing.TB, origin, text string) *Zone {
	t.Helper()
	z, err := ReadZone(origin, strings.NewReader(text), "test.zone")
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestLookup(t *testing.T) {
	z := mustZone(t, "example.com.", testZone)
	const soa = "example.com. 60 SOA"
	tests := []struct {
		name     string
		question string
		want     string
	}{
		{"a name that exists is answered", "ns1.example.com. A", "NOERROR aa | ns1.example.com. 3600 A 192.0.2.53"},
		{"the apex is answered", "example.com. A", "NOERROR aa | example.com. 3600 A 192.0.2.1"},
		{"the case of the question is kept, that of the zone does not matter", "mIXED.case.Example.com. A", "NOERROR aa | mIXED.case.Example.com. 3600 A 192.0.2.8"},
		{"a dot inside of a label is no end of it", `a\.b.example.com. A`, `NOERROR aa | a\.b.example.com. 3600 A 192.0.2.9`},
		{"the NS records of the apex are an answer, with addresses", "example.com. NS", "NOERROR aa | example.com. 3600 NS ns1.example.com.; example.com. 3600 NS ns.elsewhere.org. | | ns1.example.com. 3600 A 192.0.2.53"},
		{"MX comes with addresses", "example.com. MX", "NOERROR aa | example.com. 3600 MX 10 mail.example.com. | | mail.example.com. 3600 A 192.0.2.25; mail.example.com. 3600 AAAA 2001:db8::25"},
		{"SRV comes with addresses", "_http._tcp.example.com. SRV", "NOERROR aa | _http._tcp.example.com. 3600 SRV 0 0 80 www2.example.com. | | www2.example.com. 3600 A 192.0.2.80"},

		{"another type of a name is NODATA with the SOA of short life", "ns1.example.com. AAAA", "NOERROR aa | | " + soa},
		{"a name that does not exist is NXDOMAIN with the SOA", "nope.example.com. A", "NXDOMAIN aa | | " + soa},
		{"a name below one that exists is NXDOMAIN", "x.ns1.example.com. A", "NXDOMAIN aa | | " + soa},
		{"an empty non-terminal exists: NODATA", "b.ent.example.com. A", "NOERROR aa | | " + soa},
		{"an empty non-terminal above it too", "ent.example.com. A", "NOERROR aa | | " + soa},
		{"beside a name below an empty non-terminal is NXDOMAIN", "c.b.ent.example.com. A", "NXDOMAIN aa | | " + soa},

		{"a CNAME is followed in the zone", "www.example.com. A", "NOERROR aa | www.example.com. 3600 CNAME example.com.; example.com. 3600 A 192.0.2.1"},
		{"a chain of CNAMEs is followed", "alias2.example.com. A", "NOERROR aa | alias2.example.com. 3600 CNAME www.example.com.; www.example.com. 3600 CNAME example.com.; example.com. 3600 A 192.0.2.1"},
		{"a question for CNAME gets the CNAME alone", "www.example.com. CNAME", "NOERROR aa | www.example.com. 3600 CNAME example.com."},
		{"a CNAME to nothing is NXDOMAIN", "dangling.example.com. A", "NXDOMAIN aa | dangling.example.com. 3600 CNAME nowhere.example.com. | " + soa},
		{"a CNAME to a name without the type is NODATA", "notype.example.com. A", "NOERROR aa | notype.example.com. 3600 CNAME onlytxt.example.com. | " + soa},
		{"a CNAME out of the zone ends there", "outside.example.com. A", "NOERROR aa | outside.example.com. 3600 CNAME www.elsewhere.org."},
		{"a CNAME into a delegation ends with the referral", "intodeleg.example.com. A", "NOERROR aa | intodeleg.example.com. 3600 CNAME host.sub.example.com. | sub.example.com. 3600 NS ns.sub.example.com.; sub.example.com. 3600 NS mail.example.com.; sub.example.com. 3600 NS ns.elsewhere.org. | ns.sub.example.com. 3600 A 192.0.2.6; mail.example.com. 3600 A 192.0.2.25; mail.example.com. 3600 AAAA 2001:db8::25"},

		{"a wildcard answers for what is not there", "foo.wild.example.com. A", "NOERROR aa | foo.wild.example.com. 3600 A 192.0.2.3"},
		{"a wildcard answers for several labels", "foo.bar.wild.example.com. A", "NOERROR aa | foo.bar.wild.example.com. 3600 A 192.0.2.3"},
		{"a wildcard without the type is NODATA", "foo.wild.example.com. AAAA", "NOERROR aa | | " + soa},
		{"a wildcard does not answer for a name that exists", "here.wild.example.com. A", "NOERROR aa | | " + soa},
		{"nor below a name that exists", "foo.here.wild.example.com. A", "NXDOMAIN aa | | " + soa},
		{"nor for an empty non-terminal", "ent.wild.example.com. A", "NOERROR aa | | " + soa},
		{"nor below an empty non-terminal", "foo.ent.wild.example.com. A", "NXDOMAIN aa | | " + soa},
		{"nor for the name that it stands at", "wild.example.com. A", "NOERROR aa | | " + soa},
		{"the asterisk itself can be asked for", "*.wild.example.com. TXT", `NOERROR aa | *.wild.example.com. 3600 TXT "star"`},
		{"a wildcard CNAME is followed", "foo.cwild.example.com. A", "NOERROR aa | foo.cwild.example.com. 3600 CNAME www.example.com.; www.example.com. 3600 CNAME example.com.; example.com. 3600 A 192.0.2.1"},
		{"an asterisk that is an empty non-terminal gives NODATA", "foo.starent.example.com. A", "NOERROR aa | | " + soa},

		{"below a delegation is a referral with glue, our own first", "www.sub.example.com. A", "NOERROR | | sub.example.com. 3600 NS ns.sub.example.com.; sub.example.com. 3600 NS mail.example.com.; sub.example.com. 3600 NS ns.elsewhere.org. | ns.sub.example.com. 3600 A 192.0.2.6; mail.example.com. 3600 A 192.0.2.25; mail.example.com. 3600 AAAA 2001:db8::25"},
		{"the delegation itself is a referral", "signed.example.com. A", "NOERROR | | signed.example.com. 3600 NS ns1.example.com. | ns1.example.com. 3600 A 192.0.2.53"},
		{"the NS records of a delegation are not ours to answer", "signed.example.com. NS", "NOERROR | | signed.example.com. 3600 NS ns1.example.com. | ns1.example.com. 3600 A 192.0.2.53"},
		{"glue is not answered as data", "ns.sub.example.com. A", "NOERROR | | sub.example.com. 3600 NS ns.sub.example.com.; sub.example.com. 3600 NS mail.example.com.; sub.example.com. 3600 NS ns.elsewhere.org. | ns.sub.example.com. 3600 A 192.0.2.6; mail.example.com. 3600 A 192.0.2.25; mail.example.com. 3600 AAAA 2001:db8::25"},
		{"data hidden below a delegation is not answered", "other.sub.example.com. TXT", "NOERROR | | sub.example.com. 3600 NS ns.sub.example.com.; sub.example.com. 3600 NS mail.example.com.; sub.example.com. 3600 NS ns.elsewhere.org. | ns.sub.example.com. 3600 A 192.0.2.6; mail.example.com. 3600 A 192.0.2.25; mail.example.com. 3600 AAAA 2001:db8::25"},
		{"DS at a delegation is ours", "signed.example.com. DS", "NOERROR aa | signed.example.com. 3600 DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000"},
		{"no DS at a delegation is our NODATA", "sub.example.com. DS", "NOERROR aa | | " + soa},
		{"DS below a delegation is a referral", "x.signed.example.com. DS", "NOERROR | | signed.example.com. 3600 NS ns1.example.com. | ns1.example.com. 3600 A 192.0.2.53"},

		{"ANY gets one set", "mail.example.com. ANY", "NOERROR aa | mail.example.com. 3600 A 192.0.2.25"},
		{"ANY of a CNAME gets it, and does not follow", "www.example.com. ANY", "NOERROR aa | www.example.com. 3600 CNAME example.com."},
		{"ANY of an empty non-terminal is NODATA", "ent.example.com. ANY", "NOERROR aa | | " + soa},
		{"ANY of nothing is NXDOMAIN", "nope.example.com. ANY", "NXDOMAIN aa | | " + soa},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name, qtype, _ := strings.Cut(tt.question, " ")
			got := describe(z.Lookup(name, dns.CanonicalName(name), dns.StringToType[qtype]))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("a loop of CNAMEs ends", func(t *testing.T) {
		r := z.Lookup("loop1.example.com.", "loop1.example.com.", dns.TypeA)
		if len(r.Answer) != maxChain || r.Rcode != dns.RcodeSuccess {
			t.Errorf("got %s", describe(r))
		}
	})
	t.Run("lookups leave the zone as it was", func(t *testing.T) {
		again := mustZone(t, "example.com.", testZone)
		for name, n := range again.nodes {
			if diff := cmp.Diff(fmt.Sprint(n.sets), fmt.Sprint(z.nodes[name].sets)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	})
}

func TestLookupInTheRoot(t *testing.T) {
	z := mustZone(t, ".", `
. 60 IN SOA a.root. h.root. 1 1 1 1 30
. 60 IN NS a.root.
a.root. 60 IN A 192.0.2.1
*. 60 IN TXT "anything"
com. 60 IN NS ns.com.
ns.com. 60 IN A 192.0.2.2
`)
	for question, want := range map[string]string{
		". NS":          "NOERROR aa | . 60 NS a.root. | | a.root. 60 A 192.0.2.1",
		". A":           "NOERROR aa | | . 30 SOA",
		"root. A":       "NOERROR aa | | . 30 SOA",
		"x.root. A":     "NXDOMAIN aa | | . 30 SOA",
		"org. TXT":      `NOERROR aa | org. 60 TXT "anything"`,
		"a.b.com. A":    "NOERROR | | com. 60 NS ns.com. | ns.com. 60 A 192.0.2.2",
		"xcom. A":       "NOERROR aa | | . 30 SOA",
		"*. TXT":        `NOERROR aa | *. 60 TXT "anything"`,
		"b.a.root. TXT": "NXDOMAIN aa | | . 30 SOA",
	} {
		t.Run(question, func(t *testing.T) {
			name, qtype, _ := strings.Cut(question, " ")
			if diff := cmp.Diff(want, describe(z.Lookup(name, name, dns.StringToType[qtype]))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// describe writes a result on one line: RCODE [aa] | answer | authority |
// additional, without empty sections at the end.
func describe(r Result) string {
	head := dns.RcodeToString[r.Rcode]
	if r.Authoritative {
		head += " aa"
	}
	parts := []string{head}
	for _, section := range [][]dns.RR{r.Answer, r.Authority, r.Additional} {
		var rrs []string
		for _, rr := range section {
			h := rr.Header()
			data := strings.TrimPrefix(rr.String(), h.String())
			if h.Rrtype == dns.TypeSOA {
				data = ""
			}
			rrs = append(rrs, strings.TrimSpace(fmt.Sprintf("%s %d %s %s", h.Name, h.Ttl, dns.Type(h.Rrtype), data)))
		}
		parts = append(parts, strings.Join(rrs, "; "))
	}
	out := strings.Join(parts, " | ")
	for strings.HasSuffix(out, " | ") {
		out = strings.TrimSuffix(out, " | ")
	}
	return strings.ReplaceAll(out, " |  | ", " | | ")
}
