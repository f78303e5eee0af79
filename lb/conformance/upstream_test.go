package conformance

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// An upstream is a target that says what the script says. Probes of its health
// it answers by itself; every other connection goes to the script.
type upstream struct {
	x      *exchange
	number int // from 1
	ln     *net.TCPListener
	addr   string
	status string        // that a probe gets
	closed chan struct{} // when it accepts no more
}

func newUpstream(x *exchange, number int, status string) (*upstream, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstream{x: x, number: number, ln: ln.(*net.TCPListener), addr: ln.Addr().String(), status: status, closed: make(chan struct{})}
	x.owned.Go(u.accept)
	return u, nil
}

func (u *upstream) accept() {
	defer close(u.closed)
	for {
		tcp, err := u.ln.AcceptTCP()
		if err != nil {
			return
		}
		c := newConn(u.x, fmt.Sprintf("the upstream (connection %d)", u.x.accepted.Add(1)), tcp)
		c.of = u.number
		u.x.own(tcp)
		u.x.owned.Go(func() { u.sort(c) })
	}
}

// sort answers a probe, and hands any other connection to the script with its
// first bytes unread.
func (u *upstream) sort(c *conn) {
	const probe = "GET /healthz "
	first, err := c.in.Peek(len(probe))
	if string(first) != probe {
		if len(first) > 0 || err == nil {
			u.x.arrivals <- c
		}
		return
	}
	defer c.close()
	if _, err := c.tryRequest(); err == nil {
		c.offer("HTTP/1.1 " + u.status + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}
}

// refuse lets no more connections in: they are refused.
func (u *upstream) refuse() { _ = u.ln.Close() }

// stall leaves new connections waiting for the end of their handshake: nobody
// accepts, and the queue is full.
func (u *upstream) stall() {
	_ = u.ln.SetDeadline(time.Now()) // ends accept; the socket goes on listening
	<-u.closed                       // or it would take one more out of the queue
	raw, err := u.ln.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _ = syscall.Listen(int(fd), 0) })
	}
	if err != nil {
		u.x.differs("the upstream cannot stall: %v", err)
	}
	// What finds a place in the queue keeps it, since nobody accepts. Several at
	// once, and again if none got in: all may fail for want of a processor, and leave
	// a place.
	var in, out atomic.Int64
	for range 3 {
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				if c, err := net.DialTimeout("tcp", u.addr, 250*time.Millisecond); err != nil {
					out.Add(1)
				} else {
					in.Add(1)
					u.x.own(c)
				}
			})
		}
		if callers.Wait(); in.Load() > 0 && out.Load() > 0 {
			return
		}
	}
	if out.Load() == 0 {
		u.x.differs("the upstream's queue does not fill")
	}
}

// ok is an answer that ends nothing.
func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// head makes the head of a message of its lines.
func head(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

// get is a plain request.
func get(path string) string { return head("GET "+path+" HTTP/1.1", "Host: example.com") }
