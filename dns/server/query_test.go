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
	}
	s := newServer(t, address)
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
