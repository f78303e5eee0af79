package conformance

import (
	"fmt"
	"slices"
	"strings"
)

const postChunked = "POST /a HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n"

func refusedChunks() []behaviour {
	chunks := func(body string) string { return postChunked + body }
	const rfc = "9112 7.1"
	return append(refusals(
		refused{name: "a chunk size that is a word is refused", rfc: rfc, request: chunks("zz\r\nhello\r\n0\r\n\r\n"), status: want400},
		refused{name: "an empty chunk size is refused", rfc: rfc, request: chunks("\r\nhello\r\n0\r\n\r\n"), status: want400},
		refused{name: "a space before a chunk size is refused", rfc: rfc, request: chunks(" 5\r\nhello\r\n0\r\n\r\n"), status: want400},
		refused{name: "a space after a chunk size is refused", rfc: rfc, request: chunks("5 \r\nhello\r\n0\r\n\r\n"), status: want400},
		refused{name: "a negative chunk size is refused", rfc: rfc, request: chunks("-5\r\nhello\r\n0\r\n\r\n"), status: want400},
		refused{name: "a chunk size with a plus is refused", rfc: rfc, request: chunks("+5\r\nhello\r\n0\r\n\r\n"), status: want400},
		refused{name: "a chunk size with 0x is refused", rfc: rfc, request: chunks("0x5\r\nhello\r\n0\r\n\r\n"), status: want400},
		refused{name: "a chunk size over 64 bits is refused", rfc: rfc, request: chunks("10000000000000005\r\nhello\r\n0\r\n\r\n"), status: []int{400, 413}},
		refused{name: "a chunk longer than its size is refused", rfc: rfc, request: chunks("5\r\nhello!\r\n0\r\n\r\n"), status: want400},
		refused{name: "a chunk size that ends with a bare LF is refused", rfc: rfc, request: chunks("5\nhello\r\n0\r\n\r\n"), status: want400},
		refused{name: "a chunk that ends with a bare LF is refused", rfc: rfc, request: chunks("5\r\nhello\n0\r\n\r\n"), status: want400},
		refused{name: "a chunk that ends with a bare CR is refused", rfc: rfc, request: chunks("5\r\nhello\r0\r\n\r\n"), status: want400},
		refused{name: "a last chunk that ends with a bare LF is refused", rfc: rfc, request: chunks("5\r\nhello\r\n0\n\n"), status: want400},
		refused{name: "a chunk extension with a bare CR is refused", rfc: "9112 7.1.1", request: chunks("5;a\rb\r\nhello\r\n0\r\n\r\n"), status: want400},
		refused{name: "a chunk extension with a bare LF is refused", rfc: "9112 7.1.1", request: chunks("5;a\nb\r\nhello\r\n0\r\n\r\n"), status: want400},
		refused{name: "a chunk extension with NUL is refused", rfc: "9112 7.1.1", request: chunks("5;a=\x00\r\nhello\r\n0\r\n\r\n"), status: want400},
		refused{name: "a chunk extension without end is refused", rfc: "9112 7.1.1", request: chunks("5;" + strings.Repeat("a", 64<<10) + "\r\nhello\r\n0\r\n\r\n"), status: []int{400, 413, 431}},
		refused{name: "chunk extensions that are more than the data are refused", rfc: "9112 7.1.1",
			request: chunks(strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 1000) + "0\r\n\r\n"), status: []int{400, 413, 431}},
		refused{name: "a trailer with a space before the colon is refused", rfc: "9112 7.1.2", request: chunks("5\r\nhello\r\n0\r\nX-A : 1\r\n\r\n"), status: want400},
		refused{name: "a folded trailer is refused", rfc: "9112 5.2", request: chunks("5\r\nhello\r\n0\r\nX-A: 1\r\n 2\r\n\r\n"), status: want400},
		refused{name: "a trailer that ends with a bare LF is refused", rfc: "9112 2.2", request: chunks("5\r\nhello\r\n0\r\nX-A: 1\n\r\n"), status: want400},
		refused{name: "trailers without end are refused", rfc: "9112 7.1.2", request: chunks("0\r\n" + strings.Repeat("X-A: 1\r\n", 20_000) + "\r\n"), status: []int{400, 413, 431}},
		refused{name: "a chunked body over the limit is refused with 413", rfc: "9110 15.5.14", settings: settings{maxBody: 10},
			request: chunks("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), status: []int{413}},
	), behaviour{
		name: "what a client sends behind a bad chunk is no request", rfc: "9112 7.1", script: func(x *exchange) {
			s := x.serve(func(*message) string { return ok("") })
			c := x.client()
			c.offer(postChunked + "5\r\nhelloX\r\n0\r\n\r\n" + get("/smuggled"))
			x.isRefusal(c, c.response("POST"), 400)
			x.servesNothingBut(s, "GET /after HTTP/1.1")
		},
	})
}

func chunksThatPass() []behaviour {
	const body = "5\r\nhello\r\n1;a=b\r\n,\r\n00006;c=\"d;\\\"e\"\r\n world\r\n0;f\r\nX-Sum: 1\r\n\r\n"
	const text = "hello, world"
	return []behaviour{
		{name: "a chunked request may be cut anywhere", rfc: "9112 7.1", script: func(x *exchange) {
			c := x.client()
			for at := range len(body) + 1 {
				c.sendApart(postChunked+body[:at], body[at:])
				u := x.next()
				m := u.request()
				x.isChunked(fmt.Sprintf("cut at %d, the upstream", at), m, text)
				u.send(ok("yes"))
				x.gets(c.response("POST"), 200, "yes")
			}
		}},
		{name: "a chunked answer may be cut anywhere", rfc: "9112 7.1", script: func(x *exchange) {
			c := x.client()
			for at := range len(body) + 1 {
				c.send(get("/a"))
				u := x.next()
				u.request()
				u.sendApart("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+body[:at], body[at:])
				x.isChunked(fmt.Sprintf("cut at %d, the client", at), c.response("GET"), text)
			}
		}},
		{name: "the head of a request may be cut anywhere", rfc: "9112 2.2", script: func(x *exchange) {
			const request = "PUT /a HTTP/1.1\r\nHost: example.com\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhi"
			c := x.client()
			for at := range len(request) {
				c.sendApart(request[:at], request[at:])
				u := x.next()
				if m := u.request(); m.body != "hi" || !slices.Equal(m.values("X-A"), []string{"1"}) {
					x.differs("cut at %d, the upstream gets the body %q and X-A %q", at, m.body, m.values("X-A"))
				}
				u.send(ok("yes"))
				x.gets(c.response("PUT"), 200, "yes")
			}
		}},
		{name: "the head of an answer may be cut anywhere", rfc: "9112 2.2", script: func(x *exchange) {
			const answer = "HTTP/1.1 203 Fine\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhi"
			c := x.client()
			for at := range len(answer) {
				c.send(get("/a"))
				u := x.next()
				u.request()
				u.sendApart(answer[:at], answer[at:])
				x.gets(c.response("GET"), 203, "hi")
			}
		}},
		{name: "pipelined requests may come byte by byte", rfc: "9112 9.3.2", script: func(x *exchange) {
			s := x.serve(func(m *message) string { return ok(m.target + m.body) })
			c := x.client()
			for _, b := range []byte(postChunked + body + get("/b")) {
				c.sendApart(string(b))
			}
			x.gets(c.response("POST"), 200, "/a"+text)
			x.gets(c.response("GET"), 200, "/b")
			_ = s
		}},
		{name: "hexadecimal digits of either case are a chunk size", rfc: "9112 7.1", script: func(x *exchange) {
			ten := strings.Repeat("x", 10)
			c := x.client()
			c.send(postChunked + "A\r\n" + ten + "\r\na\r\n" + ten + "\r\n00\r\n\r\n")
			u := x.next()
			if m := u.request(); m.body != ten+ten {
				x.differs("the upstream gets %q", m.body)
			}
			u.send(ok("yes"))
			x.gets(c.response("POST"), 200, "yes")
		}},
	}
}

// isChunked checks a body that came in chunks, without their extensions.
func (x *exchange) isChunked(who string, m *message, text string) {
	if m.body != text {
		x.differs("%s gets %q, expected %q", who, m.body, text)
	}
	if len(m.extensions) > 0 {
		x.differs("%s gets the chunk extensions %q", who, m.extensions)
	}
}

// gets checks an answer that the upstream gave.
func (x *exchange) gets(m *message, status int, body string) {
	if m.status != status || m.body != body {
		x.differs("the client gets %d %q, expected %d %q", m.status, shortened(m.body), status, body)
	}
}
