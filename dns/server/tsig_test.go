package server

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var secret64 = base64.StdEncoding.EncodeToString([]byte("a secret of the garden"))

func withKey(t testing.TB, s *Server, algorithm string) {
	t.Helper()
	s.Keys = []Key{{Name: "Key.Garden.", Algorithm: strings.TrimSuffix(algorithm, "."), Secret: []byte("a secret of the garden")}}
}

// signed returns the wire form of a signed query, and its MAC.
func signed(t testing.TB, q *dns.Msg, name, algorithm, secret string, at time.Time) (wire []byte, mac string) {
	t.Helper()
	q.SetTsig(name, algorithm, 300, at.Unix())
	wire, mac, err := dns.TsigGenerate(q, secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return wire, mac
}

func TestTSIG(t *testing.T) {
	for _, algorithm := range []string{dns.HmacSHA1, dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512} {
		t.Run("what is signed with "+algorithm+" is answered signed", func(t *testing.T) {
			g := new(garden)
			s := newServer(t, nil)
			s.Handler = g
			withKey(t, s, algorithm)
			for _, name := range []string{"rose.", "nope."} {
				wire, mac := signed(t, question(name, dns.TypeA, withEDNS(1232)), "key.garden.", algorithm, secret64, time.Now())
				out := s.Respond(t.Context(), wire, client, "udp")
				m := unpack(t, out)
				if m.IsTsig() == nil || m.IsEdns0() == nil || m.Rcode == dns.RcodeNotAuth {
					t.Fatalf("got\n%v", m)
				}
				if err := dns.TsigVerify(out, secret64, mac, false); err != nil {
					t.Errorf("%v\n%v", err, m)
				}
			}
		})
	}
	t.Run("an answer is cut to make room for the signature", func(t *testing.T) {
		s := newServer(t, nil)
		s.Handler = new(garden)
		withKey(t, s, dns.HmacSHA256)
		for _, size := range []uint16{512, 900} {
			wire, mac := signed(t, question("rose.", dns.TypeTXT, withEDNS(size)), "key.garden.", dns.HmacSHA256, secret64, time.Now())
			out := s.Respond(t.Context(), wire, client, "udp")
			if m := unpack(t, out); len(out) > int(size) || !m.Truncated || len(m.Answer) == 0 {
				t.Errorf("%d octets, %v", len(out), m)
			}
			if err := dns.TsigVerify(out, secret64, mac, false); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("every message of a transfer is signed", func(t *testing.T) {
		s := newServer(t, nil)
		s.Handler = transferFunc(wholeGarden)
		withKey(t, s, dns.HmacSHA256)
		addr, _ := start(t, s)
		q := question("garden.", dns.TypeAXFR)
		q.SetTsig("key.garden.", dns.HmacSHA256, 300, time.Now().Unix())
		in, err := (&dns.Transfer{TsigSecret: map[string]string{"key.garden.": secret64}}).In(q, addr)
		if err != nil {
			t.Fatal(err)
		}
		messages := 0
		for e := range in {
			if e.Error != nil {
				t.Fatal(e.Error)
			}
			messages++
		}
		if messages != 3 {
			t.Errorf("%d messages", messages)
		}
	})
}

func TestTSIGErrors(t *testing.T) {
	now := time.Now()
	tsig := func(change func(*dns.TSIG)) func(t *testing.T) ([]byte, string) {
		return func(t *testing.T) ([]byte, string) {
			wire, _ := signed(t, question("rose.", dns.TypeA), "key.garden.", dns.HmacSHA256, secret64, now)
			m := unpack(t, wire)
			change(m.IsTsig())
			return pack(t, m), m.IsTsig().MAC
		}
	}
	tests := []struct {
		name    string
		query   func(t *testing.T) ([]byte, string)
		rcode   int
		failure uint16
		signed  bool
	}{
		{"an unknown key is BADKEY, unsigned", func(t *testing.T) ([]byte, string) {
			return signed(t, question("rose.", dns.TypeA), "other.garden.", dns.HmacSHA256, secret64, now)
		}, dns.RcodeNotAuth, dns.RcodeBadKey, false},
		{"a key with another algorithm is BADKEY", func(t *testing.T) ([]byte, string) {
			return signed(t, question("rose.", dns.TypeA), "key.garden.", dns.HmacSHA512, secret64, now)
		}, dns.RcodeNotAuth, dns.RcodeBadKey, false},
		{"an unknown algorithm is BADKEY", tsig(func(r *dns.TSIG) { r.Algorithm = "hmac-rot13." }), dns.RcodeNotAuth, dns.RcodeBadKey, false},
		{"another secret is BADSIG, unsigned", func(t *testing.T) ([]byte, string) {
			return signed(t, question("rose.", dns.TypeA), "key.garden.", dns.HmacSHA256, "Zm9yZ2Vk", now)
		}, dns.RcodeNotAuth, dns.RcodeBadSig, false},
		{"a message that was changed is BADSIG", func(t *testing.T) ([]byte, string) {
			wire, mac := signed(t, question("rose.", dns.TypeA), "key.garden.", dns.HmacSHA256, secret64, now)
			wire[headerSize+1] = 'n'
			return wire, mac
		}, dns.RcodeNotAuth, dns.RcodeBadSig, false},
		{"an old signature is BADTIME, signed", func(t *testing.T) ([]byte, string) {
			return signed(t, question("rose.", dns.TypeA), "key.garden.", dns.HmacSHA256, secret64, now.Add(-time.Hour))
		}, dns.RcodeNotAuth, dns.RcodeBadTime, true},
		{"one of the future is BADTIME, signed", func(t *testing.T) ([]byte, string) {
			return signed(t, question("rose.", dns.TypeA), "key.garden.", dns.HmacSHA256, secret64, now.Add(time.Hour))
		}, dns.RcodeNotAuth, dns.RcodeBadTime, true},
		{"a signature of a forged time is BADSIG, not BADTIME", tsig(func(r *dns.TSIG) { r.TimeSigned -= 3600 }), dns.RcodeNotAuth, dns.RcodeBadSig, false},
		{"a signature that was cut is BADTRUNC, signed", tsig(func(r *dns.TSIG) { r.MAC, r.MACSize = r.MAC[:40], 20 }), dns.RcodeNotAuth, dns.RcodeBadTrunc, true},
		{"one cut to less than half is a format error", tsig(func(r *dns.TSIG) { r.MAC, r.MACSize = r.MAC[:30], 15 }), dns.RcodeFormatError, 0, false},
		{"one that is too long is a format error", tsig(func(r *dns.TSIG) { r.MAC, r.MACSize = r.MAC+"00", 33 }), dns.RcodeFormatError, 0, false},
		{"a record of class IN is a format error", tsig(func(r *dns.TSIG) { r.Hdr.Class = dns.ClassINET }), dns.RcodeFormatError, 0, false},
		{"a record that is not the last is a format error", func(t *testing.T) ([]byte, string) {
			m := question("rose.", dns.TypeA)
			m.SetTsig("key.garden.", dns.HmacSHA256, 300, now.Unix())
			m.Extra = append(m.Extra, record("rose. 1 IN A 192.0.2.1"))
			return pack(t, m), ""
		}, dns.RcodeFormatError, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, nil)
			s.Handler = new(garden)
			withKey(t, s, dns.HmacSHA256)
			wire, mac := tt.query(t)
			out := s.Respond(t.Context(), wire, client, "udp")
			m := unpack(t, out)
			r := m.IsTsig()
			if m.Rcode != tt.rcode || len(m.Answer) > 0 || (r != nil) != (tt.failure != 0) {
				t.Fatalf("got\n%v", m)
			}
			if r == nil {
				return
			}
			if r.Error != tt.failure || (r.MACSize > 0) != tt.signed {
				t.Errorf("got\n%v", m)
			}
			if r.Error == dns.RcodeBadTime {
				clock, _ := hex.DecodeString(r.OtherData)
				if len(clock) != 6 || r.TimeSigned != unpack(t, wire).IsTsig().TimeSigned {
					t.Errorf("got\n%v", m)
				}
			}
			if tt.signed {
				verifyIgnoringTime(t, s, out, mac)
			}
		})
	}
}

// verifyIgnoringTime checks a MAC without the library, which would neither read
// a message with NOTAUTH nor one of another time.
func verifyIgnoringTime(t *testing.T, s *Server, wire []byte, requestMAC string) {
	t.Helper()
	shape, _ := walk(wire)
	r := unpack(t, wire).IsTsig()
	before, _ := hex.DecodeString(requestMAC)
	sig := &signature{name: "key.garden.", algorithm: dns.HmacSHA256, key: s.prepared().keys["key.garden."]}
	want := sig.digest(before, requestPart(wire, shape.tsigName, r.OrigId), sig.variables(r.TimeSigned, r.Fudge, r.Error, r.OtherData))
	if hex.EncodeToString(want) != r.MAC {
		t.Errorf("the answer's own signature is wrong:\n%v", r)
	}
}

func TestTheHandlerIsToldTheKey(t *testing.T) {
	var key string
	s := newServer(t, func(_ context.Context, q *Query, _ *dns.Msg) { key = q.Key })
	withKey(t, s, dns.HmacSHA256)
	m := question("garden.", dns.TypeSOA)
	s.Respond(t.Context(), pack(t, m), client, "udp")
	if key != "" {
		t.Errorf("unsigned: %q", key)
	}
	wire, _ := signed(t, m, "KEY.garden.", dns.HmacSHA256, secret64, time.Now())
	s.Respond(t.Context(), wire, client, "udp")
	if key != "key.garden." {
		t.Errorf("signed: %q", key)
	}
}

func TestALogDoesNotShowASecret(t *testing.T) {
	k := Key{Name: "k.", Algorithm: "hmac-sha256", Secret: []byte("geheim")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(verb, []Key{k}); !strings.Contains(got, "key k.") || strings.Contains(got, "geheim") || strings.Contains(got, "67656865696d") {
			t.Errorf("%s: %s", verb, got)
		}
	}
}
