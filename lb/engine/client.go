package engine

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"minicloud.internal/lb/http1"
	"minicloud.internal/lb/upstream"
)

// The states of a client connection, for a drain.
const (
	idle     int32 = iota // waits for a request
	active                // serves one, or has a part of its head
	inTunnel              // is a tunnel
	ended                 // is being closed
)

// A client is one client connection. Either an event loop serves it, or a goroutine,
// in [client.serve]; others may only change state and kill it.
//
// # Two ways of reading
//
// A request whose head and body arrive in one read is served from within the
// callback of the connection's [syscall.RawConn], which calls it when there is
// something to read, and only then. So a connection that waits holds no buffer,
// and once it has been seen to be reused, it does not try to read in vain after
// each answer: the poller remembers an event that comes while the callback runs.
// What the poller merges is the end of the stream with the bytes before it;
// therefore a connection that was not probed for its end is looked at again
// after [lookAgain].
//
// Everything else (a body that is still to come, an upgrade) leaves the callback
// and reads the plain way, because there a read can wait in the middle.
type client struct {
	socket
	e      *Engine
	bare   bareConn // nil where the poller knew the connection from the beginning
	remote netip.Addr
	ready  func(fd uintptr) bool // c.readable, bound once
	state  atomic.Int32
	up     atomic.Pointer[upstreamConn] // that the request is given to
	halted atomic.Bool                  // a body is to be read no further

	w      *work // nil while nothing is under way, or a loop waits for an answer
	fd     int   // within the callback, and before the poller knows it; otherwise -1
	served int   // requests so far
	step   step
	since  time.Duration // when it became idle, or when the head began
	blind  bool          // waits without having been probed for its end

	loopClient
	looped bool   // which is serving it
	unsent []byte // what the loop could not write
	held   bool   // what it wrote last may wait for the end of the stream
	from   stage  // where its goroutine takes over
	failed error  // how the wait for an answer has ended, at that stage
}

// A stage is where a goroutine takes over a connection.
type stage int

const (
	accepted  stage = iota // nothing was read yet
	read                   // something was
	entered                // the request is prepared, and its pool chosen
	attempted              // a target was chosen
	asked                  // c.up has the request, and perhaps answered in part
	answered               // a part of the answer is still to be written
	given                  // nothing more is to be done
)

// lookAgain is how long the end of a stream may go unseen that came together
// with the last request on a reused connection.
const lookAgain = time.Second

// A step is what a connection does next.
type step int

const (
	await step = iota // wait for bytes
	serve             // a parsed request is to be served the plain way
	stop              // close
)

// work is what a connection holds while a request is under way.
type work struct {
	in       []byte // what was read of the client; in[r:w] is still to be parsed
	r, w     int
	unparsed int // of in[r:w], what an incomplete head was last parsed with
	out      []byte
	req      http1.Request
	res      http1.Response
	chunks   http1.Decoder // of the answer
	x        exchange
	scratch  [256]byte // for the normal form of the path
}

var works = sync.Pool{New: func() any {
	return &work{in: make([]byte, inSize), out: make([]byte, 0, outSize)}
}}

func newClient(e *Engine, conn net.Conn) *client {
	c := &client{socket: newSocket(conn), e: e, fd: -1, since: now()}
	c.ready = c.readable
	c.bare, _ = conn.(bareConn)
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = a.AddrPort().Addr().Unmap()
	}
	return c
}

// A bareConn is a connection that the poller learns of only when it has to wait.
type bareConn interface {
	net.Conn
	syscall.Conn // has it known
	descriptor() uintptr
	interrupt()
}

// serve serves the connection until its end, or until an event loop waits for its
// next request. It reports whether it has ended.
func (c *client) serve() (over bool) {
	c.takeOver()
	for {
		switch c.step {
		case await:
			if c.e.park(c) {
				return false
			}
			if c.settle(); c.step == await {
				c.await()
			}
		case serve:
			c.settle()
			c.step = c.exchange()
			if c.step == await {
				c.step = c.parse()
			}
		case stop:
			c.finish()
			return true
		}
	}
}

// takeOver does what is to be done first, by the stage that was reached.
func (c *client) takeOver() {
	from := c.from
	c.from = accepted
	switch from {
	case accepted:
		return
	case read:
		if c.settle(); c.step != stop {
			c.step = c.parse()
		}
		return
	case answered:
		if err := c.flushUnsent(); err != nil {
			c.cut(clientError{err})
		}
		c.w.x.at = now()
	case given:
		c.step = stop
		return
	case entered:
		c.give()
	case attempted:
		if !c.judge(c.attempt(c.w.x.target)) {
			c.give()
		}
	case asked:
		if !c.judge(c.goOn(c.up.Load())) {
			c.give()
		}
	}
	if c.step = c.end(); c.step == await {
		c.step = c.parse()
	}
}

// goOn goes on with an attempt that a loop has begun.
func (c *client) goOn(u *upstreamConn) (upstream.Outcome, error) {
	x := &c.w.x
	err := c.failed
	c.failed = nil
	if err == nil {
		err = u.settle()
	}
	if err == nil && len(u.pending) > 0 {
		err = u.ask(c, u.pending, x.at, x.route.BodyIdleTimeout, x.route.ResponseHeaderTimeout)
	}
	o, err := c.conclude(u, nil, err)
	return c.again(x.target, o, err)
}

// flushUnsent writes what a loop could not.
func (c *client) flushUnsent() error {
	p := c.unsent
	c.unsent = nil
	if c.settle(); c.raw == nil {
		return net.ErrClosed
	}
	_, err := c.writeAll(p, orDefault(&c.w.x))
	return err
}

// settle has the poller know a connection that it does not know yet. Then it is
// its goroutine's until its end.
func (c *client) settle() {
	if c.raw != nil || c.bare == nil {
		return
	}
	c.moveOut()
	var err error
	if c.raw, err = c.bare.SyscallConn(); err != nil {
		c.step = stop
	}
	// From now on others may close it, and only the callback holds it.
	c.fd = -1
}

// finish closes the connection, and gives its buffers back. If the client has
// not finished sending, it gets the time to read the answer: closing with
// unread bytes would reset the connection, and the answer could be lost with it
// (RFC 9112, section 9.6).
func (c *client) finish() {
	c.state.Store(ended)
	if w := c.w; w != nil {
		if w.x.linger {
			c.linger()
		}
		c.release()
	}
	c.close()
}

// close closes the connection, which nothing is under way on.
func (c *client) close() {
	c.state.Store(ended)
	c.vacate()
	_ = c.Close()
}

const (
	lingerBytes = 256 << 10
	lingerTime  = 500 * time.Millisecond
)

func (c *client) linger() {
	if c.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	for left := lingerBytes; left > 0; {
		n, err := c.Read(c.w.in)
		if left -= n; err != nil {
			return
		}
	}
}

// endIfIdle closes a connection that waits for a request.
func (c *client) endIfIdle() {
	if c.state.CompareAndSwap(idle, ended) {
		c.interrupt()
	}
}

// kill cuts off whatever the connection does.
func (c *client) kill() {
	c.state.Store(ended) // first: nothing is tried again
	if u := c.up.Load(); u != nil {
		u.interrupt()
	}
	// Last: within the callback this waits until the request has ended, since
	// the callback holds the descriptor.
	c.interrupt()
}

func (c *client) acquire() {
	if c.w == nil {
		c.w = works.Get().(*work)
	}
}

// release gives the buffers back.
func (c *client) release() {
	c.w.recycle()
	c.w = nil
}

func (w *work) recycle() {
	if len(w.in) > inSize { // a rare head; the pool holds one size
		w.in = make([]byte, inSize)
	}
	if cap(w.out) > 4*outSize {
		w.out = make([]byte, 0, outSize)
	}
	w.r, w.w, w.unparsed = 0, 0, 0
	w.x = exchange{ids: w.x.ids}
	works.Put(w)
}

// empty reports whether everything that was read has been served.
func (c *client) empty() bool { return c.w == nil || c.w.r == c.w.w }

// await waits for bytes and serves what can be served at once.
func (c *client) await() {
	s := c.e.settings.Load()
	c.arm(s, now())
	var err error
	if c.raw != nil {
		err = c.raw.Read(c.ready)
		c.fd = -1
	} else {
		err = c.readPlain()
	}
	if err == nil || c.step != await {
		return
	}
	if !isTimeout(err) || c.e.draining.Load() {
		c.step = stop
		return
	}
	switch waited := now() - c.since; {
	case !c.empty() && waited >= s.RequestHead:
		c.refuse(errHeadLate)
		c.step = stop
	case c.empty() && waited >= s.KeepAlive:
		c.step = stop
	}
	c.blind = false
}

// arm sets the deadline of the next wait: for the head of a request that has
// begun, for a look at a connection that was not probed, for the next request.
func (c *client) arm(s *Settings, t time.Duration) {
	switch {
	case !c.empty():
		c.readBy = c.since + s.RequestHead
		_ = c.SetReadDeadline(epoch.Add(c.readBy))
	case c.blind:
		c.readWithin(t, min(lookAgain, s.KeepAlive))
	default:
		c.readWithin(t, s.KeepAlive-min(t-c.since, s.KeepAlive-1))
	}
}

// readPlain is [client.readable] for a connection that is no plain TCP.
func (c *client) readPlain() error {
	c.acquire()
	n, err := c.Read(c.w.in[c.w.w:])
	if n > 0 {
		c.took(n)
		return nil
	}
	if c.empty() {
		c.release()
	}
	return err
}

// readable is called when there may be something to read. It returns true to
// leave the callback, and false to wait for more.
func (c *client) readable(fd uintptr) bool {
	for c.fd = int(fd); ; {
		c.acquire()
		room := len(c.w.in) - c.w.w
		n, err := readFD(fd, c.w.in[c.w.w:])
		if err != nil {
			if c.empty() {
				c.release()
			}
			if err != syscall.EAGAIN {
				c.step = stop
				return true
			}
			c.blind = false
			c.arm(c.e.settings.Load(), now())
			return false
		}
		if c.took(n); c.step != await {
			return true
		}
		if c.empty() && n < room && c.served > 1 {
			c.release()
			c.blind = true
			c.arm(c.e.settings.Load(), c.since)
			return false
		}
	}
}

// took takes in n bytes, and serves what they complete.
func (c *client) took(n int) {
	if c.empty() {
		if !c.state.CompareAndSwap(idle, active) {
			c.step = stop // a drain was faster
			return
		}
		c.since = now()
	}
	c.w.w += n
	c.step = c.parse()
}

// parse serves the requests that are complete, one after the other, for as long
// as that can be done within the callback. What remains is less than a head.
func (c *client) parse() step {
	s := c.e.settings.Load()
	for w := c.w; ; {
		if w.r == w.w {
			w.r, w.w, w.unparsed = 0, 0, 0
			if !c.state.CompareAndSwap(active, idle) || c.e.draining.Load() {
				return stop
			}
			return await
		}
		if w.unparsed > 0 && !s.Limits.Due(w.in[w.r:w.w], w.unparsed) {
			return c.makeRoom(s)
		}
		n, err := w.req.Parse(w.in[w.r:w.w], &s.Limits)
		if err != nil {
			c.refuse(err)
			return stop
		}
		if n == 0 {
			w.unparsed = w.w - w.r
			return c.makeRoom(s)
		}
		w.r += n
		w.unparsed = 0
		c.served++
		if c.fd >= 0 && !c.atHand() {
			return serve
		}
		if next := c.exchange(); next != await {
			return next
		}
	}
}

// atHand reports whether the request needs no more reading.
func (c *client) atHand() bool {
	r := &c.w.req
	return !r.Chunked && r.ContentLength <= int64(c.w.w-c.w.r) && r.Upgrade == nil
}

// makeRoom lets a head that is not complete grow, up to its limit.
func (c *client) makeRoom(s *Settings) step {
	w := c.w
	if w.r > 0 {
		w.w = copy(w.in, w.in[w.r:w.w])
		w.r = 0
	}
	if w.w == len(w.in) {
		w.in = slices.Grow(w.in, min(s.Limits.Head+1, 2*len(w.in)))
		w.in = w.in[:cap(w.in)]
	}
	return await
}

// isReset reports whether the client has reset its connection. One that has only
// ended its sending may still wait for its answer.
func (c *client) isReset() bool {
	switch {
	case c.fd >= 0:
		return resetFD(uintptr(c.fd))
	case c.raw == nil:
		return false
	}
	reset := false
	err := c.raw.Control(func(fd uintptr) { reset = resetFD(fd) })
	return reset || err != nil
}

// write writes to the client.
func (c *client) write(p []byte, idle time.Duration) error {
	if len(c.unsent) > 0 {
		c.unsent = append(c.unsent, p...)
		return nil
	}
	if c.fd >= 0 {
		var flags uintptr
		if c.held = c.looped && !c.w.x.keep; c.held {
			flags = more
		}
		n, err := writeFD(uintptr(c.fd), p, flags)
		if err != nil {
			return err
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		if c.looped {
			c.unsent = append(c.unsent, p...)
			return nil
		}
		c.settle()
	}
	_, err := c.writeAll(p, idle)
	return err
}

// readBody reads bytes of a request's body, those first that were read with its
// head.
func (c *client) readBody(p []byte, idle time.Duration) (int, error) {
	w := c.w
	if w.r < w.w {
		n := copy(p, w.in[w.r:w.w])
		w.r += n
		return n, nil
	}
	c.readWithin(now(), idle)
	if c.halted.Load() { // whoever halts moves the deadline after that
		return 0, errStopped
	}
	n, err := c.Read(p)
	if n == 0 && err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
