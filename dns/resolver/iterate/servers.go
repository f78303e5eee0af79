package iterate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/resolver/cache"
	"minicloud.internal/dns/resolver/exchange"
)

// maxTroubles is how many servers' troubles a failure tells of.
const maxTroubles = 4

// An answer is what a zone's servers said.
type answer struct {
	response
	source string // which of them, for people
	// failed says why there is no response, heard that one of them did say
	// something, busy that one was not asked because of too many questions under
	// way, limit which limit kept others from being asked.
	failed, limit string
	heard, busy   bool
}

// A poll is the work on one question to a zone's servers.
type poll struct {
	*resolution
	d     *Delegation
	q     question
	why   string
	depth int

	names    map[netip.Addr]string // of the servers, by address
	nameless []string              // servers whose address is not known
	silent   []netip.Addr
	limit    string // which one kept servers from being looked up
	skipped  int    // how many
	troubles []string
	heard    bool
	busy     bool
}

// askZone puts a question to the zone's name servers, one after the other, until
// one gives an answer or a referral. Those that did not answer in time are asked
// again, up to attempts times; those that answered badly are not. The order of
// decisions:
//
//  1. addresses that the name servers' own zone gave come first;
//  2. then glue, where that said something else;
//  3. name servers without a known address come last, in random order: finding
//     it costs further queries.
//
// Its error ends the resolution: out of queries, or out of time.
func (s *resolution) askZone(ctx context.Context, d *Delegation, q question, why string, depth int) (answer, *Failure) {
	p := &poll{resolution: s, d: d, q: q, why: why, depth: depth, names: map[netip.Addr]string{}}
	own, glue := p.addresses()
	for attempt := range s.limits.Attempts {
		queue := append(s.exchanger.Order(d.Zone, own), s.exchanger.Order(d.Zone, glue)...)
		for len(queue) > 0 || len(p.nameless) > 0 {
			if len(queue) == 0 {
				queue = s.exchanger.Order(d.Zone, p.lookUp(ctx))
				continue
			}
			addr := queue[0]
			queue = queue[1:]
			others := len(queue) > 0 || len(p.nameless) > 0 || attempt+1 < s.limits.Attempts && len(p.silent) > 0
			a, err := p.askServer(ctx, addr, others)
			if err != nil || a.outcome == exchange.Answer || a.outcome == exchange.Referral {
				return a, err
			}
		}
		own, glue, p.silent = p.silent, nil, nil
		if len(own) == 0 {
			break
		}
		p.why = "asked again, because it was silent"
	}
	return answer{failed: p.failed(), heard: p.heard, busy: p.busy, limit: p.limit}, nil
}

// addresses returns the addresses of the zone's servers that are known: their
// own zone's word, and glue that is no part of it.
func (p *poll) addresses() (own, glue []netip.Addr) {
	for _, ns := range p.d.Servers {
		n := len(own) + len(glue)
		addrs, open := p.addressesOf(ns.Name)
		for _, addr := range addrs {
			own = p.add(own, ns.Name, addr)
		}
		for _, addr := range ns.Addrs {
			glue = p.add(glue, ns.Name, addr)
		}
		if len(own)+len(glue) == n && open && !dns.IsSubDomain(p.d.Zone, ns.Name) { // below the zone only glue could tell
			p.nameless = append(p.nameless, ns.Name)
		}
	}
	rand.Shuffle(len(p.nameless), func(i, j int) {
		p.nameless[i], p.nameless[j] = p.nameless[j], p.nameless[i]
	})
	return own, glue
}

// add adds an address that was not added before, and that may be asked.
func (p *poll) add(to []netip.Addr, server string, addr netip.Addr) []netip.Addr {
	if _, twice := p.names[addr]; twice {
		return to
	}
	if !p.exchanger.Askable(addr) {
		p.note(p.depth, "%s of %s is no address to be asked", addr, server)
		return to
	}
	p.names[addr] = server
	return append(to, addr)
}

// addressesOf returns the addresses of a name server that are known already, and
// whether there may be others.
func (p *poll) addressesOf(ns string) (addrs []netip.Addr, mayBe bool) {
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		chain, open, err := Follow(p.known(), ns, qtype, p.limits.MaxAliases)
		mayBe = mayBe || open != ""
		if err == nil && open == "" {
			addrs = append(addrs, addressesIn(chain, p.limits.MaxAddresses-len(addrs))...)
		}
	}
	return addrs, mayBe
}

func addressesIn(chain []cache.Entry, limit int) (addrs []netip.Addr) {
	for _, rr := range chain[len(chain)-1].Records {
		if addr, ok := addressOf(rr); ok && len(addrs) < limit {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// lookUp resolves the name of the next name server without an address. What goes
// wrong is not an error: the next name server may do.
func (p *poll) lookUp(ctx context.Context) (addrs []netip.Addr) {
	ns := p.nameless[0]
	p.nameless = p.nameless[1:]
	if limit, twice := p.lookedUp[ns]; twice {
		p.limit = cmp.Or(p.limit, limit)
		p.note(p.depth, "the address of %s is being looked for, or was not found", ns)
		return nil
	}
	switch {
	case p.depth >= p.limits.MaxDepth:
		p.skipped, p.limit = p.skipped+1, "max_depth"
		p.reached("max_depth", p.depth, fmt.Sprintf("The address of %s is not looked up: %d look-ups are nested already", ns, p.depth))
		return nil
	case p.glueless == 0:
		p.skipped++
		if p.limit == "" {
			p.limit = "max_glueless"
			p.reached("max_glueless", p.depth, fmt.Sprintf("The address of %s is not looked up: the question took %d such look-ups already", ns, p.limits.MaxGlueless))
		}
		return nil
	}
	p.glueless--
	p.lookedUp[ns] = ""
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		p.note(p.depth, "%s has no glue for %s: looking up its address (%s)", p.d.Zone, ns, dns.Type(qtype))
		chain, err := p.resolve(ctx, ns, qtype, p.depth+1)
		if err != nil {
			p.note(p.depth, "no address of %s: %s", ns, err.Sentence)
			p.rememberFailure(ctx, ns, qtype, err)
			p.limit = cmp.Or(p.limit, err.limit)
			p.lookedUp[ns] = err.limit
			return nil // what has no address of one family for this reason, has none of the other
		}
		if found := addressesIn(chain, p.limits.MaxAddresses); len(found) > 0 {
			for _, addr := range found {
				addrs = p.add(addrs, ns, addr)
			}
			return addrs
		}
	}
	return nil
}

// rememberFailure remembers that a zone could not be asked (RFC 9520), so that the
// next question does not try again at once. A limit of this question, or its
// time, says nothing about the next one.
func (p *poll) rememberFailure(ctx context.Context, ns string, qtype uint16, err *Failure) {
	if err.Code == dns.ExtendedErrorCodeNoReachableAuthority && err.limit == "" && ctx.Err() == nil {
		p.store.Put(ns, qtype, cache.Entry{Kind: cache.Failed, Code: err.Code, Sentence: err.Sentence})
	}
}

// askServer makes one exchange and says what came of it. Its error ends the
// resolution.
func (p *poll) askServer(ctx context.Context, addr netip.Addr, others bool) (answer, *Failure) {
	if p.queries <= 0 {
		return answer{}, p.limitf("max_queries", p.depth, "The question takes more than %d queries", p.limits.MaxQueries)
	}
	start := time.Now()
	res, err := p.exchanger.Exchange(ctx, exchange.At(addr), p.q.name, p.q.qtype, exchange.Options{Hurry: others})
	p.queries -= res.Queries
	var resp response
	if err == nil {
		resp = interpret(res.Msg, p.q, &p.limits)
		p.exchanger.Count(resp.outcome)
		p.heard = true
	} else {
		resp = response{outcome: exchange.Unreachable, reason: err.Error()}
		var known *exchange.Error
		if errors.As(err, &known) {
			resp.outcome = known.Outcome
		}
	}
	p.record(addr, res, resp, time.Since(start))
	switch resp.outcome {
	case exchange.Answer, exchange.Referral:
		return answer{response: resp, source: p.source(addr, res)}, nil
	case exchange.Timeout:
		p.silent = append(p.silent, addr)
	case exchange.Malformed:
		p.heard = true
	case exchange.Busy:
		p.busy = true
	case exchange.Lame, exchange.Refused:
		p.exchanger.Lame(addr, p.d.Zone)
	}
	trouble := fmt.Sprintf("%s (%s) %s", p.names[addr], addr, resp.reason)
	if !slices.Contains(p.troubles, trouble) {
		p.troubles = append(p.troubles, trouble)
	}
	if ctx.Err() != nil {
		f := p.limitf("resolve_timeout", p.depth, "The time for the question ran out at the name servers of %s: %s", p.d.Zone, trouble)
		f.Code = dns.ExtendedErrorCodeNoReachableAuthority
		return answer{}, f
	}
	return answer{}, nil
}

// source is a server's name for people: that of the host where its address is
// routed to, or the address.
func (p *poll) source(addr netip.Addr, res *exchange.Result) string {
	host, _, _ := strings.Cut(res.Server, ":")
	if _, err := netip.ParseAddrPort(res.Server); err == nil || host == "" {
		return addr.String()
	}
	return host
}

// failed says why nobody gave an answer.
func (p *poll) failed() string {
	parts := p.troubles
	if len(parts) > maxTroubles {
		parts = append(slices.Clone(parts[:maxTroubles]), fmt.Sprintf("and %d more", len(parts)-maxTroubles))
	}
	if len(parts) == 0 {
		parts = []string{"none has a usable address"}
	}
	switch {
	case p.skipped > 0:
		parts = append(slices.Clone(parts), fmt.Sprintf("the addresses of %d were not looked up (%s)", p.skipped, p.limit))
	case p.limit != "":
		parts = append(slices.Clone(parts), fmt.Sprintf("looking up an address reached a limit (%s)", p.limit))
	}
	return strings.Join(parts, "; ")
}

// record takes a query down for people.
func (p *poll) record(addr netip.Addr, res *exchange.Result, resp response, took time.Duration) {
	p.logger.Debug("asked a name server", "zone", p.d.Zone, "server", addr, "name", p.q.name, "type", dns.Type(p.q.qtype).String(),
		"outcome", string(resp.outcome), "took", took, "trouble", resp.reason)
	if p.opts.Trace == nil {
		return
	}
	step := Step{
		Kind: StepQuery, Depth: p.depth,
		Name: p.q.name, Type: dns.Type(p.q.qtype).String(), Why: p.why,
		Zone: p.d.Zone, Server: p.names[addr], Address: addr.String(), Reached: res.Server,
		Transport: res.Transport, Queries: res.Queries, Notes: res.Notes,
		Outcome: resp.outcome, Reason: resp.reason,
		Milliseconds: float64(took.Microseconds()) / 1000,
	}
	if res.Msg != nil {
		step.Response = describe(res.Msg)
		step.Accepted, step.Refused = judge(res.Msg, p.q, resp)
	}
	p.opts.Trace.add(step)
}
