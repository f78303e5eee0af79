package lb

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"minicloud.internal/lb/engine"
	"minicloud.internal/lb/http1"
	routing "minicloud.internal/lb/route"
	"minicloud.internal/lb/upstream"
)

// upstreams returns the targets and pools of a valid configuration.
func upstreams(c *Config) upstream.Config {
	u := upstream.Config{Dial: c.Dial}
	known := map[string]bool{}
	add := func(t Target) {
		if !known[canonical(t.Address)] {
			known[canonical(t.Address)] = true
			u.Targets = append(u.Targets, c.upstreamTarget(t))
		}
	}
	for _, t := range c.Targets {
		add(t)
	}
	for _, p := range c.layout().pools {
		u.Pools = append(u.Pools, p.PoolConfig)
		for _, address := range p.Targets {
			add(Target{Address: address})
		}
	}
	return u
}

func (c *Config) upstreamTarget(t Target) upstream.TargetConfig {
	return upstream.TargetConfig{
		Address: t.Address,
		Health: upstream.Health{
			Endpoint: cmp.Or(t.HealthCheckEndpoint, defaultEndpoint),
			Interval: c.HealthCheckInterval,
			Timeout:  c.HealthCheckTimeout,
			Rise:     c.Rise,
			Fall:     c.Fall,
			Status:   t.HealthCheckStatus,
			Body:     t.HealthCheckBody,
		},
		Weight:         valueOr(t.Weight, 1),
		MaxConnections: t.MaxConnections,
		SlowStart:      valueOr(t.SlowStart, c.SlowStart),
		MaxIdle:        c.MaxIdleConnections,
		IdleTimeout:    c.IdleConnectionTimeout,
	}
}

// routes returns the table of routes of a valid configuration, given the pools
// of [upstreams] by name. Counters and limiters go on from the table before,
// which may be nil.
func routes(c *Config, pools map[string]*upstream.Pool, old *routing.Table, now time.Time) (*routing.Table, error) {
	return routing.NewTable(c.layout().rules, pools, old, now)
}

// settings returns what the engine works by, of a valid configuration.
func settings(c *Config, table *routing.Table) *engine.Settings {
	s := &engine.Settings{
		Routes:         table,
		Limits:         http1.Limits{Line: int(c.MaxLine), Head: int(c.MaxHead), Fields: c.MaxFields},
		MaxConnections: c.MaxConnections,
		Retries:        c.Retries,
		Dial:           c.Dial.Or(),
		DialTimeout:    c.DialTimeout,
		RequestHead:    c.RequestHeadTimeout,
		KeepAlive:      c.KeepAliveTimeout,
		BodyIdle:       c.BodyIdleTimeout,
		ResponseHead:   c.ResponseHeaderTimeout,
		TunnelIdle:     c.TunnelIdleTimeout,
		Drain:          c.DrainTimeout,
		RetryAfter:     c.HealthCheckInterval,
	}
	for _, n := range c.TrustedProxies {
		s.TrustedProxies = append(s.TrustedProxies, n.Prefix)
	}
	return s
}

// A layout is what a configuration amounts to: pools with names, and rules that
// lead to them, whatever the way in which they are written.
type layout struct {
	pools []layoutPool
	rules []routing.Rule
}

type layoutPool struct {
	upstream.PoolConfig
	hash routing.HashKey
	key  string // where it is configured
}

// layout returns the rules, and the pools:
//
//   - those of [[pools]], but for a "default" without targets;
//   - one for each path of path_routes, under the name of its route;
//   - one for each route with targets of its own, likewise;
//   - "default" with the targets that are in none of these, where a route leads
//     to it, as that for what no other matches does unless the configuration says
//     otherwise.
func (c *Config) layout() *layout {
	l := &layout{}
	rest := Pool{Name: defaultPool}
	restKey := "targets"
	for i, p := range c.Pools {
		if key := indexed("pools", i, ""); p.Name == defaultPool && len(p.Targets) == 0 {
			rest, restKey = p, key
		} else {
			l.addPool(c, key, p)
		}
	}
	for i, r := range c.PathRoutes {
		key := indexed("path_routes", i, "")
		rule := c.rule(key, Route{Path: r.Path, Targets: []string{r.Address}})
		if p := l.pool(rule.Name()); p != nil {
			p.Targets = append(p.Targets, r.Address)
			continue
		}
		l.addPool(c, key, Pool{Name: rule.Name(), Targets: []string{r.Address}})
		l.rules = append(l.rules, rule)
	}
	hasDefault := false
	for i, r := range c.Routes {
		key := indexed("routes", i, "")
		rule := c.rule(key, r)
		if len(r.Targets) > 0 {
			l.addPool(c, key, Pool{Name: rule.Name(), Targets: r.Targets})
		}
		hasDefault = hasDefault || r.Host == "" && r.Path == ""
		l.rules = append(l.rules, rule)
	}
	if !hasDefault {
		l.rules = append(l.rules, c.rule("targets", Route{}))
	}
	if l.pool(defaultPool) == nil && (l.leadsTo(defaultPool) || restKey != "targets") {
		for _, t := range c.Targets {
			if !l.names(t.Address) {
				rest.Targets = append(rest.Targets, t.Address)
			}
		}
		l.addPool(c, restKey, rest)
	}
	for i := range l.rules {
		for j := range l.rules[i].Split {
			s := &l.rules[i].Split[j]
			if p := l.pool(s.Pool); p != nil {
				s.Key = p.hash
			}
		}
	}
	return l
}

// addPool fills in what the pool does not say itself.
func (l *layout) addPool(c *Config, key string, p Pool) {
	header, _ := strings.CutPrefix(cmp.Or(p.Hash, c.Hash), hashHeader)
	if header == hashClient {
		header = ""
	}
	l.pools = append(l.pools, layoutPool{
		PoolConfig: upstream.PoolConfig{
			Name:         p.Name,
			Policy:       cmp.Or(p.Balance, c.Balance, upstream.RoundRobin),
			Targets:      slices.Clone(p.Targets),
			QueueLength:  valueOr(p.QueueLength, c.QueueLength),
			QueueTimeout: cmp.Or(p.QueueTimeout, c.QueueTimeout),
			FailOpen:     valueOr(p.FailOpen, c.FailOpen),
			RetryBudget:  c.RetryBudget,
		},
		hash: routing.HashKey{Header: header},
		key:  key,
	})
}

// rule returns a route with what it does not say itself. One that names no pool,
// and is for what no other matches, leads to the default pool.
func (c *Config) rule(key string, r Route) routing.Rule {
	rule := routing.Rule{
		Key:                   key,
		Host:                  r.Host,
		Path:                  r.Path,
		StripPrefix:           r.StripPrefix,
		RewriteHost:           r.RewriteHost,
		RequestHeaders:        r.RequestHeaders,
		ResponseHeaders:       r.ResponseHeaders,
		Redirect:              r.Redirect,
		ResponseHeaderTimeout: cmp.Or(r.ResponseHeaderTimeout, c.ResponseHeaderTimeout),
		BodyIdleTimeout:       cmp.Or(r.BodyIdleTimeout, c.BodyIdleTimeout),
		MaxBody:               int64(valueOr(r.MaxBody, c.MaxBody)),
		Retries:               valueOr(r.Retries, c.Retries),
	}
	if r.RateLimit != 0 {
		burst := int(min(math.Ceil(float64(r.RateLimit)), 100_000))
		rule.Rate = routing.Rate{PerSecond: float64(r.RateLimit), Burst: cmp.Or(r.RateBurst, burst)}
	}
	to := func(pool string, weight int) {
		rule.Split = append(rule.Split, routing.Share{Pool: pool, Weight: weight})
	}
	switch {
	case r.Redirect != "":
		rule.RedirectStatus = cmp.Or(r.RedirectStatus, 307)
	case r.Pool != "":
		to(r.Pool, 1)
	case len(r.Targets) > 0:
		to(rule.Name(), 1)
	case r.Host == "" && r.Path == "" && len(r.Split) == 0:
		to(defaultPool, 1)
	}
	for _, pool := range slices.Sorted(maps.Keys(r.Split)) {
		to(pool, r.Split[pool])
	}
	return rule
}

func (l *layout) pool(name string) *layoutPool {
	if i := slices.IndexFunc(l.pools, func(p layoutPool) bool { return p.Name == name }); i >= 0 {
		return &l.pools[i]
	}
	return nil
}

// leadsTo reports whether a route does.
func (l *layout) leadsTo(pool string) bool {
	return slices.ContainsFunc(l.rules, func(r routing.Rule) bool {
		return slices.ContainsFunc(r.Split, func(s routing.Share) bool { return s.Pool == pool })
	})
}

// names reports whether a pool has the address.
func (l *layout) names(address string) bool {
	return slices.ContainsFunc(l.pools, func(p layoutPool) bool { return p.has(address) })
}

func (p *layoutPool) has(address string) bool {
	return slices.ContainsFunc(p.Targets, func(a string) bool { return canonical(a) == canonical(address) })
}

// Diagnose returns what is valid, and yet hardly what somebody wants: each is a
// sentence that begins with a key. The configuration has passed
// [Config.Validate].
func (c *Config) Diagnose() []string {
	l := c.layout()
	findings := routing.Diagnose(l.comparable())
	add := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	for _, r := range l.rules {
		if strings.TrimSuffix(r.Path, "/") == defaultEndpoint {
			add("%s (%s): GET %s is answered by the load balancer, for itself", r.Key, r.Name(), defaultEndpoint)
		}
	}
	for _, p := range l.pools {
		switch {
		case !l.leadsTo(p.Name):
			add("%s (%s): no route leads to this pool", p.key, p.Name)
		case len(p.Targets) == 0:
			add("%s (%s): no target is left for what no route matches; such requests get 503", p.key, p.Name)
		}
	}
	for i, p := range c.Pools {
		if policy := l.pool(p.Name).Policy; strings.HasPrefix(p.Hash, hashHeader) && policy != upstream.Hash {
			add("pools[%d] (%s): hash has no effect, the balance is %s", i, p.Name, policy)
		}
	}
	if strings.HasPrefix(c.Hash, hashHeader) && !slices.ContainsFunc(l.pools, func(p layoutPool) bool { return p.Policy == upstream.Hash }) {
		add("hash: it has no effect, no pool has the balance hash")
	}
	for i, t := range c.Targets {
		if !slices.ContainsFunc(l.pools, func(p layoutPool) bool { return p.has(t.Address) && l.leadsTo(p.Name) }) {
			add("targets[%d] (%s): no route leads to this target, it is only probed", i, t.Address)
		}
	}
	for i, n := range c.TrustedProxies {
		if n.Bits() == 0 {
			add("trusted_proxies[%d] (%s): everybody may say who they are", i, n)
		}
	}
	return findings
}

// comparable returns the rules with pools that have the same name where they are
// the same, and without a default that would lead to nobody.
func (l *layout) comparable() []routing.Rule {
	var rules []routing.Rule
	for _, r := range l.rules {
		r.Split = slices.Clone(r.Split)
		empty := len(r.Split) > 0
		for i, s := range r.Split {
			p := *l.pool(s.Pool)
			empty = empty && len(p.Targets) == 0
			p.Name, p.key = "", ""
			p.Targets = slices.Sorted(slices.Values(p.Targets))
			r.Split[i].Pool = fmt.Sprint(p)
		}
		if !empty {
			rules = append(rules, r)
		}
	}
	return rules
}
