package resolver

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/dns/resolver/cache"
	"minicloud.internal/dns/resolver/iterate"
	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

// maxTraces is how many traces may be under way at once: each asks name servers.
const maxTraces = 4

// AdminHandlers are the resolver's own patterns on the admin listener:
//
//	GET /cache                       how full the cache is
//	GET /cache?name=…[&type=…]       what it holds of a name
//	DELETE /cache?name=…             forgets that, and the name servers of a zone of that name
//	GET /trace?name=…[&type=…]       resolves a name from the root, and tells every step
//
// All answer with JSON. A trace takes nothing from the cache, but what it learns
// is kept there.
func (r *Resolver) AdminHandlers() map[string]http.Handler {
	return map[string]http.Handler{
		"/cache": kit.Methods(map[string]kit.ProblemHandler{http.MethodGet: r.serveCache, http.MethodDelete: r.serveForget}),
		"/trace": kit.Methods(map[string]kit.ProblemHandler{http.MethodGet: r.serveTrace}),
	}
}

// A cached is one entry of the cache, for people.
type cached struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Says  string `json:"says"`  // "records", "no such type", "no such name", "failure"
	State string `json:"state"` // "fresh" or "stale"
	// TTL is what is left of it, in seconds; 0 where it is stale.
	TTL     uint32    `json:"ttl"`
	Stored  time.Time `json:"stored"`
	Source  string    `json:"source,omitempty"`
	Rank    string    `json:"rank"`
	Records []string  `json:"records,omitempty"`
	Reason  string    `json:"reason,omitempty"` // of a failure
}

func (r *Resolver) serveCache(w http.ResponseWriter, req *http.Request) *kit.Problem {
	if !req.URL.Query().Has("name") {
		st := r.cache.Stats()
		kit.WriteJSON(w, http.StatusOK, map[string]any{
			"entries": st.Entries, "bytes": st.Bytes, "max_bytes": st.MaxBytes, "evicted": st.Evicted,
			"hits": r.hits(), "misses": r.metrics.misses.Load(),
		})
		return nil
	}
	name, qtype, p := askedFor(req, dns.TypeNone)
	if p != nil {
		return p
	}
	list := []cached{}
	for _, d := range r.cache.Dump(name) {
		if qtype != dns.TypeNone && d.Type != qtype && d.Kind != cache.NoName {
			continue
		}
		list = append(list, describe(d))
	}
	kit.WriteJSON(w, http.StatusOK, map[string]any{"name": name, "entries": list, "closest_zone": r.closest(name)})
	return nil
}

// A closest is the zone whose servers would be asked for a name.
type closest struct {
	Zone    string   `json:"zone"`
	Servers []string `json:"servers"`
	// Source is who named the servers: another server, "hints", or "forwarded"
	// where that is the configuration.
	Source string `json:"source"`
}

func (r *Resolver) closest(name string) closest {
	if zone, f := r.forwarder(name); f != nil {
		c := closest{Zone: zone, Source: "forwarded"}
		for _, t := range r.forwarders[zone].Targets() {
			c.Servers = append(c.Servers, t.String())
		}
		return c
	}
	d := r.iterator.Closest(name)
	c := closest{Zone: d.Zone, Servers: []string{}, Source: d.Source}
	for _, ns := range d.Servers {
		c.Servers = append(c.Servers, ns.Name)
	}
	return c
}

func describe(d cache.Item) cached {
	c := cached{
		Name: d.Name, Type: dns.Type(d.Type).String(), Says: d.Kind.String(), State: d.State.String(),
		TTL: d.TTL, Stored: d.Stored.UTC(), Source: d.Source, Rank: d.Rank.String(), Reason: d.Sentence,
	}
	if d.Kind == cache.NoName {
		c.Type = "every type"
	}
	for _, rr := range d.Records {
		c.Records = append(c.Records, text(rr))
	}
	if d.SOA != nil {
		c.Records = append(c.Records, text(d.SOA))
	}
	return c
}

// text writes a record for people.
func text(rr dns.RR) string { return strings.ReplaceAll(rr.String(), "\t", " ") }

func (r *Resolver) serveForget(w http.ResponseWriter, req *http.Request) *kit.Problem {
	name, _, p := askedFor(req, dns.TypeNone)
	if p != nil {
		return p
	}
	n := r.cache.Remove(name)
	r.iterator.Forget(name)
	r.logger.Info("the cache was told to forget a name", "name", name, "entries", n)
	kit.WriteJSON(w, http.StatusOK, map[string]any{"name": name, "forgotten": n})
	return nil
}

// A traced is the answer of GET /trace.
type traced struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Rcode string `json:"rcode"`
	// Answer are the records that a client would get, in order.
	Answer []string `json:"answer"`
	// Explanation is the Extended DNS Error's sentence, where there is one.
	Explanation  string         `json:"explanation,omitempty"`
	Queries      int            `json:"queries"`
	Milliseconds float64        `json:"milliseconds"`
	Steps        []iterate.Step `json:"steps"`
	// More is how many further steps there were.
	More int `json:"more,omitempty"`
}

func (r *Resolver) serveTrace(w http.ResponseWriter, req *http.Request) *kit.Problem {
	name, qtype, p := askedFor(req, dns.TypeA)
	if p != nil {
		return p
	}
	if zone, s, ok := r.specialAbove(name); ok {
		return kit.Problemf(http.StatusUnprocessableEntity, "names in %s are answered here and asked of nobody (%s); resolve_special changes that", zone, s.source)
	}
	select {
	case r.traces <- struct{}{}:
		defer func() { <-r.traces }()
	default:
		return kit.Problemf(http.StatusServiceUnavailable, "%d traces are under way already; try again in a moment", maxTraces)
	}
	trace, start := new(iterate.Trace), time.Now()
	chain, failure := r.iterator.Resolve(req.Context(), name, qtype, iterate.Options{Trace: trace, FromRoot: true})
	out := traced{
		Name: name, Type: dns.Type(qtype).String(), Rcode: server.RcodeName(dns.RcodeSuccess), Answer: []string{},
		Milliseconds: float64(time.Since(start).Microseconds()) / 1000,
	}
	if failure != nil {
		out.Rcode, out.Explanation = server.RcodeName(failure.Rcode), failure.Sentence
	}
	for _, e := range chain {
		for _, rr := range e.Records {
			out.Answer = append(out.Answer, text(rr))
		}
		if e.Kind == cache.NoName {
			out.Rcode = server.RcodeName(dns.RcodeNameError)
		}
	}
	out.Steps, out.More = trace.Steps()
	for _, s := range out.Steps {
		out.Queries += s.Queries
	}
	kit.WriteJSON(w, http.StatusOK, out)
	return nil
}

// askedFor reads the parameters name and type.
func askedFor(req *http.Request, qtype uint16) (string, uint16, *kit.Problem) {
	values := req.URL.Query()
	name := values.Get("name")
	if _, err := wirename.Pack(name); err != nil || name == "" {
		return "", 0, kit.Problemf(http.StatusBadRequest, "name is %.300q, expected a domain name, as in ?name=example.com", name)
	}
	if s := values.Get("type"); s != "" {
		var ok bool
		if qtype, ok = typeOf(s); !ok {
			return "", 0, kit.Problemf(http.StatusBadRequest, "type is %.50q, expected one such as A, AAAA, SRV or TYPE65", s)
		}
	}
	return dns.CanonicalName(name), qtype, nil
}

// typeOf reads a type that records can have, or ANY, as a zone file has it (RFC
// 3597, section 5), in any case.
func typeOf(s string) (uint16, bool) {
	s = strings.ToUpper(s)
	t, ok := dns.StringToType[s]
	if digits, numbered := strings.CutPrefix(s, "TYPE"); numbered {
		n, err := strconv.ParseUint(digits, 10, 16)
		t, ok = uint16(n), err == nil
	}
	return t, ok && (t == dns.TypeANY || !server.MetaType(t))
}
