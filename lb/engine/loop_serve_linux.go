//go:build linux && !386 && !s390x

package engine

import (
	"syscall"
	"time"

	"minicloud.internal/lb/http1"
	"minicloud.internal/lb/upstream"
)

// A waiting is what is kept of a request while its answer is waited for.
type waiting struct {
	x     exchange
	raw   []byte // head and body as they came
	due   time.Duration
	minor int
	head  bool
}

// stir looks after a client that something has happened to.
func (l *loop) stir(c *client, bits uint32) {
	switch {
	case c.away.Load():
	case c.waits == nil:
		l.read(c, bits)
	case bits&(syscall.EPOLLHUP|syscall.EPOLLERR) != 0 && resetFD(uintptr(c.fd)):
		l.handOver(c, refusal(400, ClientAborted, "The client has gone away."))
	default:
		c.stirred = true
	}
}

// read serves what a client has sent.
func (l *loop) read(c *client, bits uint32) {
	for w := l.w; ; w = l.w {
		n, err := readFD(uintptr(c.fd), w.in)
		if err == syscall.EAGAIN {
			l.watch(c)
			return
		}
		if err != nil || !c.state.CompareAndSwap(idle, active) {
			l.end(c)
			return
		}
		c.w, c.since, c.step = w, now(), await
		w.r, w.w, w.unparsed = 0, n, 0
		// The end may have come with it, and is not told again.
		c.stirred = bits&over != 0
		if !l.request(c) || !c.stirred {
			return
		}
	}
}

// watch has the kernel tell of a client that is to be waited for: this loop, or, where
// nothing is under way, one that has fewer clients. It reports whether it is this one.
func (l *loop) watch(c *client) bool {
	switch {
	case c.watched:
		return true
	case c.waits == nil && l.even(c):
		return false
	}
	if c.watched = l.control(syscall.EPOLL_CTL_ADD, c.fd, c.slot) == nil; !c.watched && c.waits == nil {
		c.vacate()
		return l.hand(c, accepted)
	}
	return true
}

// request serves what was read. It reports whether the client waits for nothing
// now.
func (l *loop) request(c *client) bool {
	w := l.w
	n, err := w.req.Parse(w.in[:w.w], &l.e.settings.Load().Limits)
	if err != nil || n == 0 || w.w == len(w.in) {
		return l.hand(c, read)
	}
	w.r = n
	if !c.atHand() || int64(w.w-w.r) > max(0, w.req.ContentLength) {
		w.r = 0
		return l.hand(c, read)
	}
	c.served++
	c.looped = true
	c.begin()
	if !c.prepare() {
		return l.done(c)
	}
	c.choose()
	x := &w.x
	t := x.pool.TryEnter(&x.walk)
	if t == nil {
		return l.hand(c, entered)
	}
	c.enter(t)
	u := l.pop(t)
	if u == nil {
		return l.hand(c, attempted)
	}
	l.e.UpstreamReused.Add(1)
	u.used = true
	if c.failed = c.claim(u); c.failed != nil {
		return l.hand(c, asked)
	}
	n, c.failed = u.send(w.out)
	if c.failed != nil || n < len(w.out) {
		return l.hand(c, asked)
	}
	l.await(c, u)
	return false
}

// pop returns a kept connection that is sound, or nil.
func (l *loop) pop(t *upstream.Target) *upstreamConn {
	for {
		idle, _ := t.Idle.Pop(l.lane, epoch.Add(l.w.x.at))
		if idle == nil {
			return nil
		}
		u := idle.(*upstreamConn)
		if quietFD(u.Conn.(bareConn).descriptor()) {
			return u
		}
		_ = u.Close()
	}
}

// sift closes an idle connection unless it is sound. It takes it first, for as long
// as it is idle others may close it.
func (l *loop) sift(u *upstreamConn) {
	if t := u.target; t.Idle.Take(l.lane, u) && (!quietFD(u.Conn.(bareConn).descriptor()) || !t.Idle.Push(l.lane, u, time.Now())) {
		_ = u.Close()
	}
}

// send sends the request; what did not fit is pending.
func (u *upstreamConn) send(p []byte) (int, error) {
	n, err := writeFD(u.Conn.(bareConn).descriptor(), p, 0)
	u.sent = n > 0
	u.pending = p[n:]
	return n, err
}

// await has a request wait for its answer.
func (l *loop) await(c *client, u *upstreamConn) {
	w := l.w
	var p *waiting
	if n := len(l.spare); n > 0 {
		p, l.spare = l.spare[n-1], l.spare[:n-1]
	} else {
		p = &waiting{}
	}
	p.x = w.x
	p.raw = append(p.raw[:0], w.in[:w.w]...)
	p.minor, p.head = w.req.Minor, w.req.Head
	c.waits, u.client = p, c
	c.w, c.looped = nil, false
	p.due = w.x.at + w.x.route.ResponseHeaderTimeout
	if c.due = p.due; !c.watched {
		// Most are gone before it is worth while to be told of them.
		c.due = min(p.due, w.x.at+lookAhead)
	}
	l.wakeBy(c.due)
}

// resume goes on with a request. Where it may have to be given to another target,
// it is wanted whole.
func (l *loop) resume(c *client, whole bool) {
	w, p := l.w, c.waits
	c.w, c.waits, c.looped = w, nil, true
	w.x = p.x
	x := &w.x
	w.r, w.w, w.unparsed = 0, 0, 0
	if whole || x.named || x.recorder != nil {
		w.w = copy(w.in, p.raw)
		w.r, _ = w.req.Parse(w.in[:w.w], &http1.Limits{Line: w.w, Head: w.w, Fields: w.w})
	} else {
		w.req.Minor, w.req.Head, w.req.Upgrade = p.minor, p.head, nil
	}
	// It was a part of the buffers of then, which may be another client's by now.
	if x.requestID = x.ids[:32]; x.named {
		x.requestID = w.req.Get(http1.XRequestID)
	}
	if whole {
		c.compose()
	}
	w.r = w.w
	p.x = exchange{}
	if cap(p.raw) > 2*outSize {
		p.raw = nil
	}
	l.spare = append(l.spare, p)
}

// receive takes in what a target has sent.
func (l *loop) receive(u *upstreamConn, bits uint32) {
	c := u.client
	if c == nil {
		l.sift(u)
		return
	}
	in := l.answer
	n, err := readFD(u.Conn.(bareConn).descriptor(), in.b[headroom:len(in.b)-tailroom])
	if err == syscall.EAGAIN {
		return
	}
	if err != nil {
		l.handOver(c, err)
		return
	}
	p := c.waits
	u.in, u.r, u.w = in, headroom, headroom+n
	if !l.isWhole(u, p) {
		u.in = bodies.get()
		u.reads++
		copy(u.in.b[u.r:u.w], in.b[u.r:u.w])
		l.handOver(c, nil)
		return
	}
	u.client = nil
	l.resume(c, false)
	reusable, err := c.pass(u, nil)
	u.in = nil // it is the loop's
	o := upstream.Outcome{Connected: true, Reused: u.used, Sent: true}
	c.judge(c.part(u, nil, o, reusable && bits&over == 0, err))
	if l.done(c) && c.stirred {
		l.read(c, over) // whatever it was: to the end of what there is
	}
}

// isWhole parses the head of an answer, and reports whether all of the answer is
// there.
func (l *loop) isWhole(u *upstreamConn, p *waiting) bool {
	res := &l.w.res
	limits := p.x.s.Limits
	limits.Head = min(limits.Head, bodySize)
	n, err := res.Parse(u.in.b[u.r:u.w], &limits)
	if err != nil || n == 0 || res.Status < 200 {
		return false
	}
	rest := u.in.b[u.r+n : u.w]
	switch kind, length := res.Framing(p.head); {
	case kind == http1.None:
	case kind == http1.Length && length <= int64(len(rest)):
	case kind == http1.ChunkedBody:
		chunks := &l.w.chunks
		if chunks.Reset(maxTrailer); !chunks.IsWhole(rest) {
			return false
		}
	default:
		return false
	}
	u.r += n
	return true
}

// handOver gives a request whose answer was waited for to a goroutine. err is how the
// wait has ended, where no answer has begun.
func (l *loop) handOver(c *client, err error) {
	c.up.Load().client = nil
	l.resume(c, true)
	c.failed = err
	l.hand(c, asked)
}

// done ends an exchange that the loop has served. It reports whether the client
// waits for nothing now.
func (l *loop) done(c *client) bool {
	if len(c.unsent) > 0 {
		return l.hand(c, answered)
	}
	c.step = c.end()
	c.looped = false
	if c.step == await && (!c.state.CompareAndSwap(active, idle) || l.e.draining.Load()) {
		c.step = stop
	}
	if c.step == stop {
		if l.w.x.linger {
			return l.hand(c, given)
		}
		c.w = nil
		if c.held {
			_ = c.CloseWrite() // closing alone would drop it where the client has sent more
		}
		l.end(c)
		return false
	}
	c.w = nil
	c.due = c.since + l.e.settings.Load().KeepAlive
	l.wakeBy(c.due)
	return l.watch(c)
}

// end closes a connection that nothing is under way on.
func (l *loop) end(c *client) {
	c.away.Store(true)
	c.close()
	l.e.forget(c)
}

// hand hands a connection to a goroutine, and with it what the loop holds for it.
// It returns false: the client does not wait for the loop now.
func (l *loop) hand(c *client, from stage) bool {
	c.away.Store(true)
	c.from, c.looped = from, false
	if c.w != nil {
		l.w = works.Get().(*work)
	}
	l.e.run(c)
	return false
}
