package exchange

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// forged is a whole answer in an attacker's words, for a question that he knows,
// in the spelling that he guesses.
func forged(t testing.TB, id uint16, name string) []byte {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(name, dns.TypeA)
	m := good(question{Msg: q})
	m.Id = id
	m.Answer[0].(*dns.A).A = net.IPv4(203, 0, 113, 66)
	return raw(t, m)
}

// TestEveryIDGuessed has the attacker hit the port and send an answer for each of
// the 65,536 ids: far more than one socket listens to.
func TestEveryIDGuessed(t *testing.T) {
	const name = "www.example.com."
	tests := []struct {
		name     string
		way      way
		cookie   *cookie
		accepted int
		retried  int // what only leads to another socket, or to TCP
	}{
		{"id alone: one in 65,536 is believed", way{}, nil, 1, 0},
		{"with capitals: none, but one has the question asked again", way{capitals: true}, nil, 0, 1},
		{
			"with a cookie that the server sends: none, but one sends the question over TCP",
			way{edns: true}, &cookie{fromServer: []byte("12345678")}, 0, 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := mustQuery(t, name, tt.way, tt.cookie)
			for bytes.Equal(q.question, q.plain) && tt.way.capitals {
				q = mustQuery(t, name, tt.way, tt.cookie) // one in 8,192: no capital at all
			}
			accepted, retried := 0, 0
			wire := forged(t, 0, name)
			for id := range 1 << 16 {
				binary.BigEndian.PutUint16(wire, uint16(id))
				switch _, v := q.judge(bytes.Clone(wire)); v {
				case yes:
					accepted++
				case ignored:
				default:
					retried++
				}
			}
			if accepted != tt.accepted || retried != tt.retried {
				t.Errorf("accepted %d, retried %d; want %d, %d", accepted, retried, tt.accepted, tt.retried)
			}
		})
	}
}

const yes = accepted

func mustQuery(t testing.TB, name string, w way, c *cookie) *query {
	t.Helper()
	q, err := newQuery(name, dns.TypeA, false, w, c)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestSpoofing lets an attacker who already knows the port, and is faster than the
// server, send a thousand answers before the right one, to each of 50 questions.
func TestSpoofing(t *testing.T) {
	const questions, guesses = 50, 1000
	p := newPeer(t, nil, func(q question) []any {
		if q.network == "tcp" {
			return right(q) // a handshake tells who it is
		}
		out := make([]any, 0, guesses+1)
		for i := range guesses {
			out = append(out, forged(t, uint16(int(q.Id)+1+i), q.name()))
		}
		return append(out, good(q))
	})
	x := exchanger(t, nil, p)
	for range questions {
		res := mustAsk(t, x)
		if res.Msg.Answer[0].(*dns.A).A.Equal(net.IPv4(203, 0, 113, 66)) || res.Transport != "tcp" {
			t.Fatalf("%s", told(res, nil))
		}
	}
	sent := len(p.received())
	if sent != 2*questions {
		t.Errorf("%d questions took %d messages, want %d", questions, sent, 2*questions)
	}
	letters := 0
	for _, b := range []byte("www.example.com.") {
		if b != '.' {
			letters++
		}
	}
	t.Logf("%d of %d guesses per question were looked at; each is right in one of 2^(16 id + 14.8 port + %d letters); %.1f messages per question",
		maxIgnored, guesses, letters, float64(sent)/questions)
}

func TestRandomCaseUsesEveryLetterAndNothingElse(t *testing.T) {
	const name = "a-z0.xn--bcher-kva.example."
	spellings := map[string]bool{}
	upper := map[int]bool{}
	for range 500 {
		q := mustQuery(t, name, way{capitals: true}, nil)
		if !bytes.EqualFold(q.question, q.plain) || !bytes.Equal(q.wire[headerSize:headerSize+len(q.question)], q.question) {
			t.Fatalf("%q is no spelling of %q", q.question, q.plain)
		}
		for i := range q.question {
			if q.question[i] != q.plain[i] {
				upper[i] = true
			}
		}
		spellings[string(q.question)] = true
	}
	if len(spellings) < 490 || len(upper) != 19 {
		t.Errorf("%d spellings of 500, %d letters of 19 ever in capitals", len(spellings), len(upper))
	}
}

func TestWithoutIsTheSameQuestion(t *testing.T) {
	q := mustQuery(t, "www.example.com.", way{edns: true, capitals: true}, &cookie{})
	plain := q.without()
	var a, b dns.Msg
	if a.Unpack(q.wire) != nil || b.Unpack(plain.wire) != nil {
		t.Fatal("they cannot be read")
	}
	if a.IsEdns0() == nil || b.IsEdns0() != nil {
		t.Error("the OPT record is not what differs")
	}
	if a.Extra = nil; !cmp.Equal(a.Question, b.Question) || a.Id != b.Id {
		t.Errorf("got %v, want %v", &b, &a)
	}
}

// FuzzJudge gives anything for an answer: nothing panics, and what is accepted
// bears the id and question, and reads the same with its names in lower case.
func FuzzJudge(f *testing.F) {
	answers := [][]byte{
		forged(f, 0, "www.example.com."), forged(f, 0, "WWW.eXample.com."), {}, make([]byte, headerSize),
	}
	cut := forged(f, 0, "www.example.com.")
	cut[2] |= 2
	loop := forged(f, 0, "www.example.com.")
	loop[len(loop)-15] = byte(len(loop) - 16)
	answers = append(answers, cut, loop)
	for _, a := range answers {
		for flags := range byte(8) {
			f.Add(a, flags, true)
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte, flags byte, rightID bool) {
		w := way{edns: flags&1 != 0, capitals: flags&2 != 0}
		if flags&4 != 0 {
			w.transport = TCP
		}
		q := mustQuery(t, "www.example.com.", w, &cookie{fromServer: []byte("12345678")})
		if rightID && len(wire) > 1 {
			copy(wire, q.wire[:2])
		}
		m, v := q.judge(wire)
		if (m != nil) != (v == accepted) {
			t.Fatalf("verdict %d, message %v", v, m)
		}
		if m == nil {
			return
		}
		if !bytes.Equal(wire[:2], q.wire[:2]) || m.Truncated || !m.Response {
			t.Fatalf("accepted %v", m)
		}
		if len(m.Question) == 1 && m.Question[0] != (dns.Question{Name: "www.example.com.", Qtype: dns.TypeA, Qclass: dns.ClassINET}) {
			t.Fatalf("accepted for %v", m.Question)
		}
		if len(m.Question) == 0 && (m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError) {
			t.Fatalf("accepted without a question: %v", m)
		}
		_ = m.String()
	})
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "[2001:db8::1]:53", "tls://192.0.2.1#dns.example", "tcp://[::1]", "fe80::1%eth0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := ParseTarget("key", s)
		if err != nil {
			return
		}
		if again, err := ParseTarget("key", target.String()); err != nil || again != target {
			t.Fatalf("%q is %q, which is read as %v (%v)", s, target, again, err)
		}
	})
}
