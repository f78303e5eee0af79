package iterate

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/resolver/cache"
	"minicloud.internal/dns/resolver/exchange"
)

// A Forwarder asks resolvers by others; an [exchange.Forwarder] is one. The
// Result is never nil.
type Forwarder interface {
	Exchange(ctx context.Context, name string, qtype uint16) (*exchange.Result, error)
}

// askForwarder asks for a name that lies in a forwarded zone. Its servers follow
// aliases by themselves; what of that lies outside of the zone is not believed,
// and asked for in its own way.
func (s *resolution) askForwarder(ctx context.Context, w *walk, zone string, f Forwarder) *Failure {
	if s.queries <= 0 {
		return s.limitf("max_queries", w.depth, "The question takes more than %d queries", s.limits.MaxQueries)
	}
	start := time.Now()
	res, err := f.Exchange(ctx, w.name, w.qtype)
	s.queries -= res.Queries
	q := question{zone, w.name, w.qtype}
	resp := response{outcome: exchange.Unreachable}
	if err != nil {
		resp.reason = err.Error()
	} else {
		m := *res.Msg
		m.Authoritative = true // its word is taken for the zone's own
		if resp = interpret(&m, q, &s.limits); resp.outcome == exchange.Referral {
			// It was asked to resolve: to walk is not the resolver's here.
			resp = response{outcome: exchange.Lame, reason: "referred to the name servers of " + resp.delegation.Zone + ", instead of asking them"}
		}
	}
	if s.opts.Trace != nil {
		step := Step{
			Kind: StepQuery, Depth: w.depth, Name: w.name, Type: dns.Type(w.qtype).String(),
			Why: zone + " is forwarded", Zone: zone, Reached: res.Server, Transport: res.Transport, Queries: res.Queries, Notes: res.Notes,
			Outcome: resp.outcome, Reason: resp.reason, Milliseconds: float64(time.Since(start).Microseconds()) / 1000,
		}
		if res.Msg != nil {
			step.Response = describe(res.Msg)
			step.Accepted, step.Refused = judge(res.Msg, q, resp)
		}
		s.opts.Trace.add(step)
	}
	var troubles *exchange.ForwardError
	switch {
	case errors.As(err, &troubles):
		return failuref(dns.ExtendedErrorCodeNoReachableAuthority, "No server that %s is forwarded to gave an answer: %s", zone, strings.Join(troubles.Troubles[:min(len(troubles.Troubles), maxTroubles)], "; "))
	case err != nil || resp.outcome != exchange.Answer:
		return failuref(dns.ExtendedErrorCodeNetworkError, "The server %s, which %s is forwarded to, %s", res.Server, zone, resp.reason)
	}
	for i := range resp.found {
		resp.found[i].entry.Rank = cache.RankForwarded
	}
	s.learn(resp.found, w.qtype, "forwarder "+res.Server)
	return nil
}
