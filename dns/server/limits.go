package server

import (
	"time"

	"minicloud.internal/kit"
)

// Limits bounds what clients can take. A service embeds it in its Config.
type Limits struct {
	// MaxInFlight is how many queries over UDP are answered at once; default
	// 1024, at least 1. A datagram over the bound is dropped, and its asker
	// asks again.
	MaxInFlight int `toml:"max_in_flight"`
	// MaxTCPConnections is how many TCP connections are open at once; default
	// 256, at least 1. A connection over the bound is closed at once.
	MaxTCPConnections int `toml:"max_tcp_connections"`
	// TCPIdle is how long a TCP connection may take to send its next query,
	// and to take an answer; default 10 s (RFC 7766, section 6.2.3).
	TCPIdle time.Duration `toml:"tcp_idle"`
}

// DefaultLimits returns the defaults.
func DefaultLimits() Limits {
	return Limits{MaxInFlight: 1024, MaxTCPConnections: 256, TCPIdle: 10 * time.Second}
}

// ValidateLimits reports the first bad value as a [kit.KeyError].
func (l Limits) ValidateLimits() error {
	switch {
	case l.MaxInFlight < 1 || l.MaxInFlight > 1<<20:
		return kit.KeyErrorf("max_in_flight", "is %d, expected 1 to %d", l.MaxInFlight, 1<<20)
	case l.MaxTCPConnections < 1 || l.MaxTCPConnections > 1<<20:
		return kit.KeyErrorf("max_tcp_connections", "is %d, expected 1 to %d", l.MaxTCPConnections, 1<<20)
	case l.TCPIdle < time.Millisecond:
		return kit.KeyErrorf("tcp_idle", "is %v, expected a duration of at least 1ms, as in \"10s\"", l.TCPIdle)
	}
	return nil
}

const (
	// UDPSize is the largest UDP message that is sent, and that upstreams are
	// asked to send: it fits into one IPv6 packet everywhere (RFC 9715).
	UDPSize = 1232
	// maxPipeline is how many queries of one TCP connection are answered at
	// once; reading waits above it.
	maxPipeline = 32
	// drainTimeout bounds what is in flight when the server ends.
	drainTimeout = 5 * time.Second
)
