package exchange

import (
	"cmp"
	"crypto/x509"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
)

// Settings are the keys of a resolver's configuration that this package reads.
// Embed it.
type Settings struct {
	// QueryTimeout is how long one name server may take to answer one question,
	// asked again and all; default 800 ms. A question that then must go over TCP
	// may take half as long again.
	QueryTimeout time.Duration `toml:"query_timeout"`
	// ForwardTimeout is the same for a server to which a zone is forwarded: it
	// resolves while the resolver waits. Default 2 s.
	ForwardTimeout time.Duration `toml:"forward_timeout"`
	// MaxUpstream is how many questions may be under way to all servers at once;
	// each has a socket. Others wait for query_timeout at most. An eighth of them
	// may use TCP or TLS. Default 512.
	MaxUpstream int `toml:"max_upstream"`
	// MaxUpstreamPerServer is the same for each server, so that a slow one
	// cannot take all places; default 128.
	MaxUpstreamPerServer int `toml:"max_upstream_per_server"`
	// UpstreamIdle is how long a connection over TCP or TLS is kept open for the
	// next question; default 10 s.
	UpstreamIdle time.Duration `toml:"upstream_idle"`
}

// DefaultSettings returns the defaults.
func DefaultSettings() Settings {
	return Settings{
		QueryTimeout:         800 * time.Millisecond,
		ForwardTimeout:       2 * time.Second,
		MaxUpstream:          512,
		MaxUpstreamPerServer: 128,
		UpstreamIdle:         10 * time.Second,
	}
}

// ValidateExchange reports the first bad value as a [kit.KeyError].
func (s Settings) ValidateExchange() error {
	return cmp.Or(
		kit.CheckRange("query_timeout", s.QueryTimeout, time.Millisecond, time.Minute),
		kit.CheckRange("forward_timeout", s.ForwardTimeout, time.Millisecond, time.Minute),
		kit.CheckRange("upstream_idle", s.UpstreamIdle, time.Millisecond, 10*time.Minute),
		kit.CheckRange("max_upstream", s.MaxUpstream, 1, maxServers),
		kit.CheckRange("max_upstream_per_server", s.MaxUpstreamPerServer, 1, s.MaxUpstream),
	)
}

// Config is what an [Exchanger] is built from.
type Config struct {
	Settings
	// Routes says where an address is really reached, "host:port"; an address
	// without one is asked at its own.
	Routes map[netip.Addr]string
	// Dial opens sockets, which must be connected: only datagrams from the
	// address that was dialled may arrive. nil means [kit.DefaultDial].
	Dial kit.DialFunc
	// RootCAs vouch for the certificates of servers over TLS; nil means the
	// system's.
	RootCAs *x509.CertPool
	// Now is the clock of what is remembered about servers, not of timeouts; nil
	// means [time.Now].
	Now func() time.Time
	// Registerer takes the metrics; nil: nobody reads them.
	Registerer prometheus.Registerer
}
