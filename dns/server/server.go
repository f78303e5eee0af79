package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/kit"
)

// A Handler answers queries. Answer fills reply, which already carries id,
// question and copied flags; it may be called by many goroutines at once, and
// must return soon after ctx ends. What it puts into reply it must not change
// afterwards. A handler may also be [Fast] and a [Transferrer].
type Handler interface {
	Answer(ctx context.Context, q *Query, reply *dns.Msg)
}

// A Server answers DNS over UDP and TCP, and over TLS and HTTPS where it is
// given a [Listener] for them. All fields but Keys and Recursive must be
// set, and none be changed afterwards; Limits must be valid.
type Server struct {
	Handler Handler
	Logger  *slog.Logger
	Health  *kit.Health
	Metrics *Metrics
	Limits  Limits
	// Keys are the TSIG keys of those who sign their queries; default none.
	Keys []Key
	// Recursive says that Handler recurses: then the queries that it never sees,
	// because they are refused before, are answered with the bit RA too (RFC
	// 1035, section 4.1.1). Default false.
	Recursive bool

	once sync.Once
	core *core
}

// core is what answering needs, made from the Server's fields when they are
// first used.
type core struct {
	handler   Handler
	fast      Fast        // or nil
	transfers Transferrer // or nil
	logger    *slog.Logger
	metrics   *Metrics
	keys      keyring
	recursive bool
	cookies   cookieSecret
	limiter   *limiter // or nil
	nsid      string
	version   string
	idle      time.Duration
	paths     sync.Pool // of *fastPath, for what comes by other ways than a loop
}

func (s *Server) prepared() *core {
	s.once.Do(func() {
		// ValidateLimits has found every error.
		secret, _ := s.Limits.cookieSecret()
		exempt, _ := s.Limits.rateLimitExempt()
		c := &core{
			handler: s.Handler, logger: s.Logger, metrics: s.Metrics,
			keys: newKeyring(s.Keys), recursive: s.Recursive, cookies: newCookieSecret(secret),
			limiter: newLimiter(s.Limits.RateLimit, exempt),
			nsid:    s.Limits.NSID, version: s.Limits.Version, idle: s.Limits.TCPIdle,
		}
		c.fast, _ = s.Handler.(Fast)
		c.transfers, _ = s.Handler.(Transferrer)
		c.paths.New = func() any { return &fastPath{core: c} }
		s.core = c
	})
	return s.core
}

// Respond turns the bytes of one message into the bytes of its answer, or nil
// for what must not be answered: what is shorter than a header, and responses.
// A malformed query gets FORMERR, an opcode that is not served NOTIMP, and a
// handler that panics SERVFAIL. The transport is "udp", "tcp", "tls" or
// "https"; of a transfer only the first message is returned. It may be called
// concurrently.
func (s *Server) Respond(ctx context.Context, wire []byte, source netip.AddrPort, transport string) []byte {
	return s.prepared().respond(ctx, wire, source, transport)
}

func (c *core) respond(ctx context.Context, wire []byte, source netip.AddrPort, transport string) []byte {
	if answer, _ := c.respondFast(wire, source, transport); answer != nil {
		return answer
	}
	return c.respondWhole(ctx, wire, source, transport)
}

// respondWhole answers the general way, with one message.
func (c *core) respondWhole(ctx context.Context, wire []byte, source netip.AddrPort, transport string) (answer []byte) {
	_ = c.respondGeneral(ctx, wire, source, transport, func(a []byte, _ bool) error {
		if answer != nil {
			return errOneMessage
		}
		answer = a
		return nil
	})
	return answer
}

// respondFast answers out of memory, or returns nil. For trusted see emitter.
func (c *core) respondFast(wire []byte, source netip.AddrPort, transport string) (answer []byte, trusted bool) {
	if c.fast == nil {
		return nil, false
	}
	size := streamSize
	if transport == transportUDP {
		size = udpSize
	}
	f := c.paths.Get().(*fastPath)
	defer c.paths.Put(f)
	f.query.Now = time.Now().UnixNano()
	answer, v := f.answer(wire, source, size, make([]byte, 0, UDPSize))
	if v != answered {
		return nil, false
	}
	c.metrics.answered(transport, int(answer[3]&0xF))
	return answer, f.trusted
}

// An emitter sends one message. Trusted is a client that has proved its address,
// with a cookie or a key. An error means that it takes nothing more.
type emitter func(answer []byte, trusted bool) error

// respondGeneral answers with one call of emit, or with several for a transfer,
// or with none for what must not be answered. It returns emit's error.
func (c *core) respondGeneral(ctx context.Context, wire []byte, source netip.AddrPort, transport string, emit emitter) error {
	q, reply, refused := c.parse(wire, source, transport)
	if q == nil {
		c.metrics.drop(transport, reasonMalformed)
		return nil
	}
	if !refused && (q.Type == dns.TypeAXFR || q.Type == dns.TypeIXFR) {
		rcode, err := c.transfer(ctx, q, reply, emit)
		c.metrics.answered(transport, rcode)
		return err
	}
	if refused {
		reply.RecursionAvailable = c.recursive && reply.Opcode == dns.OpcodeQuery
	} else {
		c.handle(ctx, q, reply)
	}
	c.settle(q, reply)
	out, err := reply.Pack()
	if err != nil {
		c.logger.Error("an answer cannot be packed", "question", questionOf(reply), "error", err)
		reply.Rcode = dns.RcodeServerFailure
		reply.Answer, reply.Ns, reply.Extra = nil, nil, nil
		if out, err = reply.Pack(); err != nil {
			return nil
		}
	}
	c.metrics.answered(transport, reply.Rcode)
	return emit(q.sig.sign(out), q.trusted)
}

// handle calls the handler and survives it.
func (c *core) handle(ctx context.Context, q *Query, reply *dns.Msg) {
	defer func() {
		if v := recover(); v != nil {
			c.logger.Error("a query ended in a panic", "question", questionOf(reply), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			*reply = dns.Msg{MsgHdr: reply.MsgHdr, Question: []dns.Question{q.Question}}
			reply.Rcode, reply.Authoritative = dns.RcodeServerFailure, false
		}
	}()
	c.handler.Answer(ctx, q, reply)
}

func questionOf(m *dns.Msg) string {
	if len(m.Question) == 0 {
		return ""
	}
	return m.Question[0].Name + " " + dns.Type(m.Question[0].Qtype).String()
}

// serving is the state of one call of [Server.Serve].
type serving struct {
	*core
	limits   Limits
	ctx      context.Context // of the queries; outlives Serve's by the drain
	queries  sync.WaitGroup  // readers and queries
	slots    chan struct{}   // one per query over UDP
	admitted admitted

	mu     sync.Mutex
	ending bool
	conns  map[net.Conn]struct{} // those that serveConn reads
}

// Serve answers on both sockets, and those that ln brings along where it is a
// [Listener], until ctx ends. It closes them all in the end. Then it reads no
// more, finishes what it has begun (for at most 5 s), joins every goroutine and
// returns nil. A socket that breaks is a returned error. Where pc is bound to an
// address, it opens further sockets there, for the other cores.
func (s *Server) Serve(ctx context.Context, ln net.Listener, pc net.PacketConn) error {
	defer pc.Close()
	defer ln.Close()
	queryCtx, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	run := &serving{
		core: s.prepared(), limits: s.Limits, ctx: queryCtx,
		slots: make(chan struct{}, s.Limits.MaxInFlight), conns: map[net.Conn]struct{}{},
	}
	run.admitted.open(s.Limits, s.Metrics)
	loops, err := run.openUDP(pc)
	if err != nil {
		return err
	}
	s.Health.OK() // the sockets are bound: who asks from now on is answered
	failed := make(chan error, len(loops)+3)
	for _, l := range loops {
		defer l.conn.Close()
		run.queries.Go(func() { failed <- l.serve() })
	}
	run.serveStreams(ctx, ln, failed)
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	s.Health.Drain()

	// Readers stop; answers are still written.
	stop()
	run.endReading()
	stopAccepting(ln)
	for _, l := range loops {
		_ = l.conn.SetReadDeadline(time.Unix(1, 0))
	}
	cut := time.AfterFunc(drainTimeout, func() {
		s.Logger.Warn("queries cut off at the end of the drain", "after", drainTimeout)
		abort()
		run.closeAll()
	})
	run.queries.Wait()
	cut.Stop()
	return err
}

// stopped tells a reader's error at the end of the server from a real one.
func (run *serving) stopped() bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	return run.ending
}

// endReading makes every reader of a TCP connection return.
func (run *serving) endReading() {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.ending = true
	for conn := range run.conns {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func (run *serving) closeAll() {
	run.mu.Lock()
	defer run.mu.Unlock()
	for conn := range run.conns {
		_ = conn.Close()
	}
}
