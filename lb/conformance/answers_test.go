package conformance

import (
	"slices"
	"strings"
)

// Bodiless is an answer without a body, whatever its head says of one.
func bodiless() []behaviour {
	request := func(method string) []string { return []string{method + " /a HTTP/1.1", "Host: example.com"} }
	const rfc = "9112 6.3"
	rows := forwardings(
		forwarded{name: "HEAD stays HEAD, and its answer has the length of the body it has not", rfc: "9110 9.3.2", request: request("HEAD"),
			answer: "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
			sees:   expected{line: "HEAD /a HTTP/1.1"}, gets: expected{has: []string{"Content-Length: 1234"}}},
		forwarded{name: "an answer to HEAD may announce chunks", rfc: rfc, request: request("HEAD"),
			answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", gets: expected{not: []string{"Content-Length"}}},
		forwarded{name: "an answer to HEAD may announce nothing", rfc: rfc, request: request("HEAD"), answer: "HTTP/1.1 200 OK\r\n\r\n",
			gets: expected{not: []string{"Content-Length"}}},
		forwarded{name: "an error to HEAD has no body", rfc: rfc, request: request("HEAD"), answer: "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n",
			gets: expected{status: 404, has: []string{"Content-Length: 9"}}},
		forwarded{name: "204 has no body", rfc: rfc, request: request("DELETE"), answer: "HTTP/1.1 204 No Content\r\n\r\n",
			gets: expected{status: 204, not: []string{"Content-Length", "Transfer-Encoding"}}},
		forwarded{name: "204 has no length, even where the upstream says 0", rfc: "9110 8.6", request: request("GET"), answer: "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
			gets: expected{status: 204, not: []string{"Content-Length"}}},
		forwarded{name: "304 keeps the length of the body it has not", rfc: "9110 8.6", request: request("GET"), answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: \"a\"\r\n\r\n",
			gets: expected{status: 304, has: []string{"Content-Length: 1234", `ETag: "a"`}}},
		forwarded{name: "304 may say nothing of a length", rfc: rfc, request: request("GET"), answer: "HTTP/1.1 304 Not Modified\r\n\r\n",
			gets: expected{status: 304, not: []string{"Content-Length"}}},
		forwarded{name: "a body of length 0 is one", rfc: rfc, request: request("GET"), answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			gets: expected{has: []string{"Content-Length: 0"}}},
	)
	return append(rows, behaviour{
		name: "a body that HEAD must not have reaches no other client", rfc: rfc, script: func(x *exchange) {
			c := x.client()
			c.send(head(request("HEAD")...))
			u := x.next()
			u.request()
			u.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
			x.gets(c.response("HEAD"), 200, "")
			x.goesOn(c)
		},
	}, behaviour{
		name: "the problem that answers a HEAD has no body", rfc: "9110 9.3.2", settings: settings{unhealthy: true}, ours: true, script: func(x *exchange) {
			c := x.client()
			c.send(head(request("HEAD")...))
			if m := c.response("HEAD"); m.status != 503 {
				x.differs("the client gets %d", m.status)
			}
			c.send(get("/b"))
			if m := c.response("GET"); m.status != 503 {
				x.differs("the client gets %d", m.status)
			}
		},
	})
}

func interim() []behaviour {
	const hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
	const rfc = "9110 15.2"
	expecting := func(version string) string {
		return head("POST /a HTTP/"+version, "Host: example.com", "Expect: 100-Continue", "Content-Length: 5")
	}
	return []behaviour{
		{name: "103 passes before the answer is there", rfc: "8297 2", script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			u.send(hints)
			if m := c.response("GET"); m.status != 103 || !slices.Equal(m.values("Link"), []string{"</a>; rel=preload"}) {
				x.differs("the client gets %d with %q", m.status, m.fields)
			}
			u.send(ok("a"))
			x.gets(c.response("GET"), 200, "a")
			x.goesOn(c)
		}},
		{name: "several interim answers pass, in order", rfc: rfc, script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			u.send("HTTP/1.1 102 Processing\r\n\r\n" + hints + "HTTP/1.1 199 Odd\r\nX-A: 1\r\n\r\n" + ok("a"))
			for _, status := range []int{102, 103, 199} {
				if m := c.response("GET"); m.status != status {
					x.differs("the client gets %d, expected %d", m.status, status)
				}
			}
			x.gets(c.response("GET"), 200, "a")
			x.goesOn(c)
		}},
		{name: "a client of HTTP/1.0 gets no interim answer", rfc: rfc, script: func(x *exchange) {
			c := x.client()
			c.send(expecting("1.0") + "hello")
			u := x.next()
			u.request()
			u.send("HTTP/1.1 100 Continue\r\n\r\n" + hints + ok("a"))
			x.gets(c.response("POST"), 200, "a")
			c.endsClean()
		}},
		{name: "100 comes from the upstream, once, and then the body goes", rfc: "9110 10.1.1", script: func(x *exchange) {
			c := x.client()
			c.send(expecting("1.1"))
			u := x.next()
			if m := u.requestHead(); !slices.Equal(m.list("Expect"), []string{"100-continue"}) {
				x.differs("the upstream gets Expect %q", m.list("Expect"))
			}
			// Had the proxy said so already, this one would be the second.
			u.send("HTTP/1.1 100 Continue\r\nX-Of: upstream\r\n\r\n")
			if m := c.response("POST"); m.status != 100 || !slices.Equal(m.values("X-Of"), []string{"upstream"}) {
				x.differs("the client gets %d that is not the upstream's", m.status)
			}
			c.send("hello")
			u.expect("hello")
			u.send(ok("a"))
			x.gets(c.response("POST"), 200, "a")
			x.goesOn(c)
		}},
		{name: "an upstream may answer 417 in place of 100", rfc: "9110 10.1.1", script: func(x *exchange) {
			c := x.client()
			c.send(expecting("1.1"))
			u := x.next()
			u.requestHead()
			u.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
			x.gets(c.response("POST"), 417, "no")
		}},
		{name: "an upstream may answer for good in place of 100", rfc: "9110 10.1.1", script: func(x *exchange) {
			c := x.client()
			c.send(expecting("1.1"))
			u := x.next()
			u.requestHead()
			u.send(ok("a"))
			m := c.response("POST")
			x.gets(m, 200, "a")
			x.goesOnOrEnds(c, m, u, "hello")
		}},
		{name: "a client need not wait for 100", rfc: "9110 10.1.1", script: func(x *exchange) {
			c := x.client()
			c.send(expecting("1.1") + "hello")
			u := x.next()
			if m := u.request(); m.body != "hello" {
				x.differs("the upstream gets %q", m.body)
			}
			u.send("HTTP/1.1 100 Continue\r\n\r\n" + ok("a"))
			m := c.response("POST")
			if m.status == 100 {
				m = c.response("POST")
			}
			x.gets(m, 200, "a")
			x.goesOn(c)
		}},
		{name: "101 that nobody asked for is a 502", rfc: "9110 7.8", script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			u.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
			x.isOwn(c.response("GET"), 502)
			u.ends()
		}},
	}
}

func trailers() []behaviour {
	request := head("POST /a HTTP/1.1", "Host: example.com", "Connection: TE", "TE: trailers", "Transfer-Encoding: chunked", "Trailer: X-Sum")
	forbidden := []string{"Content-Length: 3", "Transfer-Encoding: chunked", "Host: evil.example", "Authorization: Basic eA==", "Content-Type: text/evil",
		"Connection: close", "Set-Cookie: a=b", "X-Forwarded-For: 6.6.6.6", "Via: 1.1 evil", "Trailer: X-A"}
	const rfc = "9110 6.5.1"
	of := func(m *message) (lines []string) {
		for _, f := range m.trailers {
			lines = append(lines, strings.ToLower(f.name)+": "+f.value)
		}
		slices.Sort(lines)
		return lines
	}
	check := func(x *exchange, who string, m *message) {
		if m.body != "abc" {
			x.differs("%s gets %q", who, m.body)
		}
		if got := of(m); !slices.Equal(got, []string{"x-other: 2", "x-sum: 1"}) {
			x.differs("%s gets the trailers %q", who, got)
		}
		if got := m.values("Trailer"); !slices.Equal(got, []string{"X-Sum"}) {
			x.differs("%s gets Trailer %q", who, got)
		}
	}
	const good, none = "3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Other:2 \r\n\r\n", "3\r\nabc\r\n0\r\n"
	bad := "3\r\nabc\r\n0\r\nX-Sum: 1\r\n" + strings.Join(forbidden, "\r\n") + "\r\nX-Other: 2\r\n\r\n"
	row := func(name, body string) []behaviour {
		return []behaviour{
			{name: "of a request, " + name, rfc: rfc, script: func(x *exchange) {
				c := x.client()
				c.send(request + body)
				u := x.next()
				check(x, "the upstream", u.request())
				u.send(ok("a"))
				x.gets(c.response("POST"), 200, "a")
				x.goesOn(c)
			}},
			{name: "of an answer, " + name, rfc: rfc, script: func(x *exchange) {
				c := x.client()
				c.send(request + none + "\r\n")
				u := x.next()
				u.request()
				u.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + body)
				check(x, "the client", c.response("POST"))
				x.goesOn(c)
			}},
		}
	}
	return append(row("trailers pass", good), row("forbidden trailers end here", bad)...)
}
