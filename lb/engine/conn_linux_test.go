//go:build linux && !386 && !s390x

package engine

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"minicloud.internal/kit/kittest"
)

// acceptOne returns both sides of a connection, the accepted one bare.
func acceptOne(t *testing.T, network, address string) (client net.Conn, accepted *conn, ln net.Listener) {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("cannot listen on %s here: %v", address, err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	listening, err := duplicate(raw)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(listening) })
	prompt := sendAtOnce(uintptr(listening)) == nil
	client = dial(t, ln.Addr().String())
	accepted = &conn{local: ln.Addr()}
	kittest.Eventually(t, "a connection is accepted", func() (ok bool) {
		accepted.fd, accepted.remote, err = acceptFD(uintptr(listening))
		return err == nil
	})
	if !prompt {
		_ = sendAtOnce(accepted.fd)
	}
	t.Cleanup(func() { _ = accepted.Close() })
	return client, accepted, ln
}

func TestAnAcceptedConnectionKnowsItsEnds(t *testing.T) {
	for _, c := range []struct{ network, address string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}, {"tcp", "127.0.0.1:0"}} {
		client, accepted, ln := acceptOne(t, c.network, c.address)
		got, want := accepted.RemoteAddr().(*net.TCPAddr).AddrPort(), client.LocalAddr().(*net.TCPAddr).AddrPort()
		if netip.AddrPortFrom(got.Addr().Unmap(), got.Port()) != want {
			t.Errorf("%s: the remote address is %v, want %v", c.network, got, want)
		}
		if accepted.LocalAddr() != ln.Addr() {
			t.Errorf("%s: the local address is %v, want %v", c.network, accepted.LocalAddr(), ln.Addr())
		}
		var noDelay int
		err := accepted.control(func(fd int) (err error) {
			noDelay, err = syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY)
			return err
		})
		if err != nil || noDelay == 0 {
			t.Errorf("%s: TCP_NODELAY is %d, %v: an answer could wait for an acknowledgement", c.network, noDelay, err)
		}
	}
}

func TestABareConnectionBecomesOneThatWaits(t *testing.T) {
	client, accepted, _ := acceptOne(t, "tcp", "127.0.0.1:0")
	buf := make([]byte, 16)
	if _, err := readFD(accepted.descriptor(), buf); err != syscall.EAGAIN {
		t.Fatalf("reading what nobody sent: %v, want EAGAIN", err)
	}
	_ = accepted.SetReadDeadline(late)
	if _, err := accepted.Read(buf); !isTimeout(err) {
		t.Fatalf("reading past the deadline: %v", err)
	}
	_ = accepted.SetReadDeadline(time.Time{})
	if _, err := client.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if n, err := accepted.Read(buf); err != nil || string(buf[:n]) != "ping" {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
	if _, err := accepted.Write([]byte("pong")); err != nil {
		t.Fatal(err)
	}
	if err := accepted.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(client); err != nil || string(all) != "pong" {
		t.Fatalf("the client read %q, %v", all, err)
	}
}

// The descriptor is its goroutine's until that closes it: it may be about to
// write there, and another connection could have the number by then.
func TestAnInterruptedBareConnectionKeepsItsDescriptor(t *testing.T) {
	client, accepted, _ := acceptOne(t, "tcp", "127.0.0.1:0")
	accepted.interrupt()
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client reads %v, want the end", err)
	}
	if _, err := send(accepted.descriptor(), []byte("x"), 0); err != syscall.EPIPE {
		t.Errorf("writing there: %v, want EPIPE", err)
	}
	if err := accepted.Close(); err != nil {
		t.Errorf("closing it: %v", err)
	}
	if err := accepted.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing it again: %v, want %v", err, net.ErrClosed)
	}
	accepted.interrupt() // finds nothing to do
	if _, err := accepted.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading after that: %v, want %v", err, net.ErrClosed)
	}
}

func TestAnInterruptWakesWhoWaits(t *testing.T) {
	_, accepted, _ := acceptOne(t, "tcp", "127.0.0.1:0")
	if _, err := accepted.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	woken := make(chan error, 1)
	go func() {
		_, err := accepted.Read(make([]byte, 1))
		woken <- err
	}()
	accepted.interrupt()
	if err := <-woken; !errors.Is(err, os.ErrClosed) {
		t.Errorf("the reader got %v, want %v", err, os.ErrClosed)
	}
}

func TestASpoiledConnectionEndsWithAReset(t *testing.T) {
	client, accepted, _ := acceptOne(t, "tcp", "127.0.0.1:0")
	s := newSocket(accepted)
	s.spoil()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client reads %v, want a reset", err)
	}
}

// Most clients send their request with the connection and want one answer.
func TestAConnectionForOneRequest(t *testing.T) {
	big := make([]byte, 8<<20) // more than the sockets hold: the answer has to wait
	for i := range big {
		big[i] = byte(i * 7)
	}
	answer := "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n" + string(big)
	r := start(t, settings(), answerAll(answer))
	for range 3 {
		c := dial(t, r.address)
		_ = c.(*net.TCPConn).SetReadBuffer(16 << 10) // or the kernel would let it grow
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(all) - len(big); n < 0 || string(all[n:]) != string(big) {
			t.Fatalf("%d bytes came, of a body of %d", len(all), len(big))
		}
	}
}
