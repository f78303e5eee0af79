package engine

import (
	"context"
	"syscall"
	"time"

	"minicloud.internal/lb/upstream"
)

// lookAhead is how often a wait for an answer looks at the connection by itself.
// What the poller saw before the wait began is not told again; see
// [client.readable].
const lookAhead = time.Second

// An upstreamConn is a connection to a target. It belongs to one request, or to
// the target's idle ones.
type upstreamConn struct {
	socket
	target *upstream.Target
	ready  func(fd uintptr) bool // u.readable, bound once
	look   func(fd uintptr)      // sets still
	still  bool
	used   bool // has carried a request before
	quick  int  // answers in a row that came in one read
	loopUpstream

	// Of the request under way.
	pending []byte // still to be sent
	sent    bool   // a byte of the request went out
	reads   int    // that brought something
	in      *buffer
	r, w    int // in.b[r:w] is still to be parsed
	failed  error
}

// connect returns a connection to a target, which Go's poller knows: an idle one that
// is sound, otherwise, or where fresh is asked for, a new one.
func (c *client) connect(t *upstream.Target, fresh bool) (*upstreamConn, error) {
	for !fresh {
		idle := c.idleConn(t)
		if idle == nil {
			break
		}
		u := idle.(*upstreamConn)
		if u.settle() == nil && u.quiet() {
			c.e.UpstreamReused.Add(1)
			u.used = true
			return u, nil
		}
		_ = u.Close()
	}
	s := c.w.x.s
	ctx, cancel := context.WithTimeout(context.Background(), s.DialTimeout)
	defer cancel()
	x := &c.w.x
	before := x.at
	conn, err := s.Dial(ctx, "tcp", t.Address())
	x.at = now()
	x.connecting += x.at - before
	if err != nil {
		return nil, err
	}
	c.e.UpstreamOpened.Add(1)
	u := newUpstreamConn(newSocket(conn), t)
	u.quick = quickEnough - 1 // until it is seen to be otherwise
	return u, nil
}

func newUpstreamConn(s socket, t *upstream.Target) *upstreamConn {
	u := &upstreamConn{socket: s, target: t}
	u.ready = u.readable
	u.look = func(fd uintptr) { u.still = quietFD(fd) }
	return u
}

// idleConn takes a connection that no event loop has, or, where the target is to have
// few, one of a loop's.
func (c *client) idleConn(t *upstream.Target) upstream.Closer {
	at := epoch.Add(c.w.x.at)
	idle, _ := t.Idle.Pop(0, at)
	if idle == nil && t.Sparing() {
		idle = t.Idle.PopAny(at)
	}
	return idle
}

// quiet reports whether a connection that was idle is as it should be: open,
// with nothing to read. Bytes that nobody asked for would be taken for the answer
// to the next request.
func (u *upstreamConn) quiet() bool {
	return u.raw == nil || u.raw.Control(u.look) == nil && u.still
}

// quickEnough is how many answers in a row have to come in one read for a
// connection to move to an event loop, once an answer of another kind has had it
// leave one. A new connection moves after its first answer, if that is such.
const quickEnough = 3

// keep gives the connection to the next request, or closes it. The next request
// is one of the same event loop.
func (c *client) keep(u *upstreamConn) {
	if u.reads == 1 {
		u.quick++
	} else {
		u.quick = 0
	}
	u.drop()
	if u.quick >= quickEnough {
		u = c.e.adopt(c, u)
	}
	if !u.target.Idle.Push(u.lane(), u, epoch.Add(c.w.x.at)) {
		_ = u.Close()
	}
}

// drop gives the buffer back.
func (u *upstreamConn) drop() {
	if u.in != nil {
		bodies.put(u.in)
		u.in = nil
	}
	u.r, u.w, u.sent, u.reads, u.failed, u.pending = 0, 0, false, 0, nil, nil
}

// ask sends p, at start, and reads the first bytes of the answer. It waits at
// most idle for a byte to be sent, and at most wait for the answer, or until the
// client is seen to be gone.
func (u *upstreamConn) ask(c *client, p []byte, start, idle, wait time.Duration) error {
	u.pending = p
	if u.raw == nil {
		if err := u.flush(idle); err != nil {
			return err
		}
		return u.fill(wait)
	}
	for t := start; ; t = now() {
		u.readWithin(t, min(lookAhead, wait-min(t-start, wait-1)))
		err := u.raw.Read(u.ready)
		switch {
		case u.failed != nil:
			return u.failed
		case len(u.pending) > 0 && err == nil:
			if err := u.flush(idle); err != nil {
				return err
			}
			start = now()
		case u.w > u.r:
			return nil
		case !isTimeout(err):
			return err
		case now()-start >= wait:
			return err
		case c.isReset():
			return refusal(400, ClientAborted, "The client has gone away.")
		}
	}
}

// flush sends what is pending the plain way.
func (u *upstreamConn) flush(idle time.Duration) error {
	n, err := u.writeAll(u.pending, idle)
	u.sent = u.sent || n > 0
	u.pending = nil
	return err
}

// readable is the callback of a wait for an answer. It sends the request first:
// between the beginning of the wait and the request nothing can come, so that it
// need not try to read before it waits.
func (u *upstreamConn) readable(fd uintptr) bool {
	if len(u.pending) > 0 {
		n, err := writeFD(fd, u.pending, 0)
		u.sent = u.sent || n > 0
		u.pending = u.pending[n:]
		u.failed = err
		return err != nil || len(u.pending) > 0
	}
	u.buffer()
	n, err := readFD(fd, u.in.b[headroom:len(u.in.b)-tailroom])
	if err == syscall.EAGAIN {
		bodies.put(u.in) // nothing is held while waiting
		u.in = nil
		return false
	}
	u.w += n
	u.reads++
	u.failed = err
	return true
}

// buffer provides the buffer for an answer.
func (u *upstreamConn) buffer() {
	if u.in == nil {
		u.in = bodies.get()
		u.r, u.w = headroom, headroom
	}
}

// fill reads more, behind what is there, and waits at most idle for it. It does
// so in the steps of [upstreamConn.ask], so that the deadline need not move.
func (u *upstreamConn) fill(idle time.Duration) error {
	for start := now(); ; {
		t := now()
		u.readWithin(t, min(lookAhead, idle-min(t-start, idle-1)))
		if err := u.read(); !isTimeout(err) || now()-start >= idle {
			return err
		}
	}
}

// read reads more without a deadline of its own.
func (u *upstreamConn) read() error {
	u.buffer()
	if u.r == u.w {
		u.r, u.w = headroom, headroom
	}
	n, err := u.Read(u.in.b[u.w : len(u.in.b)-tailroom])
	u.w += n
	if n > 0 {
		u.reads++
		return nil
	}
	return err
}
