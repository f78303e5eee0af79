package lb

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"minicloud.internal/kit"
	"minicloud.internal/lb/upstream"
)

// Config is the load balancer's configuration. Start from [DefaultConfig]; the
// zero value is not valid.
//
// A request goes where the most specific route for its host and path says: to a
// pool, to several by weight, or elsewhere by a redirect. PathRoutes are routes
// for a path of any host. What no route matches goes to the pool "default": the
// targets that no pool and no route names. Targets, and addresses in pools and
// routes that are no target of their own, are health-checked alike.
//
// A duration of at least 1 ms is expected, with a unit, but where 0 is named.
type Config struct {
	kit.Common

	// Targets are services that are balanced.
	Targets []Target `toml:"targets"`
	// PathRoutes send the requests below a path elsewhere.
	PathRoutes []PathRoute `toml:"path_routes"`
	// Pools are targets under a name, for Routes.
	Pools []Pool `toml:"pools"`
	// Routes say what becomes of the requests for a host or below a path.
	Routes []Route `toml:"routes"`

	// Balance is how pools choose that do not say it themselves; default
	// "round_robin".
	Balance upstream.Policy `toml:"balance"`
	// Hash is what "hash" goes by where a pool does not say it: "client", the
	// address, or "header:" with the name of a field; default "client".
	Hash string `toml:"hash"`
	// QueueLength is how many requests may wait in each pool while all its
	// targets have their MaxConnections; default 1024, 0 for none.
	QueueLength int `toml:"queue_length"`
	// QueueTimeout is how long each of them waits; default 5 s.
	QueueTimeout time.Duration `toml:"queue_timeout"`
	// FailOpen gives requests to targets that are down where none is up;
	// default false.
	FailOpen bool `toml:"fail_open"`

	// HealthCheckInterval is the time from one probe of a target to the next,
	// less up to a tenth at random, so that probes do not march in step;
	// default 5 s.
	HealthCheckInterval time.Duration `toml:"health_check_interval"`
	// HealthCheckTimeout is how long a probe waits for its answer, and, unless
	// the interval is shorter, the time to the next probe after one without an
	// answer; default 1 s.
	HealthCheckTimeout time.Duration `toml:"health_check_timeout"`
	// Fall is how many probes in a row may go without any answer until the
	// target is down; default 2. Another answer than the expected one, a
	// refused connection and an unknown name count at once: they are no
	// accident of a busy moment, as silence may be.
	Fall int `toml:"fall"`
	// Rise is how many probes in a row bring a target that is down back up;
	// default 1. The very first probe of a target decides alone.
	Rise int `toml:"rise"`
	// SlowStart is the time in which a target that came back gets from a tenth
	// of its share to all of it; default 0, at once.
	SlowStart time.Duration `toml:"slow_start"`

	// Retries is how many further targets a request may be given to, where
	// that is safe (see the package comment); default 2, 0 for none.
	Retries int `toml:"retries"`
	// RetryBudget is how many retries there are to a hundred requests of a
	// pool, beside a few that a quiet pool has in any case, so that retries
	// cannot multiply an outage; default 20, 0 to 100.
	RetryBudget int `toml:"retry_budget"`

	// RequestHeadTimeout bounds the head of a request, from its first byte to
	// its last; default 10 s. Then the client gets 408.
	RequestHeadTimeout time.Duration `toml:"request_head_timeout"`
	// KeepAliveTimeout is how long a client's connection may wait for its next
	// request; default 75 s.
	KeepAliveTimeout time.Duration `toml:"keep_alive_timeout"`
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
	// DrainTimeout bounds what is in flight when the service ends; default 10 s.
	DrainTimeout time.Duration `toml:"drain_timeout"`

	// MaxIdleConnections is how many idle connections are kept per target;
	// default 64.
	MaxIdleConnections int `toml:"max_idle_connections"`
	// IdleConnectionTimeout is how long each of them is kept; default 60 s.
	// It belongs below the targets' own, so that no request meets a
	// connection that its target is closing.
	IdleConnectionTimeout time.Duration `toml:"idle_connection_timeout"`
	// MaxConnections is how many clients may be connected; default 20,000. The
	// next ones wait until one leaves.
	MaxConnections int `toml:"max_connections"`

	// MaxLine bounds the first line of a request; default 8 KiB. Over it: 414.
	MaxLine kit.Bytes `toml:"max_line"`
	// MaxHead bounds the head of a request or an answer; default 64 KiB. Over
	// it: 431, or 502.
	MaxHead kit.Bytes `toml:"max_head"`
	// MaxFields bounds the fields of a head; default 100. Over it: 431, or 502.
	MaxFields int `toml:"max_fields"`
	// MaxBody bounds the body of a request; default 0, no limit. Over it: 413.
	MaxBody kit.Bytes `toml:"max_body"`

	// TrustedProxies are the clients whose X-Forwarded-* and X-Request-Id are
	// believed; default none.
	TrustedProxies []Network `toml:"trusted_proxies"`
	// AccessLog logs each request, at info; default true.
	AccessLog bool `toml:"access_log"`
	// Watch is the time from one look at the configuration file to the next;
	// what changed is used at once. Default 2 s, 0 for SIGHUP only.
	Watch time.Duration `toml:"watch"`
	// ReusePort lets another process listen on the same address (SO_REUSEPORT),
	// to take over without a gap; default false.
	ReusePort bool `toml:"reuse_port"`

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
	// HealthCheckStatus is which answers are good, as in "200-299,304"; empty
	// means 200 to 299.
	HealthCheckStatus upstream.StatusSet `toml:"health_check_status"`
	// HealthCheckBody is a text that a good answer has in its first 64 KiB;
	// empty for any.
	HealthCheckBody string `toml:"health_check_body"`
	// Weight is the share beside the other targets of a pool, 1 to 256; nil
	// means 1.
	Weight *int `toml:"weight"`
	// MaxConnections is how many requests the target works on at once; 0 means
	// no limit.
	MaxConnections int `toml:"max_connections"`
	// SlowStart is the target's own; nil means [Config.SlowStart].
	SlowStart *time.Duration `toml:"slow_start"`
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

// A Pool is targets that requests are balanced over.
type Pool struct {
	// Name is what routes call it, of letters, digits, "-", "_" and ".". That
	// of the pool for what no route matches is "default".
	Name string `toml:"name"`
	// Targets are addresses, "host:port", each once. One that is no target of
	// its own is probed at "/healthz". In the pool "default", and only there,
	// they may be left away: the targets that no pool and no route names.
	Targets []string `toml:"targets"`
	// Balance is empty for [Config.Balance].
	Balance upstream.Policy `toml:"balance"`
	// Hash is empty for [Config.Hash].
	Hash string `toml:"hash"`
	// QueueLength is nil for [Config.QueueLength].
	QueueLength *int `toml:"queue_length"`
	// QueueTimeout is 0 for [Config.QueueTimeout].
	QueueTimeout time.Duration `toml:"queue_timeout"`
	// FailOpen is nil for [Config.FailOpen].
	FailOpen *bool `toml:"fail_open"`
}

// A Route says what becomes of the requests for a host and below a path. One for
// the very host goes before those for a wildcard, these before those for any
// host; among them the longest path wins. It has one of Pool, Split, Targets and
// Redirect.
type Route struct {
	// Host is "example.com", "*.example.com" for every name below it, or empty
	// for any host. Ports do not count.
	Host string `toml:"host"`
	// Path is a prefix of whole segments; empty for every path. A route
	// without host and path has what no other matches.
	Path string `toml:"path"`

	// Pool is the name of a pool.
	Pool string `toml:"pool"`
	// Split is names of pools and their weights, 0 to 1000.
	Split map[string]int `toml:"split"`
	// Targets are the addresses of a pool without a name.
	Targets []string `toml:"targets"`
	// Redirect is the field Location of the answer; {host}, {path} and {query}
	// stand for what the request has. See [routing.Rule].
	Redirect string `toml:"redirect"`
	// RedirectStatus is 301, 302, 303, 307 or 308; 0 means 307.
	RedirectStatus int `toml:"redirect_status"`

	// StripPrefix is cut off the path before it is forwarded.
	StripPrefix string `toml:"strip_prefix"`
	// RewriteHost is the field Host that targets get; empty for the client's.
	RewriteHost string `toml:"rewrite_host"`
	// RequestHeaders are fields that are set for the target; an empty value
	// removes the field.
	RequestHeaders map[string]string `toml:"request_headers"`
	// ResponseHeaders are likewise set for the client.
	ResponseHeaders map[string]string `toml:"response_headers"`

	// ResponseHeaderTimeout and BodyIdleTimeout are 0 for those of [Config].
	ResponseHeaderTimeout time.Duration `toml:"response_header_timeout"`
	BodyIdleTimeout       time.Duration `toml:"body_idle_timeout"`
	// MaxBody is nil for [Config.MaxBody], and 0 for no limit.
	MaxBody *kit.Bytes `toml:"max_body"`
	// Retries is nil for [Config.Retries].
	Retries *int `toml:"retries"`
	// RateLimit is how many requests one client may send in the long run; 0 for
	// no limit. Over it: 429.
	RateLimit Rate `toml:"rate_limit"`
	// RateBurst is how many it may send at once after a pause; 0 means as many
	// as in a second, and at least 1.
	RateBurst int `toml:"rate_burst"`
}

// A Rate is a number of requests per second. In a configuration file it is a
// whole number with a unit of time: "10/s", "600/m", "1000/h", or "" for none.
type Rate float64

// UnmarshalText implements [encoding.TextUnmarshaler].
func (r *Rate) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = 0
		return nil
	}
	number, unit, _ := strings.Cut(string(text), "/")
	seconds := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || n == 0 || seconds == 0 {
		return fmt.Errorf(`is %q, expected a number of requests and a unit of time, as in "10/s", "600/m" or "1000/h"`, text)
	}
	*r = Rate(float64(n) / seconds)
	return nil
}

// A Network is a range of addresses, in a configuration file "10.0.0.0/8", or
// one address.
type Network struct{ netip.Prefix }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *Network) UnmarshalText(text []byte) error {
	if a, err := netip.ParseAddr(string(text)); err == nil && a.Zone() == "" {
		n.Prefix = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
		return nil
	}
	p, err := netip.ParsePrefix(string(text))
	switch {
	case err != nil || p.Addr().Is4In6():
		return fmt.Errorf(`is %q, expected a network or an address, as in "10.0.0.0/8" or "2001:db8::1"`, text)
	case p != p.Masked():
		return fmt.Errorf(`is %q, expected the first address of the network, %q`, text, p.Masked())
	}
	n.Prefix = p
	return nil
}

// DefaultConfig returns the defaults; they name no target, which [Config.Validate]
// asks for.
func DefaultConfig() Config {
	return Config{
		Common:                kit.DefaultCommon(":80"),
		Balance:               upstream.RoundRobin,
		Hash:                  hashClient,
		QueueLength:           1024,
		QueueTimeout:          5 * time.Second,
		HealthCheckInterval:   5 * time.Second,
		HealthCheckTimeout:    time.Second,
		Fall:                  2,
		Rise:                  1,
		Retries:               2,
		RetryBudget:           20,
		RequestHeadTimeout:    10 * time.Second,
		KeepAliveTimeout:      75 * time.Second,
		DialTimeout:           time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		BodyIdleTimeout:       time.Minute,
		TunnelIdleTimeout:     time.Hour,
		DrainTimeout:          10 * time.Second,
		MaxIdleConnections:    64,
		IdleConnectionTimeout: time.Minute,
		MaxConnections:        20_000,
		MaxLine:               8 << 10,
		MaxHead:               64 << 10,
		MaxFields:             100,
		AccessLog:             true,
		Watch:                 2 * time.Second,
	}
}

const (
	// defaultEndpoint is what is probed where the configuration names nothing.
	defaultEndpoint = "/healthz"
	// defaultPool is the name of the pool for what no route matches.
	defaultPool = "default"
	// hashClient and hashHeader are what balancing by hash goes by.
	hashClient = "client"
	hashHeader = "header:"
)
