package engine

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"minicloud.internal/lb/http1"
)

// A framing is how the client learns where a body ends.
type framing int

const (
	noFraming      framing = iota // there is no body, and no length of one
	lengthFraming                 // Content-Length
	chunkedFraming                // Transfer-Encoding: chunked
	closeFraming                  // the end of the connection
)

// relay passes the answer on, of which the first bytes are there. Once the
// client has got a part of it, x.started is true. reusable says whether the
// target's connection can carry another request.
func (c *client) relay(u *upstreamConn, p *pump) (reusable bool, err error) {
	w := c.w
	res, x := &w.res, &w.x
	for {
		if err := c.readHead(u); err != nil {
			return false, err
		}
		if res.Status == 101 {
			if res.Upgrade == nil || !isOffered(w.req.Upgrade, res.Upgrade) {
				return false, errSwitched
			}
			return false, c.tunnel(u)
		}
		if res.Status >= 200 {
			break
		}
		if w.req.Minor == 0 {
			continue // RFC 9110, section 15.2
		}
		x.started = true
		b := c.appendInterim(w.out[len(w.out):])
		if err := c.write(b, x.route.BodyIdleTimeout); err != nil {
			return false, clientError{err}
		}
	}
	return c.pass(u, p)
}

// pass passes on the answer whose head was read.
func (c *client) pass(u *upstreamConn, p *pump) (reusable bool, err error) {
	w := c.w
	res, x := &w.res, &w.x
	x.at = now()
	x.firstByte = x.at
	if p.answered() || c.e.draining.Load() {
		x.keep = false
	}
	x.status = res.Status
	kind, length := res.Framing(w.req.Head)
	f := noFraming
	switch {
	case res.ContentLength >= 0 && res.Status != 204:
		f = lengthFraming
	case kind == http1.None && !res.Chunked:
	case w.req.Minor == 1:
		f = chunkedFraming
	case kind != http1.None:
		f = closeFraming
		x.keep = false
	}
	// Nothing is tried again from here on, so what was sent can make room.
	w.out = c.appendResponse(w.out[:0], f)
	x.started = true
	switch kind {
	case http1.None:
		err = c.writeBoth(u, 0)
	case http1.Length:
		err = c.relayLength(u, length)
	case http1.ChunkedBody:
		err = c.relayChunked(u, f)
	case http1.UntilClose:
		return false, c.relayUntilClose(u, f)
	}
	return err == nil && res.KeepAlive && u.r == u.w, err
}

// readHead reads the head of the next answer, of which a part may be there.
func (c *client) readHead(u *upstreamConn) error {
	w := c.w
	limits := w.x.s.Limits
	limits.Head = min(limits.Head, bodySize)
	for {
		if u.r < u.w {
			n, err := w.res.Parse(u.in.b[u.r:u.w], &limits)
			if err != nil {
				return err
			}
			if n > 0 {
				u.r += n
				return nil
			}
		}
		if w.x.body != nil {
			if err := u.read(); err != nil {
				return tooEarly(err)
			}
		} else if err := u.fill(w.x.route.ResponseHeaderTimeout); err != nil {
			return tooEarly(err)
		}
	}
}

// isOffered reports whether a protocol is one of those that a client would switch
// to.
func isOffered(offered, protocol []byte) bool {
	for len(offered) > 0 {
		var one []byte
		one, offered, _ = bytes.Cut(offered, []byte(","))
		if bytes.EqualFold(bytes.TrimSpace(one), protocol) {
			return true
		}
	}
	return false
}

var errSwitched = errors.New("the target switches protocols without having been asked to")

// writeBoth writes the head in w.out and the next n bytes of what was read, in
// one write.
func (c *client) writeBoth(u *upstreamConn, n int) error {
	w := c.w
	from := u.r
	u.r += n
	w.x.out += int64(n)
	return c.writeAt(u, from, u.r)
}

// writeAt writes w.out and u.in.b[from:to]. The head goes where that of the
// target was, and the room before it.
func (c *client) writeAt(u *upstreamConn, from, to int) error {
	w := c.w
	var err error
	if head := len(w.out); head > from {
		if err = c.write(w.out, w.x.route.BodyIdleTimeout); err == nil && to > from {
			err = c.write(u.in.b[from:to], w.x.route.BodyIdleTimeout)
		}
	} else {
		copy(u.in.b[from-head:], w.out)
		err = c.write(u.in.b[from-head:to], w.x.route.BodyIdleTimeout)
	}
	w.out = w.out[:0]
	if err != nil {
		return clientError{err}
	}
	return nil
}

// relayLength passes on a body whose length is known.
func (c *client) relayLength(u *upstreamConn, length int64) error {
	for idle := c.w.x.route.BodyIdleTimeout; ; {
		n := int(min(length, int64(u.w-u.r)))
		if err := c.writeBoth(u, n); err != nil {
			return err
		}
		if length -= int64(n); length == 0 {
			return nil
		}
		if err := u.fill(idle); err != nil {
			return tooEarly(err)
		}
	}
}

// relayChunked takes the chunked coding off a body and puts the client's on, one
// chunk for what was read at once. What the target had between the data goes no
// further.
func (c *client) relayChunked(u *upstreamConn, f framing) error {
	w := c.w
	w.chunks.Reset(maxTrailer)
	for {
		data, used, done, err := w.chunks.Decode(u.in.b[u.r:u.w])
		if err != nil {
			return err.Upstream()
		}
		var trailers []http1.Field
		if done && f == chunkedFraming && !w.res.DropTrailers() {
			trailers = w.chunks.Trailers()
		}
		from := u.r
		u.r += used
		if err := c.writeChunk(u, from, data, f, done && len(trailers) == 0); err != nil {
			return err
		}
		if len(trailers) > 0 {
			w.out = appendTrailers(w.out, trailers)
			return c.flush()
		}
		if done {
			return nil
		}
		if err := u.fill(w.x.route.BodyIdleTimeout); err != nil {
			return tooEarly(err)
		}
	}
}

// maxTrailer bounds a trailer section, in bytes.
const maxTrailer = 8 << 10

// writeChunk writes n bytes of a body at u.in.b[from:], with the head if that is
// still to come, and, where last, the end of the body. What the target had behind
// the data was at least as long as what is put there.
func (c *client) writeChunk(u *upstreamConn, from, n int, f framing, last bool) error {
	w := c.w
	w.x.out += int64(n)
	to := from + n
	switch {
	case f == chunkedFraming && n > 0:
		w.out = http1.AppendChunkSize(w.out, n)
		to += copy(u.in.b[to:], "\r\n")
		if last {
			to += copy(u.in.b[to:], lastChunk)
		}
	case f == chunkedFraming && last:
		w.out = append(w.out, lastChunk...)
	}
	if len(w.out) == 0 && to == from {
		return nil
	}
	return c.writeAt(u, from, to)
}

const lastChunk = "0\r\n\r\n"

// flush writes w.out.
func (c *client) flush() error {
	err := c.write(c.w.out, c.w.x.route.BodyIdleTimeout)
	c.w.out = c.w.out[:0]
	if err != nil {
		return clientError{err}
	}
	return nil
}

// relayUntilClose passes on a body that ends with the connection. A client of
// HTTP/1.1 gets it in chunks, so that it can tell its end from a fault.
func (c *client) relayUntilClose(u *upstreamConn, f framing) error {
	w := c.w
	for {
		from, n := u.r, u.w-u.r
		u.r = u.w
		if err := c.writeChunk(u, from, n, f, false); err != nil {
			return err
		}
		switch err := u.fill(w.x.route.BodyIdleTimeout); {
		case err == io.EOF && f == chunkedFraming:
			w.out = append(w.out, lastChunk...)
			return c.flush()
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// appendInterim appends an answer that is not the last.
func (c *client) appendInterim(b []byte) []byte {
	res := &c.w.res
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(res.Status), 10)
	b = append(b, ' ')
	b = append(b, res.Reason...)
	b = append(b, "\r\n"...)
	for i := range res.Fields {
		f := &res.Fields[i]
		if !f.Hop && f.Kind != http1.ContentLength && f.Kind != http1.TransferEncoding {
			b = appendField(b, string(f.Name), f.Value)
		}
	}
	return append(b, "\r\n"...)
}
