//go:build linux && !386 && !s390x

package engine

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A conn is a TCP connection. It begins as a bare descriptor, which an event loop
// may wait for. What waits for it in another way makes it a file, which Go's poller
// knows.
//
// The descriptor belongs to whoever serves the connection; others may
// [conn.interrupt] it, and use it as soon as it is a file.
type conn struct {
	local  net.Addr
	remote netip.AddrPort

	file atomic.Pointer[os.File] // nil while bare
	mu   sync.Mutex              // for the end of being bare
	fd   uintptr
	done bool // closed
}

// descriptor returns what the connection is while the poller does not know it.
func (c *conn) descriptor() uintptr { return c.fd }

// waiting returns the connection as one that can wait.
func (c *conn) waiting() (*os.File, error) {
	if f := c.file.Load(); f != nil {
		return f, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return nil, net.ErrClosed
	}
	f := c.file.Load()
	if f == nil {
		f = os.NewFile(c.fd, "tcp")
		c.file.Store(f)
	}
	return f, nil
}

// interrupt ends whatever waits for the connection, as the goroutine that serves
// it will see.
func (c *conn) interrupt() {
	c.mu.Lock()
	f := c.file.Load()
	if f == nil && !c.done {
		_ = syscall.Shutdown(int(c.fd), syscall.SHUT_RDWR)
	}
	c.mu.Unlock()
	if f != nil {
		_ = f.Close()
	}
}

func (c *conn) Close() error {
	c.mu.Lock()
	f, done := c.file.Load(), c.done
	c.done = true
	c.mu.Unlock()
	switch {
	case f != nil:
		return f.Close()
	case done:
		return net.ErrClosed
	}
	return closeFD(c.fd)
}

func (c *conn) Read(p []byte) (int, error) {
	f, err := c.waiting()
	if err != nil {
		return 0, err
	}
	return f.Read(p)
}

func (c *conn) Write(p []byte) (int, error) {
	f, err := c.waiting()
	if err != nil {
		return 0, err
	}
	return f.Write(p)
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	f, err := c.waiting()
	if err != nil {
		return err
	}
	return f.SetReadDeadline(t)
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	f, err := c.waiting()
	if err != nil {
		return err
	}
	return f.SetWriteDeadline(t)
}

// SyscallConn implements [syscall.Conn].
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	f, err := c.waiting()
	if err != nil {
		return nil, err
	}
	return f.SyscallConn()
}

// CloseWrite ends the sending direction.
func (c *conn) CloseWrite() error {
	return c.control(func(fd int) error { return syscall.Shutdown(fd, syscall.SHUT_WR) })
}

// SetLinger is as that of [net.TCPConn].
func (c *conn) SetLinger(seconds int) error {
	return c.control(func(fd int) error {
		l := syscall.Linger{Onoff: 1, Linger: int32(seconds)}
		if seconds < 0 {
			l = syscall.Linger{}
		}
		return syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &l)
	})
}

func (c *conn) control(do func(fd int) error) (err error) {
	c.mu.Lock()
	if c.file.Load() == nil {
		defer c.mu.Unlock()
		if c.done {
			return net.ErrClosed
		}
		return do(int(c.fd))
	}
	c.mu.Unlock()
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if gone := raw.Control(func(fd uintptr) { err = do(int(fd)) }); gone != nil {
		return gone
	}
	return err
}
