package ingressclient

import (
	"bytes"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A tap is a connection for one request that shows the heads of the messages
// that pass, byte for byte: net/http forgets the order and the spelling of the
// fields that came, and which it added itself.
type tap struct {
	net.Conn
	log *narrator

	mu        sync.Mutex
	sent      headScanner
	came      headScanner
	heads     []byte    // of all answers so far, 1xx included
	status    int       // of the last of them
	firstByte time.Time // when the answer began
	readErr   error     // what ended the reading
}

// Write implements [net.Conn].
func (t *tap) Write(p []byte) (int, error) {
	t.mu.Lock()
	if head, _ := t.sent.feed(p); head != nil {
		t.log.head("> ", head)
	}
	t.mu.Unlock()
	return t.Conn.Write(p)
}

// Read implements [net.Conn].
func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if n > 0 && t.firstByte.IsZero() {
		t.firstByte = time.Now()
	}
	if err != nil && t.readErr == nil {
		t.readErr = err
	}
	for head, rest := t.came.feed(p[:n]); head != nil; head, rest = t.came.feed(rest) {
		t.log.head("< ", head)
		t.heads = append(t.heads, head...)
		t.status = statusOf(head)
		if t.status >= 100 && t.status < 200 && t.status != 101 {
			t.came = headScanner{} // the answer proper is to come
		}
	}
	return n, err
}

// seen returns what has passed so far.
func (t *tap) seen() (heads []byte, firstByte time.Time, readErr error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.heads), t.firstByte, t.readErr
}

// begun returns the heads and what came of one that is not complete.
func (t *tap) begun() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Concat(t.heads, t.came.buf)
}

// maxHead is where a headScanner gives up; net/http does so before.
const maxHead = 2 << 20

// A headScanner finds the end of a message's head in a stream.
type headScanner struct {
	buf  []byte
	done bool
}

// feed takes the next bytes. Once the head is complete it returns it, with the
// empty line at its end and what came after, and takes no more.
func (h *headScanner) feed(p []byte) (head, rest []byte) {
	if h.done || len(p) == 0 {
		return nil, nil
	}
	from := max(0, len(h.buf)-3)
	h.buf = append(h.buf, p...)
	end := -1
	for _, mark := range []string{"\n\r\n", "\n\n"} {
		if i := bytes.Index(h.buf[from:], []byte(mark)); i >= 0 && (end < 0 || from+i+len(mark) < end) {
			end = from + i + len(mark)
		}
	}
	if end < 0 {
		h.done = len(h.buf) > maxHead
		return nil, nil
	}
	head, rest = h.buf[:end:end], h.buf[end:]
	h.buf, h.done = nil, true
	return head, rest
}

// statusOf reads the status of a head: "HTTP/1.1 200 OK".
func statusOf(head []byte) int {
	fields := bytes.Fields(head[:bytes.IndexByte(head, '\n')])
	if len(fields) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(string(fields[1]))
	return n
}
