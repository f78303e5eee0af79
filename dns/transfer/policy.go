package transfer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"minicloud.internal/kit"
)

// A Policy is who gets one zone. A service embeds it in the configuration of a
// zone.
type Policy struct {
	// AllowTransfer is who may fetch the zone: each entry a network
	// ("192.0.2.0/24") or an address, the name of a key ("key:transfer."), or
	// both with a blank between, which then must both hold. One entry that
	// holds is enough. Default none: every transfer is refused.
	AllowTransfer []string `toml:"allow_transfer"`
	// Notify is who is told that the zone changed: each entry an address
	// ("192.0.2.53", port 53) or "host:port", and behind a blank the key that
	// signs it ("192.0.2.53 key:transfer."). Default none.
	Notify []string `toml:"notify"`
}

// ValidatePolicy reports the first bad value as a [kit.KeyError]; prefix is the
// key of the zone, as in "zones[2]".
func (p Policy) ValidatePolicy(prefix string, c Config) error {
	_, err := compile(prefix, p, c)
	return err
}

// A rule is one entry of AllowTransfer. An invalid network stands for every
// source, "" for any key and for none.
type rule struct {
	network netip.Prefix
	key     string // canonical
}

// A secondary is one entry of Notify.
type secondary struct {
	address string // host:port
	key     *Key   // nil: not signed
}

// rules are a policy that is ready to be asked.
type rules struct {
	allow  []rule
	notify []secondary
}

// allows reports whether a client with this address, that signed with this key
// (canonical; "" for none), may have the zone.
func (r rules) allows(source netip.Addr, key string) bool {
	source = source.Unmap().WithZone("")
	for _, rule := range r.allow {
		if (!rule.network.IsValid() || rule.network.Contains(source)) && (rule.key == "" || rule.key == key) {
			return true
		}
	}
	return false
}

func compile(prefix string, p Policy, c Config) (rules, error) {
	var out rules
	for i, entry := range p.AllowTransfer {
		key := fmt.Sprintf("%s.allow_transfer[%d]", prefix, i)
		where, name, err := splitKey(entry, c)
		if err != nil {
			return rules{}, kit.KeyErrorf(key, "is %q, %v", entry, err)
		}
		r := rule{}
		if name != nil {
			r.key = name.CanonicalName()
		}
		if where != "" {
			if r.network, err = parseNetwork(where); err != nil {
				return rules{}, kit.KeyErrorf(key, "is %q, %v", entry, err)
			}
		}
		out.allow = append(out.allow, r)
	}
	for i, entry := range p.Notify {
		key := fmt.Sprintf("%s.notify[%d]", prefix, i)
		where, name, err := splitKey(entry, c)
		if err != nil {
			return rules{}, kit.KeyErrorf(key, "is %q, %v", entry, err)
		}
		address, err := parseSecondary(where)
		if err != nil {
			return rules{}, kit.KeyErrorf(key, "is %q, %v", entry, err)
		}
		for _, other := range out.notify {
			if other.address == address {
				return rules{}, kit.KeyErrorf(key, "is %q, which another entry of this zone is already", entry)
			}
		}
		out.notify = append(out.notify, secondary{address, name})
	}
	return out, nil
}

// splitKey takes "where", "key:NAME" or "where key:NAME" apart. The key must be
// one of the configuration.
func splitKey(entry string, c Config) (where string, key *Key, err error) {
	for i, field := range strings.Split(entry, " ") {
		name, isKey := strings.CutPrefix(field, "key:")
		switch {
		case isKey && key == nil:
			if key = c.key(name); key == nil {
				return "", nil, fmt.Errorf("which names a key that no [[keys]] block has")
			}
		case !isKey && i == 0 && field != "":
			where = field
		default:
			return "", nil, errors.New(`expected an address, "key:NAME", or both with one blank between`)
		}
	}
	return where, key, nil
}

// parseNetwork reads "192.0.2.0/24" or "192.0.2.1".
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" && !a.Is4In6() {
		return a.Prefix(a.BitLen())
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return netip.Prefix{}, errors.New(`expected a network, an address or a key, as in "192.0.2.0/24", "2001:db8::53" or "key:transfer."`)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("expected the network itself, %s", p.Masked())
	}
	return p, nil
}

// parseSecondary reads "192.0.2.53", "2001:db8::53" or "host:port".
func parseSecondary(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return net.JoinHostPort(a.String(), "53"), nil
	}
	host, port, err := net.SplitHostPort(s)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
		return "", errors.New(`expected an address or host:port, as in "192.0.2.53", "[2001:db8::53]:53" or "dns-two:53"`)
	}
	return net.JoinHostPort(host, port), nil
}
