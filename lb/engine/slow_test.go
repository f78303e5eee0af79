package engine

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Slow clients, after the attack called Slowloris: each holds a connection with a
// request that never becomes whole.
func TestSlowClientsAreHeldOff(t *testing.T) {
	s := settings()
	s.RequestHead, s.BodyIdle = 500*time.Millisecond, 500*time.Millisecond
	r := start(t, s, func(c net.Conn, in *bufio.Reader) {
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			if _, err := io.WriteString(c, plainAnswer); err != nil {
				return
			}
		}
	})
	for _, c := range []struct {
		name, sent string
		status     int
	}{
		{"heads that stop in the middle are answered with 408", "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ", http.StatusRequestTimeout},
		{"bodies that stop in the middle are answered with 408", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc", http.StatusRequestTimeout},
	} {
		t.Run(c.name+", and others are served meanwhile", func(t *testing.T) {
			var slow sync.WaitGroup
			for range 200 {
				conn := dial(t, r.address)
				if _, err := io.WriteString(conn, c.sent); err != nil {
					t.Fatal(err)
				}
				slow.Go(func() {
					res, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err != nil || res.StatusCode != c.status || !res.Close {
						t.Errorf("a slow client got %v, %v", res, err)
					}
				})
			}
			over := make(chan struct{})
			go func() { slow.Wait(); close(over) }()
			conn, buf := dial(t, r.address), make([]byte, 4096)
			for served := 0; ; served++ {
				select {
				case <-over:
					if served == 0 {
						t.Error("nobody else was served")
					}
					return
				default:
				}
				if got := roundTrip(t, conn, []byte(plainRequest), buf, "[]"); !strings.HasPrefix(string(got), "HTTP/1.1 200 ") {
					t.Fatalf("a client got %q", got)
				}
			}
		})
	}
}

func TestADrain(t *testing.T) {
	t.Run("closes idle connections at once, and lets a request end", func(t *testing.T) {
		arrived, proceed := make(chan struct{}), make(chan struct{})
		r := start(t, settings(), func(c net.Conn, in *bufio.Reader) {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			close(arrived)
			<-proceed
			_, _ = io.WriteString(c, plainAnswer)
		})
		idle, busy := dial(t, r.address), dial(t, r.address)
		if _, err := io.WriteString(busy, plainRequest); err != nil {
			t.Fatal(err)
		}
		<-arrived
		stopped := make(chan struct{})
		go func() { r.stop(); close(stopped) }()
		if b, err := io.ReadAll(idle); err != nil || len(b) > 0 {
			t.Errorf("the idle connection got %q, %v", b, err)
		}
		close(proceed)
		b, err := io.ReadAll(busy)
		if err != nil || !strings.Contains(string(b), "Connection: close\r\n") || !strings.HasSuffix(string(b), "[]") {
			t.Errorf("the busy connection got %q, %v", b, err)
		}
		<-stopped
	})
	t.Run("cuts off what takes too long", func(t *testing.T) {
		s := settings()
		s.Drain = 50 * time.Millisecond
		arrived := make(chan struct{})
		r := start(t, s, func(c net.Conn, in *bufio.Reader) {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			close(arrived)
			_, _ = in.ReadByte() // never answers
		})
		conn := dial(t, r.address)
		if _, err := io.WriteString(conn, plainRequest); err != nil {
			t.Fatal(err)
		}
		<-arrived
		r.stop()
		if b, err := io.ReadAll(conn); strings.Contains(string(b), " 200 ") {
			t.Errorf("got %q, %v", b, err)
		}
	})
}
