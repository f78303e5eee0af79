package exchange

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"minicloud.internal/dns/server"
)

const (
	// keptPerServer and keptInAll are how many connections are kept open without
	// a question under way.
	keptPerServer = 4
	keptInAll     = 64
	// streamShare is the part of the questions in all that may use TCP or TLS at
	// once: there an answer has up to 64 KiB, and unpacks to megabytes.
	streamShare = 8
)

// stream puts the question over TCP or TLS, on a connection that is kept from an
// earlier one if there is any. One that the server has closed meanwhile is no
// failure: it is replaced, once.
func (c *call) stream(ctx context.Context, w way) (reply, error) {
	q, err := newQuery(c.name, c.qtype, c.opts.RecursionDesired, w, nil)
	if err != nil {
		return reply{}, err
	}
	select {
	case c.x.streams <- struct{}{}:
		defer func() { <-c.x.streams }()
	case <-ctx.Done():
		return reply{}, errBusy
	}
	key := streamKey{w.transport, c.address, c.to.TLSName}
	if conn := c.x.kept.take(key); conn != nil {
		r, err := c.talk(ctx, conn, key, q)
		if err == nil || ctx.Err() != nil {
			return r, err
		}
	}
	conn, err := c.x.connect(ctx, key, c.to)
	if err != nil {
		return reply{}, err
	}
	return c.talk(ctx, conn, key, q)
}

// connect opens a connection; with TLS the server must prove its name.
func (x *Exchanger) connect(ctx context.Context, key streamKey, to Target) (net.Conn, error) {
	conn, err := x.cfg.Dial.Or()(ctx, "tcp", key.address)
	if err != nil || key.transport != TLS {
		return conn, err
	}
	cfg := x.tls.Clone()
	if cfg.ServerName = to.TLSName; cfg.ServerName == "" {
		cfg.ServerName = to.Addr.Addr().WithZone("").String()
	}
	secured := tls.Client(conn, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// talk puts the question on a connection, which it keeps or closes.
func (c *call) talk(ctx context.Context, conn net.Conn, key streamKey, q *query) (r reply, err error) {
	undo := interruptible(ctx, conn)
	defer func() {
		if undo() && err == nil && r.verdict == accepted {
			c.x.kept.give(key, conn)
		} else {
			_ = conn.Close()
		}
	}()
	start := time.Now()
	if err := server.WriteMessage(conn, q.wire); err != nil {
		return reply{}, err
	}
	c.sent(0)
	wire, err := server.ReadMessage(conn)
	if err != nil {
		return reply{}, err
	}
	m, v := q.judge(wire)
	if v == ignored {
		// One question was asked: nothing else can come. Whoever sends it has
		// lost count, and the next answer would be wrong too.
		v = malformed
	}
	return reply{msg: m, verdict: v, query: q, rtt: time.Since(start)}, nil
}

// A streamKey says which connections are alike.
type streamKey struct {
	transport Transport
	address   string
	tlsName   string
}

// pool keeps connections without a question under way, for a time (RFC 7766,
// section 6.2.3). It needs no goroutine: a timer closes each. It is safe for
// concurrent use.
type pool struct {
	idle time.Duration

	mu     sync.Mutex
	conns  map[streamKey][]*keptConn
	count  int
	closed bool
}

type keptConn struct {
	net.Conn
	timer *time.Timer
}

// take returns a connection, the one kept last, or nil.
func (p *pool) take(key streamKey) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.conns[key]
	if len(list) == 0 {
		return nil
	}
	k := list[len(list)-1]
	p.remove(key, k)
	k.timer.Stop()
	return k.Conn
}

// give keeps a connection, or closes it where there are enough.
func (p *pool) give(key streamKey, conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.count >= keptInAll || len(p.conns[key]) >= keptPerServer {
		_ = conn.Close()
		return
	}
	k := &keptConn{Conn: conn}
	k.timer = time.AfterFunc(p.idle, func() {
		p.mu.Lock()
		idle := p.remove(key, k)
		p.mu.Unlock()
		if idle {
			_ = k.Close()
		}
	})
	p.conns[key] = append(p.conns[key], k)
	p.count++
}

// remove reports whether the connection was there. The caller holds mu.
func (p *pool) remove(key streamKey, k *keptConn) bool {
	list := p.conns[key]
	for i := range list {
		if list[i] != k {
			continue
		}
		if list = append(list[:i], list[i+1:]...); len(list) == 0 {
			delete(p.conns, key)
		} else {
			p.conns[key] = list
		}
		p.count--
		return true
	}
	return false
}

// close closes what is kept, and what is given from now on.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, list := range p.conns {
		for _, k := range list {
			k.timer.Stop()
			_ = k.Close()
		}
	}
	clear(p.conns)
	p.count = 0
}
