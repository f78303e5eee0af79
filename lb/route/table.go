package route

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"minicloud.internal/lb/meter"
	"minicloud.internal/lb/upstream"
)

// A Route is what becomes of the requests that it matches. Its fields are not to
// be changed.
type Route struct {
	// Rule is the route as it is configured. What a request needs of it stands
	// below.
	Rule Rule

	// Name is [Rule.Name].
	Name string
	// Specific tells a route with a path from one for a whole host, and from
	// the default.
	Specific bool
	// RequestHeaders and ResponseHeaders change the heads on their way to the
	// target and to the client.
	RequestHeaders, ResponseHeaders Headers
	// RewriteHost is the field Host for the targets; "" for the client's.
	RewriteHost string
	// RedirectStatus is the status of the answer, with [Route.AppendLocation];
	// 0 where the request goes to a pool.
	RedirectStatus int
	// ResponseHeaderTimeout and BodyIdleTimeout are 0 for the load balancer's.
	ResponseHeaderTimeout, BodyIdleTimeout time.Duration
	// MaxBody is in bytes, 0 for no limit.
	MaxBody int64
	// Retries is how many further targets a request may be given to.
	Retries int
	// Rate limits each client; nil where there is no limit.
	Rate *Limiter
	// Requests counts. It outlives the route in a reload.
	Requests *meter.Requests

	choices  []Choice
	turns    []uint8 // indices of choices, one after the other
	turn     atomic.Uint64
	location []piece
	strip    string // a prefixKey
}

// A Choice is one of the pools of a route.
type Choice struct {
	Pool *upstream.Pool
	Share
}

// newRoute makes a route of a rule that was checked. It takes over what goes on
// from the route of the same name before a reload, which may be nil.
func newRoute(rule Rule, pools map[string]*upstream.Pool, old *Route, now time.Time) (*Route, error) {
	r := &Route{
		Rule:                  rule,
		Name:                  rule.Name(),
		Specific:              rule.Path != "",
		RequestHeaders:        newHeaders(rule.RequestHeaders),
		ResponseHeaders:       newHeaders(rule.ResponseHeaders),
		RewriteHost:           rule.RewriteHost,
		ResponseHeaderTimeout: rule.ResponseHeaderTimeout,
		BodyIdleTimeout:       rule.BodyIdleTimeout,
		MaxBody:               rule.MaxBody,
		Retries:               rule.Retries,
		strip:                 prefixKey(rule.StripPrefix),
	}
	var weights []int
	for _, s := range rule.Split {
		pool, ok := pools[s.Pool]
		if !ok {
			return nil, fmt.Errorf("route %s: there is no pool %q", r.Name, s.Pool)
		}
		r.choices = append(r.choices, Choice{pool, s})
		weights = append(weights, s.Weight)
	}
	r.turns = interleave(weights)
	if rule.Redirect != "" {
		var err error
		if r.location, err = parseTemplate(rule.key("redirect"), rule.Redirect); err != nil {
			return nil, err
		}
		r.RedirectStatus = rule.RedirectStatus
	}
	if old != nil {
		r.Requests = old.Requests
	} else {
		r.Requests = new(meter.Requests)
	}
	switch {
	case old != nil && old.Rule.Rate == rule.Rate:
		r.Rate = old.Rate
	case rule.Rate.On():
		r.Rate = NewLimiter(rule.Rate, now)
	}
	return r, nil
}

// Choices are the pools of the route, in the order of the configuration; none
// where it redirects.
func (r *Route) Choices() []Choice { return r.choices }

// Pick returns the pool whose turn it is. The turns are those of a smooth
// weighted round robin: 3 to 1 is a, a, b, a, over and over. It is nil where the
// route redirects.
func (r *Route) Pick() *Choice {
	switch len(r.turns) {
	case 0:
		return nil
	case 1:
		return &r.choices[r.turns[0]]
	}
	return &r.choices[r.turns[(r.turn.Add(1)-1)%uint64(len(r.turns))]]
}

// AppendPath appends the path that a target is asked for, given the path as it
// was received, which has passed [NormalPath]. It is that path, so that the
// encodings stay those of the client; with a strip_prefix, and where the path is
// below it, only from the segment on that follows the prefix. One slash stands in
// front of what is left, however many there were; all others stay:
//
//	strip_prefix = "/files"
//	/files/a%2Fb//c   ->  /a%2Fb//c
//	/%66iles///a      ->  /a
//	/files            ->  /
//	/filesystem       ->  /filesystem
//
// Several slashes kept in front would make a path that begins with "//", which a
// server that redirects to its own path turns into a redirect to another host.
//
// The empty path, that of "http://example.com", becomes "/".
func (r *Route) AppendPath(dst, path []byte) []byte {
	if len(path) == 0 {
		return append(dst, '/')
	}
	return append(dst, stripPrefix(path, r.strip)...)
}

// AppendLocation appends the value of the field Location of a redirect, given the
// field Host of the request, its path as it was received, and its query without
// the "?". {path} stands for what [Route.AppendPath] makes of the path. It reports
// false where the template has {host} and the request has none that a browser
// could be sent to: such a request is bad.
func (r *Route) AppendLocation(dst, host, path, query []byte) ([]byte, bool) {
	return appendLocation(dst, r.location, host, stripPrefix(path, r.strip), query)
}

// maxSplit bounds the pools of a route.
const maxSplit = 16

// interleave returns whose turn it is, one after the other, so that the shares
// are exact over the whole, and as even as can be on the way: at every step each
// gains its weight, and the one that has the most pays the sum for its turn.
func interleave(weights []int) []uint8 {
	sum, divisor := 0, 0
	for _, w := range weights {
		sum += w
		for divisor, w = w, divisor; w != 0; {
			divisor, w = w, divisor%w
		}
	}
	if sum == 0 {
		return nil
	}
	turns := make([]uint8, 0, sum/divisor)
	gained := make([]int, len(weights))
	for range sum / divisor {
		most := 0
		for i, w := range weights {
			gained[i] += w
			if gained[i] > gained[most] {
				most = i
			}
		}
		gained[most] -= sum
		turns = append(turns, uint8(most))
	}
	return turns
}

// A Table finds the route of a request.
type Table struct {
	routes   []*Route
	index    index[*Route]
	fallback *Route
}

// NewTable returns the table of the rules. Their pools are given by name. It
// takes counters and limiters over from the table before, which may be nil: the
// counters where a route has the same name, the limiter where it also has the
// same rate. New limiters begin at now.
func NewTable(rules []Rule, pools map[string]*upstream.Pool, old *Table, now time.Time) (*Table, error) {
	if err := CheckAll(rules); err != nil {
		return nil, err
	}
	t := &Table{}
	for _, rule := range rules {
		var before *Route
		if old != nil {
			before = old.Named(rule.Name())
		}
		r, err := newRoute(rule, pools, before, now)
		if err != nil {
			return nil, err
		}
		t.routes = append(t.routes, r)
		if rule.isDefault() {
			t.fallback = r
		} else {
			t.index.add(rule.Host, rule.Path, r)
		}
	}
	slices.SortFunc(t.routes, func(a, b *Route) int {
		switch {
		case a.Rule.isDefault():
			return 1
		case b.Rule.isDefault():
			return -1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return t, nil
}

// Routes returns all routes, by name, and the default last.
func (t *Table) Routes() []*Route { return t.routes }

// Named returns the route of that [Rule.Name], or nil.
func (t *Table) Named(name string) *Route {
	for _, r := range t.routes {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// Match returns the route for the field Host of a request, and the normal form
// of its path; nil where nothing matches and there is no default. It looks no
// deeper than the deepest route, so that a path of ten thousand segments costs
// no more than it should.
func (t *Table) Match(host, normal []byte) *Route {
	if r, ok := t.index.match(host, normal); ok {
		return r
	}
	return t.fallback
}

// An index is the order of the decisions: exact host, longest wildcard, shorter
// wildcards, any host; within each the longest prefix.
type index[T any] struct {
	exact     map[string]*prefixes[T]
	wildcards map[string]*prefixes[T] // by the name that they are below
	any       prefixes[T]
}

func (x *index[T]) add(host, path string, value T) {
	in := &x.any
	if host != "" {
		byHost := &x.exact
		name, wildcard := strings.CutPrefix(strings.ToLower(host), "*.")
		if wildcard {
			byHost = &x.wildcards
		}
		if *byHost == nil {
			*byHost = map[string]*prefixes[T]{}
		}
		if (*byHost)[name] == nil {
			(*byHost)[name] = &prefixes[T]{}
		}
		in = (*byHost)[name]
	}
	in.add(path, value)
}

func (x *index[T]) match(host, normal []byte) (value T, ok bool) {
	if len(x.exact) > 0 || len(x.wildcards) > 0 {
		var scratch [maxHost]byte
		name := hostKey(host, scratch[:])
		if p := x.exact[string(name)]; p != nil {
			if value, ok = p.match(normal); ok {
				return value, true
			}
		}
		for len(x.wildcards) > 0 {
			dot := bytes.IndexByte(name, '.')
			if dot < 0 {
				break
			}
			name = name[dot+1:]
			if p := x.wildcards[string(name)]; p != nil {
				if value, ok = p.match(normal); ok {
					return value, true
				}
			}
		}
	}
	return x.any.match(normal)
}

// prefixes finds the longest prefix of a path, in whole segments.
type prefixes[T any] struct {
	values map[string]T // by prefixKey
	depth  int          // segments of the longest prefix
}

func (p *prefixes[T]) add(path string, value T) {
	if p.values == nil {
		p.values = map[string]T{}
	}
	key := prefixKey(path)
	p.values[key] = value
	p.depth = max(p.depth, strings.Count(key, "/"))
}

func (p *prefixes[T]) match(normal []byte) (best T, found bool) {
	if p.values == nil {
		return best, false
	}
	best, found = p.values[""]
	end := 0
	for range p.depth {
		if end >= len(normal) {
			break
		}
		if next := bytes.IndexByte(normal[end+1:], '/'); next >= 0 {
			end += 1 + next
		} else {
			end = len(normal)
		}
		if value, ok := p.values[string(normal[:end])]; ok {
			best, found = value, true
		}
	}
	return best, found
}
