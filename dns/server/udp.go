package server

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// maxQuery is the largest query that is read over UDP, in bytes: far above what
// any client sends. A longer one arrives cut, and is answered with FORMERR.
const maxQuery = 4096

// A udpSocket answers from the address that was asked. A socket that is bound to
// every interface would otherwise answer from the one that the route prefers,
// and the client would refuse an answer from a stranger.
type udpSocket struct {
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

func newUDPSocket(pc net.PacketConn) (*udpSocket, error) {
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
	return &udpSocket{conn}, nil
}

func (u *udpSocket) read(d *datagram) error {
	n, oobn, _, source, err := u.conn.ReadMsgUDPAddrPort(d.buffer[:], d.oobBuf[:])
	if err != nil {
		return err // n may be -1
	}
	d.wire, d.source = d.buffer[:n], source
	d.oob = replySource(d.oobBuf[:oobn])
	return nil
}

func (u *udpSocket) write(answer []byte, d *datagram) error {
	_, _, err := u.conn.WriteMsgUDPAddrPort(answer, d.oob, d.source)
	return err
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

// serveUDP answers each datagram in a goroutine of its own, and drops what
// comes while all slots are taken: the asker's own retry is the queue.
func (run *serving) serveUDP(u *udpSocket) error {
	for {
		d := datagrams.Get().(*datagram)
		if err := u.read(d); err != nil {
			datagrams.Put(d)
			if run.stopped() {
				return nil
			}
			return fmt.Errorf("read from UDP %s: %w", u.conn.LocalAddr(), err)
		}
		select {
		case run.slots <- struct{}{}:
		default:
			run.Metrics.drop("udp", "overload")
			datagrams.Put(d)
			continue
		}
		run.queries.Go(func() {
			defer func() { datagrams.Put(d); <-run.slots }()
			if answer := run.Respond(run.ctx, d.wire, d.source, "udp"); answer != nil {
				if err := u.write(answer, d); err != nil {
					run.Logger.Debug("an answer was not sent", "client", d.source, "error", err)
				}
			}
		})
	}
}
