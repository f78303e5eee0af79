//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
)

// maxHead is the longest response head that the generator takes.
const maxHead = 16 << 10

var (
	crlf    = []byte("\r\n")
	headEnd = []byte("\r\n\r\n")
)

// A head is what the generator wants to know of a response.
type head struct {
	size   int  // bytes, with the empty line
	length int  // of the body, from Content-Length
	close  bool // the proxy announced that it closes the connection
}

// parseHead reads the head of a response with status 200 and a Content-Length,
// the only one that a workload expects: every other is an error. ok is false
// while more bytes are needed.
func parseHead(b []byte) (h head, ok bool, err error) {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		if len(b) >= maxHead {
			return head{}, false, fmt.Errorf("a response head of more than %d bytes", maxHead)
		}
		return head{}, false, nil
	}
	h = head{size: end + len(headEnd), length: -1}
	line, rest, _ := bytes.Cut(b[:end], crlf)
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return head{}, false, fmt.Errorf("the status line %q", line)
	}
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, crlf)
		if err := h.field(line); err != nil {
			return head{}, false, err
		}
	}
	if h.length < 0 {
		return head{}, false, errors.New("a response without Content-Length")
	}
	return h, true, nil
}

// field takes one line. It looks at the length of the name first, which rules
// out most.
func (h *head) field(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return fmt.Errorf("the header line %q", line)
	}
	name, value := line[:colon], bytes.TrimSpace(line[colon+1:])
	switch {
	case colon == len("connection") && bytes.EqualFold(name, []byte("connection")):
		h.close = h.close || bytes.EqualFold(value, []byte("close"))
	case colon == len("content-length") && bytes.EqualFold(name, []byte("content-length")):
		n, ok := decimal(value)
		if !ok || h.length >= 0 {
			return fmt.Errorf("the header line %q", line)
		}
		h.length = n
	case colon == len("transfer-encoding") && bytes.EqualFold(name, []byte("transfer-encoding")):
		return fmt.Errorf("the header line %q", line)
	}
	return nil
}

// decimal reads up to nine digits and nothing else, without an allocation.
func decimal(b []byte) (n int, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, len(b) > 0 && len(b) < 10
}
