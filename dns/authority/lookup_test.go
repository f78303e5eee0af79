package authority

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
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
unglued     IN NS  ns.unglued
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
		{"a delegation without glue is a referral without it", "www.unglued.example.com. A", "NOERROR | | unglued.example.com. 3600 NS ns.unglued.example.com."},
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
			got := describe(z.Lookup(name, dns.StringToType[qtype]))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("a loop of CNAMEs ends where it closes", func(t *testing.T) {
		r := z.Lookup("loop1.example.com.", dns.TypeA)
		if len(r.Answer) != 2 || r.Rcode != dns.RcodeSuccess {
			t.Errorf("got %s", describe(r))
		}
	})
	t.Run("a name elsewhere is refused", func(t *testing.T) {
		if r := z.Lookup("example.org.", dns.TypeA); r.Rcode != dns.RcodeRefused || r.Authoritative {
			t.Errorf("got %s", describe(r))
		}
	})
	t.Run("lookups leave the zone as it was", func(t *testing.T) {
		again := mustZone(t, "example.com.", testZone)
		if !z.equal(again) {
			t.Error("the zone has changed")
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
			if diff := cmp.Diff(want, describe(z.Lookup(name, dns.StringToType[qtype]))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLookupBelowDNAME(t *testing.T) {
	z := mustZone(t, "example.com.", `$TTL 60
@          IN SOA ns1 hostmaster 7 1800 900 604800 30
@          IN NS  ns1
ns1        IN A   192.0.2.53
www.new    IN A   192.0.2.80
alias.new  IN CNAME www.old
old     40 IN DNAME new
old        IN TXT "beside"
hidden.old IN A   192.0.2.1
away       IN DNAME example.org.
root       IN DNAME .
circle     IN DNAME below.circle
self       IN DNAME self
`+"long IN DNAME "+strings.Repeat(strings.Repeat("l", 60)+".", 3)+"example.org.\n*.star IN DNAME example.org.\n")
	const soa = "example.com. 30 SOA"
	long := strings.Repeat(strings.Repeat("l", 60)+".", 3)
	for _, tt := range []struct{ name, question, want string }{
		{"a name below it is another name below its target", "www.old.example.com. A", "NOERROR aa | old.example.com. 40 DNAME new.example.com.; www.old.example.com. 40 CNAME www.new.example.com.; www.new.example.com. 60 A 192.0.2.80"},
		{"the case of the question is kept", "WWW.Old.example.com. A", "NOERROR aa | Old.example.com. 40 DNAME new.example.com.; WWW.Old.example.com. 40 CNAME WWW.new.example.com.; WWW.new.example.com. 60 A 192.0.2.80"},
		{"a name that is missing there is NXDOMAIN", "nope.old.example.com. A", "NXDOMAIN aa | old.example.com. 40 DNAME new.example.com.; nope.old.example.com. 40 CNAME nope.new.example.com. | " + soa},
		{"a type that is missing there is NODATA", "www.old.example.com. TXT", "NOERROR aa | old.example.com. 40 DNAME new.example.com.; www.old.example.com. 40 CNAME www.new.example.com. | " + soa},
		{"whatever exists below it is hidden", "hidden.old.example.com. A", "NXDOMAIN aa | old.example.com. 40 DNAME new.example.com.; hidden.old.example.com. 40 CNAME hidden.new.example.com. | " + soa},
		{"its own name is not below it", "old.example.com. TXT", `NOERROR aa | old.example.com. 60 TXT "beside"`},
		{"its own name without the type is NODATA", "old.example.com. A", "NOERROR aa | | " + soa},
		{"it can be asked for", "old.example.com. DNAME", "NOERROR aa | old.example.com. 40 DNAME new.example.com."},
		{"a question for CNAME is answered with that", "www.old.example.com. CNAME", "NOERROR aa | old.example.com. 40 DNAME new.example.com.; www.old.example.com. 40 CNAME www.new.example.com."},
		{"and not with a CNAME behind it", "alias.old.example.com. CNAME", "NOERROR aa | old.example.com. 40 DNAME new.example.com.; alias.old.example.com. 40 CNAME alias.new.example.com."},
		{"nor is a question for ANY", "www.old.example.com. ANY", "NOERROR aa | old.example.com. 40 DNAME new.example.com.; www.old.example.com. 40 CNAME www.new.example.com."},
		{"a question for CNAME below one that leads to too long a name is YXDOMAIN", strings.Repeat("a", 60) + ".long.example.com. CNAME", "YXDOMAIN aa | long.example.com. 60 DNAME " + long + "example.org."},
		{"the record is said once, however often it leads on", "alias.old.example.com. A", "NOERROR aa | old.example.com. 40 DNAME new.example.com.; alias.old.example.com. 40 CNAME alias.new.example.com.; alias.new.example.com. 60 CNAME www.old.example.com.; www.old.example.com. 40 CNAME www.new.example.com.; www.new.example.com. 60 A 192.0.2.80"},
		{"out of the zone the answer ends", "a.b.away.example.com. A", "NOERROR aa | away.example.com. 60 DNAME example.org.; a.b.away.example.com. 60 CNAME a.b.example.org."},
		{"the root may be the target", "com.root.example.com. A", "NOERROR aa | root.example.com. 60 DNAME .; com.root.example.com. 60 CNAME com."},
		{"a name that becomes too long is YXDOMAIN", strings.Repeat("a", 60) + ".long.example.com. A", "YXDOMAIN aa | long.example.com. 60 DNAME " + long + "example.org."},
		{"a target that is itself ends", "x.self.example.com. A", "NOERROR aa | self.example.com. 60 DNAME self.example.com.; x.self.example.com. 60 CNAME x.self.example.com."},
		{"a wildcard's is data like other data", "x.star.example.com. DNAME", "NOERROR aa | x.star.example.com. 60 DNAME example.org."},
		{"and not followed", "x.star.example.com. A", "NOERROR aa | | " + soa},
		{"below the asterisk itself it is followed", "x.*.star.example.com. A", "NOERROR aa | *.star.example.com. 60 DNAME example.org.; x.*.star.example.com. 60 CNAME x.example.org."},
	} {
		t.Run(tt.name, func(t *testing.T) { holdBoth(t, newZoneSet(z), tt.question, tt.want) })
	}
	t.Run("names that grow end", func(t *testing.T) {
		r := z.Lookup("x.circle.example.com.", dns.TypeA)
		if len(r.Answer) != maxChain+1 || r.Rcode != dns.RcodeSuccess {
			t.Errorf("got %s", describe(r))
		}
	})
}

// holdBoth asks the general path and, where it answers, the fast one.
func holdBoth(t *testing.T, set *zoneSet, question, want string) {
	t.Helper()
	name, qtype, _ := strings.Cut(question, " ")
	asked, err := wirename.Pack(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, describe(set.lookup(asked, dns.StringToType[qtype]))); diff != "" {
		t.Error(diff)
	}
	if qtype == "ANY" {
		return // the fast path is never asked for that
	}
	if m, ok := askFast(t, set, name, dns.StringToType[qtype], 1232); ok {
		got := describe(Result{m.Rcode, m.Authoritative, m.Answer, m.Ns, m.Extra})
		if diff := cmp.Diff(strings.ToLower(want), strings.ToLower(got)); diff != "" {
			t.Errorf("fast: %s", diff)
		}
	}
}

func TestLookupThroughZones(t *testing.T) {
	set := newZoneSet(
		mustZone(t, "com.", `$TTL 60
@ IN SOA ns.example h 1 2 1 9 1
@ IN NS ns.example
example IN NS ns.example
example IN DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000
ns.example IN A 192.0.2.1
alias IN CNAME www.example
lost IN CNAME nope.example
other IN NS ns.example
down IN CNAME www.other
away IN DNAME example
`),
		mustZone(t, "example.com.", `$TTL 60
@ IN SOA ns h 1 2 1 9 1
@ IN NS ns
ns IN A 192.0.2.1
www IN A 192.0.2.2
back IN CNAME alias.com.
`),
	)
	for _, tt := range []struct{ name, question, want string }{
		{"a CNAME leads into another zone of the server", "alias.com. A", "NOERROR aa | alias.com. 60 CNAME www.example.com.; www.example.com. 60 A 192.0.2.2"},
		{"and back", "back.example.com. A", "NOERROR aa | back.example.com. 60 CNAME alias.com.; alias.com. 60 CNAME www.example.com.; www.example.com. 60 A 192.0.2.2"},
		{"the last zone denies", "lost.com. A", "NXDOMAIN aa | lost.com. 60 CNAME nope.example.com. | example.com. 1 SOA"},
		{"a DNAME too", "www.away.com. A", "NOERROR aa | away.com. 60 DNAME example.com.; www.away.com. 60 CNAME www.example.com.; www.example.com. 60 A 192.0.2.2"},
		{"a delegation to others is a referral", "down.com. A", "NOERROR aa | down.com. 60 CNAME www.other.com. | other.com. 60 NS ns.example.com. | ns.example.com. 60 A 192.0.2.1"},
		{"DS is the parent's", "example.com. DS", "NOERROR aa | example.com. 60 DS 1 8 2 0000000000000000000000000000000000000000000000000000000000000000"},
		{"NS is the child's", "example.com. NS", "NOERROR aa | example.com. 60 NS ns.example.com. | | ns.example.com. 60 A 192.0.2.1"},
	} {
		t.Run(tt.name, func(t *testing.T) { holdBoth(t, set, tt.question, tt.want) })
	}
}

func TestLookupOfUnusualNames(t *testing.T) {
	label := strings.Repeat("x", 62)
	longest := label + "." + label + "." + label + "." + strings.Repeat("y", 56) + ".example."
	if wire, err := wirename.Pack(longest); err != nil || len(wire) != wirename.Max {
		t.Fatal(len(wire), err)
	}
	z := mustZone(t, "example.", `$TTL 60
@ IN SOA ns h 1 2 1 9 1
@ IN NS ns
ns IN A 192.0.2.1
`+longest+` IN A 192.0.2.2
a\.b\\ IN A 192.0.2.3
b IN A 192.0.2.4
\000\255\032 IN A 192.0.2.5
\065lpha IN A 192.0.2.6
\228 IN A 192.0.2.7
_svc._tcp IN HTTPS 1 . alpn=h2
h IN HTTPS 1 . alpn=h2
h IN A 192.0.2.8
h2 IN HTTPS 0 h
*.w IN HTTPS 1 . port=8
*.w IN A 192.0.2.9
null IN MX 0 .
`)
	for _, tt := range []struct{ name, question, want string }{
		{"the longest name there is", longest + " A", "NOERROR aa | " + longest + " 60 A 192.0.2.2"},
		{"one as long that does not exist", "z" + longest[1:] + " A", "NXDOMAIN aa | | example. 1 SOA"},
		{"dots and backslashes in a label", `a\.b\\.example. A`, `NOERROR aa | a\.b\\.example. 60 A 192.0.2.3`},
		{"they part no labels", `a.b\\.example. A`, "NXDOMAIN aa | | example. 1 SOA"},
		{"any octet", `\000\255\032.example. A`, `NOERROR aa | \000\255\ .example. 60 A 192.0.2.5`},
		{"an escaped letter is a letter, of any case", `ALPHA.example. A`, "NOERROR aa | ALPHA.example. 60 A 192.0.2.6"},
		{"case is for ASCII only", `\196.example. A`, "NXDOMAIN aa | | example. 1 SOA"},
		{"a service binding to the name itself brings its addresses", "h.example. HTTPS", `NOERROR aa | h.example. 60 HTTPS 1 . alpn="h2" | | h.example. 60 A 192.0.2.8`},
		{"and one to an alias what is there", "h2.example. HTTPS", `NOERROR aa | h2.example. 60 HTTPS 0 h.example. | | h.example. 60 A 192.0.2.8; h.example. 60 HTTPS 1 . alpn="h2"`},
		{"and a wildcard's those that are made up with it", "q.w.example. HTTPS", `NOERROR aa | q.w.example. 60 HTTPS 1 . port="8" | | q.w.example. 60 A 192.0.2.9`},
		{"no mail at all brings nothing", "null.example. MX", "NOERROR aa | null.example. 60 MX 0 ."},
	} {
		t.Run(tt.name, func(t *testing.T) { holdBoth(t, newZoneSet(z), tt.question, tt.want) })
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
