package kit

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// Common holds the configuration keys that every service has. Embed it.
type Common struct {
	// Listen is the address that clients connect to, "host:port". An empty
	// host means every interface; port 0 asks for a free one.
	Listen string `toml:"listen"`
	// Admin is the address of the admin listener (/metrics, /readyz,
	// /healthz, /debug/pprof/), "host:port"; empty switches it off.
	Admin string `toml:"admin"`
	// LogLevel is "debug", "info", "warn" or "error"; default "info".
	LogLevel string `toml:"log_level"`
	// LogFormat is "text", "json", or "auto" (the default): text on a
	// terminal, JSON otherwise.
	LogFormat string `toml:"log_format"`
	// Dir is the directory of the configuration file, set by [LoadConfig];
	// empty without one. [Common.Path] resolves file names against it.
	Dir string `toml:"-"`
	// File is the configuration file, set by [LoadConfig]; empty without one.
	File string `toml:"-"`
}

// DefaultCommon returns the keys' defaults, with this client address.
func DefaultCommon(listen string) Common {
	return Common{Listen: listen, LogLevel: "info", LogFormat: "auto"}
}

// Base returns c: it reaches these keys inside any service's configuration.
func (c *Common) Base() *Common { return c }

// Path returns a file name of the configuration as it is to be opened: a
// relative one starts at the directory of the configuration file, and "" stays "".
func (c *Common) Path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.Dir, name)
}

// validate reports the first bad value as a [KeyError].
func (c *Common) validate() error {
	if err := CheckAddress("listen", c.Listen); err != nil {
		return err
	}
	if c.Admin != "" {
		if err := CheckAddress("admin", c.Admin); err != nil {
			return err
		}
	}
	if err := new(slog.Level).UnmarshalText([]byte(c.LogLevel)); err != nil {
		return KeyErrorf("log_level", `is %q, expected "debug", "info", "warn" or "error"`, c.LogLevel)
	}
	if !slices.Contains([]string{"auto", "text", "json"}, c.LogFormat) {
		return KeyErrorf("log_format", `is %q, expected "auto", "text" or "json"`, c.LogFormat)
	}
	return nil
}

// CheckAddress returns a [KeyError] for key unless address is "host:port" with
// a port from 0 to 65535. The host may be empty.
func CheckAddress(key, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return KeyErrorf(key, "is %q, expected host:port, as in \"127.0.0.1:8001\"", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return KeyErrorf(key, "is %q, expected a port from 0 to 65535 after the colon", address)
	}
	return nil
}

// A KeyError says what is wrong with the value of one configuration key.
// [LoadConfig] adds file and line.
type KeyError struct {
	// Key is the path of the key, as in "targets[1].address".
	Key string
	// Msg is the rest of the sentence that the key begins: "is 0, expected …".
	Msg string
}

// KeyErrorf returns a [KeyError]; a Validate method returns it.
func KeyErrorf(key, format string, args ...any) error {
	return &KeyError{Key: key, Msg: fmt.Sprintf(format, args...)}
}

func (e *KeyError) Error() string { return e.Key + " " + e.Msg }

// unknownKey is a [KeyError] whose sentence begins otherwise.
type unknownKey struct{ KeyError }

func (e *unknownKey) Error() string { return "unknown key " + e.Key + e.Msg }
func (e *unknownKey) Unwrap() error { return &e.KeyError }

// LoadConfig reads a TOML file over the defaults that cfg, a pointer to a
// struct, already holds. It is strict: an unknown key, a wrong type, or a value
// that cfg's own Validate() error (and that of an embedded [Common]) refuses is
// an error that names file, line and key. With an empty file name only the
// defaults are validated.
//
// A key's name stands in the field's tag, `toml:"name"`; fields without one,
// and with "-", are not keys. A field may be a string, a bool, a number, a
// [time.Duration] (written "5s", never as a bare number), an
// [encoding.TextUnmarshaler] such as [Bytes], or a struct, a slice or a
// map[string] of these. An array in the file replaces the default; a table is
// laid over it, key by key.
//
// In every string of the file ${NAME}, ${NAME-default} and ${NAME:-default} are
// replaced from the environment, as Docker Compose does, before the string
// becomes a duration or a size. Numbers and booleans are not strings.
func LoadConfig(file string, cfg any) error {
	var text []byte
	if file != "" {
		var err error
		if text, err = os.ReadFile(file); err != nil {
			return fmt.Errorf("read configuration: %w", err)
		}
	}
	return loadConfig(file, string(text), cfg)
}

func loadConfig(file, text string, cfg any) error {
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		var parse toml.ParseError
		if errors.As(err, &parse) {
			return fmt.Errorf("%s: %s", position(file, parse.Position.Line), parse.Message)
		}
		return fmt.Errorf("%s: %w", position(file, 0), err)
	}
	lines := keyLines(text)
	err := lines.setTable(reflect.ValueOf(cfg).Elem(), tree, "")
	if c, ok := cfg.(interface{ Base() *Common }); ok && err == nil {
		if file != "" {
			c.Base().Dir, c.Base().File = filepath.Dir(file), file
		}
		err = c.Base().validate()
	}
	if v, ok := cfg.(interface{ Validate() error }); ok && err == nil {
		err = v.Validate()
	}
	if err == nil {
		return nil
	}
	line := 0
	if key := (*KeyError)(nil); errors.As(err, &key) {
		line = lines.of(key.Key)
	}
	return fmt.Errorf("%s: %w", position(file, line), err)
}

// position formats "file:line"; line 0 means that the key is not in the file.
func position(file string, line int) string {
	switch {
	case file == "":
		return "configuration"
	case line == 0:
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// Bytes is a size in a configuration file: a number of bytes, or a string with
// a unit, "512B", "64KiB", "5MiB", "2GiB". A unit of a thousand ("5MB") is
// refused, so that nobody has to guess which one was meant.
type Bytes int64

var units = []struct {
	suffix string
	size   int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (b *Bytes) UnmarshalText(text []byte) error {
	s, size := string(text), int64(1)
	for _, u := range units {
		if number, ok := strings.CutSuffix(s, u.suffix); ok {
			s, size = strings.TrimSpace(number), u.size
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/size {
		return fmt.Errorf("is %q, expected a size such as \"512B\", \"64KiB\", \"5MiB\" or \"2GiB\"", text)
	}
	*b = Bytes(n * size)
	return nil
}

// String returns the size with the largest unit that divides it.
func (b Bytes) String() string {
	u := units[3]
	for _, larger := range units[:3] {
		if b != 0 && int64(b)%larger.size == 0 {
			u = larger
		}
	}
	return strconv.FormatInt(int64(b)/u.size, 10) + u.suffix
}

// CheckRange returns a [KeyError] for key unless low <= value <= high.
func CheckRange[T cmp.Ordered](key string, value, low, high T) error {
	if value < low || value > high {
		return KeyErrorf(key, "is %v, expected %v to %v", value, low, high)
	}
	return nil
}

// Networks reads a list of networks in CIDR form. An error is a [KeyError] that
// names the entry.
func Networks(key string, list []string) ([]netip.Prefix, error) {
	var nets []netip.Prefix
	for i, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, KeyErrorf(fmt.Sprintf("%s[%d]", key, i), `is %q, expected a network such as "10.0.0.0/8" or "::1/128"`, s)
		}
		nets = append(nets, p.Masked())
	}
	return nets, nil
}
