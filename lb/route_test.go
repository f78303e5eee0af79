package lb

import (
	"strings"
	"testing"
)

func TestNormalPath(t *testing.T) {
	for name, c := range map[string]struct {
		path, want string
		refused    bool
	}{
		"a plain path stays":                          {path: "/api/spells", want: "/api/spells"},
		"the empty path is the root":                  {path: "", want: "/"},
		"a slash at the end stays":                    {path: "/files/", want: "/files/"},
		"several slashes count as one":                {path: "//files///a", want: "/files/a"},
		"what needs no encoding is decoded":           {path: "/%66iles/%7Ea", want: "/files/~a"},
		"other encodings get upper case":              {path: "/files/%c3%a9", want: "/files/%C3%A9"},
		"an encoded slash stays in its segment":       {path: "/files%2fa", want: "/files%2Fa"},
		"a name that begins with a dot is no segment": {path: "/files/.hidden/..a/...", want: "/files/.hidden/..a/..."},
		"a name with dots in it is no dot segment":    {path: "/files/a..b/c.", want: "/files/a..b/c."},
		"one dot is refused":                          {path: "/files/./a", refused: true},
		"one dot at the end is refused":               {path: "/files/.", refused: true},
		"two dots are refused":                        {path: "/files/../api", refused: true},
		"two dots at the end are refused":             {path: "/files/..", refused: true},
		"encoded dots are refused":                    {path: "/files/%2e%2E/api", refused: true},
		"half-encoded dots are refused":               {path: "/files/.%2e/api", refused: true},
		"dots before an encoded slash are refused":    {path: "/files/..%2fapi", refused: true},
		"dots after an encoded slash are refused":     {path: "/files/a%2F../api", refused: true},
		"dots between slashes are refused":            {path: "/files//..//api", refused: true},
		"a cut encoding is refused":                   {path: "/files/%4", refused: true},
		"an encoding without digits is refused":       {path: "/files/%zz", refused: true},
		"a path without a slash in front is refused":  {path: "files", refused: true},
		"the asterisk of OPTIONS is refused":          {path: "*", refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := normalPath(c.path)
			if ok == c.refused || got != c.want {
				t.Errorf("normalPath(%q) = %q, %v, expected %q, %v", c.path, got, ok, c.want, !c.refused)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	routes := []string{"/files", "/files/public", "/a/b/c"}
	withRoot := append([]string{"/"}, routes...)
	for name, c := range map[string]struct {
		routes     []string
		path, want string
	}{
		"the path itself matches":                   {routes, "/files", "/files"},
		"what is below it matches":                  {routes, "/files/a", "/files"},
		"a slash at the end matches":                {routes, "/files/", "/files"},
		"half a segment does not match":             {routes, "/filesystem", "default"},
		"the longest wins":                          {routes, "/files/public/a", "/files/public"},
		"a longer route's name may begin another's": {routes, "/files/publication", "/files"},
		"a deep route matches only whole":           {routes, "/a/b", "default"},
		"a deep route matches":                      {routes, "/a/b/c/d", "/a/b/c"},
		"case counts":                               {routes, "/Files", "default"},
		"an encoded slash is no separator":          {routes, "/files%2Fa", "default"},
		"the root goes to the rest":                 {routes, "/", "default"},
		"a route for the root takes the rest":       {withRoot, "/api", "/"},
		"a route for the root takes the root":       {withRoot, "/", "/"},
		"others are longer than the root":           {withRoot, "/files/a", "/files"},
		"no routes at all":                          {nil, "/files", "default"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tableOf(c.routes).match(c.path); got != c.want {
				t.Errorf("match(%q) = %q, expected %q", c.path, got, c.want)
			}
		})
	}
}

func tableOf(paths []string) *table[string] {
	routes := map[string]string{}
	for _, p := range paths {
		routes[p] = p
	}
	return newTable(routes, "default")
}

// naive is the rule as one would say it: of the routes whose segments the path
// begins with, the one with the most.
func naive(paths []string, path string) string {
	best, length := "default", -1
	segments := strings.Split(path, "/")
	for _, p := range paths {
		prefix := strings.Split(strings.TrimSuffix(p, "/"), "/")
		if len(prefix) > length && len(prefix) <= len(segments) &&
			strings.Join(prefix, "/") == strings.Join(segments[:len(prefix)], "/") {
			best, length = p, len(prefix)
		}
	}
	return best
}

func FuzzRouting(f *testing.F) {
	f.Add("/files", "/a/b/", "/files/../a")
	f.Add("/", "/files/public", "//files//public/x")
	f.Add("/a", "/a/a", "/a/%61/%2e%2e/b")
	f.Add("/é", "/%C3%A9", "/%c3%a9/..%2F")
	f.Fuzz(func(t *testing.T, a, b, path string) {
		var routes []string
		for _, r := range []string{a, b} {
			if normal, ok := normalPath(r); ok && (len(routes) == 0 || prefixKey(normal) != prefixKey(routes[0])) {
				routes = append(routes, normal)
			}
		}
		normal, ok := normalPath(path)
		if !ok {
			return
		}
		if again, ok := normalPath(normal); !ok || again != normal {
			t.Errorf("normalPath(%q) = %q, whose own normal form is %q, %v", path, normal, again, ok)
		}
		if strings.Contains(normal, "//") || !strings.HasPrefix(normal, "/") {
			t.Errorf("normalPath(%q) = %q, which is not normal", path, normal)
		}
		for _, s := range strings.Split(strings.ReplaceAll(normal, "%2F", "/"), "/") {
			if s == "." || s == ".." {
				t.Errorf("normalPath(%q) = %q lets a dot segment through", path, normal)
			}
		}
		if got, want := tableOf(routes).match(normal), naive(routes, normal); got != want {
			t.Errorf("routes %q: match(%q) = %q, expected %q", routes, normal, got, want)
		}
	})
}
