package server

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/miekg/dns"
)

// transferable returns the response code for a transfer that nobody is asked
// for, or success.
func (c *core) transferable(q *Query) int {
	switch {
	case c.transfers == nil:
		return dns.RcodeRefused
	case q.Transport == transportHTTPS || q.Type == dns.TypeAXFR && q.Transport == transportUDP:
		// RFC 5936, section 4.2 defines no AXFR over UDP, RFC 8484 one message
		// only: that is not done, whoever asks.
		q.Explain(dns.ExtendedErrorCodeNotSupported, "A zone transfer needs TCP or TLS")
		return dns.RcodeNotImplemented
	}
	return dns.RcodeSuccess
}

var (
	errOneMessage  = errors.New("over this transport an answer is one message")
	errNothingSent = errors.New("the handler sent nothing")
)

// A transfer is one answer of several messages.
type transfer struct {
	*core
	q      *Query
	header dns.MsgHdr
	emit   emitter
	sent   int
	rcode  int // of the first message
}

// transfer has a transfer answered, and reports what became of it: an error
// means that the connection, if there is one, is of no further use. Where
// nothing was sent the client gets SERVFAIL.
func (c *core) transfer(ctx context.Context, q *Query, reply *dns.Msg, emit emitter) (rcode int, err error) {
	t := &transfer{core: c, q: q, header: reply.MsgHdr, emit: emit}
	err = t.run(ctx)
	if err == nil && t.sent == 0 {
		err = errNothingSent
	}
	if err == nil {
		return t.rcode, nil
	}
	c.logger.Debug("a transfer broke off", "question", questionOf(reply), "client", q.Source, "messages", t.sent, "error", err)
	if t.sent > 0 {
		return t.rcode, err
	}
	failure := &dns.Msg{MsgHdr: t.header}
	failure.Rcode = dns.RcodeServerFailure
	return dns.RcodeServerFailure, t.send(failure)
}

// run calls the handler and survives it.
func (t *transfer) run(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			t.logger.Error("a query ended in a panic", "question", t.q.Name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return t.transfers.Transfer(ctx, t.q, t.send)
}

// send completes one message (id, flags, in the first the question and the OPT
// record: RFC 5936, sections 2.2.1, 2.2.2 and 2.2.5), packs, signs and sends it.
func (t *transfer) send(m *dns.Msg) error {
	m.Id, m.Response, m.Opcode = t.header.Id, true, t.header.Opcode
	m.RecursionDesired = t.header.RecursionDesired
	if t.sent == 0 {
		m.Question = []dns.Question{t.q.Question}
		t.rcode = m.Rcode
		t.settle(t.q, m)
	} else {
		m.Compress = true
	}
	wire, err := m.Pack()
	if err != nil {
		return fmt.Errorf("pack a message of a transfer: %w", err)
	}
	if err := t.emit(t.q.sig.sign(wire), t.q.trusted); err != nil {
		return err
	}
	t.sent++
	return nil
}
