package kittest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"minicloud.internal/kit"
)

type config struct {
	kit.Common
	Peers []peer            `toml:"peers"`
	Ways  map[string]string `toml:"ways"`
	Dial  kit.DialFunc      `toml:"-"`
}

type peer struct {
	Address string `toml:"address"`
}

const complete = `# Where clients connect.
listen = ":1"
# For whom it operates.
admin = ""
# How much is said.
log_level = "info"
# In which form.
log_format = "auto"
# The peers: each has an address.
[[peers]]
address = "a:1"
# The ways.
[ways]
north = "b:1"
`

// findings is a test that remembers its errors.
type findings struct {
	testing.TB
	said []string
}

func (f *findings) Errorf(format string, args ...any) {
	f.said = append(f.said, fmt.Sprintf(format, args...))
}

func TestConfigFile(t *testing.T) {
	for _, c := range []struct{ name, without, with, want string }{
		{"a complete file passes", "", "", ""},
		{"a key that is not stated is found", "admin = \"\"\n", "", "does not state the key admin under a comment"},
		{"a key without its comment is found", "# How much is said.\n", "", "does not state the key log_level under a comment"},
		{"a block without its comment is found", "# The ways.\n", "", "does not state the key ways under a comment"},
		{"a key inside a block is found", "address = \"a:1\"\n", "", "does not state the key address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "x.toml")
			if err := os.WriteFile(file, []byte(strings.Replace(complete, c.without, c.with, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg := config{Common: kit.DefaultCommon(":0")}
			f := &findings{TB: t}
			ConfigFile(f, file, &cfg)
			if got := strings.Join(f.said, "; "); !strings.HasSuffix(got, c.want) || (c.want == "") != (got == "") {
				t.Errorf("got %q, expected %q", got, c.want)
			}
		})
	}
}

func TestReadme(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	text := "`listen`, `admin`, `log_level`, `log_format`, `peers`, `address`, `ways` and `requests_total{code}`"
	for _, c := range []struct{ name, without, want string }{
		{"a README that names all passes", "", ""},
		{"a key that is missing is found", "`admin`", "does not name admin"},
		{"so is one inside a block", "`address`", "does not name address"},
		{"and another name", "`requests_total{code}`", "does not name requests_total"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(strings.Replace(text, c.without, "", 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			f := &findings{TB: t}
			Readme(f, file, &config{}, "requests_total")
			if got := strings.Join(f.said, "; "); !strings.HasSuffix(got, c.want) || (c.want == "") != (got == "") {
				t.Errorf("got %q, expected %q", got, c.want)
			}
		})
	}
}
