package authority

import (
	"bytes"
	"errors"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/kit"
)

const head = "$ORIGIN example.com.\n$TTL 60\n@ IN SOA ns1 h 1 1 1 1 1\n@ IN NS ns1\nns1 IN A 192.0.2.1\n"

func TestReadZone(t *testing.T) {
	tests := []struct {
		name string
		text string
		want string // in the error; empty: none
	}{
		{"a small zone is read", head, ""},
		{"a record that stands there twice counts once", head + "ns1 IN A 192.0.2.1\n", ""},
		{"a line that is no record is an error with its line", head + "\n; a comment\nwww IN A 300.1.1.1\n", "test.zone: bad A A: \"300.1.1.1\" at line: 8"},
		{"an unknown type is an error", head + "www IN AX 1.1.1.1\n", "line: 6"},
		{"a record without a TTL anywhere is an error", "@ IN A 192.0.2.1\n", "test.zone:1: the record of example.com. has no TTL"},
		{"a name outside of the zone is an error with its line", head + "www.example.org. IN A 192.0.2.1\n", "test.zone:6: www.example.org. lies outside of the zone example.com."},
		{"a name that only ends alike lies outside", head + "www.badexample.com. IN A 192.0.2.1\n", "test.zone:6: www.badexample.com. lies outside"},
		{"another class is an error", head + "www CH TXT x\n", "test.zone:6: the class of www.example.com. is CH, expected IN"},
		{"a TTL over 31 bits is an error", head + "www 3000000000 IN A 192.0.2.1\n", "expected at most 2147483647"},
		{"different TTLs in a set are an error", head + "www 1 IN A 192.0.2.1\nwww 2 IN A 192.0.2.2\n", "test.zone:7: the A records of www.example.com. have the TTLs 1 and 2"},
		{"a CNAME beside an address is an error", head + "www IN A 192.0.2.1\nwww IN CNAME ns1\n", "test.zone:7: www.example.com. has a CNAME record beside other records"},
		{"an address beside a CNAME is an error", head + "www IN CNAME ns1\nwww IN A 192.0.2.1\n", "test.zone:7: www.example.com. has a CNAME record beside other records"},
		{"two CNAMEs are an error", head + "www IN CNAME ns1\nwww IN CNAME ns2\n", "test.zone:7"},
		{"the same CNAME twice is none", head + "www IN CNAME ns1\nwww IN CNAME ns1\n", ""},
		{"a CNAME at the apex is an error", head + "@ IN CNAME ns1\n", "test.zone:6"},
		{"a DNAME is read", head + "www IN DNAME example.org.\n", ""},
		{"two DNAMEs are an error", head + "www IN DNAME example.org.\nwww IN DNAME example.net.\n", "test.zone:7: www.example.com. has two DNAME records"},
		{"a DNAME beside a CNAME is an error", head + "www IN DNAME example.org.\nwww IN CNAME ns1\n", "test.zone:7: www.example.com. has a CNAME record beside other records"},
		{"a DNAME at a delegation is an error", head + "sub IN NS ns1\nsub IN DNAME example.org.\n", "test.zone:7: sub.example.com. has a DNAME record and is delegated"},
		{"a delegation at a DNAME is an error", head + "sub IN DNAME example.org.\nsub IN NS ns1\n", "test.zone:7: sub.example.com. has a DNAME record and is delegated"},
		{"a DNAME at the apex is none", head + "@ IN DNAME example.org.\n", ""},
		{"a delegation of a wildcard is an error", head + "*.sub IN NS ns1\n", "test.zone:6: *.sub.example.com. is a wildcard with an NS record"},
		{"a record before any name is an error", "  60 IN A 192.0.2.1\n" + head, "test.zone:1: there is no name"},
		{"$GENERATE is an error, with its line", head + "\n$generate 1-3 h$ A 192.0.2.$\n", "test.zone:7: $GENERATE is no directive"},
		{"a compression pointer has no place in raw data", head + "www IN CNAME \\# 2 C000\n", "line: 6"},
		{"one that leads to a name there is read as that", head + "x IN MINFO \\# 5 0161 00 C000\n", ""},
		{"an unknown type is read", head + "x IN TYPE65534 \\# 2 abcd\ny IN TYPE65533 \\# 0\n", ""},
		{"the line of a record at the end without a newline is told", head + "www.example.org. IN A 192.0.2.1", "test.zone:6"},
		{"a record without data is an error", head + "www IN A \\# 0\n", "test.zone"},
		{"a query type is no record", head + "www IN TYPE255 \\# 1 00\n", "test.zone:6"},
		{"a second SOA is an error", head + "@ IN SOA ns2 h 1 1 1 1 1\n", "expected exactly one"},
		{"a SOA below the apex is an error", head + "www IN SOA ns2 h 1 1 1 1 1\n", "expected exactly one"},
		{"no SOA is an error", "$TTL 60\n@ IN NS ns1\nns1 IN A 192.0.2.1\n", "the SOA record of example.com. is missing"},
		{"no NS is an error", "$TTL 60\n@ IN SOA ns1 h 1 1 1 1 1\n", "the NS records of example.com. are missing"},
		{"an empty file is an error", "", "the SOA record of example.com. is missing"},
		{"a delegation into itself without glue is read, for -check to warn of", head + "sub IN NS ns.sub\n", ""},
		{"so is a zone whose name server has no address", "$TTL 60\n@ IN SOA ns1 h 1 1 1 1 1\n@ IN NS ns1\n", ""},
		{"a file cannot include another", head + "$INCLUDE /etc/passwd\n", "line: 6"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ReadZone("example.com.", strings.NewReader(tt.text), "test.zone")
			if tt.want == "" && err == nil {
				return
			}
			if tt.want == "" || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, expected %q", err, tt.want)
			}
		})
	}
}

func TestRecords(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "z"), []byte(head), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		entry   string
		served  int
		skipped bool
		want    string // in the error
	}{
		{"a record is served", "_http._tcp.example.com. 30 IN SRV 0 0 80 example.com.", 1, false, ""},
		{"columns may be aligned", "_http._tcp.example.com.   30 IN   SRV 0 0 80 example.com.", 1, false, ""},
		{"a name without its end belongs to the zone", "_http._tcp 30 IN SRV 0 0 80 example.com.", 1, false, ""},
		{"a record whose variable was empty is left out", "_http._tcp.example.com. 30 IN SRV 0 0  example.com.", 0, true, ""},
		{"a record whose last field was empty is left out", "_http._tcp.example.com. 30 IN SRV 0 0 80 ", 0, true, ""},
		{"an entry that was all variable is left out", "", 0, true, ""},
		{"a wrong record is an error", "_http._tcp.example.com. 30 IN SRV 0 0 http example.com.", 0, false, `zones[0].records[0] is "_http._tcp.example.com. 30 IN SRV 0 0 http example.com.", expected a record as in a zone file: bad SRV Port`},
		{"a record without TTL is an error", "x.example.com. IN A 192.0.2.1", 0, false, "has no TTL"},
		{"two records in one entry are an error", "x.example.com. 1 IN A 192.0.2.1\ny.example.com. 1 IN A 192.0.2.1", 0, false, "does not hold one record"},
		{"a comment is an error", "; later", 0, false, "does not hold one record"},
		{"a record of another zone is an error", "x.example.org. 1 IN A 192.0.2.1", 0, false, "outside of the zone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Dir = dir
			cfg.Zones = []ZoneConfig{{Name: "example.com.", File: "z", Records: []string{tt.entry}}}
			var log bytes.Buffer
			s, err := New(cfg, slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r := zoneAt(t, s, "example.com.").Lookup("_http._tcp.example.com.", dns.TypeSRV)
			if len(r.Answer) != tt.served {
				t.Errorf("served %v", r.Answer)
			}
			if strings.Contains(log.String(), "level=INFO msg=\"a record without its value was left out\"") != tt.skipped {
				t.Errorf("logged %q", log.String())
			}
		})
	}
}

// FuzzReadZone holds that no text makes the loader or a lookup fail, that what is
// loaded is what miekg's parser reads, and that it can be sent.
func FuzzReadZone(f *testing.F) {
	f.Add(head)
	f.Add(testZone)
	f.Add(hotZone)
	f.Add(head + "$GENERATE 1-3 h$ A 192.0.2.$\n")
	f.Add(head + "x IN TYPE65534 \\# 4 01020304\n\\000\\255 IN TXT \"\\\"\"\n")
	for _, name := range []string{"root.zone", "com.zone", "example.com.zone"} {
		text, err := os.ReadFile(filepath.Join("../../configs/zones", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, content string) {
		if len(content) > 1<<14 {
			return
		}
		for _, origin := range []string{".", "example.com."} {
			z, err := ReadZone(origin, strings.NewReader(content), "fuzz")
			if err != nil {
				continue
			}
			if diff := cmp.Diff(parsed(content, origin), spelled(z.All())); diff != "" {
				t.Fatalf("what is served is not what was read: %s", diff)
			}
			Lint(z)
			set := newZoneSet(z)
			for wire := range z.nodes {
				for _, asked := range []string{wire, "\x01x" + wire} {
					if len(asked) > wirename.Max {
						continue
					}
					for _, qtype := range []uint16{dns.TypeA, dns.TypeDS, dns.TypeNS, dns.TypeTXT, dns.TypeHTTPS} {
						holdSame(t, set, wirename.Text(asked), qtype)
					}
				}
			}
		}
	})
}

// parsed returns the records that miekg's parser finds, each once.
func parsed(content, origin string) map[string]bool {
	parser := dns.NewZoneParser(strings.NewReader(content), origin, "")
	return spelled(func(yield func(dns.RR) bool) {
		for rr, ok := parser.Next(); ok && yield(rr); rr, ok = parser.Next() {
		}
	})
}

// spelled returns the records as text, as they look after a way over the wire.
func spelled(rrs iter.Seq[dns.RR]) map[string]bool {
	out := map[string]bool{}
	buf := make([]byte, dns.MaxMsgSize)
	for rr := range rrs {
		n, err := dns.PackRR(rr, buf, 0, nil, false)
		if err != nil {
			return nil
		}
		if rr, _, err = dns.UnpackRR(buf[:n], 0); err != nil {
			return nil
		}
		out[strings.ToLower(rr.String())] = true
	}
	return out
}

// holdSame holds that a question is answered with what can be sent, and by the
// fast path, where it answers, like by the general one.
func holdSame(t *testing.T, set *zoneSet, name string, qtype uint16) {
	t.Helper()
	asked, err := wirename.Pack(name)
	if err != nil {
		t.Fatal(err)
	}
	r := set.lookup(asked, qtype)
	m := &dns.Msg{Answer: slices.Clone(r.Answer), Ns: r.Authority, Extra: r.Additional, Compress: true}
	m.Truncate(dns.MaxMsgSize)
	if _, err := m.Pack(); err != nil {
		t.Fatalf("%s %s: %v", name, dns.Type(qtype), err)
	}
	if m, ok := askFast(t, set, name, qtype, dns.MaxMsgSize); ok {
		got := Result{m.Rcode, m.Authoritative, m.Answer, m.Ns, m.Extra}
		if diff := cmp.Diff(canonicalText(r, false), canonicalText(got, false)); diff != "" {
			t.Fatalf("%s %s: the fast answer is not the general one: %s", name, dns.Type(qtype), diff)
		}
	}
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "good.zone"), []byte(head), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad.zone"), []byte(head+"www IN A 300.1.1.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	zone := func(name, file string) func(*Config) {
		return func(c *Config) { c.Zones = append(c.Zones, ZoneConfig{Name: name, File: file}) }
	}
	tests := []struct {
		name   string
		change func(*Config)
		key    string
		want   string
	}{
		{"a zone without a name is an error", zone("", "good.zone"), "zones[0].name", "expected a domain name"},
		{"a zone name that is none is an error", zone("a..b.", "good.zone"), "zones[0].name", "expected a domain name"},
		{"a zone without a file is an error", zone("example.com.", ""), "zones[0].file", "is empty"},
		{"a file that is not there is an error", zone("example.com.", "none.zone"), "zones[0].file", "cannot be read"},
		{"a bad zone file is an error with file and line", zone("example.com.", "bad.zone"), "zones[0].file", "bad.zone: bad A A: \"300.1.1.1\" at line: 6"},
		{"a zone twice is an error", func(c *Config) {
			zone("example.com.", "good.zone")(c)
			zone("EXAMPLE.com", "good.zone")(c)
		}, "zones[1].name", "another zone"},
		{"limits are checked", func(c *Config) { c.MaxInFlight = 0 }, "max_in_flight", "expected"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Dir = dir
			tt.change(&cfg)
			var key *kit.KeyError
			if err := cfg.Validate(); !errors.As(err, &key) || key.Key != tt.key || !strings.Contains(key.Msg, tt.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("the defaults are valid, and a server without zones starts", func(t *testing.T) {
		cfg := DefaultConfig()
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		if _, err := New(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("an absolute file needs no directory", func(t *testing.T) {
		cfg := DefaultConfig()
		zone("example.com.", filepath.Join(dir, "good.zone"))(&cfg)
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("the metrics of one registry are registered once", func(t *testing.T) {
		reg := prometheus.NewRegistry()
		if _, err := New(DefaultConfig(), slog.New(slog.DiscardHandler), reg); err != nil {
			t.Fatal(err)
		}
		if _, err := New(DefaultConfig(), slog.New(slog.DiscardHandler), reg); err == nil {
			t.Error("expected an error")
		}
	})
}
