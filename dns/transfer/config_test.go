package transfer

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"minicloud.internal/kit"
)

func TestValidateTransfers(t *testing.T) {
	for _, c := range []struct {
		name, key string
		change    func(*Config)
	}{
		{"the defaults are valid", "", func(*Config) {}},
		{"a key is valid", "", func(c *Config) { c.Keys = []Key{testKey(t, "Transfer")} }},
		{"no journal is valid", "", func(c *Config) { c.JournalVersions, c.JournalSize = 0, 0 }},
		{"no transfer at all is an error", "max_transfers", func(c *Config) { c.MaxTransfers = 0 }},
		{"a negative journal is an error", "journal_versions", func(c *Config) { c.JournalVersions = -1 }},
		{"a journal of a terabyte is an error", "journal_size", func(c *Config) { c.JournalSize = 1 << 40 }},
		{"a key needs a name", "keys[0].name", func(c *Config) { c.Keys = []Key{testKey(t, "")} }},
		{"a key is not the root", "keys[0].name", func(c *Config) { c.Keys = []Key{testKey(t, ".")} }},
		{"a key's name has labels of at most 63 octets", "keys[0].name", func(c *Config) { c.Keys = []Key{testKey(t, strings.Repeat("a", 64))} }},
		{"a key's name has no blank", "keys[0].name", func(c *Config) { c.Keys = []Key{testKey(t, "a b")} }},
		{"two spellings are one name", "keys[1].name", func(c *Config) { c.Keys = []Key{testKey(t, "a"), testKey(t, "A.")} }},
		{"MD5 is no algorithm", "keys[0].algorithm", func(c *Config) { k := testKey(t, "a"); k.Algorithm = "hmac-md5"; c.Keys = []Key{k} }},
		{"a key needs a secret", "keys[0].secret", func(c *Config) { c.Keys = []Key{{Name: "a"}} }},
		{"a secret has at least 16 octets", "keys[0].secret", func(c *Config) { c.Keys = []Key{{Name: "a", Secret: make(Secret, 15)}} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultConfig()
			c.change(&cfg)
			expectKey(t, cfg.ValidateTransfers(), c.key)
		})
	}
}

// expectKey checks which key an error is about; "" expects none.
func expectKey(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if key := (*kit.KeyError)(nil); errors.As(err, &key) {
		got = key.Key
	}
	if got != want || (err == nil) != (want == "") {
		t.Errorf("got %v, expected an error about %q", err, want)
	}
}

type fileConfig struct {
	kit.Common
	Config
	Zones []struct {
		Name string `toml:"name"`
		Policy
	} `toml:"zones"`
}

func (c fileConfig) Validate() error { return c.ValidateTransfers() }

func load(t *testing.T, text string) (fileConfig, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := fileConfig{Common: kit.DefaultCommon(":0"), Config: DefaultConfig()}
	return cfg, kit.LoadConfig(file, &cfg)
}

func TestConfigurationFile(t *testing.T) {
	cfg, err := load(t, `
journal_size = "64KiB"
[[keys]]
name = "transfer."
algorithm = "hmac-sha512"
secret = "`+testSecret+`"
[[zones]]
name = "example.com."
allow_transfer = ["192.0.2.0/24"]
notify = ["192.0.2.1"]
`)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.JournalSize != 1<<16 || cfg.JournalVersions != 32 || len(cfg.Keys) != 1 || cfg.Keys[0].Secret.Base64() != testSecret || cfg.Keys[0].CanonicalAlgorithm() != "hmac-sha512." {
		t.Errorf("got %+v", cfg)
	}
	want := Policy{AllowTransfer: []string{"192.0.2.0/24"}, Notify: []string{"192.0.2.1"}}
	if diff := cmp.Diff(want, cfg.Zones[0].Policy); diff != "" {
		t.Error(diff)
	}
}

func TestASecretIsNeverShown(t *testing.T) {
	k := testKey(t, "transfer.")
	shown := []string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, k), fmt.Sprintf(verb, k.Secret), fmt.Sprintf(verb, &k))
	}
	l := &log{}
	for _, h := range []slog.Handler{slog.NewTextHandler(l, nil), slog.NewJSONHandler(l, nil)} {
		slog.New(h).Info("x", "key", k, "secret", k.Secret)
	}
	text, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	shown = append(shown, l.String(), string(text))
	for _, s := range shown {
		for _, secret := range []string{testSecret, "secret-secret", fmt.Sprintf("%x", "secret-"), fmt.Sprintf("%X", "secret-"), "115 101"} {
			if strings.Contains(s, secret) {
				t.Errorf("the secret is shown: %s", s)
			}
		}
	}
	for _, wrong := range []string{testSecret[1:], testSecret + "!", "c2hvcnQtc2VjcmV0"} {
		_, err := load(t, "[[keys]]\nname = \"a\"\nsecret = \""+wrong+"\"\n")
		if err == nil || strings.Contains(err.Error(), wrong) || !strings.Contains(err.Error(), "keys[0].secret is ") {
			t.Errorf("got %v", err)
		}
	}
}

func TestPolicies(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Keys = []Key{testKey(t, "one."), testKey(t, "Two.")}
	for _, c := range []struct {
		name, key string
		policy    Policy
	}{
		{"no policy is valid", "", Policy{}},
		{"networks, addresses and keys are valid", "", Policy{AllowTransfer: []string{"192.0.2.0/24", "2001:db8::/32", "192.0.2.1", "::1", "key:one", "key:TWO.", "::/0 key:two."}}},
		{"addresses, hosts and ports are valid", "", Policy{Notify: []string{"192.0.2.1", "2001:db8::1", "192.0.2.1:5353", "[::1]:53", "dns-two:53 key:one."}}},
		{"an unknown key is an error", "zones[1].allow_transfer[1]", Policy{AllowTransfer: []string{"::1", "key:three."}}},
		{"a key without a name is an error", "zones[1].allow_transfer[0]", Policy{AllowTransfer: []string{"key:"}}},
		{"two keys are an error", "zones[1].allow_transfer[0]", Policy{AllowTransfer: []string{"key:one key:two"}}},
		{"two addresses are an error", "zones[1].allow_transfer[0]", Policy{AllowTransfer: []string{"192.0.2.1 192.0.2.2"}}},
		{"a key before its address is an error", "zones[1].allow_transfer[0]", Policy{AllowTransfer: []string{"key:one 192.0.2.1"}}},
		{"an empty entry is an error", "zones[1].allow_transfer[0]", Policy{AllowTransfer: []string{""}}},
		{"two blanks are an error", "zones[1].allow_transfer[0]", Policy{AllowTransfer: []string{"::1  key:one"}}},
		{"a host is no network", "zones[1].allow_transfer[0]", Policy{AllowTransfer: []string{"dns-two"}}},
		{"a network with the bits of a host is an error", "zones[1].allow_transfer[0]", Policy{AllowTransfer: []string{"192.0.2.1/24"}}},
		{"an IPv4 address in IPv6 form is an error", "zones[1].allow_transfer[0]", Policy{AllowTransfer: []string{"::ffff:192.0.2.1"}}},
		{"an IPv4 network in IPv6 form is an error", "zones[1].allow_transfer[0]", Policy{AllowTransfer: []string{"::ffff:192.0.2.0/120"}}},
		{"an address with an interface is no network", "zones[1].allow_transfer[0]", Policy{AllowTransfer: []string{"fe80::1%eth0"}}},
		{"a secondary needs a port or an address", "zones[1].notify[0]", Policy{Notify: []string{"dns-two"}}},
		{"a secondary's port is a number", "zones[1].notify[0]", Policy{Notify: []string{"dns-two:domain"}}},
		{"a secondary's port is not 0", "zones[1].notify[0]", Policy{Notify: []string{"dns-two:0"}}},
		{"a secondary needs a host", "zones[1].notify[0]", Policy{Notify: []string{":53"}}},
		{"a key alone is no secondary", "zones[1].notify[0]", Policy{Notify: []string{"key:one."}}},
		{"a secondary named twice is an error", "zones[1].notify[1]", Policy{Notify: []string{"192.0.2.1", "192.0.2.1:53 key:one."}}},
	} {
		t.Run(c.name, func(t *testing.T) { expectKey(t, c.policy.ValidatePolicy("zones[1]", cfg), c.key) })
	}
}

func TestWhoIsAllowed(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Keys = []Key{testKey(t, "one."), testKey(t, "two.")}
	for _, c := range []struct {
		name, source, key string
		allow             []string
		want              bool
	}{
		{"nobody without an entry", "127.0.0.1", "one.", nil, false},
		{"an address in a network", "192.0.2.77", "", []string{"192.0.2.0/24"}, true},
		{"nobody outside of it", "192.0.3.77", "", []string{"192.0.2.0/24"}, false},
		{"an address itself", "2001:db8::1", "", []string{"2001:db8::1"}, true},
		{"not the next address", "2001:db8::2", "", []string{"2001:db8::1"}, false},
		{"an IPv4 address in IPv6 form, by its network", "::ffff:192.0.2.1", "", []string{"192.0.2.0/24"}, true},
		{"no IPv4 address by the network of all IPv6 addresses", "192.0.2.1", "", []string{"::/0"}, false},
		{"a link-local address, whatever its interface", "fe80::1%eth0", "", []string{"fe80::/10"}, true},
		{"a key from anywhere", "203.0.113.1", "one.", []string{"key:ONE"}, true},
		{"not another key", "203.0.113.1", "two.", []string{"key:one"}, false},
		{"nobody unsigned where a key is asked for", "203.0.113.1", "", []string{"key:one"}, false},
		{"a key and an address, where both are asked for", "192.0.2.1", "one.", []string{"192.0.2.0/24 key:one"}, true},
		{"not the address without the key", "192.0.2.1", "", []string{"192.0.2.0/24 key:one"}, false},
		{"not the key from elsewhere", "203.0.113.1", "one.", []string{"192.0.2.0/24 key:one"}, false},
		{"who is in the second entry", "203.0.113.1", "two.", []string{"192.0.2.0/24", "key:two"}, true},
		{"an allowed address also with a key that nobody asked for", "192.0.2.1", "two.", []string{"192.0.2.0/24"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules, err := compile("", Policy{AllowTransfer: c.allow}, cfg)
			if err != nil {
				t.Fatal(err)
			}
			if got := rules.allows(netip.MustParseAddr(c.source), c.key); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
