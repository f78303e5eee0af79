package conformance

import (
	"regexp"
	"slices"
	"strings"
)

// Forwarded is a request that goes through, and what becomes of it on the way.
type forwarded struct {
	name, rfc string
	ours      bool
	settings
	request []string // the lines of its head
	body    string
	sees    expected // of the upstream
	answer  string   // of the upstream; ok("") where it is empty
	gets    expected // of the client
	closes  bool     // the client's connection ends; otherwise it is used again
}

// Expected is what a message must be.
type expected struct {
	line   string   // the first line, where not empty
	status int      // of an answer; 200 where it is 0
	has    []string // each "Name: value", with all the lines of that name in order
	like   []string // each "Name: expression", of the one line of that name
	not    []string // names
	body   string
}

// check compares a message with what is expected.
func (e expected) check(x *exchange, who string, m *message) {
	if e.line != "" && m.line != e.line {
		x.differs("%s gets %q, expected %q", who, m.line, e.line)
	}
	want := map[string][]string{}
	for _, f := range e.has {
		name, value, _ := strings.Cut(f, ": ")
		want[name] = append(want[name], value)
	}
	for name, values := range want {
		if got := m.values(name); !slices.Equal(got, values) {
			x.differs("%s gets %s %q, expected %q", who, name, got, values)
		}
	}
	for _, f := range e.like {
		name, pattern, _ := strings.Cut(f, ": ")
		if got := m.values(name); len(got) != 1 || !regexp.MustCompile("^(?:"+pattern+")$").MatchString(got[0]) {
			x.differs("%s gets %s %q, expected one like %s", who, name, got, pattern)
		}
	}
	for _, name := range e.not {
		if got := m.values(name); len(got) > 0 {
			x.differs("%s gets %s %q, expected none", who, name, got)
		}
	}
	if m.body != e.body {
		x.differs("%s gets the body %q, expected %q", who, shortened(m.body), shortened(e.body))
	}
}

func (f forwarded) behaviour() behaviour {
	return behaviour{name: f.name, rfc: f.rfc, ours: f.ours, settings: f.settings, script: func(x *exchange) {
		c := x.client()
		c.send(head(f.request...) + f.body)
		u := x.next()
		m := u.request()
		f.sees.check(x, "the upstream", m)
		answer := f.answer
		if answer == "" {
			answer = ok("")
		}
		u.send(answer)
		got := c.response(m.method)
		if want := max(200, f.gets.status); got.status != want {
			x.differs("the client gets %d, expected %d", got.status, want)
		}
		f.gets.check(x, "the client", got)
		if f.closes {
			c.ends()
		} else {
			x.goesOn(c)
		}
	}}
}

// goesOn sends one more request on a connection that was kept.
func (x *exchange) goesOn(c *conn) {
	c.offer(get("/next"))
	u := x.next()
	if m := u.request(); m.line != "GET /next HTTP/1.1" {
		x.differs("the next request arrives as %q", m.line)
	}
	u.send(ok("next"))
	x.gets(c.response("GET"), 200, "next")
}

func forwardings(rows ...forwarded) (all []behaviour) {
	for _, r := range rows {
		all = append(all, r.behaviour())
	}
	return all
}

func targets() []behaviour {
	lines := func(line string) []string { return []string{line, "Host: example.com"} }
	return forwardings(
		forwarded{name: "the origin form is forwarded as it is", rfc: "9112 3.2.1", request: lines("GET /a%2Fb//c;d?e=%zz&f HTTP/1.1"),
			sees: expected{line: "GET /a%2Fb//c;d?e=%zz&f HTTP/1.1", has: []string{"Host: example.com"}}},
		forwarded{name: "the absolute form is forwarded in origin form", rfc: "9112 3.2.2", request: lines("GET http://example.com/a?b HTTP/1.1"),
			sees: expected{line: "GET /a?b HTTP/1.1", has: []string{"Host: example.com"}}},
		forwarded{name: "the absolute form may name the usual port", rfc: "9110 4.2.3", request: lines("GET HTTP://EXAMPLE.com:80/a HTTP/1.1"),
			sees: expected{line: "GET /a HTTP/1.1"}},
		forwarded{name: "the absolute form without a path means the root", rfc: "9112 3.2.1", request: lines("GET http://example.com HTTP/1.1"),
			sees: expected{line: "GET / HTTP/1.1"}},
		forwarded{name: "the absolute form without a path keeps its query", rfc: "9112 3.2.1", request: lines("GET http://example.com?a HTTP/1.1"),
			sees: expected{line: "GET /?a HTTP/1.1"}},
		forwarded{name: "OPTIONS * is forwarded", rfc: "9112 3.2.4", request: lines("OPTIONS * HTTP/1.1"),
			sees: expected{line: "OPTIONS * HTTP/1.1"}},
		forwarded{name: "OPTIONS of an absolute form without a path is forwarded as *", rfc: "9112 3.2.4", request: lines("OPTIONS http://example.com HTTP/1.1"),
			sees: expected{line: "OPTIONS * HTTP/1.1"}},
		forwarded{name: "a method that nobody knows is forwarded", rfc: "9110 9.1", request: lines("BREW /pot HTTP/1.1"),
			sees: expected{line: "BREW /pot HTTP/1.1"}},
		forwarded{name: "the case of a method is kept", rfc: "9110 9.1", request: lines("get /a HTTP/1.1"),
			sees: expected{line: "get /a HTTP/1.1"}},
		forwarded{name: "a long target is forwarded", rfc: "9112 3", request: lines("GET /" + strings.Repeat("a", 7900) + " HTTP/1.1"),
			sees: expected{line: "GET /" + strings.Repeat("a", 7900) + " HTTP/1.1"}},
		forwarded{name: "an empty line before a request is ignored", rfc: "9112 2.2", request: lines("\r\nGET /a HTTP/1.1"),
			sees: expected{line: "GET /a HTTP/1.1"}},
		forwarded{name: "a minor version from the future is answered as 1.1", rfc: "9110 2.5", request: lines("GET /a HTTP/1.2"),
			sees: expected{line: "GET /a HTTP/1.1"}},
		forwarded{name: "the Host of an IPv6 address is forwarded", rfc: "9110 7.2", request: []string{"GET / HTTP/1.1", "Host: [2001:db8::1]:8080"},
			sees: expected{has: []string{"Host: [2001:db8::1]:8080"}}},
		forwarded{name: "a Host with a port is forwarded as it is", rfc: "9110 7.2", request: []string{"GET / HTTP/1.1", "hOST:example.com:8080 "},
			sees: expected{has: []string{"Host: example.com:8080"}}},
	)
}

func fields() []behaviour {
	with := func(fields ...string) []string {
		return append([]string{"GET /a HTTP/1.1", "Host: example.com"}, fields...)
	}
	const hop = "9110 7.6.1"
	return append(forwardings(
		forwarded{name: "fields pass both ways, in order", rfc: "9110 5.3", request: with("X-B: 1", "x-b:2", "X-B:\t3 4\t", "X-Empty:", `X-Quoted: "a, \"b"`),
			sees:   expected{has: []string{"X-B: 1", "X-B: 2", "X-B: 3 4", "X-Empty: ", `X-Quoted: "a, \"b"`}},
			answer: "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-C:\r\nset-cookie: b=2\r\nContent-Length: 0\r\n\r\n",
			gets:   expected{has: []string{"Set-Cookie: a=1", "Set-Cookie: b=2", "X-C: "}}},
		forwarded{name: "octets above ASCII in a value pass", rfc: "9110 5.5", request: with("X-A: \xc3\xa9\xff"),
			sees: expected{has: []string{"X-A: \xc3\xa9\xff"}}},
		forwarded{name: "hop-by-hop fields end here", rfc: hop,
			request: with("Connection: keep-alive", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic eA==", "Upgrade: websocket"),
			sees:    expected{not: []string{"Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Upgrade"}}},
		forwarded{name: "what Connection names ends here", rfc: hop, request: with("X-A: 1", "Connection: x-a , ,X-B,keep-alive", "X-B: 2", "Connection: X-C", "X-C: 3", "X-D: 4"),
			sees: expected{has: []string{"X-D: 4"}, not: []string{"X-A", "X-B", "X-C"}}},
		forwarded{name: "Connection cannot take away what the proxy says", rfc: hop, request: with("Connection: Host, X-Forwarded-For, X-Forwarded-Proto, X-Request-Id"),
			sees: expected{has: []string{"Host: example.com", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http"}, like: []string{"X-Request-Id: .+"}}},
		forwarded{name: "hop-by-hop fields of an answer end here", rfc: hop, request: with(),
			answer: "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-A\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n",
			gets:   expected{has: []string{"X-B: 2"}, not: []string{"X-A", "Keep-Alive", "Proxy-Connection", "Upgrade"}}},
		forwarded{name: "Upgrade that Connection does not name ends here", rfc: "9110 7.8", request: with("Upgrade: websocket", "Sec-WebSocket-Key: k"),
			sees: expected{not: []string{"Upgrade"}}},
		forwarded{name: "Upgrade under HTTP/1.0 ends here", rfc: "9110 7.8", request: []string{"GET /a HTTP/1.0", "Host: example.com", "Connection: upgrade", "Upgrade: websocket"},
			sees: expected{not: []string{"Upgrade"}}, closes: true},
		forwarded{name: "Authorization and Cookie go on", rfc: "9110 11.6.2", request: with("Authorization: Basic eA==", "Cookie: a=b"),
			sees: expected{has: []string{"Authorization: Basic eA==", "Cookie: a=b"}}},
		forwarded{name: "a body that the method does not expect goes on", rfc: "9110 9.3.1", request: with("Content-Length: 2"), body: "hi",
			sees: expected{has: []string{"Content-Length: 2"}, body: "hi"}},
		forwarded{name: "a request without a body gets no framing", rfc: "9112 6.3", request: with(),
			sees: expected{not: []string{"Content-Length", "Transfer-Encoding"}}},
		forwarded{name: "a POST without a length has no body", rfc: "9112 6.3", request: []string{"POST /a HTTP/1.1", "Host: example.com"},
			sees: expected{not: []string{"Transfer-Encoding"}}},
		forwarded{name: "an empty body of a POST stays one", rfc: "9110 8.6", request: []string{"POST /a HTTP/1.1", "Host: example.com", "Content-Length: 0"},
			sees: expected{has: []string{"Content-Length: 0"}}},
		forwarded{name: "Via is added to a request", rfc: "9110 7.6.3", request: with(),
			sees: expected{like: []string{`Via: (HTTP/)?1\.1 \S+`}}},
		forwarded{name: "Via names minicloud", ours: true, request: with(),
			sees: expected{has: []string{"Via: 1.1 minicloud"}}},
		forwarded{name: "Date and Server are the upstream's", rfc: "9110 6.6.1", request: with(),
			answer: "HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nServer: old\r\nContent-Length: 0\r\n\r\n",
			gets:   expected{has: []string{"Date: Tue, 15 Nov 1994 08:12:31 GMT", "Server: old"}}},
		forwarded{name: "a status without a reason passes", rfc: "9112 4", request: with(),
			answer: "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", gets: expected{status: 404}},
		forwarded{name: "a status that nobody knows passes", rfc: "9110 15", request: with(),
			answer: "HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nhi", gets: expected{status: 599, body: "hi"}},
	), viaAndTE()...)
}

func viaAndTE() []behaviour {
	return []behaviour{
		{name: "Via is added behind the one that is there", rfc: "9110 7.6.3", script: func(x *exchange) {
			m := x.forward(head("GET /a HTTP/1.1", "Host: example.com", "Via: 1.0 fred"))
			if got := m.list("Via"); len(got) != 2 || got[0] != "1.0 fred" || !strings.HasPrefix(got[1], "1.1 ") {
				x.differs("the upstream gets Via %q", got)
			}
		}},
		{name: "Via tells the version of the client", rfc: "9110 7.6.3", script: func(x *exchange) {
			m := x.forward(head("GET /a HTTP/1.0", "Host: example.com"))
			if got := m.list("Via"); len(got) != 1 || !strings.HasPrefix(got[0], "1.0 ") {
				x.differs("the upstream gets Via %q", got)
			}
		}},
		{name: "TE ends here, but for trailers", rfc: "9110 10.1.4", script: func(x *exchange) {
			m := x.forward(head("GET /a HTTP/1.1", "Host: example.com", "Connection: TE", "TE: gzip, trailers;q=0.5"))
			if got := m.list("TE"); len(got) > 0 && !slices.Equal(got, []string{"trailers"}) {
				x.differs("the upstream gets TE %q", got)
			}
			if got := m.list("Connection"); len(m.list("TE")) > 0 && !slices.Contains(got, "te") {
				x.differs("the upstream gets TE, and Connection %q", got)
			}
		}},
		{name: "the upstream gets HTTP/1.1 from a client of HTTP/1.0", rfc: "9110 2.5", script: func(x *exchange) {
			if m := x.forward(head("GET /a HTTP/1.0", "Host: example.com")); m.version != "HTTP/1.1" {
				x.differs("the upstream gets %q", m.line)
			}
		}},
		{name: "the upstream gets a Host from a client of HTTP/1.0 without one", rfc: "9112 3.2", script: func(x *exchange) {
			m := x.forward(head("GET /a HTTP/1.0"))
			if got := m.values("Host"); m.version == "HTTP/1.1" && len(got) != 1 {
				x.differs("the upstream gets %q with Host %q", m.line, got)
			}
		}},
		{name: "Max-Forwards counts down", rfc: "9110 7.6.2", script: func(x *exchange) {
			m := x.forward(head("OPTIONS /a HTTP/1.1", "Host: example.com", "Max-Forwards: 5"))
			if got := m.values("Max-Forwards"); !slices.Equal(got, []string{"4"}) {
				x.differs("the upstream gets Max-Forwards %q", got)
			}
		}},
		{name: "Max-Forwards of 0 ends here", rfc: "9110 7.6.2", script: func(x *exchange) {
			s := x.serve(func(*message) string { return ok("upstream") })
			c := x.client()
			c.send(head("OPTIONS /a HTTP/1.1", "Host: example.com", "Max-Forwards: 0"))
			c.response("OPTIONS")
			x.servesNothingBut(s, "GET /after HTTP/1.1")
		}},
		{name: "Max-Forwards of a GET means nothing", rfc: "9110 7.6.2", script: func(x *exchange) {
			m := x.forward(head("GET /a HTTP/1.1", "Host: example.com", "Max-Forwards: 0"))
			if got := m.values("Max-Forwards"); !slices.Equal(got, []string{"0"}) {
				x.differs("the upstream gets Max-Forwards %q", got)
			}
		}},
	}
}

// forward takes a request to the upstream, and an answer back.
func (x *exchange) forward(request string) *message {
	c := x.client()
	c.send(request)
	u := x.next()
	m := u.request()
	u.send(ok("yes"))
	x.gets(c.response(m.method), 200, "yes")
	return m
}

func clientsSay() []behaviour {
	with := func(fields ...string) []string {
		return append([]string{"GET /a HTTP/1.1", "Host: example.com"}, fields...)
	}
	lies := with("X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-Port: 1",
		"X-Forwarded-For: 6.6.6.7", "Forwarded: for=6.6.6.6", "X-Real-Ip: 6.6.6.6", "X-Request-Id: given")
	truth := expected{
		has:  []string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: example.com"},
		not:  []string{"Forwarded", "X-Real-Ip", "X-Forwarded-Port"},
		like: []string{"X-Request-Id: [!-~]{8,128}"},
	}
	return append(forwardings(
		forwarded{name: "the upstream is told who asks, for what, and how", request: with(), sees: truth},
		forwarded{name: "what a client says of itself is replaced", request: lies, sees: truth},
		forwarded{name: "the host of an absolute form is the one that is told", rfc: "9112 3.2.2", request: []string{"GET http://example.com/a HTTP/1.1", "Host: EXAMPLE.com"},
			sees: expected{like: []string{"X-Forwarded-Host: (?i:example.com)"}}},
		forwarded{name: "what a client says of itself with underscores is dropped", ours: true, request: with("X_Forwarded_For: 6.6.6.6", "X-Forwarded_Proto: https", "X_Real_IP: 6.6.6.6"),
			sees: expected{has: truth.has, not: []string{"X_Forwarded_For", "X-Forwarded_Proto", "X_Real_IP"}}},
		forwarded{name: "a trusted proxy's word on scheme, host and id is kept", settings: settings{trusting: true},
			request: with("X-Forwarded-Proto: https", "X-Forwarded-Host: public.example", "X-Request-Id: given"),
			sees:    expected{has: []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: public.example", "X-Request-Id: given"}}},
		forwarded{name: "a trusted proxy that says nothing is told of as any client", settings: settings{trusting: true}, request: with(), sees: truth},
	), []behaviour{
		{name: "a trusted proxy is added to the addresses before it", settings: settings{trusting: true}, script: func(x *exchange) {
			m := x.forward(head(with("X-Forwarded-For: 1.2.3.4, 5.6.7.8")...))
			if got := m.list("X-Forwarded-For"); !slices.Equal(got, []string{"1.2.3.4", "5.6.7.8", "127.0.0.1"}) {
				x.differs("the upstream gets X-Forwarded-For %q", got)
			}
		}},
		{name: "a client's id is not the request's", script: func(x *exchange) {
			if got := x.forward(head(lies...)).values("X-Request-Id"); slices.Contains(got, "given") {
				x.differs("the upstream gets X-Request-Id %q", got)
			}
		}},
		{name: "the client gets the id that the upstream got, once", ours: true, script: func(x *exchange) {
			c := x.client()
			c.send(get("/a"))
			u := x.next()
			id := u.request().values("X-Request-Id")
			u.send("HTTP/1.1 200 OK\r\nX-Request-Id: other\r\nContent-Length: 0\r\n\r\n")
			if got := c.response("GET").values("X-Request-Id"); len(got) != 1 || !slices.Equal(got, id) {
				x.differs("the client gets X-Request-Id %q, the upstream got %q", got, id)
			}
		}},
		{name: "each request has an id of its own", script: func(x *exchange) {
			c := x.client()
			seen := map[string]bool{}
			for range 3 {
				c.send(get("/a"))
				u := x.next()
				id := strings.Join(u.request().values("X-Request-Id"), ", ")
				u.send(ok(""))
				c.response("GET")
				if id == "" || seen[id] {
					x.differs("the upstream gets X-Request-Id %q", id)
				}
				seen[id] = true
			}
		}},
	}...)
}
