package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

// writeCertificate writes a certificate of its own for 127.0.0.1 with this
// serial number, and returns it as an authority.
func writeCertificate(t *testing.T, dir string, serial int64) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "garden"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: raw}} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(1, 0) // always: the time alone does not tell two files apart
		if err := os.Chtimes(path+".new", at, at); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	cert, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

// startEncrypted serves s with TLS and HTTPS beside the rest.
func startEncrypted(t *testing.T, s *Server) (l *Listener, dir string, trust *x509.CertPool) {
	t.Helper()
	dir = t.TempDir()
	trust = writeCertificate(t, dir, 1)
	s.Limits.TLSListen, s.Limits.HTTPSListen = "127.0.0.1:0", "127.0.0.1:0"
	s.Limits.Certificate, s.Limits.Key = "cert.pem", "key.pem"
	ln, pc, err := Listen("127.0.0.1:0", dir, s.Limits)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln, pc) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("at the end: %v", err)
		}
	})
	return ln.(*Listener), dir, trust
}

func TestDNSOverTLS(t *testing.T) {
	s := newServer(t, nil)
	s.Handler = new(garden)
	l, dir, trust := startEncrypted(t, s)
	dial := func(config *tls.Config) (*dns.Conn, error) {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", l.TLSAddr().String(), config)
		if err != nil {
			return nil, err
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		return &dns.Conn{Conn: conn}, nil
	}
	t.Run("queries are answered on one connection, in place and not", func(t *testing.T) {
		conn, err := dial(&tls.Config{RootCAs: trust, NextProtos: []string{"dot"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, name := range []string{"rose.", "slow.", "nope."} {
			m, _, err := new(dns.Client).ExchangeWithConn(question(name, dns.TypeA), conn)
			if err != nil || len(m.Answer)+len(m.Ns) != 1 {
				t.Fatalf("%s: %v %v", name, m, err)
			}
		}
		if got := queriesCounted(s, "tls", dns.RcodeSuccess); got != 2 {
			t.Errorf("%d counted", got)
		}
	})
	t.Run("a padded query gets a padded answer (RFC 8467)", func(t *testing.T) {
		conn, err := dial(&tls.Config{RootCAs: trust})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, qtype := range []uint16{dns.TypeA, dns.TypeTXT} {
			_ = conn.WriteMsg(question("rose.", qtype, withEDNS(1232, &dns.EDNS0_PADDING{Padding: make([]byte, 20)})))
			wire, err := conn.ReadMsgHeader(nil)
			if err != nil || len(wire)%468 != 0 || len(unpack(t, wire).Answer) == 0 {
				t.Errorf("%d octets, %v", len(wire), err)
			}
		}
	})
	t.Run("who speaks no TLS gets nowhere", func(t *testing.T) {
		conn, err := dns.Dial("tcp", l.TLSAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_ = conn.WriteMsg(question("rose.", dns.TypeA))
		if m, err := conn.ReadMsg(); err == nil {
			t.Errorf("got %v", m)
		}
	})
	t.Run("a certificate that changes is read anew, a broken one is not used", func(t *testing.T) {
		serial := func() int64 {
			conn, err := dial(&tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			return conn.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
		}
		writeCertificate(t, dir, 2)
		if got := serial(); got != 2 {
			t.Errorf("serial number %d", got)
		}
		if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := serial(); got != 2 {
			t.Errorf("serial number %d", got)
		}
	})
	kittest.Eventually(t, "every connection is gone", func() bool { return scraped(t, s, "minicloud_test_connections")["tls"] == 0 })
}

// lines is a log, by line.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) with(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

func TestClientsCannotFillTheLog(t *testing.T) {
	s, log := newServer(t, address), new(lines)
	s.Logger = slog.New(slog.NewTextHandler(log, nil))
	l, dir, _ := startEncrypted(t, s)
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []net.Addr{l.TLSAddr(), l.HTTPSAddr()} {
		for range 3 { // speak no TLS
			conn, err := net.Dial("tcp", addr.String())
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
		for range 3 { // trust the certificate not
			if _, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", addr.String(), nil); err == nil {
				t.Fatal("the certificate was taken")
			}
		}
	}
	kittest.Eventually(t, "every connection is gone", func() bool {
		open := scraped(t, s, "minicloud_test_connections")
		return open["tls"] == 0 && open["https"] == 0
	})
	if n := log.with("the certificate cannot be read anew"); n != 1 {
		t.Errorf("the certificate was complained of %d times", n)
	}
	if log.with("\n") != 1 {
		t.Errorf("logged %s", log.text.String())
	}
}

func TestQueriesOverHTTPSAreBounded(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	s := newServer(t, func(ctx context.Context, q *Query, reply *dns.Msg) {
		inside <- struct{}{}
		<-leave
		address(ctx, q, reply)
	})
	s.Limits.MaxInFlight = 1
	l, _, trust := startEncrypted(t, s)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	url := "https://" + l.HTTPSAddr().String() + "/dns-query?dns=" + base64.RawURLEncoding.EncodeToString(pack(t, question("rose.", dns.TypeA)))
	get := func() int {
		resp, err := c.Get(url)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	first := make(chan int, 1)
	go func() { first <- get() }()
	<-inside
	if got := get(); got != http.StatusServiceUnavailable || droppedCounted(s, "https", 1) != 1 {
		t.Errorf("beside one in flight: %d", got)
	}
	close(leave)
	if got := <-first; got != http.StatusOK {
		t.Errorf("the one in flight: %d", got)
	}
	go func() { <-inside }()
	if got := get(); got != http.StatusOK {
		t.Errorf("after it: %d", got)
	}
}

func TestDNSOverHTTPS(t *testing.T) {
	s := newServer(t, nil)
	s.Handler = new(garden)
	l, _, trust := startEncrypted(t, s)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	base := "https://" + l.HTTPSAddr().String()
	rose, nope := pack(t, question("rose.", dns.TypeA, withEDNS(1232))), pack(t, question("nope.", dns.TypeA))
	get := func(wire []byte) string {
		return base + "/dns-query?dns=" + base64.RawURLEncoding.EncodeToString(wire)
	}
	tests := []struct {
		name, method, url, media string
		body                     []byte
		status                   int
		fresh                    string
		answers                  int
	}{
		{"GET", "GET", get(rose), "", nil, 200, "max-age=60", 1},
		{"POST", "POST", base + "/dns-query", dohType, rose, 200, "max-age=60", 1},
		{"the general way", "GET", get(pack(t, question("slow.", dns.TypeTXT))), "", nil, 200, "max-age=60", 5},
		{"a name that does not exist is an answer", "GET", get(nope), "", nil, 200, "max-age=60", 0},
		{"a failure is one too, and not to be kept", "GET", get(pack(t, question("lame.", dns.TypeA))), "", nil, 200, "max-age=0", 0},
		{"a message that is cut off is answered with FORMERR", "GET", get(rose[:20]), "", nil, 200, "max-age=0", 0},
		{"a response is a bad request", "GET", get(append([]byte{0, 0, flagQR}, rose[3:]...)), "", nil, 400, "", 0},
		{"so is no message", "GET", base + "/dns-query", "", nil, 400, "", 0},
		{"and two", "GET", get(rose) + "&dns=AAAA", "", nil, 400, "", 0},
		{"and base64 with padding", "GET", get(rose) + "%3D", "", nil, 400, "", 0},
		{"and an empty body", "POST", base + "/dns-query", dohType, nil, 400, "", 0},
		{"another type of body is not supported", "POST", base + "/dns-query", "application/json", rose, 415, "", 0},
		{"more than a message can have is too large", "POST", base + "/dns-query", dohType, make([]byte, dns.MaxMsgSize+1), 413, "", 0},
		{"another method is not allowed", "PUT", base + "/dns-query", dohType, rose, 405, "", 0},
		{"another path is not found", "GET", base + "/", "", nil, 404, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, tt.url, bytes.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", tt.media)
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.ProtoMajor != 2 || resp.StatusCode != tt.status || resp.Header.Get("Cache-Control") != tt.fresh {
				t.Fatalf("got %s %v %v %q, %v", resp.Proto, resp.StatusCode, resp.Header, body, err)
			}
			if tt.status != 200 {
				return
			}
			if m := unpack(t, body); resp.Header.Get("Content-Type") != dohType || len(m.Answer) != tt.answers {
				t.Errorf("got %v\n%v", resp.Header, m)
			}
		})
	}
	if got := scraped(t, s, "minicloud_test_connections")["https"]; got != 1 {
		t.Errorf("%v connections", got)
	}
}

func TestTheEndFinishesWhatHasBegunOverTLSAndHTTPS(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	s := newServer(t, func(ctx context.Context, q *Query, reply *dns.Msg) {
		inside <- struct{}{}
		<-leave
		address(ctx, q, reply)
	})
	dir := t.TempDir()
	trust := writeCertificate(t, dir, 1)
	s.Limits.TLSListen, s.Limits.HTTPSListen = "127.0.0.1:0", "127.0.0.1:0"
	s.Limits.Certificate, s.Limits.Key = "cert.pem", "key.pem"
	ln, pc, err := Listen("127.0.0.1:0", dir, s.Limits)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln, pc) }()
	defer cancel()
	l := ln.(*Listener)
	answers := make(chan error, 2)
	go func() {
		c := &dns.Client{Net: "tcp-tls", TLSConfig: &tls.Config{RootCAs: trust}, Timeout: 10 * time.Second}
		_, _, err := c.Exchange(question("rose.", dns.TypeA), l.TLSAddr().String())
		answers <- err
	}()
	<-inside
	go func() {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		c := &http.Client{Transport: transport, Timeout: 10 * time.Second}
		wire, _ := question("rose.", dns.TypeA).Pack()
		resp, err := c.Get("https://" + l.HTTPSAddr().String() + "/dns-query?dns=" + base64.RawURLEncoding.EncodeToString(wire))
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		answers <- err
	}()
	<-inside
	cancel()
	kittest.Eventually(t, "new connections are refused", func() bool {
		for _, addr := range []net.Addr{l.TLSAddr(), l.HTTPSAddr(), l.Addr()} {
			if conn, err := net.Dial("tcp", addr.String()); err == nil {
				_ = conn.Close()
				return false
			}
		}
		return true
	})
	close(leave)
	for range 2 {
		if err := <-answers; err != nil {
			t.Errorf("an answer was lost: %v", err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHTTPSConnectionsAreBounded(t *testing.T) {
	s := newServer(t, address)
	s.Limits.MaxTCPConnections = 1
	l, _, trust := startEncrypted(t, s)
	dial := func() (*tls.Conn, error) {
		return tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", l.HTTPSAddr().String(), &tls.Config{RootCAs: trust})
	}
	first, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := dial(); err == nil {
		_ = second.Close()
		t.Error("a second connection was served")
	}
	_ = first.Close()
	kittest.Eventually(t, "a place is free", func() bool {
		conn, err := dial()
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func TestListenErrors(t *testing.T) {
	taken, err := kit.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	writeCertificate(t, dir, 1)
	l := DefaultLimits()
	l.Certificate, l.Key = "cert.pem", "key.pem"
	t.Run("an address in use ends it, and leaves nothing bound", func(t *testing.T) {
		l := l
		l.TLSListen, l.HTTPSListen = "127.0.0.1:0", taken.Addr().String()
		if _, _, err := Listen("127.0.0.1:0", dir, l); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("got %v", err)
		}
		if _, _, err := Listen(taken.Addr().String(), dir, l); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a certificate that is missing is a wrong key", func(t *testing.T) {
		_, _, err := Listen("127.0.0.1:0", t.TempDir(), l)
		if got := (*kit.KeyError)(nil); !errors.As(err, &got) || got.Key != "certificate" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("without TLS and HTTPS there is the one port", func(t *testing.T) {
		ln, pc, err := Listen("127.0.0.1:0", "", DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		defer ln.Close()
		if l := ln.(*Listener); l.TLSAddr() != nil || l.HTTPSAddr() != nil || strings.Split(ln.Addr().String(), ":")[1] != strings.Split(pc.LocalAddr().String(), ":")[1] {
			t.Errorf("got %v", l)
		}
	})
}
