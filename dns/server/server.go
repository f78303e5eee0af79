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
// afterwards.
type Handler interface {
	Answer(ctx context.Context, q *Query, reply *dns.Msg)
}

// A Server answers DNS over UDP and TCP. All fields must be set, and not be
// changed afterwards.
type Server struct {
	Handler Handler
	Logger  *slog.Logger
	Health  *kit.Health
	Metrics *Metrics
	Limits  Limits
}

// Respond turns the bytes of one message into the bytes of its answer, or nil
// for what must not be answered: what is shorter than a header, and responses.
// A malformed query gets FORMERR, another opcode than QUERY NOTIMP, and a
// handler that panics SERVFAIL. It may be called concurrently.
func (s *Server) Respond(ctx context.Context, wire []byte, source netip.AddrPort, transport string) []byte {
	q, reply := parse(wire, source, transport)
	if reply == nil {
		s.Metrics.drop(transport, "malformed")
		return nil
	}
	if q != nil {
		s.handle(ctx, q, reply)
		q.finish(reply)
		fit(reply, q.size())
	}
	out, err := reply.Pack()
	if err != nil {
		s.Logger.Error("an answer cannot be packed", "question", questionOf(reply), "error", err)
		reply.Rcode = dns.RcodeServerFailure
		reply.Answer, reply.Ns, reply.Extra = nil, nil, nil
		if out, err = reply.Pack(); err != nil {
			return nil
		}
	}
	s.Metrics.answered(transport, reply.Rcode)
	return out
}

// handle calls the handler and survives it.
func (s *Server) handle(ctx context.Context, q *Query, reply *dns.Msg) {
	defer func() {
		if v := recover(); v != nil {
			s.Logger.Error("a query ended in a panic", "question", questionOf(reply), "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			*reply = dns.Msg{MsgHdr: reply.MsgHdr, Question: []dns.Question{q.Question}}
			reply.Rcode, reply.Authoritative = dns.RcodeServerFailure, false
		}
	}()
	s.Handler.Answer(ctx, q, reply)
}

func questionOf(m *dns.Msg) string {
	if len(m.Question) == 0 {
		return ""
	}
	return m.Question[0].Name + " " + dns.TypeToString[m.Question[0].Qtype]
}

// serving is the state of one call of [Server.Serve].
type serving struct {
	*Server
	ctx     context.Context // of the queries; outlives Serve's by the drain
	queries sync.WaitGroup  // readers and queries
	slots   chan struct{}   // one per query over UDP

	mu     sync.Mutex
	ending bool
	conns  map[net.Conn]struct{}
}

// Serve answers on both sockets, which it closes in the end, until ctx ends.
// Then it reads no more, finishes what it has begun (for at most 5 s), joins
// every goroutine and returns nil. A socket that breaks is a returned error.
func (s *Server) Serve(ctx context.Context, ln net.Listener, pc net.PacketConn) error {
	defer pc.Close()
	defer ln.Close()
	udp, err := newUDPSocket(pc)
	if err != nil {
		return err
	}
	queryCtx, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	run := &serving{Server: s, ctx: queryCtx, slots: make(chan struct{}, s.Limits.MaxInFlight), conns: map[net.Conn]struct{}{}}
	failed := make(chan error, 2)
	run.queries.Go(func() { failed <- run.serveUDP(udp) })
	run.queries.Go(func() { failed <- run.serveTCP(ctx, ln) })
	s.Health.OK()
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	s.Health.Drain()

	// Readers stop; answers are still written.
	run.endReading()
	_ = ln.Close()
	_ = pc.SetReadDeadline(time.Unix(1, 0))
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
