package ingressclient

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// A place is where a request can go.
type place struct {
	addrs []netip.AddrPort // in the order in which they are tried
	// fromSRV is the name of the SRV record that gave the port, or empty.
	fromSRV string
}

// lateWait is how long an answer is waited for that is not needed any more:
// the "resolution delay" of RFC 8305, section 3.
const lateWait = 50 * time.Millisecond

// maxTargets bounds the SRV targets whose addresses are asked for.
const maxTargets = 8

// A plan is what is known of a place before anybody is asked.
type plan struct {
	host    string
	port    uint16
	service string       // whose SRV record may give the port; empty: none counts
	given   []netip.Addr // not empty: nobody is asked
	why     []string     // what was decided, in sentences without a full stop
}

// locate decides where to connect for t, in this order:
//
//  1. --connect-to replaces host and port, and then no SRV record counts.
//  2. An address in place of a name, and localhost, are used as they are.
//  3. --resolve names the addresses.
//  4. The resolver is asked: where the URL has no port and an SRV record
//     exists, its targets and ports (RFC 2782); otherwise the addresses of the
//     name, at the URL's port or the scheme's.
func (c *command) locate(ctx context.Context, t *target) (place, error) {
	p := c.plan(t)
	for _, why := range p.why {
		c.decide("%s", why)
	}
	if len(p.given) > 0 {
		return c.usable(p.host, p.given, p.port)
	}
	return c.askFor(ctx, p.host, p.service, p.port)
}

// plan decides the first three points of locate, and what to ask for the fourth.
func (c *command) plan(t *target) plan {
	p := plan{host: t.host, port: t.port}
	if p.port == 0 {
		p.port = schemePort(t.url.Scheme)
	}
	because := func(format string, args ...any) { p.why = append(p.why, fmt.Sprintf(format, args...)) }
	askSRV := t.port == 0
	for _, rule := range c.connectTo {
		if !rule.matches(p.host, p.port) {
			continue
		}
		if rule.toHost != "" {
			p.host = rule.toHost
		}
		if rule.toPort != 0 {
			p.port = rule.toPort
		}
		askSRV = false
		because("--connect-to: connecting to %s in place of %s", joinPort(p.host, p.port), t.authority())
		break
	}
	if addr, err := netip.ParseAddr(p.host); err == nil {
		p.given = []netip.Addr{addr}
		because("%s is an address, nobody is asked", p.host)
		return p
	}
	if p.host == "localhost" || strings.HasSuffix(p.host, ".localhost") { // RFC 6761, section 6.3
		p.given = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
		because("%s is this machine, nobody is asked", p.host)
		return p
	}
	for _, rule := range c.resolve {
		if rule.matches(p.host, p.port) {
			p.given = rule.addrs
			because("--resolve: %s is given, nobody is asked", joinPort(p.host, p.port))
			return p
		}
	}
	switch {
	case askSRV:
		p.service = "_" + t.url.Scheme + "._tcp." + p.host
	case len(p.why) == 0:
		because("The URL names the port: %d", t.port)
	}
	return p
}

// decide says why the request goes where it goes, and keeps it for --explain.
func (c *command) decide(format string, args ...any) {
	c.log.say(format, args...)
	c.why = append(c.why, fmt.Sprintf(format, args...))
}

// usable drops the addresses that -4 or -6 forbids.
func (c *command) usable(host string, addrs []netip.Addr, port uint16) (place, error) {
	var p place
	for _, addr := range addrs {
		if c.ipv4 && addr.Is6() || c.ipv6 && !addr.Is6() {
			continue
		}
		p.addrs = append(p.addrs, netip.AddrPortFrom(addr, port))
	}
	if len(p.addrs) == 0 {
		return p, failf(exitResolve, "Could not resolve host: %s (it has no address of the family that -4 or -6 asks for)", host)
	}
	return p, nil
}

// askFor asks the resolver for a host and, unless empty, for a service.
func (c *command) askFor(ctx context.Context, host, service string, port uint16) (place, error) {
	r := newResolver(c.resolver, c.log)
	c.log.say("Asking the resolver %s for %s", r.address, host)
	got := c.gather(ctx, r, host, service)
	if err := c.cutShort(ctx, "Resolving "+host); err != nil {
		return place{}, err
	}
	if srv := got[dns.TypeSRV]; len(srv.records) > 0 {
		return c.placeOfSRV(ctx, r, host, service, got)
	} else if srv.err != nil {
		c.srvTrouble = srv.err
	}
	found := got.addresses()
	if len(found) == 0 {
		return place{}, c.unresolved(host, got)
	}
	if service != "" {
		c.decide("No SRV record names a port: port %d", port)
	}
	return c.usable(host, found, port)
}

// outcomes is what the questions about one host came to, by type.
type outcomes map[uint16]outcome

type outcome struct {
	answer
	err  error
	took time.Duration
}

// addresses returns the addresses, IPv4 first.
func (o outcomes) addresses() []netip.Addr {
	v4, _ := addresses(o[dns.TypeA].records, o[dns.TypeA].owner)
	_, v6 := addresses(o[dns.TypeAAAA].records, o[dns.TypeAAAA].owner)
	return append(v4, v6...)
}

// questions returns the names that are asked for, by type.
func (c *command) questions(host, service string) map[uint16]string {
	questions := map[uint16]string{}
	if service != "" {
		questions[dns.TypeSRV] = service
	}
	if !c.ipv6 {
		questions[dns.TypeA] = host
	}
	if !c.ipv4 {
		questions[dns.TypeAAAA] = host
	}
	return questions
}

// gather asks all questions at once. Once the service and one family of
// addresses are known, it waits for the rest no longer than lateWait.
func (c *command) gather(ctx context.Context, r *resolver, host, service string) outcomes {
	ctx, cancel := context.WithCancel(ctx)
	questions := c.questions(host, service)
	c.watch.before(ctx, questions)
	type item struct {
		qtype uint16
		outcome
	}
	items := make(chan item, len(questions))
	var wg sync.WaitGroup
	for qtype, name := range questions {
		wg.Go(func() {
			begin := time.Now()
			a, err := r.lookup(ctx, name, qtype)
			items <- item{qtype, outcome{a, err, time.Since(begin)}}
		})
	}
	defer wg.Wait()
	defer cancel()

	got := outcomes{}
	var late <-chan time.Time
	for len(got) < len(questions) {
		select {
		case it := <-items:
			got[it.qtype] = it.outcome
			c.watch.heard(questions[it.qtype], it.qtype, it.outcome)
		case <-late:
			c.log.say("  the last answer is late, and not needed: going on without it")
			return got
		}
		_, served := got[dns.TypeSRV]
		if late == nil && (served || service == "") && len(got.addresses()) > 0 && len(got) < len(questions) {
			late = time.After(lateWait)
		}
	}
	return got
}

// placeOfSRV turns the SRV records of a service into addresses. What the
// resolver sent along in the additional section is not asked for again.
func (c *command) placeOfSRV(ctx context.Context, r *resolver, host, service string, got outcomes) (place, error) {
	srv := got[dns.TypeSRV]
	p := place{fromSRV: service}
	var trouble error
	for _, target := range orderSRV(srv.records, func(n int) int { return rand.IntN(n + 1) })[:min(len(srv.records), maxTargets)] {
		name := shortNames(dns.CanonicalName(target.Target))
		if name == "." {
			continue
		}
		found := got.addresses()
		if name != host {
			v4, v6 := addresses(srv.extra, name)
			if found = append(v4, v6...); len(found) == 0 {
				asked := c.gather(ctx, r, name, "")
				if found = asked.addresses(); len(found) == 0 {
					trouble = c.unresolved(name, asked)
				}
			}
		} else if len(found) == 0 {
			trouble = c.unresolved(name, got)
		}
		if len(found) == 0 {
			continue
		}
		if usable, err := c.usable(name, found, target.Port); err == nil {
			c.decide("SRV %s: port %d of %s (priority %d, weight %d)", service, target.Port, name, target.Priority, target.Weight)
			p.addrs = append(p.addrs, usable.addrs...)
		} else {
			trouble = err
		}
	}
	p.addrs = slices.Compact(p.addrs)
	switch {
	case len(p.addrs) > 0:
		return p, nil
	case c.cutShort(ctx, "Resolving "+host) != nil:
		return p, c.cutShort(ctx, "Resolving "+host)
	case trouble != nil:
		return p, trouble
	}
	return p, failf(exitResolve, "Could not resolve host: %s (its SRV record says that the service is not offered)", host).
		withHint("a port in the URL passes the SRV record by, as in http://%s:80/", host)
}

// unresolved is the failure of a host without an address.
func (c *command) unresolved(host string, got outcomes) error {
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		err := got[qtype].err
		switch {
		case err == nil:
		case errors.Is(err, errNoAnswer):
			return failf(exitResolve, "Could not resolve host: %s (the resolver %s: %v)", host, c.resolver, err).
				withHint(`"make up" starts the cloud and its resolver; --resolver HOST:PORT or MINICLOUD_RESOLVER names another`)
		default:
			return failf(exitResolve, "Could not resolve host: %s (the resolver %s: %v)", host, c.resolver, err).
				withHint(`"make logs" shows the log of the resolver; -v shows each question`)
		}
	}
	reason := "no such name"
	if got[dns.TypeA].rcode == dns.RcodeSuccess && got[dns.TypeAAAA].rcode == dns.RcodeSuccess {
		reason = "the name has no address"
	}
	return failf(exitResolve, "Could not resolve host: %s (%s)", host, reason).
		withHint("the resolver %s knows the names of the cloud, such as example.com; --resolver HOST:PORT asks another", c.resolver)
}
