package exchange

import (
	"fmt"
	"net/netip"
	"strings"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/kit"
)

// A Transport is what carries a question.
type Transport uint8

const (
	// UDP is datagrams, and TCP where one is not enough; port 53.
	UDP Transport = iota
	// TCP is TCP alone (RFC 7766); port 53.
	TCP
	// TLS is DNS over TLS (RFC 7858); port 853.
	TLS
)

// String returns "udp", "tcp" or "tls".
func (t Transport) String() string { return [...]string{"udp", "tcp", "tls"}[t] }

func (t Transport) port() uint16 {
	if t == TLS {
		return 853
	}
	return 53
}

// A Target is a server to ask, and how.
type Target struct {
	// Addr is its address. Port 0 is the transport's own: 53, or 853 for TLS. A
	// route is followed only from port 0, by UDP and TCP.
	Addr      netip.AddrPort
	Transport Transport
	// TLSName is the name that the server's certificate must bear; empty: its
	// IP address.
	TLSName string
	// Configured says that the operator named the address, not a name server's
	// answer: then any address will do.
	Configured bool
}

// At is the target that a name server's address is: UDP, at its usual port.
func At(addr netip.Addr) Target {
	return Target{Addr: netip.AddrPortFrom(addr.Unmap(), 0)}
}

// key is what statistics are kept under.
func (t Target) key() serverKey {
	port := t.Addr.Port()
	if port == t.Transport.port() {
		port = 0
	}
	return serverKey{t.Addr.Addr().Unmap(), port, t.Transport}
}

// String writes the target as [ParseTarget] reads it.
func (t Target) String() string {
	s := t.Addr.String()
	if t.Addr.Port() == 0 {
		s = t.Addr.Addr().String()
	}
	if t.Transport != UDP {
		s = t.Transport.String() + "://" + s
	}
	if t.TLSName != "" {
		s += "#" + t.TLSName
	}
	return s
}

const targetForms = `expected an address such as "192.0.2.1", "[2001:db8::1]:53", "tcp://192.0.2.1" or "tls://192.0.2.1#dns.example"`

// ParseTarget reads an address of the configuration: an IP address with or
// without a port, after "udp://" (what goes without saying), "tcp://" or
// "tls://"; after "tls://", "#name" may follow, the name in the server's
// certificate. The error is a [kit.KeyError] for key.
func ParseTarget(key, s string) (Target, error) {
	t := Target{Configured: true}
	rest := s
	if scheme, after, ok := strings.Cut(s, "://"); ok {
		rest = after
		switch scheme {
		case "udp":
		case "tcp":
			t.Transport = TCP
		case "tls":
			t.Transport = TLS
		default:
			return Target{}, kit.KeyErrorf(key, "is %q, whose transport is unknown; %s", s, targetForms)
		}
	}
	rest, name, named := strings.Cut(rest, "#")
	if named {
		if t.Transport != TLS {
			return Target{}, kit.KeyErrorf(key, `is %q, but only "tls://" has a name after "#"`, s)
		}
		if wire, err := wirename.Pack(name); err != nil || string(wire) == wirename.Root {
			return Target{}, kit.KeyErrorf(key, `is %q, but after "#" stands no name, as in "tls://192.0.2.1#dns.example"`, s)
		}
		t.TLSName = strings.TrimSuffix(name, ".")
	}
	bare := rest
	if inner, ok := strings.CutPrefix(rest, "["); ok && strings.Contains(inner, ":") {
		bare = strings.TrimSuffix(inner, "]")
	}
	if addr, err := netip.ParseAddr(bare); err == nil {
		t.Addr = netip.AddrPortFrom(addr.Unmap(), 0)
		return t, t.usable(key, s)
	}
	addr, err := netip.ParseAddrPort(rest)
	if err != nil {
		return Target{}, kit.KeyErrorf(key, "is %q, %s", s, targetForms)
	}
	if addr.Port() == 0 {
		return Target{}, kit.KeyErrorf(key, "is %q, expected a port from 1 to 65535 after the colon, or none", s)
	}
	t.Addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	return t, t.usable(key, s)
}

func (t Target) usable(key, s string) error {
	if addr := t.Addr.Addr(); addr.IsUnspecified() || addr.IsMulticast() {
		return kit.KeyErrorf(key, "is %q, which is not the address of one machine", s)
	}
	return nil
}

// ParseTargets reads a list with [ParseTarget], at least one and each once.
func ParseTargets(key string, list []string) ([]Target, error) {
	if len(list) == 0 {
		return nil, kit.KeyErrorf(key, "is empty, %s", targetForms)
	}
	targets := make([]Target, 0, len(list))
	seen := map[serverKey]bool{}
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", key, i)
		t, err := ParseTarget(at, s)
		if err != nil {
			return nil, err
		}
		if seen[t.key()] {
			return nil, kit.KeyErrorf(at, "is %q, which stands in the list before", s)
		}
		seen[t.key()] = true
		targets = append(targets, t)
	}
	return targets, nil
}

// Askable reports whether a name server's word is enough to send queries to an
// address: not to this machine, and not to what is no single machine. A route
// makes any address good. It is safe for concurrent use.
func (x *Exchanger) Askable(addr netip.Addr) bool {
	addr = addr.Unmap()
	if _, routed := x.cfg.Routes[addr]; routed {
		return true
	}
	// Loopback, link-local, multicast, broadcast and unspecified are no global
	// unicast; the rest stands in the registries of RFC 6890.
	if !addr.IsGlobalUnicast() || addr.Zone() != "" {
		return false
	}
	for _, p := range unroutable {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

var unroutable = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),   // "this network": some systems take it for themselves
	netip.MustParsePrefix("240.0.0.0/4"), // reserved
	netip.MustParsePrefix("::/8"),        // IPv4 in other clothes: compatible, translated, NAT64
}

// Route says where a target is really asked, "host:port".
func (x *Exchanger) Route(t Target) string {
	if t.Addr.Port() != 0 {
		return t.Addr.String()
	}
	if to, ok := x.cfg.Routes[t.Addr.Addr().Unmap()]; ok && t.Transport != TLS {
		return to
	}
	return netip.AddrPortFrom(t.Addr.Addr(), t.Transport.port()).String()
}

// serverKey identifies a server in the table of statistics. Port 0 is the
// transport's own.
type serverKey struct {
	addr      netip.Addr
	port      uint16
	transport Transport
}
