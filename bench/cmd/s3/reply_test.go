//go:build linux

package main

import (
	"bytes"
	"strings"
	"testing"
)

// receive takes an answer in pieces of n bytes.
func receive(t testing.TB, in string, n int) (r reply, done bool, err error) {
	t.Helper()
	for len(in) > 0 && err == nil {
		if done {
			t.Fatalf("%q is behind the end", in)
		}
		piece := in[:min(n, len(in))]
		in = in[len(piece):]
		done, err = r.take([]byte(piece))
	}
	return r, done, err
}

func TestReply(t *testing.T) {
	for _, test := range []struct {
		name, in, err string
		want          answer
		body          string
		open          bool // more is to come
	}{
		{name: "a body of known length ends with it", in: "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: \"x\"\r\n\r\nbody", want: answer{status: 200, length: 4, etag: `"x"`}, body: "body"},
		{name: "an empty body is complete with the head", in: "HTTP/1.1 200 OK\r\ncontent-length:0\r\nCONNECTION: Close\r\n\r\n", want: answer{status: 200, close: true}},
		{name: "another status is an answer, too", in: "HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx", want: answer{status: 404, length: 1}, body: "x"},
		{name: "chunks are put together", in: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\n\r\n", want: answer{status: 200, length: -1, chunked: true}, body: "abc0123456789"},
		{name: "what looks like the last chunk may be data", in: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nab\r\n0\r\n\r\nc\r\n0\r\n\r\n", want: answer{status: 200, length: -1, chunked: true}, body: "ab\r\n0\r\n\r\nc"},
		{name: "no chunk at all is an empty body", in: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", want: answer{status: 200, length: -1, chunked: true}},
		{name: "a head that is not complete asks for more", in: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", open: true},
		{name: "a body that is not complete asks for more", in: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx", open: true},
		{name: "chunks without the last ask for more", in: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", open: true},
		{name: "an informational response is an error", in: "HTTP/1.1 100 Continue\r\n\r\n", err: "100"},
		{name: "an answer without a length is an error", in: "HTTP/1.1 200 OK\r\n\r\n", err: "without a length"},
		{name: "two lengths are an error", in: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", err: "second"},
		{name: "a length with a sign is an error", in: "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n", err: "+1"},
		{name: "another coding is an error", in: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", err: "coding"},
		{name: "a line without a colon is an error", in: "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", err: "nonsense"},
		{name: "another protocol is an error", in: "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", err: "HTTP/1.0"},
		{name: "an endless head is an error", in: "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 4000), err: "more than 16384 bytes"},
		{name: "a chunk without a size is an error", in: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n0\r\n\r\n", err: "size of a chunk"},
		{name: "a chunk that is longer than it says is an error", in: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", err: "longer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, n := range []int{1, 2, 7, len(test.in)} {
				got, done, err := receive(t, test.in, n)
				if test.err != "" {
					if err == nil || !strings.Contains(err.Error(), test.err) {
						t.Errorf("in pieces of %d: %v, expected %q", n, err, test.err)
					}
					continue
				}
				if err != nil || done == test.open || done && (got.answer != test.want || string(got.body) != test.body) {
					t.Errorf("in pieces of %d: %+v %q, %v, %v", n, got.answer, got.body, done, err)
				}
			}
		})
	}
	t.Run("bytes behind the end are an error", func(t *testing.T) {
		for _, in := range []string{
			"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n0\r\n\r\n",
		} {
			if _, _, err := receive(t, in, len(in)); err == nil || !strings.Contains(err.Error(), "after the end") {
				t.Errorf("%q: %v", in, err)
			}
		}
	})
	t.Run("a reply is used again from its beginning", func(t *testing.T) {
		r, _, _ := receive(t, "HTTP/1.1 404 Not Found\r\nETag: x\r\nContent-Length: 3\r\n\r\nabc", 100)
		r.reset()
		done, err := r.take([]byte("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nd"))
		if want := (answer{status: 200, length: 1}); !done || err != nil || r.answer != want || string(r.body) != "d" {
			t.Errorf("%+v, %v, %v", r, done, err)
		}
	})
}

// FuzzReply holds that an answer in pieces is what it is as a whole.
func FuzzReply(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", 3)
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 5)
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n\r\n0\r\n\r\n0\r\n\r\n", 1)
	f.Fuzz(func(t *testing.T, in string, at int) {
		var whole, pieces reply
		done, err := whole.take([]byte(in))
		if err != nil || !done {
			return
		}
		at = int(uint(at) % uint(len(in)+1))
		first, err := pieces.take([]byte(in[:at]))
		if err != nil {
			t.Fatalf("%q alone: %v", in[:at], err)
		}
		if first {
			if at != len(in) {
				t.Fatalf("%q is complete, and so is %q", in[:at], in)
			}
			return
		}
		done, err = pieces.take([]byte(in[at:]))
		if err != nil || !done || pieces.answer != whole.answer || !bytes.Equal(pieces.body, whole.body) {
			t.Fatalf("%+v %q, %v, %v; as a whole %+v %q", pieces.answer, pieces.body, done, err, whole.answer, whole.body)
		}
	})
}

func TestCheck(t *testing.T) {
	page := func(keys ...string) string {
		var b strings.Builder
		for _, k := range keys {
			b.WriteString("<Contents><Key>" + k + "</Key></Contents>")
		}
		return "<ListBucketResult>" + b.String() + "</ListBucketResult>"
	}
	object := want{etag: `"e"`, length: 3, body: []byte("abc")}
	listing := want{length: -1, first: "b", last: "d", keys: 3}
	for _, test := range []struct {
		name, body, err string
		a               answer
		w               want
	}{
		{name: "the right object passes", w: object, a: answer{status: 200, length: 3, etag: `"e"`}, body: "abc"},
		{name: "another status fails, with the code that S3 gives", w: object, a: answer{status: 403}, body: "<Error><Code>AccessDenied</Code></Error>", err: "403 AccessDenied"},
		{name: "another status fails without a code", w: object, a: answer{status: 502}, body: "bad", err: "502 bad"},
		{name: "another ETag fails", w: object, a: answer{status: 200, length: 3, etag: `"f"`}, body: "abc", err: "ETag"},
		{name: "another length fails", w: object, a: answer{status: 200, length: 2, etag: `"e"`}, body: "ab", err: "2 bytes, expected 3"},
		{name: "an unknown length fails", w: object, a: answer{status: 200, length: -1, chunked: true, etag: `"e"`}, body: "abc", err: "expected 3"},
		{name: "another body fails", w: object, a: answer{status: 200, length: 3, etag: `"e"`}, body: "abd", err: "from byte 2 on"},
		{name: "the right page passes", w: listing, a: answer{status: 200}, body: page("b", "c", "d")},
		{name: "a page that begins elsewhere fails", w: listing, a: answer{status: 200}, body: page("a", "c", "d"), err: `from "a"`},
		{name: "a page that ends elsewhere fails", w: listing, a: answer{status: 200}, body: page("b", "c", "e"), err: `to "e"`},
		{name: "a shorter page fails", w: listing, a: answer{status: 200}, body: page("b", "d"), err: "2 keys"},
		{name: "an empty page fails", w: listing, a: answer{status: 200}, body: page(), err: "0 keys"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := reply{answer: test.a, body: []byte(test.body)}
			err := r.check(&test.w, true)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("%v, expected %q", err, test.err)
			}
		})
	}
}
