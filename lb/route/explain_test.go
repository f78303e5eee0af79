package route

import (
	"slices"
	"testing"
)

func TestExplain(t *testing.T) {
	table := tableOf(t, append(byHost[:len(byHost):len(byHost)], "*.b.example.com/", "/files/public", "www.example.com/", "/")...)
	const (
		byDefault  = "The default has only what no other route matches."
		shorter    = "Its path is shorter."
		anyHost    = "It is for any host; a route for the host goes first."
		wildcard   = "It is for a wildcard; a route for the very host goes first."
		shorterOne = "Its wildcard is shorter; the longer goes first."
	)
	for name, c := range map[string]struct {
		host, path, route string
		others            []string
	}{
		"a path": {"", "/files//publi%63/a", "/files/public", []string{
			"/: " + shorter, "/files: " + shorter, "default: " + byDefault}},
		"a host": {"WWW.example.com:80", "/app/x", "www.example.com/app", []string{
			"*.example.com/: " + wildcard, "/: " + anyHost, "/app/x: " + anyHost, "www.example.com/: " + shorter, "default: " + byDefault}},
		"a wildcard": {"x.b.example.com", "/deep", "*.b.example.com/deep", []string{
			"*.b.example.com/: " + shorter, "*.example.com/: " + shorterOne, "/: " + anyHost, "default: " + byDefault}},
	} {
		t.Run(name, func(t *testing.T) {
			e := table.Explain(c.host, c.path)
			var others []string
			for _, o := range e.Others {
				others = append(others, o.Route.Name+": "+o.Why)
			}
			if e.Route.Name != c.route || !slices.Equal(others, c.others) {
				t.Errorf("got  %s %q\nwant %s %q", e.Route.Name, others, c.route, c.others)
			}
		})
	}
	for name, c := range map[string]struct {
		rules                   []string
		host, path, normal, why string
	}{
		"the very host": {byHost, "example.com", "//", "/",
			"The route is for this very host; of its paths that the request is below, this is the longest."},
		"a wildcard": {byHost, "x.example.com", "", "/",
			"No route for the very host matches; of the wildcards that it is below, this is the longest with a path that matches, and of its paths the longest."},
		"any host": {byHost, "", "/files/%61", "/files/a",
			"No route for this host matches; of those for any host, this one has the longest path that the request is below."},
		"the default": {byHost, "", "/%c3%a9", "/%C3%A9", "No other route matches, so the default has it."},
		"nothing":     {[]string{"/files"}, "", "/", "/", "No route matches, and there is no default."},
		"a path that is refused": {byHost, "", "/files/../a", "",
			`The path is refused: it does not begin with "/", or has a "." or ".." segment or a malformed percent-encoding.`},
	} {
		t.Run(name+" says why", func(t *testing.T) {
			if e := tableOf(t, c.rules...).Explain(c.host, c.path); e.Normal != c.normal || e.Why != c.why {
				t.Errorf("got  %q %s\nwant %q %s", e.Normal, e.Why, c.normal, c.why)
			}
		})
	}
}
