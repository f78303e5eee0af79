package lb

import (
	"net"
	"strconv"
	"strings"
	"time"

	"minicloud.internal/kit"
)

// Config is the load balancer's configuration. Start from [DefaultConfig]; the
// zero value is not valid.
//
// The targets, and the addresses of the routes that are no target of their own,
// are health-checked alike. A request whose path matches a route goes to that
// route's addresses; anything else goes to the targets that no route names.
type Config struct {
	kit.Common

	// Targets are the balanced services; together with PathRoutes at least one.
	Targets []Target `toml:"targets"`
	// PathRoutes send the requests below a path elsewhere; none by default.
	PathRoutes []PathRoute `toml:"path_routes"`

	// HealthCheckInterval is the time from one probe of a target to the next,
	// less up to a tenth at random, so that probes do not march in step;
	// default 5 s.
	HealthCheckInterval time.Duration `toml:"health_check_interval"`
	// HealthCheckTimeout is how long a probe waits for its answer, and, unless
	// the interval is shorter, the time to the next probe after one without an
	// answer; default 1 s.
	HealthCheckTimeout time.Duration `toml:"health_check_timeout"`
	// Fall is how many probes in a row may go without any answer until the
	// target is down; default 2. An answer other than 2xx, a refused
	// connection and an unknown name count at once: they are no accident of
	// a busy moment, as silence may be.
	Fall int `toml:"fall"`
	// Rise is how many probes in a row bring a target that is down back up;
	// default 1. The very first probe of a target decides alone.
	Rise int `toml:"rise"`

	// Retries is how many further targets a request may be given to, where
	// that is safe (see the package comment); default 2, 0 for none.
	Retries int `toml:"retries"`
	// DialTimeout bounds a connection to a target, name lookup included;
	// default 1 s.
	DialTimeout time.Duration `toml:"dial_timeout"`
	// ResponseHeaderTimeout bounds the wait for the head of the answer after
	// the whole request was sent; default 30 s. Then the client gets 504.
	ResponseHeaderTimeout time.Duration `toml:"response_header_timeout"`
	// BodyIdleTimeout is how long a body may stand still, either way and on
	// either side; default 60 s. The whole has no limit.
	BodyIdleTimeout time.Duration `toml:"body_idle_timeout"`
	// TunnelIdleTimeout is how long an upgraded connection (WebSocket) may be
	// silent in both directions; default 1 h.
	TunnelIdleTimeout time.Duration `toml:"tunnel_idle_timeout"`
	// MaxIdleConnections is how many idle connections are kept per target;
	// default 64.
	MaxIdleConnections int `toml:"max_idle_connections"`
	// IdleConnectionTimeout is how long each of them is kept; default 60 s.
	// It belongs below the targets' own, so that no request meets a
	// connection that its target is closing.
	IdleConnectionTimeout time.Duration `toml:"idle_connection_timeout"`
	// DrainTimeout bounds what is in flight when the service ends; default 10 s.
	DrainTimeout time.Duration `toml:"drain_timeout"`
	// AccessLog logs the path of each request and the target that it was
	// given to, at info; default true.
	AccessLog bool `toml:"access_log"`

	// Dial connects to the targets; nil means [kit.DefaultDial]. Names are
	// looked up at every connection, so a target may appear, and move, later.
	Dial kit.DialFunc `toml:"-"`
}

// A Target is one balanced service.
type Target struct {
	// Address is "host:port"; each stands once.
	Address string `toml:"address"`
	// HealthCheckEndpoint is the path that a probe asks for; empty means
	// "/healthz".
	HealthCheckEndpoint string `toml:"health_check_endpoint"`
}

// A PathRoute sends the requests below Path to Address. Several with one path
// are a pool.
type PathRoute struct {
	// Path is a prefix of whole segments: "/files" matches "/files" and
	// "/files/a", not "/filesystem". A slash at its end changes nothing.
	Path string `toml:"path"`
	// Address is "host:port". One that is no target of its own is probed at
	// "/healthz".
	Address string `toml:"address"`
}

// DefaultConfig returns the defaults; they name no target, which [Config.Validate]
// asks for.
func DefaultConfig() Config {
	return Config{
		Common:                kit.DefaultCommon(":80"),
		HealthCheckInterval:   5 * time.Second,
		HealthCheckTimeout:    time.Second,
		Fall:                  2,
		Rise:                  1,
		Retries:               2,
		DialTimeout:           time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		BodyIdleTimeout:       time.Minute,
		TunnelIdleTimeout:     time.Hour,
		MaxIdleConnections:    64,
		IdleConnectionTimeout: time.Minute,
		DrainTimeout:          10 * time.Second,
		AccessLog:             true,
	}
}

// defaultEndpoint is what is probed where the configuration names nothing.
const defaultEndpoint = "/healthz"

// Validate returns the first bad value as a [kit.KeyError].
func (c *Config) Validate() error {
	for _, check := range []func() error{c.validateDurations, c.validateCounts, c.validateTargets, c.validateRoutes} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) validateDurations() error {
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"health_check_interval", c.HealthCheckInterval},
		{"health_check_timeout", c.HealthCheckTimeout},
		{"dial_timeout", c.DialTimeout},
		{"response_header_timeout", c.ResponseHeaderTimeout},
		{"body_idle_timeout", c.BodyIdleTimeout},
		{"tunnel_idle_timeout", c.TunnelIdleTimeout},
		{"idle_connection_timeout", c.IdleConnectionTimeout},
		{"drain_timeout", c.DrainTimeout},
	} {
		// A number without a unit is read as nanoseconds, which nobody means.
		if d.value < time.Millisecond {
			return kit.KeyErrorf(d.key, `is %s, expected at least 1ms, with a unit, as in "5s"`, d.value)
		}
	}
	return nil
}

func (c *Config) validateCounts() error {
	for _, n := range []struct {
		key             string
		value, min, max int
	}{
		{"fall", c.Fall, 1, 100},
		{"rise", c.Rise, 1, 100},
		{"retries", c.Retries, 0, 10},
		{"max_idle_connections", c.MaxIdleConnections, 1, 100_000},
	} {
		if n.value < n.min || n.value > n.max {
			return kit.KeyErrorf(n.key, "is %d, expected %d to %d", n.value, n.min, n.max)
		}
	}
	return nil
}

func (c *Config) validateTargets() error {
	if len(c.Targets)+len(c.PathRoutes) == 0 {
		return kit.KeyErrorf("targets", `is empty, expected at least one [[targets]] with an address, as in "http-api-1:8001"`)
	}
	seen := map[string]string{}
	for i, t := range c.Targets {
		key := indexed("targets", i, "address")
		if err := checkTarget(key, t.Address); err != nil {
			return err
		}
		if first, ok := seen[canonical(t.Address)]; ok {
			return kit.KeyErrorf(key, "is %q, as %s is already; each target stands once", t.Address, first)
		}
		seen[canonical(t.Address)] = key
		if e := t.HealthCheckEndpoint; e != "" && !validEndpoint(e) {
			return kit.KeyErrorf(indexed("targets", i, "health_check_endpoint"), `is %q, expected a path, as in "/healthz"`, e)
		}
	}
	return nil
}

func (c *Config) validateRoutes() error {
	seen := map[PathRoute]string{}
	for i, r := range c.PathRoutes {
		key := indexed("path_routes", i, "path")
		if !strings.HasPrefix(r.Path, "/") {
			return kit.KeyErrorf(key, `is %q, expected a path that begins with "/", as in "/files"`, r.Path)
		}
		normal, ok := normalPath(r.Path)
		if !ok || normal != r.Path || strings.ContainsFunc(r.Path, notInPath) {
			return kit.KeyErrorf(key, `is %q, expected a plain path, as in "/files": no "//", no "." or ".." segment, no query, and percent-encoded only what has to be`, r.Path)
		}
		if err := checkTarget(indexed("path_routes", i, "address"), r.Address); err != nil {
			return err
		}
		same := PathRoute{Path: prefixKey(normal), Address: canonical(r.Address)}
		if first, ok := seen[same]; ok {
			return kit.KeyErrorf(indexed("path_routes", i, "address"), "is %q for the path %q, as in %s already; a pool holds each address once", r.Address, r.Path, first)
		}
		seen[same] = strings.TrimSuffix(key, ".path")
	}
	return nil
}

// checkTarget asks for more than [kit.CheckAddress]: one can listen on ":0",
// but not connect to it.
func checkTarget(key, address string) error {
	if err := kit.CheckAddress(key, address); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(address)
	if host == "" || strings.Trim(port, "0") == "" {
		return kit.KeyErrorf(key, `is %q, expected a host and a port to connect to, as in "http-api-1:8001"`, address)
	}
	return nil
}

func validEndpoint(s string) bool {
	return strings.HasPrefix(s, "/") && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '#' })
}

// notInPath tells what a path never holds as it stands (RFC 3986, section 3.3).
func notInPath(c rune) bool {
	return c <= ' ' || c > '~' || strings.ContainsRune("\"#<>?[\\]^`{|}", c)
}

// canonical makes two spellings of one address equal: names ignore case.
func canonical(address string) string { return strings.ToLower(address) }

func indexed(table string, i int, key string) string {
	return table + "[" + strconv.Itoa(i) + "]." + key
}
