package resolver

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/server"
)

// exchange puts one question to one name server, and asks again over TCP where
// the answer did not fit into a datagram (RFC 7766, section 5). Each of the two
// gets the time of query_timeout.
func (r *Resolver) exchange(ctx context.Context, addr netip.Addr, name string, qtype uint16) (*dns.Msg, error) {
	query := &dns.Msg{
		MsgHdr:   dns.MsgHdr{Id: randomID()},
		Question: []dns.Question{{Name: name, Qtype: qtype, Qclass: dns.ClassINET}},
	}
	query.SetEdns0(server.UDPSize, false)
	wire, err := query.Pack()
	if err != nil {
		return nil, err
	}
	target := r.route(addr)
	m, err := r.over(ctx, "udp", target, query, wire)
	if err == nil && m.Truncated {
		r.metrics.truncated.Inc()
		m, err = r.over(ctx, "tcp", target, query, wire)
	}
	return m, err
}

// route returns where an address is really reached.
func (r *Resolver) route(addr netip.Addr) string {
	if to, ok := r.routes[addr]; ok {
		return to
	}
	return netip.AddrPortFrom(addr, 53).String()
}

// askable keeps the resolver from sending queries, on somebody else's word, to
// its own machine or to no single machine at all. A route makes an address good.
func (r *Resolver) askable(addr netip.Addr) bool {
	_, routed := r.routes[addr]
	return routed || addr.IsGlobalUnicast()
}

// over makes one exchange on a new socket: the kernel gives each its own random
// port, and lets only the peer's datagrams through to it, so that who would
// forge an answer must guess port and id (RFC 5452). A message that is not the
// answer is passed over, and the right one still waited for.
func (r *Resolver) over(ctx context.Context, network, target string, query *dns.Msg, wire []byte) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.QueryTimeout)
	defer cancel()
	conn, err := r.cfg.Dial.Or()(ctx, network, target)
	if err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	defer conn.Close()
	// The deadline of ctx is the socket's, and its end ends every wait.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if network == "udp" {
		_, err = conn.Write(wire)
	} else {
		err = server.WriteMessage(conn, wire)
	}
	for err == nil {
		var got []byte
		if got, err = receive(conn, network); err != nil {
			break
		}
		m := new(dns.Msg)
		if m.Unpack(got) == nil && isAnswer(m, query) {
			return m, nil
		}
		r.metrics.ignored.Inc()
	}
	return nil, cmp.Or(ctx.Err(), err)
}

func receive(conn net.Conn, network string) ([]byte, error) {
	if network == "tcp" {
		return server.ReadMessage(conn)
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	return buf[:n], err
}

// isAnswer reports whether a message is the response to the query: the same id
// and question. An error may come without the question, from a server that did
// not understand it.
func isAnswer(m, query *dns.Msg) bool {
	if !m.Response || m.Id != query.Id || m.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(m.Question) == 0 {
		return m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError
	}
	got, want := m.Question[0], query.Question[0]
	return len(m.Question) == 1 && got.Qtype == want.Qtype && got.Qclass == want.Qclass && strings.EqualFold(got.Name, want.Name)
}

func randomID() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return binary.BigEndian.Uint16(b[:])
}
