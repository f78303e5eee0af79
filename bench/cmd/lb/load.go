//go:build linux

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"minicloud.internal/bench/internal/proc"
	"minicloud.internal/bench/internal/report"
	"minicloud.internal/bench/internal/socket"
)

const (
	// opening is how many connections may wait for their first answer while
	// all are being opened: fewer than any proxy's backlog.
	opening = 64
	// patience bounds the wait for all first answers, and for the last ones.
	patience = 10 * time.Second
	// tooMany errors end a run: it has failed anyway.
	tooMany = 100
)

// A loadSpec is what the generator's process is asked to do.
type loadSpec struct {
	Workload string
	Address  netip.AddrPort // the proxy's
	Warmup   time.Duration  // not counted; begins when all connections are open
	Duration time.Duration
	// The processes whose CPU time is read at the beginning and at the end of
	// what is counted, by the generator itself, so that nothing lies between.
	Proxy, Backend []int
	// Idle, if not 0, is how many connections make one request each and then
	// stay open until standard input ends.
	Idle int
}

// A loadResult is what it found.
type loadResult struct {
	Requests int64 // answered within Elapsed
	Elapsed  time.Duration
	P50, P99 time.Duration
	// CPU time within Elapsed; Machine is that of all there is, interrupts and
	// what the hypervisor kept back included.
	Proxy, Backend, Generator, Machine time.Duration

	Checked    int64 // answers of the whole run, every one of them as expected
	Errors     int64
	FirstError string
}

// loadMain is the generator's process. It prints a line when the warm-up is
// over, and its result as JSON.
func loadMain(arg string) error {
	var spec loadSpec
	if err := json.Unmarshal([]byte(arg), &spec); err != nil {
		return err
	}
	w, err := workloadNamed(spec.Workload)
	if err != nil {
		return err
	}
	// It allocates next to nothing; a collection in the middle would be a pause
	// that no proxy is to blame for.
	debug.SetGCPercent(-1)
	g, err := newGenerator(w, spec)
	if err != nil {
		return err
	}
	defer g.stop()
	if spec.Idle > 0 {
		err = g.idle(os.Stdin, os.Stdout)
	} else {
		err = g.run(os.Stdout)
	}
	if err != nil && !errors.Is(err, errFailed) {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(g.result)
}

// errFailed ends a run early; what happened stands in the result.
var errFailed = errors.New("too many errors")

// A client is one connection.
type client struct {
	index   int
	fd      int           // -1 while it has none
	out     []byte        // of the request, what was not sent yet
	partly  []byte        // the beginning of a response head
	left    int           // bytes of the body to come; -1 before the head is complete
	began   time.Duration // when the request was sent, or the connection begun
	answers int           // so far
	check   bool          // the body of this answer is compared
	last    bool          // the proxy closes after this answer
	ending  bool          // it has answered, and is expected to close
	done    bool          // no further request is sent
}

// A generator is one thread around one epoll instance, and the others that share
// its load. At 64 connections it spends a few microseconds per request, nearly all
// of it in the kernel.
type generator struct {
	workload workload
	spec     loadSpec
	others   []*generator // of the first one
	step     int          // how many there are
	// What is sent and expected, plain [0] and where the body is compared [1].
	requests, answers [2][]byte

	epoll   int
	clients []client
	fresh   int // clients that have no first answer yet
	active  int // clients with a request under way
	sources int // connections so far, which spreads them over source addresses
	buf     []byte
	start   time.Time

	stopping  bool         // no further request
	measuring *atomic.Bool // of all of them
	over      *atomic.Bool // so that the others let end what is under way
	latency   report.Histogram
	result    loadResult
}

// newGenerator makes a generator with all of its threads.
func newGenerator(w workload, spec loadSpec) (*generator, error) {
	n, step := w.connections, max(1, w.threads)
	if spec.Idle > 0 {
		n, step = spec.Idle, 1
	}
	var measuring, over atomic.Bool
	var all []*generator
	for i := range step {
		g, err := newThread(w, spec, (n+i)/step)
		if err != nil {
			return nil, err
		}
		g.sources, g.step, g.measuring, g.over = i, step, &measuring, &over
		all = append(all, g)
	}
	all[0].others = all[1:]
	return all[0], nil
}

// newThread makes one for n connections.
func newThread(w workload, spec loadSpec, n int) (*generator, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	g := &generator{workload: w, spec: spec, epoll: epoll, start: time.Now(), buf: make([]byte, 64<<10)}
	for i, checked := range []bool{false, true} {
		g.requests[i] = w.request(spec.Address.String(), checked)
		g.answers[i] = w.answer(checked)
	}
	g.clients = make([]client, n)
	for i := range g.clients {
		g.clients[i] = client{index: i, fd: -1}
	}
	return g, nil
}

func (g *generator) stop() {
	for _, o := range g.others {
		o.stop()
	}
	for i := range g.clients {
		g.hangUp(&g.clients[i])
	}
	_ = syscall.Close(g.epoll)
}

func (g *generator) now() time.Duration { return time.Since(g.start) }

// run opens the connections, warms up, measures, and lets what is under way end.
func (g *generator) run(ready io.Writer) error {
	opened, ended := make(chan error, len(g.others)), make(chan error, len(g.others))
	for _, o := range g.others {
		go func() {
			err := o.open()
			if opened <- err; err == nil {
				err = o.until(o.now()+o.spec.Warmup+o.spec.Duration+patience, o.over.Load)
			}
			if err == nil {
				err = o.finish()
			}
			ended <- err
		}()
	}
	err := g.open()
	for range g.others {
		err = errors.Join(err, <-opened)
	}
	if err == nil {
		err = g.measure(ready)
	}
	g.over.Store(true)
	for _, o := range g.others {
		err = errors.Join(err, <-ended)
		g.latency.Add(&o.latency)
		g.result.Checked += o.result.Checked
		g.result.Errors += o.result.Errors
		g.result.FirstError = cmp.Or(g.result.FirstError, o.result.FirstError)
	}
	g.result.Requests = g.latency.Total()
	g.result.P50, g.result.P99 = g.latency.Quantile(0.50), g.latency.Quantile(0.99)
	return err
}

// measure warms up, measures, and lets what is under way end.
func (g *generator) measure(ready io.Writer) error {
	if err := g.until(g.now()+g.spec.Warmup, nil); err != nil {
		return err
	}
	fmt.Fprintln(ready, proc.ReadyLine)
	before, err := g.clocks()
	if err != nil {
		return err
	}
	began := g.now()
	g.measuring.Store(true)
	if err := g.until(began+g.spec.Duration, nil); err != nil {
		return err
	}
	g.measuring.Store(false)
	g.result.Elapsed = g.now() - began
	after, err := g.clocks()
	if err != nil {
		return err
	}
	g.result.Proxy, g.result.Backend = after[0]-before[0], after[1]-before[1]
	g.result.Generator, g.result.Machine = after[2]-before[2], after[3]-before[3]
	g.over.Store(true)
	return g.finish()
}

// idle makes one request on each connection, leaves all open until the reader
// ends, and counts those that were closed meanwhile as errors.
func (g *generator) idle(end io.Reader, ready io.Writer) error {
	g.stopping = true // after the first
	if err := g.open(); err != nil {
		return err
	}
	fmt.Fprintln(ready, proc.ReadyLine)
	_, _ = io.Copy(io.Discard, end)
	for i := range g.clients {
		c := &g.clients[i]
		if c.last {
			_ = g.give(errors.New("the proxy announced that it closes the connection"))
		} else if _, err := socket.Recv(c.fd, g.buf); err != syscall.EAGAIN {
			_ = g.give(errors.New("an idle connection was closed"))
		}
	}
	return nil
}

// clocks reads the CPU time of the proxy, the backend, the generator and the machine.
func (g *generator) clocks() (t [4]time.Duration, err error) {
	for i, pids := range [][]int{g.spec.Proxy, g.spec.Backend, {os.Getpid()}} {
		if t[i], err = proc.CPU(pids); err != nil {
			return t, err
		}
	}
	t[3], err = proc.MachineCPU()
	return t, err
}

// open gives every client its connection and waits for all first answers.
func (g *generator) open() error {
	g.fresh = len(g.clients)
	next := 0
	opened := func() bool {
		for next < len(g.clients) && next-(len(g.clients)-g.fresh) < opening {
			g.dial(&g.clients[next])
			next++
		}
		return g.fresh == 0 || g.stopping && g.result.Errors > 0
	}
	if err := g.until(g.now()+patience, opened); err != nil {
		return err
	}
	if g.fresh > 0 {
		return g.give(fmt.Errorf("%d of %d connections without a first answer after %v", g.fresh, len(g.clients), patience))
	}
	return nil
}

// finish waits for the answers that are under way, so that no proxy is
// measured while it clears up after an aborted one.
func (g *generator) finish() error {
	g.stopping = true
	if err := g.until(g.now()+patience, func() bool { return g.active == 0 }); err != nil {
		return err
	}
	if g.active > 0 {
		return g.give(fmt.Errorf("%d requests without an answer after %v", g.active, patience))
	}
	return nil
}

// until serves the connections until the deadline, or until done holds.
func (g *generator) until(deadline time.Duration, done func() bool) error {
	events := make([]syscall.EpollEvent, 512)
	for done == nil || !done() {
		if g.result.Errors >= tooMany {
			return errFailed
		}
		left := deadline - g.now()
		if left <= 0 {
			return nil
		}
		n, err := syscall.EpollWait(g.epoll, events, int((left+time.Millisecond-1)/time.Millisecond))
		if err != nil && err != syscall.EINTR {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			g.serve(&g.clients[e.Fd], e.Events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0)
		}
	}
	return nil
}

// dial begins a connection and its first request.
func (g *generator) dial(c *client) {
	g.sources += g.step
	began := g.now()
	fd, err := connect(g.spec.Address, g.sources, g.workload.fresh)
	c.fd, c.ending = fd, false
	g.active++
	if err != nil {
		g.fail(c, fmt.Errorf("connect: %w", err))
		return
	}
	if !g.next(c, began) {
		return
	}
	// Edge-triggered, and registered once: no system call per request. What
	// fits into the socket at once never waits for it to be writable.
	const edge = 1 << 31 // EPOLLET, which the syscall package has as a negative number
	events := uint32(syscall.EPOLLIN | syscall.EPOLLRDHUP | edge)
	if len(c.out) > 0 || g.workload.upload > 0 {
		events |= syscall.EPOLLOUT
	}
	err = syscall.EpollCtl(g.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: events, Fd: int32(c.index)})
	if err != nil {
		g.fail(c, fmt.Errorf("epoll_ctl: %w", err))
	}
}

// next sends a request, as far as the socket takes it; it is false after an error.
func (g *generator) next(c *client, began time.Duration) bool {
	c.check = (c.answers+c.index)%g.workload.check == 0
	c.out, c.left, c.began, c.last = g.requests[boolIndex(c.check)], -1, began, g.workload.fresh
	c.partly = c.partly[:0]
	return g.transmit(c)
}

// serve does what a connection is ready for; ended means that the proxy has
// sent all that it will.
func (g *generator) serve(c *client, ended bool) {
	if c.fd < 0 || c.done {
		return
	}
	if len(c.out) == 0 || g.transmit(c) {
		g.receive(c, ended)
	}
}

// transmit sends what is left of the request; it is false after an error.
func (g *generator) transmit(c *client) bool {
	for len(c.out) > 0 {
		n, err := socket.Send(c.fd, c.out)
		if err == syscall.EAGAIN {
			return true
		}
		if err != nil {
			g.fail(c, fmt.Errorf("send: %w", err))
			return false
		}
		c.out = c.out[n:]
	}
	return true
}

// receive takes what has come, up to the end of the answer. A read that comes
// short has emptied the socket: what comes later is a new edge (epoll(7)). The
// end of the stream, if it was there already, is none.
func (g *generator) receive(c *client, ended bool) {
	for {
		var n, size int
		var err error
		if c.left > 0 && !c.check {
			size = c.left
			n, err = socket.Discard(c.fd, size)
		} else {
			size = len(g.buf)
			n, err = socket.Recv(c.fd, g.buf)
		}
		if err == syscall.EAGAIN {
			return
		}
		if err == nil && n == 0 {
			if c.ending {
				g.ended(c)
				return
			}
			err = errors.New("the connection ended before the answer did")
		}
		if err == nil {
			err = g.take(c, n)
		}
		if err != nil {
			g.fail(c, err)
			return
		}
		if c.left == 0 && !g.answered(c) {
			return
		}
		if n < size && !c.ending && !ended {
			return
		}
	}
}

// take accounts for n bytes, which are in g.buf unless they were discarded.
func (g *generator) take(c *client, n int) error {
	if c.left > 0 && !c.check {
		c.left -= n
		return nil
	}
	b := g.buf[:n]
	answer := g.answers[boolIndex(c.check)]
	if c.left < 0 {
		whole := b
		if len(c.partly) > 0 {
			c.partly = append(c.partly, b...)
			whole = c.partly
		}
		h, ok, err := parseHead(whole)
		if err != nil {
			return err
		}
		if !ok {
			if len(c.partly) == 0 {
				c.partly = append(c.partly, b...)
			}
			return nil
		}
		if h.length != len(answer) {
			return fmt.Errorf("a body of %d bytes, expected %d", h.length, len(answer))
		}
		c.left, c.last = h.length, c.last || h.close
		b = whole[h.size:]
	}
	if len(b) > c.left {
		return fmt.Errorf("%d bytes after the end of the answer", len(b)-c.left)
	}
	if at := len(answer) - c.left; c.check && !bytes.Equal(b, answer[at:at+len(b)]) {
		return fmt.Errorf("a body that differs from the expected within %d bytes from %d on", len(b), at)
	}
	c.left -= len(b)
	return nil
}

// answered counts a complete and correct answer and goes on to the next request,
// which is a new connection once the proxy has closed the old one: it is true
// where that is to be waited for.
func (g *generator) answered(c *client) (ending bool) {
	if len(c.out) > 0 {
		g.fail(c, fmt.Errorf("the answer came %d bytes before the end of the request", len(c.out)))
		return false
	}
	now := g.now()
	if g.measuring.Load() {
		g.latency.Record(now - c.began)
	}
	g.result.Checked++
	if c.answers++; c.answers == 1 {
		g.fresh--
	}
	switch {
	case c.last:
		c.ending = true
	case g.stopping:
		c.done = true
		g.active--
	default:
		_ = g.next(c, now)
	}
	return c.ending
}

// ended goes on after the proxy has closed the connection, as it should.
func (g *generator) ended(c *client) {
	g.active--
	g.hangUp(c)
	if g.stopping {
		c.done = true
	} else {
		g.dial(c)
	}
}

// fail counts an error and begins anew.
func (g *generator) fail(c *client, err error) {
	_ = g.give(err)
	g.active--
	g.hangUp(c)
	if !g.stopping && g.result.Errors < tooMany {
		g.dial(c)
	}
}

// give counts an error; it returns errFailed.
func (g *generator) give(err error) error {
	if g.result.Errors++; g.result.FirstError == "" {
		g.result.FirstError = err.Error()
	}
	return errFailed
}

func (g *generator) hangUp(c *client) {
	if c.fd >= 0 {
		_ = syscall.Close(c.fd)
		c.fd = -1
	}
}

func boolIndex(b bool) int {
	if b {
		return 1
	}
	return 0
}
