package conformance

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// short is a timeout that a script waits for, long one that it also has to be
// quicker than in another step.
const short, long = 150 * time.Millisecond, 600 * time.Millisecond

func retries() []behaviour {
	two := settings{targets: 2}
	post := head("POST /a HTTP/1.1", "Host: example.com", "Content-Length: 5") + "hello"
	const rfc = "9110 9.2.2"
	// turn finds out whose turn it is: the target that did not get the first
	// request.
	turn := func(x *exchange) (next *upstream) {
		c := x.client()
		c.send(get("/first"))
		u := x.next()
		u.request()
		u.send(ok("first"))
		x.gets(c.response("GET"), 200, "first")
		return x.upstreams[2-u.of]
	}
	rows := []behaviour{}
	for _, request := range []string{get("/a"), post} {
		method, _, _ := strings.Cut(request, " ")
		rows = append(rows, behaviour{name: "a " + method + " that a target refuses to connect for goes to the next", rfc: rfc, settings: two, script: func(x *exchange) {
			turn(x).refuse()
			c := x.client()
			x.asks(c, request, ok("yes"), "yes")
		}}, behaviour{name: "a " + method + " that a target does not connect for in time goes to the next", rfc: rfc,
			settings: settings{targets: 2, dial: long}, script: func(x *exchange) {
				turn(x).stall()
				c := x.client()
				x.asks(c, request, ok("yes"), "yes")
			}})
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "DELETE", "PUT"} {
		request := head(method+" /a HTTP/1.1", "Host: example.com")
		if method == "PUT" {
			request = head("PUT /a HTTP/1.1", "Host: example.com", "Content-Length: 5") + "hello"
		}
		rows = append(rows, behaviour{name: method + " is repeated whose connection is cut before the answer", rfc: rfc, settings: two, script: func(x *exchange) {
			c := x.client()
			c.send(request)
			u := x.next()
			first := u.request()
			u.close()
			again := x.next()
			if m := again.request(); m.line != first.line || m.body != first.body {
				x.differs("the upstream gets %q %q, and then %q %q", first.line, first.body, m.line, m.body)
			}
			again.send(ok(""))
			x.gets(c.response(method), 200, "")
		}})
	}
	for _, method := range []string{"POST", "PATCH", "BREW"} {
		rows = append(rows, behaviour{name: method + " is a 502, and not repeated, whose connection is cut before the answer", rfc: rfc, settings: two, script: func(x *exchange) {
			c := x.client()
			c.send(head(method+" /a HTTP/1.1", "Host: example.com", "Content-Length: 5") + "hello")
			u := x.next()
			u.request()
			u.close()
			x.isOwn(c.response(method), 502)
			x.goesOn(x.client())
		}})
	}
	return append(rows, []behaviour{
		{name: "a POST that was sent in part is not repeated", rfc: rfc, settings: two, script: func(x *exchange) {
			c := x.client()
			c.send(head("POST /a HTTP/1.1", "Host: example.com", "Content-Length: 10") + "hello")
			u := x.next()
			u.requestHead()
			u.expect("hello")
			u.reset()
			x.isOwn(c.response("POST"), 502)
			x.goesOn(x.client())
		}},
		{name: "nothing is repeated once its answer has begun", rfc: rfc, settings: two, script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			u.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
			m := c.responseHead()
			c.data(m, "hello")
			u.close()
			c.ends()
			x.goesOn(x.client())
		}},
		{name: "nothing is repeated for ever", rfc: rfc, settings: two, script: func(x *exchange) {
			s := x.serve(func(m *message) string {
				if m.target == "/poison" {
					return ""
				}
				return ok("")
			})
			c := x.client()
			c.send(get("/poison"))
			x.isOwn(c.response("GET"), 502)
			after := x.client()
			after.send(get("/after"))
			x.gets(after.response("GET"), 200, "")
			if n := len(s.lines()); n > 5 { // a connection may be tried twice
				x.differs("the upstream gets it %d times", n-1)
			}
		}},
	}...)
}

func ownAnswers() []behaviour {
	return []behaviour{
		{name: "503 where no target is healthy", rfc: "9110 15.6.4", ours: true, settings: settings{unhealthy: true}, script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			m := c.response("GET")
			x.isOwn(m, 503)
			if len(m.values("Retry-After")) != 1 {
				x.differs("Retry-After is %q", m.values("Retry-After"))
			}
		}},
		{name: "503 where no target can be connected to: none has seen the request", rfc: "9110 15.6.4", ours: true, cold: true, settings: settings{targets: 2}, script: func(x *exchange) {
			for _, u := range x.upstreams {
				u.refuse()
			}
			c := x.client()
			c.send(get("/a"))
			x.isOwn(c.response("GET"), 503)
		}},
		{name: "503 where no target connects in time: none has seen the request", rfc: "9110 15.6.4", ours: true, cold: true, settings: settings{dial: short}, script: func(x *exchange) {
			x.upstreams[0].stall()
			c := x.client()
			c.send(get("/a"))
			x.isOwn(c.response("GET"), 503)
		}},
		{name: "each of 502, 503 and 504 gives a reason of its own", ours: true, settings: settings{responseHead: long}, script: func(x *exchange) {
			reasons := map[string]bool{}
			c := x.client()
			note := func(status int) {
				m := c.response("POST")
				x.isOwn(m, status)
				_, detail, _ := strings.Cut(m.body, `"detail":`)
				detail, _, _ = strings.Cut(detail, `",`)
				reasons[detail] = true
				if slices.Contains(m.list("Connection"), "close") {
					c = x.client()
				}
			}
			post := head("POST /a HTTP/1.1", "Host: example.com", "Content-Length: 0")
			c.send(post)
			u := x.next()
			u.request()
			note(504)
			c.send(post)
			u = x.next()
			u.request()
			u.send("nonsense\r\n\r\n")
			note(502)
			x.upstreams[0].refuse()
			c.send(post)
			note(503)
			if len(reasons) != 3 {
				x.differs("the reasons are %v", reasons)
			}
		}},
		{name: "a client is kept after a 502", rfc: "9112 9.3", ours: true, script: func(x *exchange) {
			c := x.client()
			c.send(head("POST /a HTTP/1.1", "Host: example.com", "Content-Length: 0"))
			u := x.next()
			u.request()
			u.close()
			x.isOwn(c.response("POST"), 502)
			x.goesOn(c)
		}},
	}
}

func timeouts() []behaviour {
	const late, gone = "9110 15.5.9", "9110 15.6.5"
	return []behaviour{
		{name: "a head that stands still is a 408, or closed", rfc: late, settings: settings{requestHead: short}, script: func(x *exchange) {
			c := x.client()
			c.send("GET / HTTP/1.1\r\nHost: exam")
			x.isLate(c)
		}},
		{name: "a head that drips is a 408, or closed", rfc: late, settings: settings{requestHead: short}, script: func(x *exchange) {
			c := x.client()
			c.send("GET / HTTP/1.1\r\nHost: example.com\r\nX-A: ")
			ended := make(chan struct{})
			drip := time.NewTicker(short / 10) // well within the timeout, each time
			defer drip.Stop()
			drips := x.meanwhile(func() {
				for {
					select {
					case <-drip.C:
						c.offer("a")
					case <-ended:
						return
					}
				}
			})
			defer drips()
			defer close(ended)
			x.isLate(c)
		}},
		{name: "a second head that stands still is a 408, or closed", rfc: late, settings: settings{requestHead: short}, script: func(x *exchange) {
			c := x.client()
			x.asks(c, get("/a"), ok("a"), "a")
			c.send("GET / HTTP/1.1\r\nHost: exam")
			x.isLate(c)
		}},
		{name: "a connection that is idle between requests is closed", rfc: "9112 9.8", settings: settings{keepAlive: long}, script: func(x *exchange) {
			c := x.client()
			x.asks(c, get("/a"), ok("a"), "a")
			c.endsClean()
		}},
		{name: "a connection that sends nothing is closed", rfc: "9112 9.8", settings: settings{keepAlive: short, requestHead: short}, script: func(x *exchange) {
			c := x.client()
			if m, err := c.tryResponse("GET"); err == nil && m.status != 408 {
				x.differs("the client gets %d", m.status)
			}
			c.ends()
		}},
		{name: "a request body that stands still is a 408, and its upstream is left", rfc: late, settings: settings{bodyIdle: short}, script: func(x *exchange) {
			c := x.client()
			c.send(head("POST /a HTTP/1.1", "Host: example.com", "Content-Length: 10") + "hello")
			u := x.next()
			u.requestHead()
			u.expect("hello")
			x.isRefusal(c, c.response("POST"), 408)
			u.ends()
		}},
		{name: "a chunked request body that stands still is a 408, and its upstream is left", rfc: late, settings: settings{bodyIdle: short}, script: func(x *exchange) {
			c := x.client()
			c.send(postChunked + "5\r\nhello\r\n")
			u := x.next()
			m := u.requestHead()
			u.data(m, "hello")
			x.isRefusal(c, c.response("POST"), 408)
			u.ends()
		}},
		{name: "an answer that does not begin is a 504, and its upstream is left", rfc: gone, settings: settings{responseHead: short}, script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			x.isOwn(c.response("GET"), 504)
			u.ends()
		}},
		{name: "an answer whose head stands still is a 504, and its upstream is left", rfc: gone, settings: settings{responseHead: short}, script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			u.send("HTTP/1.1 200 OK\r\nContent-Le")
			x.isOwn(c.response("GET"), 504)
			u.ends()
		}},
		{name: "a 504 is not repeated on another target", rfc: gone, settings: settings{targets: 2, responseHead: long}, script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			x.isOwn(c.response("GET"), 504)
			x.goesOn(x.client())
		}},
		{name: "an answer that stands still is cut, on both sides", rfc: "9112 8", settings: settings{bodyIdle: short}, script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			u.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
			m := c.responseHead()
			c.data(m, "hello")
			c.ends()
			u.ends()
		}},
		{name: "an answer in chunks that stands still is cut, on both sides", rfc: "9112 8", settings: settings{bodyIdle: short}, script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			u.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
			m := c.responseHead()
			c.data(m, "hello")
			c.ends()
			u.ends()
		}},
		{name: "a client that does not read its answer is cut off", rfc: "9112 9.8", settings: settings{bodyIdle: short}, script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			// More than the kernel takes on both ways, however far its buffers grow.
			const endless = 256 << 20
			u.send(head("HTTP/1.1 200 OK", fmt.Sprintf("Content-Length: %d", endless)))
			for range endless / len(pattern) {
				if err := u.write(pattern); isTimeout(err) {
					x.differs("the upstream is still held")
				} else if err != nil {
					return
				}
			}
			x.differs("the upstream sends it all, to nobody")
		}},
		{name: "an upstream that does not read its request is left", rfc: "9112 9.8", settings: settings{bodyIdle: short, responseHead: short}, script: func(x *exchange) {
			c := x.client()
			c.send(head("POST /a HTTP/1.1", "Host: example.com", framing(false)))
			sent := x.meanwhile(func() { c.offer(strings.Repeat(pattern, large/len(pattern))) })
			u := x.next()
			u.requestHead()
			if m := c.response("POST"); m.status != 502 && m.status != 504 && m.status != 408 {
				x.differs("the client gets %d", m.status)
			}
			c.close()
			sent()
		}},
		{name: "a request that waits too long for its turn is a 503", rfc: "9110 15.6.4", settings: settings{maxConnections: 1, queue: long}, script: func(x *exchange) {
			c, second := x.client(), x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			second.send(get("/b"))
			x.isOwn(second.response("GET"), 503)
			u.send(ok("a"))
			x.gets(c.response("GET"), 200, "a")
			x.goesOn(second)
		}},
		{name: "a request waits for its turn", settings: settings{maxConnections: 1}, script: func(x *exchange) {
			c, second := x.client(), x.client()
			c.send(get("/a"))
			u := x.next()
			u.request()
			second.send(get("/b"))
			second.taken()
			u.send(ok("a"))
			x.gets(c.response("GET"), 200, "a")
			u = x.next()
			if m := u.request(); m.target != "/b" {
				x.differs("the upstream gets %q", m.line)
			}
			u.send(ok("b"))
			x.gets(second.response("GET"), 200, "b")
		}},
	}
}

// isLate expects a client whose head did not arrive in time to be told so, or
// closed.
func (x *exchange) isLate(c *conn) {
	m, err := c.tryResponse("GET")
	switch {
	case err == nil:
		x.isRefusal(c, m, 408)
	case isTimeout(err):
		x.differs("the client is waited for")
	}
}
