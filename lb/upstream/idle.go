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

// Idle is the idle connections of one target: a stack per lane, since what waits
// for a connection can be bound to one event loop. The newest is taken first, so
// that those that are not needed grow old and go. Its methods may be called
// concurrently; the lock is held for a few instructions, never while a connection
// is closed.
type Idle struct {
	mu      sync.Mutex
	lanes   [][]idleConn // in each the oldest first
	held    int          // in all of them
	max     int          // of held
	timeout time.Duration
	shut    bool             // the target is draining or was removed
	gone    []netip.AddrPort // where the target's name does not lead any more
}

type idleConn struct {
	conn  Closer
	since time.Time
}

// Push keeps a connection of a lane, numbered from 0, that is idle from now on.
// Where there are enough, and the oldest is of another lane, it closes that. It
// returns false where it does not keep the connection: there are enough, the target
// is draining or was removed, or its name leads elsewhere by now. Then the caller
// closes it.
func (i *Idle) Push(lane int, c Closer, now time.Time) bool {
	i.mu.Lock()
	if i.shut || len(i.gone) > 0 && slices.Contains(i.gone, addrOf(c)) {
		i.mu.Unlock()
		return false
	}
	var old Closer
	if i.held >= i.max {
		oldest := i.oldest()
		if oldest < 0 || oldest == lane {
			i.mu.Unlock()
			return false
		}
		old = i.takeFirst(oldest)
	}
	for lane >= len(i.lanes) {
		i.lanes = append(i.lanes, nil)
	}
	i.lanes[lane] = append(i.lanes[lane], idleConn{c, now})
	i.held++
	i.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
	return true
}

// Pop takes the connection of a lane that became idle last, and returns for how
// long it was; nil where there is none. It closes those of the lane that are too
// old.
func (i *Idle) Pop(lane int, now time.Time) (c Closer, idle time.Duration) {
	i.mu.Lock()
	n := 0
	if lane < len(i.lanes) {
		n = len(i.lanes[lane])
	}
	if n == 0 {
		i.mu.Unlock()
		return nil, 0
	}
	stack := i.lanes[lane]
	top := stack[n-1]
	if idle = now.Sub(top.since); idle < i.timeout {
		stack[n-1] = idleConn{}
		i.lanes[lane] = stack[:n-1]
		i.held--
		i.mu.Unlock()
		return top.conn, idle
	}
	// All others are older still.
	all := i.takeLane(lane)
	i.mu.Unlock()
	closeAll(all)
	return nil, 0
}

// PopAny is Pop where the lane does not matter.
func (i *Idle) PopAny(now time.Time) Closer {
	i.mu.Lock()
	lanes := len(i.lanes)
	i.mu.Unlock()
	for lane := range lanes {
		if c, _ := i.Pop(lane, now); c != nil {
			return c
		}
	}
	return nil
}

// Take takes this connection of a lane, or reports that it is not there any more.
func (i *Idle) Take(lane int, c Closer) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if lane >= len(i.lanes) {
		return false
	}
	at := slices.IndexFunc(i.lanes[lane], func(o idleConn) bool { return o.conn == c })
	if at >= 0 {
		i.lanes[lane] = slices.Delete(i.lanes[lane], at, at+1)
		i.held--
	}
	return at >= 0
}

// Len returns the number of connections.
func (i *Idle) Len() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.held
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

// sweep closes the connections that are too old, and the oldest where there are too
// many.
func (i *Idle) sweep(now time.Time) {
	i.mu.Lock()
	old := i.takeIf(func(c idleConn) bool { return now.Sub(c.since) >= i.timeout })
	for i.held > i.max {
		old = append(old, idleConn{conn: i.takeFirst(i.oldest())})
	}
	i.mu.Unlock()
	closeAll(old)
}

// takeAll, takeLane, takeIf and takeFirst remove connections; i.mu is held.
func (i *Idle) takeAll() (all []idleConn) {
	for lane := range i.lanes {
		all = append(all, i.takeLane(lane)...)
	}
	return all
}

func (i *Idle) takeLane(lane int) []idleConn {
	stack := i.lanes[lane]
	all := slices.Clone(stack)
	clear(stack)
	i.lanes[lane] = stack[:0]
	i.held -= len(all)
	return all
}

func (i *Idle) takeIf(f func(idleConn) bool) (taken []idleConn) {
	for lane := range i.lanes {
		i.lanes[lane] = slices.DeleteFunc(i.lanes[lane], func(c idleConn) bool {
			if !f(c) {
				return false
			}
			taken = append(taken, c)
			return true
		})
	}
	i.held -= len(taken)
	return taken
}

// takeFirst takes the oldest connection of a lane.
func (i *Idle) takeFirst(lane int) Closer {
	c := i.lanes[lane][0].conn
	i.lanes[lane] = slices.Delete(i.lanes[lane], 0, 1)
	i.held--
	return c
}

// oldest returns the lane of the oldest connection, or -1; i.mu is held.
func (i *Idle) oldest() int {
	oldest := -1
	for lane, stack := range i.lanes {
		if len(stack) > 0 && (oldest < 0 || stack[0].since.Before(i.lanes[oldest][0].since)) {
			oldest = lane
		}
	}
	return oldest
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
