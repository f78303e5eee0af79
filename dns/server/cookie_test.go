package server

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestSipHash(t *testing.T) {
	// The vector of the paper's appendix A.
	if got := siphash(0x0706050403020100, 0x0f0e0d0c0b0a0908, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}); got != 0xa129ca6149be45e5 {
		t.Errorf("got %x", got)
	}
}

func TestServerCookies(t *testing.T) {
	// RFC 9018, appendix A: secrets, times and cookies.
	const (
		secret  = "e5e973e5a6b2a43f48e7dc849e37bfcf"
		other   = "dd3bdf9344b678b185a6f5cb60fca715"
		rollsTo = "445536bcd2513298075a5d379663c962"
	)
	tests := []struct {
		name           string
		secret, client string
		now            uint32
		cookie         string // the query's
		valid          bool
		answer         string // the server's part
	}{
		{"a new client gets a server cookie", secret, "198.51.100.100", 1559731985, "2464c4abcf10c957", false, "010000005cf79f111f8130c3eee29480"},
		{"a cookie that is old is accepted and renewed", secret, "198.51.100.100", 1559734385, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", true, "010000005cf7a871d4a564a1442aca77"},
		{"an IPv6 client's cookie of another secret is replaced", rollsTo, "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961, "22681ab97d52c298010000005cf7c57926556bd0934c72f8", false, "010000005cf7c609a6bb79d16625507a"},
		{"and accepted with its own", other, "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741817, "22681ab97d52c298010000005cf7c57926556bd0934c72f8", true, "010000005cf7c57926556bd0934c72f8"},
		{"a cookie that is young is sent back", secret, "198.51.100.100", 1559731986, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", true, "010000005cf79f111f8130c3eee29480"},
		{"one from the other side of a clock that is not right is accepted", secret, "198.51.100.100", 1559731985 - 300, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", true, "010000005cf79f111f8130c3eee29480"},
		{"another address's cookie is not accepted", secret, "198.51.100.101", 1559731985, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", false, ""},
		{"one over an hour old is not accepted", secret, "198.51.100.100", 1559731985 + 3601, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", false, ""},
		{"one from the future is not accepted", secret, "198.51.100.100", 1559731985 - 301, "2464c4abcf10c957010000005cf79f111f8130c3eee29480", false, ""},
		{"one of another version is not accepted", secret, "198.51.100.100", 1559731985, "2464c4abcf10c957020000005cf79f111f8130c3eee29480", false, ""},
		{"one of another size is not accepted", secret, "198.51.100.100", 1559731985, "2464c4abcf10c957010000005cf79f111f8130c3eee2948000", false, "010000005cf79f111f8130c3eee29480"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw, _ := hex.DecodeString(tt.secret)
			cookie, _ := hex.DecodeString(tt.cookie)
			e := edns{cookie: true}
			e.serverIs = copy(e.server[:], cookie[copy(e.client[:], cookie):])
			valid := newCookieSecret(raw).check(&e, netip.MustParseAddr(tt.client), tt.now)
			got := hex.EncodeToString(e.server[:e.serverIs])
			if valid != tt.valid || tt.answer != "" && got != tt.answer || tt.answer == "" && (len(got) != 32 || strings.Contains(tt.cookie, got)) {
				t.Errorf("got %v %s", valid, got)
			}
		})
	}
}

func TestACookieComesBackBothWays(t *testing.T) {
	for name, handler := range map[string]Handler{"in place": new(garden), "the general way": handlerFunc(new(garden).Answer)} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, nil)
			s.Handler = handler
			ask := func(cookie string) string {
				q := question("rose.", dns.TypeA, withEDNS(1232, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie}))
				m := unpack(t, s.Respond(t.Context(), pack(t, q), client, "udp"))
				if m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 {
					t.Fatalf("got\n%v", m)
				}
				return m.IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie
			}
			whole := ask("0102030405060708")
			if len(whole) != 48 || !strings.HasPrefix(whole, "0102030405060708010000") {
				t.Fatalf("got %s", whole)
			}
			if again := ask(whole); again != whole {
				t.Errorf("a valid cookie became %s", again)
			}
			if again := ask("0102030405060709" + whole[16:]); again[16:] == whole[16:] {
				t.Error("another client cookie got the same server cookie")
			}
		})
	}
}
