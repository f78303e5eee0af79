package ingressclient

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/miekg/dns"
)

// A resolver asks one DNS server, with EDNS over UDP, and over TCP where the
// answer does not fit (RFC 7766, section 5). It keeps nothing; its methods may
// be called concurrently.
type resolver struct {
	address string // host:port
	// waits is how long each attempt over UDP may take.
	waits []time.Duration
	log   *narrator
}

// udpSize is what passes every network unfragmented (the DNS flag day of 2020).
const udpSize = 1232

// tcpWait bounds a question over TCP.
const tcpWait = 5 * time.Second

func newResolver(address string, log *narrator) *resolver {
	return &resolver{
		address: address, log: log,
		waits: []time.Duration{time.Second, 2 * time.Second, 2 * time.Second},
	}
}

// errNoAnswer is wrapped where the resolver cannot be reached or keeps silent,
// as opposed to one that answers with an error.
var errNoAnswer = errors.New("no answer")

// lookup asks for the records of one type, and again at the end of a chain of
// aliases that the resolver left open. NXDOMAIN is an answer, not an error.
func (r *resolver) lookup(ctx context.Context, name string, qtype uint16) (answer, error) {
	name = dns.Fqdn(name)
	for range maxAliases {
		m, err := r.ask(ctx, name, qtype)
		if err != nil {
			return answer{}, err
		}
		a, err := interpret(m)
		if err != nil || !a.open {
			return a, err
		}
		name = a.owner
	}
	return answer{}, errors.New("it answered with a loop of aliases")
}

// ask sends one question and returns the reply to it.
func (r *resolver) ask(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	query := new(dns.Msg)
	query.SetQuestion(name, qtype)
	query.SetEdns0(udpSize, false)
	packed, err := query.Pack()
	if err != nil {
		return nil, fmt.Errorf("the name %s cannot be asked for: %w", name, err)
	}
	question := dns.Type(qtype).String() + " " + shortNames(name)
	start := time.Now()
	m, err := r.overUDP(ctx, query, packed, question)
	if err == nil && m.Truncated {
		r.log.say("  %s: the answer is too long for UDP, asking over TCP", question)
		m, err = r.overTCP(ctx, query, packed)
	}
	switch {
	case err != nil && ctx.Err() == nil:
		r.log.say("  %s: %v after %s", question, err, millis(time.Since(start)))
	case err == nil:
		r.log.say("  %s: %s in %s", question, describe(m), millis(time.Since(start)))
	}
	return m, err
}

// overUDP tries until an attempt is answered. The socket is connected, so that
// the kernel drops what comes from anybody else.
func (r *resolver) overUDP(ctx context.Context, query *dns.Msg, packed []byte, question string) (*dns.Msg, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", r.address)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errNoAnswer, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, dns.MaxMsgSize)
	for attempt, wait := range r.waits {
		if attempt > 0 {
			r.log.say("  %s: no answer within %v, asking again", question, r.waits[attempt-1])
		}
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		if ctx.Err() != nil { // It may have ended before the line above.
			return nil, ctx.Err()
		}
		if _, err := conn.Write(packed); err != nil {
			return nil, fmt.Errorf("%w: %v", errNoAnswer, plain(err))
		}
		for {
			n, err := conn.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("%w: %v", errNoAnswer, plain(err))
			}
			// What does not match may be a forgery that races the true
			// answer: the wait goes on.
			m, err := reply(buf[:n], query)
			if err == nil {
				return m, nil
			}
			r.log.say("  %s: a message is ignored: %v", question, err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return nil, fmt.Errorf("%w to %d attempts", errNoAnswer, len(r.waits))
}

func (r *resolver) overTCP(ctx context.Context, query *dns.Msg, packed []byte) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, tcpWait)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.address)
	if err != nil {
		return nil, fmt.Errorf("%w over TCP: %v", errNoAnswer, plain(err))
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(packed)))
	if _, err := conn.Write(append(framed, packed...)); err != nil {
		return nil, fmt.Errorf("%w over TCP: %v", errNoAnswer, plain(err))
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, fmt.Errorf("%w over TCP: %v", errNoAnswer, plain(err))
	}
	raw := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, raw); err != nil {
		return nil, fmt.Errorf("%w over TCP: %v", errNoAnswer, plain(err))
	}
	m, err := reply(raw, query)
	if err != nil {
		return nil, fmt.Errorf("its message over TCP cannot be used: %w", err)
	}
	return m, nil
}

// plain strips an error of the network down to the words of the system:
// "connection refused".
func plain(err error) error {
	var call *os.SyscallError
	if errors.As(err, &call) {
		return call.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
