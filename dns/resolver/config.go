package resolver

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/dns/resolver/cache"
	"minicloud.internal/dns/resolver/exchange"
	"minicloud.internal/dns/resolver/iterate"
	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

// WalkLimits are [iterate.Limits], under a name that may stand beside the
// server's.
type WalkLimits = iterate.Limits

// Config is the configuration of the resolver.
type Config struct {
	// Common: Listen is bound for UDP and TCP; default ":5354".
	kit.Common
	server.Limits
	exchange.Settings
	WalkLimits

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
	// Forward are the zones that other resolvers are asked for; default none.
	// Of several that a name lies in the longest counts.
	Forward []ForwardConfig `toml:"forward"`
	// ResolveSpecial lists special-use names (RFC 6761), such as "test.", that
	// are resolved like any other; default none, so that they are answered here.
	// A zone of Forward is so without being listed.
	ResolveSpecial []string `toml:"resolve_special"`

	// CacheSize is how much memory the cache may take; default 64 MiB, 1 MiB
	// to 31 GiB. It is taken as it is used. What is least worth keeping goes first.
	CacheSize kit.Bytes `toml:"cache_size"`
	// MinTTL is the shortest that records are remembered; default 0 s, as long
	// as they say. At most 1 h: who sets a TTL mostly means it.
	MinTTL time.Duration `toml:"min_ttl"`
	// MaxTTL is the longest that an answer is remembered; default 24 h.
	MaxTTL time.Duration `toml:"max_ttl"`
	// MaxNegativeTTL is the longest that "no such name" and "no such type"
	// are remembered; default 15 min (RFC 2308, section 5 allows 1 to 3 h).
	MaxNegativeTTL time.Duration `toml:"max_negative_ttl"`
	// FailureTTL is how long a failed resolution is remembered, and twice as long
	// with each further failure in a row, up to MaxFailureTTL; both 1 s to 5 min
	// (RFC 9520, section 3.2); default 1 s and 30 s. Where there is a stale answer,
	// it is given meanwhile.
	FailureTTL    time.Duration `toml:"failure_ttl"`
	MaxFailureTTL time.Duration `toml:"max_failure_ttl"`
	// StaleFor is how long beyond its TTL an answer is kept for the case that
	// nobody can be asked (RFC 8767); default 24 h. Zero: not at all.
	StaleFor time.Duration `toml:"stale_for"`
	// StaleAfter is how long a client waits for a fresh answer where there is a
	// stale one; default 1.8 s (RFC 8767, section 5). Zero: it does not wait, and
	// the fresh one is there for the next.
	StaleAfter time.Duration `toml:"stale_after"`

	// Dial connects to name servers, by routed address; nil means
	// [kit.DefaultDial].
	Dial kit.DialFunc `toml:"-"`
}

// A ForwardConfig is a zone that other resolvers are asked for.
type ForwardConfig struct {
	// Zone is its name with the final dot; "." is every name.
	Zone string `toml:"zone"`
	// Addresses are the resolvers, in the order in which they are asked: an IP
	// address with or without a port, after "tcp://" over TCP, after "tls://"
	// over TLS, there with "#name" for the name in the certificate.
	Addresses []string `toml:"addresses"`
}

// maxCacheSize is below [cache.MaxBytes], which is no round number.
const maxCacheSize = 31 << 30

// staleTTL is the TTL of stale records, in seconds (RFC 8767, section 4).
const staleTTL = 30

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Common:     kit.DefaultCommon(":5354"),
		Limits:     server.DefaultLimits(),
		Settings:   exchange.DefaultSettings(),
		WalkLimits: iterate.DefaultLimits(),
		Allow: []string{
			"127.0.0.0/8", "::1/128",
			"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",
			"169.254.0.0/16", "fe80::/10",
		},
		CacheSize:      64 << 20,
		MaxTTL:         24 * time.Hour,
		MaxNegativeTTL: 15 * time.Minute,
		FailureTTL:     time.Second,
		MaxFailureTTL:  30 * time.Second,
		StaleFor:       24 * time.Hour,
		StaleAfter:     1800 * time.Millisecond,
	}
}

// Validate reports the first bad value as a [kit.KeyError]. It reads the hints.
func (c Config) Validate() error {
	for _, validate := range []func() error{c.Limits.ValidateLimits, c.ValidateExchange, c.WalkLimits.ValidateLimits, c.validateTimes} {
		if err := validate(); err != nil {
			return err
		}
	}
	if c.ResolveTimeout < c.QueryTimeout {
		return kit.KeyErrorf("resolve_timeout", "is %v, expected at least query_timeout, %v", c.ResolveTimeout, c.QueryTimeout)
	}
	if c.CacheSize < cache.MinBytes || c.CacheSize > maxCacheSize {
		return kit.KeyErrorf("cache_size", `is %v, expected "1MiB" to "31GiB"`, c.CacheSize)
	}
	if _, err := kit.Networks("allow", c.Allow); err != nil {
		return err
	}
	if _, err := c.routes(); err != nil {
		return err
	}
	if _, err := c.forwards(); err != nil {
		return err
	}
	if _, err := c.resolveSpecial(); err != nil {
		return err
	}
	_, err := c.rootServers()
	return err
}

func (c Config) validateTimes() error {
	const week = 7 * 24 * time.Hour
	return cmp.Or(
		kit.CheckRange("min_ttl", c.MinTTL, 0, time.Hour),
		kit.CheckRange("max_ttl", c.MaxTTL, max(c.MinTTL, time.Second), week),
		kit.CheckRange("max_negative_ttl", c.MaxNegativeTTL, time.Second, week),
		kit.CheckRange("failure_ttl", c.FailureTTL, time.Second, 5*time.Minute),
		kit.CheckRange("max_failure_ttl", c.MaxFailureTTL, c.FailureTTL, 5*time.Minute),
		kit.CheckRange("stale_for", c.StaleFor, 0, week),
		kit.CheckRange("stale_after", c.StaleAfter, 0, time.Minute),
	)
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

func (c Config) rootServers() (*iterate.Delegation, error) {
	if c.Hints == "" {
		return iterate.InternetHints(), nil
	}
	d, err := iterate.ReadHintsFile(c.Path(c.Hints))
	if err != nil {
		return nil, kit.KeyErrorf("hints", "is not a valid hints file: %v", err)
	}
	return d, nil
}

// forwards returns the targets of each forwarded zone, by canonical name.
func (c Config) forwards() (map[string][]exchange.Target, error) {
	zones := map[string][]exchange.Target{}
	for i, f := range c.Forward {
		key := fmt.Sprintf("forward[%d]", i)
		zone, err := zoneName(key+".zone", f.Zone)
		if err != nil {
			return nil, err
		}
		if zones[zone] != nil {
			return nil, kit.KeyErrorf(key+".zone", "is %q, which is forwarded already", f.Zone)
		}
		if zones[zone], err = exchange.ParseTargets(key+".addresses", f.Addresses); err != nil {
			return nil, err
		}
	}
	return zones, nil
}

// resolveSpecial returns the names that are not answered here.
func (c Config) resolveSpecial() (map[string]bool, error) {
	names := map[string]bool{}
	for i, s := range c.ResolveSpecial {
		key := fmt.Sprintf("resolve_special[%d]", i)
		name, err := zoneName(key, s)
		if err != nil {
			return nil, err
		}
		if _, special := specialNames[name]; !special {
			return nil, kit.KeyErrorf(key, `is %q, which is no special-use name: it is resolved anyway`, s)
		}
		names[name] = true
	}
	return names, nil
}

// zoneName returns a name of the configuration in canonical form.
func zoneName(key, s string) (string, error) {
	if _, err := wirename.Pack(s); err != nil || !dns.IsFqdn(s) {
		return "", kit.KeyErrorf(key, `is %q, expected a domain name with its final dot, as in "example.com."`, s)
	}
	return dns.CanonicalName(s), nil
}
