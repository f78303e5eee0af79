package kit

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

type testTarget struct {
	Address  string        `toml:"address"`
	Weight   uint8         `toml:"weight"`
	Interval time.Duration `toml:"interval"`
	Size     Bytes         `toml:"size"`
	Codes    []int         `toml:"codes"`
}

type testConfig struct {
	Common
	Targets []testTarget      `toml:"targets"`
	Zones   map[string]string `toml:"zones"`
	Queues  map[string]testTarget
	Pools   map[string]testTarget `toml:"pools"`
	Ratio   float64               `toml:"ratio,omitempty"`
	Offset  int16                 `toml:"offset"`
	On      bool                  `toml:"on"`
	Via     *testTarget           `toml:"via"`
	Origin  netip.Addr            `toml:"origin"`
	Dial    DialFunc              `toml:"-"`
}

func (c *testConfig) Validate() error {
	for i, t := range c.Targets {
		if t.Address == "bad" {
			return KeyErrorf(fmt.Sprintf("targets[%d].address", i), "is bad")
		}
		if t.Address == "" {
			return KeyErrorf(fmt.Sprintf("targets[%d].address", i), "is empty, expected host:port")
		}
	}
	if c.Ratio > 1 {
		return KeyErrorf("ratio", "is %v, expected at most 1", c.Ratio)
	}
	if c.On && c.Zones["a"] == "" {
		return fmt.Errorf("it cannot be on without a zone")
	}
	return nil
}

func testDefaults() testConfig {
	return testConfig{
		Common:  DefaultCommon("127.0.0.1:0"),
		Targets: []testTarget{{Address: "default:1", Weight: 9}, {Address: "default:2"}},
		Zones:   map[string]string{"default": "zone"},
		Pools:   map[string]testTarget{"main": {Address: "m", Weight: 5}},
		Via:     &testTarget{Weight: 7},
	}
}

func TestLoadConfig(t *testing.T) {
	t.Setenv("KIT_TEST_HOST", "from-env")
	t.Setenv("KIT_TEST_EMPTY", "")
	for _, c := range []struct {
		name, text string
		want       func(*testConfig)
	}{
		{"an empty file leaves the defaults", "", func(*testConfig) {}},
		{"every kind of value is read", `
			listen = ":80"
			ratio = 0.5
			offset = -3
			on = true
			origin = "::1"
			[zones]
			a = "b"
			[pools.x]
			address = "p"
			size = 4096
			[via]
			interval = "1m30s"`, func(c *testConfig) {
			c.Listen, c.Ratio, c.Offset, c.On, c.Origin = ":80", 0.5, -3, true, netip.IPv6Loopback()
			c.Zones["a"] = "b"
			c.Pools["x"] = testTarget{Address: "p", Size: 4096}
			c.Via.Interval = 90 * time.Second
		}},
		{"a whole number will do for a fraction", "ratio = 1", func(c *testConfig) { c.Ratio = 1 }},
		{"an array replaces the default, down to its elements", `
			[[targets]]
			address = "a"
			codes = [1, 2]`, func(c *testConfig) { c.Targets = []testTarget{{Address: "a", Codes: []int{1, 2}}} }},
		{"an empty array replaces the default", "targets = []", func(c *testConfig) { c.Targets = []testTarget{} }},
		{"a table is laid over the default, key by key", "via = {address = 'v'}\npools.main.weight = 6\nzones = {more = 'm'}", func(c *testConfig) {
			c.Via.Address = "v"
			c.Pools["main"] = testTarget{Address: "m", Weight: 6}
			c.Zones["more"] = "m"
		}},
		{"variables are replaced in strings of every type", `
			admin = "${KIT_TEST_HOST}:${KIT_TEST_NONE-80}"
			zones = {a = "${KIT_TEST_EMPTY-x}", b = "${KIT_TEST_EMPTY:-x}", c = "$KIT_TEST_HOST ${1} ${}"}
			targets = [{address = "${KIT_TEST_NONE-a-b}", size = "${KIT_TEST_NONE-2KiB}", interval = "${KIT_TEST_NONE-5s}"}]`, func(c *testConfig) {
			c.Admin = "from-env:80"
			maps.Copy(c.Zones, map[string]string{"a": "", "b": "x", "c": "$KIT_TEST_HOST ${1} ${}"})
			c.Targets = []testTarget{{Address: "a-b", Size: 2048, Interval: 5 * time.Second}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, want := testDefaults(), testDefaults()
			want.Dir, want.File = "dir", "dir/test.toml"
			c.want(&want)
			if err := loadConfig("dir/test.toml", c.text, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestMistakesInAConfiguration(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"broken syntax", "\nlisten = ", `f:2: unexpected EOF; expected value`},
		{"an open string", "listen = \"a\n", `f:1: strings cannot contain newlines`},
		{"a key set twice", "on = true\non = false", `f:2: Key 'on' has already been defined.`},
		{"no UTF-8", "a = '\xff'", `f:1: invalid UTF-8 byte: 0xff`},
		{"an unknown key near a known one", "\nlissten = 1", `f:2: unknown key lissten, did you mean listen?`},
		{"an unknown key near none", "[via]\nport = 1", `f:2: unknown key via.port, known here: address, weight, interval, size, codes`},
		{"an unknown key in a later table", "[[targets]]\naddress='a'\n[[targets]]\nadress='a'", `f:4: unknown key targets[1].adress, did you mean address?`},
		{"an unknown key in a table of a map", "[pools.x]\nwait = 1", `f:2: unknown key pools.x.wait, known here: address, weight, interval, size, codes`},
		{"an unknown table", "[target]\naddress='a'", `f:1: unknown key target, did you mean targets?`},
		{"a field without a tag is no key", "Queues = {}", `f:1: unknown key Queues, known here: listen, admin, log_level, log_format, targets, zones, pools, ratio, offset, on, via, origin`},
		{"a field that a composition sets is no key", "dial = 1", `f:1: unknown key dial, did you mean via?`},
		{"the first of two mistakes in the order of the file", "zzz = 1\naaa = 1\n", `f:1: unknown key zzz, known here: listen, admin, log_level, log_format, targets, zones, pools, ratio, offset, on, via, origin`},
		{"a number for a string", "listen = 80", `f:1: listen is 80, expected a string`},
		{"a string for a number", "ratio = 'a'", `f:1: ratio is "a", expected a number`},
		{"a number for true", "on = 1", `f:1: on is 1, expected true or false`},
		{"a number out of range", "offset = 70000", `f:1: offset is 70000, expected an integer from -32768 to 32767`},
		{"a negative number", "via.weight = -1", `f:1: via.weight is -1, expected an integer from 0 to 255`},
		{"a fraction for an integer", "offset = 1.5", `f:1: offset is 1.5, expected an integer from -32768 to 32767`},
		{"a table for an array", "[targets]\naddress = 'a'", `f:1: targets is a table, expected an array`},
		{"an array for a table", "via = []", `f:1: via is an array, expected a table`},
		{"an array for a string", "listen = ['a']", `f:1: listen is an array, expected a string`},
		{"a table for a size", "[via.size]\na = 1", `f:1: via.size is a table, expected a string`},
		{"a wrong type in a later element", "[[targets]]\naddress='a'\nweight = 1\n\n[[targets]]\naddress='a'\nweight = '1'", `f:7: targets[1].weight is "1", expected an integer from 0 to 255`},
		{"a wrong type in a later inline table", "targets = [\n  {address='a'}, # one\n  {address=1},\n]", `f:3: targets[1].address is 1, expected a string`},
		{"a wrong type in an array in an array", "[[targets]]\naddress='a'\ncodes = [\n 1,\n\n true]", `f:6: targets[0].codes[1] is true, expected an integer`},
		{"a duration without a unit", "via.interval = 5", `f:1: via.interval is 5, expected a duration with its unit, such as "1.5s" or "300ms"`},
		{"a duration with a wrong unit", "via.interval = '5 days'", `f:1: via.interval is "5 days", expected a duration with its unit, such as "1.5s" or "300ms"`},
		{"a size in thousands", "via.size = '5MB'", `f:1: via.size is "5MB", expected a size such as "512B", "64KiB", "5MiB" or "2GiB"`},
		{"a negative size", "via.size = -1", `f:1: via.size is "-1", expected a size such as "512B", "64KiB", "5MiB" or "2GiB"`},
		{"a size that is a fraction", "via.size = 1.5", `f:1: via.size is "1.5", expected a size such as "512B", "64KiB", "5MiB" or "2GiB"`},
		{"a text that its type refuses", "origin = '1.2'", `f:1: origin is "1.2": ParseAddr("1.2"): IPv4 address too short`},
		{"a variable that is not set", "[[targets]]\naddress = '${KIT_TEST_NONE}'", `f:2: targets[0].address needs the environment variable KIT_TEST_NONE, which is not set; ${KIT_TEST_NONE-default} gives it a default`},
		{"a listen address without a port", "listen = 'host'", `f:1: listen is "host", expected host:port, as in "127.0.0.1:8001"`},
		{"a port that is none", "\nadmin = ':99999'", `f:2: admin is ":99999", expected a port from 0 to 65535 after the colon`},
		{"an unknown log level", "log_level = 'loud'", `f:1: log_level is "loud", expected "debug", "info", "warn" or "error"`},
		{"an unknown log format", "log_format = 'xml'", `f:1: log_format is "xml", expected "auto", "text" or "json"`},
		{"a value that Validate refuses", "[[targets]]\naddress='a'\n[[targets]]\n\naddress='bad'", `f:5: targets[1].address is bad`},
		{"a key that Validate misses: the line of its table", "on = false\n[[targets]]\naddress='a'\n[[targets]]\nweight=1", `f:4: targets[1].address is empty, expected host:port`},
		{"an error of Validate that is about no key", "on = true", `f: it cannot be on without a zone`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testDefaults()
			err := loadConfig("f", c.text, &cfg)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	t.Run("a bad default without a file", func(t *testing.T) {
		cfg := testDefaults()
		cfg.Ratio = 2
		err := LoadConfig("", &cfg)
		if want := "configuration: ratio is 2, expected at most 1"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
	t.Run("a missing file", func(t *testing.T) {
		err := LoadConfig(filepath.Join(t.TempDir(), "none.toml"), new(testConfig))
		if err == nil || !os.IsNotExist(unwrap(err)) {
			t.Errorf("got %v, want that it does not exist", err)
		}
	})
}

func unwrap(err error) error { return err.(interface{ Unwrap() error }).Unwrap() }

// tricky has what a line-by-line reader would take for keys and tables.
const tricky = `# [comment] a = 1
top = "# no comment"   # [x]
text = """
[not.a.table]
not = "a key" \"""
like ""this"""""
raw = '''
[no]
it's = 1'''
"quoted key" = { a = 1, 'b' = { c = [ { d = 1 }, { d = 2 } ] } }
dotted.  name . "with.dot" = 2024-01-01 10:00:00
nested = [
  ["a", "b"], # ]
  [1.5, 2e3], [], {}, ["""c"""", "]"],
  "]",
]
empty = ""
[plain]
k = 1
[[ array ]] # [[array]]
k = 1
[array.sub]
k = 1
[[array.deep]]
k = 1
[[array.deep]]
[[array]]
[[array.deep]]
  k = 1
` + "windows = 1\r\nline = 2\r\n"

func TestKeyLines(t *testing.T) {
	found := keyLines(tricky)
	for key, want := range map[string]int{
		"top": 2, "text": 3, "raw": 7, "quoted key": 10, "quoted key.a": 10, "quoted key.b.c[1].d": 10,
		"dotted": 11, "dotted.name.with.dot": 11, "nested": 12, "nested[0][1]": 13, "nested[1]": 14, "nested[3]": 14, "nested[4][1]": 14, "nested[5]": 15,
		"empty": 17, "plain": 18, "plain.k": 19, "array": 20, "array[0]": 20, "array[0].k": 21, "array[0].sub.k": 23,
		"array[0].deep[0].k": 25, "array[0].deep[1]": 26, "array[1]": 27, "array[1].deep[0].k": 29, "array[1].deep[0].line": 31,
		"not": 0, "x": 0, "a": 0, "no": 0, "it's": 0, "array[2]": 0,
	} {
		if found[key] != want {
			t.Errorf("%s is found on line %d, want %d", key, found[key], want)
		}
	}
	for key, want := range map[string]int{
		"array[1].deep[0].absent": 28, "array[1].absent[3].x": 27, "array[7]": 20, "plain.x.y": 18, "absent": 0, "": 0, "].[": 0,
	} {
		if got := found.of(key); got != want {
			t.Errorf("the nearest line to %q is %d, want %d", key, got, want)
		}
	}
}

// paths lists the keys of a decoded TOML value as keyLines names them.
func paths(value any, path string, to map[string]bool) {
	if path != "" {
		to[path] = true
	}
	switch v := value.(type) {
	case map[string]any:
		for name, value := range v {
			paths(value, strings.TrimPrefix(path+"."+name, "."), to)
		}
	case []any:
		for i, value := range v {
			paths(value, fmt.Sprintf("%s[%d]", path, i), to)
		}
	case []map[string]any:
		for i, value := range v {
			paths(value, fmt.Sprintf("%s[%d]", path, i), to)
		}
	}
}

// FuzzKeyLines holds that the scanner finds exactly the keys that the library
// finds in a valid text, and ends on any other.
func FuzzKeyLines(f *testing.F) {
	for _, seed := range []string{tricky, "a.b.c = 1", "[[a]]\n[[a.b]]\nc=[{d=1}]", "a = [[[", "[", "\"\"\"", "a={b={", "=", "a=}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		found := keyLines(text)
		var tree map[string]any
		if _, err := toml.Decode(text, &tree); err != nil || strings.ContainsAny(text, `\`) {
			return // escapes in quoted keys stay as they are written
		}
		want := map[string]bool{}
		paths(tree, "", want)
		count := strings.Count(text, "\n") + 1
		for key := range want {
			if !strings.ContainsAny(key, `"'`) && (found[key] < 1 || found[key] > count) {
				t.Errorf("%q is on line %d of %d in\n%s", key, found[key], count, text)
			}
		}
		for key := range found {
			if !want[key] && !strings.Contains(text, `"`) && !strings.Contains(text, `'`) {
				t.Errorf("%q, on line %d, is no key of\n%s", key, found[key], text)
			}
		}
	})
}

func FuzzLoadConfig(f *testing.F) {
	for _, seed := range []string{tricky, "listen = 5", "[[targets]]\naddress = 'a'\nsize = '1KiB'\ninterval = '1s'", "zones = {a = '${X-${Y}'}",
		"via = 1979-05-27", "origin = inf", "targets = [1, 'a', {}]", "[pools]\na = {codes = [9223372036854775807]}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg := testDefaults()
		err := loadConfig("f", text, &cfg)
		if err != nil && !strings.HasPrefix(err.Error(), "f:") {
			t.Errorf("%v names no file", err)
		}
	})
}

func TestBytes(t *testing.T) {
	for _, c := range []struct {
		text string
		want Bytes // -1: refused
		back string
	}{
		{"0", 0, "0B"}, {"512", 512, "512B"}, {"512B", 512, "512B"}, {"64KiB", 64 << 10, "64KiB"}, {"5 MiB", 5 << 20, "5MiB"},
		{"2GiB", 2 << 30, "2GiB"}, {"1024MiB", 1 << 30, "1GiB"}, {"1025KiB", 1025 << 10, "1025KiB"}, {"4294967296GiB", 1 << 62, "4294967296GiB"},
		{"4294967297GiB", -1, ""}, {"", -1, ""}, {"-1", -1, ""}, {"1.5MiB", -1, ""}, {"5MB", -1, ""}, {"5mib", -1, ""}, {"KiB", -1, ""}, {"1e3", -1, ""},
	} {
		t.Run(c.text, func(t *testing.T) {
			var got Bytes
			err := got.UnmarshalText([]byte(c.text))
			if c.want < 0 {
				if err == nil {
					t.Errorf("is read as %v, want an error", got)
				}
				return
			}
			if err != nil || got != c.want || got.String() != c.back {
				t.Errorf("is read as %d %v, %v; want %d %s", got, got, err, c.want, c.back)
			}
		})
	}
}

func TestKeysOfAConfiguration(t *testing.T) {
	var names []string
	for _, f := range keyFields(reflect.TypeFor[testConfig]()) {
		names = append(names, f.name)
	}
	if want := []string{"listen", "admin", "log_level", "log_format"}; !slices.Equal(names[:4], want) || slices.Contains(names, "-") {
		t.Errorf("got %v, want those of Common first, and none for a composition's field", names)
	}
}

func TestCheckRange(t *testing.T) {
	for _, test := range []struct {
		value int
		want  string
	}{{0, "is 0, expected 1 to 3"}, {1, ""}, {3, ""}, {4, "is 4, expected 1 to 3"}} {
		err := CheckRange("n", test.value, 1, 3)
		var key *KeyError
		if (err != nil) != (test.want != "") || err != nil && (!errors.As(err, &key) || key.Key != "n" || key.Msg != test.want) {
			t.Errorf("%d: got %v, expected %q", test.value, err, test.want)
		}
	}
}

func TestNetworks(t *testing.T) {
	nets, err := Networks("allow", []string{"10.1.2.3/8", "::1/128"})
	if err != nil || fmt.Sprint(nets) != "[10.0.0.0/8 ::1/128]" {
		t.Errorf("got %v %v", nets, err)
	}
	var key *KeyError
	if _, err := Networks("allow", []string{"::1/128", "10.0.0.1"}); !errors.As(err, &key) || key.Key != "allow[1]" {
		t.Errorf("got %v", err)
	}
}
