//go:build linux && !386 && !s390x

package engine

import (
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// A loop is an event loop: one goroutine that waits for many connections at once,
// and serves those that something has happened to, one after the other. There is
// one per core.
//
// It serves the plain request: head and body arrive in one read, a target has a
// place and a kept connection, and the whole answer arrives in one read. Then all
// that a request needs while it is being served (buffers, parsed heads) is the
// loop's, used again for the next one and in the processor's cache; what it needs
// while its answer is waited for is a [waiting], and what a connection needs while
// nothing is under way is its [client]. Everything else, and whatever could wait, is
// handed to a goroutine at the stage that it has reached, and goes the way of the
// rest of this package from there. A connection comes back to its loop when its
// goroutine has served the request, unless that had to settle it.
//
// The loop waits in a system call of its own, so that the kernel wakes it without a
// way through Go's scheduler, and it takes a processor's place from that for as long
// as it lives: see [Engine.openLoops]. Events are edges, and no more than hints:
// each handler finds out by a call on the socket.
type loop struct {
	e    *Engine
	lane int // of the kept connections to targets
	fd   int // of the epoll instance
	bell int // an eventfd in it, which ends a wait

	mu      sync.Mutex
	slots   []slot // an event carries the index
	free    []int
	clients atomic.Int64

	// When the wait for events ends at the latest, on the engine's clock; 0 ends the
	// loop. It moves under mu.
	alarm atomic.Int64

	// What follows is the loop's own.

	events [loopEvents]syscall.EpollEvent
	n      int // of them
	batch  [loopEvents]occasion
	w      *work
	answer *buffer
	spare  []*waiting
	late   []*client
}

// loopEvents is how many events are taken at once.
const loopEvents = 128

// turnTime is how long a loop runs until it lets other goroutines run. After twice
// that Go's runtime would make it, at a higher price.
const turnTime = 5 * time.Millisecond

// A slot holds one of the two.
type slot struct {
	c *client
	u *upstreamConn
}

// An occasion is an event, and whose it is.
type occasion struct {
	slot
	at   int32
	bits uint32
}

const (
	// watched is what a loop is told of a connection.
	watched = syscall.EPOLLIN | syscall.EPOLLRDHUP | 1<<31 // EPOLLET
	// over are the events that say that the other side has ended, or has gone.
	over = syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
)

// never is an alarm that does not ring.
const never = math.MaxInt64

// lookAround is the least time between two looks for waits that have taken too
// long.
const lookAround = 100 * time.Millisecond

// openLoops makes the loops, one per core.
func (e *Engine) openLoops() error {
	e.placed = places.add()
	for lane := range e.placed {
		l := &loop{e: e, lane: 1 + lane, fd: -1, bell: -1}
		e.loops = append(e.loops, l)
		var err error
		if l.fd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
			return os.NewSyscallError("epoll_create1", err)
		}
		bell, _, failed := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
		if failed != 0 {
			return os.NewSyscallError("eventfd2", failed)
		}
		l.bell = int(bell)
		if err = l.control(syscall.EPOLL_CTL_ADD, l.bell, noSlot); err != nil {
			return os.NewSyscallError("epoll_ctl", err)
		}
		l.alarm.Store(never)
		l.w, l.answer = works.Get().(*work), bodies.get()
	}
	for _, l := range e.loops {
		e.running.Go(l.run)
	}
	return nil
}

// The slots of what has none.
const (
	noSlot   = -1
	doorSlot = -2
)

// closeLoops ends the loops. No client lodges at one any more.
func (e *Engine) closeLoops() {
	for _, l := range e.loops {
		l.mu.Lock()
		l.setAlarm(0)
		l.mu.Unlock()
	}
	e.running.Wait()
	for _, l := range e.loops {
		if l.w != nil {
			l.w.recycle()
			bodies.put(l.answer)
		}
		for _, fd := range []int{l.bell, l.fd} {
			if fd >= 0 {
				_ = syscall.Close(fd)
			}
		}
	}
	places.remove(e.placed)
}

// places are those in Go's scheduler (GOMAXPROCS) which are there for loops: one is
// held while a loop waits for events, for up to 10 ms, and no other goroutine shall
// have to wait for it. Their number is the program's, whatever engines it has. Go does
// not follow a changed quota of processor time any more once it was set.
var places placesOfLoops

type placesOfLoops struct {
	mu sync.Mutex
	n  int
}

// add makes a place for each core that the program may use, and returns how many.
func (p *placesOfLoops) add() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cores := runtime.GOMAXPROCS(0)
	n = max(1, min(cores-p.n, runtime.NumCPU()))
	p.n += n
	runtime.GOMAXPROCS(cores + n)
	return n
}

func (p *placesOfLoops) remove(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n -= n
	runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)-n))
}

// enter gives a slot to what is in it, and has its descriptor watched unless that
// is -1.
func (l *loop) enter(s slot, fd int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	index := len(l.slots)
	if n := len(l.free); n > 0 {
		index = l.free[n-1]
	} else {
		l.slots, l.free = append(l.slots, slot{}), append(l.free, index)
	}
	if s.c != nil {
		s.c.loop, s.c.slot = l, index
	} else {
		s.u.loop, s.u.slot = l, index
	}
	if fd >= 0 {
		if err := l.control(syscall.EPOLL_CTL_ADD, fd, index); err != nil {
			return err
		}
	}
	l.slots[index] = s
	l.free = l.free[:len(l.free)-1]
	if s.c != nil {
		l.clients.Add(1)
	}
	return nil
}

func (l *loop) leave(index int) {
	l.mu.Lock()
	if l.slots[index].c != nil {
		l.clients.Add(-1)
	}
	l.slots[index] = slot{}
	l.free = append(l.free, index)
	l.mu.Unlock()
}

// control has the kernel watch a descriptor, or end that. A change has it tell
// again what is there.
func (l *loop) control(op, fd, index int) error {
	return syscall.EpollCtl(l.fd, op, fd, &syscall.EpollEvent{Events: watched, Fd: int32(index)})
}

// run serves until the loop is closed.
func (l *loop) run() {
	for turn := now(); ; {
		alarm := time.Duration(l.alarm.Load())
		if alarm == 0 {
			return
		}
		l.poll(alarm)
		l.serve()
		t := now()
		if t >= time.Duration(l.alarm.Load()) {
			l.expire(t)
		}
		if t-turn >= turnTime {
			runtime.Gosched()
			turn = t
		}
	}
}

// poll waits for events, at most until the alarm, and takes those that there are.
func (l *loop) poll(alarm time.Duration) {
	timeout := -1
	if alarm < never {
		// Rounded up: it is better to be late than to go round in vain.
		timeout = int(min(max(0, (alarm-now()+time.Millisecond-1)/time.Millisecond), math.MaxInt32))
	}
	n, err := syscall.EpollWait(l.fd, l.events[:], timeout)
	if err != nil { // interrupted
		n = 0
	}
	l.n = n
}

// serve serves the events that were taken.
func (l *loop) serve() {
	l.mu.Lock()
	for i := range l.n {
		l.batch[i] = occasion{at: l.events[i].Fd, bits: l.events[i].Events}
		if at := l.events[i].Fd; at >= 0 {
			l.batch[i].slot = l.slots[at]
		}
	}
	l.mu.Unlock()
	for i := range l.n {
		o := l.batch[i]
		l.batch[i] = occasion{}
		switch {
		case o.at == doorSlot:
			l.accept()
		case o.c != nil:
			l.stir(o.c, o.bits)
		case o.u != nil:
			l.receive(o.u, o.bits)
		}
	}
}

// wakeBy has the loop look around at a time, or before.
func (l *loop) wakeBy(due time.Duration) {
	if int64(due) >= l.alarm.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if int64(due) < l.alarm.Load() {
		l.setAlarm(due)
	}
}

// setAlarm has the wait for events end at a time; mu is held.
func (l *loop) setAlarm(at time.Duration) {
	l.alarm.Store(int64(at))
	one := uint64(1)
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, uintptr(l.bell), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
}

// expire ends the waits that have taken too long at t.
func (l *loop) expire(t time.Duration) {
	l.mu.Lock()
	next := time.Duration(never)
	for i := range l.slots {
		switch c := l.slots[i].c; {
		case c == nil || c.away.Load():
		case c.due <= t:
			l.late = append(l.late, c)
		default:
			next = min(next, c.due)
		}
	}
	if l.alarm.Load() != 0 {
		l.alarm.Store(int64(max(next, t+lookAround)))
	}
	l.mu.Unlock()
	for i, c := range l.late {
		l.late[i] = nil
		switch {
		case c.waits != nil && c.waits.due > t:
			l.watch(c)
			c.due = c.waits.due
			l.wakeBy(c.due)
		case c.waits != nil:
			l.handOver(c, os.ErrDeadlineExceeded)
		default: // idle; or a drain has come before this, which may have told us in vain
			l.end(c)
		}
	}
	l.late = l.late[:0]
}
