package server

import (
	"context"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestRespond(t *testing.T) {
	query := func(change func(*dns.Msg)) []byte {
		m := new(dns.Msg)
		m.SetQuestion("Example.COM.", dns.TypeA)
		m.Id = 4711
		change(m)
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	tests := []struct {
		name  string
		wire  []byte
		check func(*dns.Msg) bool // nil: no answer
	}{
		{"a query is answered with its own question in its own case", query(func(*dns.Msg) {}), func(m *dns.Msg) bool {
			return m.Response && m.Id == 4711 && m.RecursionDesired && m.Rcode == dns.RcodeSuccess && len(m.Answer) == 1 &&
				m.Question[0].Name == "Example.COM." && m.IsEdns0() == nil
		}},
		{"less than a header is dropped", make([]byte, 11), nil},
		{"a response is dropped", query(func(m *dns.Msg) { m.Response = true }), nil},
		{"a response that is malformed is dropped", query(func(m *dns.Msg) { m.Response = true })[:15], nil},
		{"a query that is cut off is a format error", query(func(*dns.Msg) {})[:15], func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeFormatError && m.Id == 4711 && m.Response
		}},
		{"no question is a format error", query(func(m *dns.Msg) { m.Question = nil }), rcode(dns.RcodeFormatError)},
		{"two questions are a format error", query(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), rcode(dns.RcodeFormatError)},
		{"two OPT records are a format error", query(func(m *dns.Msg) { m.SetEdns0(1232, false).SetEdns0(1232, false) }), rcode(dns.RcodeFormatError)},
		{"an OPT record among the answers is a format error", query(func(m *dns.Msg) {
			m.SetEdns0(1232, false)
			m.Answer, m.Extra = m.Extra, nil
		}), rcode(dns.RcodeFormatError)},
		{"another opcode is not implemented", query(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeNotImplemented && m.Opcode == dns.OpcodeUpdate
		}},
		{"another opcode with EDNS is refused with EDNS", query(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify; m.SetEdns0(1232, false) }), func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeNotImplemented && m.IsEdns0() != nil
		}},
		{"another class is refused", query(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), rcode(dns.RcodeRefused)},
		{"a zone transfer is refused", query(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }), rcode(dns.RcodeRefused)},
		{"a question for OPT is a format error", query(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeOPT }), rcode(dns.RcodeFormatError)},
		{"EDNS is answered with EDNS version 0 and our size", query(func(m *dns.Msg) { m.SetEdns0(4096, true) }), func(m *dns.Msg) bool {
			opt := m.IsEdns0()
			return opt != nil && opt.Version() == 0 && opt.UDPSize() == UDPSize && opt.Do()
		}},
		{"EDNS version 1 is answered with BADVERS and version 0", query(func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) }), func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeBadVers && m.IsEdns0().Version() == 0 && len(m.Answer) == 0
		}},
		{"counts that promise a record which is missing are a format error", append(query(func(*dns.Msg) {})[:11:11], append([]byte{1}, query(func(*dns.Msg) {})[12:]...)...), rcode(dns.RcodeFormatError)},
		{"octets behind the last record are a format error", append(query(func(*dns.Msg) {}), 0), rcode(dns.RcodeFormatError)},
		{"a name that points at itself is a format error", append(query(func(*dns.Msg) {})[:12:12], 0xC0, 12, 0, 1, 0, 1), rcode(dns.RcodeFormatError)},
		{"options that are cut off are a format error", query(func(m *dns.Msg) {
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "01"}}
		}), func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeFormatError && m.IsEdns0() != nil && len(m.IsEdns0().Option) == 0
		}},
		{"a cookie with 7 octets of the server's is a format error", query(cookieOnly("01020304050607080910111213141516"[:30])), rcode(dns.RcodeFormatError)},
		{"a cookie with 33 octets of the server's is a format error", query(cookieOnly(strings.Repeat("01", 41))), rcode(dns.RcodeFormatError)},
		{"no question but a cookie asks for a cookie (RFC 7873, section 5.4)", query(func(m *dns.Msg) {
			cookieOnly("0102030405060708")(m)
			m.Question = nil
		}), func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeSuccess && len(m.Question) == 0 && len(m.IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie) == 48
		}},
		{"of two cookies the first counts", query(func(m *dns.Msg) {
			cookieOnly("0102030405060708")(m)
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "ff"})
		}), func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeSuccess && strings.HasPrefix(m.IsEdns0().Option[0].(*dns.EDNS0_COOKIE).Cookie, "0102030405060708")
		}},
		{"EDNS version 1 goes before another opcode", query(func(m *dns.Msg) { m.SetEdns0(1232, false).Opcode = dns.OpcodeUpdate; m.IsEdns0().SetVersion(1) }), rcode(dns.RcodeBadVers)},
		{"a message of another opcode that no one can read is not implemented", query(func(m *dns.Msg) { m.Opcode = dns.OpcodeStateful })[:15], rcode(dns.RcodeNotImplemented)},
		{"id.server is what NSID says", query(chaos("ID.server.", dns.TypeTXT)), func(m *dns.Msg) bool {
			return m.Authoritative && m.Answer[0].(*dns.TXT).Txt[0] == `garden \\ \"1\"` && m.Answer[0].Header().Class == dns.ClassCHAOS && m.Answer[0].Header().Name == "ID.server."
		}},
		{"version.bind is refused where no version is set", query(chaos("version.bind.", dns.TypeTXT)), rcode(dns.RcodeRefused)},
		{"another type of it is refused", query(chaos("id.server.", dns.TypeA)), rcode(dns.RcodeRefused)},
		{"another name of its class is refused", query(chaos("authors.bind.", dns.TypeTXT)), rcode(dns.RcodeRefused)},
		{"its name in class IN is a name like any other", query(func(m *dns.Msg) { m.Question[0].Name = "id.server." }), func(m *dns.Msg) bool {
			return m.Answer[0].Header().Rrtype == dns.TypeA
		}},
		{"a question for NXNAME is a format error, and explained (RFC 9824, section 3.4)", query(func(m *dns.Msg) { m.SetEdns0(1232, false).Question[0].Qtype = dns.TypeNXNAME }), func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeFormatError && len(m.Answer) == 0 && m.IsEdns0().Option[0].(*dns.EDNS0_EDE).InfoCode == dns.ExtendedErrorCodeInvalidQueryType
		}},
		{"a question for TSIG is not implemented", query(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTSIG }), rcode(dns.RcodeNotImplemented)},
	}
	s := newServer(t, address)
	s.Limits.NSID = `garden \ "1"`
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := s.Respond(t.Context(), tt.wire, client, "udp")
			if (out == nil) != (tt.check == nil) {
				t.Fatalf("got %d bytes", len(out))
			}
			if out == nil {
				return
			}
			m := new(dns.Msg)
			if err := m.Unpack(out); err != nil {
				t.Fatal(err)
			}
			if !tt.check(m) {
				t.Errorf("got\n%v", m)
			}
		})
	}
}

func TestARecursiveServerSaysSoInRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		recursive bool
		change    func(*dns.Msg)
		want      bool
	}{
		"RA is in the answer to what is no question": {true, func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeNone }, true},
		"in that to EDNS version 1":                  {true, func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().SetVersion(1) }, true},
		"not in that to another opcode":              {true, func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus }, false},
		"what the handler answers is its own matter": {true, func(*dns.Msg) {}, false},
		"one that does not recurse does not say so":  {false, func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeNone }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, address)
			s.Recursive = tt.recursive
			m := new(dns.Msg)
			if err := m.Unpack(s.Respond(t.Context(), pack(t, question("rose.", dns.TypeA, tt.change)), client, "udp")); err != nil {
				t.Fatal(err)
			}
			if m.RecursionAvailable != tt.want {
				t.Errorf("got\n%v", m)
			}
		})
	}
}

func cookieOnly(cookie string) func(*dns.Msg) {
	return withEDNS(1232, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
}

func chaos(name string, qtype uint16) func(*dns.Msg) {
	return func(m *dns.Msg) { m.Question[0] = dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassCHAOS} }
}

func rcode(want int) func(*dns.Msg) bool {
	return func(m *dns.Msg) bool { return m.Rcode == want && len(m.Answer) == 0 }
}

func TestRespondFitsTheTransport(t *testing.T) {
	many := func(_ context.Context, q *Query, reply *dns.Msg) {
		for range 100 {
			reply.Answer = append(reply.Answer, record(q.Question.Name+" 60 IN TXT "+strings.Repeat("x", 100)))
		}
	}
	onlyExtra := func(n int, aa bool) handlerFunc {
		return func(_ context.Context, q *Query, reply *dns.Msg) {
			reply.Authoritative = aa
			reply.Ns = []dns.RR{record(q.Question.Name + " 60 IN NS ns." + q.Question.Name)}
			if aa {
				reply.Answer, reply.Ns = reply.Ns, nil
			}
			for range n {
				reply.Extra = append(reply.Extra, record("ns."+q.Question.Name+" 60 IN AAAA 2001:db8::1"))
			}
		}
	}
	tests := []struct {
		name      string
		handler   handlerFunc
		transport string
		edns      uint16 // 0: none
		limit     int
		truncated bool
	}{
		{"without EDNS a datagram has 512 bytes and says that it is cut", many, "udp", 0, 512, true},
		{"the size that the client states is kept", many, "udp", 900, 900, true},
		{"a size below 512 means 512", many, "udp", 100, 512, true},
		{"more than 1232 bytes are never sent in a datagram", many, "udp", 4096, 1232, true},
		{"over TCP the answer is whole", many, "tcp", 0, 65535, false},
		{"addresses that only save a question may be missing from an answer", onlyExtra(100, true), "udp", 0, 512, false},
		{"glue may not be missing from a referral", onlyExtra(100, false), "udp", 0, 512, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := new(dns.Msg)
			q.SetQuestion("example.com.", dns.TypeTXT)
			if tt.edns > 0 {
				q.SetEdns0(tt.edns, false)
			}
			wire, _ := q.Pack()
			out := newServer(t, tt.handler).Respond(t.Context(), wire, client, tt.transport)
			m := new(dns.Msg)
			if err := m.Unpack(out); err != nil {
				t.Fatal(err)
			}
			if len(out) > tt.limit || m.Truncated != tt.truncated || (m.IsEdns0() != nil) != (tt.edns > 0) {
				t.Errorf("got %d bytes, TC %v, EDNS %v", len(out), m.Truncated, m.IsEdns0())
			}
		})
	}
}

func TestRespondExplains(t *testing.T) {
	s := newServer(t, func(_ context.Context, q *Query, reply *dns.Msg) {
		reply.Rcode = dns.RcodeServerFailure
		q.Explain(dns.ExtendedErrorCodeNoReachableAuthority, strings.Repeat("sorry ", 100))
	})
	q := new(dns.Msg)
	q.SetQuestion(strings.Repeat("a23456789.", 25), dns.TypeA)
	for _, edns := range []bool{false, true} {
		if edns {
			q.SetEdns0(512, false)
		}
		wire, _ := q.Pack()
		out := s.Respond(t.Context(), wire, client, "udp")
		m := new(dns.Msg)
		if err := m.Unpack(out); err != nil || len(out) > 512 || m.Truncated {
			t.Fatalf("%d bytes, %v", len(out), err)
		}
		opt := m.IsEdns0()
		if edns != (opt != nil) {
			t.Fatalf("EDNS %v", opt)
		}
		if edns && (len(opt.Option) != 1 || opt.Option[0].(*dns.EDNS0_EDE).InfoCode != dns.ExtendedErrorCodeNoReachableAuthority) {
			t.Errorf("got %v", opt)
		}
	}
}

func TestAPanicOfTheHandlerIsAServerFailure(t *testing.T) {
	s := newServer(t, func(_ context.Context, _ *Query, reply *dns.Msg) {
		reply.Authoritative = true
		panic("no")
	})
	q := new(dns.Msg)
	q.SetQuestion("example.com.", dns.TypeA)
	wire, _ := q.Pack()
	m := new(dns.Msg)
	if err := m.Unpack(s.Respond(t.Context(), wire, client, "udp")); err != nil {
		t.Fatal(err)
	}
	if m.Rcode != dns.RcodeServerFailure || m.Authoritative || m.Id != q.Id {
		t.Errorf("got %v", m)
	}
}
