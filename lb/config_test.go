package lb

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
	routing "minicloud.internal/lb/route"
	"minicloud.internal/lb/upstream"
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

// routesOf returns what a configuration says of requests, the old table's counters
// kept.
func routesOf(t *testing.T, cfg *Config, old *routing.Table) *routing.Table {
	t.Helper()
	set := upstream.NewSet(slog.New(slog.DiscardHandler), kit.NewHealth())
	table, err := routes(cfg, set.Apply(upstreams(cfg)), old, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// wayOf says where a request goes: the route, and the pools with their targets.
func wayOf(table *routing.Table, host, path string) string {
	r := table.Match([]byte(host), []byte(path))
	way := r.Name
	for _, c := range r.Choices() {
		way += fmt.Sprintf(" %s=%d", c.Share.Pool, c.Weight)
		for _, target := range c.Pool.Targets() {
			way += " " + target.Address()
		}
	}
	return way
}

func TestConfigOfTheDesign(t *testing.T) {
	cfg, err := load(t, fromDesign)
	if err != nil {
		t.Fatal(err)
	}
	table := routesOf(t, &cfg, nil)
	const rest = "default default=1 http-api-1:8001 http-api-2:8001"
	for path, want := range map[string]string{
		"/api/spells":     rest,
		"/files":          "/files /files=1 object-storage:8007",
		"/files/a/b":      "/files /files=1 object-storage:8007",
		"/filesystem":     rest,
		"/api/files/more": rest,
	} {
		if got := wayOf(table, "example.com", path); got != want {
			t.Errorf("%s leads to %s, expected %s", path, got, want)
		}
	}
	if cfg.HealthCheckInterval != 5*time.Second {
		t.Errorf("the interval is %s by default, expected 5s", cfg.HealthCheckInterval)
	}
	if table.Match(nil, []byte("/")).Specific || !table.Match(nil, []byte("/files")).Specific {
		t.Error("a path is specific, what is left is not")
	}
	if findings := cfg.Diagnose(); len(findings) > 0 {
		t.Errorf("it is found that %q", findings)
	}
}

func TestConfigFileOfTheCloud(t *testing.T) {
	cfg := DefaultConfig()
	kittest.ConfigFile(t, "../configs/load-balancer.toml", &cfg)
	if cfg.Listen != ":80" || cfg.Admin != ":8008" || cfg.HealthCheckInterval != 2*time.Second || len(cfg.Targets) != 3 || len(cfg.PathRoutes) != 1 {
		t.Errorf("read %+v", cfg)
	}
	if findings := cfg.Diagnose(); len(findings) > 0 {
		t.Errorf("it is found that %q", findings)
	}
	t.Run("what it states of routes and pools are the defaults", func(t *testing.T) {
		design, err := load(t, fromDesign)
		if err != nil {
			t.Fatal(err)
		}
		design.HealthCheckInterval = cfg.HealthCheckInterval
		design.Targets[0].HealthCheckStatus = cfg.Targets[0].HealthCheckStatus
		cfg := cfg
		cfg.Routes = slices.DeleteFunc(slices.Clone(cfg.Routes), func(r Route) bool { return r.Host != "" }) // S3's
		if got, want := upstreams(&cfg), upstreams(&design); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		got, want := cfg.layout().rules, design.layout().rules
		for i := range got {
			got[i].Key, want[i].Key = "", ""
			got[i].RequestHeaders, got[i].ResponseHeaders = nil, nil // empty
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
	t.Run("S3 has its hosts, with the bucket in the path or in the host", func(t *testing.T) {
		table := routesOf(t, &cfg, nil)
		for _, host := range []string{"s3.example.com", "photos.s3.example.com", "a.b.s3.example.com"} {
			for _, path := range []string{"/", "/files/a", "/photos/a"} {
				if got := wayOf(table, host, path); !strings.HasSuffix(got, " object-storage:8007") {
					t.Errorf("%s%s leads to %s", host, path, got)
				}
			}
		}
		if got := wayOf(table, "example.com", "/photos/a"); strings.Contains(got, "object-storage") {
			t.Errorf("example.com/photos/a leads to %s", got)
		}
	})
	t.Run("the scalars are those that it calls defaults", func(t *testing.T) {
		text, err := os.ReadFile("../configs/load-balancer.toml")
		if err != nil {
			t.Fatal(err)
		}
		scalars, _, _ := strings.Cut(string(text), "[[")
		read, err := load(t, scalars+fromDesign)
		if err != nil {
			t.Fatal(err)
		}
		want, err := load(t, fromDesign)
		if err != nil {
			t.Fatal(err)
		}
		want.Admin, want.LogFormat, want.HealthCheckInterval = ":8008", "text", 2*time.Second
		want.TrustedProxies, want.Dir, want.File = []Network{}, read.Dir, read.File
		if !reflect.DeepEqual(read, want) {
			t.Errorf("got  %+v\nwant %+v", read, want)
		}
	})
}

func TestReadme(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(b)
	t.Run("its example is valid", func(t *testing.T) {
		_, example, _ := strings.Cut(readme, "```toml\n")
		example, _, found := strings.Cut(example, "```\n")
		if cfg, err := load(t, example); err != nil || !found || len(cfg.Targets) != 2 {
			t.Errorf("%+v, %v", cfg.Targets, err)
		}
	})
	t.Run("its routes are valid, and lead where it says", func(t *testing.T) {
		_, example, _ := strings.Cut(readme, "    [[pools]]\n")
		example, _, _ = strings.Cut("    [[pools]]\n"+example, "\n\n**")
		cfg, err := load(t, "[[targets]]\naddress = \"a:1\"\n"+example)
		if err != nil {
			t.Fatal(err)
		}
		if findings := cfg.Diagnose(); len(findings) > 0 {
			t.Errorf("it is found that %q", findings)
		}
		table := routesOf(t, &cfg, nil)
		r := table.Match([]byte("api.example.com"), []byte("/v2/a"))
		if got := wayOf(table, "api.example.com", "/v2/a"); got != "api.example.com/v2 canary=5 api-3:8001 stable=95 api-1:8001 api-2:8001" || string(r.AppendPath(nil, []byte("/v2/a"))) != "/a" {
			t.Errorf("it leads to %s", got)
		}
		if got, ok := table.Match([]byte("www.example.com"), []byte("/v2/a")).AppendLocation(nil, nil, []byte("/v2/a"), []byte("b")); !ok || string(got) != "https://example.com/v2/a?b" {
			t.Errorf("it redirects to %s", got)
		}
	})
	t.Run("it has every key", func(t *testing.T) {
		kittest.Readme(t, "README.md", new(Config))
	})
}

func TestReadmeHasEveryMetric(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := New(patient("a:1"), slog.New(newLogbook()), reg); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil || len(families) < 20 {
		t.Fatalf("%d metrics, %v", len(families), err)
	}
	var metrics []string
	for _, f := range families {
		metrics = append(metrics, f.GetName())
	}
	kittest.Readme(t, "README.md", new(Config), metrics...)
}

// everything is a configuration in which every key has another value than its
// default.
const everything = `
balance = "least_connections"
hash = "header:X-User"
queue_length = 7
queue_timeout = "2s"
fail_open = true
slow_start = "30s"
retries = 1
retry_budget = 10
health_check_interval = "3s"
health_check_timeout = "2s"
fall = 4
rise = 3
request_head_timeout = "1s"
keep_alive_timeout = "2s"
dial_timeout = "3s"
response_header_timeout = "4s"
body_idle_timeout = "5s"
tunnel_idle_timeout = "6s"
drain_timeout = "7s"
max_idle_connections = 8
idle_connection_timeout = "9s"
max_connections = 10
max_line = 1024
max_head = "2KiB"
max_fields = 12
max_body = "1MiB"
trusted_proxies = ["10.0.0.0/8", "::1", "192.0.2.1"]
access_log = false
watch = "0s"
reuse_port = true

[[targets]]
address = "a:1"
health_check_endpoint = "/ready?x"
health_check_status = "200,204-205"
health_check_body = "fine"
weight = 5
max_connections = 100
slow_start = "0s"

[[targets]]
address = "b:1"

[[path_routes]]
path = "/files/"
address = "c:1"

[[path_routes]]
path = "/files"
address = "A:1"

[[pools]]
name = "web"
targets = ["d:1", "b:1"]
balance = "hash"
hash = "client"
queue_length = 0
queue_timeout = "1s"
fail_open = false

[[pools]]
name = "canary"
targets = ["e:1"]

[[routes]]
host = "*.Example.com"
path = "/app"
split = {web = 90, canary = 10}
strip_prefix = "/app"
rewrite_host = "app.internal:8080"
request_headers = {X-Site = "example", X-Debug = ""}
response_headers = {Server = ""}
response_header_timeout = "1m"
body_idle_timeout = "2m"
max_body = 0
retries = 0
rate_limit = "90/m"
rate_burst = 4

[[routes]]
host = "direct.example.com"
targets = ["f:1", "a:1"]
rate_limit = "10/s"

[[routes]]
path = "/old"
redirect = "/new{path}{query}"

[[routes]]
pool = "web"
`

func TestConfigReadsEveryKey(t *testing.T) {
	cfg, err := load(t, everything)
	if err != nil {
		t.Fatal(err)
	}
	read, defaults := reflect.ValueOf(cfg), reflect.ValueOf(DefaultConfig())
	for _, f := range reflect.VisibleFields(read.Type()) {
		if f.Tag.Get("toml") != "-" && !f.Anonymous && len(f.Index) == 1 && reflect.DeepEqual(read.FieldByIndex(f.Index).Interface(), defaults.FieldByIndex(f.Index).Interface()) {
			t.Errorf("%s has its default", f.Name)
		}
	}
	if got := fmt.Sprint(cfg.TrustedProxies); got != "[10.0.0.0/8 ::1/128 192.0.2.1/32]" {
		t.Errorf("the trusted proxies are %s", got)
	}
}

func TestUpstreams(t *testing.T) {
	cfg, err := load(t, everything)
	if err != nil {
		t.Fatal(err)
	}
	status, err := upstream.ParseStatusSet("200,204,205")
	if err != nil {
		t.Fatal(err)
	}
	plain := upstream.TargetConfig{
		Health: upstream.Health{Endpoint: "/healthz", Interval: 3 * time.Second, Timeout: 2 * time.Second, Rise: 3, Fall: 4},
		Weight: 1, SlowStart: 30 * time.Second, MaxIdle: 8, IdleTimeout: 9 * time.Second,
	}
	at := func(address string) upstream.TargetConfig {
		t := plain
		t.Address = address
		return t
	}
	a := at("a:1")
	a.Health.Endpoint, a.Health.Status, a.Health.Body = "/ready?x", status, "fine"
	a.Weight, a.MaxConnections, a.SlowStart = 5, 100, 0
	pool := func(name string, targets ...string) upstream.PoolConfig {
		return upstream.PoolConfig{Name: name, Policy: upstream.LeastConnections, Targets: targets, QueueLength: 7, QueueTimeout: 2 * time.Second, FailOpen: true, RetryBudget: 10}
	}
	want := upstream.Config{
		Targets: []upstream.TargetConfig{a, at("b:1"), at("d:1"), at("e:1"), at("c:1"), at("f:1")},
		Pools: []upstream.PoolConfig{
			{Name: "web", Policy: upstream.Hash, Targets: []string{"d:1", "b:1"}, QueueTimeout: time.Second, RetryBudget: 10},
			pool("canary", "e:1"),
			pool("/files", "c:1", "A:1"),
			pool("direct.example.com/", "f:1", "a:1"),
		},
	}
	if got := upstreams(&cfg); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestRoutes(t *testing.T) {
	cfg, err := load(t, everything)
	if err != nil {
		t.Fatal(err)
	}
	table := routesOf(t, &cfg, nil)
	for _, c := range []struct{ host, path, want string }{
		{"www.example.com", "/app/x", "*.example.com/app canary=10 e:1 web=90 d:1 b:1"},
		{"direct.example.com", "/", "direct.example.com/ direct.example.com/=1 f:1 a:1"},
		{"", "/files/x", "/files /files=1 c:1 a:1"},
		{"", "/old", "/old"},
		{"", "/", "default web=1 d:1 b:1"},
	} {
		if got := wayOf(table, c.host, c.path); got != c.want {
			t.Errorf("%s of %s leads to %s, expected %s", c.path, c.host, got, c.want)
		}
	}
	app, files, old := table.Named("*.example.com/app"), table.Named("/files"), table.Named("/old")
	if app.ResponseHeaderTimeout != time.Minute || app.BodyIdleTimeout != 2*time.Minute || app.MaxBody != 0 || app.Retries != 0 ||
		app.RewriteHost != "app.internal:8080" || app.Rule.Rate != (routing.Rate{PerSecond: 1.5, Burst: 4}) || app.Rate == nil {
		t.Errorf("a route does not keep its own settings: %+v", app)
	}
	if string(app.RequestHeaders.Append(nil)) != "X-Site: example\r\n" || !app.RequestHeaders.Removes([]byte("x-debug")) || !app.ResponseHeaders.Removes([]byte("server")) {
		t.Error("the fields are not changed")
	}
	if files.ResponseHeaderTimeout != 4*time.Second || files.BodyIdleTimeout != 5*time.Second || files.MaxBody != 1<<20 || files.Retries != 1 || files.Rate != nil {
		t.Errorf("a route does not have the global settings: %+v", files)
	}
	if old.RedirectStatus != 307 || len(old.Choices()) != 0 {
		t.Errorf("the redirect has status %d", old.RedirectStatus)
	}
	if burst := table.Named("direct.example.com/").Rule.Rate.Burst; burst != 10 {
		t.Errorf("the burst is %d, expected as many as in a second", burst)
	}
	keys := map[string]string{}
	for _, r := range table.Routes() {
		for _, c := range r.Choices() {
			keys[c.Share.Pool] = c.Key.Header
		}
	}
	if want := (map[string]string{"web": "", "canary": "X-User", "/files": "X-User", "direct.example.com/": "X-User"}); !maps.Equal(keys, want) {
		t.Errorf("pools hash %q, expected %q", keys, want)
	}
	t.Run("a reload keeps the counters and limiters of what stays", func(t *testing.T) {
		cfg.Routes[0].Retries = nil
		next := routesOf(t, &cfg, table)
		if after := next.Named(app.Name); after.Requests != app.Requests || after.Rate != app.Rate || after.Retries != 1 {
			t.Error("they begin anew, or the route is the old one")
		}
	})
}

func TestTheDefaultPool(t *testing.T) {
	const targets = "[[targets]]\naddress = \"a:1\"\n[[targets]]\naddress = \"b:1\"\n"
	for _, c := range []struct{ name, text, want string }{
		{"has the targets that no route names", targets + "[[path_routes]]\npath = \"/x\"\naddress = \"B:1\"\n", "default default=1 a:1"},
		{"does not have those that a route of its own names", targets + "[[routes]]\npath = \"/x\"\ntargets = [\"a:1\"]\n", "default default=1 b:1"},
		{"does not have those of another pool", targets + "[[pools]]\nname = \"p\"\ntargets = [\"a:1\"]\n", "default default=1 b:1"},
		{"may be named, for its settings", targets + "[[pools]]\nname = \"default\"\nbalance = \"random_two\"\n", "default default=1 a:1 b:1"},
		{"may have its own addresses", targets + "[[pools]]\nname = \"default\"\ntargets = [\"b:1\"]\n", "default default=1 b:1"},
		{"may be one of a split", targets + "[[pools]]\nname = \"p\"\ntargets = [\"b:1\"]\n[[routes]]\nsplit = {default = 9, p = 1}\n", "default default=9 a:1 p=1 b:1"},
		{"gives way to a route for what is left", targets + "[[routes]]\ntargets = [\"c:1\"]\n", "default default=1 c:1"},
		{"may be empty", "[[path_routes]]\npath = \"/x\"\naddress = \"B:1\"\n", "default default=1"},
		{"gives way to a route for every path", targets + "[[path_routes]]\npath = \"/\"\naddress = \"c:1\"\n", "/ /=1 c:1"},
		{"gives way to a redirect", "[[routes]]\nredirect = \"https://{host}{path}{query}\"\n", "default"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := load(t, c.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := wayOf(routesOf(t, &cfg, nil), "", "/"); got != c.want {
				t.Errorf("what is left goes to %s, expected %s", got, c.want)
			}
		})
	}
	t.Run("has the settings under its name", func(t *testing.T) {
		cfg, err := load(t, targets+"[[pools]]\nname = \"default\"\nbalance = \"random_two\"\n")
		if err != nil {
			t.Fatal(err)
		}
		if pools := upstreams(&cfg).Pools; len(pools) != 1 || pools[0].Policy != upstream.RandomTwo {
			t.Errorf("the pools are %+v", pools)
		}
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
	u := upstreams(&cfg)
	var targets []string
	for _, target := range u.Targets {
		targets = append(targets, target.Address)
		if target.Health.Endpoint != "/healthz" {
			t.Errorf("%s is probed at %q, expected /healthz", target.Address, target.Health.Endpoint)
		}
	}
	if !slices.Equal(targets, []string{"a:1", "b:1"}) {
		t.Errorf("the targets are %v, expected each address once", targets)
	}
	if got, want := wayOf(routesOf(t, &cfg, nil), "", "/files"), "/files /files=1 a:1 b:1"; got != want {
		t.Errorf("/files leads to %s, expected both of its routes: %s", got, want)
	}
}

func TestDiagnose(t *testing.T) {
	const target = "[[targets]]\naddress = \"a:1\"\n"
	pool := func(name string, more string) string {
		return "[[pools]]\nname = \"" + name + "\"\ntargets = [\"p:1\", \"q:1\"]\n" + more
	}
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"nothing is said of what all has its use", strings.Replace(everything, "host = \"direct.example.com\"", "path = \"/direct\"", 1), nil},
		{"a pool that no route leads to", target + pool("p", ""), []string{"pools[0] (p): no route leads to this pool"}},
		{"a default pool that no route leads to", "[[targets]]\naddress = \"a:1\"\n[[pools]]\nname = \"default\"\n[[routes]]\nredirect = \"https://a.org/\"\n",
			[]string{"pools[0] (default): no route leads to this pool", "targets[0] (a:1): no route leads to this target, it is only probed"}},
		{"a target that no route leads to", target + "[[routes]]\ntargets = [\"b:1\"]\n",
			[]string{"targets[0] (a:1): no route leads to this target, it is only probed"}},
		{"a target of a pool that no route leads to", "[[targets]]\naddress = \"p:1\"\n" + target + pool("p", ""),
			[]string{"pools[0] (p): no route leads to this pool", "targets[0] (p:1): no route leads to this target, it is only probed"}},
		{"nobody for what no route matches", "[[path_routes]]\npath = \"/a\"\naddress = \"a:1\"\n",
			[]string{"targets (default): no target is left for what no route matches; such requests get 503"}},
		{"targets behind a route for everything", target + "[[path_routes]]\npath = \"/\"\naddress = \"b:1\"\n",
			[]string{"targets (default): no request gets here, path_routes[0] (/) takes every path of every host"}},
		{"a hash without its balance", target + pool("p", "hash = \"header:X-User\"\n[[routes]]\npath = \"/p\"\npool = \"p\"\n"),
			[]string{"pools[0] (p): hash has no effect, the balance is round_robin"}},
		{"a hash for everybody without its balance", "hash = \"header:X-User\"\n" + target, []string{"hash: it has no effect, no pool has the balance hash"}},
		{"two paths with the same addresses", target + "[[path_routes]]\npath = \"/a\"\naddress = \"b:1\"\n[[path_routes]]\npath = \"/a/b\"\naddress = \"b:1\"\n",
			[]string{"path_routes[1] (/a/b): it says the same as path_routes[0] (/a), which has these requests without it"}},
		{"a pool and the same addresses otherwise", target + pool("p", "[[routes]]\npath = \"/a\"\npool = \"p\"\n[[routes]]\npath = \"/a/b\"\ntargets = [\"q:1\", \"p:1\"]\n"),
			[]string{"routes[1] (/a/b): it says the same as routes[0] (/a), which has these requests without it"}},
		{"a host before a longer path", target + "[[routes]]\nhost = \"a.org\"\ntargets = [\"b:1\"]\n[[path_routes]]\npath = \"/x\"\naddress = \"c:1\"\n",
			[]string{"routes[0] (a.org/): for its host it takes the requests of path_routes[0] (/x): the host goes before the length of the path"}},
		{"a redirect to itself", target + "[[routes]]\npath = \"/a\"\nredirect = \"/a\"\n",
			[]string{"routes[0] (/a): its redirect leads back to it: /a/_ -> /a"}},
		{"a route for the load balancer's own health", target + "[[path_routes]]\npath = \"/healthz/\"\naddress = \"b:1\"\n",
			[]string{"path_routes[0] (/healthz): GET /healthz is answered by the load balancer, for itself"}},
		{"trust in everybody", "trusted_proxies = [\"10.0.0.0/8\", \"0.0.0.0/0\"]\n" + target,
			[]string{"trusted_proxies[1] (0.0.0.0/0): everybody may say who they are"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := load(t, c.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.Diagnose(); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	const (
		target = "[[targets]]\naddress = \"a:1\"\n"
		pool   = "[[pools]]\nname = \"p\"\ntargets = [\"a:1\"]\n"
		route  = "[[routes]]\npath = \"/a\"\npool = \"default\"\n"
	)
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
		"fall of zero":               {"fall = 0\n", `lb.toml:1: fall is 0, expected 1 to 100`},
		"too many retries":           {"retries = 11\n", `lb.toml:1: retries is 11, expected 0 to 10`},
		"no idle connections":        {"max_idle_connections = 0\n", `lb.toml:1: max_idle_connections is 0, expected 1 to 100000`},
		"a queue that is too long":   {"queue_length = 1000001\n", `lb.toml:1: queue_length is 1000001, expected 0 to 1000000`},
		"a budget over all":          {"retry_budget = 101\n", `lb.toml:1: retry_budget is 101, expected 0 to 100`},
		"room for no client":         {"max_connections = 0\n", `lb.toml:1: max_connections is 0, expected 1 to 1000000`},
		"room for too few fields":    {"max_fields = 9\n", `lb.toml:1: max_fields is 9, expected 10 to 10000`},
		"a line that is too short":   {"max_line = \"100B\"\n", `lb.toml:1: max_line is 100B, expected 512B to 1MiB`},
		"a head below its line":      {"max_head = \"4KiB\"\n", `lb.toml:1: max_head is 4KiB, expected at least max_line, which is 8KiB`},
		"a head that is too long":    {"max_head = \"2MiB\"\n", `lb.toml:1: max_head is 2MiB, expected 8KiB to 1MiB`},
		"a size without its unit":    {"max_body = \"10MB\"\n", `lb.toml:1: max_body is "10MB", expected a size…`},
		"a slow start of a blink":    {"slow_start = \"1ns\"\n", `lb.toml:1: slow_start is 1ns, expected at least 1ms, with a unit, as in "5s", or "0s"`},
		"a look at all times":        {"watch = \"-1s\"\n", `lb.toml:1: watch is -1s, expected at least 1ms, with a unit, as in "5s", or "0s"`},
		"an unknown balance":         {"balance = \"fair\"\n", `lb.toml:1: balance is "fair", expected "round_robin", "least_connections", "random_two" or "hash"`},
		"an unknown hash":            {"hash = \"cookie\"\n", `lb.toml:1: hash is "cookie", expected "client" or the name of a field, as in "header:X-User"`},
		"a hash of no field":         {"hash = \"header:X User\"\n", `lb.toml:1: hash is "header:X User", expected "client" or the name of a field, as in "header:X-User"`},
		"a network that is none":     {"trusted_proxies = [\"10.0.0.0/33\"]\n", `lb.toml:1: trusted_proxies[0] is "10.0.0.0/33", expected a network or an address, as in "10.0.0.0/8" or "2001:db8::1"`},
		"an address with a zone":     {"trusted_proxies = [\"fe80::1%eth0\"]\n", `lb.toml:1: trusted_proxies[0] is "fe80::1%eth0", expected a network or an address, as in "10.0.0.0/8" or "2001:db8::1"`},
		"a network in two alphabets": {"trusted_proxies = [\"::ffff:10.0.0.0/104\"]\n", `lb.toml:1: trusted_proxies[0] is "::ffff:10.0.0.0/104", expected a network or an address, as in "10.0.0.0/8" or "2001:db8::1"`},
		"a network from its midst":   {"trusted_proxies = [\"10.1.2.3/8\"]\n", `lb.toml:1: trusted_proxies[0] is "10.1.2.3/8", expected the first address of the network, "10.0.0.0/8"`},

		"a target without weight":        {target + "weight = 0\n", `lb.toml:3: targets[0].weight is 0, expected 1 to 256; to keep requests from a target, drain it or take it out`},
		"a target too heavy":             {target + "weight = 257\n", `lb.toml:3: targets[0].weight is 257, expected 1 to 256`},
		"a target with places below 0":   {target + "max_connections = -1\n", `lb.toml:3: targets[0].max_connections is -1, expected 0 to 1000000`},
		"a target's start of a blink":    {target + "slow_start = \"1us\"\n", `lb.toml:3: targets[0].slow_start is 1µs, expected at least 1ms, with a unit, as in "5s", or "0s"`},
		"a status that no answer has":    {target + "health_check_status = \"99\"\n", `lb.toml:3: targets[0].health_check_status is "99": …`},
		"a pool without a name":          {"[[pools]]\ntargets = [\"a:1\"]\n", `lb.toml:1: pools[0].name is "", expected at most 63 letters, digits, "-", "_" or "."`},
		"a pool with a path for a name":  {"[[pools]]\nname = \"/a\"\n", `lb.toml:2: pools[0].name is "/a", expected at most 63 letters, digits, "-", "_" or "."`},
		"a pool twice":                   {pool + pool, `lb.toml:5: pools[1].name is "p", as pools[0].name is already; each pool stands once`},
		"a pool of nobody":               {"[[pools]]\nname = \"p\"\n", `lb.toml:1: pools[0].targets is empty, expected addresses, as in ["http-api-1:8001", "http-api-2:8001"]`},
		"a pool with half an address":    {"[[pools]]\nname = \"p\"\ntargets = [\"a:1\", \"b\"]\n", `lb.toml:3: pools[0].targets[1] is "b", expected host:port, as in "127.0.0.1:8001"`},
		"a pool with an address twice":   {"[[pools]]\nname = \"p\"\ntargets = [\"a:1\", \"A:1\"]\n", `lb.toml:3: pools[0].targets[1] is "A:1", which stands there already; a pool holds each address once`},
		"a pool with an unknown balance": {pool + "balance = \"x\"\n", `lb.toml:4: pools[0].balance is "x", expected "round_robin", "least_connections", "random_two" or "hash"`},
		"a pool with an unknown hash":    {pool + "hash = \"x\"\n", `lb.toml:4: pools[0].hash is "x", expected "client" or the name of a field, as in "header:X-User"`},
		"a pool with a queue below 0":    {pool + "queue_length = -1\n", `lb.toml:4: pools[0].queue_length is -1, expected 0 to 1000000`},
		"a pool with no time to queue":   {pool + "queue_timeout = \"1ns\"\n", `lb.toml:4: pools[0].queue_timeout is 1ns, expected at least 1ms, with a unit, as in "5s", or "0s"`},

		"a route to nobody":              {"[[routes]]\npath = \"/a\"\n", `lb.toml:1: routes[0] leads nowhere, expected a pool, a split, targets or a redirect`},
		"a route in two directions":      {"[[routes]]\npool = \"default\"\nredirect = \"/\"\n", `lb.toml:1: routes[0] has several of pool, split, targets and redirect, expected one`},
		"a route to an unknown pool":     {pool + "[[routes]]\npool = \"q\"\n", `lb.toml:5: routes[0].pool is "q", expected the name of one of [[pools]]: default, p`},
		"a split with an unknown pool":   {pool + "[[routes]]\nsplit = {p = 1, q = 1}\n", `lb.toml:5: routes[0].split.q names no pool, expected the name of one of [[pools]]: default, p`},
		"a split for nobody":             {pool + "[[routes]]\nsplit = {p = 0}\n", `lb.toml:5: routes[0].split gives no pool any request, expected a weight above 0`},
		"a share that is too large":      {pool + "[[routes]]\nsplit = {p = 1001}\n", `lb.toml:5: routes[0].split.p is 1001, expected 0 to 1000`},
		"a route with half an address":   {"[[routes]]\ntargets = [\"a\"]\n", `lb.toml:2: routes[0].targets[0] is "a", expected host:port, as in "127.0.0.1:8001"`},
		"a route for half a path":        {"[[routes]]\npath = \"a\"\npool = \"default\"\n", `lb.toml:2: routes[0].path is "a", expected a path that begins with "/", as in "/files"`},
		"a route for a host and port":    {"[[routes]]\nhost = \"a:80\"\npool = \"default\"\n", `lb.toml:2: routes[0].host is "a:80", expected a host without a port, …`},
		"a route for one path twice":     {route + route, `lb.toml:4: routes[1] is for the path "/a", as routes[0] is already; each route stands once`},
		"a route for a path's route":     {route + "[[path_routes]]\npath = \"/a/\"\naddress = \"a:1\"\n", `lb.toml:1: routes[0] is for the path "/a", as path_routes[0] is already; each route stands once`},
		"a field of the hop":             {route + "request_headers = {Connection = \"x\"}\n", `lb.toml:4: routes[0].request_headers.Connection cannot be set or removed: the field is hop-by-hop`},
		"a field of the framing":         {route + "[routes.response_headers]\nContent-Length = \"\"\n", `lb.toml:5: routes[0].response_headers.Content-Length cannot be set or removed: the field is framing`},
		"a redirect to anywhere":         {"[[routes]]\nredirect = \"//{host}\"\n", `lb.toml:2: routes[0].redirect is "//{host}", expected it to begin with "https://", "http://", "/" or "{path}"`},
		"a redirect with a wrong status": {"[[routes]]\nredirect = \"/\"\nredirect_status = 200\n", `lb.toml:3: routes[0].redirect_status is 200, expected 301, 302, 303, 307 or 308`},
		"targets beside their pool":      {"[[pools]]\nname = \"default\"\n[[routes]]\ntargets = [\"a:1\"]\n", `lb.toml:4: routes[0].targets are those of what no route matches, for which there is the pool "default" already; name them there`},
		"a status without a redirect":    {route + "redirect_status = 301\n", `lb.toml:4: routes[0].redirect_status is 301, and there is no redirect`},
		"a route without time":           {route + "response_header_timeout = \"1ns\"\n", `lb.toml:4: routes[0].response_header_timeout is 1ns, expected at least 1ms…`},
		"a route with too many retries":  {route + "retries = 11\n", `lb.toml:4: routes[0].retries is 11, expected 0 to 10`},
		"a rate without a unit":          {route + "rate_limit = 10\n", `lb.toml:4: routes[0].rate_limit is "10", expected a number of requests and a unit of time, as in "10/s", "600/m" or "1000/h"`},
		"a rate of nothing":              {route + "rate_limit = \"0/s\"\n", `lb.toml:4: routes[0].rate_limit is "0/s", expected a number of requests and a unit of time, as in "10/s", "600/m" or "1000/h"`},
		"a rate that limits nobody":      {route + "rate_limit = \"2000000/s\"\n", `lb.toml:4: routes[0].rate_limit is 2e+06 per second, expected at most a million`},
		"a burst that is too large":      {route + "rate_limit = \"1/s\"\nrate_burst = 100001\n", `lb.toml:5: routes[0].rate_burst is 100001, expected 1 to 100000`},
		"a burst without a rate":         {route + "rate_burst = 1\n", `lb.toml:4: routes[0].rate_burst is 1, and there is no rate_limit`},
		"a prefix that is no path":       {route + "strip_prefix = \"a\"\n", `lb.toml:4: routes[0].strip_prefix is "a", expected a path that begins with "/", as in "/files"`},
		"a host that ends the line":      {route + "rewrite_host = \"a\\r\\nb\"\n", `lb.toml:4: routes[0].rewrite_host is "a\r\nb", expected a host…`},
		"a route's wrong key":            {route + "rewrite = \"a\"\n", `lb.toml:4: unknown key routes[0].rewrite…`},

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
