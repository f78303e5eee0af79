package conformance

import (
	"slices"
	"strings"
)

func persistence() []behaviour {
	return append([]behaviour{
		{name: "a connection of HTTP/1.1 is kept", rfc: "9112 9.3", script: func(x *exchange) {
			c := x.client()
			x.asks(c, get("/a"), ok("a"), "a")
			x.goesOn(c)
		}},
		{name: "a client that says close is told so, and closed", rfc: "9112 9.6", script: func(x *exchange) {
			c := x.client()
			m := x.asks(c, head("GET /a HTTP/1.1", "Host: example.com", "Connection: x, CLOSE"), ok("a"), "a")
			if !slices.Contains(m.list("Connection"), "close") {
				x.differs("the answer has Connection %q", m.list("Connection"))
			}
			c.endsClean()
		}},
		{name: "what a client sends behind its close is no request", rfc: "9112 9.6", script: func(x *exchange) {
			s := x.serve(func(m *message) string { return ok(m.target) })
			c := x.client()
			c.send(head("GET /a HTTP/1.1", "Host: example.com", "Connection: close") + get("/b"))
			x.gets(c.response("GET"), 200, "/a")
			c.ends()
			x.servesNothingBut(s, "GET /a HTTP/1.1", "GET /after HTTP/1.1")
		}},
		{name: "a client's close is not the upstream's", rfc: "9112 9.6", script: func(x *exchange) {
			c := x.client()
			c.send(head("GET /a HTTP/1.1", "Host: example.com", "Connection: close"))
			u := x.next()
			if got := u.request().list("Connection"); slices.Contains(got, "close") {
				x.differs("the upstream gets Connection %q", got)
			}
			u.send(ok("a"))
			x.gets(c.response("GET"), 200, "a")
			x.isUsedAgain(u)
		}},
		{name: "a connection to the upstream serves the next client", rfc: "9112 9.3", script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			u.send(ok("a"))
			x.gets(c.response("GET"), 200, "a")
			c.close()
			x.isUsedAgain(u)
		}},
		{name: "two clients wait for no answer but their own", rfc: "9112 9.4", script: func(x *exchange) {
			first, second := x.client(), x.client()
			first.send(get("/first"))
			one := x.next()
			one.request()
			second.send(get("/second"))
			two := x.next()
			two.request()
			two.send(ok("second"))
			x.gets(second.response("GET"), 200, "second")
			one.send(ok("first"))
			x.gets(first.response("GET"), 200, "first")
		}},
		{name: "an upstream that says close is not asked again there, and its client is kept", rfc: "9112 9.6", script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			u.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na")
			m := c.response("GET")
			x.gets(m, 200, "a")
			if slices.Contains(m.list("Connection"), "close") {
				x.differs("the answer has Connection %q", m.list("Connection"))
			}
			u.ends()
			x.goesOn(c)
		}},
		{name: "an upstream of HTTP/1.0 is not asked again there, and its client is kept", rfc: "9112 9.3", script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			u.send("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na")
			m := c.response("GET")
			x.gets(m, 200, "a")
			if m.version != "HTTP/1.1" {
				x.differs("the answer begins with %q", m.line)
			}
			u.ends()
			x.goesOn(c)
		}},
		{name: "an answer that ends with its connection arrives whole", rfc: "9112 6.3", script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			u.send("HTTP/1.1 200 OK\r\n\r\nhello, ")
			m := c.responseHead()
			c.data(m, "hello, ")
			u.send("world")
			c.data(m, "world")
			u.close()
			if len(m.values("Transfer-Encoding")) == 0 {
				c.endsClean()
				return
			}
			if rest := c.chunk(); rest != "" {
				x.differs("the client gets %q behind the end", rest)
			}
			c.expect("\r\n")
			x.goesOn(c)
		}},
		{name: "a client that half-closes gets its answer, and is closed", rfc: "9112 9.6", script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			c.halfClose()
			u := x.next()
			u.request()
			u.send(ok("a"))
			x.gets(c.response("GET"), 200, "a")
			c.endsClean()
		}},
		{name: "a client that half-closes gets the answers to all that it pipelined", rfc: "9112 9.3.2", script: func(x *exchange) {
			x.serve(func(m *message) string { return ok(m.target) })
			c := x.client()
			c.send(get("/a") + get("/b"))
			c.halfClose()
			x.gets(c.response("GET"), 200, "/a")
			x.gets(c.response("GET"), 200, "/b")
			c.endsClean()
		}},
		{name: "a client that leaves in its head is closed", rfc: "9112 8", script: func(x *exchange) {
			s := x.serve(func(*message) string { return ok("") })
			c := x.client()
			c.send("GET /a HTTP/1.1\r\nHost: exam")
			c.halfClose()
			if m, err := c.tryResponse("GET"); err == nil && m.status != 400 {
				x.differs("the client gets %d", m.status)
			}
			c.ends()
			x.servesNothingBut(s, "GET /after HTTP/1.1")
		}},
		{name: "a client that leaves in its body takes the request along", rfc: "9112 8", script: func(x *exchange) {
			s := x.serve(func(*message) string { return ok("") })
			c := x.client()
			c.send(head("POST /a HTTP/1.1", "Host: example.com", "Content-Length: 10") + "hello")
			c.halfClose()
			if m, err := c.tryResponse("POST"); err == nil && m.status != 400 {
				x.differs("the client gets %d", m.status)
			}
			c.ends()
			x.servesNothingBut(s, "GET /after HTTP/1.1")
		}},
		{name: "a client that leaves in its chunked body takes the request along", rfc: "9112 8", script: func(x *exchange) {
			s := x.serve(func(*message) string { return ok("") })
			c := x.client()
			c.send(postChunked + "5\r\nhello\r\n")
			c.halfClose()
			if m, err := c.tryResponse("POST"); err == nil && m.status != 400 {
				x.differs("the client gets %d", m.status)
			}
			c.ends()
			x.servesNothingBut(s, "GET /after HTTP/1.1")
		}},
		{name: "an answer to a client that has left reaches no other", rfc: "9112 9.2", script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			c.reset()
			u.offer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
			u.offer("late")
			x.goesOn(x.client())
		}},
	}, append(oldClients(), pipelining()...)...)
}

// asks takes one request to the upstream and its answer back.
func (x *exchange) asks(c *conn, request, answer, body string) *message {
	_, m := x.asksOn(c, request, answer, body)
	return m
}

// asksOn does so, and tells which connection to the upstream it took.
func (x *exchange) asksOn(c *conn, request, answer, body string) (u *conn, m *message) {
	c.send(request)
	u = x.next()
	to := u.request()
	u.send(answer)
	m = c.response(to.method)
	x.gets(m, 200, body)
	return u, m
}

// isUsedAgain sends requests until one arrives on this connection, or on that of
// one before it.
func (x *exchange) isUsedAgain(u *conn) {
	// A client can have its answer, and be gone, a moment before the connection is
	// put back: then the next request comes on a new one.
	seen := map[*conn]bool{u: true}
	for range 10 {
		c := x.client()
		again, _ := x.asksOn(c, get("/again"), ok("again"), "again")
		if c.close(); seen[again] {
			return
		}
		seen[again] = true
	}
	x.differs("each of %d requests comes on a connection of its own to the upstream", len(seen))
}

func oldClients() []behaviour {
	const plain, keeping = "GET /a HTTP/1.0\r\nHost: example.com\r\n\r\n", "GET /a HTTP/1.0\r\nHost: example.com\r\nConnection: Keep-Alive\r\n\r\n"
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
	return []behaviour{
		{name: "a client of HTTP/1.0 is closed after its answer", rfc: "9112 9.3", script: func(x *exchange) {
			c := x.client()
			x.asks(c, plain, ok("a"), "a")
			c.endsClean()
		}},
		{name: "a client of HTTP/1.0 that asks for it is kept, and told so", rfc: "9112 9.3", script: func(x *exchange) {
			c := x.client()
			m := x.asks(c, keeping, ok("a"), "a")
			if !slices.Contains(m.list("Connection"), "keep-alive") {
				x.differs("the answer has Connection %q", m.list("Connection"))
			}
			x.asks(c, plain, ok("b"), "b")
			c.endsClean()
		}},
		{name: "a client of HTTP/1.0 gets a chunked answer until the end of its connection", rfc: "9112 6.1", script: func(x *exchange) {
			c := x.client()
			m := x.asks(c, keeping, chunked, "hello")
			if m.chunked || !m.untilClose || len(m.trailers) > 0 {
				x.differs("the answer is framed by %q", m.fields)
			}
			if slices.Contains(m.list("Connection"), "keep-alive") {
				x.differs("the answer says keep-alive, and then its connection ends")
			}
			c.endsClean()
		}},
		{name: "a client of HTTP/1.0 may send a body", rfc: "9112 6.2", script: func(x *exchange) {
			c := x.client()
			c.send(head("POST /a HTTP/1.0", "Host: example.com", "Content-Length: 5") + "hello")
			u := x.next()
			if m := u.request(); m.body != "hello" {
				x.differs("the upstream gets %q", m.body)
			}
			u.send(ok("a"))
			x.gets(c.response("POST"), 200, "a")
			c.endsClean()
		}},
		{name: "a HEAD of HTTP/1.0 is answered, and kept where asked", rfc: "9112 6.3", script: func(x *exchange) {
			c := x.client()
			x.asks(c, strings.Replace(keeping, "GET", "HEAD", 1), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "")
			x.asks(c, plain, ok("b"), "b")
			c.endsClean()
		}},
	}
}

func pipelining() []behaviour {
	const rfc = "9112 9.3.2"
	answer := func(m *message) string { return ok(m.method + m.target + m.body) }
	post := head("POST /b HTTP/1.1", "Host: example.com", "Content-Length: 5") + "hello"
	return []behaviour{
		{name: "pipelined requests are answered in their order", rfc: rfc, script: func(x *exchange) {
			x.serve(answer)
			c := x.client()
			c.send(get("/a") + get("/b") + get("/c"))
			for _, path := range []string{"/a", "/b", "/c"} {
				x.gets(c.response("GET"), 200, "GET"+path)
			}
		}},
		{name: "pipelined requests with bodies are kept apart", rfc: rfc, script: func(x *exchange) {
			x.serve(answer)
			c := x.client()
			c.send(post + postChunked + "3\r\nabc\r\n0\r\nX-A: 1\r\n\r\n" + get("/c") + "\r\n" + post)
			x.gets(c.response("POST"), 200, "POST/bhello")
			x.gets(c.response("POST"), 200, "POST/aabc")
			x.gets(c.response("GET"), 200, "GET/c")
			x.gets(c.response("POST"), 200, "POST/bhello")
		}},
		{name: "a hundred pipelined requests are answered", rfc: rfc, script: func(x *exchange) {
			x.serve(answer)
			c := x.client()
			sent := x.meanwhile(func() { c.send(strings.Repeat(post+get("/a"), 50)) })
			for range 50 {
				x.gets(c.response("POST"), 200, "POST/bhello")
				x.gets(c.response("GET"), 200, "GET/a")
			}
			sent()
		}},
		{name: "a bad request behind good ones is refused after their answers", rfc: rfc, script: func(x *exchange) {
			x.serve(answer)
			c := x.client()
			c.send(get("/a") + post + "GET / HTTP/1.1\r\nHost: a\r\nX-A : 1\r\n\r\n" + get("/c"))
			x.gets(c.response("GET"), 200, "GET/a")
			x.gets(c.response("POST"), 200, "POST/bhello")
			x.isRefusal(c, c.response("GET"), 400)
		}},
		{name: "a request may be pipelined in pieces", rfc: rfc, script: func(x *exchange) {
			c := x.client()
			c.send(get("/a") + post[:20])
			u := x.next()
			u.send(answer(u.request()))
			x.gets(c.response("GET"), 200, "GET/a")
			c.sendApart(post[20:30], post[30:])
			u = x.next()
			u.send(answer(u.request()))
			x.gets(c.response("POST"), 200, "POST/bhello")
		}},
	}
}
