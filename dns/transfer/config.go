package transfer

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

// Config is what all zones share. A service embeds it in its Config.
type Config struct {
	// Keys are the secrets that this server shares with others (TSIG, RFC
	// 8945). Default none.
	Keys []Key `toml:"keys"`
	// MaxTransfers is how many zone transfers run at once; default 16, at least
	// 1. Whoever comes above it gets SERVFAIL, and tries again later.
	MaxTransfers int `toml:"max_transfers"`
	// JournalVersions is how many changes of a zone are remembered for IXFR;
	// default 32. With 0 every IXFR is answered with the whole zone.
	JournalVersions int `toml:"journal_versions"`
	// JournalSize is how many bytes the changes of one zone may take in memory;
	// default 1 MiB. The oldest go first. With 0 none is remembered.
	JournalSize kit.Bytes `toml:"journal_size"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{MaxTransfers: 16, JournalVersions: 32, JournalSize: 1 << 20}
}

// A Key is a secret that two servers share.
type Key struct {
	// Name is the key's name, a domain name, the same on both sides:
	// "transfer.example.com.".
	Name string `toml:"name"`
	// Algorithm is "hmac-sha256" (the default, also where empty), "hmac-sha384",
	// "hmac-sha512", "hmac-sha224" or "hmac-sha1".
	Algorithm string `toml:"algorithm"`
	// Secret is the secret itself in base64, at least 16 octets of it.
	Secret Secret `toml:"secret"`
}

// CanonicalName is the name as it is compared: lower case, with the final dot.
func (k Key) CanonicalName() string { return dns.CanonicalName(k.Name) }

// CanonicalAlgorithm is the algorithm's name in the same form, as it stands in
// TSIG records: "hmac-sha256.".
func (k Key) CanonicalAlgorithm() string {
	if k.Algorithm == "" {
		return dns.HmacSHA256
	}
	return dns.CanonicalName(k.Algorithm)
}

// A Secret is the octets of a TSIG secret. However it is printed, logged or
// marshalled, it does not show them.
type Secret []byte

// minSecret is the shortest secret in octets: one that is shorter can be found
// by trying (RFC 8945, section 8, asks for the length of the hash).
const minSecret = 16

const hidden = "[hidden]"

// UnmarshalText reads base64. Its error does not repeat the text.
func (s *Secret) UnmarshalText(text []byte) error {
	raw, err := base64.StdEncoding.Strict().DecodeString(string(text))
	switch {
	case err != nil:
		return fmt.Errorf("is not base64 (with its padding), as `openssl rand -base64 32` writes it")
	case len(raw) < minSecret:
		return fmt.Errorf("is %d octets long, expected at least %d, as in `openssl rand -base64 32`", len(raw), minSecret)
	}
	*s = raw
	return nil
}

// Base64 returns the secret itself.
func (s Secret) Base64() string { return base64.StdEncoding.EncodeToString(s) }

// Format implements [fmt.Formatter] for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText implements [encoding.TextMarshaler].
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// ValidateTransfers reports the first bad value as a [kit.KeyError].
func (c Config) ValidateTransfers() error {
	if err := cmp.Or(
		kit.CheckRange("max_transfers", c.MaxTransfers, 1, 1<<16),
		kit.CheckRange("journal_versions", c.JournalVersions, 0, 1<<16),
		kit.CheckRange("journal_size", c.JournalSize, 0, 1<<32),
	); err != nil {
		return err
	}
	algorithms := server.TSIGAlgorithms()
	seen := map[string]bool{}
	for i, k := range c.Keys {
		key := fmt.Sprintf("keys[%d]", i)
		switch {
		case !isName(k.Name):
			return kit.KeyErrorf(key+".name", `is %q, expected a domain name, as in "transfer.example.com."`, k.Name)
		case seen[k.CanonicalName()]:
			return kit.KeyErrorf(key+".name", "is %q, which another key of this file is already", k.Name)
		case !slices.Contains(algorithms, strings.TrimSuffix(k.CanonicalAlgorithm(), ".")):
			return kit.KeyErrorf(key+".algorithm", "is %q, expected one of %s", k.Algorithm, strings.Join(algorithms, ", "))
		case len(k.Secret) == 0:
			return kit.KeyErrorf(key+".secret", "is empty, expected base64, as `openssl rand -base64 32` writes it")
		case len(k.Secret) < minSecret:
			return kit.KeyErrorf(key+".secret", "is %d octets long, expected at least %d", len(k.Secret), minSecret)
		}
		seen[k.CanonicalName()] = true
	}
	return nil
}

// isName reports whether s is a domain name other than the root that can be
// sent.
func isName(s string) bool {
	wire, err := wirename.Pack(s)
	return err == nil && string(wire) != wirename.Root && !strings.ContainsAny(s, " \t\r\n")
}

// key returns the key of a name in any spelling, or nil.
func (c Config) key(name string) *Key {
	for i := range c.Keys {
		if c.Keys[i].CanonicalName() == dns.CanonicalName(name) {
			return &c.Keys[i]
		}
	}
	return nil
}
