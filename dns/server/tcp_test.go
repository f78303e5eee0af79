package server

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/kit/kittest"
)

func TestAQueryMustArriveWholeWithinTheIdleTime(t *testing.T) {
	s := newServer(t, address)
	s.Limits.TCPIdle = 100 * time.Millisecond
	addr, _ := start(t, s)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	began := time.Now()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = conn.Read(make([]byte, 1))
	}()
	// One octet every tenth of the idle time, of a message that is announced
	// to have 65,535.
	drip := time.NewTicker(s.Limits.TCPIdle / 10)
	defer drip.Stop()
	_, _ = conn.Write([]byte{0xFF, 0xFF})
	octets := 0
	for open := true; open; {
		select {
		case <-ended:
			open = false
		case <-drip.C:
			_, _ = conn.Write([]byte{0})
			octets++
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%d octets held the connection for %v", octets, took)
	}
	kittest.Eventually(t, "the connection is gone", func() bool { return s.Metrics.open[transportIndex("tcp")].Load() == 0 })
}

func TestAClientMustTakeItsAnswersWithinTheIdleTime(t *testing.T) {
	for way, handler := range map[string]Handler{"in place": new(garden), "the general way": handlerFunc(new(garden).Answer)} {
		t.Run(way, func(t *testing.T) {
			s := newServer(t, nil)
			s.Handler, s.Limits.TCPIdle = handler, 100*time.Millisecond
			addr, _ := start(t, s)
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			wire := pack(t, question("rose.", dns.TypeTXT))
			for { // until the server has gone, which reads no more while it cannot write
				if err = WriteMessage(conn, wire); err != nil {
					break
				}
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection is held for ever")
			}
			kittest.Eventually(t, "the connection is gone", func() bool { return s.Metrics.open[transportIndex("tcp")].Load() == 0 })
		})
	}
}

func TestConnectionsPerClient(t *testing.T) {
	s := newServer(t, address)
	s.Limits.MaxTCPPerClient = 2
	addr, _ := start(t, s)
	ask := func(from string) (*dns.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
		conn, err := d.Dial("tcp", addr)
		if err != nil {
			return nil, err
		}
		co := &dns.Conn{Conn: conn}
		t.Cleanup(func() { _ = co.Close() })
		_, _, err = new(dns.Client).ExchangeWithConn(question("example.com.", dns.TypeA), co)
		return co, err
	}
	first, err := ask("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask("127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if _, err := ask("127.0.0.1"); err == nil {
		t.Error("a third connection of one client was served")
	}
	if _, err := ask("127.0.0.2"); err != nil {
		t.Errorf("another client was not served: %v", err)
	}
	_ = first.Close()
	kittest.Eventually(t, "a place is free", func() bool { _, err := ask("127.0.0.1"); return err == nil })
	if got := droppedCounted(s, "tcp", 1); got < 1 {
		t.Errorf("%d counted", got)
	}
}

func TestTCPKeepalive(t *testing.T) {
	keepalive := func(m *dns.Msg) *dns.EDNS0_TCP_KEEPALIVE {
		for _, o := range m.IsEdns0().Option {
			if k, ok := o.(*dns.EDNS0_TCP_KEEPALIVE); ok {
				return k
			}
		}
		return nil
	}
	asks := question("rose.", dns.TypeA, withEDNS(1232, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}))
	for _, tt := range []struct {
		name, transport string
		query           *dns.Msg
		want            bool
	}{
		{"who asks over TCP is told", "tcp", asks, true},
		{"who asks over UDP is not (RFC 7828, section 3.2.1)", "udp", asks, false},
		{"who does not ask is not", "tcp", question("rose.", dns.TypeA, withEDNS(1232)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, nil)
			s.Handler = new(garden)
			k := keepalive(unpack(t, s.Respond(t.Context(), pack(t, tt.query), client, tt.transport)))
			if (k != nil) != tt.want || k != nil && k.Timeout != 100 {
				t.Errorf("got %v", k)
			}
		})
	}
}

func TestQueriesInMemoryDoNotWaitForOthers(t *testing.T) {
	leave := make(chan struct{})
	s := newServer(t, nil)
	s.Handler = struct {
		Fast
		Handler
	}{roses, handlerFunc(func(ctx context.Context, q *Query, reply *dns.Msg) { <-leave; address(ctx, q, reply) })}
	addr, _ := start(t, s)
	conn, err := dns.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_ = conn.WriteMsg(question("slow.", dns.TypeMX))
	for range 3 {
		_ = conn.WriteMsg(question("rose.", dns.TypeA))
		if m, err := conn.ReadMsg(); err != nil || m.Question[0].Name != "rose." {
			t.Fatalf("got %v %v", m, err)
		}
	}
	close(leave)
	if m, err := conn.ReadMsg(); err != nil || m.Question[0].Name != "slow." {
		t.Errorf("got %v %v", m, err)
	}
}

// transferFunc is a handler with transfers.
type transferFunc func(ctx context.Context, q *Query, send func(*dns.Msg) error) error

func (f transferFunc) Answer(_ context.Context, _ *Query, reply *dns.Msg) {
	reply.Rcode = dns.RcodeRefused
}
func (f transferFunc) Transfer(ctx context.Context, q *Query, send func(*dns.Msg) error) error {
	return f(ctx, q, send)
}

const gardenSOA = "garden. 60 IN SOA ns.garden. host.garden. 7 2 3 4 5"

// wholeGarden transfers a zone in messages of two records.
func wholeGarden(_ context.Context, q *Query, send func(*dns.Msg) error) error {
	if q.Transport == "udp" {
		return send(&dns.Msg{Answer: []dns.RR{record(gardenSOA)}})
	}
	if q.Key != "" && q.Key != "key.garden." {
		return errors.New("another key")
	}
	for _, pair := range [][]string{{gardenSOA, "garden. 60 IN NS ns.garden."}, {"rose.garden. 60 IN A 192.0.2.1", "tulip.garden. 60 IN A 192.0.2.2"}, {gardenSOA}} {
		m := &dns.Msg{MsgHdr: dns.MsgHdr{Authoritative: true}}
		for _, rr := range pair {
			m.Answer = append(m.Answer, record(rr))
		}
		if err := send(m); err != nil {
			return err
		}
	}
	return nil
}

func TestTransfer(t *testing.T) {
	s := newServer(t, nil)
	s.Handler = transferFunc(wholeGarden)
	addr, _ := start(t, s)
	in, err := (&dns.Transfer{}).In(question("garden.", dns.TypeAXFR), addr)
	if err != nil {
		t.Fatal(err)
	}
	records, messages := 0, 0
	for e := range in {
		if e.Error != nil {
			t.Fatal(e.Error)
		}
		records, messages = records+len(e.RR), messages+1
	}
	if records != 5 || messages != 3 {
		t.Errorf("%d records in %d messages", records, messages)
	}
	kittest.Eventually(t, "one query is counted", func() bool { return queriesCounted(s, "tcp", dns.RcodeSuccess) == 1 })
}

func ixfr(serial uint32) *dns.Msg {
	m := new(dns.Msg)
	m.SetIxfr("garden.", serial, "ns.garden.", "host.garden.")
	return m
}

func TestTransferRefusals(t *testing.T) {
	none := func(context.Context, *Query, func(*dns.Msg) error) error { return nil }
	tests := []struct {
		name, transport string
		handler         Handler
		query           *dns.Msg
		holds           func(*dns.Msg) bool
	}{
		{"without a Transferrer it is refused", "tcp", handlerFunc(address), question("garden.", dns.TypeAXFR), rcode(dns.RcodeRefused)},
		{"AXFR over UDP is not implemented, and explained", "udp", transferFunc(wholeGarden), question("garden.", dns.TypeAXFR, withEDNS(1232)), func(m *dns.Msg) bool {
			return m.Rcode == dns.RcodeNotImplemented && m.IsEdns0().Option[0].(*dns.EDNS0_EDE).InfoCode == dns.ExtendedErrorCodeNotSupported
		}},
		{"nor is it over HTTPS", "https", transferFunc(wholeGarden), question("garden.", dns.TypeAXFR), rcode(dns.RcodeNotImplemented)},
		{"over either it is refused without a Transferrer", "udp", handlerFunc(address), question("garden.", dns.TypeAXFR), rcode(dns.RcodeRefused)},
		{"IXFR over UDP is one message", "udp", transferFunc(wholeGarden), ixfr(3), func(m *dns.Msg) bool { return len(m.Answer) == 1 && m.Question[0].Qtype == dns.TypeIXFR }},
		{"IXFR with a serial number is asked with it", "tcp", transferFunc(func(_ context.Context, q *Query, send func(*dns.Msg) error) error {
			m := new(dns.Msg)
			if q.Serial != 3 {
				m.Rcode = dns.RcodeNotZone
			}
			return send(m)
		}), ixfr(3), rcode(dns.RcodeSuccess)},
		{"IXFR without the client's SOA record is a format error", "tcp", transferFunc(wholeGarden), question("garden.", dns.TypeIXFR), rcode(dns.RcodeFormatError)},
		{"IXFR with another zone's SOA record is one too", "tcp", transferFunc(wholeGarden), question("other.", dns.TypeIXFR, func(m *dns.Msg) { m.Ns = ixfr(3).Ns }), rcode(dns.RcodeFormatError)},
		{"a handler that sends nothing is a server failure", "tcp", transferFunc(none), question("garden.", dns.TypeAXFR), rcode(dns.RcodeServerFailure)},
		{"one that fails before it sends is one too", "tcp", transferFunc(func(context.Context, *Query, func(*dns.Msg) error) error { return io.ErrUnexpectedEOF }), question("garden.", dns.TypeAXFR), rcode(dns.RcodeServerFailure)},
		{"one that panics is one too", "tcp", transferFunc(func(context.Context, *Query, func(*dns.Msg) error) error { panic("thorns") }), question("garden.", dns.TypeAXFR), rcode(dns.RcodeServerFailure)},
		{"a refusal is one message", "tcp", transferFunc(func(_ context.Context, _ *Query, send func(*dns.Msg) error) error {
			return send(&dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeNotAuth}})
		}), question("garden.", dns.TypeAXFR, withEDNS(1232)), func(m *dns.Msg) bool { return m.Rcode == dns.RcodeNotAuth && m.IsEdns0() != nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, nil)
			s.Handler = tt.handler
			m := unpack(t, s.Respond(t.Context(), pack(t, tt.query), client, tt.transport))
			if !tt.holds(m) || m.Id != tt.query.Id || !m.Response {
				t.Errorf("got\n%v", m)
			}
		})
	}
}

func TestATransferThatBreaksOffLooksBroken(t *testing.T) {
	s := newServer(t, nil)
	s.Handler = transferFunc(func(_ context.Context, _ *Query, send func(*dns.Msg) error) error {
		if err := send(&dns.Msg{Answer: []dns.RR{record(gardenSOA)}}); err != nil {
			return err
		}
		return errors.New("the zone went away")
	})
	addr, _ := start(t, s)
	conn, err := dns.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_ = conn.WriteMsg(question("garden.", dns.TypeAXFR))
	if m, err := conn.ReadMsg(); err != nil || len(m.Answer) != 1 {
		t.Fatalf("got %v %v", m, err)
	}
	if _, err := conn.ReadMsg(); err == nil {
		t.Error("the connection stays open")
	}
}
