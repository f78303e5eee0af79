package exchange

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"minicloud.internal/dns/server"
	"minicloud.internal/kit/kittest"
)

// certificate returns a certificate authority of the test, and a certificate of
// it for a name and 127.0.0.1.
func certificate(t testing.TB, name string) (*x509.CertPool, *tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
	}
	if der, err = x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key); err != nil {
		t.Fatal(err)
	}
	return pool, &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func target(t testing.TB, s string) Target {
	t.Helper()
	target, err := ParseTarget("", s)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func TestTLSAsksOnlyWhoProvesItsName(t *testing.T) {
	roots, cert := certificate(t, "dns.example")
	others, _ := certificate(t, "dns.example")
	tests := []struct {
		name  string
		roots *x509.CertPool
		after string // the target's address
		want  string
	}{
		{"the right name", roots, "#dns.example", "tls 1"},
		{"no name, and the address in the certificate", roots, "", "tls 1"},
		{"another name", roots, "#evil.example", "error: has a certificate that is not to be trusted: x509: certificate is valid for dns.example, not evil.example"},
		{"another authority", others, "#dns.example", "error: has a certificate that is not to be trusted: x509: certificate signed by unknown authority"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t, cert, right)
			x := exchanger(t, func(c *Config) { c.RootCAs = tt.roots })
			res, err := x.Exchange(t.Context(), target(t, "tls://"+p.tls+tt.after), "www.example.com.", dns.TypeA, Options{})
			if got := told(res, err); got != tt.want && !(err != nil && len(got) > len(tt.want) && got[:len(tt.want)] == tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if n := len(p.received()); (err == nil) != (n == 1) {
				t.Errorf("the server heard %d questions", n)
			}
		})
	}
}

func TestConnectionsAreKept(t *testing.T) {
	roots, cert := certificate(t, "dns.example")
	hangsUp := once(func(q question) []any { return []any{good(q), nil} }, right)
	tests := []struct {
		name      string
		answer    answer
		transport string
		conns     int
	}{
		{"over TLS five questions share one", right, "tls", 1},
		{"over TCP too", right, "tcp", 1},
		{"one that the server closed is replaced", hangsUp, "tcp", 2},
		{"over TLS too", hangsUp, "tls", 2},
		{"after an answer that makes no sense none is", once(func(q question) []any {
			return []any{good(q, func(m *dns.Msg) { m.Id++ })}
		}, right), "tcp", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPeer(t, cert, tt.answer)
			x := exchanger(t, func(c *Config) { c.RootCAs, c.UpstreamIdle = roots, time.Minute })
			to := target(t, map[string]string{"tcp": "tcp://" + p.addr, "tls": "tls://" + p.tls + "#dns.example"}[tt.transport])
			for i := range 5 {
				res, err := x.Exchange(t.Context(), to, "www.example.com.", dns.TypeA, Options{})
				if err != nil && (i > 0 || res.Queries != 1) {
					t.Fatalf("question %d: %v", i+1, err)
				}
			}
			if n := p.connections(); n != tt.conns {
				t.Errorf("5 questions took %d connections, want %d", n, tt.conns)
			}
			x.Close()
			if n := x.kept.count; n != 0 {
				t.Errorf("%d connections are kept after Close", n)
			}
		})
	}
}

func TestFewConnectionsAreKept(t *testing.T) {
	const questions = 2 * keptPerServer
	var arrived sync.WaitGroup
	arrived.Add(questions)
	p := newPeer(t, nil, func(q question) []any {
		arrived.Done()
		arrived.Wait() // until every question has a connection of its own
		return right(q)
	})
	x := exchanger(t, func(c *Config) { c.UpstreamIdle = time.Minute })
	to := target(t, "tcp://"+p.addr)
	var running sync.WaitGroup
	for range questions {
		running.Go(func() {
			if _, err := x.Exchange(t.Context(), to, "www.example.com.", dns.TypeA, Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if x.kept.count != keptPerServer || p.connections() != questions {
		t.Errorf("of %d connections %d are kept, want %d", p.connections(), x.kept.count, keptPerServer)
	}
	for i := range 2 * keptInAll {
		near, far := net.Pipe()
		x.kept.give(streamKey{TCP, fmt.Sprint(i), ""}, near)
		defer far.Close()
	}
	if x.kept.count != keptInAll {
		t.Errorf("%d connections are kept in all, want %d", x.kept.count, keptInAll)
	}
}

func TestAConnectionIsClosedWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed time.Time
		x := exchanger(t, func(c *Config) {
			c.Routes[nsAddr] = "ns:53"
			c.Dial = dialer(func(_, _ string, conn net.Conn) {
				for {
					wire, err := server.ReadMessage(conn)
					if err != nil {
						closed = time.Now()
						return
					}
					q := question{Msg: new(dns.Msg)}
					_ = q.Unpack(wire)
					wire, _ = good(q).Pack()
					_ = server.WriteMessage(conn, wire)
				}
			})
		})
		if _, err := x.Exchange(t.Context(), Target{Addr: At(nsAddr).Addr, Transport: TCP}, "www.example.com.", dns.TypeA, Options{}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		time.Sleep(time.Hour)
		synctest.Wait()
		if idle := closed.Sub(start); idle != x.cfg.UpstreamIdle {
			t.Errorf("closed after %v", idle)
		}
	})
}

func TestAServerThatDripsIsGivenUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := exchanger(t, func(c *Config) {
			c.QueryTimeout = 800 * time.Millisecond
			c.Routes[nsAddr] = "ns:53"
			c.Dial = dialer(func(_, _ string, conn net.Conn) {
				if _, err := server.ReadMessage(conn); err != nil {
					return
				}
				for _, b := range append([]byte{0, 200}, make([]byte, 200)...) {
					time.Sleep(100 * time.Millisecond)
					if _, err := conn.Write([]byte{b}); err != nil {
						return
					}
				}
			})
		})
		start := time.Now()
		res, err := x.Exchange(t.Context(), Target{Addr: At(nsAddr).Addr, Transport: TCP}, "www.example.com.", dns.TypeA, Options{})
		if got := told(res, err); got != "error: did not answer in time" || time.Since(start) != 800*time.Millisecond {
			t.Errorf("after %v: %s", time.Since(start), got)
		}
		time.Sleep(time.Second) // until the server notices
	})
}

// forwarded asks through a forwarder.
func forwarded(t testing.TB, f *Forwarder) string {
	t.Helper()
	return told(f.Exchange(t.Context(), "www.example.com.", dns.TypeA))
}

func TestForwarder(t *testing.T) {
	resolves := func(q question) []any {
		return []any{good(q, func(m *dns.Msg) { m.Authoritative, m.RecursionAvailable = false, true })}
	}
	noname := func(q question) []any {
		return []any{good(q, func(m *dns.Msg) { m.Answer, m.RecursionAvailable, m.Rcode = nil, true, dns.RcodeNameError })}
	}
	repeats := func(q question) []any { return []any{good(q, func(m *dns.Msg) { m.Authoritative = false })} }
	hangsUp := func(question) []any { return []any{nil} }
	tests := []struct {
		name    string
		answers []answer // of the targets; they are asked over TCP
		want    string   // with the peers' addresses as A and B
		asked   []int    // how often each was, after two questions
	}{
		{"the first that answers is asked alone", []answer{resolves, resolves}, "tcp 1", []int{2, 0}},
		{"an authoritative server will do", []answer{right}, "tcp 1", []int{2}},
		{"NXDOMAIN is an answer", []answer{noname, resolves}, "tcp 1 NXDOMAIN", []int{2, 0}},
		{"SERVFAIL is not", []answer{rcode(dns.RcodeServerFailure), resolves}, "tcp 2: tcp://A answered SERVFAIL", []int{2, 2}},
		{"an answer of hearsay is not", []answer{repeats, resolves}, "tcp 2: tcp://A does not resolve for others", []int{2, 2}},
		{"who was not to be reached is asked last", []answer{hangsUp, resolves}, "tcp 2: tcp://A cannot be reached", []int{1, 2}},
		{
			"when nobody answers, everybody's trouble is told", []answer{hangsUp, rcode(dns.RcodeRefused)},
			"error: no server that it is forwarded to gave an answer: tcp://A cannot be reached; tcp://B answered REFUSED: tcp://A cannot be reached; tcp://B answered REFUSED",
			[]int{2, 2},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var peers []*peer
			var list []string
			want := tt.want
			for i, a := range tt.answers {
				p := newPeer(t, nil, a)
				peers, list = append(peers, p), append(list, "tcp://"+p.addr)
				want = strings.ReplaceAll(want, "tcp://"+string(rune('A'+i)), "tcp://"+p.addr)
			}
			targets, err := ParseTargets("addresses", list)
			if err != nil {
				t.Fatal(err)
			}
			f := exchanger(t, nil).Forwarder(targets)
			if got := forwarded(t, f); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			forwarded(t, f)
			var asked []int
			for _, p := range peers {
				asked = append(asked, len(p.received()))
				for _, q := range p.received() {
					if !q.RecursionDesired {
						t.Error("recursion is not asked for")
					}
				}
			}
			if diff := cmp.Diff(tt.asked, asked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestForwardingEndsWithTheCaller(t *testing.T) {
	first := make(chan struct{}, 1)
	p := newPeer(t, nil, func(question) []any { first <- struct{}{}; return nil })
	other := newPeer(t, nil, right)
	targets, err := ParseTargets("", []string{p.addr, other.addr})
	if err != nil {
		t.Fatal(err)
	}
	f := exchanger(t, nil).Forwarder(targets)
	ctx, cancel := contextAfter(t, time.Minute)
	go func() {
		<-first
		cancel()
	}()
	if _, err := f.Exchange(ctx, "www.example.com.", dns.TypeA); err == nil {
		t.Error("no error")
	}
	kittest.Eventually(t, "the first was asked", func() bool { return len(p.received()) == 1 })
	if n := len(other.received()); n != 0 {
		t.Errorf("the other was asked %d times, for nobody", n)
	}
}
