package conformance

import "strings"

// Misframed is an answer that has two readings, or none. It is a 502, and
// nothing more is read from or sent on its connection.
type misframed struct {
	name, rfc string
	settings
	answer string
	// late: the fault may be found when a part of the answer has gone out.
	// Then the client's connection ends before the answer does.
	late bool
	// ends: the upstream closes after this.
	ends bool
}

func (r misframed) behaviour() behaviour {
	return behaviour{name: r.name, rfc: r.rfc, settings: r.settings, script: func(x *exchange) {
		c := x.client()
		// Not safe to repeat, so that the fault is found in the first answer.
		c.send(head("POST /a HTTP/1.1", "Host: example.com", "Content-Length: 0"))
		u := x.next()
		u.request()
		u.offer(r.answer) // the proxy may have had enough before its end
		if r.ends {
			u.halfClose()
		}
		m, err := c.tryResponse("POST")
		for err == nil && m.status < 200 && r.late {
			m, err = c.tryResponse("POST")
		}
		switch {
		case err == nil:
			if m.untilClose {
				x.differs("the client gets %d %q, which looks whole", m.status, m.body)
			}
			x.isOwn(m, 502)
		case !r.late:
			x.differs("the client gets no answer: %s", m.cutBy(err))
		case isTimeout(err):
			x.differs("the client waits: %s", m.cutBy(err))
		}
		if !x.proxyEnds(u) {
			x.differs("the connection to the upstream is not closed")
		}
		x.goesOn(x.client())
	}}
}

// proxyEnds reports whether the proxy closes a connection to the upstream.
func (x *exchange) proxyEnds(u *conn) bool {
	u.hurry()
	_, err := u.in.Peek(1)
	return err != nil && !isTimeout(err)
}

func misframings() (rows []behaviour) {
	answer := func(body string, fields ...string) string {
		return head(append([]string{"HTTP/1.1 200 OK"}, fields...)...) + body
	}
	chunks := func(body string) string { return answer(body, "Transfer-Encoding: chunked") }
	line := func(line string) string { return head(line, "Content-Length: 2") + "hi" }
	const framing, coding = "9112 6.3", "9112 6.1"
	for _, r := range []misframed{
		{name: "an answer that is no HTTP is a 502", rfc: "9112 4", answer: "SSH-2.0-OpenSSH_9.2\r\n\r\n"},
		{name: "an answer of another protocol is a 502", rfc: "9112 4", answer: line("ICY 200 OK")},
		{name: "an answer of HTTP/2.0 is a 502", rfc: "9112 4", answer: line("HTTP/2.0 200 OK")},
		{name: "a status of two digits is a 502", rfc: "9112 4", answer: line("HTTP/1.1 20 OK")},
		{name: "a status of four digits is a 502", rfc: "9112 4", answer: line("HTTP/1.1 2000 OK")},
		{name: "a status below 100 is a 502", rfc: "9110 15", answer: line("HTTP/1.1 099 Low")},
		{name: "a status that is a word is a 502", rfc: "9112 4", answer: line("HTTP/1.1 abc OK")},
		{name: "two spaces before a status are a 502", rfc: "9112 4", answer: line("HTTP/1.1  200 OK")},
		{name: "an empty line before an answer is a 502", rfc: "9112 2.2", answer: "\r\n" + line("HTTP/1.1 200 OK")},
		{name: "an answer whose line ends with a bare LF is a 502", rfc: "9112 2.2", answer: "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nhi"},
		{name: "an answer with a bare CR is a 502", rfc: "9112 2.2", answer: answer("hi", "X-A: 1\r2", "Content-Length: 2")},
		{name: "an answer with NUL is a 502", rfc: "9110 5.5", answer: answer("hi", "X-A: 1\x002", "Content-Length: 2")},
		{name: "an answer with a folded field is a 502", rfc: "9112 5.2", answer: answer("hi", "X-A: 1\r\n 2", "Content-Length: 2")},
		{name: "an answer with a space before the colon is a 502", rfc: "9112 5.1", answer: answer("hi", "X-A : 1", "Content-Length: 2")},
		{name: "an answer with a field without a colon is a 502", rfc: "9112 5", answer: answer("hi", "X-A", "Content-Length: 2")},
		{name: "an answer with a bad field name is a 502", rfc: "9110 5.1", answer: answer("hi", "X A: 1", "Content-Length: 2")},
		{name: "an answer with both lengths is a 502", rfc: coding, answer: answer("2\r\nhi\r\n0\r\n\r\n", "Content-Length: 2", "Transfer-Encoding: chunked")},
		{name: "an answer with two differing lengths is a 502", rfc: framing, answer: answer("hi", "Content-Length: 2", "Content-Length: 3")},
		{name: "an answer with a list of differing lengths is a 502", rfc: framing, answer: answer("hi", "Content-Length: 2, 3")},
		{name: "an answer with a negative length is a 502", rfc: framing, answer: answer("hi", "Content-Length: -2")},
		{name: "an answer with a length that is a word is a 502", rfc: framing, answer: answer("hi", "Content-Length: two")},
		{name: "an answer with a length over 64 bits is a 502", rfc: framing, answer: answer("hi", "Content-Length: 18446744073709551618")},
		{name: "an answer in an unknown coding is a 502", rfc: coding, answer: answer("hi", "Transfer-Encoding: gzip"), ends: true},
		{name: "an answer in a coding before chunked is a 502", rfc: coding, answer: answer("2\r\nhi\r\n0\r\n\r\n", "Transfer-Encoding: gzip, chunked")},
		{name: "an answer that is chunked twice is a 502", rfc: "9112 7.1", answer: answer("2\r\nhi\r\n0\r\n\r\n", "Transfer-Encoding: chunked, chunked")},
		{name: "an answer of HTTP/1.0 in chunks is a 502", rfc: coding, answer: head("HTTP/1.0 200 OK", "Transfer-Encoding: chunked") + "2\r\nhi\r\n0\r\n\r\n"},
		{name: "204 with a length is a 502", rfc: "9110 8.6", answer: head("HTTP/1.1 204 No Content", "Content-Length: 2") + "hi"},
		{name: "204 in chunks is a 502", rfc: coding, answer: head("HTTP/1.1 204 No Content", "Transfer-Encoding: chunked") + "0\r\n\r\n"},
		{name: "an interim answer with a length is a 502", rfc: "9110 8.6", answer: head("HTTP/1.1 103 Early Hints", "Content-Length: 2") + "hi" + ok("")},
		{name: "a head of an answer that is too large is a 502", rfc: "9112 5.4", answer: answer("", "X-A: "+strings.Repeat("a", 70<<10), "Content-Length: 0")},
		{name: "a head of an answer without end is a 502", rfc: "9112 5.4", answer: "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 300<<10)},
		{name: "a head of an answer of too many fields is a 502", rfc: "9112 5.4", settings: settings{maxFields: 20}, answer: answer("", strings.Repeat("X-A: 1\r\n", 30)+"Content-Length: 0")},
		{name: "an upstream that closes without an answer is a 502", rfc: "9110 15.6.3", answer: "", ends: true},
		{name: "an upstream that closes within its head is a 502", rfc: "9112 8", answer: "HTTP/1.1 200 OK\r\nContent-Le", ends: true},
		{name: "an upstream that closes after an interim answer is a 502", rfc: "9112 8", answer: "HTTP/1.1 103 Early Hints\r\n\r\n", ends: true, late: true},

		{name: "an answer shorter than its length is cut at the client", rfc: "9112 8", answer: answer("hello", "Content-Length: 10"), ends: true, late: true},
		{name: "an answer without its last chunk is cut at the client", rfc: "9112 8", answer: chunks("5\r\nhello\r\n"), ends: true, late: true},
		{name: "an answer that ends within a chunk is cut at the client", rfc: "9112 8", answer: chunks("5\r\nhel"), ends: true, late: true},
		{name: "an answer that ends within its trailers is cut at the client", rfc: "9112 8", answer: chunks("5\r\nhello\r\n0\r\nX-A: 1\r\n"), ends: true, late: true},
		{name: "an answer with a bad chunk size is cut at the client", rfc: "9112 7.1", answer: chunks("zz\r\nhello\r\n0\r\n\r\n"), late: true},
		{name: "an answer with a chunk size over 64 bits is cut at the client", rfc: "9112 7.1", answer: chunks("10000000000000005\r\nhello\r\n0\r\n\r\n"), late: true},
		{name: "an answer with a chunk longer than its size is cut at the client", rfc: "9112 7.1", answer: chunks("5\r\nhello!\r\n0\r\n\r\n"), late: true},
		{name: "an answer with a chunk size before a bare LF is cut at the client", rfc: "9112 7.1", answer: chunks("5\nhello\r\n0\r\n\r\n"), late: true},
		{name: "an answer with a bad trailer is cut at the client", rfc: "9112 7.1.2", answer: chunks("5\r\nhello\r\n0\r\nX-A : 1\r\n\r\n"), late: true},
		{name: "an answer with endless chunk extensions is cut at the client", rfc: "9112 7.1.1", answer: chunks("5;" + strings.Repeat("a", 64<<10) + "\r\nhello\r\n0\r\n\r\n"), late: true},
		{name: "an answer with endless trailers is cut at the client", rfc: "9112 7.1.2", answer: chunks("0\r\n" + strings.Repeat("X-A: 1\r\n", 20_000) + "\r\n"), late: true},
	} {
		rows = append(rows, r.behaviour())
	}
	return append(rows, cutForOldClients()...)
}

// cutForOldClients is for clients that know the end of an answer by the end of
// the connection: an orderly end would make a part of it look whole.
func cutForOldClients() []behaviour {
	return []behaviour{
		{name: "an answer that is cut reaches a client of HTTP/1.0 as a reset", rfc: "9112 8", script: func(x *exchange) {
			c := x.client()
			c.send(head("POST /a HTTP/1.0", "Host: example.com", "Content-Length: 0"))
			u := x.next()
			u.request()
			u.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
			m := c.responseHead()
			c.data(m, "hello")
			u.close()
			c.hurry()
			if _, err := c.in.Peek(1); err == nil || plain(err) == "closed" {
				x.differs("the connection ends as if the answer were whole")
			}
		}},
	}
}

func pooled() []behaviour {
	// reused makes a connection to the upstream, and leaves it idle.
	reused := func(x *exchange) (c, u *conn) {
		c = x.client()
		c.send(get("/first"))
		u = x.next()
		u.request()
		u.send(ok("first"))
		x.gets(c.response("GET"), 200, "first")
		return c, u
	}
	post := head("POST /a HTTP/1.1", "Host: example.com", "Content-Length: 5") + "hello"
	arrives := func(x *exchange, c *conn, request string) {
		c.send(request)
		n := x.next()
		m := n.request()
		n.send(ok(m.method))
		x.gets(c.response(m.method), 200, m.method)
	}
	const rfc = "9112 9.3.1"
	end := map[string]func(*conn){"closed": (*conn).close, "reset": (*conn).reset}
	var rows []behaviour
	for _, how := range []string{"closed", "reset"} {
		for _, request := range []string{get("/a"), post} {
			method, _, _ := strings.Cut(request, " ")
			rows = append(rows, behaviour{name: "an idle connection that the upstream has " + how + " is not used for a " + method, rfc: rfc, script: func(x *exchange) {
				c, u := reused(x)
				end[how](u)
				u.arrived()
				arrives(x, c, request)
			}})
		}
	}
	return append(rows, []behaviour{
		{name: "all idle connections may be closed at once", rfc: rfc, script: func(x *exchange) {
			var clients, conns []*conn
			for range 5 { // all at once, so that each has a connection of its own
				c := x.client()
				c.send(get("/first"))
				u := x.next()
				u.request()
				clients, conns = append(clients, c), append(conns, u)
			}
			for i, u := range conns {
				u.send(ok("first"))
				x.gets(clients[i].response("GET"), 200, "first")
			}
			for _, u := range conns {
				u.close()
				u.arrived()
			}
			for _, c := range clients {
				arrives(x, c, post)
			}
		}},
		{name: "a GET that meets the end of an idle connection is repeated", rfc: rfc, script: func(x *exchange) {
			c, u := reused(x)
			c.send(get("/a"))
			n := x.next()
			n.request()
			if n != u {
				x.differs("the connection was not kept")
			}
			n.close()
			again := x.next()
			if m := again.request(); m.target != "/a" {
				x.differs("the upstream gets %q", m.line)
			}
			again.send(ok("a"))
			x.gets(c.response("GET"), 200, "a")
		}},
		{name: "a POST that meets the end of an idle connection is a 502, and not repeated", rfc: rfc, script: func(x *exchange) {
			c, _ := reused(x)
			c.send(post)
			n := x.next()
			n.request()
			n.close()
			x.isOwn(c.response("POST"), 502)
			x.goesOn(x.client())
		}},
		{name: "bytes behind an answer reach no client", rfc: "9112 9.2", script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			u.send(ok("a") + ok("evil"))
			x.gets(c.response("GET"), 200, "a")
			x.goesOn(x.client())
			x.goesOn(c)
		}},
		{name: "bytes behind a chunked answer reach no client", rfc: "9112 9.2", script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			u.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" + ok("evil"))
			x.gets(c.response("GET"), 200, "a")
			x.goesOn(x.client())
		}},
		{name: "bytes behind a 204 reach no client", rfc: "9112 9.2", script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			u.send("HTTP/1.1 204 No Content\r\n\r\n" + ok("evil"))
			x.gets(c.response("GET"), 204, "")
			x.goesOn(x.client())
		}},
		{name: "bytes on an idle connection reach no client", rfc: "9112 9.2", script: func(x *exchange) {
			c, u := reused(x)
			u.send(ok("evil"))
			u.waitForProxy("gets nothing", func(open bool, unread uint32) bool { return unread > 0 || !open })
			x.goesOn(c)
			if !x.proxyEnds(u) {
				x.differs("the connection to the upstream is not closed")
			}
		}},
	}...)
}
