//go:build linux

package main

import (
	"errors"
	"io"
	"net"
	"time"
)

// A conn is a connection to a server on which requests wait for their answers: for
// what is not measured request by request. One is under way at a time.
type conn struct {
	net.Conn
	buf   []byte
	reply reply
}

// dial opens a connection, on which nothing lasts longer than the deadline.
func dial(address string, deadline time.Time) (*conn, error) {
	c, err := net.DialTimeout("tcp", address, time.Until(deadline))
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, buf: make([]byte, 32<<10)}, c.SetDeadline(deadline)
}

// do sends a request and reads and checks the whole of its answer. The body is
// valid until the next request. The connection is of no use after an error, nor
// where the answer says so.
func (c *conn) do(r *request) (body []byte, err error) {
	pieces := net.Buffers{r.head, r.body}
	_, sent := pieces.WriteTo(c.Conn)
	c.reply.reset()
	for done := false; !done; {
		n, err := c.Read(c.buf)
		if n > 0 {
			// What came explains more than the error does.
			done, err = c.reply.take(c.buf[:n])
		} else if err == io.EOF {
			err = errEnded
		}
		if err != nil {
			return nil, errors.Join(sent, err)
		}
	}
	if err := c.reply.check(&r.want, true); err != nil {
		return nil, err
	}
	return c.reply.body, sent
}

// A caller makes requests one after another, on a new connection where the server
// has closed the last.
type caller struct {
	address  string
	deadline time.Time
	conn     *conn // nil: none is open
}

// call makes one.
func (c *caller) call(r *request) (body []byte, err error) {
	if c.conn == nil {
		if c.conn, err = dial(c.address, c.deadline); err != nil {
			return nil, err
		}
	}
	body, err = c.conn.do(r)
	if err != nil || c.conn.reply.close {
		c.hangUp()
	}
	return body, err
}

// extend sets another deadline.
func (c *caller) extend(deadline time.Time) {
	if c.deadline = deadline; c.conn != nil {
		_ = c.conn.SetDeadline(deadline) // fails where the next request does
	}
}

func (c *caller) hangUp() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}
