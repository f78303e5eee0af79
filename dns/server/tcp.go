package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"minicloud.internal/kit"
)

// serveStreams serves the TCP socket, and what a [Listener] has beside it.
func (run *serving) serveStreams(ctx context.Context, ln net.Listener, failed chan<- error) {
	run.queries.Go(func() { failed <- run.serveTCP(ctx, ln, transportTCP, nil) })
	l, ok := ln.(*Listener)
	if !ok {
		if run.limits.TLSListen+run.limits.HTTPSListen != "" {
			run.logger.Warn("DNS over TLS and HTTPS is configured, and not served here")
		}
		return
	}
	if l.tls != nil {
		config := l.certificate.config("dot", run.logger)
		run.queries.Go(func() { failed <- run.serveTCP(ctx, l.tls, transportTLS, config) })
	}
	if l.https != nil {
		limited := &limitedListener{Listener: l.https, run: run}
		server := &kit.HTTPServer{Handler: run.doh(), Logger: slog.New(quietHandler{run.logger.Handler()}), BodyIdle: run.limits.TCPIdle, DrainTimeout: drainTimeout}
		config := l.certificate.config("h2", run.logger)
		config.NextProtos = append(config.NextProtos, "http/1.1")
		run.queries.Go(func() { failed <- server.Serve(ctx, tls.NewListener(limited, config)) })
	}
}

// stopAccepting closes the listeners of serveTCP. That of HTTPS is closed by its
// server, which would take it for a failure and cut off what is in flight.
func stopAccepting(ln net.Listener) {
	if l, ok := ln.(*Listener); ok {
		ln = l.Listener
		if l.tls != nil {
			_ = l.tls.Close()
		}
	}
	_ = ln.Close()
}

// serveTCP accepts until the listener is closed. An accept that fails for want
// of something (file descriptors) is tried again after a pause: the server must
// outlive a burst.
func (run *serving) serveTCP(ctx context.Context, ln net.Listener, transport string, config *tls.Config) error {
	const longest = time.Second
	pause := 5 * time.Millisecond
	for {
		conn, err := ln.Accept()
		if err != nil {
			if run.stopped() {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept on TCP %s: %w", ln.Addr(), err)
			}
			run.logger.Warn("a TCP connection was not accepted", "error", err, "next_try", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil
			}
			pause = min(2*pause, longest)
			continue
		}
		pause = 5 * time.Millisecond
		client := addressOf(conn)
		if !run.enter(conn, client.Addr(), transport) {
			run.metrics.drop(transport, reasonOverload)
			_ = conn.Close()
			continue
		}
		run.queries.Go(func() {
			defer run.leave(conn, client.Addr(), transport)
			c := &stream{serving: run, conn: conn, client: client, transport: transport}
			if config != nil {
				secured := tls.Server(conn, config)
				c.conn = secured
				if !run.await(c.conn) || secured.HandshakeContext(run.ctx) != nil {
					return
				}
				// A peer that takes nothing would otherwise hold up the end.
				defer func() { _ = conn.SetDeadline(time.Now().Add(run.limits.TCPIdle)); _ = secured.Close() }()
			}
			c.serve()
		})
	}
}

// addressOf returns the client's address, without IPv4 in IPv6.
func addressOf(conn net.Conn) netip.AddrPort {
	a := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// admitted counts the connections that are open: in all, and of each client.
type admitted struct {
	limit, perClient int
	metrics          *Metrics

	mu      sync.Mutex
	total   int
	clients map[netip.Prefix]int
}

func (a *admitted) open(l Limits, m *Metrics) {
	a.limit, a.perClient, a.metrics = l.MaxTCPConnections, l.tcpPerClient(), m
	a.clients = map[netip.Prefix]int{}
}

// client returns whom a connection counts for: one who has an IPv6 address has
// all of its /64.
func clientOf(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}

// admit takes a connection in, unless there are too many.
func (a *admitted) admit(addr netip.Addr, transport string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	client := clientOf(addr)
	if a.total >= a.limit || a.clients[client] >= a.perClient {
		return false
	}
	a.total++
	a.clients[client]++
	a.metrics.open[transportIndex(transport)].Add(1)
	return true
}

func (a *admitted) dismiss(addr netip.Addr, transport string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	client := clientOf(addr)
	a.total--
	if a.clients[client]--; a.clients[client] == 0 {
		delete(a.clients, client)
	}
	a.metrics.open[transportIndex(transport)].Add(-1)
}

// enter takes a connection in, unless there are too many or it is too late.
func (run *serving) enter(conn net.Conn, client netip.Addr, transport string) bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.ending || !run.admitted.admit(client, transport) {
		return false
	}
	run.conns[conn] = struct{}{}
	return true
}

func (run *serving) leave(conn net.Conn, client netip.Addr, transport string) {
	run.mu.Lock()
	defer run.mu.Unlock()
	delete(run.conns, conn)
	run.admitted.dismiss(client, transport)
	_ = conn.Close()
}

// await gives a connection time for its next query, unless the server ends.
func (run *serving) await(conn net.Conn) bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	return !run.ending && conn.SetReadDeadline(time.Now().Add(run.limits.TCPIdle)) == nil
}

// A stream is one connection, over TCP or TLS.
type stream struct {
	*serving
	conn      net.Conn
	client    netip.AddrPort
	transport string
	writing   sync.Mutex
}

// serve answers the queries of one connection as they come, each when it is
// ready (RFC 7766, section 6.2.1.1); what is in memory at once. What was read is
// answered even when the client has closed its side. A query must arrive whole
// within the idle time: a deadline that each octet moved on would let a client
// hold its connection for ever with one octet at a time.
func (c *stream) serve() {
	const room = 2048 // for many queries in one read
	var (
		queries sync.WaitGroup
		slots   = make(chan struct{}, maxPipeline)
		reader  = bufio.NewReaderSize(c.conn, room)
	)
	defer queries.Wait()
	for c.await(c.conn) {
		wire, err := ReadMessage(reader)
		if err != nil {
			return
		}
		if answer, _ := c.respondFast(wire, c.client, c.transport); answer != nil {
			_ = c.write(answer)
			continue
		}
		slots <- struct{}{}
		queries.Go(func() {
			defer func() { <-slots }()
			c.answer(wire)
		})
	}
}

func (c *stream) answer(wire []byte) {
	sent := false
	err := c.respondGeneral(c.ctx, wire, c.client, c.transport, func(answer []byte, _ bool) error {
		sent = true
		return c.write(answer)
	})
	if err != nil || !sent {
		// Half a transfer must not look like a whole one; and whoever sends
		// what has no answer speaks no DNS: reading on could only go astray.
		_ = c.conn.Close()
	}
}

// write sends one message, within the idle time.
func (c *stream) write(answer []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.limits.TCPIdle))
	err := WriteMessage(c.conn, answer)
	if err != nil {
		c.logger.Debug("an answer was not sent", "client", c.client, "error", err)
		_ = c.conn.Close() // a part of it may be on the wire: the framing is lost
	}
	return err
}

// ReadMessage reads one message with its length before it (RFC 1035, section
// 4.2.2).
func ReadMessage(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	wire := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, wire)
	return wire, err
}

// WriteMessage writes one message with its length before it, in one write (RFC
// 7766, section 8). More than 65535 bytes, which a signature may make of a message
// that fits without, are an error, and nothing is written.
func WriteMessage(w io.Writer, wire []byte) error {
	if len(wire) > math.MaxUint16 {
		return fmt.Errorf("a message of %d octets is longer than any can be", len(wire))
	}
	out := make([]byte, 0, 2+len(wire))
	out = binary.BigEndian.AppendUint16(out, uint16(len(wire)))
	_, err := w.Write(append(out, wire...))
	return err
}
