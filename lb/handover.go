package lb

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// settleHandshakes is the time from the moment in which the kernel gives new
	// connections to somebody else to the end of the listener. In it the
	// handshakes that have begun end, and what waits to be accepted is.
	settleHandshakes = 250 * time.Millisecond
	// successorTimeout bounds the question whether there is a successor.
	successorTimeout = time.Second
	// maxSharers is how many processes on one address are looked at.
	maxSharers = 8
)

// yield has another process that listens on the address of ln get the connections
// that come, and returns when ours has none left that it could lose; at once where
// there is no such process.
//
// To close a listener resets the connections that wait to be accepted there, and
// those in the middle of their handshake. Therefore the kernel is told first to
// give new connections to one socket of those that share the address, by its
// number. Which number is whose cannot be asked, but is found out: who answers
// with a healthy state is not us, for we are draining.
func (lb *LoadBalancer) yield(ln net.Listener) {
	control := func(f func(fd uintptr)) error { return lb.engine.ControlListener(ln, f) }
	for number := range maxSharers {
		if err := steer(control, number); err != nil {
			lb.log.Debug("the address is not handed over", "error", err)
			return
		}
		if healthy(ln.Addr()) {
			lb.log.Info("another process takes over the address")
			time.Sleep(settleHandshakes)
			return
		}
	}
}

// healthy asks whoever gets a new connection to an address how it is.
func healthy(addr net.Addr) bool {
	ctx, cancel := context.WithTimeout(context.Background(), successorTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, addr.Network(), addr.String())
	if err != nil {
		return false
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if _, err := io.WriteString(c, "GET "+defaultEndpoint+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		return false
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}
