package kit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// HTTPServer serves HTTP with every timeout set, and drains before it ends.
// The zero value of a field means its default.
type HTTPServer struct {
	Handler http.Handler
	Logger  *slog.Logger
	// Health, where set, answers /healthz, is set to OK when the server
	// accepts, and to draining when it ends.
	Health *Health
	// BodyIdle is how long a read of the request's body or a write of the
	// answer may stand still; default 30 s. There is no limit on the whole,
	// so that 5 GB can pass over a slow line, and none on a handler that
	// does neither, so that a long poll may wait.
	BodyIdle time.Duration
	// DrainDelay is the longest wait, with health at 503 and requests still
	// served, for those who watch to notice; default 0. It ends earlier once
	// somebody was told, and is skipped where nobody has asked for as long.
	DrainDelay time.Duration
	// DrainTimeout bounds what is in flight after that; default 10 s. What
	// takes longer is cut off: its context ends and its connection closes.
	DrainTimeout time.Duration
	// AccessLog switches on a line per request at info level.
	AccessLog bool
}

// ErrStopNow as the cause of a context's end skips [HTTPServer.DrainDelay]:
// whoever watched is gone too.
var ErrStopNow = errors.New("stop without waiting to be noticed")

const (
	// settle is how long one who was told of a drain may take to act on it.
	settle = 100 * time.Millisecond
	// lastWait is how long a handler may take to return once it is cut off.
	lastWait = 5 * time.Second
)

// Serve answers on ln until ctx ends, then drains and returns. It returns nil
// after an orderly end. Every handler has returned by then, hijacked
// connections' included, unless one goes on for 5 seconds after its context has
// ended, which is logged as an error.
func (s *HTTPServer) Serve(ctx context.Context, ln net.Listener) error {
	// What is in flight survives ctx, which only begins the drain.
	base, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	var running handlers
	server := &http.Server{
		Handler:           s.wrap(ctx, &running),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.Logger.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return base },
	}
	closeUnusedAtShutdown(server)
	if s.Health != nil {
		s.Health.accepts() // the listener is bound: who asks from now on is answered
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(ln) }()
	var err error
	select {
	case err = <-failed:
		_ = server.Close()
	case <-ctx.Done():
		s.awaitNotice(ctx)
		s.shutdown(server)
		err = <-failed
	}
	abort()
	select {
	case <-running.ended():
	case <-time.After(lastWait):
		s.Logger.Error("a handler does not end with its context; it is left behind")
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// awaitNotice waits, at most for DrainDelay, until those who watch the health
// know of the drain.
func (s *HTTPServer) awaitNotice(ctx context.Context) {
	if s.Health == nil {
		return
	}
	noticed, lastAsked := s.Health.Drain()
	if s.DrainDelay <= 0 || lastAsked >= s.DrainDelay || errors.Is(context.Cause(ctx), ErrStopNow) {
		return
	}
	timer := time.NewTimer(s.DrainDelay)
	defer timer.Stop()
	select {
	case <-noticed:
		timer.Reset(settle)
		<-timer.C
	case <-timer.C:
	}
}

// shutdown waits for the requests in flight, and cuts off what is left.
func (s *HTTPServer) shutdown(server *http.Server) {
	limit := s.DrainTimeout
	if limit == 0 {
		limit = 10 * time.Second
	}
	timeout, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := server.Shutdown(timeout); err != nil {
		s.Logger.Warn("requests cut off at the end of the drain", "after", limit)
		_ = server.Close()
	}
}

// closeUnusedAtShutdown closes connections on which no request ever came, such
// as a client's pool opens ahead. [http.Server.Shutdown] waits 5 seconds for
// them, and would then answer none.
func closeUnusedAtShutdown(server *http.Server) {
	var unused sync.Map
	server.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			unused.Store(c, nil)
		} else {
			unused.Delete(c)
		}
	}
	server.RegisterOnShutdown(func() {
		unused.Range(func(c, _ any) bool {
			_ = c.(net.Conn).Close()
			return true
		})
	})
}

// handlers counts those that run. [http.Server] waits neither for those that
// hijacked their connection nor for those that it cut off.
type handlers struct {
	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

// begin reports whether the server still takes requests; then Done is due.
func (h *handlers) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.group.Add(1)
	}
	return !h.closed
}

// ended returns a channel that is closed when the last handler has returned.
func (h *handlers) ended() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	ended := make(chan struct{})
	go func() {
		h.group.Wait()
		close(ended)
	}()
	return ended
}

// wrap adds /healthz, the request id and trace, the idle limits, the access
// log, and the answer to a panic.
func (s *HTTPServer) wrap(ctx context.Context, running *handlers) http.Handler {
	idle := s.BodyIdle
	if idle == 0 {
		idle = 30 * time.Second
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !running.begin() {
			panic(http.ErrAbortHandler)
		}
		defer running.group.Done()
		start, path := time.Now(), r.URL.Path
		handler := s.Handler
		if s.Health != nil && path == "/healthz" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			handler = s.Health
		}
		trace := TraceOf(r.Header)
		w.Header().Set(RequestIDHeader, trace.RequestID)
		if ctx.Err() != nil && r.Header.Get("Upgrade") == "" {
			// While it drains, a client that keeps its connection would meet
			// the end of it with its next request.
			w.Header().Set("Connection", "close")
		}
		r = r.WithContext(WithTrace(r.Context(), trace))
		out := newResponse(w, r, idle)
		defer func() {
			v := recover()
			if v != nil && v != http.ErrAbortHandler {
				v = s.answerPanic(out, r, v)
			}
			out.finish(r)
			if out.status == 0 && v == nil {
				out.status = http.StatusOK // as net/http does
			}
			if s.AccessLog && path != "/healthz" {
				s.Logger.Info("request", "method", r.Method, "path", path, "status", out.status,
					"bytes", out.bytes, "took", time.Since(start), "request_id", trace.RequestID)
			}
			if v != nil {
				panic(v)
			}
		}()
		handler.ServeHTTP(out, r)
	})
}

// answerPanic logs a handler's panic and answers in its place. Where part of an
// answer may be under way it returns what to panic with on, which cuts the
// connection: the end of an answer must not look like a whole one.
func (s *HTTPServer) answerPanic(out *response, r *http.Request, v any) any {
	id := TraceFrom(r.Context()).RequestID
	s.Logger.Error("panic in a handler", "panic", fmt.Sprint(v), "request_id", id, "stack", string(debug.Stack()))
	if out.status != 0 {
		return http.ErrAbortHandler
	}
	h := out.Header()
	clear(h) // what the handler said of the answer that it did not give
	h.Set(RequestIDHeader, id)
	WriteProblem(out, r, Problemf(http.StatusInternalServerError,
		"the request met a bug in this service; its log has it under the request id"))
	return nil
}
