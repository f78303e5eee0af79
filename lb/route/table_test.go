package route

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"minicloud.internal/lb/upstream"
)

// pools are those that the rules of the tests name.
var pools = map[string]*upstream.Pool{"a": {}, "b": {}, "c": {}}

func to(pool string) []Share { return []Share{{Pool: pool, Weight: 1}} }

// ruleOf reads "host/path", or "default".
func ruleOf(text string) Rule {
	r := Rule{Key: "rule " + text, Split: to("a")}
	if host, path, ok := strings.Cut(text, "/"); ok {
		r.Host, r.Path = host, "/"+path
	}
	return r
}

func tableOf(t testing.TB, rules ...string) *Table {
	t.Helper()
	var all []Rule
	for _, text := range rules {
		all = append(all, ruleOf(text))
	}
	table, err := NewTable(all, pools, nil, start)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func nameOf(r *Route) string {
	if r == nil {
		return "none"
	}
	return r.Name
}

var (
	byPath = []string{"/files", "/files/public", "/a/b/c", "default"}
	byHost = []string{"example.com/", "*.example.com/", "*.b.example.com/deep", "www.example.com/app", "/files", "/app/x", "[::1]/", "default"}
)

func TestMatch(t *testing.T) {
	withRoot := append([]string{"/"}, byPath...)
	for name, c := range map[string]struct {
		rules            []string
		host, path, want string
	}{
		"the path itself matches":                   {byPath, "", "/files", "/files"},
		"what is below it matches":                  {byPath, "", "/files/a", "/files"},
		"a slash at the end matches":                {byPath, "", "/files/", "/files"},
		"half a segment does not match":             {byPath, "", "/filesystem", "default"},
		"the longest wins":                          {byPath, "", "/files/public/a", "/files/public"},
		"a longer route's name may begin another's": {byPath, "", "/files/publication", "/files"},
		"a deep route matches only whole":           {byPath, "", "/a/b", "default"},
		"a deep route matches":                      {byPath, "", "/a/b/c/d", "/a/b/c"},
		"case of a path counts":                     {byPath, "", "/Files", "default"},
		"an encoded slash is no separator":          {byPath, "", "/files%2Fa", "default"},
		"the root goes to the default":              {byPath, "", "/", "default"},
		"a route for the root takes the rest":       {withRoot, "", "/api", "/"},
		"a route for the root takes the root":       {withRoot, "", "/", "/"},
		"others are longer than the root":           {withRoot, "", "/files/a", "/files"},
		"a route ends with a slash or without":      {[]string{"/files/"}, "", "/files", "/files"},
		"no default, nothing matches":               {[]string{"/files"}, "", "/api", "none"},
		"no routes at all":                          {nil, "", "/files", "none"},

		"the very host goes first":                       {byHost, "example.com", "/files", "example.com/"},
		"the port does not count":                        {byHost, "example.com:8080", "/", "example.com/"},
		"the case does not count":                        {byHost, "EXAMPLE.Com", "/", "example.com/"},
		"a dot at the end does not count":                {byHost, "example.com.:80", "/", "example.com/"},
		"a wildcard takes what is below it":              {byHost, "x.example.com", "/", "*.example.com/"},
		"a wildcard takes what is far below it":          {byHost, "x.y.z.example.com", "/", "*.example.com/"},
		"a wildcard does not take its own name":          {[]string{"*.example.com/", "default"}, "example.com", "/", "default"},
		"half a label is not below a wildcard":           {byHost, "notexample.com", "/", "default"},
		"the longest wildcard goes first":                {byHost, "x.b.example.com", "/deep", "*.b.example.com/deep"},
		"a shorter wildcard has what is left":            {byHost, "x.b.example.com", "/", "*.example.com/"},
		"the very host goes before a wildcard":           {byHost, "www.example.com", "/app/x", "www.example.com/app"},
		"a wildcard has what the very host leaves":       {byHost, "www.example.com", "/files", "*.example.com/"},
		"any host has what the hosts leave":              {[]string{"www.example.com/app", "/files", "default"}, "www.example.com", "/files/a", "/files"},
		"the default has the rest":                       {byHost, "example.org", "/", "default"},
		"no host at all has the routes for any":          {byHost, "", "/files", "/files"},
		"an IPv6 address is a host":                      {byHost, "[::1]:80", "/files", "[::1]/"},
		"a port that is none does not count":             {byHost, "example.com:", "/", "example.com/"},
		"a host of any length is looked up":              {byHost, strings.Repeat("x", 300) + ".example.com", "/", "default"},
		"a host of the greatest length is below as well": {byHost, strings.Repeat("x.", 120) + "example.com", "/", "*.example.com/"},
	} {
		t.Run(name, func(t *testing.T) {
			table := tableOf(t, c.rules...)
			got := nameOf(table.Match([]byte(c.host), []byte(c.path)))
			if got != c.want {
				t.Errorf("%q of %q matches %s, expected %s", c.path, c.host, got, c.want)
			}
			if e := table.Explain(c.host, c.path); nameOf(e.Route) != c.want {
				t.Errorf("it is explained as %s", nameOf(e.Route))
			}
		})
	}
}

func TestTheOrderOfTheRulesHasNoSay(t *testing.T) {
	rules := append([]string{"/"}, append(byHost[:len(byHost):len(byHost)], byPath[:3]...)...)
	rules = uniq(rules)
	want := tableOf(t, rules...)
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		random.Shuffle(len(rules), func(i, j int) { rules[i], rules[j] = rules[j], rules[i] })
		got := tableOf(t, rules...)
		for _, host := range []string{"", "example.com", "x.b.example.com", "www.example.com", "[::1]"} {
			for _, path := range []string{"/", "/files/public/x", "/app/x", "/deep", "/a/b/c"} {
				a, b := want.Match([]byte(host), []byte(path)), got.Match([]byte(host), []byte(path))
				if a.Name != b.Name {
					t.Errorf("%q of %q matches %s or %s", path, host, a.Name, b.Name)
				}
			}
		}
		var a, b []string
		for i, r := range got.Routes() {
			a, b = append(a, want.Routes()[i].Name), append(b, r.Name)
		}
		if !reflect.DeepEqual(a, b) || a[len(a)-1] != "default" {
			t.Errorf("the routes are listed as %v or %v, expected the default last", a, b)
		}
	}
}

func uniq(all []string) (some []string) {
	seen := map[string]bool{}
	for _, s := range all {
		if !seen[s] {
			some = append(some, s)
		}
		seen[s] = true
	}
	return some
}

func TestMatchingAllocatesNothing(t *testing.T) {
	table := tableOf(t, byHost...)
	for _, c := range [][2][]byte{
		{[]byte("www.EXAMPLE.com:80"), []byte("/app/x")}, {[]byte("a.b.example.com"), []byte("/deep/x/y/z")}, {nil, []byte("/files/x")}, {nil, []byte("/")},
	} {
		if n := testing.AllocsPerRun(100, func() { table.Match(c[0], c[1]) }); n != 0 {
			t.Errorf("%s of %s: %v allocations", c[1], c[0], n)
		}
	}
}

// naive is the rule as one would say it: of the routes that match, the one with
// the most to say of the host, and then of the path.
func naive(rules []string, host, path string) string {
	best, rank := "none", [2]int{-1, 0}
	for _, text := range rules {
		r := ruleOf(text)
		segments, prefix := strings.Split(path, "/"), strings.Split(strings.TrimSuffix(r.Path, "/"), "/")
		of := [2]int{0, len(prefix)}
		switch {
		case r.isDefault():
			of = [2]int{0, 0}
		case r.Host == "":
		case r.Host == host:
			of[0] = 1000
		case strings.HasPrefix(r.Host, "*.") && strings.HasSuffix(host, r.Host[1:]):
			of[0] = len(r.Host)
		default:
			continue
		}
		if len(prefix) > len(segments) || strings.Join(prefix, "/") != strings.Join(segments[:len(prefix)], "/") {
			continue
		}
		if of[0] > rank[0] || of[0] == rank[0] && of[1] > rank[1] {
			best, rank = r.Name(), of
		}
	}
	return best
}

func FuzzMatch(f *testing.F) {
	f.Add("/files", "example.com/a/b/", "example.com", "/files/../a")
	f.Add("/", "*.example.com/files", "x.example.com:80", "//files//public/x")
	f.Add("*.a.b/x", "*.b/", "c.a.b", "/x")
	f.Add("default", "/a/a", "", "/a/%61/b")
	f.Add("[::1]/", "/%C3%A9", "[::1]:80", "/%c3%a9/")
	f.Fuzz(func(t *testing.T, a, b, host, path string) {
		var rules []Rule
		var texts []string
		for _, text := range []string{a, b, "default"} {
			r := ruleOf(text)
			if CheckAll(append(rules[:len(rules):len(rules)], r)) == nil && strings.ToLower(r.Host) == r.Host {
				rules, texts = append(rules, r), append(texts, text)
			}
		}
		table, err := NewTable(rules, pools, nil, start)
		if err != nil {
			t.Fatal(err)
		}
		table.Match([]byte(host), []byte(path))
		table.Explain(host, path)
		Diagnose(rules)
		normal, ok := NormalPath([]byte(path), nil)
		if !ok {
			return
		}
		got, want := nameOf(table.Match([]byte(host), normal)), naive(texts, string(hostKey([]byte(host), nil)), string(normal))
		if got != want {
			t.Errorf("routes %q: %q of %q matches %s, expected %s", texts, normal, host, got, want)
		}
	})
}

func TestAReloadKeepsWhatCounts(t *testing.T) {
	limited := func(rate Rate, retries int) []Rule {
		return []Rule{{Path: "/a", Split: to("a"), Rate: rate, Retries: retries}, {Split: to("b")}}
	}
	table := func(rules []Rule, old *Table) *Table {
		t.Helper()
		n, err := NewTable(rules, pools, old, start)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := table(limited(Rate{1, 1}, 0), nil)
	second := table(limited(Rate{1, 1}, 3), first)
	third := table(limited(Rate{1, 2}, 3), second)
	fourth := table(limited(Rate{}, 3), third)
	of := func(t *Table) *Route { return t.Named("/a") }
	if of(first).Requests != of(fourth).Requests || table(limited(Rate{}, 0), nil).Named("/a").Requests == of(first).Requests {
		t.Error("the counters of a route that stays begin anew")
	}
	if of(first).Rate != of(second).Rate || of(first).Rate == nil {
		t.Error("the limiter of a route with the same rate begins anew")
	}
	if of(third).Rate == of(second).Rate || of(fourth).Rate != nil {
		t.Error("another rate has the limiter of the old one")
	}
	if of(second).Retries != 3 {
		t.Error("what changed is not taken over")
	}
	if first.Named("default") == nil || first.Named("/b") != nil {
		t.Error("routes are not found by their names")
	}
}

func TestPick(t *testing.T) {
	for name, c := range map[string]struct {
		weights []int
		want    string // whose turn it is, over and over
	}{
		"one pool has all":                        {[]int{5}, "a"},
		"a pool without weight has none":          {[]int{0, 3}, "b"},
		"equal weights take turns":                {[]int{50, 50}, "ab"},
		"a heavy one is interrupted in its midst": {[]int{3, 1}, "aaba"},
		"three are spread":                        {[]int{5, 1, 1}, "aabacaa"},
		"a canary gets its share":                 {[]int{95, 5}, "aaaaaaaaaabaaaaaaaaa"},
	} {
		t.Run(name, func(t *testing.T) {
			rule := Rule{}
			for i, w := range c.weights {
				rule.Split = append(rule.Split, Share{Pool: string("abc"[i]), Weight: w})
			}
			table, err := NewTable([]Rule{rule}, pools, nil, start)
			if err != nil {
				t.Fatal(err)
			}
			r, got := table.Named("default"), ""
			for range 2 * len(c.want) {
				choice := r.Pick()
				if choice.Share.Pool == "" || choice.Pool != pools[choice.Share.Pool] {
					t.Fatal("it is another pool")
				}
				got += choice.Share.Pool
			}
			if got != c.want+c.want {
				t.Errorf("the turns are %s, expected %s, over and over", got, c.want)
			}
			if n := testing.AllocsPerRun(100, func() { r.Pick() }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func TestRoute(t *testing.T) {
	rule := Rule{
		Host: "Example.com", Path: "/old/", StripPrefix: "/old/", Redirect: "/new{path}{query}", RedirectStatus: 308,
		RequestHeaders: map[string]string{"X-A": "1"}, ResponseHeaders: map[string]string{"Server": ""},
	}
	table, err := NewTable([]Rule{rule, {Path: "/plain", RewriteHost: "b:80", MaxBody: 1, Retries: 2, Split: to("a"),
		ResponseHeaderTimeout: time.Second, BodyIdleTimeout: time.Minute}, {Host: "x.org", Split: to("a")}}, pools, nil, start)
	if err != nil {
		t.Fatal(err)
	}
	moved, plain, host := table.Named("example.com/old"), table.Named("/plain"), table.Named("x.org/")
	if !moved.Specific || !plain.Specific || host.Specific {
		t.Error("a route with a path is specific, others are not")
	}
	if got := string(moved.AppendPath([]byte("GET "), []byte("//old/%61//b"))); got != "GET /%61//b" {
		t.Errorf("it is forwarded as %q", got)
	}
	if got := string(plain.AppendPath(nil, []byte("//plain/%61"))); got != "//plain/%61" {
		t.Errorf("it is forwarded as %q", got)
	}
	if got := string(plain.AppendPath(nil, nil)); got != "/" {
		t.Errorf("the empty path is forwarded as %q", got)
	}
	if got, ok := moved.AppendLocation(nil, nil, []byte("/old/a"), []byte("b")); !ok || string(got) != "/new/a?b" || moved.RedirectStatus != 308 {
		t.Errorf("it is redirected to %q with %d, %v", got, moved.RedirectStatus, ok)
	}
	if moved.Pick() != nil || len(moved.Choices()) != 0 || len(plain.Choices()) != 1 {
		t.Error("a redirect has a pool, or another route has none")
	}
	if !moved.RequestHeaders.Removes([]byte("x-a")) || !moved.ResponseHeaders.Removes([]byte("Server")) {
		t.Error("its fields are not those of the rule")
	}
	if plain.RewriteHost != "b:80" || plain.MaxBody != 1 || plain.Retries != 2 || plain.ResponseHeaderTimeout != time.Second || plain.BodyIdleTimeout != time.Minute {
		t.Errorf("the route is %+v", plain)
	}
	if _, err := NewTable([]Rule{{Split: to("z")}}, pools, nil, start); fmt.Sprint(err) != `route default: there is no pool "z"` {
		t.Errorf("a pool that is none: %v", err)
	}
}

func BenchmarkMatch(b *testing.B) {
	table := tableOf(b, byHost...)
	for _, c := range [][2]string{{"", "/files/a"}, {"www.example.com:80", "/app/x/y"}, {"a.b.example.com", "/deep/x"}} {
		b.Run(c[0]+c[1], func(b *testing.B) {
			host, path := []byte(c[0]), []byte(c[1])
			b.ReportAllocs()
			for b.Loop() {
				table.Match(host, path)
			}
		})
	}
}
