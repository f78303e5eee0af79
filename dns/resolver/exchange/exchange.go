package exchange

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
)

// An Exchanger puts questions to servers, and remembers how they took it. It is
// safe for concurrent use.
type Exchanger struct {
	cfg     Config
	servers *servers
	kept    *pool
	slots   chan struct{} // one for each question under way
	streams chan struct{} // likewise, of those over TCP and TLS
	tls     *tls.Config
	metrics *metrics
}

// New returns an Exchanger. The error is that of registering its metrics, or of
// a setting that [Settings.ValidateExchange] refuses.
func New(cfg Config) (*Exchanger, error) {
	if err := cfg.ValidateExchange(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	x := &Exchanger{
		cfg:     cfg,
		servers: newServers(cfg.MaxUpstreamPerServer),
		kept:    &pool{idle: cfg.UpstreamIdle, conns: map[streamKey][]*keptConn{}},
		slots:   make(chan struct{}, cfg.MaxUpstream),
		streams: make(chan struct{}, max(cfg.MaxUpstream/streamShare, 1)),
		tls: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			NextProtos:         []string{"dot"}, // RFC 7858 has no name of its own; IANA does
			RootCAs:            cfg.RootCAs,
			ClientSessionCache: tls.NewLRUClientSessionCache(keptInAll),
		},
	}
	var err error
	x.metrics, err = newMetrics(x, cfg.Registerer)
	return x, err
}

// Close closes the connections that are kept open for further questions.
// Questions under way end by their own contexts.
func (x *Exchanger) Close() { x.kept.close() }

// Options are how one question is put. The zero value is how a name server is
// asked that nobody else could stand in for.
type Options struct {
	// RecursionDesired sets the RD bit: the server shall resolve by itself.
	RecursionDesired bool
	// Hurry says that others could be asked: a server that is silent twice, for
	// as long as was measured of it, is given up before Timeout.
	Hurry bool
	// Timeout is the time for each way in which the question is put, and half as
	// long again for all of them; 0 means query_timeout.
	Timeout time.Duration
}

// A Result is what became of a question.
type Result struct {
	// Msg is the answer, nil after an error. It is the answer to the question
	// and can be read; nothing else was looked at. Names that it compressed into
	// the question are in lower case.
	Msg *dns.Msg
	// Server is where the question was sent, "host:port".
	Server string
	// Transport is "udp", "tcp" or "tls": what was used last.
	Transport string
	// Took is the time for all of it, without the wait for a place.
	Took time.Duration
	// CaseKept says that the question went with random capitals, and came back
	// with them.
	CaseKept bool
	// Queries is how many messages were sent.
	Queries int
	// Notes tell, in sentences without a full stop, what was unusual.
	Notes []string
}

// An Outcome is what became of a question; it is the label of a metric.
type Outcome string

// Those that [Exchanger.Exchange] finds out, as an [Error] …
const (
	Timeout     Outcome = "timeout"     // no answer
	Unreachable Outcome = "unreachable" // not to be sent, or the connection broke
	Malformed   Outcome = "malformed"   // an answer that cannot be read
	Busy        Outcome = "busy"        // too many questions under way; nothing was sent
	Unaskable   Outcome = "unaskable"   // no address for a question, or no name; nothing was sent
)

// … and those that who reads the answer reports with [Exchanger.Count].
const (
	Answer   Outcome = "answer"
	Referral Outcome = "referral"
	Refused  Outcome = "refused" // a response code that says that it cannot
	Lame     Outcome = "lame"    // it does not answer for the zone
)

// An Error is why a question has no answer.
type Error struct {
	Outcome Outcome
	Err     error // what lies behind it; may be nil
}

// Error returns the end of a sentence that the server begins, for people.
func (e *Error) Error() string {
	switch e.Outcome {
	case Timeout:
		return "did not answer in time"
	case Malformed:
		return "sent a message that cannot be read"
	case Busy:
		return "was not asked, because too many questions are under way"
	case Unaskable:
		if e.Err != nil {
			return "was not asked: " + e.Err.Error()
		}
		return "is no address to be asked"
	}
	var cert *tls.CertificateVerificationError
	if errors.As(e.Err, &cert) {
		return "has a certificate that is not to be trusted: " + cert.Err.Error()
	}
	return "cannot be reached"
}

func (e *Error) Unwrap() error { return e.Err }

var (
	errSilent = errors.New("silence")
	errBusy   = errors.New("too many questions under way")
)

// Count counts what an answer turned out to be: Answer, Referral, Refused or
// Lame. Exchange itself counts what ends without an answer.
func (x *Exchanger) Count(o Outcome) { x.metrics.queries.WithLabelValues(string(o)).Inc() }

// Exchange puts a question of class IN to a server, and returns its answer,
// whatever it says. It takes at most half as long again as the timeout, and as
// long as that for a place among the questions under way. The Result is never
// nil; the error is an [*Error].
func (x *Exchanger) Exchange(ctx context.Context, to Target, name string, qtype uint16, opts Options) (*Result, error) {
	c := &call{
		x: x, to: to, name: name, qtype: qtype, opts: opts,
		address: x.Route(to), timeout: opts.Timeout,
	}
	if c.timeout == 0 {
		c.timeout = x.cfg.QueryTimeout
	}
	c.res = Result{Server: c.address, Transport: to.Transport.String()}
	err := c.place(ctx)
	if err != nil {
		c.res.Msg = nil
		x.Count(err.Outcome)
		return &c.res, err
	}
	return &c.res, nil
}

// A call is the work on one question to one server. It belongs to one goroutine.
type call struct {
	x       *Exchanger
	to      Target
	name    string
	qtype   uint16
	opts    Options
	address string
	timeout time.Duration
	res     Result

	known   known
	cookie  cookie
	ignored int
	// What was found out about the server by way of it:
	flattened  int  // answers without our capitals
	badCookies int  // answers that wanted another cookie
	rejected   bool // it did not understand the question with EDNS
	silent     bool // it only answered without
}

// place waits for a place and asks.
func (c *call) place(ctx context.Context) *Error {
	x := c.x
	if _, err := wirename.Pack(c.name); err != nil {
		return &Error{Unaskable, err}
	}
	if addr := c.to.Addr.Addr(); !addr.IsValid() || !c.to.Configured && !x.Askable(addr) {
		return &Error{Outcome: Unaskable}
	}
	waiting, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	s, k, err := x.servers.enter(waiting, c.to.key(), x.cfg.Now())
	if err != nil {
		return &Error{Busy, err}
	}
	defer x.servers.leave(s)
	select {
	case x.slots <- struct{}{}:
		defer func() { <-x.slots }()
	case <-waiting.Done():
		return &Error{Busy, waiting.Err()}
	}
	c.known, c.cookie = k, k.cookie

	asking, stop := context.WithTimeout(ctx, c.timeout+c.timeout/2)
	defer stop()
	start := time.Now()
	r, failure := c.ask(asking)
	c.res.Took = time.Since(start)
	c.note(c.ignored > 0, "passed over %d messages that did not belong to the question", c.ignored)
	if failure == nil {
		c.res.Msg = r.msg
		x.servers.answered(s, c.lesson(r), x.cfg.Now())
		return nil
	}
	// A caller that gave up early says nothing about the server.
	if failure.Outcome != Busy && (ctx.Err() == nil || c.res.Took >= resendAfter(k, c.timeout)) {
		x.servers.failed(s, x.cfg.Now())
	}
	return failure
}

// maxWays is how many ways one question is put to a server.
const maxWays = 6

// ask puts the question in one way after the other, until there is an answer.
func (c *call) ask(ctx context.Context) (reply, *Error) {
	w := way{
		transport: c.to.Transport, edns: c.known.edns,
		capitals: c.known.capitals && c.to.Transport == UDP,
	}
	for range maxWays {
		r, err := c.once(ctx, w)
		switch {
		case err != nil && w.transport == TCP && c.flattened >= 2 && ctx.Err() == nil:
			// It neither keeps capitals nor speaks TCP: what is left is what
			// everybody did before.
			c.note(true, "cannot be reached over TCP: asked over UDP, without capitals")
			w.transport, w.capitals = UDP, false
			continue
		case err != nil:
			return reply{}, c.failure(ctx, err)
		case r.verdict == accepted:
			c.res.CaseKept = r.query.capitals
			return r, nil
		case r.verdict == malformed:
			c.x.metrics.malformed.Inc()
			return reply{}, &Error{Outcome: Malformed}
		}
		w = c.other(w, r)
	}
	return reply{}, &Error{Outcome: Malformed} // it only ever wants another way
}

// other returns the way to put the question after a reply that was no answer.
func (c *call) other(w way, r reply) way {
	switch r.verdict {
	case truncated:
		c.x.metrics.truncated.Inc()
		c.note(true, "the answer did not fit into a datagram: asked over TCP")
		w.transport = TCP
	case noEDNS:
		c.x.metrics.fallbacks.Inc()
		c.note(true, "did not understand the question with EDNS: asked without")
		c.rejected, w.edns = true, false
	case otherCase:
		c.x.metrics.flattened.Inc()
		if c.flattened++; c.flattened < 2 {
			c.note(true, "the answer did not keep the capitals of the question: asked with others")
			break
		}
		c.note(true, "the answer did not keep the capitals again: asked over TCP")
		w.transport = TCP
	case badCookie:
		c.cookie = *r.query.cookie
		if c.badCookies++; c.badCookies < 2 && len(c.cookie.fromServer) > 0 {
			c.note(true, "wants a newer cookie: asked with it")
			break
		}
		c.note(true, "does not take the cookie that it sent: asked over TCP")
		w.transport = TCP // RFC 7873, section 5.3
	case noCookie:
		c.note(true, "the answer is without the cookie that the server sends: asked over TCP")
		c.cookie.fromServer = nil
		w.transport = TCP
	case suspected:
		c.x.metrics.suspected.Inc()
		c.note(true, "too many messages that did not belong to the question, perhaps forged: asked over TCP")
		w.transport = TCP
	}
	return w
}

// once puts the question in one way.
func (c *call) once(ctx context.Context, w way) (r reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	c.res.Transport = w.transport.String()
	if w.transport == UDP {
		r, err = c.datagrams(ctx, w)
	} else {
		r, err = c.stream(ctx, w)
	}
	if err == nil && r.verdict == accepted {
		c.x.metrics.rtt.WithLabelValues(c.res.Transport).Observe(r.rtt.Seconds())
	}
	return r, err
}

// failure says what an error of a socket means.
func (c *call) failure(ctx context.Context, err error) *Error {
	switch {
	case errors.Is(err, errBusy):
		return &Error{Busy, err}
	case errors.Is(err, errSilent), isTimeout(err), ctx.Err() != nil:
		return &Error{Timeout, err}
	}
	return &Error{Unreachable, err}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

// lesson is what an answer teaches about the server.
func (c *call) lesson(r reply) lesson {
	l := lesson{noCapitals: c.flattened >= 2, fromServer: c.cookie.fromServer}
	if r.query.transport == UDP {
		// Of a question that was sent twice it is not known which one was
		// answered; the time since the first is never too short (RFC 6298,
		// section 3 would not measure at all, and never learn of a slow server).
		l.rtt = r.rtt
	}
	if r.query.edns && r.msg.IsEdns0() != nil {
		l.edns = true
	}
	if r.query.cookie != nil {
		l.fromServer = r.query.cookie.fromServer
	}
	switch {
	case c.rejected && r.msg.Rcode != dns.RcodeFormatError && r.msg.Rcode != dns.RcodeNotImplemented:
		l.noEDNS = forgetAfter // not the name or the type, but EDNS was too much
	case c.silent:
		l.noEDNS = silentFor
		c.x.metrics.fallbacks.Inc()
		c.note(true, "was silent until it was asked without EDNS")
	}
	return l
}

// sent counts a message; again is how often the same one went before.
func (c *call) sent(again int) {
	c.res.Queries++
	if again > 0 {
		c.x.metrics.resent.Inc()
		c.note(true, "was silent: asked again")
	}
}

func (c *call) ignore() {
	c.ignored++
	c.x.metrics.ignored.Inc()
}

func (c *call) note(when bool, format string, args ...any) {
	if when {
		c.res.Notes = append(c.res.Notes, fmt.Sprintf(format, args...))
	}
}
