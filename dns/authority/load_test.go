package authority

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// files writes files below a new directory, and returns it.
func files(t testing.TB, texts map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range texts {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const includeHead = "$TTL 60\n@ IN SOA ns1 h 1 1 1 1 1\n@ IN NS ns1\nns1 IN A 192.0.2.1\n"

func TestInclude(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string // in the error, or the records behind the head's
	}{
		{"a file is included", map[string]string{"z": includeHead + "$INCLUDE more\n", "more": "www A 192.0.2.2\n"},
			"www.example.com. 60 A 192.0.2.2"},
		{"with an origin of its own, that ends with it", map[string]string{"z": includeHead + "$INCLUDE more sub.example.com.\nwww A 192.0.2.3\n", "more": "www A 192.0.2.2\n$ORIGIN else.example.com.\n"},
			"www.example.com. 60 A 192.0.2.3; www.sub.example.com. 60 A 192.0.2.2"},
		{"a TTL that it sets ends with it", map[string]string{"z": includeHead + "$INCLUDE more\nwww A 192.0.2.3\n", "more": "$TTL 9\nx A 192.0.2.2\n"},
			"x.example.com. 9 A 192.0.2.2; www.example.com. 60 A 192.0.2.3"},
		{"from the including file's directory", map[string]string{"z": includeHead + "$INCLUDE d/more\n", "d/more": "$INCLUDE e/rest\n", "d/e/rest": "www A 192.0.2.2\n"},
			"www.example.com. 60 A 192.0.2.2"},
		{"up and down again inside", map[string]string{"z": includeHead + "$INCLUDE d/more\n", "d/more": "$INCLUDE ../e/rest\n", "e/rest": "www A 192.0.2.2\n"},
			"www.example.com. 60 A 192.0.2.2"},
		{"a syntax error names the included file and its line", map[string]string{"z": includeHead + "$INCLUDE d/more\n", "d/more": "; a comment\nwww A 300.0.2.2\n"},
			`DIR/d/more: bad A A: "300.0.2.2" at line: 2:`},
		{"so does a record that no zone can hold", map[string]string{"z": includeHead + "$INCLUDE d/more\n", "d/more": "\n\nwww.example.org. A 192.0.2.2\n"},
			`DIR/d/more:3: www.example.org. lies outside`},
		{"behind it the lines of the including file count again", map[string]string{"z": includeHead + "$INCLUDE more\nwww.example.org. A 192.0.2.2\n", "more": "www A 192.0.2.2\n"},
			`DIR/z:6: www.example.org. lies outside`},
		{"a file that is missing is an error", map[string]string{"z": includeHead + "$INCLUDE more\n"},
			"DIR/z: failed to open `more'"},
		{"a file above is an error", map[string]string{"z": includeHead + "$INCLUDE ../more\n"},
			"it lies outside of DIR, the directory of the zone file"},
		{"an absolute path elsewhere is an error", map[string]string{"z": includeHead + "$INCLUDE /etc/passwd\n"},
			"it lies outside of DIR, the directory of the zone file"},
		{"an absolute path inside is none", map[string]string{"z": includeHead + "$INCLUDE DIR/more\n", "more": "www A 192.0.2.2\n"},
			"www.example.com. 60 A 192.0.2.2"},
		{"a directory is an error", map[string]string{"z": includeHead + "$INCLUDE d\n", "d/x": ""},
			"it is no regular file"},
		{"a file that includes itself is an error", map[string]string{"z": includeHead + "$INCLUDE more\n", "more": "$INCLUDE more\n"},
			"it is being read already"},
		{"so is one that includes the first", map[string]string{"z": includeHead + "$INCLUDE more\n", "more": "$INCLUDE z\n"},
			"it is being read already"},
		{"deep nesting is an error", map[string]string{"z": includeHead + "$INCLUDE 1\n", "1": "$INCLUDE 2\n", "2": "$INCLUDE 3\n", "3": "$INCLUDE 4\n", "4": "$INCLUDE 5\n", "5": "$INCLUDE 6\n", "6": "$INCLUDE 7\n", "7": "$INCLUDE 8\n", "8": ""},
			"too deeply nested $INCLUDE"},
		{"more than a thousand files are an error", map[string]string{"z": includeHead + strings.Repeat("$INCLUDE more\n", 1001), "more": ""},
			"a zone includes at most 1000 files"},
		{"$GENERATE is an error there too", map[string]string{"z": includeHead + "$INCLUDE more\n", "more": "\n$GENERATE 1-9 h$ A 192.0.2.$\n"},
			"DIR/more:2: $GENERATE is no directive"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := files(t, nil)
			for name, text := range tt.files {
				tt.files[name] = strings.ReplaceAll(text, "DIR", dir)
			}
			for name, text := range tt.files {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			z, used, bad := loadZone("\x07example\x03com\x00", filepath.Join(dir, "z"), nil)
			want := strings.ReplaceAll(tt.want, "DIR", dir)
			if bad != nil {
				if !strings.Contains(bad.err.Error(), want) {
					t.Errorf("got %v", bad.err)
				}
				return
			}
			var got []string
			for rr := range z.All() {
				if h := rr.Header(); h.Rrtype == dns.TypeA && h.Name != "ns1.example.com." {
					got = append(got, fmt.Sprintf("%s %d A %s", h.Name, h.Ttl, rr.(*dns.A).A))
				}
			}
			if diff := cmp.Diff(want, strings.Join(got, "; ")); diff != "" {
				t.Error(diff)
			}
			if len(used) != len(tt.files) {
				t.Errorf("watches %v", used)
			}
		})
	}
	t.Run("a relative path to the zone works too", func(t *testing.T) {
		t.Chdir(files(t, map[string]string{"z": includeHead + "$INCLUDE more\n", "more": "www A 300.0.2.2\n"}))
		_, _, bad := loadZone("\x07example\x03com\x00", "z", nil)
		if bad == nil || !strings.Contains(bad.err.Error(), "zone: more: bad A A") {
			t.Errorf("got %v", bad)
		}
	})
	t.Run("a pipe is an error, and nothing to wait for", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "z")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, bad := loadZone("\x07example\x03com\x00", path, nil); bad == nil || !strings.Contains(bad.err.Error(), "no regular file") {
			t.Errorf("got %v", bad)
		}
	})
	t.Run("a link out of the directory is not followed", func(t *testing.T) {
		dir := files(t, map[string]string{"in/z": includeHead + "$INCLUDE link\n", "secret": "www A 192.0.2.2\n"})
		if err := os.Symlink("../secret", filepath.Join(dir, "in/link")); err != nil {
			t.Fatal(err)
		}
		if _, _, bad := loadZone("\x07example\x03com\x00", filepath.Join(dir, "in/z"), nil); bad == nil || !strings.Contains(bad.err.Error(), "escapes") {
			t.Errorf("got %v", bad)
		}
	})
}

func TestAllTypes(t *testing.T) {
	const text = includeHead + `
Sub     IN NS    ns1
a       IN A     192.0.2.2
a       IN AAAA  2001:db8::1
alias   IN CNAME A.Example.com.
d       IN DNAME example.org.
a       IN MX    10 a
a       IN TXT   "one" "two; \"three\"" \000\255
_s._tcp IN SRV   1 2 3 a
1       IN PTR   a
@       IN CAA   0 issue "ca.example.net"
svc     IN SVCB  1 a alpn=h2,h3 port=853 ipv4hint=192.0.2.2
svc     IN HTTPS 1 . alpn=h2
n       IN NAPTR 100 50 "s" "z3950+I2L+I2C" "" _z3950._tcp
_443._tcp IN TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000000
a       IN SSHFP 4 2 0000000000000000000000000000000000000000000000000000000000000000
Sub     IN DS    60485 8 2 0000000000000000000000000000000000000000000000000000000000000000
a       IN HINFO "PC" "Plan 9"
a       IN LOC   51 30 12.748 N 0 7 39.612 W 0.00m
a       IN TYPE65280 \# 3 010203
a       IN TYPE1 \# 4 C0000203
`
	z := mustZone(t, "example.com.", text)
	parser := dns.NewZoneParser(strings.NewReader(text), "example.com.", "")
	var want []string
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		want = append(want, rr.String())
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for rr := range z.All() {
		if len(got) == 0 && rr.Header().Rrtype != dns.TypeSOA {
			t.Errorf("the first record is %v", rr)
		}
		got = append(got, rr.String())
	}
	sorted := cmp.Transformer("sorted", func(in []string) map[string]int {
		out := map[string]int{}
		for _, s := range in {
			out[s]++
		}
		return out
	})
	if diff := cmp.Diff(want, got, sorted); diff != "" {
		t.Error(diff)
	}
	for rr := range z.All() {
		if name := rr.Header().Name; !strings.Contains(name, "Sub") {
			holdOwn(t, z, rr)
		}
	}
}

// holdOwn holds that a record is answered by both paths to whom asks for it.
func holdOwn(t *testing.T, z *Zone, rr dns.RR) {
	t.Helper()
	h := rr.Header()
	has := func(answer []dns.RR) bool {
		for _, other := range answer {
			if dns.IsDuplicate(rr, other) {
				return true
			}
		}
		return false
	}
	if r := z.Lookup(h.Name, h.Rrtype); !has(r.Answer) {
		t.Errorf("%v: got %s", rr, describe(r))
	}
	if m, ok := askFast(t, newZoneSet(z), h.Name, h.Rrtype, dns.MaxMsgSize); !ok || !has(m.Answer) {
		t.Errorf("%v: got %v", rr, m)
	}
}

func TestLint(t *testing.T) {
	const head = "$TTL 60\n@ IN SOA ns1 h 1 7200 3600 604800 300\n@ IN NS ns1\nns1 IN A 192.0.2.1\n"
	tests := []struct{ name, text, want string }{
		{"a good zone has no warning", head + "www A 192.0.2.1\n@ MX 1 www\nalias CNAME www\nsub NS ns.sub\nns.sub A 192.0.2.1\nsub DS 1 8 2 " + strings.Repeat("00", 32) + "\nd DNAME example.org.\n*.w A 192.0.2.1\n@ MX 2 any.w\n@ MX 3 mail.example.org.\n@ MX 4 x.sub\n", ""},
		{"a delegation into itself without glue", head + "sub NS ns.sub\nsub NS ns1\nsub NS sub\nns.sub TXT x\n", "z:5: ns.sub.example.com., which the NS record of sub.example.com. names, lies below the delegation, so that its address is needed here (glue)\nz:7: sub.example.com., which the NS record of sub.example.com. names, lies below the delegation, so that its address is needed here (glue)\nz:8: the TXT records of ns.sub.example.com. are hidden by the delegation of sub.example.com."},
		{"a delegation into another needs no glue", head + "sub NS ns.other\nother NS ns1\n", ""},
		{"the zone's own name server without an address", strings.Replace(head, "ns1 IN A 192.0.2.1\n", "ns1 IN TXT x\n", 1), "z:3: ns1.example.com., which the NS record of example.com. names, has no address"},
		{"the zone's own name server that does not exist", strings.Replace(head, "ns1 IN A 192.0.2.1\n", "", 1), "z:3: ns1.example.com., which the NS record of example.com. names, does not exist"},
		{"a delegation to a name of the zone without an address", head + "other TXT x\nsub NS other\n", "z:6: other.example.com., which the NS record of sub.example.com. names, has no address"},
		{"a delegation to a name that does not exist", head + "sub NS other\n", "z:5: other.example.com., which the NS record of sub.example.com. names, does not exist"},
		{"MX to nothing", head + "@ MX 1 mail\n", "z:5: mail.example.com., which the MX record of example.com. names, does not exist"},
		{"SRV to an alias", head + "@ SRV 1 2 3 mail\nmail CNAME ns1\n", "z:5: mail.example.com., which the SRV record of example.com. names, is an alias, expected a name with addresses of its own (RFC 2181, section 10.3)"},
		{"NS to an alias", head + "sub NS mail\nmail CNAME ns1\n", "z:5: mail.example.com., which the NS record of sub.example.com. names, is an alias, expected a name with addresses of its own (RFC 2181, section 10.3)"},
		{"MX to below a DNAME", head + "@ MX 1 x.d\nd DNAME example.org.\n", "z:5: x.d.example.com., which the MX record of example.com. names, is an alias, expected a name with addresses of its own (RFC 2181, section 10.3)"},
		{"HTTPS to nothing", head + "@ HTTPS 1 web\n", "z:5: web.example.com., which the HTTPS record of example.com. names, does not exist"},
		{"a CNAME to nothing", head + "www CNAME nope\n", "z:5: the CNAME record of www.example.com. leads to nope.example.com., which does not exist"},
		{"CNAMEs in a circle", head + "a CNAME b\nb CNAME a\n", "z:5: the CNAME record of a.example.com. leads in a circle, back to a.example.com.\nz:6: the CNAME record of b.example.com. leads in a circle, back to b.example.com."},
		{"names below a delegation that are no glue", head + "sub NS ns.sub\nns.sub A 192.0.2.1\nns.sub TXT x\nwww.sub A 192.0.2.1\n", "z:7: the TXT records of ns.sub.example.com. are hidden by the delegation of sub.example.com.\nz:8: the A records of www.sub.example.com. are hidden by the delegation of sub.example.com."},
		{"data at a delegation", head + "sub NS ns1\nsub A 192.0.2.1\n", "z:6: the A records of sub.example.com. are hidden by the delegation of sub.example.com."},
		{"names below a DNAME", head + "d DNAME example.org.\nx.d A 192.0.2.1\n", "z:6: the A records of x.d.example.com. are hidden by the DNAME record of d.example.com."},
		{"a DNAME to below itself", head + "d DNAME x.d\n", "z:5: the DNAME record of d.example.com. leads back below itself, to x.d.example.com."},
		{"a DNAME at a wildcard", head + "*.d DNAME example.org.\n", "z:5: *.d.example.com. is a wildcard with a DNAME record, which is not followed for the names that it stands for (RFC 6672, section 3.2)"},
		{"DS without a delegation", head + "sub DS 1 8 2 " + strings.Repeat("00", 32) + "\n", "z:5: sub.example.com. has DS records but no NS records, and is no delegation"},
		{"a TTL over a week", head + "www 604801 A 192.0.2.1\n", "z:5: the A records of www.example.com. have a TTL of 604801, over a week: a change would take as long"},
		{"a TTL of a week is good", head + "www 604800 A 192.0.2.1\n", ""},
		{"a forgotten dot", head + "www.example.com A 192.0.2.1\n", "z:5: www.example.com.example.com. ends with the name of the zone twice: is a dot missing at the end of the name?"},
		{"retry not shorter than refresh", strings.Replace(head, "7200 3600", "3600 3600", 1), "z:2: the SOA record's retry (3600 s) is not shorter than its refresh (3600 s)"},
		{"expire not longer than both", strings.Replace(head, "604800", "10800", 1), "z:2: the SOA record's expire (10800 s) is not longer than its refresh and retry (10800 s): secondary servers give up after one failure"},
		{"a long minimum", strings.Replace(head, "604800 300", "604800 86401", 1), "z:2: the SOA record's minimum (86401 s) is over a day: names that are added would stay unknown as long (RFC 2308, section 5)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			z, err := ReadZone("example.com.", strings.NewReader(tt.text), "z")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range Lint(z) {
				got = append(got, w.String())
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("the configuration's own records are named, and warnings of all zones told", func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Dir = files(t, map[string]string{"z": head})
		cfg.Zones = []ZoneConfig{{Name: "example.com.", File: "z", Records: []string{"x 1 IN MX 0 nope"}}}
		want := []string{"records[0] of example.com.: nope.example.com., which the MX record of x.example.com. names, does not exist"}
		if diff := cmp.Diff(want, cfg.Diagnose()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("the zones that are shipped have none", func(t *testing.T) {
		for _, file := range []string{"dns-root.toml", "dns-com.toml", "dns-example-com.toml"} {
			if got := shipped(t, file).Diagnose(); len(got) > 0 {
				t.Errorf("%s: %q", file, got)
			}
		}
	})
}
