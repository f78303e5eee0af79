package server

import (
	"encoding/hex"
	"net/netip"
	"runtime"
	"time"

	"minicloud.internal/kit"
)

// Limits is what clients can take and what the server says of itself: the keys
// that every DNS service has. A service embeds it in its Config.
type Limits struct {
	// MaxInFlight is how many queries over UDP, and how many over HTTPS, are
	// answered at once; default 1024, at least 1. A datagram over the bound is
	// dropped, and its asker asks again; a request is answered with 503. What is
	// answered out of memory ([Fast]) does not count.
	MaxInFlight int `toml:"max_in_flight"`
	// UDPLoops is how many sockets share the UDP port, each with a loop of its
	// own; default 0, one for each core that Go may use. Linux only: elsewhere
	// there is one.
	UDPLoops int `toml:"udp_loops"`
	// MaxTCPConnections is how many connections (TCP, TLS and HTTPS together)
	// are open at once; default 256, at least 1. A connection over the bound is
	// closed at once.
	MaxTCPConnections int `toml:"max_tcp_connections"`
	// MaxTCPPerClient is how many of them one IPv4 address or one IPv6 /64 may
	// have; default 0, half of MaxTCPConnections.
	MaxTCPPerClient int `toml:"max_tcp_per_client"`
	// TCPIdle is how long a connection may take to send its next query, whole,
	// and to take an answer; default 10 s (RFC 7766, section 6.2.3).
	TCPIdle time.Duration `toml:"tcp_idle"`

	// NSID is what the server calls itself to those who ask for it (RFC 5001),
	// and in answer to id.server and hostname.bind (RFC 4892); up to 64 octets.
	// Default "", nothing: such questions are refused.
	NSID string `toml:"nsid"`
	// Version is the answer to version.bind and version.server; up to 64
	// octets. Default "", such questions are refused.
	Version string `toml:"version"`
	// CookieSecret is the secret of DNS cookies (RFC 9018), 32 hexadecimal
	// digits: servers that share an address need the same. Default "", a random
	// one for each process.
	CookieSecret string `toml:"cookie_secret"`

	// RateLimit is how many answers of one kind (records, "no", error) go to
	// one network (an IPv4 /24 or IPv6 /56) over UDP in a second; default 200,
	// 0 is no limit. Of what is over it every second answer says "ask over TCP"
	// and the others are dropped. A client with a valid cookie has no limit.
	RateLimit int `toml:"rate_limit"`
	// RateLimitExempt lists the networks without a rate limit, in CIDR form;
	// default loopback, private and link-local networks.
	RateLimitExempt []string `toml:"rate_limit_exempt"`

	// TLSListen is the address for DNS over TLS (RFC 7858), "host:port", mostly
	// ":853"; default "", none.
	TLSListen string `toml:"tls_listen"`
	// HTTPSListen is the address for DNS over HTTPS (RFC 8484), "host:port",
	// mostly ":443"; the path is /dns-query. Default "", none.
	HTTPSListen string `toml:"https_listen"`
	// Certificate and Key are the PEM files for both, relative to the directory
	// of the configuration file. They are read anew when they change. Default
	// "", which is right without TLSListen and HTTPSListen only.
	Certificate string `toml:"certificate"`
	Key         string `toml:"key"`
}

// DefaultLimits returns the defaults.
func DefaultLimits() Limits {
	return Limits{
		MaxInFlight: 1024, MaxTCPConnections: 256, TCPIdle: 10 * time.Second,
		RateLimit: 200,
		RateLimitExempt: []string{
			"127.0.0.0/8", "::1/128",
			"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",
			"169.254.0.0/16", "fe80::/10",
		},
	}
}

const (
	// UDPSize is the largest UDP message that is sent, and that upstreams are
	// asked to send: it fits into one IPv6 packet everywhere (RFC 9715).
	UDPSize = 1232
	// maxQuery is the largest query that is read over UDP, in bytes: far above
	// what any client sends. A longer one arrives cut, and is answered with
	// FORMERR.
	maxQuery = 4096
	// maxPipeline is how many queries of one TCP connection are answered at
	// once; reading waits above it.
	maxPipeline = 32
	// maxSelf is how long NSID and Version may be: with both, every other
	// option and the longest question an answer still fits into 512 octets.
	maxSelf = 64
	// drainTimeout bounds what is in flight when the server ends.
	drainTimeout = 5 * time.Second
)

// ValidateLimits reports the first bad value as a [kit.KeyError]. It does not
// read the files of Certificate and Key: [Listen] does.
func (l Limits) ValidateLimits() error {
	for _, n := range []struct {
		key              string
		value, low, high int
	}{
		{"max_in_flight", l.MaxInFlight, 1, 1 << 20},
		{"udp_loops", l.UDPLoops, 0, 1024},
		{"max_tcp_connections", l.MaxTCPConnections, 1, 1 << 20},
		{"max_tcp_per_client", l.MaxTCPPerClient, 0, 1 << 20},
		{"rate_limit", l.RateLimit, 0, 1_000_000},
	} {
		if err := kit.CheckRange(n.key, n.value, n.low, n.high); err != nil {
			return err
		}
	}
	if l.TCPIdle < time.Millisecond || l.TCPIdle > time.Hour {
		return kit.KeyErrorf("tcp_idle", "is %v, expected a duration from 1ms to 1h, as in \"10s\"", l.TCPIdle)
	}
	for _, s := range []struct{ key, text string }{{"nsid", l.NSID}, {"version", l.Version}} {
		if len(s.text) > maxSelf {
			return kit.KeyErrorf(s.key, "has %d octets, expected at most %d", len(s.text), maxSelf)
		}
	}
	if _, err := l.cookieSecret(); err != nil {
		return err
	}
	if _, err := l.rateLimitExempt(); err != nil {
		return err
	}
	return l.validateTLS()
}

func (l Limits) validateTLS() error {
	for _, a := range []struct{ key, address string }{{"tls_listen", l.TLSListen}, {"https_listen", l.HTTPSListen}} {
		if a.address == "" {
			continue
		}
		if err := kit.CheckAddress(a.key, a.address); err != nil {
			return err
		}
		if l.Certificate == "" || l.Key == "" {
			return kit.KeyErrorf(a.key, "needs a certificate: set certificate and key to PEM files")
		}
	}
	switch {
	case l.Certificate != "" && l.Key == "":
		return kit.KeyErrorf("certificate", "stands without key, expected both or neither")
	case l.Key != "" && l.Certificate == "":
		return kit.KeyErrorf("key", "stands without certificate, expected both or neither")
	}
	return nil
}

// cookieSecret returns the configured secret, or nil where there is none. The
// error does not repeat the value: it is a secret.
func (l Limits) cookieSecret() ([]byte, error) {
	secret, err := hex.DecodeString(l.CookieSecret)
	if l.CookieSecret == "" {
		return nil, nil
	}
	if err != nil || len(secret) != cookieSecretSize {
		return nil, kit.KeyErrorf("cookie_secret", "is no secret of DNS cookies, expected %d hexadecimal digits", 2*cookieSecretSize)
	}
	return secret, nil
}

func (l Limits) rateLimitExempt() ([]netip.Prefix, error) {
	return kit.Networks("rate_limit_exempt", l.RateLimitExempt)
}

func (l Limits) loops() int {
	if l.UDPLoops > 0 {
		return l.UDPLoops
	}
	return runtime.GOMAXPROCS(0)
}

func (l Limits) tcpPerClient() int {
	if l.MaxTCPPerClient > 0 {
		return l.MaxTCPPerClient
	}
	return max(1, l.MaxTCPConnections/2)
}
