package lb

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"minicloud.internal/kit/kittest"
)

// echoServer upgrades to a protocol that says back what it hears.
func echoServer(t *testing.T) string {
	_, addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-WebSocket-Key") != "k" {
			http.Error(w, "expected an upgrade", http.StatusBadRequest)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(c, rw)
	})
	return addr
}

// upgrade opens a tunnel through the load balancer.
func upgrade(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n")
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("the upgrade got %v, %v", res, err)
	}
	for _, word := range []string{"hello\n", "again\n"} {
		_, _ = io.WriteString(c, word)
		if got, err := in.ReadString('\n'); err != nil || got != word {
			t.Fatalf("the echo of %q is %q, %v", word, got, err)
		}
	}
	return c, in
}

func TestUpgrade(t *testing.T) {
	addr := echoServer(t)
	t.Run("bytes pass both ways, and a half-close", func(t *testing.T) {
		lb := start(t, quick(addr))
		c, in := upgrade(t, lb.addr)
		inFlight := func() float64 { return lb.metric(t, "requests_in_flight", "route", "default") }
		if n := inFlight(); n != 1 {
			t.Errorf("%v requests are in flight, expected the tunnel", n)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(in); err != nil || len(b) != 0 {
			t.Errorf("after the half-close: %q, %v", b, err)
		}
		kittest.Eventually(t, "the tunnel is in flight no more", func() bool { return inFlight() == 0 })
	})
	t.Run("a tunnel outlives the limits on bodies, and ends with its own", func(t *testing.T) {
		cfg := quick(addr)
		cfg.TunnelIdleTimeout, cfg.BodyIdleTimeout = time.Second, 300*time.Millisecond
		lb := start(t, cfg)
		_, in := upgrade(t, lb.addr)
		quiet := time.Now()
		if _, err := in.ReadByte(); err == nil {
			t.Error("the tunnel stays open")
		}
		if took := time.Since(quiet); took < 900*time.Millisecond || took > patience/2 {
			t.Errorf("the tunnel ended after %s, expected 1s", took)
		}
	})
	t.Run("the end of the load balancer ends its tunnels", func(t *testing.T) {
		lb := start(t, quick(addr))
		_, in := upgrade(t, lb.addr)
		lb.stop() // joins, so a tunnel left behind would hang here
		if _, err := in.ReadByte(); err == nil {
			t.Error("the tunnel stays open")
		}
	})
}

func TestTunnelToAClientThatDoesNotRead(t *testing.T) {
	full := make(chan struct{})
	_, addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for p := make([]byte, 1<<20); err == nil; {
			_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			_, err = c.Write(p)
		}
		close(full)
		_, _ = io.Copy(io.Discard, c)
	})
	lb := start(t, quick(addr))
	c, err := net.DialTimeout("tcp", lb.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	<-full
	lb.stop()
	if left := lb.log.since(0, "a handler does not end"); len(left) > 0 {
		t.Error("the tunnel waits for its client")
	}
}
