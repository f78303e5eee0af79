package lb

import (
	"cmp"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"minicloud.internal/kit"
	routing "minicloud.internal/lb/route"
	"minicloud.internal/lb/upstream"
)

// Validate returns the first bad value as a [kit.KeyError].
func (c *Config) Validate() error {
	for _, check := range []func() error{
		c.validateDurations, c.validateCounts, c.validateBalance, c.validateTargets, c.validatePools, c.validatePathRoutes, c.validateRoutes,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return routing.CheckAll(c.layout().rules)
}

func (c *Config) validateDurations() error {
	for _, d := range []struct {
		key   string
		value time.Duration
		off   bool // 0 is a value too
	}{
		{"queue_timeout", c.QueueTimeout, false},
		{"health_check_interval", c.HealthCheckInterval, false},
		{"health_check_timeout", c.HealthCheckTimeout, false},
		{"slow_start", c.SlowStart, true},
		{"request_head_timeout", c.RequestHeadTimeout, false},
		{"keep_alive_timeout", c.KeepAliveTimeout, false},
		{"dial_timeout", c.DialTimeout, false},
		{"response_header_timeout", c.ResponseHeaderTimeout, false},
		{"body_idle_timeout", c.BodyIdleTimeout, false},
		{"tunnel_idle_timeout", c.TunnelIdleTimeout, false},
		{"idle_connection_timeout", c.IdleConnectionTimeout, false},
		{"drain_timeout", c.DrainTimeout, false},
		{"watch", c.Watch, true},
	} {
		if err := checkDuration(d.key, d.value, d.off); err != nil {
			return err
		}
	}
	return nil
}

// checkDuration refuses what is too short to be meant.
func checkDuration(key string, d time.Duration, off bool) error {
	if d >= time.Millisecond || d == 0 && off {
		return nil
	}
	also := ""
	if off {
		also = `, or "0s"`
	}
	return kit.KeyErrorf(key, `is %s, expected at least 1ms, with a unit, as in "5s"%s`, d, also)
}

func (c *Config) validateCounts() error {
	const million = 1_000_000
	for _, n := range []struct {
		key             string
		value, min, max int
	}{
		{"fall", c.Fall, 1, 100},
		{"rise", c.Rise, 1, 100},
		{"retries", c.Retries, 0, 10},
		{"retry_budget", c.RetryBudget, 0, 100},
		{"queue_length", c.QueueLength, 0, million},
		{"max_idle_connections", c.MaxIdleConnections, 1, 100_000},
		{"max_connections", c.MaxConnections, 1, million},
		{"max_fields", c.MaxFields, 10, 10_000},
	} {
		if err := kit.CheckRange(n.key, n.value, n.min, n.max); err != nil {
			return err
		}
	}
	for _, b := range []struct {
		key             string
		value, min, max kit.Bytes
	}{
		{"max_line", c.MaxLine, 512, 1 << 20},
		{"max_head", c.MaxHead, c.MaxLine, 1 << 20},
		{"max_body", c.MaxBody, 0, math.MaxInt64},
	} {
		switch {
		case b.value < b.min && b.key == "max_head":
			return kit.KeyErrorf(b.key, "is %s, expected at least max_line, which is %s", b.value, b.min)
		case b.value < b.min || b.value > b.max:
			return kit.KeyErrorf(b.key, "is %s, expected %s to %s", b.value, b.min, b.max)
		}
	}
	return nil
}

func (c *Config) validateBalance() error {
	if err := checkBalance("balance", c.Balance); err != nil {
		return err
	}
	return checkHash("hash", c.Hash)
}

// checkBalance and checkHash take the empty string for a default.
func checkBalance(key string, p upstream.Policy) error {
	if !p.Known() {
		return kit.KeyErrorf(key, `is %q, expected "round_robin", "least_connections", "random_two" or "hash"`, p)
	}
	return nil
}

func checkHash(key, hash string) error {
	name, ok := strings.CutPrefix(hash, hashHeader)
	if hash == "" || hash == hashClient || ok && routing.IsFieldName(name) {
		return nil
	}
	return kit.KeyErrorf(key, `is %q, expected "client" or the name of a field, as in "header:X-User"`, hash)
}

func (c *Config) validateTargets() error {
	if len(c.Targets)+len(c.PathRoutes)+len(c.Pools)+len(c.Routes) == 0 {
		return kit.KeyErrorf("targets", `is empty, expected at least one [[targets]] with an address, as in "http-api-1:8001"`)
	}
	seen := map[string]string{}
	for i, t := range c.Targets {
		key := func(name string) string { return indexed("targets", i, name) }
		if err := checkTarget(key("address"), t.Address); err != nil {
			return err
		}
		if first, ok := seen[canonical(t.Address)]; ok {
			return kit.KeyErrorf(key("address"), "is %q, as %s is already; each target stands once", t.Address, first)
		}
		seen[canonical(t.Address)] = key("address")
		if e := t.HealthCheckEndpoint; e != "" && !validEndpoint(e) {
			return kit.KeyErrorf(key("health_check_endpoint"), `is %q, expected a path, as in "/healthz"`, e)
		}
		if t.Weight != nil && *t.Weight == 0 {
			return kit.KeyErrorf(key("weight"), "is 0, expected 1 to 256; to keep requests from a target, drain it or take it out")
		}
		if err := cmp.Or(
			kit.CheckRange(key("weight"), valueOr(t.Weight, 1), 1, 256),
			kit.CheckRange(key("max_connections"), t.MaxConnections, 0, 1_000_000),
			checkDuration(key("slow_start"), valueOr(t.SlowStart, 0), true),
		); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) validatePools() error {
	seen := map[string]string{}
	for i, p := range c.Pools {
		key := func(name string) string { return indexed("pools", i, name) }
		if p.Name == "" || len(p.Name) > 63 || strings.ContainsFunc(p.Name, notInPoolName) {
			return kit.KeyErrorf(key("name"), `is %q, expected at most 63 letters, digits, "-", "_" or "."`, p.Name)
		}
		if first, ok := seen[p.Name]; ok {
			return kit.KeyErrorf(key("name"), "is %q, as %s is already; each pool stands once", p.Name, first)
		}
		seen[p.Name] = key("name")
		if len(p.Targets) == 0 && p.Name != defaultPool {
			return kit.KeyErrorf(key("targets"), `is empty, expected addresses, as in ["http-api-1:8001", "http-api-2:8001"]`)
		}
		if err := cmp.Or(
			checkAddresses(key("targets"), p.Targets),
			checkBalance(key("balance"), p.Balance),
			checkHash(key("hash"), p.Hash),
			kit.CheckRange(key("queue_length"), valueOr(p.QueueLength, 0), 0, 1_000_000),
			checkDuration(key("queue_timeout"), p.QueueTimeout, true),
		); err != nil {
			return err
		}
	}
	return nil
}

func notInPoolName(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
}

// checkAddresses checks those of one pool.
func checkAddresses(key string, addresses []string) error {
	for i, a := range addresses {
		key := key + "[" + strconv.Itoa(i) + "]"
		if err := checkTarget(key, a); err != nil {
			return err
		}
		if slices.ContainsFunc(addresses[:i], func(o string) bool { return canonical(o) == canonical(a) }) {
			return kit.KeyErrorf(key, "is %q, which stands there already; a pool holds each address once", a)
		}
	}
	return nil
}

func (c *Config) validatePathRoutes() error {
	seen := map[PathRoute]string{}
	for i, r := range c.PathRoutes {
		if err := routing.CheckPath(indexed("path_routes", i, "path"), r.Path); err != nil {
			return err
		}
		key := indexed("path_routes", i, "address")
		if err := checkTarget(key, r.Address); err != nil {
			return err
		}
		same := PathRoute{Path: strings.TrimSuffix(r.Path, "/"), Address: canonical(r.Address)}
		if first, ok := seen[same]; ok {
			return kit.KeyErrorf(key, "is %q for the path %q, as in %s already; a pool holds each address once", r.Address, r.Path, first)
		}
		seen[same] = indexed("path_routes", i, "")
	}
	return nil
}

// validateRoutes checks what [routing.CheckAll] does not see in the rules.
func (c *Config) validateRoutes() error {
	for i := range c.Routes {
		r := &c.Routes[i]
		key := func(name string) string { return indexed("routes", i, name) }
		ways := 0
		for _, set := range []bool{r.Pool != "", len(r.Split) > 0, len(r.Targets) > 0, r.Redirect != ""} {
			if set {
				ways++
			}
		}
		if ways > 1 {
			return kit.KeyErrorf(key(""), "has several of pool, split, targets and redirect, expected one")
		}
		if err := checkAddresses(key("targets"), r.Targets); err != nil {
			return err
		}
		if r.Host == "" && r.Path == "" && len(r.Targets) > 0 && slices.ContainsFunc(c.Pools, func(p Pool) bool { return p.Name == defaultPool }) {
			return kit.KeyErrorf(key("targets"), `are those of what no route matches, for which there is the pool "default" already; name them there`)
		}
		if r.Pool != "" && !c.hasPool(r.Pool) {
			return kit.KeyErrorf(key("pool"), "is %q, expected the name of one of [[pools]]%s", r.Pool, c.poolNames())
		}
		for _, name := range slices.Sorted(maps.Keys(r.Split)) {
			if !c.hasPool(name) {
				return kit.KeyErrorf(key("split."+name), "names no pool, expected the name of one of [[pools]]%s", c.poolNames())
			}
		}
		switch {
		case r.RedirectStatus != 0 && r.Redirect == "":
			return kit.KeyErrorf(key("redirect_status"), "is %d, and there is no redirect", r.RedirectStatus)
		case r.RateBurst != 0 && r.RateLimit == 0:
			return kit.KeyErrorf(key("rate_burst"), "is %d, and there is no rate_limit", r.RateBurst)
		}
	}
	return nil
}

// hasPool takes "default" for a pool in any case.
func (c *Config) hasPool(name string) bool {
	return name == defaultPool || slices.ContainsFunc(c.Pools, func(p Pool) bool { return p.Name == name })
}

func (c *Config) poolNames() string {
	names := []string{defaultPool}
	for _, p := range c.Pools {
		if p.Name != defaultPool {
			names = append(names, p.Name)
		}
	}
	return ": " + strings.Join(names, ", ")
}

// checkTarget asks for more than [kit.CheckAddress]: one can listen on ":0",
// but not connect to it.
func checkTarget(key, address string) error {
	if err := kit.CheckAddress(key, address); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(address)
	if host == "" || strings.Trim(port, "0") == "" {
		return kit.KeyErrorf(key, `is %q, expected a host and a port to connect to, as in "http-api-1:8001"`, address)
	}
	return nil
}

func validEndpoint(s string) bool {
	return strings.HasPrefix(s, "/") && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '#' })
}

// canonical makes two spellings of one address equal: names ignore case.
func canonical(address string) string { return strings.ToLower(address) }

// indexed returns the path of a key in an element of an array of tables, or that
// of the element.
func indexed(table string, i int, key string) string {
	return strings.TrimSuffix(table+"["+strconv.Itoa(i)+"]."+key, ".")
}

func valueOr[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
