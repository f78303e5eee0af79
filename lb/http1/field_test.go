package http1

import (
	"bytes"
	"strings"
	"testing"
)

func TestFieldsThatEndHere(t *testing.T) {
	r := parsed(t, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-One,cookie\r\nconnection: x-forwarded-a, Host\r\n"+
		"x-ONE: 1\r\nX-Two: 2\r\nCookie: 3\r\nX-Forwarded-A: 4\r\nX-Forwarded-B: 5\r\n\r\n")
	for i, want := range []bool{true, true, true, true, false, true, true, false} {
		if f := r.Fields[i]; f.Hop != want {
			t.Errorf("%s ends here: %t", f.Name, f.Hop)
		}
	}
	if string(r.Host) != "h" || !r.DropTrailers() {
		t.Errorf("host %q, trailers are dropped: %t", r.Host, r.DropTrailers())
	}
	if r := parsed(t, field("Connection: cookie", "Cookie: a", "Via: b")); !r.Fields[2].Hop || r.Fields[3].Hop || r.DropTrailers() {
		t.Errorf("of known kinds alone: %v, trailers are dropped: %t", r.Fields, r.DropTrailers())
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "TE", "Transfer-Encoding", "Upgrade", "Proxy-Authorization", "Proxy-Authenticate", "Close"} {
		if r := parsed(t, field(name+": chunked")); !r.Fields[1].Hop || name != "Connection" && r.DropTrailers() {
			t.Errorf("%s is forwarded", name)
		}
	}
	for _, name := range []string{"Trailer", "Cookie", "X-Forwarded-For", "Close-Not"} {
		if parsed(t, field(name+": a")).Fields[1].Hop {
			t.Errorf("%s is not forwarded", name)
		}
	}
}

func TestEveryNameIsRecognised(t *testing.T) {
	for k, name := range kindNames {
		if name == "" {
			continue
		}
		for _, spelling := range []string{name, strings.ToUpper(name)} {
			if got := KindOf([]byte(spelling)); got != Kind(k) {
				t.Errorf("%s is of kind %d, want %d", spelling, got, k)
			}
		}
		for _, other := range []string{"a" + name, name[1:], name[:len(name)-1] + "~"} {
			if got := KindOf([]byte(other)); got != Other && got != XForwardedOther {
				t.Errorf("%s is of kind %d", other, got)
			}
		}
	}
	for name, want := range map[string]Kind{
		"": Other, "x": Other, "X-Forwarded-": XForwardedOther, "X-Forwarded-Port": XForwardedOther, "x-forwarded": Other,
		"X_Forwarded_For": XForwardedOther, "X-Forwarded_Host": XForwardedOther, "x_real_ip": XForwardedOther, "X-Real-Ips": Other,
	} {
		if got := KindOf([]byte(name)); got != want {
			t.Errorf("%q is of kind %d, want %d", name, got, want)
		}
	}
}

func TestGetGivesTheFirstOfAKind(t *testing.T) {
	r := parsed(t, field("Via: 1.1 a", "via: 1.1 b", "Cookie:", "A: \xe9\tb\x80"))
	if v := r.Get(Via); string(v) != "1.1 a" {
		t.Errorf("Via is %q", v)
	}
	if v := r.Get(Cookie); v == nil || len(v) != 0 {
		t.Errorf("Cookie is %#v", v)
	}
	if v := r.Get(Server); v != nil {
		t.Errorf("Server is %q", v)
	}
	if v := r.Fields[4].Value; string(v) != "\xe9\tb\x80" {
		t.Errorf("A is %q", v)
	}
}

func TestAControlCharacterIsFoundAnywhere(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			buf := bytes.Repeat([]byte{'a'}, 20)
			copy(buf, "\xff\x80\t ~")
			buf[at] = byte(c)
			want := 20
			if c < 0x20 && c != '\t' || c == 0x7f {
				want = at
			}
			if got := textEnd(buf, 0); got != want {
				t.Fatalf("byte %#x at %d: the text ends at %d", c, at, got)
			}
		}
	}
}
