package conformance

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// large is more than the kernel holds between a client and an upstream where
// somebody does not read: its buffers grow only as they are read from.
const large = 12 << 20

var pattern = func() string {
	var b strings.Builder
	for i := 0; b.Len() < 1<<20; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.String()[:1<<20]
}()

// sendMuch sends a body of large bytes, raw or in chunks. It waits before the
// last part of it.
func (c *conn) sendMuch(chunked bool, wait func()) {
	for n := range large / len(pattern) {
		if n == large/len(pattern)-1 {
			wait()
		}
		if !chunked {
			c.send(pattern)
			continue
		}
		for part := range slices.Chunk([]byte(pattern), 100_000) {
			c.send(fmt.Sprintf("%x\r\n%s\r\n", len(part), part))
		}
	}
	if chunked {
		c.send("0\r\n\r\n")
	}
}

// getMuch reads and checks the body that sendMuch sent, in this message's framing.
func (c *conn) getMuch(m *message) {
	var r io.Reader = c.in
	if len(m.values("Transfer-Encoding")) > 0 {
		r = &chunkReader{c: c}
	}
	block := make([]byte, len(pattern))
	for at := range large / len(pattern) {
		c.hurry()
		if n, err := io.ReadFull(r, block); err != nil || string(block) != pattern {
			c.x.differs("%s gets other bytes, after %d%s", c.name, at*len(pattern)+n, and(err))
		}
	}
	if r, isChunked := r.(*chunkReader); isChunked {
		if n, err := r.Read(block[:1]); n > 0 || err != io.EOF {
			c.x.differs("%s gets more than was sent%s", c.name, and(err))
		}
		c.expect("\r\n")
	}
}

// A chunkReader takes the chunked coding off, without the trailer section.
type chunkReader struct {
	c    *conn
	left string
}

func (r *chunkReader) Read(p []byte) (int, error) {
	if r.left == "" {
		if r.left = r.c.chunk(); r.left == "" {
			return 0, io.EOF
		}
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// framing returns the field that announces a body of large bytes.
func framing(chunked bool) string {
	if chunked {
		return "Transfer-Encoding: chunked"
	}
	return fmt.Sprintf("Content-Length: %d", large)
}

func largeBodies() (rows []behaviour) {
	for _, chunked := range []bool{false, true} {
		kind := map[bool]string{false: "of known length", true: "in chunks"}[chunked]
		request := head("POST /a HTTP/1.1", "Host: example.com", framing(chunked))
		answer := head("HTTP/1.1 200 OK", framing(chunked))
		rows = append(rows,
			behaviour{name: "a large request " + kind + " passes", rfc: "9112 6", script: func(x *exchange) {
				c := x.client()
				c.send(request)
				sent := x.meanwhile(func() { c.sendMuch(chunked, func() {}) })
				u := x.next()
				m := u.requestHead()
				u.getMuch(m)
				sent()
				u.send(ok("a"))
				x.gets(c.response("POST"), 200, "a")
				x.goesOn(c)
			}},
			behaviour{name: "a large answer " + kind + " passes", rfc: "9112 6", script: func(x *exchange) {
				c := x.client()
				c.send(get("/a"))
				u := x.next()
				u.request()
				sent := x.meanwhile(func() {
					u.send(answer)
					u.sendMuch(chunked, func() {})
				})
				c.getMuch(c.responseHead())
				sent()
				x.goesOn(c)
			}},
			behaviour{name: "a large request and its answer " + kind + " pass at once", rfc: "9112 9", script: func(x *exchange) {
				c := x.client()
				c.send(request)
				sent := x.meanwhile(func() { c.sendMuch(chunked, func() {}) })
				u := x.next()
				m := u.requestHead()
				// Nobody has room for it all: each side has to be read to go on.
				received := x.meanwhile(func() { u.getMuch(m) })
				echoed := x.meanwhile(func() {
					u.send(answer)
					u.sendMuch(chunked, received)
				})
				answered := c.responseHead()
				c.getMuch(answered)
				sent()
				echoed()
				x.goesOnOrEnds(c, answered, u, "")
			}},
			behaviour{name: "an echo " + kind + " goes to and fro, part by part", rfc: "9112 9", script: func(x *exchange) {
				wrap := func(part string) string {
					if chunked {
						return fmt.Sprintf("%x\r\n%s\r\n", len(part), part)
					}
					return part
				}
				field := map[bool]string{false: "Content-Length: 15", true: "Transfer-Encoding: chunked"}[chunked]
				c := x.client()
				c.send(head("POST /a HTTP/1.1", "Host: example.com", field) + wrap("one, "))
				u := x.next()
				m := u.requestHead()
				u.data(m, "one, ")
				u.send(head("HTTP/1.1 200 OK", field) + wrap("one, "))
				answer := c.responseHead()
				c.data(answer, "one, ")
				for _, part := range []string{"two, ", "three"} {
					c.send(wrap(part))
					u.data(m, part)
					u.send(wrap(part))
					c.data(answer, part)
				}
				if chunked {
					c.send("0\r\n\r\n")
					if u.chunk() != "" {
						x.differs("the request does not end")
					}
					u.expect("\r\n")
					u.send("0\r\n\r\n")
					if c.chunk() != "" {
						x.differs("the answer does not end")
					}
					c.expect("\r\n")
				}
				x.goesOnOrEnds(c, answer, u, "")
			}})
	}
	return append(rows, earlyAnswers()...)
}

func earlyAnswers() []behaviour {
	const rfc = "9112 9.5"
	upload := head("PUT /a HTTP/1.1", "Host: example.com", "Content-Length: 10")
	return []behaviour{
		{name: "an answer may end before its request has", rfc: rfc, script: func(x *exchange) {
			c := x.client()
			c.send(upload + "hello")
			u := x.next()
			u.requestHead()
			u.expect("hello")
			u.send(ok("enough"))
			m := c.response("PUT")
			x.gets(m, 200, "enough")
			x.goesOnOrEnds(c, m, u, "world")
		}},
		{name: "an upstream that refuses a large body and closes is heard", rfc: rfc, script: func(x *exchange) {
			c := x.client()
			c.send(head("PUT /a HTTP/1.1", "Host: example.com", framing(false)))
			sent := x.meanwhile(func() { c.offer(strings.Repeat(pattern, large/len(pattern))) })
			u := x.next()
			u.requestHead()
			// What is not read makes this close a reset.
			u.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno!")
			u.close()
			x.gets(c.response("PUT"), 413, "no!")
			c.close()
			sent()
		}},
		{name: "an upstream that refuses a large body and does not read it is heard", rfc: rfc, script: func(x *exchange) {
			c := x.client()
			c.send(head("PUT /a HTTP/1.1", "Host: example.com", framing(false)))
			sent := x.meanwhile(func() { c.offer(strings.Repeat(pattern, large/len(pattern))) })
			u := x.next()
			u.requestHead()
			u.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!")
			x.gets(c.response("PUT"), 413, "no!")
			c.close()
			sent()
		}},
		{name: "a refusal of the proxy's own is heard by a client that goes on sending", rfc: "9112 9.6", script: func(x *exchange) {
			x.serve(func(*message) string { return ok("") })
			c := x.client()
			c.send(head("PUT /a HTTP/1.1", "Host: example.com", "X-A : 1", framing(false)))
			sent := x.meanwhile(func() { c.offer(pattern) })
			x.isOwn(c.response("PUT"), 400)
			sent()
		}},
		{name: "an answer that comes in pieces passes as it comes", rfc: "9112 7.1", script: func(x *exchange) {
			c := x.client()
			c.send(get("/events"))
			u := x.next()
			u.request()
			u.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
			m := c.responseHead()
			for range 3 {
				u.send("9\r\ndata: x\n\n\r\n")
				c.data(m, "data: x\n\n")
			}
			u.send("0\r\n\r\n")
			if c.chunk() != "" {
				x.differs("the answer does not end")
			}
			c.expect("\r\n")
			x.goesOn(c)
		}},
	}
}

// goesOnOrEnds is for a client whose answer began before the rest of its request
// was there. Either the answer says that the connection ends, or the client sends
// the rest, and the next request is understood.
func (x *exchange) goesOnOrEnds(c *conn, answer *message, u *conn, rest string) {
	if slices.Contains(answer.list("Connection"), "close") {
		c.ends()
		return
	}
	c.send(rest + get("/next"))
	next := x.next()
	if next == u && rest != "" {
		if b, _ := u.in.Peek(len(rest)); string(b) == rest {
			u.expect(rest)
			next = x.next()
		}
	}
	if m := next.request(); m.line != "GET /next HTTP/1.1" {
		x.differs("the next request arrives as %q", m.line)
	}
	next.send(ok("next"))
	x.gets(c.response("GET"), 200, "next")
}
