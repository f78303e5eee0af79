package lb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"strings"
	"time"

	"minicloud.internal/kit"
)

// keptBody is the largest request body, in bytes, that is kept to be sent again.
const keptBody = 64 << 10

// standardEngine is the engine on [httputil.ReverseProxy], which removes
// hop-by-hop fields, copies bodies and tunnels upgrades. Its transport is
// [standardEngine.RoundTrip], one attempt after the other.
type standardEngine struct {
	*core
	proxy *httputil.ReverseProxy
}

func newStandardEngine(c *core) *standardEngine {
	e := &standardEngine{core: c}
	e.proxy = &httputil.ReverseProxy{
		Rewrite:        e.rewrite,
		Transport:      e,
		ModifyResponse: e.answered,
		ErrorHandler:   func(w http.ResponseWriter, r *http.Request, err error) { e.fail(w, r, err) },
		ErrorLog:       slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
		BufferPool:     &buffers{},
		// Small writes of a body whose length is known are gathered for this
		// long; streams of unknown length are never held back.
		FlushInterval: 10 * time.Millisecond,
	}
	return e
}

func (e *standardEngine) serve(ctx context.Context, ln net.Listener) error {
	server := &kit.HTTPServer{
		Handler:      e,
		Logger:       e.log,
		Health:       e.health,
		BodyIdle:     e.cfg.BodyIdleTimeout,
		DrainTimeout: e.cfg.DrainTimeout,
	}
	return server.Serve(ctx, ln)
}

// An exchange is one request on its way, from its route to the end of its
// answer. It belongs to the handler's goroutine.
type exchange struct {
	route  *route
	order  iter.Seq[*target]
	trace  kit.Trace
	body   []byte // the kept body, if kept
	kept   bool
	cancel context.CancelFunc
	tried  bool    // some target
	sent   bool    // a byte of it, to any target
	target *target // that answered
	tunnel io.Closer
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// ServeHTTP takes one request through the load balancer.
func (e *standardEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	x := &exchange{trace: kit.TraceFrom(ctx), cancel: cancel}
	w.Header().Del(kit.RequestIDHeader) // comes with the answer, once
	out := &answer{ResponseWriter: w, ctx: ctx}
	r = r.WithContext(context.WithValue(ctx, exchangeKey{}, x))
	e.metrics.inFlight.Inc()
	finished := false
	defer func() {
		if !finished {
			out.status = aborted
		}
		e.account(x, out.status, time.Since(start))
	}()
	if err := e.direct(r, x); err != nil {
		e.fail(out, r, err)
	} else {
		e.proxy.ServeHTTP(out, r)
	}
	finished = true
}

// account closes the books on a request.
func (e *standardEngine) account(x *exchange, status int, took time.Duration) {
	if x.tunnel != nil {
		_ = x.tunnel.Close() // the proxy leaves one open where the protocols differ
	}
	e.metrics.inFlight.Dec()
	m := &e.metrics.refused
	if x.route != nil {
		m = &x.route.metrics
	}
	m.done(status, took)
	if x.target != nil {
		x.target.inFlight.Add(-1)
		x.target.metrics.requests[class(status)].Inc()
	}
}

// direct finds the route of a request and the order of its targets, and keeps
// a small body.
func (e *standardEngine) direct(r *http.Request, x *exchange) (err error) {
	if r.Method == http.MethodConnect {
		return kit.Problemf(http.StatusNotImplemented, "this is not a forward proxy: CONNECT is not served")
	}
	path := r.URL.EscapedPath()
	if x.route, err = e.route(path); err != nil {
		return err
	}
	e.logPath(r.Context(), path, x.trace.RequestID)
	// A client that asks to be told before it sends its body is not told by us.
	if r.ContentLength > 0 && r.ContentLength <= keptBody && r.Header.Get("Expect") == "" {
		x.body, x.kept = make([]byte, r.ContentLength), true
		if _, err := io.ReadFull(r.Body, x.body); err != nil {
			return clientError{err}
		}
	}
	// After the body, which may have taken its time.
	x.order, err = e.order(r.Context(), x.route)
	return err
}

// rewrite makes the head that the targets get. Path and query stay as the
// client wrote them.
func (e *standardEngine) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	for name := range p.Out.Header {
		// Nobody in front of us is trusted to say who they speak for.
		if strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" {
			delete(p.Out.Header, name)
		}
	}
	p.SetXForwarded()
	exchangeOf(p.In.Context()).trace.Set(p.Out.Header)
}

// answered makes the head that the client gets.
func (e *standardEngine) answered(res *http.Response) error {
	// One id: ours, which the target was told.
	res.Header.Set(kit.RequestIDHeader, exchangeOf(res.Request.Context()).trace.RequestID)
	return nil
}

// RoundTrip gives a request to its targets, one after the other, for as long as
// [decide] allows it. It implements [http.RoundTripper].
func (e *standardEngine) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r.Context())
	x.tried = true
	var before *target
	var failure error
	for t := range x.order {
		if before != nil {
			before.metrics.retries.Inc()
		}
		before = t
		res, o, err := e.give(r, x, t)
		if err == nil {
			x.target = t
			return res, nil
		}
		if isClientError(err) || r.Context().Err() != nil {
			return nil, err // nothing that a target could help
		}
		e.blame(t, o, err)
		failure = &deliveryError{err: err, sent: x.sent, timedOut: o.sent && o.timedOut}
		if decide(r.Method, o) == giveUp {
			break
		}
	}
	return nil, failure
}

// give gives a request to one target: where a reused connection turns out dead,
// a second time, on a fresh one.
func (e *standardEngine) give(r *http.Request, x *exchange, t *target) (*http.Response, outcome, error) {
	e.logTarget(r.Context(), x.route, t, x.trace.RequestID)
	res, o, err := e.attempt(r, x, t)
	if err == nil || isClientError(err) || r.Context().Err() != nil || decide(r.Method, o) != sameTarget {
		return res, o, err
	}
	t.idle.CloseIdleConnections() // they are as old
	return e.attempt(r, x, t)
}

// blame tells the monitor what a failed attempt says about its target. What the
// target did on a sound connection, however slow or wrong, says nothing.
func (e *standardEngine) blame(t *target, o outcome, err error) {
	var dial dialError
	switch {
	case errors.As(err, &dial):
		e.monitor.observe(t, evidenceOf(err), err)
	case o.broke:
		e.monitor.observe(t, broken, err)
	}
}

// attempt gives a request to one target.
func (e *standardEngine) attempt(r *http.Request, x *exchange, t *target) (*http.Response, outcome, error) {
	var o outcome
	var c *conn
	var before int64
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		// The transport may go through several; the last one counts.
		c = info.Conn.(*conn)
		o.connected, o.reused, before = true, info.Reused, c.written.Load()
	}})
	try := r.WithContext(ctx)
	url := *r.URL
	url.Scheme, url.Host = "http", t.address
	try.URL = &url
	var stream *streamBody
	switch {
	case x.kept:
		try.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(x.body)), nil }
		try.Body, _ = try.GetBody()
	case r.Body != nil:
		stream = &streamBody{src: r.Body}
		try.Body = stream
	}
	t.inFlight.Add(1)
	res, err := t.idle.RoundTrip(try)
	if err != nil {
		t.inFlight.Add(-1)
		if c != nil {
			o.sent, o.broke = c.written.Load() != before, c.broke.Load()
		}
		x.sent = x.sent || o.sent
		o.timedOut = evidenceOf(err) == silent
		read, clientErr := stream.close()
		o.replay = !read
		if clientErr != nil {
			err = clientError{clientErr}
		}
		return nil, o, err
	}
	if tunnel, ok := res.Body.(io.ReadWriteCloser); ok && res.StatusCode == http.StatusSwitchingProtocols {
		tunnel = newTunnelBody(tunnel, e.cfg.TunnelIdleTimeout, x.cancel)
		res.Body, x.tunnel = tunnel, tunnel
		return res, o, nil
	}
	res.Body = &answerBody{ReadCloser: res.Body, idle: e.cfg.BodyIdleTimeout, cut: x.cancel, failed: func(err error) {
		if r.Context().Err() == nil && c.broke.Load() {
			e.monitor.observe(t, broken, err)
		}
	}}
	return res, o, nil
}

// A clientError is a request whose body could not be read from its client.
type clientError struct{ error }

func (e clientError) Unwrap() error { return e.error }

func isClientError(err error) bool {
	var client clientError
	return errors.As(err, &client)
}

// A deliveryError is a request that no target answered.
type deliveryError struct {
	err      error // of the last attempt
	sent     bool  // a target has seen a part of it
	timedOut bool
}

func (e *deliveryError) Error() string { return fmt.Sprint(e.err) }
func (e *deliveryError) Unwrap() error { return e.err }

// fail answers a request that was not delivered, and logs why.
func (e *standardEngine) fail(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r.Context())
	// A body that breaks off ends the context too, though its client may listen.
	if r.Context().Err() != nil && !isClientError(err) {
		panic(http.ErrAbortHandler) // nobody is there to be answered
	}
	p := problemOf(err, x)
	h := w.Header()
	h.Set(kit.RequestIDHeader, x.trace.RequestID)
	switch p.Status {
	case http.StatusServiceUnavailable:
		// The next round of probes is the earliest that can change it.
		h.Set("Retry-After", fmt.Sprint(max(1, int(e.cfg.HealthCheckInterval.Round(time.Second).Seconds()))))
	case http.StatusBadRequest, http.StatusRequestTimeout:
		h.Set("Connection", "close")
	}
	if p.Status >= 500 {
		e.log.Warn("request not delivered", "status", p.Status, "error", err, "request_id", x.trace.RequestID)
	}
	kit.WriteProblem(w, r, p)
}

// problemOf is the status that an error gets. 503: no target has seen the
// request, so it may be sent again; 502 and 504: one has.
func problemOf(err error, x *exchange) *kit.Problem {
	var problem *kit.Problem
	var client clientError
	var delivery *deliveryError
	switch {
	case errors.As(err, &problem):
		return problem
	case errors.Is(err, errPath):
		return kit.Problemf(http.StatusBadRequest, `the path has a "." or ".." segment or a malformed percent-encoding; send it resolved`)
	case errors.As(err, &client) && evidenceOf(client) == silent:
		return kit.Problemf(http.StatusRequestTimeout, "the request's body did not arrive in time")
	case errors.As(err, &client):
		return kit.Problemf(http.StatusBadRequest, "the request's body ends before its announced end, or is malformed")
	case errors.Is(err, errNoTarget):
		return kit.Problemf(http.StatusServiceUnavailable, "no healthy target for this path; try again later")
	case x != nil && !x.tried:
		return kit.Problemf(http.StatusBadRequest, "the field Upgrade does not name a protocol")
	case errors.As(err, &delivery) && !delivery.sent:
		return kit.Problemf(http.StatusServiceUnavailable, "no target could be connected to, none has seen the request; try again later")
	case errors.As(err, &delivery) && delivery.timedOut:
		return kit.Problemf(http.StatusGatewayTimeout, "the target did not answer in time; it may have acted on the request")
	}
	return kit.Problemf(http.StatusBadGateway, "the target's answer was broken off or not valid HTTP; it may have acted on the request")
}
