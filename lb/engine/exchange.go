package engine

import (
	"errors"
	"io"
	"net/netip"
	"strconv"
	"time"

	"minicloud.internal/lb/http1"
	"minicloud.internal/lb/meter"
	"minicloud.internal/lb/route"
	"minicloud.internal/lb/upstream"
)

// An exchange is one request on its way, from its head to the end of its answer.
type exchange struct {
	s        *Settings
	recorder *Recorder // nil records nothing
	route    *route.Route
	target   *upstream.Target // that it was given to last
	body     *body            // nil where the whole request is in work.out
	trusted  bool             // the client may say who it speaks for
	traced   bool             // the client's traceparent goes on

	// On the way to a target.
	pool           *upstream.Pool
	walk           upstream.Walk
	began          time.Duration // when the target got it
	last           error         // of the attempt before
	sent, timedOut bool          // at any target

	keep    bool // the client's connection stays
	linger  bool // the client may still be sending
	started bool // it has got a part of the answer

	status   int
	reason   Reason
	attempts int
	in, out  int64 // bytes of the bodies

	start, firstByte   time.Duration // on the engine's clock
	at                 time.Duration // when the clock was last looked at: that costs something, too
	queued, connecting time.Duration // for how long

	requestID []byte
	named     bool // requestID is the client's, a part of what was read
	ids       [32 + parentLength]byte
}

// exchange serves the request that was parsed.
func (c *client) exchange() step {
	c.begin()
	if c.prepare() {
		c.choose()
		c.give()
	}
	return c.end()
}

// begin begins an exchange.
func (c *client) begin() {
	w, e := c.w, c.e
	x := &w.x
	x.s, x.recorder = e.settings.Load(), e.recorder.Load()
	x.route, x.target, x.body = nil, nil, nil
	x.trusted, x.traced, x.linger, x.started = trustedBy(x.s.TrustedProxies, c.remote), false, false, false
	x.status, x.reason, x.attempts, x.in, x.out = meter.Aborted, Answered, 0, 0, 0
	x.start, x.at, x.firstByte, x.queued, x.connecting = c.since, c.since, 0, 0, 0
	x.keep = w.req.KeepAlive && !e.draining.Load()
	x.name(&w.req)
}

// end ends it.
func (c *client) end() step {
	x := &c.w.x
	c.account(x.at - x.start)
	c.since = x.at
	if x.body != nil {
		x.body.forget()
	}
	x.s, x.recorder, x.route, x.target, x.body, x.pool, x.last = nil, nil, nil, nil, nil, nil, nil
	if !x.keep {
		return stop
	}
	return await
}

// account closes the books on a request.
func (c *client) account(took time.Duration) {
	x := &c.w.x
	m := &c.e.Refused
	if x.route != nil {
		m = x.route.Requests
		m.InFlight.Add(-1)
	}
	m.Done(x.status, took)
	if x.in > 0 {
		m.BytesIn.Add(uint64(x.in))
	}
	m.BytesOut.Add(uint64(x.out))
	if x.recorder != nil {
		c.record(*x.recorder, took)
	}
}

func (c *client) record(rec Recorder, took time.Duration) {
	r, x := &c.w.req, &c.w.x
	d := Record{
		Client: c.remote, Method: r.Method, Host: r.Host, Path: r.Path, Query: r.Query, Minor: r.Minor,
		RequestID: x.requestID, Route: x.route, Attempts: x.attempts, Status: x.status, Reason: x.reason,
		In: x.in, Out: x.out, Start: epoch.Add(x.start), Queue: x.queued, Connect: x.connecting,
		FirstByte: max(0, x.firstByte-x.start), Total: took,
	}
	if x.target != nil {
		d.Target = x.target.Address()
	}
	rec.Done(&d)
}

// prepare makes the request that a target is to get. It returns false where none
// is to: then it has answered, as the route or the lack of one has it.
func (c *client) prepare() bool {
	w := c.w
	r, x := &w.req, &w.x
	if (r.ContentLength > 0 || r.Chunked) && r.Upgrade != nil {
		r.Upgrade = nil // whose bytes would follow the body's?
	}
	if string(r.Path) == "/healthz" && (r.Head || string(r.Method) == "GET") {
		c.answerHealth()
		return false
	}
	normal := r.Path
	if string(r.Path) != "*" {
		var ok bool
		if normal, ok = route.NormalPath(r.Path, w.scratch[:0]); !ok {
			c.answer(refusal(400, Refused, `The path has a "." or ".." segment or a malformed percent-encoding; send it resolved.`))
			return false
		}
	}
	if x.route = x.s.Routes.Match(r.Host, normal); x.route == nil {
		c.answer(refusal(404, Refused, "No route matches this host and path."))
		return false
	}
	x.route.Requests.InFlight.Add(1)
	if x.recorder != nil {
		(*x.recorder).Arrived(r.Path, x.requestID)
	}
	if f, ok := c.admit(); !ok {
		c.answer(f)
		return false
	}
	if x.route.RedirectStatus != 0 {
		c.answerRedirect()
		return false
	}
	if left, ok := c.forwards(); ok && left == 0 {
		c.answerLast()
		return false
	}
	c.compose()
	return true
}

// compose makes what a target is sent: the head, and the body where it is there.
func (c *client) compose() {
	w := c.w
	r, x := &w.req, &w.x
	w.out = c.appendRequest(w.out[:0])
	if n := int(max(0, r.ContentLength)); c.atHand() {
		w.out = append(w.out, w.in[w.r:w.r+n]...)
		w.r += n
		x.in = int64(n)
	} else if r.Upgrade == nil {
		x.body = newBody(c)
	}
}

// forwards returns how many more hops an OPTIONS or TRACE may take, if it says so
// (RFC 9110, section 7.6.2). For other methods the field means nothing.
func (c *client) forwards() (left int, ok bool) {
	r := &c.w.req
	if m := string(r.Method); m != "OPTIONS" && m != "TRACE" {
		return 0, false
	}
	for i := range r.Fields {
		if f := &r.Fields[i]; sameName(f.Name, maxForwards) {
			left, err := strconv.Atoi(string(f.Value))
			return left, err == nil && left >= 0
		}
	}
	return 0, false
}

const maxForwards = "Max-Forwards"

// admit says whether the route takes the request.
func (c *client) admit() (fault, bool) {
	r, x := &c.w.req, &c.w.x
	if x.route.Rate != nil {
		if ok, after := x.route.Rate.Allow(c.remote, epoch.Add(x.start)); !ok {
			return refusal(429, Limited, "This client has sent too many requests; try again later.").after(after), false
		}
	}
	if x.route.MaxBody > 0 && r.ContentLength > x.route.MaxBody {
		return refusal(413, Refused, "The body is larger than this route takes."), false
	}
	return fault{}, true
}

// choose chooses the pool.
func (c *client) choose() {
	x := &c.w.x
	choice := x.route.Pick()
	x.pool = choice.Pool
	x.walk = x.pool.Walk(c.key(choice))
	x.pool.Requested()
	x.last, x.sent, x.timedOut = nil, false, false
}

// give gives the request to targets, one after the other, for as long as
// [upstream.Decide] allows it, and answers where none did.
func (c *client) give() {
	x := &c.w.x
	for {
		before := x.at
		t, err := x.pool.Enter(&x.walk, c.e.stopping)
		x.at = now()
		x.queued += x.at - before
		switch {
		case err == nil:
		case x.last != nil:
			c.answer(undelivered(x.sent, x.timedOut))
			return
		default:
			c.answer(c.noTarget(err))
			return
		}
		c.enter(t)
		if c.judge(c.attempt(t)) {
			return
		}
	}
}

// enter begins an attempt at a target, whose place was taken.
func (c *client) enter(t *upstream.Target) {
	x := &c.w.x
	if x.target != nil && x.attempts > 0 {
		x.target.Retries.Add(1)
	}
	x.target = t
	x.attempts++
	if x.recorder != nil {
		(*x.recorder).Given(x.route, t.Address(), x.requestID)
	}
	x.began = x.at
}

// judge ends an attempt, and reports whether it was the last: the target or judge
// has answered.
func (c *client) judge(o upstream.Outcome, err error) bool {
	x := &c.w.x
	t := x.target
	t.Leave()
	if err == nil || o.Started {
		t.Meter.Done(x.status, x.at-x.began)
		t.Meter.BytesOut.Add(uint64(x.out))
		t.Meter.BytesIn.Add(uint64(max(0, x.in)))
		return true
	}
	t.Meter.Done(meter.Aborted, x.at-x.began)
	x.last = err
	x.sent, x.timedOut = x.sent || o.Sent, o.Sent && o.TimedOut
	var f fault
	if errors.As(err, &f) { // nothing that a target could help
		c.answer(f)
		return true
	}
	if upstream.Decide(c.w.req.Idempotent, o) == upstream.GiveUp || x.attempts > x.route.Retries || !x.pool.MayRetry() {
		c.e.log.Warn("request not delivered", "target", t.Address(), "error", err, "request_id", string(x.requestID))
		c.answer(undelivered(x.sent, x.timedOut))
		return true
	}
	return false
}

// key is what the hash policy goes by.
func (c *client) key(choice *route.Choice) uint64 {
	if choice.Pool.Policy() != upstream.Hash {
		return 0
	}
	if name := choice.Key.Header; name != "" {
		for i := range c.w.req.Fields {
			if f := &c.w.req.Fields[i]; sameName(f.Name, name) {
				return route.Hash(f.Value)
			}
		}
	}
	return route.HashAddr(c.remote)
}

func sameName(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i, c := range b {
		if d := name[i]; c != d && (c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

func (c *client) noTarget(err error) fault {
	after := c.w.x.s.RetryAfter
	switch {
	case errors.Is(err, upstream.ErrQueueFull):
		return refusal(503, QueueFull, "Every target is at its limit, and so is the queue; try again later.").after(time.Second)
	case errors.Is(err, upstream.ErrQueueTimeout):
		return refusal(503, QueueTimeout, "No target had a free place in time; try again later.").after(time.Second)
	case errors.Is(err, upstream.ErrStopped):
		return refusal(503, Stopped, "The load balancer is being stopped; try again.").after(time.Second)
	}
	return refusal(503, NoTarget, "Service Unavailable: no healthy target for this path; try again later.").after(after)
}

// undelivered says what became of a request that no target answered. 503: none
// has seen it, so it may be sent again; 502 and 504: one has.
func undelivered(sent, timedOut bool) fault {
	switch {
	case !sent:
		return refusal(503, ConnectFailed, "No target could be connected to, none has seen the request; try again later.").after(time.Second)
	case timedOut:
		return refusal(504, TargetTimeout, "The target did not answer in time; it may have acted on the request.")
	}
	return refusal(502, TargetFailed, "The target's answer was broken off or is not valid HTTP; the target may have acted on the request.")
}

// attempt gives the request to one target; where a kept connection turns out
// dead, a second time, on a fresh one. A nil error means that the answer was
// passed on, or cut off with the client's connection.
func (c *client) attempt(t *upstream.Target) (upstream.Outcome, error) {
	o, err := c.try(t, false)
	return c.again(t, o, err)
}

// again tries again where a kept connection was dead.
func (c *client) again(t *upstream.Target, o upstream.Outcome, err error) (upstream.Outcome, error) {
	if err == nil || o.Started || upstream.Decide(c.w.req.Idempotent, o) != upstream.SameTarget {
		return o, err
	}
	var f fault
	if errors.As(err, &f) {
		return o, err
	}
	t.Idle.CloseAll() // they are as old
	return c.try(t, true)
}

func (c *client) try(t *upstream.Target, fresh bool) (o upstream.Outcome, err error) {
	x := &c.w.x
	u, err := c.connect(t, fresh)
	if err != nil {
		if !c.e.draining.Load() {
			t.Observe(upstream.EvidenceOf(err), err)
		}
		o.Replay = x.body.replayable()
		return o, err
	}
	if err := c.claim(u); err != nil {
		o.Replay, o.Connected, o.Reused = x.body.replayable(), true, u.used
		return o, err
	}
	if x.body != nil {
		return c.conclude(u, startPump(c, u), nil)
	}
	return c.conclude(u, nil, u.ask(c, c.w.out, x.at, x.route.BodyIdleTimeout, x.route.ResponseHeaderTimeout))
}

// claim lets [client.kill] find the connection that a request is given to. An
// error says that it has been there already.
func (c *client) claim(u *upstreamConn) error {
	if c.up.Store(u); c.state.Load() != ended {
		return nil
	}
	_ = u.Close()
	return refusal(503, Stopped, "The load balancer is being stopped.")
}

// conclude passes the answer on; err says that there is none.
func (c *client) conclude(u *upstreamConn, p *pump, err error) (upstream.Outcome, error) {
	o := upstream.Outcome{Connected: true, Reused: u.used, Sent: p != nil || u.sent}
	reusable := false
	if err == nil {
		reusable, err = c.relay(u, p)
	}
	return c.part(u, p, o, reusable, err)
}

// part parts with the target's connection, at the end of an attempt: it is kept
// where it is reusable.
func (c *client) part(u *upstreamConn, p *pump, o upstream.Outcome, reusable bool, err error) (upstream.Outcome, error) {
	x := &c.w.x
	c.up.Store(nil)
	x.at = now()
	if p != nil {
		stopped := p.stop(u, err != nil || !reusable)
		reusable = reusable && !stopped
		if f := p.failure(); f != nil && !x.started {
			err = *f
		}
		if x.in = x.body.total; !x.body.ended {
			x.linger, x.keep = true, false
		}
	}
	o.Replay = x.body.replayable()
	o.Started = x.started
	if err == nil && reusable {
		c.keep(u)
		return o, nil
	}
	u.drop()
	_ = u.Close()
	if err == nil {
		return o, nil
	}
	o.TimedOut, o.Answered = isTimeout(err), isProtocol(err)
	if x.started {
		c.cut(err)
	}
	if !o.Reused && !o.TimedOut && !o.Answered && !isClient(err) {
		x.target.Observe(upstream.Broken, err)
	}
	return o, err
}

// A clientError is an answer that could not be written to its client.
type clientError struct{ error }

func (e clientError) Unwrap() error { return e.error }

func isClient(err error) bool {
	var c clientError
	var f fault
	return errors.As(err, &c) || errors.As(err, &f)
}

// isProtocol reports whether the target answered, but wrongly. That says nothing
// of its health: a request may have caused it.
func isProtocol(err error) bool {
	var e *http1.Error
	return errors.As(err, &e) || errors.Is(err, errSwitched)
}

// cut ends an answer that cannot be completed, so that the client sees it.
func (c *client) cut(err error) {
	x := &c.w.x
	x.status, x.keep = meter.Aborted, false
	c.held = false // no orderly end
	switch {
	case isClient(err):
		x.reason = ClientAborted
	case isTimeout(err):
		x.reason = TargetTimeout
	default:
		x.reason = TargetAborted
	}
	c.spoil()
	if x.reason != ClientAborted {
		c.e.log.Warn("answer broken off", "target", x.target.Address(), "error", err, "request_id", string(x.requestID))
	}
}

// trustedBy reports whether the client is a trusted proxy.
func trustedBy(proxies []netip.Prefix, a netip.Addr) bool {
	for _, p := range proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// tooEarly says of the end of a stream that it came too early.
func tooEarly(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
