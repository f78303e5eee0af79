package lb

import (
	"context"
	"errors"
	"iter"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"minicloud.internal/kit"
)

// A target is one service that requests can be given to, for the life of the
// load balancer. Its condition belongs to the [monitor].
type target struct {
	address  string
	endpoint string
	pools    []*pool         // those that hold it
	wake     chan struct{}   // asks for a probe now; capacity 1
	inFlight atomic.Int64    // requests that it is working on
	idle     *http.Transport // the connections to it
	metrics  targetMetrics

	// What follows is guarded by the monitor's mutex.

	condition condition
	since     time.Time // of the state; zero before the first
	lastError string    // of the last evidence against it; kept once it is up again
}

// A pool is the targets of one route. Requests read its snapshot without a lock.
type pool struct {
	targets  []*target
	snapshot atomic.Pointer[snapshot]
	turn     atomic.Uint64
}

// A snapshot is who of a pool can be given requests at one moment.
type snapshot struct {
	healthy []*target
	unknown bool // somebody's probe is still to come
}

// order is the order in which the next request tries the snapshot's targets.
func (p *pool) order(s *snapshot, limit int) iter.Seq[*target] {
	return roundRobin(s.healthy, p.turn.Add(1)-1, limit)
}

// refresh replaces the snapshot; the monitor calls it, under its mutex.
func (p *pool) refresh() {
	s := &snapshot{}
	for _, t := range p.targets {
		switch t.condition.state {
		case up:
			s.healthy = append(s.healthy, t)
		case unknown:
			s.unknown = true
		}
	}
	p.snapshot.Store(s)
}

// A route is what a path leads to.
type route struct {
	name     string // its path, or "default"
	specific bool   // a path route, not the round robin over the rest
	pool     *pool
	metrics  routeMetrics
}

// build returns every distinct target, in the order of the configuration, and
// the table of routes to them.
func build(cfg *Config, m *metrics) ([]*target, *table[*route]) {
	var targets []*target
	known := map[string]*target{}
	add := func(address, endpoint string) *target {
		t, ok := known[canonical(address)]
		if !ok {
			if endpoint == "" {
				endpoint = defaultEndpoint
			}
			t = &target{address: address, endpoint: endpoint, wake: make(chan struct{}, 1), idle: newTransport(cfg)}
			t.metrics = m.target(t)
			known[canonical(address)] = t
			targets = append(targets, t)
		}
		return t
	}
	join := func(p *pool, t *target) {
		p.targets = append(p.targets, t)
		t.pools = append(t.pools, p)
	}
	for _, t := range cfg.Targets {
		add(t.Address, t.HealthCheckEndpoint)
	}
	routes := map[string]*route{}
	for _, r := range cfg.PathRoutes {
		key := prefixKey(r.Path)
		if routes[key] == nil {
			name := key
			if name == "" {
				name = "/"
			}
			routes[key] = &route{name: name, specific: true, pool: &pool{}, metrics: m.route(name)}
		}
		join(routes[key].pool, add(r.Address, ""))
	}
	rest := &route{name: "default", pool: &pool{}, metrics: m.route("default")}
	for _, t := range targets {
		if len(t.pools) == 0 {
			join(rest.pool, t)
		}
	}
	rest.pool.refresh()
	for _, r := range routes {
		r.pool.refresh()
	}
	return targets, newTable(routes, rest)
}

// newTransport returns a pool of connections to one target.
func newTransport(cfg *Config) *http.Transport {
	dial := dialer(cfg.Dial.Or(), cfg.DialTimeout, cfg.BodyIdleTimeout)
	return &http.Transport{
		DialContext:            dial,
		MaxIdleConnsPerHost:    cfg.MaxIdleConnections,
		IdleConnTimeout:        cfg.IdleConnectionTimeout,
		ResponseHeaderTimeout:  cfg.ResponseHeaderTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true, // what the target sends is what the client gets
	}
}

// A dialError is a connection that could not be made: nothing was sent.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// dialer bounds dial, and returns connections that count.
func dialer(dial kit.DialFunc, timeout, writeIdle time.Duration) kit.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, dialError{err}
		}
		return &conn{Conn: c, writeIdle: writeIdle}, nil
	}
}

// A conn counts the bytes that went out, which decides whether a request can be
// repeated; it remembers whether it broke, which speaks against its target; and
// it bounds every write.
type conn struct {
	net.Conn
	writeIdle time.Duration
	written   atomic.Int64
	broke     atomic.Bool
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.note(err)
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.writeIdle))
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	c.note(err)
	return n, err
}

// note remembers an error that came from the other side.
func (c *conn) note(err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.broke.Store(true)
	}
}

// CloseWrite passes a half-close through a tunnel.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
