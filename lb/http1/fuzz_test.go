package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// wide leaves room for what a fuzzer finds.
var wide = Limits{Line: 1 << 10, Head: 4 << 10, Fields: 32}

// checkHead holds what is true of any parser of heads and any bytes: the bytes
// are not changed, an error is one that a client can be told, no beginning of a
// head is taken for the whole, and what follows a head makes no difference.
func checkHead(t *testing.T, data []byte, parse func([]byte, *Limits) (int, *Error)) (int, bool) {
	t.Helper()
	buf := bytes.Clone(data)
	n, err := parse(buf, &wide)
	switch {
	case !bytes.Equal(buf, data):
		t.Fatalf("%q was changed to %q", data, buf)
	case err != nil && (n != 0 || err.Status < 400 || err.Status > 505 || !strings.HasSuffix(err.Reason, ".")):
		t.Fatalf("%q gives %d, %d %q", data, n, err.Status, err.Reason)
	case n < 0 || n > len(data):
		t.Fatalf("%q has a head of %d bytes", data, n)
	case n == 0:
		return 0, false
	}
	for i := range n {
		if n, err := parse(buf[:i], &wide); n != 0 || err != nil {
			t.Fatalf("%q is complete after %d bytes, its beginning gives %d, %v", data, i, n, err)
		}
	}
	if again, err := parse(buf[:n], &wide); again != n {
		t.Fatalf("%q alone gives %d, %v", data[:n], again, err)
	}
	return n, true
}

// endToEnd are the fields that are forwarded, by canonical name. Framing and
// Host are told otherwise. Net/http removes Trailer where there may be trailers.
func endToEnd(fields []Field) http.Header {
	h := http.Header{}
	for _, f := range fields {
		switch f.Kind {
		case Host, ContentLength, TransferEncoding, Trailer:
			continue
		}
		if !f.Hop {
			h.Add(string(f.Name), string(f.Value))
		}
	}
	return h
}

// checkFields compares the fields that are forwarded with what net/http read.
// It adds Cache-Control where there is Pragma, which is its own idea.
func checkFields(t *testing.T, fields []Field, theirs http.Header) {
	t.Helper()
	for name, values := range endToEnd(fields) {
		if !slices.Equal(values, theirs[name]) {
			t.Errorf("%s is %q, net/http has %q", name, values, theirs[name])
		}
	}
	for name := range theirs {
		if name != "Cache-Control" && !slices.ContainsFunc(fields, func(f Field) bool { return http.CanonicalHeaderKey(string(f.Name)) == name }) {
			t.Errorf("net/http has %s", name)
		}
	}
}

// trailerRefused tells the one head that net/http refuses and we do not: it
// reads the names in Trailer, which say nothing that we rely on.
func trailerRefused(err error) bool { return strings.Contains(err.Error(), "bad trailer key") }

// canonical writes a head as a proxy forwards it, with only the last coding, the
// options that matter, and the fields that do not end here.
func canonical(line string, host []byte, m *Message) []byte {
	b := []byte(line)
	if host != nil {
		b = fmt.Appendf(b, "Host: %s\r\n", host)
	}
	if m.Chunked {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	} else if m.ContentLength >= 0 {
		b = fmt.Appendf(b, "Content-Length: %d\r\n", m.ContentLength)
	}
	if m.Upgrade != nil {
		b = fmt.Appendf(b, "Upgrade: %s\r\nConnection: upgrade\r\n", m.Upgrade)
	}
	if m.KeepAlive {
		b = append(b, "Connection: keep-alive\r\n"...)
	} else {
		b = append(b, "Connection: close\r\n"...)
	}
	for _, f := range m.Fields {
		if !f.Hop && f.Kind != Host && f.Kind != ContentLength && f.Kind != TransferEncoding {
			b = fmt.Appendf(b, "%s: %s\r\n", f.Name, f.Value)
		}
	}
	return append(b, "\r\n"...)
}

func sameMessage(a, b *Message) bool {
	return a.Minor == b.Minor && a.ContentLength == b.ContentLength && a.Chunked == b.Chunked &&
		a.KeepAlive == b.KeepAlive && bytes.Equal(a.Upgrade, b.Upgrade)
}

func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		small, browser, target("/a%20b?c=%"), target("http://h:80/a?b"), target("HTTP://h"), hostIs("[::1]:80"),
		"\r\nOPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS https://h HTTP/1.1\r\nHost: h:443\r\n\r\n",
		"GET / HTTP/1.0\r\nConnection: keep-alive, te\r\nPragma: no-cache\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		field("Transfer-Encoding: chunked", "Trailer: A") + "0\r\n\r\n", field("Content-Length: 5", "Expect: 100-continue") + "hello",
		field("Connection: Upgrade, A", "Upgrade: websocket", "A: b", "Trailer: a"), field("Content-Length: 5", "Transfer-Encoding: chunked"),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(checkRequest)
}

func checkRequest(t *testing.T, data []byte) {
	t.Helper()
	var r Request
	n, ok := checkHead(t, data, r.Parse)
	if !ok {
		return
	}
	// Net/http does not tolerate the empty line that a request may follow.
	theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(data[:n], []byte("\r\n")))))
	if err != nil {
		if trailerRefused(err) {
			return
		}
		t.Fatalf("net/http refuses %q: %v", data[:n], err)
	}
	if theirs.Method != string(r.Method) || theirs.RequestURI != string(r.Target) || theirs.Host != string(r.Host) ||
		min(theirs.ProtoMinor, 1) != r.Minor || theirs.Close == r.KeepAlive {
		t.Errorf("%q: method %q, target %q, host %q, minor %d, keep alive %t", data[:n], r.Method, r.Target, r.Host, r.Minor, r.KeepAlive)
	}
	// A target without a path has "/" or "*" with us and nothing with net/url.
	if p, err := url.PathUnescape(string(r.Path)); err != nil || p != theirs.URL.Path && theirs.URL.Path != "" {
		t.Errorf("%q: path %q, net/http has %q", data[:n], p, theirs.URL.Path)
	}
	if q := strings.TrimPrefix(string(r.Query), "?"); q != theirs.URL.RawQuery {
		t.Errorf("%q: query %q, net/http has %q", data[:n], q, theirs.URL.RawQuery)
	}
	// Net/http calls the length of an absent body 0, and of a chunked one -1.
	body, length := r.Framing()
	if chunked := body == ChunkedBody; chunked != (theirs.TransferEncoding != nil) || !chunked && theirs.ContentLength != length {
		t.Errorf("%q: framing %d, %d, net/http has %v, %d", data[:n], body, length, theirs.TransferEncoding, theirs.ContentLength)
	}
	checkFields(t, r.Fields, theirs.Header)
	checkAgain(t, &r)
}

func checkAgain(t *testing.T, r *Request) {
	t.Helper()
	line := fmt.Sprintf("%s %s%s HTTP/1.%d\r\n", r.Method, r.Path, r.Query, r.Minor)
	head := canonical(line, r.Host, &r.Message)
	var again Request
	n, err := again.Parse(head, &Limits{Line: 2 * wide.Line, Head: 2 * wide.Head, Fields: 2 * wide.Fields})
	if n != len(head) || !sameMessage(&r.Message, &again.Message) || string(again.Method) != string(r.Method) ||
		string(again.Path) != string(r.Path) || string(again.Query) != string(r.Query) || string(again.Host) != string(r.Host) ||
		again.Idempotent != r.Idempotent || again.Head != r.Head || again.ExpectContinue != r.ExpectContinue {
		t.Errorf("written again: %q gives %d, %v", head, n, err)
	}
	checkFields(t, again.Fields, endToEnd(r.Fields))
}

func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		answer, status("200"), status("204 No Content", "Content-Length: 0"), status("304 Not Modified", "Content-Length: 5"),
		status("200 OK", "Transfer-Encoding: chunked", "Trailer: A"), status("101 Go", "Connection: upgrade", "Upgrade: a"),
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", status("100 "), status("304 ", "Transfer-Encoding: chunked"),
	} {
		f.Add([]byte(s), false)
	}
	f.Add([]byte(answer), true)
	f.Fuzz(checkResponse)
}

func checkResponse(t *testing.T, data []byte, head bool) {
	t.Helper()
	var r Response
	n, ok := checkHead(t, data, r.Parse)
	if !ok {
		return
	}
	method := http.MethodGet
	if head {
		method = http.MethodHead
	}
	theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data[:n])), &http.Request{Method: method})
	if err != nil {
		if trailerRefused(err) {
			return
		}
		t.Fatalf("net/http refuses %q: %v", data[:n], err)
	}
	reason := strings.TrimPrefix(strings.TrimPrefix(theirs.Status, fmt.Sprintf("%03d", r.Status)), " ")
	if theirs.StatusCode != r.Status || reason != string(r.Reason) || min(theirs.ProtoMinor, 1) != r.Minor {
		t.Errorf("%q: status %d, reason %q, minor %d", data[:n], r.Status, r.Reason, r.Minor)
	}
	body, length := r.Framing(head)
	same := false
	switch body {
	case None: // net/http gives a body that is at its end
		rest, err := io.ReadAll(theirs.Body)
		same = len(rest) == 0 && err == nil && theirs.Close != r.KeepAlive
	case Length:
		same = theirs.ContentLength == length && theirs.TransferEncoding == nil && theirs.Close != r.KeepAlive
	case ChunkedBody:
		same = theirs.TransferEncoding != nil && theirs.Close != r.KeepAlive
	case UntilClose:
		same = theirs.ContentLength == -1 && theirs.TransferEncoding == nil && theirs.Close
	}
	if !same {
		t.Errorf("%q: framing %d, %d, net/http has %v, %d, close %t", data[:n], body, length, theirs.TransferEncoding, theirs.ContentLength, theirs.Close)
	}
	checkFields(t, r.Fields, theirs.Header)

	written := canonical(fmt.Sprintf("HTTP/1.%d %d %s\r\n", r.Minor, r.Status, r.Reason), nil, &r.Message)
	var again Response
	n, refused := again.Parse(written, &Limits{Line: 2 * wide.Line, Head: 2 * wide.Head, Fields: 2 * wide.Fields})
	if n != len(written) || !sameMessage(&r.Message, &again.Message) || again.Status != r.Status || string(again.Reason) != string(r.Reason) {
		t.Errorf("written again: %q gives %d, %v", written, n, refused)
	}
	checkFields(t, again.Fields, endToEnd(r.Fields))
}

func FuzzChunked(f *testing.F) {
	for _, s := range []string{
		"0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\nGET", "1 ;a=\"b\"\r\nx\r\n00\r\nA: b\r\nHost: c\r\n\r\n",
		"5\nhello\n0\n\n", "ffffffffffffffff\r\n", "5;\rx\r\n", "2\r\nx", "0\r\nA : b\r\n\r\n",
	} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(checkChunked)
}

func checkChunked(t *testing.T, data []byte, size uint8) {
	t.Helper()
	var d, pieces Decoder
	body, used, done, err := decode(&d, data, len(data)+1)
	got, u, dn, e := decode(&pieces, data, int(size)+1)
	if !bytes.Equal(got, body) || u != used || dn != done || e != err || len(d.Trailers()) != len(pieces.Trailers()) {
		t.Fatalf("%q gives %q, %d, %t, %v; in pieces of %d %q, %d, %t, %v", data, body, used, done, err, int(size)+1, got, u, dn, e)
	}
	if done && err != nil || !done && (used != len(data) && err == nil || d.Trailers() != nil) {
		t.Fatalf("%q gives %d, %t, %v, %v", data, used, done, err, d.Trailers())
	}
	before := bytes.Clone(data)
	if pieces.Reset(64); pieces.IsWhole(data) != done || !bytes.Equal(data, before) {
		t.Fatalf("%q is whole: %t, or is changed: %q", before, !done, data)
	}
	if !done {
		return
	}
	reader := bufio.NewReader(io.MultiReader(strings.NewReader(field("Transfer-Encoding: chunked")), bytes.NewReader(data)))
	theirs, failed := http.ReadRequest(reader)
	if failed != nil {
		t.Fatal(failed)
	}
	read, failed := io.ReadAll(theirs.Body)
	// Net/http does not know the white space before an extension that RFC
	// 9112, section 7.1.1, has a recipient accept.
	if failed != nil && (bytes.Contains(data, []byte(" ;")) || bytes.Contains(data, []byte("\t;"))) {
		return
	}
	rest, _ := io.ReadAll(reader)
	if failed != nil || !bytes.Equal(read, body) || !bytes.Equal(rest, data[used:]) {
		t.Fatalf("%q gives %q and leaves %q; net/http has %q, %q, %v", data, body, data[used:], read, rest, failed)
	}
	mine := endToEnd(d.Trailers())
	for name, values := range mine {
		if !slices.Equal(values, theirs.Trailer[name]) {
			t.Errorf("trailer %s is %q, net/http has %q", name, values, theirs.Trailer[name])
		}
	}
}

func FuzzIPv6(f *testing.F) {
	for _, s := range ipv6Seeds {
		f.Add(s)
	}
	f.Fuzz(checkIPv6)
}
