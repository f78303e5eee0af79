package exchange

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

func lower(m *dns.Msg) { m.Question[0].Name = strings.ToLower(m.Question[0].Name) }

// raw packs a message to be spoilt.
func raw(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// once answers a first question in one way, and all others in another.
func once(first, then answer) answer {
	return func(q question) []any {
		if q.n == 0 {
			return first(q)
		}
		return then(q)
	}
}

func right(q question) []any { return []any{good(q)} }

func rcode(code int) answer {
	return func(q question) []any {
		m := new(dns.Msg)
		m.SetRcode(q.Msg, code)
		if code > 15 && q.IsEdns0() != nil {
			m.SetEdns0(1232, false)
		}
		return []any{m}
	}
}

// TestEachWay asks a scripted server twice, and says how each question went: over
// what, in how many messages, and what the Notes say.
func TestEachWay(t *testing.T) {
	withoutEDNS := func(q question, old answer) []any {
		if q.IsEdns0() != nil {
			return old(q)
		}
		return right(q)
	}
	flat := func(q question) []any { return []any{good(q, lower)} }
	tests := []struct {
		name          string
		answer        answer
		first, second string
	}{
		{
			"a right answer is taken", right,
			"udp 1 kept", "udp 1 kept",
		},
		{
			"an answer that did not fit is asked for over TCP",
			func(q question) []any {
				return []any{good(q, func(m *dns.Msg) { m.Truncated = q.network == "udp" })}
			},
			"tcp 2: the answer did not fit into a datagram: asked over TCP",
			"tcp 2: the answer did not fit into a datagram: asked over TCP",
		},
		{
			"an answer cut in the middle of a record is asked for over TCP",
			func(q question) []any {
				if q.network != "udp" {
					return right(q)
				}
				wire := raw(t, good(q, func(m *dns.Msg) { m.Truncated = true }))
				return []any{wire[:len(wire)-20]}
			},
			"tcp 2: the answer did not fit into a datagram: asked over TCP",
			"tcp 2: the answer did not fit into a datagram: asked over TCP",
		},
		{
			"a datagram longer than was asked for is passed over",
			func(q question) []any {
				return []any{append(raw(t, good(q)), make([]byte, 2000)...), good(q)}
			},
			"udp 1 kept: passed over 1 messages that did not belong to the question",
			"udp 1 kept: passed over 1 messages that did not belong to the question",
		},
		{
			"another id is passed over", func(q question) []any {
				return []any{good(q, func(m *dns.Msg) { m.Id++ }), good(q)}
			},
			"udp 1 kept: passed over 1 messages that did not belong to the question",
			"udp 1 kept: passed over 1 messages that did not belong to the question",
		},
		{
			"another question is passed over", func(q question) []any {
				return []any{
					good(q, func(m *dns.Msg) { m.Question[0].Name = "evil.example.com." }),
					good(q, func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }),
					good(q, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }),
					good(q, func(m *dns.Msg) { m.Response = false }),
					good(q),
				}
			},
			"udp 1 kept: passed over 4 messages that did not belong to the question",
			"udp 1 kept: passed over 4 messages that did not belong to the question",
		},
		{
			"too many messages of others send the question over TCP", func(q question) []any {
				var out []any
				for i := range 100 {
					out = append(out, good(q, func(m *dns.Msg) { m.Id += uint16(i + 1) }))
				}
				if q.network == "udp" {
					return out
				}
				return right(q)
			},
			"tcp 2: too many messages that did not belong to the question, perhaps forged: asked over TCP; passed over 5 messages that did not belong to the question",
			"tcp 2: too many messages that did not belong to the question, perhaps forged: asked over TCP; passed over 5 messages that did not belong to the question",
		},
		{
			"capitals lost once are asked for again", once(flat, right),
			"udp 2 kept: the answer did not keep the capitals of the question: asked with others",
			"udp 1 kept",
		},
		{
			"a server that never keeps capitals is asked over TCP, then without", flat,
			"tcp 3: the answer did not keep the capitals of the question: asked with others; the answer did not keep the capitals again: asked over TCP",
			"udp 1",
		},
		{
			"a server that neither keeps capitals nor speaks TCP is asked without", func(q question) []any {
				if q.network == "tcp" {
					return []any{nil}
				}
				return flat(q)
			},
			"udp 4: the answer did not keep the capitals of the question: asked with others; the answer did not keep the capitals again: asked over TCP; cannot be reached over TCP: asked over UDP, without capitals",
			"udp 1",
		},
		{
			"FORMERR to EDNS is asked without, then always", func(q question) []any { return withoutEDNS(q, rcode(dns.RcodeFormatError)) },
			"udp 2 kept: did not understand the question with EDNS: asked without", "udp 1 kept",
		},
		{
			"FORMERR without the question is too", func(q question) []any {
				return withoutEDNS(q, func(q question) []any {
					return []any{&dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id, Response: true, Rcode: dns.RcodeFormatError}}}
				})
			},
			"udp 2 kept: did not understand the question with EDNS: asked without", "udp 1 kept",
		},
		{
			"NOTIMP to EDNS is asked without, then always", func(q question) []any { return withoutEDNS(q, rcode(dns.RcodeNotImplemented)) },
			"udp 2 kept: did not understand the question with EDNS: asked without", "udp 1 kept",
		},
		{
			"BADVERS is asked without, then always", func(q question) []any { return withoutEDNS(q, rcode(dns.RcodeBadVers)) },
			"udp 2 kept: did not understand the question with EDNS: asked without", "udp 1 kept",
		},
		{
			"a server that understands nothing is not remembered as one without EDNS", rcode(dns.RcodeFormatError),
			"udp 2 kept FORMERR: did not understand the question with EDNS: asked without",
			"udp 2 kept FORMERR: did not understand the question with EDNS: asked without",
		},
		{
			"an error comes through as it is", rcode(dns.RcodeServerFailure),
			"udp 1 kept SERVFAIL", "udp 1 kept SERVFAIL",
		},
		{
			"an error without the question comes through", func(q question) []any {
				return []any{&dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id, Response: true, Rcode: dns.RcodeRefused}}}
			},
			"udp 1 kept REFUSED", "udp 1 kept REFUSED",
		},
		{
			"an answer without the question is passed over", func(q question) []any {
				return []any{good(q, func(m *dns.Msg) { m.Question = nil }), good(q)}
			},
			"udp 1 kept: passed over 1 messages that did not belong to the question",
			"udp 1 kept: passed over 1 messages that did not belong to the question",
		},
		{
			"an answer that ends before its records do is an error", func(q question) []any {
				wire := raw(t, good(q))
				return []any{wire[:len(wire)-13]}
			},
			"error: sent a message that cannot be read", "error: sent a message that cannot be read",
		},
		{
			"an answer that holds fewer records than it says is an error", func(q question) []any {
				wire := raw(t, good(q))
				wire[9]++ // NSCOUNT
				return []any{wire}
			},
			"error: sent a message that cannot be read", "error: sent a message that cannot be read",
		},
		{
			"a name that points to itself is an error", func(q question) []any {
				wire := raw(t, good(q, func(m *dns.Msg) { m.Extra = nil }))
				at := len(wire) - 16 // the owner of the only record
				wire[at], wire[at+1] = 0xC0, byte(at)
				return []any{wire}
			},
			"error: sent a message that cannot be read", "error: sent a message that cannot be read",
		},
		{
			"an answer over TCP that says that it is cut is an error", func(q question) []any {
				return []any{good(q, func(m *dns.Msg) { m.Truncated = true })}
			},
			"error: sent a message that cannot be read: the answer did not fit into a datagram: asked over TCP",
			"error: sent a message that cannot be read: the answer did not fit into a datagram: asked over TCP",
		},
		{
			"another id over TCP is an error", func(q question) []any {
				return []any{good(q, func(m *dns.Msg) {
					m.Truncated = q.network == "udp"
					if q.network == "tcp" {
						m.Id++
					}
				})}
			},
			"error: sent a message that cannot be read: the answer did not fit into a datagram: asked over TCP",
			"error: sent a message that cannot be read: the answer did not fit into a datagram: asked over TCP",
		},
		{
			"more records than anybody needs are an error", func(q question) []any {
				if q.network == "udp" {
					return []any{good(q, func(m *dns.Msg) { m.Truncated = true })}
				}
				return []any{good(q, func(m *dns.Msg) {
					for len(m.Answer) <= maxRecords {
						m.Answer = append(m.Answer, m.Answer[0])
					}
				})}
			},
			"error: sent a message that cannot be read: the answer did not fit into a datagram: asked over TCP",
			"error: sent a message that cannot be read: the answer did not fit into a datagram: asked over TCP",
		},
		{
			"a TCP connection that breaks is an error", func(q question) []any {
				if q.network == "tcp" {
					return []any{nil}
				}
				return []any{good(q, func(m *dns.Msg) { m.Truncated = true })}
			},
			"error: cannot be reached: the answer did not fit into a datagram: asked over TCP",
			"error: cannot be reached: the answer did not fit into a datagram: asked over TCP",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := exchanger(t, nil, newPeer(t, nil, tt.answer))
			for i, want := range []string{tt.first, tt.second} {
				res, err := ask(t, x)
				if got := told(res, err); got != want {
					t.Errorf("question %d:\ngot  %s\nwant %s", i+1, got, want)
				}
			}
		})
	}
}

// told puts a result on one line.
func told(res *Result, err error) string {
	s := ""
	if err != nil {
		s = "error: " + err.Error()
	} else {
		s = fmt.Sprint(res.Transport, " ", res.Queries)
		if res.CaseKept {
			s += " kept"
		}
		if res.Msg.Rcode != dns.RcodeSuccess {
			s += " " + dns.RcodeToString[res.Msg.Rcode]
		}
	}
	if len(res.Notes) > 0 {
		s += ": " + strings.Join(res.Notes, "; ")
	}
	return s
}

func TestNamesOfAnAnswerLoseTheCapitalsThatWereAsked(t *testing.T) {
	x := exchanger(t, nil, newPeer(t, nil, func(q question) []any {
		return []any{good(q, func(m *dns.Msg) {
			zone := q.name()[len("www."):]
			m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "NS1." + zone}}
		})}
	}))
	res := mustAsk(t, x)
	got := []string{res.Msg.Question[0].Name, res.Msg.Answer[0].Header().Name, res.Msg.Ns[0].Header().Name, res.Msg.Ns[0].(*dns.NS).Ns}
	if diff := cmp.Diff([]string{"www.example.com.", "www.example.com.", "example.com.", "NS1.example.com."}, got); diff != "" {
		t.Error(diff)
	}
}

func TestEachQuestionHasItsOwnPortIDAndCapitals(t *testing.T) {
	p := newPeer(t, nil, right)
	x := exchanger(t, nil, p)
	const questions = 200
	for range questions {
		mustAsk(t, x)
	}
	ports, ids, names := map[string]bool{}, map[uint16]bool{}, map[string]bool{}
	for _, q := range p.received() {
		ports[q.client], ids[q.Id], names[q.name()] = true, true, true
	}
	// By chance some are equal: of 200 ports among 28,232, 0.7 pairs.
	for what, n := range map[string]int{"ports": len(ports), "ids": len(ids), "spellings": len(names)} {
		if n < questions*9/10 {
			t.Errorf("%d questions had %d different %s", questions, n, what)
		}
	}
}

func cookieIn(t testing.TB, q question) string {
	t.Helper()
	raw, _ := cookieOf(q.Msg)
	return hex.EncodeToString(raw)
}

// withCookie adds a cookie, in hexadecimal digits, to an answer.
func withCookie(s string) func(*dns.Msg) {
	return func(m *dns.Msg) {
		opt := m.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: s})
	}
}

func TestCookies(t *testing.T) {
	const theirs, newer = "0123456789abcdef", "fedcba9876543210"
	sends := func(server string) answer {
		return func(q question) []any { return []any{good(q, withCookie(cookieIn(t, q)[:16]+server))} }
	}
	tests := []struct {
		name   string
		answer answer
		want   []string // each question's
		sent   []string // the server's half in each message
	}{
		{
			"the server's cookie comes back to it", sends(theirs),
			[]string{"udp 1 kept", "udp 1 kept"}, []string{"", theirs},
		},
		{
			"another client's cookie is passed over", func(q question) []any {
				return []any{good(q, withCookie("ffffffffffffffff"+theirs)), good(q)}
			},
			[]string{"udp 1 kept: passed over 1 messages that did not belong to the question"}, []string{""},
		},
		{
			"a cookie of a length that there is not is passed over", func(q question) []any {
				c := cookieIn(t, q)
				return []any{good(q, withCookie(c[:14])), good(q, withCookie(c+"00")), good(q, withCookie(c+strings.Repeat("00", 33))), good(q)}
			},
			[]string{"udp 1 kept: passed over 3 messages that did not belong to the question"}, []string{""},
		},
		{
			"an answer without the expected cookie is asked for over TCP", once(sends(theirs), right),
			[]string{"udp 1 kept", "tcp 2: the answer is without the cookie that the server sends: asked over TCP", "udp 1 kept"},
			[]string{"", theirs, "", ""},
		},
		{
			"BADCOOKIE is asked again with the new cookie", func(q question) []any {
				if c := cookieIn(t, q); !strings.HasSuffix(c, newer) {
					return []any{good(q, withCookie(c[:16]+newer), func(m *dns.Msg) { m.Answer, m.Rcode = nil, dns.RcodeBadCookie })}
				}
				return sends(newer)(q)
			},
			[]string{"udp 2 kept: wants a newer cookie: asked with it", "udp 1 kept"}, []string{"", newer, newer},
		},
		{
			"BADCOOKIE again is asked over TCP", func(q question) []any {
				if q.network == "tcp" {
					return right(q)
				}
				return []any{good(q, withCookie(cookieIn(t, q)[:16]+newer), func(m *dns.Msg) { m.Answer, m.Rcode = nil, dns.RcodeBadCookie })}
			},
			[]string{"tcp 3: wants a newer cookie: asked with it; does not take the cookie that it sent: asked over TCP"},
			[]string{"", newer, ""},
		},
		{
			"BADCOOKIE without a cookie is passed over", once(func(q question) []any {
				return []any{good(q, func(m *dns.Msg) { m.Answer, m.Rcode = nil, dns.RcodeBadCookie }), good(q)}
			}, right),
			[]string{"udp 1 kept: passed over 1 messages that did not belong to the question"}, []string{""},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t, nil, tt.answer)
			x := exchanger(t, nil, p)
			var got, sent []string
			for range tt.want {
				got = append(got, told(ask(t, x)))
			}
			for _, q := range p.received() {
				c := cookieIn(t, q)
				sent = append(sent, c[min(len(c), 16):])
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.sent, sent); diff != "" {
				t.Errorf("cookies sent: %s", diff)
			}
		})
	}
}

func TestServersDoNotShareACookie(t *testing.T) {
	a, b := newPeer(t, nil, right), newPeer(t, nil, right)
	x := exchanger(t, nil, a, b)
	mustAsk(t, x)
	mustAsk(t, x)
	if _, err := x.Exchange(t.Context(), At(nsAddr.Next()), "www.example.com.", dns.TypeA, Options{}); err != nil {
		t.Fatal(err)
	}
	first, again, other := cookieIn(t, a.received()[0]), cookieIn(t, a.received()[1]), cookieIn(t, b.received()[0])
	if len(first) != 16 || first != again || first == other {
		t.Errorf("cookies %q, %q to one server, %q to another", first, again, other)
	}
}

func TestAServerThatRefusesTheSocketIsUnreachable(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := &peer{addr: pc.LocalAddr().String()}
	_ = pc.Close()
	x := exchanger(t, nil, closed)
	_, err = ask(t, x)
	var failure *Error
	if !errors.As(err, &failure) || failure.Outcome != Unreachable {
		t.Fatalf("error %v, want unreachable", err)
	}
	if got := x.servers.standings(".", []netip.Addr{nsAddr}, x.cfg.Now()); !got[0].behind {
		t.Error("it is not backed off")
	}
}

func TestWhatCannotBeAskedIsNot(t *testing.T) {
	p := newPeer(t, nil, right)
	x := exchanger(t, nil, p)
	tests := []struct {
		name, question string
		to             Target
		want           string
	}{
		{"this machine, on a name server's word", "www.example.com.", At(netip.MustParseAddr("127.0.0.1")), "error: is no address to be asked"},
		{"nobody", "www.example.com.", Target{Configured: true}, "error: is no address to be asked"},
		{"what is no name", "www..example.com.", At(nsAddr), `error: was not asked: "www..example.com." is no domain name`},
		{"a name of 256 octets", strings.Repeat("a.", 126) + "aa.", At(nsAddr), `error: was not asked: "` + strings.Repeat("a.", 126) + `aa." is no domain name`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := told(x.Exchange(t.Context(), tt.to, tt.question, dns.TypeA, Options{})); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	if n := len(p.received()); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

func TestMetricsCountWhatHappened(t *testing.T) {
	reg := prometheus.NewRegistry()
	p := newPeer(t, nil, func(q question) []any {
		switch {
		case q.n == 0:
			return []any{good(q, func(m *dns.Msg) { m.Id++ }), good(q, lower)}
		case q.network == "udp" && q.IsEdns0() != nil:
			return rcode(dns.RcodeFormatError)(q)
		}
		return []any{good(q, func(m *dns.Msg) { m.Truncated = q.network == "udp" })}
	})
	x := exchanger(t, func(c *Config) { c.Registerer = reg }, p)
	mustAsk(t, x)
	x.Count(Answer)
	_, _ = x.Exchange(t.Context(), At(netip.MustParseAddr("127.0.0.1")), ".", dns.TypeNS, Options{})
	want := map[string]float64{
		"case_mismatch_total": 1, "edns_fallback_total": 1, "ignored_total": 1, "in_flight": 0, "malformed_total": 0,
		"queries_total answer": 1, "queries_total unaskable": 1, "resent_total": 0, "rtt_seconds tcp": 1,
		"servers": 1, "spoofing_suspected_total": 0, "truncated_total": 1,
	}
	if diff := cmp.Diff(want, gathered(t, reg)); diff != "" {
		t.Error(diff)
	}
	if _, err := New(Config{Settings: DefaultSettings(), Registerer: reg}); err == nil {
		t.Error("metrics registered twice are no error")
	}
}

// gathered reads the metrics: name without prefix, and the labels' values; of a
// histogram how much was observed.
func gathered(t testing.TB, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "minicloud_resolver_upstream_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return got
}
