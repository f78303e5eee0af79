package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Refused is a request that has two readings, or none, or is too large. The
// client is told why, the connection is closed, for where the next request begins
// is unknown too, and no upstream gets the request whole.
type refused struct {
	name, rfc string
	settings
	request string
	status  []int // any of them
}

// want400 is the answer to what is malformed.
var want400 = []int{400}

func (r refused) behaviour() behaviour {
	return behaviour{name: r.name, rfc: r.rfc, settings: r.settings, script: func(x *exchange) {
		s := x.serve(func(*message) string { return ok("") })
		c := x.client()
		c.offer(r.request)
		m := c.response("GET")
		if !slices.Contains(m.list("Connection"), "close") && m.status == 413 {
			// Nothing is ambiguous in too large a body: one that was read to its
			// end may leave the connection as it was.
			x.isOwn(m, r.status...)
			c.send(get("/kept"))
			x.gets(c.response("GET"), 200, "")
			x.servesNothingBut(s, "GET /kept HTTP/1.1", "GET /after HTTP/1.1")
			return
		}
		x.isRefusal(c, m, r.status...)
		x.servesNothingBut(s, "GET /after HTTP/1.1")
	}}
}

// isRefusal checks an answer of the proxy's own, after which the connection ends.
func (x *exchange) isRefusal(c *conn, m *message, status ...int) {
	x.isOwn(m, status...)
	if !slices.Contains(m.list("Connection"), "close") {
		x.differs("the %d does not say Connection: close", m.status)
	}
	c.ends()
}

// isOwn checks an answer of the proxy's own. Ours says why.
func (x *exchange) isOwn(m *message, status ...int) {
	if !slices.Contains(status, m.status) {
		x.differs("%d, expected %s", m.status, strings.Trim(fmt.Sprint(status), "[]"))
	}
	if !x.ours {
		return
	}
	if got := m.values("Content-Type"); !slices.Equal(got, []string{"application/problem+json"}) {
		x.differs("the %d has the Content-Type %q", m.status, got)
	}
	var problem struct {
		Title, Detail string
		Status        int
	}
	if err := json.Unmarshal([]byte(m.body), &problem); err != nil || problem.Title == "" || problem.Detail == "" || problem.Status != m.status {
		x.differs("the %d does not say why: %q", m.status, m.body)
	}
	if strings.Contains(m.body, "127.0.0.1") {
		x.differs("the %d tells an address: %q", m.status, m.body)
	}
}

// servesNothingBut sends one more request, on a connection of its own, and checks
// that it and the others named are all that has arrived.
func (x *exchange) servesNothingBut(s *service, lines ...string) {
	c := x.client()
	c.send(get("/after"))
	if m := c.response("GET"); m.status != 200 {
		x.differs("a request after it gets %d", m.status)
	}
	if got := s.lines(); !slices.Equal(got, lines) {
		x.differs("the upstream gets %q", got)
	}
}

func refusals(rows ...refused) (all []behaviour) {
	for _, r := range rows {
		all = append(all, r.behaviour())
	}
	return all
}

func refusedLines() []behaviour {
	with := func(line string) string { return head(line, "Host: example.com") }
	const size = 2000
	return refusals(
		refused{name: "a request line without a version is refused", rfc: "9112 3", request: with("GET /"), status: want400},
		refused{name: "a request line without a target is refused", rfc: "9112 3", request: with("GET HTTP/1.1"), status: want400},
		refused{name: "a request line without a method is refused", rfc: "9112 3", request: with(" / HTTP/1.1"), status: want400},
		refused{name: "two spaces in the request line are refused", rfc: "9112 3", request: with("GET  / HTTP/1.1"), status: want400},
		refused{name: "a tab in the request line is refused", rfc: "9112 3", request: with("GET\t/ HTTP/1.1"), status: want400},
		refused{name: "a space at the end of the request line is refused", rfc: "9112 3", request: with("GET / HTTP/1.1 "), status: want400},
		refused{name: "a space before the request line is refused", rfc: "9112 3", request: with(" GET / HTTP/1.1"), status: want400},
		refused{name: "a space in the target is refused", rfc: "9112 3.2", request: with("GET /a b HTTP/1.1"), status: want400},
		refused{name: "a line that ends with a bare LF is refused", rfc: "9112 2.2", request: "GET / HTTP/1.1\nHost: example.com\r\n\r\n", status: want400},
		refused{name: "a bare CR in the request line is refused", rfc: "9112 2.2", request: with("GET /\rx HTTP/1.1"), status: want400},
		refused{name: "NUL in the target is refused", rfc: "9112 3.2", request: with("GET /\x00 HTTP/1.1"), status: want400},
		refused{name: "a control character in the target is refused", rfc: "9112 3.2", request: with("GET /\x01 HTTP/1.1"), status: want400},
		refused{name: "DEL in the target is refused", rfc: "9112 3.2", request: with("GET /\x7f HTTP/1.1"), status: want400},
		refused{name: "an octet above ASCII in the target is refused", rfc: "9112 3.2", request: with("GET /\xc3\xa9 HTTP/1.1"), status: want400},
		refused{name: "a fragment in the target is refused", rfc: "9112 3.2.1", request: with("GET /a#b HTTP/1.1"), status: want400},
		refused{name: "a method that is no token is refused", rfc: "9112 3.1", request: with("GE(T / HTTP/1.1"), status: want400},
		refused{name: "a method without end is refused", rfc: "9112 3", request: with(strings.Repeat("M", 9000) + " / HTTP/1.1"), status: []int{400, 414, 431, 501}},
		refused{name: "a percent sign without digits in the path is refused", rfc: "9112 3.2.1", request: with("GET /%zz HTTP/1.1"), status: want400},
		refused{name: "two empty lines before a request are refused", rfc: "9112 2.2", request: with("\r\n\r\nGET / HTTP/1.1"), status: want400},
		refused{name: "a target that is neither path nor URI is refused", rfc: "9112 3.2", request: with("GET a HTTP/1.1"), status: want400},
		refused{name: "HTTP/2.0 in a request line is refused", rfc: "9110 15.6.6", request: with("GET / HTTP/2.0"), status: []int{505}},
		refused{name: "HTTP/0.9 in a request line is refused", rfc: "9110 15.6.6", request: with("GET / HTTP/0.9"), status: []int{400, 505}},
		refused{name: "a version of two digits is refused", rfc: "9112 2.3", request: with("GET / HTTP/1.10"), status: []int{400, 505}},
		refused{name: "a version in lower case is refused", rfc: "9112 2.3", request: with("GET / http/1.1"), status: want400},
		refused{name: "another protocol is refused", rfc: "9112 2.3", request: with("GET / ICY/1.1"), status: want400},
		refused{name: "the start of HTTP/2 is refused", rfc: "9113 3.4", request: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status: []int{400, 505}},
		refused{name: "the start of TLS is refused", request: "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", status: want400},
		refused{name: "a request line that is too long is refused with 414", rfc: "9112 3", settings: settings{maxLine: 1024, maxHead: 1024 + size},
			request: with("GET /" + strings.Repeat("a", size) + " HTTP/1.1"), status: []int{414}},
		refused{name: "CONNECT is refused", rfc: "9110 9.3.6", request: head("CONNECT example.com:443 HTTP/1.1", "Host: example.com:443"), status: []int{405, 501}},
		refused{name: "the authority form is refused without CONNECT", rfc: "9112 3.2.3", request: with("GET example.com:80 HTTP/1.1"), status: want400},
		refused{name: "the asterisk form is refused without OPTIONS", rfc: "9112 3.2.4", request: with("GET * HTTP/1.1"), status: want400},
		refused{name: "the absolute form is refused where Host says otherwise", rfc: "9112 3.2.2", request: with("GET http://other.example/ HTTP/1.1"), status: want400},
		refused{name: "the absolute form is refused where Host has another port", rfc: "9112 3.2.2", request: with("GET http://example.com:81/ HTTP/1.1"), status: want400},
		refused{name: "the absolute form is refused without Host", rfc: "9112 3.2", request: head("GET http://example.com/ HTTP/1.1"), status: want400},
		refused{name: "the absolute form is refused without a host", rfc: "9110 4.2.1", request: with("GET http:///a HTTP/1.1"), status: want400},
		refused{name: "the absolute form is refused with a user", rfc: "9110 4.2.4", request: with("GET http://user@example.com/ HTTP/1.1"), status: want400},
	)
}

func refusedHosts() []behaviour {
	hosts := func(values ...string) string {
		lines := []string{"GET / HTTP/1.1"}
		for _, v := range values {
			lines = append(lines, "Host: "+v)
		}
		return head(lines...)
	}
	const rfc = "9112 3.2"
	return refusals(
		refused{name: "a request without Host is refused", rfc: rfc, request: hosts(), status: want400},
		refused{name: "two Hosts are refused", rfc: rfc, request: hosts("example.com", "other.example"), status: want400},
		refused{name: "two equal Hosts are refused", rfc: rfc, request: hosts("example.com", "example.com"), status: want400},
		refused{name: "two Hosts are refused under HTTP/1.0", rfc: rfc, request: head("GET / HTTP/1.0", "Host: a", "Host: b"), status: want400},
		refused{name: "an empty Host is refused", rfc: "9110 4.2.1", request: hosts(""), status: want400},
		refused{name: "a Host with percent-encoding is refused", rfc: rfc, request: hosts("ex%61mple.com"), status: want400},
		refused{name: "a Host with a space is refused", rfc: rfc, request: hosts("example com"), status: want400},
		refused{name: "a Host that is a list is refused", rfc: rfc, request: hosts("example.com, other.example"), status: want400},
		refused{name: "a Host with a path is refused", rfc: rfc, request: hosts("example.com/a"), status: want400},
		refused{name: "a Host with a user is refused", rfc: rfc, request: hosts("user@example.com"), status: want400},
		refused{name: "a Host whose port is no number is refused", rfc: rfc, request: hosts("example.com:http"), status: want400},
		refused{name: "a Host with two ports is refused", rfc: rfc, request: hosts("example.com:80:80"), status: want400},
		refused{name: "a Host with an octet above ASCII is refused", rfc: rfc, request: hosts("ex\xc3\xa4mple.com"), status: want400},
	)
}

func refusedFields() []behaviour {
	field := func(line string) string { return head("GET / HTTP/1.1", "Host: example.com", line) }
	return refusals(
		refused{name: "a space before the colon is refused", rfc: "9112 5.1", request: field("X-A : 1"), status: want400},
		refused{name: "a tab before the colon is refused", rfc: "9112 5.1", request: field("X-A\t: 1"), status: want400},
		refused{name: "a space before the first field is refused", rfc: "9112 2.2", request: head("GET / HTTP/1.1", " X-A: 1", "Host: example.com"), status: want400},
		refused{name: "a folded field is refused", rfc: "9112 5.2", request: field("X-A: 1\r\n 2"), status: want400},
		refused{name: "a field folded by a tab is refused", rfc: "9112 5.2", request: field("X-A: 1\r\n\t2"), status: want400},
		refused{name: "a field without a colon is refused", rfc: "9112 5", request: field("X-A"), status: want400},
		refused{name: "a field without a name is refused", rfc: "9112 5", request: field(": 1"), status: want400},
		refused{name: "a space in a field name is refused", rfc: "9110 5.1", request: field("X A: 1"), status: want400},
		refused{name: "a bracket in a field name is refused", rfc: "9110 5.1", request: field("X[A]: 1"), status: want400},
		refused{name: "an octet above ASCII in a field name is refused", rfc: "9110 5.1", request: field("X-\xc3\xa4: 1"), status: want400},
		refused{name: "NUL in a field name is refused", rfc: "9110 5.1", request: field("X\x00A: 1"), status: want400},
		refused{name: "NUL in a field value is refused", rfc: "9110 5.5", request: field("X-A: 1\x002"), status: want400},
		refused{name: "a control character in a field value is refused", rfc: "9110 5.5", request: field("X-A: 1\x0b2"), status: want400},
		refused{name: "an expectation that nobody knows is refused with 417", rfc: "9110 10.1.1", request: field("Expect: miracles"), status: []int{417}},
		refused{name: "a bare CR in a field value is refused", rfc: "9112 2.2", request: field("X-A: 1\r2"), status: want400},
		refused{name: "a bare LF after a field is refused", rfc: "9112 2.2", request: field("X-A: 1\nX-B: 2"), status: want400},
		refused{name: "a bare LF as the end of the head is refused", rfc: "9112 2.2", request: "GET / HTTP/1.1\r\nHost: example.com\r\n\n", status: want400},
		refused{name: "a head that is too large is refused with 431", rfc: "6585 5", settings: settings{maxLine: 1024, maxHead: 2048},
			request: field("X-A: " + strings.Repeat("a", 3000)), status: []int{431}},
		refused{name: "a head of too many fields is refused with 431", rfc: "6585 5", settings: settings{maxFields: 20},
			request: field("X-A: 1" + strings.Repeat("\r\nX-A: 1", 20)), status: []int{431}},
	)
}

func refusedFraming() []behaviour {
	post := func(body string, fields ...string) string {
		return head(append([]string{"POST /a HTTP/1.1", "Host: example.com"}, fields...)...) + body
	}
	const chunked = "5\r\nhello\r\n0\r\n\r\n"
	const length, coding = "9112 6.3", "9112 6.1"
	unknown := []int{400, 501}
	return refusals(
		refused{name: "Content-Length with Transfer-Encoding is refused", rfc: coding, request: post(chunked, "Content-Length: 5", "Transfer-Encoding: chunked"), status: want400},
		refused{name: "Transfer-Encoding with Content-Length is refused", rfc: coding, request: post(chunked, "Transfer-Encoding: chunked", "Content-Length: 15"), status: want400},
		refused{name: "two differing lengths are refused", rfc: length, request: post("hello!", "Content-Length: 5", "Content-Length: 6"), status: want400},
		refused{name: "two equal lengths are refused", rfc: length, request: post("hello", "Content-Length: 5", "Content-Length: 5"), status: want400},
		refused{name: "a list of equal lengths is refused", rfc: length, request: post("hello", "Content-Length: 5, 5"), status: want400},
		refused{name: "a list of differing lengths is refused", rfc: length, request: post("hello!", "Content-Length: 5, 6"), status: want400},
		refused{name: "a length that is a word is refused", rfc: length, request: post("hello", "Content-Length: five"), status: want400},
		refused{name: "an empty length is refused", rfc: length, request: post("hello", "Content-Length:"), status: want400},
		refused{name: "a negative length is refused", rfc: length, request: post("hello", "Content-Length: -5"), status: want400},
		refused{name: "a length with a plus is refused", rfc: length, request: post("hello", "Content-Length: +5"), status: want400},
		refused{name: "a hexadecimal length is refused", rfc: length, request: post("hello", "Content-Length: 0x5"), status: want400},
		refused{name: "a length with a space is refused", rfc: length, request: post("hello", "Content-Length: 5 5"), status: want400},
		refused{name: "a length with an underscore is refused", rfc: length, request: post("hello", "Content-Length: 0_5"), status: want400},
		refused{name: "a length over 64 bits is refused", rfc: "9110 8.6", request: post("hello", "Content-Length: 18446744073709551621"), status: []int{400, 413}},
		refused{name: "chunked twice is refused", rfc: "9112 7.1", request: post(chunked, "Transfer-Encoding: chunked, chunked"), status: want400},
		refused{name: "chunked twice in two fields is refused", rfc: "9112 7.1", request: post(chunked, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), status: want400},
		refused{name: "chunked that is not last is refused", rfc: length, request: post(chunked, "Transfer-Encoding: chunked, gzip"), status: unknown},
		refused{name: "a coding that is not known is refused", rfc: coding, request: post(chunked, "Transfer-Encoding: gzip, chunked"), status: []int{501}},
		refused{name: "a coding other than chunked alone is refused", rfc: length, request: post("hello", "Transfer-Encoding: gzip"), status: unknown},
		refused{name: "identity as a coding is refused", rfc: coding, request: post("hello", "Transfer-Encoding: identity"), status: unknown},
		refused{name: "a coding that ends in chunked is refused", rfc: coding, request: post(chunked, "Transfer-Encoding: xchunked"), status: unknown},
		refused{name: "chunked behind a vertical tab is refused", rfc: coding, request: post(chunked, "Transfer-Encoding: \x0bchunked"), status: unknown},
		refused{name: "chunked in quotes is refused", rfc: coding, request: post(chunked, `Transfer-Encoding: "chunked"`), status: unknown},
		refused{name: "chunked with a parameter is refused", rfc: "9112 7.1", request: post(chunked, "Transfer-Encoding: chunked;a=b"), status: unknown},
		refused{name: "an empty Transfer-Encoding is refused", rfc: coding, request: post(chunked, "Transfer-Encoding:"), status: unknown},
		refused{name: "chunked under HTTP/1.0 is refused", rfc: coding, request: head("POST /a HTTP/1.0", "Host: example.com", "Transfer-Encoding: chunked") + chunked, status: want400},
		refused{name: "a body over the limit is refused with 413", rfc: "9110 15.5.14", settings: settings{maxBody: 10}, request: post("hello world", "Content-Length: 11"), status: []int{413}},
		refused{name: "a body over the limit is refused with 413 before it is sent", rfc: "9110 15.5.14", settings: settings{maxBody: 10}, request: post("", "Content-Length: 1000000"), status: []int{413}},
	)
}
