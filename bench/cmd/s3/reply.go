//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

const (
	maxHead = 16 << 10      // of an answer
	maxBody = 16 * megabyte // of an answer, where it is kept
)

var (
	errEnded = errors.New("the connection ended before the answer did")

	crlf    = []byte("\r\n")
	headEnd = []byte("\r\n\r\n")
	// lastChunk ends every chunked body without trailers. An earlier one, within
	// the data, is told from it by decoding.
	lastChunk = []byte("\r\n0\r\n\r\n")
)

// A reply is an answer that is being received.
type reply struct {
	answer
	got  []byte // of the head and the body, what was kept
	size int    // of the head; 0 before it is complete
	left int    // bytes of a body of known length that are still to come
	body []byte // when all has come
}

// An answer is what of a response head matters here.
type answer struct {
	status  int
	length  int // of the body; negative: unknown
	chunked bool
	etag    string
	close   bool // the server ends the connection after it
}

func (r *reply) reset() { *r = reply{got: r.got[:0]} }

// take keeps what was received; done says that nothing of the answer is missing.
func (r *reply) take(b []byte) (done bool, err error) {
	if len(r.got)+len(b) > maxHead+maxBody {
		return false, fmt.Errorf("an answer of more than %d bytes", maxHead+maxBody)
	}
	r.got = append(r.got, b...)
	if r.size == 0 {
		end := bytes.Index(r.got, headEnd)
		if end < 0 {
			if len(r.got) > maxHead {
				err = fmt.Errorf("a head of more than %d bytes", maxHead)
			}
			return false, err
		}
		r.size = end + len(headEnd)
		if r.answer, err = parseHead(r.got[:end]); err != nil {
			return false, err
		}
		r.left, b = r.length, r.got[r.size:]
	}
	if r.chunked {
		return r.decode()
	}
	return r.came(len(b))
}

// came accounts for bytes of a body of known length.
func (r *reply) came(n int) (done bool, err error) {
	if r.left -= n; r.left < 0 {
		return false, fmt.Errorf("%d bytes after the end of the answer", -r.left)
	}
	if r.left == 0 {
		r.body = r.got[r.size:]
	}
	return r.left == 0, nil
}

// decode takes a chunked body apart, once its end may have come.
func (r *reply) decode() (done bool, err error) {
	in := r.got[r.size:]
	if !bytes.HasSuffix(in, lastChunk) && !bytes.Equal(in, lastChunk[len(crlf):]) {
		return false, nil
	}
	var body []byte
	for {
		line, rest, ok := bytes.Cut(in, crlf)
		if !ok {
			return false, nil
		}
		digits, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(digits), 16, 31)
		if err != nil {
			return false, fmt.Errorf("the size of a chunk: %w", err)
		}
		if n == 0 {
			r.body = body
			if len(rest) != len(crlf) {
				return false, fmt.Errorf("%d bytes after the end of the answer", len(rest)-len(crlf))
			}
			return true, nil
		}
		if len(rest) < int(n)+len(crlf) {
			return false, nil
		}
		body, in = append(body, rest[:n]...), rest[n:]
		if !bytes.HasPrefix(in, crlf) {
			return false, errors.New("a chunk that is longer than it says")
		}
		in = in[len(crlf):]
	}
}

// parseHead reads a head without its last line end.
func parseHead(b []byte) (a answer, err error) {
	line, rest, _ := bytes.Cut(b, crlf)
	after, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !ok || len(after) < 3 {
		return a, fmt.Errorf("the status line %q", line)
	}
	if a.status, err = strconv.Atoi(string(after[:3])); err != nil || a.status < 200 {
		return a, fmt.Errorf("the status line %q", line)
	}
	a.length = -1
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, crlf)
		if err := a.field(line); err != nil {
			return a, fmt.Errorf("the header line %q: %w", line, err)
		}
	}
	if !a.chunked && a.length < 0 {
		return a, errors.New("an answer without a length")
	}
	return a, nil
}

// field takes one line of a head.
func (a *answer) field(line []byte) (err error) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return errors.New("no name")
	}
	name, value := line[:colon], bytes.TrimSpace(line[colon+1:])
	is := func(want string) bool { return len(name) == len(want) && bytes.EqualFold(name, []byte(want)) }
	switch {
	case is("etag"):
		a.etag = string(value)
	case is("connection"):
		a.close = a.close || bytes.EqualFold(value, []byte("close"))
	case is("content-length"):
		var n uint64
		n, err = strconv.ParseUint(string(value), 10, 31)
		if err == nil && a.length >= 0 {
			err = errors.New("a second length")
		}
		a.length = int(n)
	case is("transfer-encoding"):
		if a.chunked = bytes.EqualFold(value, []byte("chunked")); !a.chunked {
			err = errors.New("an unknown coding")
		}
	}
	return err
}

// check says what is wrong with a whole answer; with its body, where that was kept.
func (r *reply) check(w *want, kept bool) error {
	if r.status != 200 {
		text := r.body
		if _, after, ok := bytes.Cut(text, []byte("<Code>")); ok {
			text, _, _ = bytes.Cut(after, []byte("</Code>"))
		}
		return fmt.Errorf("the status %d %s", r.status, text[:min(len(text), 100)])
	}
	if w.etag != "" && r.etag != w.etag {
		return fmt.Errorf("the ETag %s, expected %s", r.etag, w.etag)
	}
	if w.length >= 0 && (r.chunked || r.length != w.length) {
		return fmt.Errorf("a body of %d bytes, expected %d", r.length, w.length)
	}
	if !kept {
		return nil
	}
	return w.checkBody(r.body)
}
