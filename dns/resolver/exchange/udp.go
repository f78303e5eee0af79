package exchange

import (
	"context"
	"net"
	"time"

	"github.com/miekg/dns"
)

// A reply is what became of one way to put a question.
type reply struct {
	msg     *dns.Msg // of accepted
	verdict verdict
	query   *query        // whose reply it is
	rtt     time.Duration // from the first time that it was sent
}

const (
	// maxIgnored is how many messages one socket passes over before the question
	// goes over TCP. On a new socket nothing is late, so that even one is strange
	// (RFC 5452, section 9.3: spoof detection).
	maxIgnored = 5
	// maxSends is how often a question is sent from one socket.
	maxSends = 4
	// hurriedSends is the same where other servers could be asked.
	hurriedSends = 2
)

// resendAfter is how long an answer may take before the question is sent again
// for the first time (RFC 6298, section 2): the measured round-trip time and four
// times its variation, but no less than a sixteenth of the time for the whole
// (50 ms of 800), since servers pause; without a measurement a quarter of it.
func resendAfter(k known, timeout time.Duration) time.Duration {
	if !k.measured {
		return timeout / 4
	}
	return min(max(k.srtt+4*k.rttvar, timeout/16), timeout)
}

// waits is how long to wait for an answer after each time that the question was
// sent: twice as long each time, and the last time what is left of timeout. In a
// hurry the last wait is no longer than its turn.
func waits(first, timeout time.Duration, hurry bool) []time.Duration {
	sends := maxSends
	if hurry {
		sends = hurriedSends
	}
	var out []time.Duration
	left, wait := timeout, first
	for len(out) < sends-1 && left >= wait+timeout/16 {
		out = append(out, wait)
		left -= wait
		wait *= 2
	}
	if hurry {
		left = min(left, wait)
	}
	return append(out, left)
}

// datagrams puts the question over UDP, on a socket of its own: a new port, and
// only the server's datagrams arrive.
func (c *call) datagrams(ctx context.Context, w way) (reply, error) {
	q, err := newQuery(c.name, c.qtype, c.opts.RecursionDesired, w, &c.cookie)
	if err != nil {
		return reply{}, err
	}
	conn, err := c.x.cfg.Dial.Or()(ctx, "udp", c.address)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	defer interruptible(ctx, conn)()
	plan := waits(resendAfter(c.known, c.timeout), c.timeout, c.opts.Hurry)
	start := time.Now()
	out := q
	for i, wait := range plan {
		// Silence may be a network that drops what has an OPT record.
		if last := i == len(plan)-1; last && i > 1 && w.edns && !c.known.ednsWorks {
			out = q.without()
		}
		if _, err := conn.Write(out.wire); err != nil {
			return reply{}, err
		}
		c.sent(i)
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		if ctx.Err() != nil { // whose end may have set a deadline before this one
			return reply{}, ctx.Err()
		}
		r, err := c.receive(conn, q)
		if err == nil {
			r.rtt = time.Since(start)
			if out != q && r.verdict == accepted && r.msg.IsEdns0() == nil {
				c.silent = true
			}
			return r, nil
		}
		if !isTimeout(err) || ctx.Err() != nil {
			return reply{}, err
		}
	}
	return reply{}, errSilent
}

// receive reads until something is to be said of the query, or the deadline
// passes.
func (c *call) receive(conn net.Conn, q *query) (reply, error) {
	buf := make([]byte, bufferSize+1)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return reply{}, err
		}
		if n > bufferSize {
			c.ignore() // longer than was asked for
		} else if m, v := q.judge(buf[:n]); v != ignored {
			return reply{msg: m, verdict: v, query: q}, nil
		} else {
			c.ignore()
		}
		if c.ignored >= maxIgnored {
			return reply{verdict: suspected, query: q}, nil
		}
	}
}

// interruptible ends every wait on a connection when ctx ends. The function that
// it returns undoes that, and reports whether it was in time.
func interruptible(ctx context.Context, conn net.Conn) func() bool {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}
