package ingressclient

import (
	"errors"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func FuzzReply(f *testing.F) {
	query := new(dns.Msg)
	query.SetQuestion("www.example.com.", dns.TypeA)
	query.Id = 0x1234
	good := new(dns.Msg)
	good.SetReply(query)
	for _, s := range []string{"www.example.com. 60 CNAME example.com.", "example.com. 60 A 127.0.0.1", "example.com. 60 CNAME www.example.com."} {
		rr, err := dns.NewRR(s)
		if err != nil {
			f.Fatal(err)
		}
		good.Answer = append(good.Answer, rr)
		raw, err := good.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte{0x12, 0x34, 0x80})
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := reply(raw, query)
		if err != nil {
			return
		}
		if m.Id != query.Id || !m.Response {
			t.Fatalf("accepted as an answer: %v", m)
		}
		_ = describe(m)
		a, err := interpret(m)
		if err != nil {
			return
		}
		for _, rr := range a.records {
			if rr.Header().Rrtype != dns.TypeA || dns.CanonicalName(rr.Header().Name) != a.owner {
				t.Fatalf("%v is taken for an address of %s", rr, a.owner)
			}
		}
		v4, v6 := addresses(a.records, a.owner)
		if len(v6) > 0 || len(v4) > len(a.records) {
			t.Fatalf("addresses %v, %v from %v", v4, v6, a.records)
		}
	})
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"example.com", "http://me:pw@[::1]:80/a/../b?c#d", "http://a//../%2e%2e/x", "https://xn--a:443", "http://a%2fb/", "http://a/%zz"} {
		f.Add(s, "/next?x=y")
		f.Add("http://example.com/a", s)
	}
	f.Fuzz(func(t *testing.T, raw, location string) {
		u, err := parseURL(raw, false)
		if err != nil {
			var fail *failure
			if !errors.As(err, &fail) || fail.code != exitURL && fail.code != exitUnsupported {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		again, err := parseURL(u.url.String(), false)
		if err != nil || again.url.String() != u.url.String() || again.host != strings.TrimSuffix(u.host, ".") && !strings.Contains(u.host, "%") {
			t.Fatalf("%q became %q, which is read as %+v, %v", raw, u.url, again, err)
		}
		if strings.ContainsAny(u.authority()+u.url.RequestURI(), " \r\n") {
			t.Fatalf("%q would break the head: %q, %q", raw, u.authority(), u.url.RequestURI())
		}
		if _, err := http.NewRequest("GET", u.url.String(), nil); err != nil {
			t.Fatalf("%q became %q, which net/http refuses: %v", raw, u.url, err)
		}
		if next, err := u.redirect(location, false); err == nil && next.host == "" {
			t.Fatalf("%q leads from %q to no host", location, u.url)
		}
	})
}

func FuzzRules(f *testing.F) {
	for _, s := range []string{"example.com:80:127.0.0.1", "*:443:[::1],::2", "::host:", "[::1]:80:[::2]:81", "a:b:c:d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := parseResolve(s); err == nil && (r.host == "" || r.port == 0 || len(r.addrs) == 0) {
			t.Fatalf("--resolve %q is read as %+v", s, r)
		}
		if r, err := parseConnectTo(s); err == nil && r.toHost != "" && hostTrouble(r.toHost) != "" {
			t.Fatalf("--connect-to %q is read as %+v", s, r)
		}
	})
}

func FuzzFormPart(f *testing.F) {
	for _, s := range []string{"a=b", "a=@f;type=x/y;charset=z;filename=\"q;\\\"\"", "a=<f", "a=\"b;c\";type=t", "a=b;type=\r\nX: y", "a\"\r\n=b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseFormPart(s)
		if err != nil {
			return
		}
		// Whatever the parts hold, a reader finds one part, and its name.
		p.contentType = strings.ToValidUTF8(p.contentType, "")
		message := p.head("boundary") + "\r\n--boundary--\r\n"
		r := multipart.NewReader(strings.NewReader(message), "boundary")
		if _, err := r.NextRawPart(); err != nil {
			t.Fatalf("%q gives a part that cannot be read: %v\n%q", s, err, message)
		}
		if _, err := r.NextRawPart(); err == nil {
			t.Fatalf("%q gives two parts", s)
		}
	})
}

func FuzzParseArgs(f *testing.F) {
	for _, s := range []string{"-sSXPOST\x00http://a/", "--data=x\x00a", "-H\x00A: b\x00--\x00-a", "--resolve\x00a:1:::1\x00a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := parseArgs(strings.Split(s, "\x00"), func(string) string { return "" })
		if err == nil && !o.help && !o.version && o.resolver == "" {
			t.Fatalf("%q: no resolver was chosen", s)
		}
		var fail *failure
		if err != nil && (!errors.As(err, &fail) || fail.code != exitUsage) {
			t.Fatalf("%q: %v", s, err)
		}
	})
}
