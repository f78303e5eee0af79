package transfer

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

// secondaries are the other ends of what is dialled: each query that comes is
// noted with its time, and answered by answer.
type secondaries struct {
	t     *testing.T
	begun time.Time

	mu     sync.Mutex
	answer func(n int, address string, q *dns.Msg, wire []byte) [][]byte
	heard  []string
}

func (s *secondaries) dial(_ context.Context, network, address string) (net.Conn, error) {
	if network != "udp" {
		return nil, fmt.Errorf("%s was dialled", network)
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		buffer := make([]byte, 4096)
		n, err := theirs.Read(buffer)
		if err != nil {
			return
		}
		q := new(dns.Msg)
		if err := q.Unpack(buffer[:n]); err != nil {
			s.t.Error(err)
			return
		}
		s.mu.Lock()
		s.heard = append(s.heard, fmt.Sprintf("%v %s %d", time.Since(s.begun), address, q.Answer[0].(*dns.SOA).Serial))
		number, answer := len(s.heard), s.answer
		s.mu.Unlock()
		for _, wire := range answer(number, address, q, buffer[:n]) {
			if _, err := theirs.Write(wire); err != nil {
				return
			}
		}
		_, _ = theirs.Read(buffer) // until it is closed
	}()
	return ours, nil
}

func (s *secondaries) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.heard...)
}

// reply returns the packed answer to a notification.
func reply(t testing.TB, q *dns.Msg, change func(*dns.Msg)) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetReply(q)
	m.Extra = nil
	if change != nil {
		change(m)
	}
	wire, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return wire
}

var (
	silent = func(int, string, *dns.Msg, []byte) [][]byte { return nil }
	polite = func(t testing.TB) func(int, string, *dns.Msg, []byte) [][]byte {
		return func(_ int, _ string, q *dns.Msg, _ []byte) [][]byte { return [][]byte{reply(t, q, nil)} }
	}
)

// inBubble runs a test with notifications, in time that passes by itself.
func inBubble(t *testing.T, answer func(int, string, *dns.Msg, []byte) [][]byte, test func(*testing.T, *Transfers, *secondaries, *log)) {
	synctest.Test(t, func(t *testing.T) {
		s := &secondaries{t: t, begun: time.Now(), answer: answer}
		transfers, logged := newTransfers(t, s.dial, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- transfers.Run(ctx) }()
		test(t, transfers, s, logged)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func expectHeard(t *testing.T, s *secondaries, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.said()); diff != "" {
		t.Error(diff)
	}
}

func TestNotify(t *testing.T) {
	one := Policy{Notify: []string{"192.0.2.1"}}
	t.Run("a secondary is told at the start, and of each new serial number", func(t *testing.T) {
		inBubble(t, polite(t), func(t *testing.T, transfers *Transfers, s *secondaries, _ *log) {
			publish(t, transfers, zone(t, 1), one)
			time.Sleep(time.Minute)
			publish(t, transfers, zone(t, 2), one)
			time.Sleep(time.Minute)
			expectHeard(t, s, "0s 192.0.2.1:53 1", "1m0s 192.0.2.1:53 2")
			if notified(transfers, "acknowledged") != 2 {
				t.Error("it was not counted")
			}
		})
	})
	t.Run("nobody is told of the version that they know", func(t *testing.T) {
		inBubble(t, polite(t), func(t *testing.T, transfers *Transfers, s *secondaries, _ *log) {
			publish(t, transfers, zone(t, 1), one)
			time.Sleep(time.Minute)
			publish(t, transfers, zone(t, 1), one)
			time.Sleep(time.Minute)
			expectHeard(t, s, "0s 192.0.2.1:53 1")
		})
	})
	t.Run("a secondary that is new is told, the others are not told again", func(t *testing.T) {
		inBubble(t, polite(t), func(t *testing.T, transfers *Transfers, s *secondaries, _ *log) {
			publish(t, transfers, zone(t, 1), one)
			time.Sleep(time.Minute)
			publish(t, transfers, zone(t, 1), Policy{Notify: []string{"192.0.2.1", "ns2:5353"}})
			time.Sleep(time.Minute)
			expectHeard(t, s, "0s 192.0.2.1:53 1", "1m0s ns2:5353 1")
		})
	})
	t.Run("of changes that come fast only the last is told", func(t *testing.T) {
		inBubble(t, polite(t), func(t *testing.T, transfers *Transfers, s *secondaries, _ *log) {
			for serial := range uint32(50) {
				publish(t, transfers, zone(t, serial+1), one)
				time.Sleep(70 * time.Millisecond)
			}
			time.Sleep(time.Minute)
			expectHeard(t, s, "0s 192.0.2.1:53 1", "1s 192.0.2.1:53 15", "2s 192.0.2.1:53 29", "3s 192.0.2.1:53 43", "4s 192.0.2.1:53 50")
		})
	})
	t.Run("a silent secondary is told six times, ever more slowly", func(t *testing.T) {
		inBubble(t, silent, func(t *testing.T, transfers *Transfers, s *secondaries, logged *log) {
			publish(t, transfers, zone(t, 1), one)
			time.Sleep(time.Hour)
			expectHeard(t, s, "0s 192.0.2.1:53 1", "5s 192.0.2.1:53 1", "15s 192.0.2.1:53 1", "35s 192.0.2.1:53 1", "1m15s 192.0.2.1:53 1", "2m35s 192.0.2.1:53 1")
			if notified(transfers, "unanswered") != 1 || !strings.Contains(logged.String(), "a secondary does not answer notifications") {
				t.Errorf("it was not counted or logged: %s", logged)
			}
		})
	})
	t.Run("a secondary that was silent is told of the next version", func(t *testing.T) {
		inBubble(t, silent, func(t *testing.T, transfers *Transfers, s *secondaries, _ *log) {
			publish(t, transfers, zone(t, 1), one)
			time.Sleep(25 * time.Second) // in the pause of 20 s
			s.mu.Lock()
			s.answer = polite(t)
			s.mu.Unlock()
			publish(t, transfers, zone(t, 2), one)
			time.Sleep(time.Hour)
			expectHeard(t, s, "0s 192.0.2.1:53 1", "5s 192.0.2.1:53 1", "15s 192.0.2.1:53 1", "25s 192.0.2.1:53 2")
			if notified(transfers, "superseded") != 1 || notified(transfers, "acknowledged") != 1 {
				t.Error("it was not counted")
			}
		})
	})
	t.Run("a secondary that says no is not told again", func(t *testing.T) {
		no := func(_ int, _ string, q *dns.Msg, _ []byte) [][]byte {
			return [][]byte{reply(t, q, func(m *dns.Msg) { m.Rcode = dns.RcodeRefused })}
		}
		inBubble(t, no, func(t *testing.T, transfers *Transfers, s *secondaries, logged *log) {
			publish(t, transfers, zone(t, 1), one)
			time.Sleep(time.Hour)
			expectHeard(t, s, "0s 192.0.2.1:53 1")
			if notified(transfers, "refused") != 1 || !strings.Contains(logged.String(), "rcode=REFUSED") {
				t.Errorf("it was not counted or logged: %s", logged)
			}
		})
	})
	t.Run("a secondary that is no longer one is not told again", func(t *testing.T) {
		inBubble(t, silent, func(t *testing.T, transfers *Transfers, s *secondaries, _ *log) {
			publish(t, transfers, zone(t, 1), one)
			time.Sleep(2 * time.Second)
			publish(t, transfers, zone(t, 2), Policy{})
			time.Sleep(time.Hour)
			expectHeard(t, s, "0s 192.0.2.1:53 1")
		})
	})
	t.Run("a silent secondary does not keep the others waiting", func(t *testing.T) {
		some := func(_ int, address string, q *dns.Msg, _ []byte) [][]byte {
			if address == "192.0.2.1:53" {
				return nil
			}
			return [][]byte{reply(t, q, nil)}
		}
		inBubble(t, some, func(t *testing.T, transfers *Transfers, _ *secondaries, _ *log) {
			publish(t, transfers, zone(t, 1), Policy{Notify: []string{"192.0.2.1", "192.0.2.2"}})
			time.Sleep(time.Millisecond)
			if notified(transfers, "acknowledged") != 1 {
				t.Error("the other was not told")
			}
		})
	})
	t.Run("the end does not wait for a silent secondary", func(t *testing.T) {
		begun := time.Now()
		inBubble(t, silent, func(t *testing.T, transfers *Transfers, s *secondaries, _ *log) {
			publish(t, transfers, zone(t, 1), one)
			time.Sleep(time.Second)
			begun = time.Now()
			t.Cleanup(func() {
				if took := time.Since(begun); took > 0 {
					t.Errorf("it took %v", took)
				}
			})
		})
	})
	t.Run("an unreachable secondary is tried again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			transfers, logged := newTransfers(t, func(context.Context, string, string) (net.Conn, error) {
				tries++
				return nil, errors.New("no such host")
			}, nil)
			publish(t, transfers, zone(t, 1), one)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			begun := time.Now()
			if err := transfers.Run(ctx); err != nil || tries != 6 || time.Since(begun) != time.Hour {
				t.Errorf("%d tries in %v: %v", tries, time.Since(begun), err)
			}
			if !strings.Contains(logged.String(), "no such host") {
				t.Errorf("the reason is not logged: %s", logged)
			}
		})
	})
}

func TestWhatIsAnAnswerToANotification(t *testing.T) {
	key := testKey(t, "transfer.")
	other := testKey(t, "other.")
	forged := testKey(t, "transfer.")
	forged.Secret = Secret("another-secret-another-secret")
	// sign answers with a key, as a secondary does.
	sign := func(q *dns.Msg, k Key, algorithm string, change func(*dns.Msg)) []byte {
		m := new(dns.Msg)
		m.SetReply(q)
		m.Extra = nil
		m.SetTsig(k.Name, algorithm, 300, time.Now().Unix())
		if change != nil {
			change(m)
		}
		wire, _, err := dns.TsigGenerate(m, k.Secret.Base64(), q.IsTsig().MAC, false)
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	plain := func(change func(*dns.Msg)) func(*dns.Msg) []byte {
		return func(q *dns.Msg) []byte { return reply(t, q, change) }
	}
	for _, c := range []struct {
		name   string
		key    *Key
		answer func(q *dns.Msg) []byte
		rcode  int
		ok     bool
	}{
		{"the reply to it", nil, plain(nil), 0, true},
		{"the reply in another spelling", nil, plain(func(m *dns.Msg) { m.Question[0].Name = "EXAMPLE.COM." }), 0, true},
		{"an error", nil, plain(func(m *dns.Msg) { m.Rcode = dns.RcodeNotImplemented }), dns.RcodeNotImplemented, true},
		{"an error without the question", nil, plain(func(m *dns.Msg) { m.Rcode = dns.RcodeFormatError; m.Question = nil }), dns.RcodeFormatError, true},
		{"no success without the question", nil, plain(func(m *dns.Msg) { m.Question = nil }), 0, false},
		{"nothing with another id", nil, plain(func(m *dns.Msg) { m.Id++ }), 0, false},
		{"nothing about another zone", nil, plain(func(m *dns.Msg) { m.Question[0].Name = "example.org." }), 0, false},
		{"nothing about another type", nil, plain(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA }), 0, false},
		{"nothing about another class", nil, plain(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), 0, false},
		{"nothing of another opcode", nil, plain(func(m *dns.Msg) { m.Opcode = dns.OpcodeQuery }), 0, false},
		{"nothing with two questions", nil, plain(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), 0, false},
		{"no echo", nil, plain(func(m *dns.Msg) { m.Response = false }), 0, false},
		{"nothing that is cut off", nil, func(q *dns.Msg) []byte { w := reply(t, q, nil); return w[:len(w)-1] }, 0, false},
		{"nothing shorter than a header", nil, func(q *dns.Msg) []byte { return reply(t, q, nil)[:11] }, 0, false},
		{"a signed reply, where it was signed", &key, func(q *dns.Msg) []byte { return sign(q, key, dns.HmacSHA256, nil) }, 0, true},
		{"a signed error", &key, func(q *dns.Msg) []byte {
			return sign(q, key, dns.HmacSHA256, func(m *dns.Msg) { m.Rcode = dns.RcodeRefused })
		}, dns.RcodeRefused, true},
		{"nothing unsigned, where it was signed", &key, plain(nil), 0, false},
		{"nothing signed with another secret", &key, func(q *dns.Msg) []byte { return sign(q, forged, dns.HmacSHA256, nil) }, 0, false},
		{"nothing signed with another key", &key, func(q *dns.Msg) []byte { return sign(q, other, dns.HmacSHA256, nil) }, 0, false},
		{"nothing signed with another algorithm", &key, func(q *dns.Msg) []byte { return sign(q, key, dns.HmacSHA512, nil) }, 0, false},
		{"nothing that says that the key is not known", &key, func(q *dns.Msg) []byte {
			return sign(q, key, dns.HmacSHA256, func(m *dns.Msg) { m.IsTsig().Error = dns.RcodeBadKey })
		}, 0, false},
		{"nothing signed for another notification", &key, func(q *dns.Msg) []byte {
			q = q.Copy()
			q.IsTsig().MAC = hex.EncodeToString(make([]byte, 32))
			return sign(q, key, dns.HmacSHA256, nil)
		}, 0, false},
		{"nothing that was signed an hour ago", &key, func(q *dns.Msg) []byte {
			return sign(q, key, dns.HmacSHA256, func(m *dns.Msg) { m.IsTsig().TimeSigned -= 3600 })
		}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := newNotification("example.com.", zone(t, 7)[0].(*dns.SOA), c.key)
			if err != nil {
				t.Fatal(err)
			}
			q := new(dns.Msg)
			if err := q.Unpack(n.wire); err != nil {
				t.Fatal(err)
			}
			rcode, err := n.check(c.answer(q))
			if (err == nil) != c.ok || c.ok && rcode != c.rcode {
				t.Errorf("got %d %v", rcode, err)
			}
		})
	}
}

func TestForgedAnswersDoNotEndTheAttempts(t *testing.T) {
	noise := func(n int, _ string, q *dns.Msg, _ []byte) [][]byte {
		forged := reply(t, q, func(m *dns.Msg) { m.Id++ })
		if n == 1 {
			return [][]byte{forged}
		}
		return [][]byte{forged, []byte("x"), reply(t, q, nil)}
	}
	inBubble(t, noise, func(t *testing.T, transfers *Transfers, s *secondaries, logged *log) {
		publish(t, transfers, zone(t, 1), Policy{Notify: []string{"192.0.2.1"}})
		time.Sleep(time.Minute)
		expectHeard(t, s, "0s 192.0.2.1:53 1", "5s 192.0.2.1:53 1")
		if notified(transfers, "acknowledged") != 1 || !strings.Contains(logged.String(), "another id") {
			t.Errorf("got %s", logged)
		}
	})
}

func TestANotificationAsItIsSent(t *testing.T) {
	n, err := newNotification("example.com.", zone(t, 7)[0].(*dns.SOA), nil)
	if err != nil {
		t.Fatal(err)
	}
	var m dns.Msg
	if err := m.Unpack(n.wire); err != nil {
		t.Fatal(err)
	}
	if m.Response || m.Opcode != dns.OpcodeNotify || !m.Authoritative || len(m.Question) != 1 || m.Question[0].Qtype != dns.TypeSOA || len(m.Answer) != 1 || m.Answer[0].(*dns.SOA).Serial != 7 || len(m.Extra) != 0 {
		t.Errorf("got %v", &m)
	}
}

func TestNotifyOverLoopback(t *testing.T) {
	heard := make(chan *dns.Msg, 10)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	secondary := &dns.Server{
		PacketConn: pc, TsigSecret: map[string]string{"transfer.": testSecret}, NotifyStartedFunc: func() { close(started) },
		MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept },
		Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			if err := w.TsigStatus(); err != nil || q.IsTsig() == nil {
				t.Errorf("it is not signed rightly: %v", err)
			}
			m := new(dns.Msg)
			m.SetReply(q)
			m.SetTsig("transfer.", dns.HmacSHA256, 300, time.Now().Unix())
			_ = w.WriteMsg(m)
			heard <- q
		}),
	}
	served := make(chan error, 1)
	go func() { served <- secondary.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		if err := errors.Join(secondary.Shutdown(), <-served); err != nil {
			t.Error(err)
		}
	})
	transfers, logged := newTransfers(t, kit.DefaultDial, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- transfers.Run(ctx) }()
	publish(t, transfers, zone(t, 42), Policy{Notify: []string{pc.LocalAddr().String() + " key:transfer."}})
	if q := <-heard; q.Opcode != dns.OpcodeNotify || q.Answer[0].(*dns.SOA).Serial != 42 {
		t.Errorf("got %v", q)
	}
	kittest.Eventually(t, "its answer is accepted", func() bool { return notified(transfers, "acknowledged") == 1 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if strings.Contains(logged.String(), testSecret) || !strings.Contains(logged.String(), "a secondary was notified") {
		t.Errorf("got %s", logged)
	}
}

func FuzzAnswerToANotification(f *testing.F) {
	key := testKey(f, "transfer.")
	soa := zone(f, 7)[0].(*dns.SOA)
	plain, err := newNotification("example.com.", soa, nil)
	if err != nil {
		f.Fatal(err)
	}
	signed, err := newNotification("example.com.", soa, &key)
	if err != nil {
		f.Fatal(err)
	}
	for _, n := range []*notification{plain, signed} {
		q := new(dns.Msg)
		if err := q.Unpack(n.wire); err != nil {
			f.Fatal(err)
		}
		f.Add(n.wire[2:])
		f.Add(reply(f, q, nil)[2:])
	}
	f.Fuzz(func(t *testing.T, rest []byte) {
		wire := append(binary.BigEndian.AppendUint16(nil, plain.id), rest...)
		if _, err := plain.check(wire); err == nil {
			var m dns.Msg
			if m.Unpack(wire) != nil || !m.Response || m.Opcode != dns.OpcodeNotify {
				t.Errorf("%x was taken for an answer", wire)
			}
		}
		binary.BigEndian.PutUint16(wire, signed.id)
		if _, err := signed.check(wire); err == nil {
			t.Errorf("%x was taken for signed", wire)
		}
	})
}
