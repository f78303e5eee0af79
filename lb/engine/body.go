package engine

import (
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"minicloud.internal/lb/http1"
)

// keptBody is how much of a request's body is kept to be sent again, in bytes. What is
// larger than smallBody takes a buffer of that size.
const (
	keptBody  = 64 << 10
	smallBody = 4 << 10
)

var keeps = newBuffers(keptBody)

// A body is a request's body that is read while it is sent. It outlives an
// attempt; one goroutine at a time uses it.
type body struct {
	c       *client
	chunked bool
	left    int64 // where it is not chunked
	chunks  http1.Decoder
	limit   int64 // of total; 0: none
	total   int64 // data so far
	ended   bool  // all of it was read
	kept    []byte
	room    *buffer // where that is, once it is not small
	whole   bool    // kept is everything that was read
}

func newBody(c *client) *body {
	r, x := &c.w.req, &c.w.x
	b := &body{c: c, chunked: r.Chunked, left: r.ContentLength, limit: x.route.MaxBody, whole: true}
	b.chunks.Reset(maxTrailer)
	return b
}

// replayable reports whether the body can be sent from its beginning. A request
// without a body of that kind always can.
func (b *body) replayable() bool { return b == nil || b.whole }

// read reads data into p. The end is io.EOF; a fault is an error of the client.
func (b *body) read(p []byte) (int, error) {
	idle := b.c.w.x.route.BodyIdleTimeout
	for {
		if b.ended || !b.chunked && b.left == 0 {
			b.ended = true
			return 0, io.EOF
		}
		if !b.chunked {
			p = p[:min(int64(len(p)), b.left)]
		}
		n, err := b.c.readBody(p, idle)
		if n == 0 {
			return 0, bodyFault(err)
		}
		data := n
		if b.chunked {
			var used int
			var bad *http1.Error
			if data, used, b.ended, bad = b.chunks.Decode(p[:n]); bad != nil {
				return 0, refusal(bad.Status, Refused, bad.Reason)
			}
			b.c.unread(p[used:n])
		} else {
			b.left -= int64(n)
		}
		b.total += int64(data)
		if b.limit > 0 && b.total > b.limit {
			return 0, refusal(413, Refused, "The body is larger than this route takes.")
		}
		b.keep(p[:data])
		if data > 0 {
			return data, nil
		}
	}
}

// keep keeps what was read, if it can keep all.
func (b *body) keep(data []byte) {
	if b.whole = b.whole && len(b.kept)+len(data) <= keptBody; !b.whole {
		b.forget()
		return
	}
	if b.room == nil && len(b.kept)+len(data) > smallBody {
		b.room = keeps.get()
		b.kept = append(b.room.b[:0], b.kept...)
	}
	b.kept = append(b.kept, data...)
}

// forget gives back what is kept.
func (b *body) forget() {
	if b.kept = nil; b.room != nil {
		keeps.put(b.room)
		b.room = nil
	}
}

func bodyFault(err error) error {
	if isTimeout(err) {
		return refusal(408, ClientTimeout, "The body did not arrive in time.")
	}
	return refusal(400, ClientAborted, "The body ends before its announced end.")
}

// unread gives back bytes that were read behind a body.
func (c *client) unread(p []byte) {
	if w := c.w; len(p) > 0 {
		if len(w.in)-w.w < len(p) {
			// In another place: the head of the request under way stays as it is.
			in := make([]byte, max(inSize, 2*(w.w+len(p))))
			copy(in, w.in[:w.w])
			w.in = in
		}
		w.w += copy(w.in[w.w:], p)
	}
}

// A pump sends a request's body to a target, in a goroutine of its own, so that
// the answer can begin, and end, before the body has.
type pump struct {
	b       *body
	u       *upstreamConn
	done    chan struct{}
	stopped atomic.Bool
	allRead atomic.Bool // nothing of the body is still to be read of the client

	mu     sync.Mutex
	begun  bool  // the answer has; from then on its reader sets the deadlines
	fault  error // of the client
	failed error // of the target
}

var errStopped = errors.New("the answer came before the end of the body")

// startPump sends the request's head and begins to send its body. The deadline
// for the answer is set when all of it was sent.
func startPump(c *client, u *upstreamConn) *pump {
	p := &pump{b: c.w.x.body, u: u, done: make(chan struct{})}
	u.buffer()
	u.readNever()
	// A copy, since an answer may come before the last of the head has gone, and
	// the answer's head is made where this one is.
	go p.run(slices.Clone(c.w.out), c.w.x.route.BodyIdleTimeout, c.w.x.route.ResponseHeaderTimeout)
	return p
}

func (p *pump) run(head []byte, idle, wait time.Duration) {
	defer close(p.done)
	fault, failed := p.send(head, idle)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.failed = fault, failed
	switch {
	case fault != nil:
		_ = p.u.SetReadDeadline(late) // wakes the reader
	case !p.begun:
		_ = p.u.SetReadDeadline(time.Now().Add(wait))
	}
}

// chunkRoom is what a line with the size of a chunk takes at most.
const chunkRoom = 16

// send sends the body, that part first which an earlier attempt has read.
func (p *pump) send(head []byte, idle time.Duration) (fault, failed error) {
	if _, err := p.u.writeAll(head, idle); err != nil {
		return nil, err
	}
	b := p.b
	if len(b.kept) > 0 {
		line := b.kept
		if b.chunked {
			line = http1.AppendChunkSize(nil, len(b.kept))
			line = append(append(line, b.kept...), "\r\n"...)
		}
		if _, err := p.u.writeAll(line, idle); err != nil {
			return nil, err
		}
	}
	buf := bodies.get()
	defer bodies.put(buf)
	for {
		data := buf.b[chunkRoom : len(buf.b)-tailroom]
		n, err := p.next(data)
		from, to := chunkRoom, chunkRoom+n
		if b.chunked && n > 0 {
			size := http1.AppendChunkSize(buf.b[:0:chunkRoom], n)
			from -= len(size)
			copy(buf.b[from:], append([]byte(nil), size...))
			to += copy(buf.b[to:], "\r\n")
		}
		switch {
		case err == io.EOF && b.chunked:
			_, err := p.u.writeAll(appendTrailers(nil, p.trailers()), idle)
			return nil, err
		case err == io.EOF:
			return nil, nil
		case err != nil:
			return err, nil
		}
		if _, err := p.u.writeAll(buf.b[from:to], idle); err != nil {
			return nil, err
		}
	}
}

func (p *pump) trailers() []http1.Field {
	if p.b.c.w.req.DropTrailers() {
		return nil
	}
	return p.b.chunks.Trailers()
}

// next reads the next data of the body.
func (p *pump) next(data []byte) (int, error) {
	n, err := p.b.read(data)
	if p.b.ended || !p.b.chunked && p.b.left == 0 {
		p.allRead.Store(true)
	}
	if err != nil && err != io.EOF && p.stopped.Load() {
		return 0, errStopped
	}
	return n, err
}

// answered is called when the head of the answer has come. It reports whether
// the client is still sending: then its connection has no further use. On nil it
// reports false.
func (p *pump) answered() (unfinished bool) {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = true
	_ = p.u.SetReadDeadline(time.Time{})
	p.u.readBy = 0
	return !p.allRead.Load()
}

// stop ends the pump, and waits for it. Where the target's connection is of no
// further use, it is closed, lest a write to it block. stop reports whether the
// body was cut off.
func (p *pump) stop(u *upstreamConn, useless bool) bool {
	select {
	case <-p.done:
		return p.fault != nil || p.failed != nil
	default:
	}
	c := p.b.c
	p.stopped.Store(true)
	c.halted.Store(true)
	if useless || !p.allRead.Load() {
		_ = u.Close()
		_ = c.SetReadDeadline(late)
	}
	<-p.done
	c.halted.Store(false)
	c.readBy = -1
	return p.fault != nil || p.failed != nil
}

// failure returns what the client did wrong, or nil. The pump has ended.
func (p *pump) failure() *fault {
	var f fault
	if errors.As(p.fault, &f) {
		return &f
	}
	return nil
}
