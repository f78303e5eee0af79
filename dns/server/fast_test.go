package server

import (
	"context"
	"encoding/binary"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
)

// garden is a handler with both ways: it says the same by either. By the first
// letters of the name:
//
//	no…     NXDOMAIN and an SOA record, explained
//	lame…   SERVFAIL, explained at length
//	slow…   is never answered in place
//	panic…  panics
//	lost…   a referral with glue
//	any other: type A has an address, TXT five long texts, the rest nothing
type garden struct{ inPlace atomic.Int64 }

const sentence = "Größe: nothing grows here, and nobody knows why, although the gardener was asked more than once, on different days, " +
	"by people who had come a long way to see the roses, of which everybody in the village had spoken so highly for years and years"

func (g *garden) answers(name string, qtype uint16) (m dns.Msg, ede *dns.EDNS0_EDE) {
	soa := record(name + " 60 IN SOA ns. host. 1 2 3 4 5")
	switch {
	case strings.HasPrefix(name, "no"):
		m.Rcode, m.Authoritative, m.Ns = dns.RcodeNameError, true, []dns.RR{soa}
		return m, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeOther, ExtraText: "no such rose"}
	case strings.HasPrefix(name, "lame"):
		m.Rcode, m.RecursionAvailable = dns.RcodeServerFailure, true
		return m, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNetworkError, ExtraText: sentence}
	case strings.HasPrefix(name, "panic"):
		panic("thorns")
	case strings.HasPrefix(name, "lost"):
		m.Ns = []dns.RR{record(name + " 60 IN NS ns." + name)}
		m.Extra = []dns.RR{record("ns." + name + " 60 IN A 192.0.2.53")}
		return m, nil
	}
	m.Authoritative = true
	switch qtype {
	case dns.TypeA:
		m.Answer = []dns.RR{record(name + " 60 IN A 192.0.2.1")}
	case dns.TypeTXT:
		for range 5 {
			m.Answer = append(m.Answer, record(name+" 60 IN TXT "+strings.Repeat("x", 150)))
		}
	case dns.TypeSOA:
		m.Answer = []dns.RR{soa}
	default:
		m.Ns = []dns.RR{soa}
	}
	return m, nil
}

func (g *garden) Answer(_ context.Context, q *Query, reply *dns.Msg) {
	m, ede := g.answers(q.Name, q.Type)
	if q.Type == dns.TypeANY {
		m.Answer, m.Ns = []dns.RR{record(q.Question.Name + " 60 IN HINFO RFC8482 \"\"")}, nil
	}
	reply.Rcode, reply.Authoritative, reply.RecursionAvailable = m.Rcode, m.Authoritative, m.RecursionAvailable
	reply.Answer, reply.Ns, reply.Extra = m.Answer, m.Ns, m.Extra
	if ede != nil {
		q.Explain(ede.InfoCode, ede.ExtraText)
	}
}

func (g *garden) AnswerFast(q *FastQuery, msg []byte, reply *FastReply) ([]byte, bool) {
	name, _, err := dns.UnpackDomainName(q.Name, 0)
	if err != nil || strings.HasPrefix(name, "slow") || strings.ContainsAny(name, "\"\\$();@ ") {
		return msg, false
	}
	asked, _, err := dns.UnpackDomainName(msg, headerSize)
	if err != nil {
		return msg, false
	}
	m, ede := g.answers(strings.ToLower(asked), q.Type)
	m.Question = []dns.Question{{Name: asked, Qtype: q.Type, Qclass: dns.ClassINET}}
	m.Compress = true
	wire, err := m.Pack()
	if err != nil || len(wire) > q.Limit {
		return msg, false
	}
	msg = append(msg, wire[len(msg):]...)
	reply.Rcode, reply.Authoritative, reply.RecursionAvailable = uint8(m.Rcode), m.Authoritative, m.RecursionAvailable
	reply.Answer, reply.Authority, reply.Additional = uint16(len(m.Answer)), uint16(len(m.Ns)), uint16(len(m.Extra))
	if ede != nil {
		reply.Explained, reply.Code = true, ede.InfoCode
		reply.Sentence = append(reply.Sentence, ede.ExtraText...)
	}
	g.inPlace.Add(1)
	return msg, true
}

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func question(name string, qtype uint16, change ...func(*dns.Msg)) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.Id = 4711
	for _, f := range change {
		f(m)
	}
	return m
}

// withEDNS adds an OPT record with these options.
func withEDNS(size uint16, options ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.SetEdns0(size, false)
		m.IsEdns0().Option = options
	}
}

func unpack(t testing.TB, wire []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		t.Fatalf("the answer is malformed: %v\n%x", err, wire)
	}
	return m
}

func TestWhichQueriesAreAnsweredInPlace(t *testing.T) {
	raw := func(change func([]byte) []byte) []byte { return change(pack(t, question("Rose.garden.", dns.TypeA))) }
	option := func(code uint16, data string) []byte {
		return pack(t, question("rose.", dns.TypeA, withEDNS(1232, &dns.EDNS0_LOCAL{Code: code, Data: []byte(data)})))
	}
	tests := []struct {
		name string
		wire []byte
		want verdict
	}{
		{"a plain query", raw(func(w []byte) []byte { return w }), answered},
		{"one with EDNS", pack(t, question("rose.", dns.TypeA, withEDNS(1232))), answered},
		{"one with an unknown option", option(65001, "x"), answered},
		{"one with a cookie and NSID", pack(t, question("rose.", dns.TypeA, withEDNS(1232,
			&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}))), answered},
		{"one for the root", pack(t, question(".", dns.TypeNS)), answered},
		{"one whose bits Z, AD and TC are set", raw(func(w []byte) []byte { w[2] |= flagTC; w[3] |= 0x60; return w }), answered},
		{"the longest name", pack(t, question(strings.Repeat("a23456789012345678901234567890123456789012345678901234567890123.", 3)+strings.Repeat("b", 61)+".", dns.TypeA)), answered},
		{"a name of 256 octets goes the general way", raw(func(w []byte) []byte {
			name := strings.Repeat("\x3fa23456789012345678901234567890123456789012345678901234567890123", 3) + "\x3e" + strings.Repeat("b", 62) + "\x00"
			return append(append(w[:12:12], name...), 0, 1, 0, 1)
		}), general},
		{"a compressed question goes the general way", raw(func(w []byte) []byte { return append(w[:12:12], 0xC0, 12, 0, 1, 0, 1) }), general},
		{"a label type that is reserved goes the general way", raw(func(w []byte) []byte { w[12] = 0x41; return w }), general},
		{"a query that is cut off goes the general way", raw(func(w []byte) []byte { return w[:len(w)-1] }), general},
		{"what follows the question goes the general way", raw(func(w []byte) []byte { return append(w, 0) }), general},
		{"another opcode goes the general way", raw(func(w []byte) []byte { w[2] |= 4 << 3; return w }), general},
		{"two questions go the general way", raw(func(w []byte) []byte { w[5] = 2; return append(w, w[12:]...) }), general},
		{"another class goes the general way", raw(func(w []byte) []byte { w[len(w)-1] = 3; return w }), general},
		{"ANY goes the general way", pack(t, question("rose.", dns.TypeANY)), general},
		{"AXFR goes the general way", pack(t, question("rose.", dns.TypeAXFR)), general},
		{"type 0 goes the general way", pack(t, question("rose.", 0)), general},
		{"EDNS version 1 goes the general way", pack(t, question("rose.", dns.TypeA, withEDNS(1232), func(m *dns.Msg) { m.IsEdns0().SetVersion(1) })), general},
		{"a cookie of a wrong size goes the general way", option(dns.EDNS0COOKIE, "short"), general},
		{"a client subnet goes the general way", option(dns.EDNS0SUBNET, "\x00\x01\x00\x00"), general},
		{"an OPT record that is not of the root goes the general way", pack(t, question("rose.", dns.TypeA, withEDNS(1232), func(m *dns.Msg) { m.IsEdns0().Hdr.Name = "x." })), general},
		{"a signed query goes the general way", pack(t, question("rose.", dns.TypeA, func(m *dns.Msg) { m.SetTsig("k.", dns.HmacSHA256, 300, 0) })), general},
		{"another record goes the general way", pack(t, question("rose.", dns.TypeA, func(m *dns.Msg) { m.Extra = []dns.RR{record("rose. 1 IN A 192.0.2.1")} })), general},
		{"a response is dropped", raw(func(w []byte) []byte { w[2] |= flagQR; return w }), dropped},
		{"less than a header is dropped", make([]byte, 11), dropped},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fastPath{core: newServer(t, address).prepared()}
			if got := f.parse(tt.wire); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// FuzzFastParse holds that what is taken apart in place is what the library
// takes it for, and what the general way accepts.
func FuzzFastParse(f *testing.F) {
	seeds(f)
	s := newServer(f, address)
	c := s.prepared()
	f.Fuzz(func(t *testing.T, wire []byte) {
		p := &fastPath{core: c}
		if p.parse(wire) != answered {
			return
		}
		m := new(dns.Msg)
		if err := m.Unpack(wire); err != nil {
			t.Fatalf("the library does not take it: %v", err)
		}
		q, _, refused := c.parse(wire, client, "udp")
		if refused || len(m.Question) != 1 {
			t.Fatalf("the general way refuses it: %v", m)
		}
		name, _, err := dns.UnpackDomainName(p.query.Name, 0)
		if err != nil || name != q.Name || p.query.Type != q.Type || q.Question.Qclass != dns.ClassINET ||
			p.query.RecursionDesired != m.RecursionDesired || p.query.CheckingDisabled != m.CheckingDisabled {
			t.Fatalf("got %+v %q, the library has %v", p.query, name, m)
		}
		if len(p.query.Name) > wirename.Max || string(wire[headerSize+len(p.query.Name):p.end]) != string(wire[p.end-4:p.end]) {
			t.Fatalf("the question does not end at %d", p.end)
		}
		opt := m.IsEdns0()
		if p.query.EDNS != (opt != nil) || len(m.Answer)+len(m.Ns) > 0 {
			t.Fatalf("EDNS %v, the library has %v", p.query.EDNS, m)
		}
		if opt != nil && (opt.Do() != p.query.DO || opt.UDPSize() != p.edns.size || opt.Version() != 0) {
			t.Fatalf("got %+v, the library has %v", p.edns, opt)
		}
	})
}

// FuzzBothWays holds that the answer in place says what the general one says,
// and that no message makes the server fail.
func FuzzBothWays(f *testing.F) {
	seeds(f)
	s := newServer(f, nil)
	s.Handler, s.Limits.NSID, s.Limits.Version = new(garden), "garden-1", "1.0"
	s.Limits.CookieSecret = strings.Repeat("0a", 16)
	slow := newServer(f, (&garden{}).Answer)
	slow.Limits = s.Limits
	f.Fuzz(func(t *testing.T, wire []byte) {
		for _, transport := range []string{"udp", "tcp"} {
			got, want := s.Respond(context.Background(), wire, client, transport), slow.Respond(context.Background(), wire, client, transport)
			if (got == nil) != (len(wire) < headerSize || wire[2]&flagQR != 0) || (got == nil) != (want == nil) {
				t.Fatalf("got %x, want %x", got, want)
			}
			if got == nil {
				continue
			}
			if transport == "udp" && (len(got) > UDPSize || len(want) > UDPSize) || got[0] != wire[0] || got[1] != wire[1] {
				t.Fatalf("not an answer to it: %x", got)
			}
			if diff := cmp.Diff(essence(t, want), essence(t, got)); diff != "" {
				t.Fatalf("in place it says otherwise (-general +fast):\n%s", diff)
			}
		}
	})
}

// essence is what an answer says, without what differs from second to second
// and without the case of owner names, which both ways may choose.
func essence(t *testing.T, wire []byte) string {
	m := unpack(t, wire)
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if cookie, ok := o.(*dns.EDNS0_COOKIE); ok {
				cookie.Cookie = cookie.Cookie[:24]
			}
		}
	}
	header := m.Question
	m.Question = nil
	text := strings.ToLower(m.String())
	m.Question = header
	if len(header) > 0 {
		text += header[0].String()
	}
	return text
}

func seeds(f *testing.F) {
	cookie := &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}
	for _, name := range []string{"Rose.garden.", "nope.", "lame.", "slow.", "panic.", "lost.", ".", strings.Repeat("a23456789.", 25)} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeTXT, dns.TypeANY, dns.TypeAXFR, dns.TypeMX, dns.TypeOPT, 666} {
			f.Add(pack(f, question(name, qtype)))
			f.Add(pack(f, question(name, qtype, withEDNS(512, cookie, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}), func(m *dns.Msg) { m.IsEdns0().SetDo(); m.CheckingDisabled = true })))
			f.Add(pack(f, question(name, qtype, withEDNS(4096, &dns.EDNS0_LOCAL{Code: 65001}))))
		}
	}
	f.Add(pack(f, question("version.bind.", dns.TypeTXT, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS })))
	f.Add(pack(f, question("rose.", dns.TypeA, func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate })))
	f.Add(pack(f, question("rose.", dns.TypeA, withEDNS(1232), func(m *dns.Msg) { m.IsEdns0().SetVersion(1) })))
	f.Add(pack(f, question("rose.", dns.TypeA, func(m *dns.Msg) { m.SetTsig("k.", dns.HmacSHA256, 300, 0) })))
	loop := pack(f, question("rose.", dns.TypeA))
	f.Add(append(loop[:12:12], 0xC0, 12, 0, 1, 0, 1))
}

func TestAnswersInPlace(t *testing.T) {
	cookie := &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}
	nsid := &dns.EDNS0_NSID{Code: dns.EDNS0NSID}
	tests := []struct {
		name    string
		query   *dns.Msg
		inPlace bool
		holds   func(*dns.Msg) bool
	}{
		{"the question comes back in its own case", question("RoSe.", dns.TypeA), true, func(m *dns.Msg) bool {
			return m.Question[0].Name == "RoSe." && m.Id == 4711 && m.Response && m.RecursionDesired && m.Authoritative && len(m.Answer) == 1 && m.IsEdns0() == nil
		}},
		{"EDNS comes back with our size, DO and every option", question("rose.", dns.TypeA, withEDNS(4096, nsid, cookie), func(m *dns.Msg) { m.IsEdns0().SetDo() }), true, func(m *dns.Msg) bool {
			opt := m.IsEdns0()
			return opt.UDPSize() == UDPSize && opt.Do() && len(opt.Option) == 2 && opt.Option[1].(*dns.EDNS0_NSID).Nsid == "67617264656e2d31"
		}},
		{"an answer over the client's size goes the general way, cut", question("rose.", dns.TypeTXT, withEDNS(512)), false, func(m *dns.Msg) bool {
			return m.Truncated && len(m.Answer) == 2
		}},
		{"one that fits the client's size does not", question("rose.", dns.TypeTXT, withEDNS(1232)), true, func(m *dns.Msg) bool { return !m.Truncated && len(m.Answer) == 5 }},
		{"an error is explained", question("nope.", dns.TypeA, withEDNS(1232)), true, func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeNameError && m.IsEdns0().Option[0].(*dns.EDNS0_EDE).ExtraText == "no such rose"
		}},
		{"an error without EDNS is not", question("nope.", dns.TypeA), true, func(m *dns.Msg) bool { return m.Rcode == dns.RcodeNameError && m.IsEdns0() == nil }},
		{"a long explanation is cut between two characters", question("lame.", dns.TypeA, withEDNS(1232)), true, func(m *dns.Msg) bool {
			return m.IsEdns0().Option[0].(*dns.EDNS0_EDE).ExtraText == CutText(sentence, MaxSentence)
		}},
		{"CD is copied into what is not authoritative", question("lame.", dns.TypeA, func(m *dns.Msg) { m.CheckingDisabled = true }), true, func(m *dns.Msg) bool { return m.CheckingDisabled && m.RecursionAvailable }},
		{"CD is not copied into what is authoritative", question("rose.", dns.TypeA, func(m *dns.Msg) { m.CheckingDisabled = true }), true, func(m *dns.Msg) bool { return !m.CheckingDisabled }},
		{"a referral keeps its glue", question("lost.", dns.TypeA, withEDNS(1232)), true, func(m *dns.Msg) bool { return len(m.Ns) == 1 && len(m.Extra) == 2 && !m.Authoritative }},
		{"what the handler leaves goes the general way", question("slow.", dns.TypeA), false, func(m *dns.Msg) bool { return len(m.Answer) == 1 }},
		{"a panic is a server failure", question("panic.", dns.TypeA, withEDNS(1232)), false, func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeServerFailure && !m.Authoritative && m.IsEdns0() != nil && len(m.Question) == 1
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := new(garden)
			s := newServer(t, nil)
			s.Handler, s.Limits.NSID = g, "garden-1"
			m := unpack(t, s.Respond(t.Context(), pack(t, tt.query), client, "udp"))
			if !tt.holds(m) || (g.inPlace.Load() == 1) != tt.inPlace {
				t.Errorf("in place: %d, got\n%v", g.inPlace.Load(), m)
			}
		})
	}
}

func TestAHandlerThatWritesTooMuchOrElsewhere(t *testing.T) {
	long := strings.Repeat("x", 250)
	for _, tt := range []struct {
		name   string
		append int // records of 263 octets
		want   int
	}{{"an answer over the limit is not taken", 5, 0}, {"an answer that was moved is", 1, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, nil)
			s.Handler = fastFunc(func(q *FastQuery, msg []byte, reply *FastReply) ([]byte, bool) {
				moved := append([]byte(nil), msg...)
				for range tt.append {
					moved = append(moved, 0xC0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 251, 250)
					moved = append(moved, long...)
					reply.Answer++
				}
				return moved, true
			})
			m := unpack(t, s.Respond(t.Context(), pack(t, question("rose.", dns.TypeTXT, withEDNS(1232))), client, "udp"))
			if len(m.Answer) != tt.want || (m.Rcode == dns.RcodeRefused) != (tt.want == 0) {
				t.Errorf("got\n%v", m)
			}
		})
	}
}

// fastFunc is a handler that knows the fast way only.
type fastFunc func(q *FastQuery, msg []byte, reply *FastReply) ([]byte, bool)

func (f fastFunc) Answer(_ context.Context, _ *Query, reply *dns.Msg) { reply.Rcode = dns.RcodeRefused }
func (f fastFunc) AnswerFast(q *FastQuery, msg []byte, reply *FastReply) ([]byte, bool) {
	return f(q, msg, reply)
}

// roses answers every question for A out of memory, without allocation.
var roses = fastFunc(func(q *FastQuery, msg []byte, reply *FastReply) ([]byte, bool) {
	if q.Type != dns.TypeA {
		return msg, false
	}
	reply.Authoritative, reply.Answer = true, 1
	reply.Explained, reply.Code, reply.Sentence = true, 1, append(reply.Sentence, "a rose"...)
	return append(msg, 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1), true
})

func TestTheFastPathAllocatesNothing(t *testing.T) {
	s := newServer(t, nil)
	s.Handler, s.Limits.NSID = roses, "garden-1"
	cookie := &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}
	wire := pack(t, question("Rose.Garden.", dns.TypeA, withEDNS(1232, cookie, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte{1}})))
	f := &fastPath{core: s.prepared()}
	out := make([]byte, 0, UDPSize)
	if n := testing.AllocsPerRun(100, func() {
		if _, v := f.answer(wire, client, udpSize, out); v != answered {
			t.Fatal(v)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAHandlerThatTruncates(t *testing.T) {
	s := newServer(t, nil)
	s.Handler = fastFunc(func(_ *FastQuery, msg []byte, reply *FastReply) ([]byte, bool) {
		reply.Truncated = true
		return msg, true
	})
	for _, transport := range []string{"udp", "tcp"} {
		if m := unpack(t, s.Respond(t.Context(), pack(t, question("rose.", dns.TypeTXT)), client, transport)); !m.Truncated || m.Rcode != dns.RcodeSuccess {
			t.Errorf("got\n%v", m)
		}
	}
}

func TestFastQuerySource(t *testing.T) {
	var got FastQuery
	s := newServer(t, nil)
	s.Handler = fastFunc(func(q *FastQuery, msg []byte, _ *FastReply) ([]byte, bool) {
		got = *q
		got.Name = append([]byte(nil), q.Name...)
		return msg, true
	})
	source := netip.MustParseAddrPort("[2001:db8::1]:5")
	s.Respond(t.Context(), pack(t, question("Rose.", dns.TypeMX, withEDNS(100))), source, "udp")
	if got.Source != source || string(got.Name) != "\x04rose\x00" || got.Type != dns.TypeMX || !got.EDNS || got.DO || !got.RecursionDesired || got.Limit != 512-optSize || got.Now == 0 {
		t.Errorf("got %+v", got)
	}
}

func TestTruncateKeepsQuestionAndOPT(t *testing.T) {
	s := newServer(t, (&garden{}).Answer)
	for _, change := range []func(*dns.Msg){func(*dns.Msg) {}, withEDNS(1232)} {
		q := question("lost.", dns.TypeA, change)
		m := unpack(t, truncateAny(s.Respond(t.Context(), pack(t, q), client, "udp")))
		if !m.Truncated || len(m.Question) != 1 || len(m.Ns)+len(m.Answer) > 0 || (m.IsEdns0() != nil) != (q.IsEdns0() != nil) {
			t.Errorf("got\n%v", m)
		}
	}
	m := unpack(t, truncateAny(binary.BigEndian.AppendUint64([]byte{0, 1, 0x80, 1}, 0)))
	if !m.Truncated || len(m.Question) != 0 {
		t.Errorf("got\n%v", m)
	}
}
