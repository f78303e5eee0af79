package engine

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"minicloud.internal/kit"
	"minicloud.internal/lb/http1"
	"minicloud.internal/lb/meter"
	"minicloud.internal/lb/route"
)

// Settings are what the engine works by. They do not change; a reload replaces
// them, and a request under way ends by those it began with.
type Settings struct {
	Routes *route.Table
	Limits http1.Limits
	// TrustedProxies are the clients whose X-Forwarded-* and X-Request-Id
	// fields are believed.
	TrustedProxies []netip.Prefix
	// MaxConnections bounds the client connections; beyond it they wait to be
	// accepted.
	MaxConnections int
	// Retries is how many times a request may be given to a target again.
	Retries int

	Dial        kit.DialFunc
	DialTimeout time.Duration
	// RequestHead bounds a head from its first byte to its last, KeepAlive the
	// wait for that first byte.
	RequestHead, KeepAlive time.Duration
	// BodyIdle bounds a standstill of a body, in either direction and on
	// either side.
	BodyIdle time.Duration
	// ResponseHead bounds the wait for an answer after the request was sent.
	ResponseHead time.Duration
	TunnelIdle   time.Duration
	Drain        time.Duration
	// RetryAfter is what a client is told to wait when no target is healthy.
	RetryAfter time.Duration
}

// An Engine speaks HTTP/1 with clients and targets. Make one with [New].
type Engine struct {
	settings atomic.Pointer[Settings]
	log      *slog.Logger
	health   *kit.Health
	recorder atomic.Pointer[Recorder]

	// Refused counts the requests that never had a route.
	Refused meter.Requests
	// Accepted counts the client connections, the others those to targets, made
	// for a request or kept from an earlier one.
	Accepted, UpstreamOpened, UpstreamReused atomic.Uint64

	loops  []*loop
	placed int   // how many places they have in Go's scheduler
	door   *door // nil where the loops do not accept

	mu       sync.Mutex
	clients  map[*client]struct{}
	workers  []chan *client // goroutines that wait for a connection
	left     sync.Cond      // a client is gone; with mu
	stopping chan struct{}  // closed when a drain has taken too long
	draining atomic.Bool
	running  sync.WaitGroup
}

// New returns an engine that has started nothing. health is what it says of
// itself at /healthz.
func New(s *Settings, logger *slog.Logger, health *kit.Health) *Engine {
	e := &Engine{log: logger, health: health, clients: map[*client]struct{}{}, stopping: make(chan struct{})}
	e.left.L = &e.mu
	e.settings.Store(s)
	return e
}

// Use replaces the settings for the requests that come.
func (e *Engine) Use(s *Settings) {
	e.settings.Store(s)
	e.mu.Lock()
	e.reopen() // MaxConnections may have grown
	e.mu.Unlock()
	e.left.Broadcast()
}

// Record replaces the recorder; nil records nothing.
func (e *Engine) Record(r Recorder) {
	if r == nil {
		e.recorder.Store(nil)
		return
	}
	e.recorder.Store(&r)
}

// Connections returns the number of client connections that are open.
func (e *Engine) Connections() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.clients)
}

// Serve serves the connections that ln accepts until ctx ends, drains, joins
// every goroutine that it started, and returns nil then. It closes ln, and where that
// is plain TCP goes on with its socket, at once: to close ln ends nothing then. It may
// be called once.
//
// A drain stops accepting, closes the connections that are idle, and lets the
// others end their request, for at most Settings.Drain. Tunnels are cut when
// everything else is done.
func (e *Engine) Serve(ctx context.Context, ln net.Listener) error {
	defer e.closeLoops()
	if err := e.openLoops(); err != nil {
		return errors.Join(err, ln.Close())
	}
	e.health.OK()
	err := e.accept(ctx, ln)
	e.health.Fail("stopping")
	_ = ln.Close()
	e.drain()
	return err
}

const noAccept = "cannot accept a connection, trying again"

// accept accepts connections until ctx ends.
func (e *Engine) accept(ctx context.Context, ln net.Listener) error {
	if ok, err := e.acceptInLoops(ctx, ln); ok {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	defer context.AfterFunc(ctx, e.left.Broadcast)()
	for pause := time.Duration(0); ; {
		if !e.wait(ctx) {
			return nil
		}
		c, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			// As in Engine.holdDoor.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			e.log.Warn(noAccept, "error", err, "in", pause)
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
			continue
		}
		pause = 0
		e.Accepted.Add(1)
		e.enter(newClient(e, c))
	}
}

// controlListener is [Engine.ControlListener] for a listener that accepts itself.
func controlListener(ln net.Listener, f func(fd uintptr)) error {
	conn, ok := ln.(syscall.Conn)
	if !ok {
		return errors.New("the listener has no socket")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(f)
}

// wait waits until there is room for one more client. It reports false when ctx
// has ended.
func (e *Engine) wait(ctx context.Context) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for ctx.Err() == nil && !e.hasRoom() {
		e.left.Wait()
	}
	return ctx.Err() == nil
}

func (e *Engine) enter(c *client) {
	e.mu.Lock()
	e.clients[c] = struct{}{}
	e.mu.Unlock()
	e.run(c)
}

// forget is for a connection that has ended.
func (e *Engine) forget(c *client) {
	e.mu.Lock()
	delete(e.clients, c)
	e.reopen()
	e.mu.Unlock()
	e.left.Broadcast()
}

// run has a goroutine serve the connection, or go on with it.
func (e *Engine) run(c *client) {
	var worker chan *client
	e.mu.Lock()
	if last := len(e.workers) - 1; last >= 0 {
		worker, e.workers = e.workers[last], e.workers[:last]
	}
	e.mu.Unlock()
	if worker != nil {
		worker <- c
		return
	}
	e.running.Go(func() { e.work(c) })
}

// maxWorkers is how many goroutines wait for a connection at most.
const maxWorkers = 128

// work serves one connection after the other. A goroutine that has served one
// has a stack that is large enough; to grow a new one costs more than a request.
func (e *Engine) work(c *client) {
	next := make(chan *client, 1)
	for ok := true; ok; c, ok = <-next {
		over := c.serve()
		e.mu.Lock()
		if over {
			delete(e.clients, c)
			e.reopen()
		}
		wanted := len(e.workers) < maxWorkers && !e.draining.Load()
		if wanted {
			e.workers = append(e.workers, next)
		}
		e.mu.Unlock()
		if over {
			e.left.Broadcast()
		}
		if !wanted {
			return
		}
	}
}

// drain ends every connection: those that are idle at once, the others after
// their request, tunnels when nothing else is left, and all of them when the
// time is over.
func (e *Engine) drain() {
	e.mu.Lock()
	e.draining.Store(true)
	for _, worker := range e.workers {
		close(worker)
	}
	e.workers = nil
	e.mu.Unlock()
	timeout := time.AfterFunc(e.settings.Load().Drain, func() {
		close(e.stopping)
		e.each(func(c *client) { c.kill() })
	})
	defer timeout.Stop()
	e.each((*client).endIfIdle)
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		others := false
		for c := range e.clients {
			others = others || c.state.Load() != inTunnel
		}
		if !others {
			break
		}
		e.left.Wait()
	}
	for c := range e.clients {
		c.kill()
	}
}

func (e *Engine) each(do func(*client)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.clients {
		do(c)
	}
}
