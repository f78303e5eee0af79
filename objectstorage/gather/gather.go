// Package gather sends a small answer of an HTTP server with one system call.
//
// net/http has a buffer of 4 KiB on a connection, so that the head and a body of a
// few KiB leave in two pieces or three: each wakes the client, and for a small object
// the system calls cost more than all else. [Listener] makes connections that can
// hold back what is written; [Do] holds back what a handler writes, and lets it go
// at once.
package gather

import (
	"io"
	"net"
	"net/http"
	"sync"
)

// most is how many bytes are held back. What is more goes out as it comes.
const most = 64 << 10

// Listener returns ln with connections for [Do]. Those that are not TCP's it leaves
// as they are.
func Listener(ln net.Listener) net.Listener { return listener{ln} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		g := &conn{TCPConn: tcp}
		g.local = address{tcp.LocalAddr(), g}
		return g, nil
	}
	return c, err
}

// buffers are for what is held back.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// A conn is a TCP connection that holds back what is written while it is told to.
type conn struct {
	*net.TCPConn
	local address

	mu   sync.Mutex // TLS may write on behalf of a reader
	held *[]byte    // nil: nothing is held back
}

// An address leads from the context of a request, which has it under
// [http.LocalAddrContextKey], to the connection.
type address struct {
	net.Addr
	conn *conn
}

func (c *conn) LocalAddr() net.Addr { return c.local }

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return c.TCPConn.Write(p)
	}
	if len(*c.held)+len(p) <= most {
		*c.held = append(*c.held, p...)
		return len(p), nil
	}
	if err := c.send(); err != nil {
		return 0, err
	}
	return c.TCPConn.Write(p)
}

// ReadFrom keeps sendfile(2) where nothing is held back.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if c.holds() {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	return c.TCPConn.ReadFrom(r)
}

func (c *conn) holds() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held != nil
}

func (c *conn) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = buffers.Get().(*[]byte)
	}
}

// release sends what was held back, and holds back no more. Where that fails it closes
// the connection: the server has been told that all of it was written, and would write
// the next answer behind what did go out, into the body that broke off.
func (c *conn) release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return nil
	}
	err := c.send()
	if err != nil {
		_ = c.TCPConn.Close()
	}
	buffers.Put(c.held)
	c.held = nil
	return err
}

// send sends what is held back. c.mu is held.
func (c *conn) send() error {
	if len(*c.held) == 0 {
		return nil
	}
	_, err := c.TCPConn.Write(*c.held)
	*c.held = (*c.held)[:0]
	return err
}

// Do calls write, which writes the whole answer to r into w, and sends what it wrote
// at once, where the connection can: nothing is sent before, unless it is more than
// 64 KiB. Where what was held back cannot be sent, the connection is closed.
func Do(w http.ResponseWriter, r *http.Request, write func() error) (err error) {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(address)
	if !ok {
		return write()
	}
	local.conn.hold()
	defer func() {
		if released := local.conn.release(); err == nil {
			err = released
		}
	}()
	if err := write(); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
