package route

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"minicloud.internal/kit"
)

// A Rule is a route as it is configured. The zero value, with a pool, is the
// default: it takes what no other route does.
type Rule struct {
	// Key is where the rule stands in the configuration, as in "routes[2]".
	Key string

	// Host is "example.com", "*.example.com" for every name below it, however
	// deep, but not itself, or "" for any. Case, the port of the request, and a
	// dot at the end of its name do not count.
	Host string
	// Path is a prefix of whole segments, in normal form; "" and "/" match
	// every path. A slash at its end changes nothing.
	Path string

	// Split is the pools that the requests go to; at least one where there is
	// no Redirect.
	Split []Share

	// StripPrefix is cut off the path of the requests that are below it; ""
	// for nothing. See [Route.AppendPath].
	StripPrefix string
	// RewriteHost is the field Host that the targets get; "" for the client's.
	RewriteHost string
	// RequestHeaders and ResponseHeaders are set in what the targets and what
	// the clients get; an empty value removes the field.
	RequestHeaders, ResponseHeaders map[string]string

	// Redirect answers every request with RedirectStatus and this Location,
	// in which {host}, {path} and {query} are replaced; "" for no redirect.
	Redirect string
	// RedirectStatus is 301, 302, 303, 307 or 308.
	RedirectStatus int

	// ResponseHeaderTimeout and BodyIdleTimeout are the route's own; 0 for the
	// load balancer's.
	ResponseHeaderTimeout, BodyIdleTimeout time.Duration
	// MaxBody is the largest body of a request, in bytes; 0 for no limit.
	MaxBody int64
	// Retries is how many further targets a request may be given to.
	Retries int
	// Rate is how often one client may come.
	Rate Rate
}

// A Share is one of the pools of a [Rule].
type Share struct {
	Pool string
	// Weight is the pool's share of the requests, 0 to 1000, among those of
	// the others. A pool with 0 gets none; one of the weights is not 0.
	Weight int
	// Key is what the pool's balancing by hash goes by.
	Key HashKey
}

// A HashKey says what of a request is hashed to choose its target.
type HashKey struct {
	// Header is the name of a field, with [Hash] over its value; "", and a
	// request without it, is the client's address, with [HashAddr].
	Header string
}

// Name is what the route is called in metrics and in the log: its path, its host
// and path, or "default". Different routes have different names.
func (r *Rule) Name() string {
	if r.isDefault() {
		return "default"
	}
	path := cmp.Or(prefixKey(r.Path), "/")
	return strings.ToLower(r.Host) + path
}

func (r *Rule) isDefault() bool { return r.Host == "" && r.Path == "" }

// Check returns the first bad value as a [kit.KeyError], whose key is that of
// the configuration below the rule's own.
func (r *Rule) Check() error {
	if err := checkHost(r.key("host"), r.Host); err != nil {
		return err
	}
	if r.Path != "" {
		if err := CheckPath(r.key("path"), r.Path); err != nil {
			return err
		}
	}
	if err := r.checkDestination(); err != nil {
		return err
	}
	if r.StripPrefix != "" {
		if err := CheckPath(r.key("strip_prefix"), r.StripPrefix); err != nil {
			return err
		}
		if r.StripPrefix == "/" {
			return kit.KeyErrorf(r.key("strip_prefix"), `is "/", which has no segment to cut off; leave it away`)
		}
	}
	if err := checkRewrite(r.key("rewrite_host"), r.RewriteHost); err != nil {
		return err
	}
	if err := checkFields(r.key("request_headers"), r.RequestHeaders); err != nil {
		return err
	}
	if err := checkFields(r.key("response_headers"), r.ResponseHeaders); err != nil {
		return err
	}
	return r.checkLimits()
}

func (r *Rule) key(name string) string { return strings.TrimPrefix(r.Key+"."+name, ".") }

// checkDestination checks where the requests go.
func (r *Rule) checkDestination() error {
	if r.Redirect != "" {
		if len(r.Split) > 0 {
			return kit.KeyErrorf(r.key("redirect"), "stands beside a pool, a split or targets; a route has one of them")
		}
		if !slices.Contains([]int{301, 302, 303, 307, 308}, r.RedirectStatus) {
			return kit.KeyErrorf(r.key("redirect_status"), "is %d, expected 301, 302, 303, 307 or 308", r.RedirectStatus)
		}
		_, err := parseTemplate(r.key("redirect"), r.Redirect)
		return err
	}
	if len(r.Split) == 0 {
		return kit.KeyErrorf(cmp.Or(r.Key, "route"), "leads nowhere, expected a pool, a split, targets or a redirect")
	}
	sum := 0
	for i, s := range r.Split {
		if s.Weight < 0 || s.Weight > 1000 {
			return kit.KeyErrorf(r.key("split."+s.Pool), "is %d, expected 0 to 1000", s.Weight)
		}
		if slices.ContainsFunc(r.Split[:i], func(o Share) bool { return o.Pool == s.Pool }) {
			return kit.KeyErrorf(r.key("split."+s.Pool), "stands twice")
		}
		sum += s.Weight
	}
	switch {
	case sum == 0:
		return kit.KeyErrorf(r.key("split"), "gives no pool any request, expected a weight above 0")
	case len(r.Split) > maxSplit:
		return kit.KeyErrorf(r.key("split"), "has %d pools, expected at most %d", len(r.Split), maxSplit)
	}
	return nil
}

// checkRewrite allows a port, as the field Host does.
func checkRewrite(key, host string) error {
	if name := string(withoutPort([]byte(host))); host != "" {
		port := strings.TrimPrefix(host[len(name):], ":")
		if !isName(name) && !isAddress(name) || strings.ContainsFunc(port, func(c rune) bool { return c < '0' || c > '9' }) ||
			len(port) > 5 || len(name) < len(host) && port == "" {
			return kit.KeyErrorf(key, `is %q, expected a host as in "example.com" or "example.com:8080"`, host)
		}
	}
	return nil
}

func (r *Rule) checkLimits() error {
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"response_header_timeout", r.ResponseHeaderTimeout}, {"body_idle_timeout", r.BodyIdleTimeout}} {
		if d.value != 0 && d.value < time.Millisecond {
			return kit.KeyErrorf(r.key(d.key), `is %s, expected at least 1ms, with a unit, as in "5s", or "0s" for the load balancer's own`, d.value)
		}
	}
	switch {
	case r.MaxBody < 0:
		return kit.KeyErrorf(r.key("max_body"), `is %d, expected a size as in "10MiB", or 0 for no limit`, r.MaxBody)
	case r.Retries < 0 || r.Retries > 10:
		return kit.KeyErrorf(r.key("retries"), "is %d, expected 0 to 10", r.Retries)
	case r.Rate.PerSecond < 0 || r.Rate.PerSecond > 1e6:
		return kit.KeyErrorf(r.key("rate_limit"), "is %g per second, expected at most a million", r.Rate.PerSecond)
	case r.Rate.On() && (r.Rate.Burst < 1 || r.Rate.Burst > 100_000):
		return kit.KeyErrorf(r.key("rate_burst"), "is %d, expected 1 to 100000", r.Rate.Burst)
	}
	return nil
}

// CheckAll checks every rule, and that no two are for the same requests: which
// of them was meant could only be told from their order.
func CheckAll(rules []Rule) error {
	seen := map[string]string{}
	for i := range rules {
		r := &rules[i]
		if err := r.Check(); err != nil {
			return err
		}
		if first, ok := seen[r.Name()]; ok {
			return kit.KeyErrorf(cmp.Or(r.Key, "route"), "is for %s, as %s is already; each route stands once", r.requests(), first)
		}
		seen[r.Name()] = cmp.Or(r.Key, "another route")
	}
	return nil
}

// requests says which requests a rule takes, before those that others take.
func (r *Rule) requests() string {
	switch {
	case r.isDefault():
		return "what no other route takes"
	case r.Host == "":
		return fmt.Sprintf("the path %q", r.Path)
	case prefixKey(r.Path) == "":
		return fmt.Sprintf("the host %q", r.Host)
	}
	return fmt.Sprintf("the host %q and the path %q", r.Host, r.Path)
}

// effect is the rule without what selects its requests, to compare with others.
func (r *Rule) effect() Rule {
	e := *r
	e.Key, e.Host, e.Path = "", "", ""
	e.Split = slices.SortedFunc(slices.Values(e.Split), func(a, b Share) int { return strings.Compare(a.Pool, b.Pool) })
	e.RequestHeaders, e.ResponseHeaders = filled(e.RequestHeaders), filled(e.ResponseHeaders)
	return e
}

// filled makes no fields equal to none.
func filled(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}
