package conformance

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// A conn is one end of a TCP connection with the proxy: a client's, or one that
// the upstream accepted. A step that does not find what it expects ends the
// script. A conn is used by one goroutine at a time, one more may send.
type conn struct {
	x    *exchange
	name string
	tcp  *net.TCPConn
	in   *bufio.Reader
	// of is the number of the target that accepted it; for the upstream's.
	of int
}

// buffered bounds what the kernel holds at this end, in bytes, so that less is
// needed to fill a way through the proxy.
const buffered = 128 << 10

func newConn(x *exchange, name string, tcp *net.TCPConn) *conn {
	_ = tcp.SetReadBuffer(buffered)
	_ = tcp.SetWriteBuffer(buffered)
	return &conn{x: x, name: name, tcp: tcp, in: bufio.NewReaderSize(tcp, 64<<10)}
}

// send sends text in one write.
func (c *conn) send(text string) {
	if err := c.write(text); err != nil {
		c.x.differs("%s cannot send: %s", c.name, plain(err))
	}
}

// offer is send where the proxy may have had enough already.
func (c *conn) offer(text string) { _ = c.write(text) }

func (c *conn) write(text string) error {
	_ = c.tcp.SetWriteDeadline(time.Now().Add(c.x.patience))
	_, err := io.WriteString(c.tcp, text)
	return err
}

// sendApart sends each part after the proxy has read the one before, so that it
// reads them apart.
func (c *conn) sendApart(parts ...string) {
	for _, part := range parts {
		if part != "" {
			c.send(part)
			c.taken()
		}
	}
}

// taken returns once the proxy has read all that was sent, or has closed.
func (c *conn) taken() {
	c.waitForProxy("stops reading", func(_ bool, unread uint32) bool { return unread == 0 })
}

// arrived returns once an end that was sent has arrived at the proxy, which may
// not know yet.
func (c *conn) arrived() {
	c.waitForProxy("gets no end", func(open bool, _ uint32) bool { return !open })
}

// waitForProxy waits for a state of the proxy's end of the connection.
func (c *conn) waitForProxy(otherwise string, holds func(open bool, unread uint32) bool) {
	deadline := time.NewTimer(c.x.patience)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for try := 0; ; try++ {
		if open, unread, known := kernelView(c.tcp.RemoteAddr(), c.tcp.LocalAddr()); !known || holds(open, unread) {
			return
		}
		if try < 20 { // it is about to
			runtime.Gosched()
			continue
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			c.x.differs("the proxy %s from %s", otherwise, c.name)
		}
	}
}

// halfClose ends this direction alone; close ends both. reset cuts both, so that
// the other end gets an error where it would have got an end.
func (c *conn) halfClose() { _ = c.tcp.CloseWrite() }
func (c *conn) close()     { _ = c.tcp.Close() }
func (c *conn) reset() {
	_ = c.tcp.SetLinger(0)
	_ = c.tcp.Close()
}

// expect reads text, exactly.
func (c *conn) expect(text string) {
	got := make([]byte, len(text))
	c.hurry()
	if n, err := io.ReadFull(c.in, got); err != nil || string(got) != text {
		c.x.differs("%s gets %q, expected %q%s", c.name, shortened(string(got[:n])), shortened(text), and(err))
	}
}

// ends expects the proxy to close the connection, and nothing before that.
func (c *conn) ends() {
	c.hurry()
	b, err := c.in.Peek(1)
	switch {
	case len(b) > 0:
		more, _ := c.in.Peek(c.in.Buffered())
		c.x.differs("%s gets %q, expected the end", c.name, shortened(string(more)))
	case isTimeout(err):
		c.x.differs("%s is not closed", c.name)
	}
}

// endsClean is ends where a reset would be wrong.
func (c *conn) endsClean() {
	c.ends()
	if _, err := c.in.Peek(1); !errors.Is(err, io.EOF) {
		c.x.differs("%s is reset, expected an orderly end", c.name)
	}
}

// response reads the next answer to a request with this method, interim ones
// included, whole.
func (c *conn) response(to string) *message {
	m, err := c.tryResponse(to)
	if err != nil {
		c.x.differs("%s gets no whole answer: %s", c.name, m.cutBy(err))
	}
	return m
}

func (c *conn) tryResponse(to string) (*message, error) {
	c.hurry()
	return readResponse(c.in, to)
}

// responseHead reads the head of an answer that goes on.
func (c *conn) responseHead() *message {
	c.hurry()
	m, err := readHead(c.in)
	if err == nil {
		err = m.parseStatus()
	}
	if err != nil {
		c.x.differs("%s gets no head of an answer: %s", c.name, plain(err))
	}
	return m
}

// request reads the next request, whole.
func (c *conn) request() *message {
	m, err := c.tryRequest()
	if err != nil {
		c.x.differs("%s gets no whole request: %s", c.name, m.cutBy(err))
	}
	return m
}

func (c *conn) tryRequest() (*message, error) {
	c.hurry()
	return readRequest(c.in)
}

// requestHead reads the head of a request that goes on.
func (c *conn) requestHead() *message {
	c.hurry()
	m, err := readHead(c.in)
	if err == nil {
		err = m.parseRequest()
	}
	if err != nil {
		c.x.differs("%s gets no head of a request: %s", c.name, plain(err))
	}
	return m
}

// chunk reads the next chunk of a chunked body; the last one is empty.
func (c *conn) chunk() string {
	c.hurry()
	data, _, err := readChunk(c.in)
	if err != nil {
		c.x.differs("%s gets no whole chunk: %s", c.name, plain(err))
	}
	return data
}

// data reads a body of this framing until all of text has arrived, however it is
// cut into chunks.
func (c *conn) data(m *message, text string) {
	if len(m.values("Transfer-Encoding")) == 0 {
		c.expect(text)
		return
	}
	for got := ""; got != text; {
		part := c.chunk()
		got += part
		if part == "" || !strings.HasPrefix(text, got) {
			c.x.differs("%s gets the body %q, expected %q", c.name, shortened(got), shortened(text))
		}
	}
}

// hurry gives the proxy its time for the next read.
func (c *conn) hurry() { _ = c.tcp.SetReadDeadline(time.Now().Add(c.x.patience)) }

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// plain says what an error of a connection means, in a few words.
func plain(err error) string {
	switch {
	case isTimeout(err):
		return "nothing comes"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	}
	return err.Error()
}

func and(err error) string {
	if err == nil {
		return ""
	}
	return ", then " + plain(err)
}

// shortened keeps a report readable.
func shortened(s string) string {
	if len(s) > 60 {
		return s[:40] + "…" + s[len(s)-20:]
	}
	return s
}
