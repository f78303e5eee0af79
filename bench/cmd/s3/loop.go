//go:build linux

package main

import (
	"fmt"
	"io"
	"net/netip"
	"syscall"
	"time"

	"minicloud.internal/bench/internal/proc"
	"minicloud.internal/bench/internal/socket"
)

// run opens the connections, warms up, measures, and lets what is under way end.
func (g *generator) run(ready io.Writer) (err error) {
	if g.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return err
	}
	defer syscall.Close(g.epoll)
	defer g.hangUpAll()
	if err := g.open(); err != nil {
		return err
	}
	if err := g.until(time.Now().Add(g.spec.Warmup), nil); err != nil {
		return err
	}
	fmt.Fprintln(ready, proc.ReadyLine)
	before, err := g.clocks()
	if err != nil {
		return err
	}
	began := time.Now()
	g.measuring = true
	if err := g.until(began.Add(g.spec.Duration), nil); err != nil {
		return err
	}
	g.measuring = false
	if err := g.account(before, began); err != nil {
		return err
	}
	g.result.Requests = g.latency.Total()
	g.result.P50, g.result.P99 = g.latency.Quantile(0.50), g.latency.Quantile(0.99)
	return g.finish()
}

// open gives every client its connection and waits for all first answers.
func (g *generator) open() error {
	g.clients = make([]client, g.workload.clients)
	g.fresh = len(g.clients)
	for i := range g.clients {
		g.clients[i] = client{index: i, fd: -1}
	}
	for i := range g.clients {
		g.begin(&g.clients[i])
	}
	if err := g.until(time.Now().Add(proc.Patience), func() bool { return g.fresh == 0 }); err != nil {
		return err
	}
	if g.fresh > 0 {
		return g.give(fmt.Errorf("%d of %d clients without a first answer after %v", g.fresh, len(g.clients), proc.Patience))
	}
	return nil
}

// finish waits for the answers that are under way, so that no server is measured
// while it clears up after an aborted one.
func (g *generator) finish() error {
	g.stopping = true
	if err := g.until(time.Now().Add(proc.Patience), func() bool { return g.active == 0 }); err != nil {
		return err
	}
	if g.active > 0 {
		return g.give(fmt.Errorf("%d requests without an answer after %v", g.active, proc.Patience))
	}
	return nil
}

// until serves the connections until the deadline, or until done holds.
func (g *generator) until(deadline time.Time, done func() bool) error {
	events := make([]syscall.EpollEvent, 64)
	for done == nil || !done() {
		if g.result.Errors >= tooMany {
			return errFailed
		}
		left := time.Until(deadline)
		if left <= 0 {
			return nil
		}
		n, err := socket.Wait(g.epoll, events, left)
		if err != nil {
			return err
		}
		for _, e := range events[:n] {
			g.serve(&g.clients[e.Fd])
		}
	}
	return nil
}

// begin sends the client's next request, on its connection or on a new one.
func (g *generator) begin(c *client) {
	r := g.take()
	g.active++
	c.began = time.Now()
	c.want = r.want
	check := g.workload.check
	c.kept = r.want.body == nil || check > 0 && (c.answers+c.index)%check == 0
	c.reply.reset()
	if len(r.body) <= len(g.buf) {
		c.small = append(append(c.small[:0], r.head...), r.body...)
		c.out = append(c.out[:0], c.small)
	} else {
		c.out = append(c.out[:0], r.head, r.body)
	}
	var err error
	if c.fd < 0 {
		c.fd, err = g.connect(c.index)
	}
	if err == nil {
		err = c.transmit()
	}
	if err != nil {
		g.fail(c, err)
	}
}

// take is the next request.
func (g *generator) take() request {
	n := g.next
	g.next++
	if n < int64(len(g.prepared)) {
		return g.prepared[n]
	}
	return g.request(n)
}

// connect opens a connection and has it watched. Edge-triggered, and registered
// once: no system call per request.
func (g *generator) connect(index int) (fd int, err error) {
	to, err := netip.ParseAddrPort(g.spec.Address)
	if err != nil {
		return -1, err
	}
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if err == nil {
		// On loopback it does not wait for anybody.
		err = syscall.Connect(fd, &syscall.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	}
	if err == nil {
		err = syscall.SetNonblock(fd, true)
	}
	if err == nil {
		const edge = 1 << 31 // EPOLLET, which the syscall package has as a negative number
		events := uint32(syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | edge)
		err = syscall.EpollCtl(g.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: events, Fd: int32(index)})
	}
	if err != nil {
		_ = syscall.Close(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}

// serve does what a connection is ready for.
func (g *generator) serve(c *client) {
	if c.fd < 0 {
		return
	}
	sent := c.transmit()
	// Where the server gave up reading, its answer says why.
	done, err := g.receive(c)
	if err == nil && !done {
		err = sent
	}
	if err == nil && done {
		err = c.reply.check(&c.want, c.kept)
	}
	switch {
	case err != nil:
		g.fail(c, err)
	case done:
		g.answered(c)
	}
}

// transmit sends what is left of the request, as far as the socket takes it.
func (c *client) transmit() error {
	for len(c.out) > 0 {
		n, err := socket.Send(c.fd, c.out[0])
		if err == syscall.EAGAIN {
			return nil
		}
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if c.out[0] = c.out[0][n:]; len(c.out[0]) == 0 {
			c.out = c.out[1:]
		}
	}
	return nil
}

// receive takes what has come; done says that the answer is complete.
func (g *generator) receive(c *client) (done bool, err error) {
	for {
		if c.reply.size > 0 && !c.kept && c.reply.status == 200 && !c.reply.chunked {
			n, err := socket.Discard(c.fd, c.reply.left)
			switch {
			case err == syscall.EAGAIN:
				return false, nil
			case err == nil && n == 0:
				err = errEnded
			}
			if err != nil {
				return false, err
			}
			if done, err = c.reply.came(n); done || err != nil {
				return done, err
			}
			continue
		}
		// Of what is not kept only the head has to be seen.
		buf := g.buf
		if !c.kept {
			buf = buf[:2<<10]
		}
		n, err := socket.Recv(c.fd, buf)
		switch {
		case err == syscall.EAGAIN:
			return false, nil
		case err == nil && n == 0:
			err = errEnded
		}
		if err == nil {
			done, err = c.reply.take(buf[:n])
		}
		if done || err != nil {
			return done, err
		}
	}
}

// answered counts a complete and correct answer and goes on to the next request.
func (g *generator) answered(c *client) {
	if len(c.out) > 0 {
		g.fail(c, fmt.Errorf("the answer came before the end of the request"))
		return
	}
	if g.measuring {
		g.latency.Record(time.Since(c.began))
	}
	g.active--
	g.result.Checked++
	if g.workload.kind == put {
		g.result.Stored += int64(g.workload.size)
	}
	if c.answers++; c.answers == 1 {
		g.fresh--
	}
	if c.reply.close {
		g.hangUp(c)
	}
	if !g.stopping {
		g.begin(c)
	}
}

// fail counts an error and begins anew.
func (g *generator) fail(c *client, err error) {
	_ = g.give(err)
	g.active--
	g.hangUp(c)
	if !g.stopping && g.result.Errors < tooMany {
		g.begin(c)
	}
}

func (g *generator) hangUp(c *client) {
	if c.fd >= 0 {
		_ = syscall.Close(c.fd)
		c.fd = -1
	}
}

func (g *generator) hangUpAll() {
	for i := range g.clients {
		g.hangUp(&g.clients[i])
	}
}
