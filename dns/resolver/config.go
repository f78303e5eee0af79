package resolver

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

// Config is the configuration of the resolver.
type Config struct {
	// Common: Listen is bound for UDP and TCP; default ":5354".
	kit.Common
	server.Limits

	// Hints is the file that names the root's name servers and their addresses,
	// in the form of a zone file; a relative name begins at the directory of
	// the configuration file. Default "", the root servers of the Internet.
	Hints string `toml:"hints"`
	// Routes says where a name server's address is really reached:
	// "192.0.2.53" = "dns-root:53". An address without a route is asked at
	// port 53. Default none.
	Routes map[string]string `toml:"routes"`
	// Allow lists the networks whose queries are answered, in CIDR form;
	// default loopback, private and link-local networks. Empty: nobody.
	Allow []string `toml:"allow"`

	// QueryTimeout is how long one name server may take to answer one query;
	// default 800 ms.
	QueryTimeout time.Duration `toml:"query_timeout"`
	// ResolveTimeout is how long a question may take in all; default 4 s, so
	// that clients hear of a failure before they give up (mostly after 5 s).
	ResolveTimeout time.Duration `toml:"resolve_timeout"`
	// Attempts is how often each name server of a zone is asked before the
	// zone counts as unreachable; default 2.
	Attempts int `toml:"attempts"`
	// MaxQueries is how many queries one question may cost; default 50. It
	// bounds what a hostile zone can make the resolver do.
	MaxQueries int `toml:"max_queries"`

	// CacheEntries is how many answers are remembered, and how many
	// delegations; the least recently used go first. Default 10000.
	CacheEntries int `toml:"cache_entries"`
	// MaxTTL is the longest that anything is remembered; default 24 h.
	MaxTTL time.Duration `toml:"max_ttl"`
	// MaxNegativeTTL is the longest that "no such name" and "no such type"
	// are remembered; default 15 min (RFC 2308, section 5 allows 1 to 3 h).
	MaxNegativeTTL time.Duration `toml:"max_negative_ttl"`
	// FailureTTL is how long a failed resolution is remembered, 1 s to 5 min
	// (RFC 9520, section 3.2); default 1 s.
	FailureTTL time.Duration `toml:"failure_ttl"`

	// Dial connects to name servers, by routed address; nil means
	// [kit.DefaultDial].
	Dial kit.DialFunc `toml:"-"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Common: kit.DefaultCommon(":5354"),
		Limits: server.DefaultLimits(),
		Allow: []string{
			"127.0.0.0/8", "::1/128",
			"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",
			"169.254.0.0/16", "fe80::/10",
		},
		QueryTimeout:   800 * time.Millisecond,
		ResolveTimeout: 4 * time.Second,
		Attempts:       2,
		MaxQueries:     50,
		CacheEntries:   10000,
		MaxTTL:         24 * time.Hour,
		MaxNegativeTTL: 15 * time.Minute,
		FailureTTL:     time.Second,
	}
}

// Validate reports the first bad value as a [kit.KeyError]. It reads the hints.
func (c Config) Validate() error {
	if err := c.ValidateLimits(); err != nil {
		return err
	}
	for _, d := range []struct {
		key       string
		value     time.Duration
		low, high time.Duration
	}{
		{"query_timeout", c.QueryTimeout, time.Millisecond, time.Minute},
		{"resolve_timeout", c.ResolveTimeout, c.QueryTimeout, 5 * time.Minute},
		{"max_ttl", c.MaxTTL, time.Second, 7 * 24 * time.Hour},
		{"max_negative_ttl", c.MaxNegativeTTL, time.Second, 7 * 24 * time.Hour},
		{"failure_ttl", c.FailureTTL, time.Second, 5 * time.Minute},
	} {
		if d.value < d.low || d.value > d.high {
			return kit.KeyErrorf(d.key, "is %v, expected %v to %v", d.value, d.low, d.high)
		}
	}
	for _, n := range []struct {
		key         string
		value, high int
	}{{"attempts", c.Attempts, 10}, {"max_queries", c.MaxQueries, 1000}, {"cache_entries", c.CacheEntries, 100_000_000}} {
		if n.value < 1 || n.value > n.high {
			return kit.KeyErrorf(n.key, "is %d, expected 1 to %d", n.value, n.high)
		}
	}
	if _, err := c.allowed(); err != nil {
		return err
	}
	if _, err := c.routes(); err != nil {
		return err
	}
	_, err := c.rootServers()
	return err
}

func (c Config) allowed() ([]netip.Prefix, error) {
	var nets []netip.Prefix
	for i, s := range c.Allow {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, kit.KeyErrorf(fmt.Sprintf("allow[%d]", i), `is %q, expected a network such as "10.0.0.0/8" or "::1/128"`, s)
		}
		nets = append(nets, p.Masked())
	}
	return nets, nil
}

func (c Config) routes() (map[netip.Addr]string, error) {
	routes := map[netip.Addr]string{}
	for _, s := range slices.Sorted(maps.Keys(c.Routes)) {
		key := fmt.Sprintf("routes.%q", s)
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return nil, kit.KeyErrorf(key, `is no IP address, expected "192.0.2.53" = "dns-root:53"`)
		}
		if err := kit.CheckAddress(key, c.Routes[s]); err != nil {
			return nil, err
		}
		routes[addr.Unmap()] = c.Routes[s]
	}
	return routes, nil
}

func (c Config) rootServers() (*delegation, error) {
	if c.Hints == "" {
		return readHints(internetHints, "built-in hints")
	}
	d, err := readHintsFile(c.Path(c.Hints))
	if err != nil {
		return nil, kit.KeyErrorf("hints", "is not a valid hints file: %v", err)
	}
	return d, nil
}
