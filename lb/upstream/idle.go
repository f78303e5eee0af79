package upstream

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A Closer is a connection, as far as [Idle] has to do with it. One that has
// RemoteAddr too, as a [net.Conn] does, is not kept once the target's name leads
// elsewhere.
type Closer interface{ Close() error }

// Idle is the stack of the idle connections of one target. The newest is taken
// first, so that those that are not needed grow old and go. Its methods may be
// called concurrently; the lock is held for a few instructions, never while a
// connection is closed.
type Idle struct {
	mu      sync.Mutex
	stack   []idleConn // the oldest first
	max     int
	timeout time.Duration
	shut    bool             // the target is draining or was removed
	gone    []netip.AddrPort // where the target's name does not lead any more
}

type idleConn struct {
	conn  Closer
	since time.Time
}

// Push keeps a connection that is idle from now on. It returns false where it
// does not: there are enough, the target is draining or was removed, or its
// name leads elsewhere by now. Then the caller closes it.
func (i *Idle) Push(c Closer, now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.shut || len(i.stack) >= i.max || len(i.gone) > 0 && slices.Contains(i.gone, addrOf(c)) {
		return false
	}
	i.stack = append(i.stack, idleConn{c, now})
	return true
}

// Pop takes the connection that became idle last, and returns for how long it
// was; nil where there is none. It closes those that are too old.
func (i *Idle) Pop(now time.Time) (c Closer, idle time.Duration) {
	i.mu.Lock()
	n := len(i.stack)
	if n == 0 {
		i.mu.Unlock()
		return nil, 0
	}
	top := i.stack[n-1]
	if idle = now.Sub(top.since); idle < i.timeout {
		i.stack[n-1] = idleConn{}
		i.stack = i.stack[:n-1]
		i.mu.Unlock()
		return top.conn, idle
	}
	// All others are older still.
	all := i.takeAll()
	i.mu.Unlock()
	closeAll(all)
	return nil, 0
}

// Len returns the number of connections.
func (i *Idle) Len() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.stack)
}

// CloseAll closes every connection. Others may be kept after that.
func (i *Idle) CloseAll() {
	i.mu.Lock()
	all := i.takeAll()
	i.mu.Unlock()
	closeAll(all)
}

// configure sets the bounds. What is above them goes with the next sweep.
func (i *Idle) configure(limit int, timeout time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.max, i.timeout = limit, timeout
}

// setShut says whether connections are refused. Where they are, it closes all.
func (i *Idle) setShut(shut bool) {
	i.mu.Lock()
	i.shut = shut
	var all []idleConn
	if shut {
		all = i.takeAll()
	}
	i.mu.Unlock()
	closeAll(all)
}

// abandon closes the connections to addresses that the target's name does not
// lead to any more, and lets none of those that are in use come back.
func (i *Idle) abandon(gone []netip.AddrPort) {
	i.mu.Lock()
	i.gone = slices.Clone(gone)
	old := i.takeIf(func(c idleConn) bool { return slices.Contains(gone, addrOf(c.conn)) })
	i.mu.Unlock()
	closeAll(old)
}

// sweep closes the connections that are too old, and the oldest where there are
// too many.
func (i *Idle) sweep(now time.Time) {
	i.mu.Lock()
	surplus := len(i.stack) - i.max
	old := i.takeIf(func(c idleConn) bool { surplus--; return surplus >= 0 || now.Sub(c.since) >= i.timeout })
	i.mu.Unlock()
	closeAll(old)
}

// takeAll and takeIf remove connections from the stack; i.mu is held.
func (i *Idle) takeAll() []idleConn {
	all := slices.Clone(i.stack)
	clear(i.stack)
	i.stack = i.stack[:0]
	return all
}

func (i *Idle) takeIf(f func(idleConn) bool) (taken []idleConn) {
	i.stack = slices.DeleteFunc(i.stack, func(c idleConn) bool {
		if !f(c) {
			return false
		}
		taken = append(taken, c)
		return true
	})
	return taken
}

func closeAll(conns []idleConn) {
	for _, c := range conns {
		_ = c.conn.Close()
	}
}

// addrOf returns the address of the other side where there is one; otherwise the
// zero value, which no target has.
func addrOf(c any) netip.AddrPort {
	if c, ok := c.(interface{ RemoteAddr() net.Addr }); ok {
		if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok && tcp != nil {
			a := tcp.AddrPort()
			return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		}
	}
	return netip.AddrPort{}
}
