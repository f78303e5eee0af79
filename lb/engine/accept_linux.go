//go:build linux && !386 && !s390x

package engine

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// A door is the listening socket, as the event loops see it. The first of them watches
// it while there is room for a client. Where that has more to accept than it can at
// once, it calls the second one in, that the third, and so on: a loop that is awake
// already takes one more connection for less than it costs to wake another.
type door struct {
	fd     int // of the socket
	addr   net.Addr
	prompt bool // connections inherit TCP_NODELAY. Multipath TCP knows it since Linux 5.17

	// What follows is guarded by Engine.mu.

	open   bool        // the loops watch it
	closed bool        // for good
	coming int         // how many loops are accepting a connection
	pause  *time.Timer // opens it again; nil: nothing went wrong
	length time.Duration
}

// acceptsAtOnce is how many connections a loop takes before it looks after those
// that it has.
const acceptsAtOnce = 8

// uneven is by how many clients a loop may be ahead of another one before a client
// that stays is the other one's.
const uneven = 4

// acceptInLoops accepts with the loops until ctx ends, if ln is plain TCP; otherwise
// it returns false.
func (e *Engine) acceptInLoops(ctx context.Context, ln net.Listener) (ok bool, err error) {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return false, nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return true, err
	}
	d := &door{addr: ln.Addr()}
	if d.fd, err = duplicate(raw); err != nil {
		return true, err
	}
	d.prompt = sendAtOnce(uintptr(d.fd)) == nil
	e.mu.Lock()
	e.door = d
	e.openDoor()
	e.mu.Unlock()
	// Go's poller would wake a thread for each connection that comes to it.
	_ = ln.Close()
	<-ctx.Done()
	e.closeDoor()
	return true, nil
}

// ControlListener calls f with the descriptor of the socket that Serve was given ln
// for, as [syscall.RawConn] does.
func (e *Engine) ControlListener(ln net.Listener, f func(fd uintptr)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.door == nil {
		return controlListener(ln, f)
	}
	if e.door.closed {
		return net.ErrClosed
	}
	f(uintptr(e.door.fd))
	return nil
}

// duplicate returns another descriptor of a socket, which Go's poller does not
// know.
func duplicate(raw syscall.RawConn) (fd int, err error) {
	gone := raw.Control(func(old uintptr) {
		n, _, failed := syscall.RawSyscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
		if fd = int(n); failed != 0 {
			err = os.NewSyscallError("fcntl", failed)
		}
	})
	return fd, errors.Join(gone, err)
}

// sendAtOnce has what is written leave without waiting for more.
func sendAtOnce(fd uintptr) error {
	return syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
}

// openDoor has the loops watch it; mu is held.
func (e *Engine) openDoor() {
	e.door.open = true
	for i, l := range e.loops {
		ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: doorSlot}
		if i > 0 {
			ev.Events = syscall.EPOLLONESHOT // nothing, until it is called
		}
		if err := syscall.EpollCtl(l.fd, syscall.EPOLL_CTL_ADD, e.door.fd, &ev); err != nil {
			e.holdDoor(os.NewSyscallError("epoll_ctl", err))
			return
		}
	}
}

// shutDoor ends that; mu is held.
func (e *Engine) shutDoor() {
	e.door.open = false
	for _, l := range e.loops {
		_ = syscall.EpollCtl(l.fd, syscall.EPOLL_CTL_DEL, e.door.fd, &syscall.EpollEvent{})
	}
}

// closeDoor shuts it for good, and returns when no loop is accepting.
func (e *Engine) closeDoor() {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.door
	d.closed = true
	if e.shutDoor(); d.pause != nil {
		d.pause.Stop()
	}
	for d.coming > 0 {
		e.left.Wait()
	}
	_ = syscall.Close(d.fd)
}

// reopen opens the door where it was shut for want of room; mu is held.
func (e *Engine) reopen() {
	if d := e.door; d != nil && !d.open && !d.closed && d.pause == nil && e.hasRoom() {
		e.openDoor()
	}
}

// hasRoom reports whether there is room for one more client; mu is held.
func (e *Engine) hasRoom() bool {
	n := len(e.clients)
	if e.door != nil {
		n += e.door.coming
	}
	return n < e.settings.Load().MaxConnections
}

// expect makes room for a connection, which [Engine.arrive] ends, or reports that
// there is none.
func (e *Engine) expect() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.door
	switch {
	case !d.open:
		return false
	case !e.hasRoom():
		e.shutDoor()
		return false
	}
	d.coming++
	return true
}

// arrive takes a client in; nil: none came.
func (e *Engine) arrive(c *client) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.door
	if d.coming--; c != nil {
		e.clients[c] = struct{}{}
		d.length = 0
	} else {
		e.reopen() // another loop may have seen the room that this one had taken
	}
	if d.closed {
		e.left.Broadcast()
	}
}

// cannotAccept shuts the door for a while.
func (e *Engine) cannotAccept(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.door.open {
		e.holdDoor(os.NewSyscallError("accept4", err))
	}
}

// holdDoor shuts the door for a while; mu is held. Out of descriptors, most likely:
// connections that end free some.
func (e *Engine) holdDoor(err error) {
	d := e.door
	e.shutDoor()
	d.length = min(max(2*d.length, 5*time.Millisecond), time.Second)
	in := d.length
	e.running.Go(func() { e.log.Warn(noAccept, "error", err, "in", in) }) // a log may be slow
	d.pause = time.AfterFunc(in, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		d.pause = nil
		e.reopen()
	})
}

// accept accepts what waits at the door.
func (l *loop) accept() {
	e := l.e
	for left := acceptsAtOnce; left > 0; left-- {
		if !e.expect() {
			return
		}
		fd, remote, err := acceptFD(uintptr(e.door.fd))
		switch err {
		case nil:
		case syscall.EINTR, syscall.ECONNABORTED: // the client has left already
			e.arrive(nil)
			continue
		case syscall.EAGAIN: // another loop was faster
			e.arrive(nil)
			return
		default:
			e.arrive(nil)
			e.cannotAccept(err)
			return
		}
		if !e.door.prompt {
			_ = sendAtOnce(fd)
		}
		c := newClient(e, &conn{fd: fd, local: e.door.addr, remote: remote})
		c.fd = int(fd)
		e.Accepted.Add(1)
		if left == 1 {
			l.callNext()
		}
		e.arrive(c)
		l.seat(c)
	}
}

// callNext has the next loop accept once, if there is one. The door is sure to be there
// while this loop accepts.
func (l *loop) callNext() {
	if next := l.lane; next < len(l.e.loops) {
		ev := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLONESHOT, Fd: doorSlot}
		_ = syscall.EpollCtl(l.e.loops[next].fd, syscall.EPOLL_CTL_MOD, l.e.door.fd, &ev) // fails where it was shut
	}
}

// seat gives a new client its place, and looks for its request at once.
func (l *loop) seat(c *client) {
	c.due = c.since + l.e.settings.Load().KeepAlive
	_ = l.enter(slot{c: c}, -1)
	l.wakeBy(c.due)
	l.read(c, 0)
}

// even gives a client that nothing is under way on, and that is not watched yet, to a
// loop that has fewer clients, and reports true, or false where none has.
func (l *loop) even(c *client) bool {
	to := l
	for _, other := range l.e.loops {
		if other.clients.Load() < to.clients.Load() {
			to = other
		}
	}
	if to.clients.Load()+uneven >= l.clients.Load() {
		return false
	}
	l.leave(c.slot)
	c.watched = true
	due := c.due // as soon as it is there, c is the other loop's
	if to.enter(slot{c: c}, c.fd) != nil {
		c.watched = false
		_ = l.enter(slot{c: c}, -1)
		return false
	}
	to.wakeBy(due)
	return true
}
