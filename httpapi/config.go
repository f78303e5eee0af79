package httpapi

import (
	"context"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"minicloud.internal/kit"
)

// Config is the configuration of one replica.
type Config struct {
	kit.Common
	// Name is what the header X-Served-By says; default: the host name.
	Name string `toml:"name"`
	// AccessLog writes one line per request at info level; default true.
	AccessLog bool `toml:"access_log"`
	// MaxBody is the limit of a request's body; default 64 KiB.
	MaxBody kit.Bytes `toml:"max_body"`
	// DrainDelay is the longest wait at the end, with health at 503 and
	// requests still served, for the load balancer to notice; default 0. It
	// should exceed the interval of its checks.
	DrainDelay time.Duration `toml:"drain_delay"`
	// DrainTimeout bounds requests in flight after that; default 10 s.
	DrainTimeout time.Duration `toml:"drain_timeout"`

	// Database is the URL of the data store, PostgreSQL's wire protocol with
	// SQLite's dialect; default postgres://spells@127.0.0.1:8004/spells?sslmode=disable.
	Database string `toml:"database"`
	// DatabaseConns is the most connections to it; default 8.
	DatabaseConns int `toml:"database_conns"`
	// QueryTimeout bounds one read or one transaction, the wait for a
	// connection included; default 2 s.
	QueryTimeout time.Duration `toml:"query_timeout"`

	// Cache is the URL of the cache store; default http://127.0.0.1:8005.
	Cache string `toml:"cache"`
	// CacheTTL is how long a spell stays cached, in whole seconds; default
	// 60 s. It is also the longest that a stale spell can be seen when the
	// cache missed an invalidation.
	CacheTTL time.Duration `toml:"cache_ttl"`
	// CacheTimeout bounds one call of the cache; default 200 ms.
	CacheTimeout time.Duration `toml:"cache_timeout"`
	// CachePause is how long reads leave the cache alone after it failed;
	// default 1 s.
	CachePause time.Duration `toml:"cache_pause"`

	// Queue is the URL of the message queue; default http://127.0.0.1:8006.
	Queue string `toml:"queue"`
	// QueueTimeout bounds one call of it, beyond ReceiveWait; default 5 s.
	QueueTimeout time.Duration `toml:"queue_timeout"`
	// OutboxInterval is how often the relay looks for events that this
	// replica did not write itself; default 1 s.
	OutboxInterval time.Duration `toml:"outbox_interval"`
	// ReceiveWait is how long the consumer's receive waits for an event, in
	// whole seconds from 0 to 20; default 10 s.
	ReceiveWait time.Duration `toml:"receive_wait"`
	// VisibilityTimeout is how long the consumer has for the events of one
	// receive before they come back, in whole seconds; default 30 s.
	VisibilityTimeout time.Duration `toml:"visibility_timeout"`

	// Objects is the URL of the object storage; default http://127.0.0.1:8007.
	Objects string `toml:"objects"`
	// ObjectsTimeout bounds one call of it; default 5 s.
	ObjectsTimeout time.Duration `toml:"objects_timeout"`

	// Dial connects to all of them; nil means [kit.DefaultDial]. A composition
	// in one process sets it to its host table.
	Dial kit.DialFunc `toml:"-"`
}

// DefaultConfig returns the configuration of a replica beside the other
// services on this machine.
func DefaultConfig() Config {
	return Config{
		Common:       kit.DefaultCommon("127.0.0.1:8001"),
		AccessLog:    true,
		MaxBody:      64 << 10,
		DrainTimeout: 10 * time.Second,

		Database:      "postgres://spells@127.0.0.1:8004/spells?sslmode=disable",
		DatabaseConns: 8,
		QueryTimeout:  2 * time.Second,

		Cache:        "http://127.0.0.1:8005",
		CacheTTL:     time.Minute,
		CacheTimeout: 200 * time.Millisecond,
		CachePause:   time.Second,

		Queue:             "http://127.0.0.1:8006",
		QueueTimeout:      5 * time.Second,
		OutboxInterval:    time.Second,
		ReceiveWait:       10 * time.Second,
		VisibilityTimeout: 30 * time.Second,

		Objects:        "http://127.0.0.1:8007",
		ObjectsTimeout: 5 * time.Second,
	}
}

// Validate reports the first bad value as a [kit.KeyError].
func (c *Config) Validate() error {
	if strings.Trim(c.Name, visibleASCII) != "" || len(c.Name) > 100 {
		return kit.KeyErrorf("name", "is %q, expected at most 100 visible ASCII characters: it becomes a header", c.Name)
	}
	if c.MaxBody < 1<<10 || c.MaxBody > 16<<20 {
		return kit.KeyErrorf("max_body", "is %s, expected from 1KiB to 16MiB", c.MaxBody)
	}
	if c.DatabaseConns < 1 || c.DatabaseConns > 1000 {
		return kit.KeyErrorf("database_conns", "is %d, expected from 1 to 1000", c.DatabaseConns)
	}
	if _, err := c.poolConfig(); err != nil {
		return err
	}
	for _, u := range []struct{ key, value string }{{"cache", c.Cache}, {"queue", c.Queue}, {"objects", c.Objects}} {
		if err := checkURL(u.key, u.value); err != nil {
			return err
		}
	}
	return c.validateDurations()
}

func (c *Config) validateDurations() error {
	const ms = time.Millisecond
	for _, d := range []struct {
		key             string
		value, from, to time.Duration
		whole           bool
	}{
		{"drain_delay", c.DrainDelay, 0, time.Minute, false},
		{"drain_timeout", c.DrainTimeout, ms, time.Hour, false},
		{"query_timeout", c.QueryTimeout, ms, time.Minute, false},
		{"cache_ttl", c.CacheTTL, time.Second, 24 * time.Hour, true},
		{"cache_timeout", c.CacheTimeout, ms, 10 * time.Second, false},
		{"cache_pause", c.CachePause, ms, time.Minute, false},
		{"queue_timeout", c.QueueTimeout, ms, time.Minute, false},
		{"outbox_interval", c.OutboxInterval, ms, time.Minute, false},
		{"receive_wait", c.ReceiveWait, 0, 20 * time.Second, true},
		{"visibility_timeout", c.VisibilityTimeout, time.Second, time.Hour, true},
		{"objects_timeout", c.ObjectsTimeout, ms, time.Minute, false},
	} {
		if d.value < d.from || d.value > d.to {
			return kit.KeyErrorf(d.key, "is %s, expected from %s to %s", d.value, d.from, d.to)
		}
		if d.whole && d.value%time.Second != 0 {
			return kit.KeyErrorf(d.key, "is %s, expected whole seconds", d.value)
		}
	}
	return nil
}

const visibleASCII = "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"

// checkURL wants what a service's client takes: scheme and host, no path.
func checkURL(key, value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return kit.KeyErrorf(key, "is %q, expected http://host:port, as in \"http://cache-store:8005\"", value)
	}
	return nil
}

// poolConfig is Database and what belongs to it as the driver wants it.
func (c *Config) poolConfig() (*pgxpool.Config, error) {
	u, err := url.Parse(c.Database)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Hostname() == "" || strings.Trim(u.Path, "/") == "" {
		return nil, kit.KeyErrorf("database", "is %q, expected postgres://user@host:port/name, as in \"postgres://spells@data-store:8004/spells?sslmode=disable\"", redact(c.Database))
	}
	pc, err := pgxpool.ParseConfig(c.Database)
	if err != nil {
		return nil, kit.KeyErrorf("database", "is not a URL that the driver understands: %v", err)
	}
	pc.MaxConns = int32(c.DatabaseConns)
	pc.MaxConnIdleTime = time.Minute
	pc.PingTimeout = c.QueryTimeout
	pc.ConnConfig.ConnectTimeout = c.QueryTimeout
	pc.ConnConfig.DialFunc = pgconn.DialFunc(c.Dial.Or())
	// The driver would ask DNS first and dial an address; a host table, and
	// the dialer's own choice between IPv4 and IPv6, need the name.
	pc.ConnConfig.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	return pc, nil
}

// redact hides a password from an error message.
func redact(database string) string {
	if u, err := url.Parse(database); err == nil {
		return u.Redacted()
	}
	return "not a URL"
}

// replica is the name for X-Served-By.
func (c *Config) replica() string {
	if c.Name != "" {
		return c.Name
	}
	if name, err := os.Hostname(); err == nil && strings.Trim(name, visibleASCII) == "" {
		return name
	}
	return "httpapi"
}
