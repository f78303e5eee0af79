//go:build !linux

package server

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// A udpLoop is the socket, and the goroutine that reads it: each datagram is
// answered by a goroutine of its own. It answers from the address that was
// asked. A socket that is bound to every interface would otherwise answer from
// the one that the route prefers, and the client would refuse an answer from a
// stranger.
type udpLoop struct {
	run  *serving
	conn *net.UDPConn
}

// A datagram is one message and where its answer goes.
type datagram struct {
	wire   []byte
	source netip.AddrPort
	oob    []byte
	buffer [maxQuery]byte
	oobBuf [128]byte
}

var datagrams = sync.Pool{New: func() any { return new(datagram) }}

func (run *serving) openUDP(pc net.PacketConn) ([]*udpLoop, error) {
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, fmt.Errorf("serve DNS: a %T is no UDP socket", pc)
	}
	// One of the two fits the socket's family, or both do.
	err6 := ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst, true)
	err4 := ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst, true)
	if err6 != nil && err4 != nil {
		return nil, fmt.Errorf("ask for destination addresses on UDP %s: %w", conn.LocalAddr(), err4)
	}
	return []*udpLoop{{run, conn}}, nil
}

func (l *udpLoop) read(d *datagram) error {
	n, oobn, _, source, err := l.conn.ReadMsgUDPAddrPort(d.buffer[:], d.oobBuf[:])
	if err != nil {
		return err // n may be -1
	}
	d.wire, d.source = d.buffer[:n], source
	d.oob = replySource(d.oobBuf[:oobn])
	return nil
}

// replySource turns the control message that says where a datagram went to into
// the one that says where its answer comes from.
func replySource(oob []byte) []byte {
	var cm6 ipv6.ControlMessage
	var cm4 ipv4.ControlMessage
	var dst net.IP
	switch {
	case cm6.Parse(oob) == nil && cm6.Dst != nil:
		dst = cm6.Dst
	case cm4.Parse(oob) == nil && cm4.Dst != nil:
		dst = cm4.Dst
	default:
		return nil
	}
	if dst.To4() != nil {
		return (&ipv4.ControlMessage{Src: dst}).Marshal()
	}
	return (&ipv6.ControlMessage{Src: dst}).Marshal()
}

// serve drops what comes while all slots are taken: the asker's own retry is the
// queue.
func (l *udpLoop) serve() error {
	run := l.run
	for {
		d := datagrams.Get().(*datagram)
		if err := l.read(d); err != nil {
			datagrams.Put(d)
			if run.stopped() {
				return nil
			}
			return fmt.Errorf("read from UDP %s: %w", l.conn.LocalAddr(), err)
		}
		select {
		case run.slots <- struct{}{}:
		default:
			run.metrics.drop(transportUDP, reasonOverload)
			datagrams.Put(d)
			continue
		}
		run.queries.Go(func() {
			defer func() { datagrams.Put(d); <-run.slots }()
			client := netip.AddrPortFrom(d.source.Addr().Unmap().WithZone(""), d.source.Port())
			emit := run.oneDatagram(client, func(answer []byte) error {
				_, _, err := l.conn.WriteMsgUDPAddrPort(answer, d.oob, d.source)
				return err
			})
			if answer, trusted := run.respondFast(d.wire, client, transportUDP); answer != nil {
				_ = emit(answer, trusted)
				return
			}
			_ = run.respondGeneral(run.ctx, d.wire, client, transportUDP, emit)
		})
	}
}
