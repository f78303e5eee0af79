package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// serveTCP accepts until the listener is closed. An accept that fails for want
// of something (file descriptors) is tried again after a pause: the server must
// outlive a burst.
func (run *serving) serveTCP(ctx context.Context, ln net.Listener) error {
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
			run.Logger.Warn("a TCP connection was not accepted", "error", err, "next_try", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return nil
			}
			pause = min(2*pause, longest)
			continue
		}
		pause = 5 * time.Millisecond
		if !run.enter(conn) {
			run.Metrics.drop("tcp", "overload")
			_ = conn.Close()
			continue
		}
		run.queries.Go(func() {
			defer run.leave(conn)
			run.serveConn(conn)
		})
	}
}

// enter takes a connection in, unless there are too many or it is too late.
func (run *serving) enter(conn net.Conn) bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.ending || len(run.conns) >= run.Limits.MaxTCPConnections {
		return false
	}
	run.conns[conn] = struct{}{}
	return true
}

func (run *serving) leave(conn net.Conn) {
	run.mu.Lock()
	defer run.mu.Unlock()
	delete(run.conns, conn)
	_ = conn.Close()
}

// await gives a connection time for its next query, unless the server ends.
func (run *serving) await(conn net.Conn) bool {
	run.mu.Lock()
	defer run.mu.Unlock()
	return !run.ending && conn.SetReadDeadline(time.Now().Add(run.Limits.TCPIdle)) == nil
}

// serveConn answers the queries of one connection as they come, each when it is
// ready (RFC 7766, section 6.2.1.1). What was read is answered even when the
// client has closed its side.
func (run *serving) serveConn(conn net.Conn) {
	var (
		queries sync.WaitGroup
		writing sync.Mutex
		slots   = make(chan struct{}, maxPipeline)
	)
	defer queries.Wait()
	source := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	for run.await(conn) {
		wire, err := ReadMessage(conn)
		if err != nil {
			return
		}
		slots <- struct{}{}
		queries.Go(func() {
			defer func() { <-slots }()
			run.answerTCP(conn, &writing, wire, source)
		})
	}
}

func (run *serving) answerTCP(conn net.Conn, writing *sync.Mutex, wire []byte, source netip.AddrPort) {
	answer := run.Respond(run.ctx, wire, source, "tcp")
	if answer == nil {
		_ = conn.Close() // whoever sends this speaks no DNS: reading on could only go astray
		return
	}
	writing.Lock()
	defer writing.Unlock()
	_ = conn.SetWriteDeadline(time.Now().Add(run.Limits.TCPIdle))
	if err := WriteMessage(conn, answer); err != nil {
		run.Logger.Debug("an answer was not sent", "client", source, "error", err)
		_ = conn.Close() // a part of it may be on the wire: the framing is lost
	}
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

// WriteMessage writes one message, of at most 65535 bytes, with its length
// before it, in one write (RFC 7766, section 8).
func WriteMessage(w io.Writer, wire []byte) error {
	out := make([]byte, 0, 2+len(wire))
	out = binary.BigEndian.AppendUint16(out, uint16(len(wire)))
	_, err := w.Write(append(out, wire...))
	return err
}
