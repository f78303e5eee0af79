package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// A socket is one side of a proxied connection: a connection with deadlines that
// cost nothing while they are renewed.
//
// Moving a deadline of a connection costs a lock and a timer, four times per
// request. So a deadline is set an eighth later than it was asked for, and left
// alone while it is late enough: what waits at most d waits at most 9/8 d, and
// a busy connection moves its deadline once in d/8.
//
// A socket is used by one goroutine per direction.
type socket struct {
	net.Conn
	raw     syscall.RawConn // nil unless the connection is plain TCP
	readBy  time.Duration   // the deadlines that are set, on the clock of [clock.now]; 0: none
	writeBy time.Duration

	reading, writing *transfer // once there was one
}

func newSocket(c net.Conn) socket {
	s := socket{Conn: c}
	if tcp, ok := c.(*net.TCPConn); ok {
		s.raw, _ = tcp.SyscallConn()
	}
	return s
}

// A transfer is what the callback of a read or a write, made past Go's scheduler, works
// on.
type transfer struct {
	do  func(fd uintptr) bool // bound once
	p   []byte
	n   int
	err error
}

// Read is as that of [net.Conn].
func (s *socket) Read(p []byte) (int, error) {
	if s.raw == nil {
		return s.Conn.Read(p)
	}
	if s.reading == nil {
		s.reading = &transfer{}
		s.reading.do = s.reading.read
	}
	return s.reading.run(s.raw.Read, p)
}

// Write is as that of [net.Conn].
func (s *socket) Write(p []byte) (int, error) {
	if s.raw == nil {
		return s.Conn.Write(p)
	}
	if s.writing == nil {
		s.writing = &transfer{}
		s.writing.do = s.writing.write
	}
	return s.writing.run(s.raw.Write, p)
}

func (t *transfer) run(way func(func(fd uintptr) bool) error, p []byte) (int, error) {
	t.p, t.n, t.err = p, 0, nil
	err := way(t.do)
	t.p = nil
	if err != nil { // it ended the wait
		return t.n, err
	}
	return t.n, t.err
}

func (t *transfer) read(fd uintptr) bool {
	t.n, t.err = readFD(fd, t.p)
	return t.err != syscall.EAGAIN
}

func (t *transfer) write(fd uintptr) bool {
	for t.n < len(t.p) {
		n, err := writeFD(fd, t.p[t.n:], 0)
		if t.err = err; err != nil {
			return true
		}
		if n == 0 {
			return false
		}
		t.n += n
	}
	return true
}

// epoch is where the engine's clock starts. Durations since then are monotonic
// and fit a register.
var epoch = time.Now()

func now() time.Duration { return time.Since(epoch) }

// late is a deadline in the past.
var late = time.Unix(1, 0)

// readWithin lets the next read wait at most d from t on.
func (s *socket) readWithin(t, d time.Duration) {
	if s.readBy < t+d || s.readBy > t+d+d/8 {
		s.readBy = t + d + d/8
		_ = s.SetReadDeadline(epoch.Add(s.readBy))
	}
}

// writeWithin lets the next write wait at most d from t on.
func (s *socket) writeWithin(t, d time.Duration) {
	if s.writeBy < t+d || s.writeBy > t+d+d/8 {
		s.writeBy = t + d + d/8
		_ = s.SetWriteDeadline(epoch.Add(s.writeBy))
	}
}

// readNever lets reads wait for ever.
func (s *socket) readNever() {
	if s.readBy != 0 {
		s.readBy = 0
		_ = s.SetReadDeadline(time.Time{})
	}
}

// writeAll writes p. A deadline that passes while bytes go out is renewed: slow
// is not stuck.
func (s *socket) writeAll(p []byte, idle time.Duration) (written int, err error) {
	for {
		s.writeWithin(now(), idle)
		n, err := s.Write(p[written:])
		written += n
		if err == nil || n == 0 || !isTimeout(err) {
			return written, err
		}
	}
}

// CloseWrite ends the sending direction.
func (s *socket) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return s.Close()
}

// interrupt ends whatever waits for the connection, or uses it, as that will see.
// Anybody may call it.
func (s *socket) interrupt() {
	if bare, ok := s.Conn.(bareConn); ok {
		bare.interrupt()
		return
	}
	_ = s.Close()
}

// spoil makes the end of the connection a reset, so that the other side does not
// take what it got for the whole.
func (s *socket) spoil() {
	if tcp, ok := s.Conn.(interface{ SetLinger(seconds int) error }); ok {
		_ = tcp.SetLinger(0)
	}
}

// readFD reads what there is. n is 0 with io.EOF at the end, and with
// syscall.EAGAIN where there is nothing yet. The descriptor belongs to a
// callback of [syscall.RawConn], or to a connection that the poller does not know.
func readFD(fd uintptr, p []byte) (int, error) {
	for {
		n, err := recv(fd, p, 0)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// quietFD reports whether a connection is open and has nothing to read.
func quietFD(fd uintptr) bool {
	var b [1]byte
	_, err := recv(fd, b[:], syscall.MSG_PEEK)
	return err == syscall.EAGAIN
}

// resetFD reports whether the other side has reset the connection.
func resetFD(fd uintptr) bool {
	var b [1]byte
	_, err := recv(fd, b[:], syscall.MSG_PEEK)
	return err == syscall.ECONNRESET
}

// writeFD writes what fits. Where nothing does, n is 0 without an error.
func writeFD(fd uintptr, p []byte, flags uintptr) (int, error) {
	for {
		n, err := send(fd, p, flags)
		switch err {
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, nil
		default:
			return max(n, 0), err
		}
	}
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
