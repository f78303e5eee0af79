package differential

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/peers"
)

// patience is how long an authoritative answer may take: what is never answered
// takes it all. A datagram is sent again after a third of it, since a busy server
// may lose one.
const patience = 5 * time.Second

// An answer is what a server did with a message.
type answer struct {
	wire []byte
	msg  *dns.Msg // nil where there is none, or it cannot be read
	err  error
	took time.Duration
}

// A client asks one server, one question after the other.
type client struct {
	*peers.Server
	patience time.Duration
	udp      net.Conn
	tcp      net.Conn // nil: none is open
}

func newClient(s *peers.Server) (*client, error) {
	c, err := net.Dial("udp", s.Address.String())
	if err != nil {
		return nil, err
	}
	return &client{Server: s, patience: patience, udp: c}, nil
}

func (c *client) close() {
	_ = c.udp.Close()
	if c.tcp != nil {
		_ = c.tcp.Close()
	}
}

// ask sends a message and waits for its answer.
func (c *client) ask(transport string, wire []byte) answer {
	ask := c.askUDP
	if transport == "tcp" {
		ask = c.askTCP
	}
	began := time.Now()
	reply, err := ask(wire)
	took := time.Since(began)
	if err != nil {
		return answer{err: err, took: took}
	}
	a := answer{wire: reply, msg: new(dns.Msg), took: took}
	if a.err = a.msg.Unpack(reply); a.err != nil {
		a.err = fmt.Errorf("an answer that cannot be read: %w", a.err)
		a.msg = nil
	}
	return a
}

var errSilent = errors.New("no answer")

func (c *client) askUDP(wire []byte) ([]byte, error) {
	buffer := make([]byte, dns.MaxMsgSize)
	for range 3 {
		if _, err := c.udp.Write(wire); err != nil {
			return nil, err
		}
		_ = c.udp.SetReadDeadline(time.Now().Add(c.patience / 3))
		for {
			n, err := c.udp.Read(buffer)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, err
			}
			if n >= 2 && buffer[0] == wire[0] && buffer[1] == wire[1] { // else one that was asked for twice
				return buffer[:n], nil
			}
		}
	}
	return nil, errSilent
}

func (c *client) askTCP(wire []byte) (reply []byte, err error) {
	for try := range 2 { // the server may have closed the connection meanwhile
		if c.tcp == nil {
			if c.tcp, err = net.DialTimeout("tcp", c.Address.String(), c.patience); err != nil {
				c.tcp = nil
				return nil, err
			}
			try = 1
		}
		if reply, err = exchange(c.tcp, wire, c.patience); err == nil {
			return reply, nil
		}
		_ = c.tcp.Close()
		c.tcp = nil
		if errors.Is(err, os.ErrDeadlineExceeded) || try > 0 {
			break
		}
	}
	return nil, errSilent
}

// exchange sends a message over a stream and reads one (RFC 1035, section 4.2.2).
func exchange(c net.Conn, wire []byte, patience time.Duration) ([]byte, error) {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)); err != nil {
		return nil, err
	}
	var head [2]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint16(head[:]))
	_, err := io.ReadFull(c, reply)
	return reply, err
}

// askAll asks all at the same time.
func askAll(clients []*client, transport string, wire []byte) []answer {
	answers := make([]answer, len(clients))
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() { answers[i] = c.ask(transport, wire) })
	}
	all.Wait()
	return answers
}
