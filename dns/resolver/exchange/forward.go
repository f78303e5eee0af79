package exchange

import (
	"context"
	"strings"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/server"
)

// A Forwarder puts questions to servers that resolve by themselves, in the order
// of the configuration. It is safe for concurrent use.
type Forwarder struct {
	x       *Exchanger
	targets []Target
	keys    []serverKey
	timeout time.Duration // for each target
}

// Forwarder returns one for these targets (see [ParseTargets]), at least one.
func (x *Exchanger) Forwarder(targets []Target) *Forwarder {
	f := &Forwarder{x: x, targets: targets, timeout: x.cfg.ForwardTimeout}
	for _, t := range targets {
		f.keys = append(f.keys, t.key())
	}
	return f
}

// Targets returns whom it asks, in the order of the configuration. They must not be
// changed.
func (f *Forwarder) Targets() []Target { return f.targets }

// A ForwardError is why none of the targets gave an answer.
type ForwardError struct {
	// Troubles has a sentence for each target that was asked.
	Troubles []string
}

// Error returns the sentences in one line.
func (e *ForwardError) Error() string {
	return "no server that it is forwarded to gave an answer: " + strings.Join(e.Troubles, "; ")
}

// Exchange asks the targets, one after the other, until one gives an answer:
// NOERROR or NXDOMAIN, from a server that offers recursion or is authoritative.
// Those that lately were silent come last, but for a probe now and then. The
// Result, never nil, is the last target's, its Queries and Took and Notes those
// of all; the error, a [*ForwardError], has a trouble of each.
func (f *Forwarder) Exchange(ctx context.Context, name string, qtype uint16) (*Result, error) {
	all := new(Result)
	failed := new(ForwardError)
	for _, t := range f.order() {
		res, err := f.x.Exchange(ctx, t, name, qtype, Options{RecursionDesired: true, Timeout: f.timeout})
		res.Queries += all.Queries
		res.Took += all.Took
		res.Notes = append(all.Notes, res.Notes...)
		all = res
		trouble := ""
		if err != nil {
			trouble = err.Error()
		} else {
			trouble = f.trouble(res.Msg)
		}
		if trouble == "" {
			return res, nil
		}
		trouble = t.String() + " " + trouble
		failed.Troubles = append(failed.Troubles, trouble)
		all.Notes = append(all.Notes, trouble)
		if ctx.Err() != nil {
			break
		}
	}
	all.Msg = nil
	return all, failed
}

// trouble says why a message is no answer, and counts what it is.
func (f *Forwarder) trouble(m *dns.Msg) string {
	switch {
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		f.x.Count(Refused)
		return "answered " + server.RcodeName(m.Rcode)
	case !m.RecursionAvailable && !m.Authoritative:
		f.x.Count(Lame)
		return "does not resolve for others"
	}
	f.x.Count(Answer)
	return ""
}

// order puts the targets that are backed off behind the others.
func (f *Forwarder) order() []Target {
	var first, last []Target
	for i, behind := range f.x.servers.behind(f.keys, f.x.cfg.Now()) {
		if behind {
			last = append(last, f.targets[i])
		} else {
			first = append(first, f.targets[i])
		}
	}
	return append(first, last...)
}
