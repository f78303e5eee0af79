package lb

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

// fromDesign is the configuration that the design promises to take as it stands.
const fromDesign = `# Load-balanced targets
[[targets]]
address = "http-api-1:8001"
health_check_endpoint = "/healthz"

[[targets]]
address = "http-api-2:8001"
health_check_endpoint = "/healthz"

[[targets]]
address = "object-storage:8007"
health_check_endpoint = "/healthz"

# Path-based routing configuration
# Each entry specifies a path prefix and the address of the service for that path.
[[path_routes]]
path = "/files"
address = "object-storage:8007"
`

func load(t *testing.T, text string) (Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lb.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	err := kit.LoadConfig(file, &cfg)
	if err != nil {
		err = &trimmed{strings.ReplaceAll(err.Error(), file, "lb.toml")}
	}
	return cfg, err
}

type trimmed struct{ s string }

func (e *trimmed) Error() string { return e.s }

func TestConfigOfTheDesign(t *testing.T) {
	cfg, err := load(t, fromDesign)
	if err != nil {
		t.Fatal(err)
	}
	_, table := build(&cfg, newMetrics(nil))
	for path, want := range map[string][]string{
		"/api/spells":     {"http-api-1:8001", "http-api-2:8001"},
		"/files":          {"object-storage:8007"},
		"/files/a/b":      {"object-storage:8007"},
		"/filesystem":     {"http-api-1:8001", "http-api-2:8001"},
		"/api/files/more": {"http-api-1:8001", "http-api-2:8001"},
	} {
		if got := addresses(table.match(path).pool.targets); !reflect.DeepEqual(got, want) {
			t.Errorf("%s leads to %v, expected %v", path, got, want)
		}
	}
	if cfg.HealthCheckInterval != 5*time.Second {
		t.Errorf("the interval is %s by default, expected 5s", cfg.HealthCheckInterval)
	}
}

func TestConfigFileOfTheCloud(t *testing.T) {
	cfg := DefaultConfig()
	kittest.ConfigFile(t, "../configs/load-balancer.toml", &cfg)
	if cfg.Listen != ":80" || cfg.Admin != ":8008" || cfg.HealthCheckInterval != 2*time.Second || len(cfg.Targets) != 3 || len(cfg.PathRoutes) != 1 {
		t.Errorf("read %+v", cfg)
	}
}

func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("its example is valid", func(t *testing.T) {
		_, example, _ := strings.Cut(string(readme), "```toml\n")
		example, _, found := strings.Cut(example, "```\n")
		if cfg, err := load(t, example); err != nil || !found || len(cfg.Targets) != 2 {
			t.Errorf("%+v, %v", cfg.Targets, err)
		}
	})
	t.Run("it has every key and metric", func(t *testing.T) {
		reg := prometheus.NewRegistry()
		cfg := patient("a:1")
		build(&cfg, newMetrics(reg))
		families, err := reg.Gather()
		if err != nil || len(families) < 7 {
			t.Fatalf("%d metrics, %v", len(families), err)
		}
		var metrics []string
		for _, f := range families {
			metrics = append(metrics, f.GetName())
		}
		kittest.Readme(t, "README.md", &cfg, metrics...)
	})
}

func TestConfigPools(t *testing.T) {
	cfg, err := load(t, `
[[path_routes]]
path = "/files/"
address = "a:1"
[[path_routes]]
path = "/files/deep"
address = "b:1"
[[path_routes]]
path = "/files"
address = "b:1"
`)
	if err != nil {
		t.Fatal(err)
	}
	targets, table := build(&cfg, newMetrics(nil))
	if got := addresses(targets); !reflect.DeepEqual(got, []string{"a:1", "b:1"}) {
		t.Errorf("the targets are %v, expected each address once", got)
	}
	if got := addresses(table.match("/files").pool.targets); !reflect.DeepEqual(got, []string{"a:1", "b:1"}) {
		t.Errorf("the pool of /files is %v, expected both of its routes", got)
	}
	if got := targets[0].endpoint; got != "/healthz" {
		t.Errorf("a route's own target is probed at %q, expected /healthz", got)
	}
}

func TestConfigErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no targets at all": {
			``, `lb.toml: targets is empty, expected at least one [[targets]] with an address, as in "http-api-1:8001"`},
		"an address without a port": {
			"[[targets]]\naddress = \"a:1\"\n[[targets]]\naddress = \"http-api-2\"\n",
			`lb.toml:4: targets[1].address is "http-api-2", expected host:port, as in "127.0.0.1:8001"`},
		"an address without a host": {
			"[[targets]]\naddress = \":8001\"\n",
			`lb.toml:2: targets[0].address is ":8001", expected a host and a port to connect to, as in "http-api-1:8001"`},
		"port 0": {
			"[[targets]]\naddress = \"a:0\"\n",
			`lb.toml:2: targets[0].address is "a:0", expected a host and a port to connect to, as in "http-api-1:8001"`},
		"a target without an address": {
			"[[targets]]\nhealth_check_endpoint = \"/healthz\"\n",
			`lb.toml:1: targets[0].address is "", expected host:port, as in "127.0.0.1:8001"`},
		"a target twice": {
			"[[targets]]\naddress = \"a:1\"\n\n[[targets]]\naddress = \"A:1\"\n",
			`lb.toml:5: targets[1].address is "A:1", as targets[0].address is already; each target stands once`},
		"a check that is no path": {
			"[[targets]]\naddress = \"a:1\"\nhealth_check_endpoint = \"healthz\"\n",
			`lb.toml:3: targets[0].health_check_endpoint is "healthz", expected a path, as in "/healthz"`},
		"a route without a slash": {
			"[[path_routes]]\npath = \"files\"\naddress = \"a:1\"\n",
			`lb.toml:2: path_routes[0].path is "files", expected a path that begins with "/", as in "/files"`},
		"a route that no path can match": {
			"[[path_routes]]\npath = \"/files/../a\"\naddress = \"a:1\"\n",
			`lb.toml:2: path_routes[0].path is "/files/../a", expected a plain path, as in "/files": no "//", no "." or ".." segment, no query, and percent-encoded only what has to be`},
		"a route with a query": {
			"[[path_routes]]\npath = \"/files?x\"\naddress = \"a:1\"\n",
			`lb.toml:2: path_routes[0].path is "/files?x", expected a plain path, as in "/files": no "//", no "." or ".." segment, no query, and percent-encoded only what has to be`},
		"a route's address without a port": {
			"[[path_routes]]\npath = \"/files\"\naddress = \"a\"\n",
			`lb.toml:3: path_routes[0].address is "a", expected host:port, as in "127.0.0.1:8001"`},
		"a route twice": {
			"[[path_routes]]\npath = \"/files\"\naddress = \"a:1\"\n[[path_routes]]\npath = \"/files/\"\naddress = \"a:1\"\n",
			`lb.toml:6: path_routes[1].address is "a:1" for the path "/files/", as in path_routes[0] already; a pool holds each address once`},
		"a duration without a unit": {
			"health_check_interval = 5\n",
			`lb.toml:1: health_check_interval is 5…`},
		"a duration of zero": {
			"drain_timeout = \"0s\"\n",
			`lb.toml:1: drain_timeout is 0s, expected at least 1ms, with a unit, as in "5s"`},
		"fall of zero":         {"fall = 0\n", `lb.toml:1: fall is 0, expected 1 to 100`},
		"too many retries":     {"retries = 11\n", `lb.toml:1: retries is 11, expected 0 to 10`},
		"no idle connections":  {"max_idle_connections = 0\n", `lb.toml:1: max_idle_connections is 0, expected 1 to 100000`},
		"a key with a typo":    {"retrys = 1\n", `lb.toml:1: unknown key retrys…`},
		"a target's wrong key": {"[[targets]]\nadress = \"a:1\"\n", `lb.toml:2: unknown key targets[0].adress…`},
		"a wrong type":         {"access_log = \"yes\"\n", `lb.toml:1: access_log …`},
		"a bad listen address": {"listen = \"80\"\n", `lb.toml:1: listen is "80", expected host:port, as in "127.0.0.1:8001"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, c.text)
			// The end of a sentence that kit writes is kit's to test.
			begin, cut := strings.CutSuffix(c.want, "…")
			if err == nil || !strings.HasPrefix(err.Error(), begin) || !cut && err.Error() != begin {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}
