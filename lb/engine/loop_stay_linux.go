//go:build linux && !386 && !s390x

package engine

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// A loopClient is what a loop knows of a client.
type loopClient struct {
	loop *loop // nil: none
	slot int
	// away says that the loop has no say in the connection: a goroutine serves it,
	// or it is closed.
	away    atomic.Bool
	watched bool          // the kernel tells the loop of the connection
	due     time.Duration // when the wait under way has taken too long
	waits   *waiting      // the request whose answer is waited for
	stirred bool          // something may have come since the request
}

// A loopUpstream is what a loop knows of a connection to a target.
type loopUpstream struct {
	loop   *loop // nil: none
	slot   int
	client *client // whose answer is waited for
}

// lane returns the lane of the target's idle connections that this one belongs to.
func (u *loopUpstream) lane() int {
	if u.loop == nil {
		return 0
	}
	return u.loop.lane
}

// park gives a client that nothing is under way on back to its loop. It reports
// false where there is none.
func (e *Engine) park(c *client) bool {
	l := c.loop
	if l == nil || c.raw != nil || !c.empty() || e.draining.Load() {
		return false
	}
	if c.w != nil {
		c.release()
	}
	c.due = c.since + e.settings.Load().KeepAlive
	due := c.due // as soon as it is back, c is the loop's
	if !l.back(c) {
		return false
	}
	l.wakeBy(due)
	return true
}

// back takes a client back that was away, and has the kernel tell again what is
// there. The lock keeps the loop from taking what it is told for somebody's who is
// away.
func (l *loop) back(c *client) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	op := syscall.EPOLL_CTL_ADD
	if c.watched {
		op = syscall.EPOLL_CTL_MOD
	}
	if l.control(op, c.fd, c.slot) != nil {
		return false
	}
	c.watched = true
	c.away.Store(false)
	return true
}

// moveOut ends a client's stay at its loop. The connection goes on.
func (c *client) moveOut() {
	if c.loop != nil {
		if c.watched {
			_ = c.loop.control(syscall.EPOLL_CTL_DEL, c.fd, 0)
		}
		c.vacate()
	}
}

// vacate is moveOut for a connection that is about to be closed, which ends its
// being watched.
func (c *client) vacate() {
	if c.loop != nil {
		c.loop.leave(c.slot)
		c.loop = nil
	}
}

// settle has Go's poller know the connection, which the loop waits for no more.
func (u *upstreamConn) settle() error {
	bare, ok := u.Conn.(bareConn)
	if !ok || u.raw != nil {
		return nil
	}
	if u.loop != nil {
		_ = u.loop.control(syscall.EPOLL_CTL_DEL, int(bare.descriptor()), 0)
		u.vacate()
	}
	var err error
	u.raw, err = bare.SyscallConn()
	return err
}

func (u *upstreamConn) vacate() {
	if u.loop != nil {
		u.loop.leave(u.slot)
		u.loop = nil
	}
}

// Close closes the connection, which nobody uses, or its owner gives up.
func (u *upstreamConn) Close() error {
	u.vacate()
	return u.socket.Close()
}

// adopt has the loop of a client watch a connection that was made for it, and
// returns what that is from then on.
func (e *Engine) adopt(c *client, u *upstreamConn) *upstreamConn {
	l := c.loop
	if l == nil || u.loop != nil || u.raw == nil {
		return u
	}
	remote, ok := u.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return u
	}
	fd, err := duplicate(u.raw)
	if err != nil {
		return u
	}
	bare := &conn{fd: uintptr(fd), local: u.LocalAddr(), remote: remote.AddrPort()}
	moved := newUpstreamConn(newSocket(bare), u.target)
	if l.enter(slot{u: moved}, fd) != nil {
		moved.loop = nil
		_ = moved.Close()
		return u
	}
	_ = u.Close()
	return moved
}
