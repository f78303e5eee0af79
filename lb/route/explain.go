package route

import "strings"

// An Explanation says where a request goes, and why.
type Explanation struct {
	// Normal is the path in the form that routes are compared with, or ""
	// where it is refused.
	Normal string
	// Route is where it goes; nil where the path is refused, and where nothing
	// matches and there is no default.
	Route *Route
	// Why is a sentence.
	Why string
	// Others are the routes that match too, by name.
	Others []Other
}

// An Other is a route that matched and lost.
type Other struct {
	Route *Route
	// Why is a sentence.
	Why string
}

// Explain returns what [Table.Match] does with a request, and why, given the
// field Host and the path as the request line has it.
func (t *Table) Explain(host, path string) Explanation {
	normal, ok := NormalPath([]byte(path), nil)
	if !ok {
		return Explanation{Why: `The path is refused: it does not begin with "/", or has a "." or ".." segment or a malformed percent-encoding.`}
	}
	e := Explanation{Normal: string(normal), Route: t.Match([]byte(host), normal)}
	name := string(hostKey([]byte(host), nil))
	if e.Route == nil {
		e.Why = "No route matches, and there is no default."
		return e
	}
	e.Why = won(&e.Route.Rule)
	for _, r := range t.routes {
		if r != e.Route && r.Rule.matches(name, e.Normal) {
			e.Others = append(e.Others, Other{r, lost(&r.Rule, &e.Route.Rule)})
		}
	}
	return e
}

// matches tells what [Table.Match] considers; name is a [hostKey].
func (r *Rule) matches(name, normal string) bool {
	host := strings.ToLower(r.Host)
	below, wildcard := strings.CutPrefix(host, "*")
	return (host == "" || host == name || wildcard && strings.HasSuffix(name, below)) && under(normal, prefixKey(r.Path))
}

func (r *Rule) isWildcard() bool { return strings.HasPrefix(r.Host, "*.") }

func won(r *Rule) string {
	switch {
	case r.isDefault():
		return "No other route matches, so the default has it."
	case r.Host == "":
		return "No route for this host matches; of those for any host, this one has the longest path that the request is below."
	case r.isWildcard():
		return "No route for the very host matches; of the wildcards that it is below, this is the longest with a path that matches, and of its paths the longest."
	}
	return "The route is for this very host; of its paths that the request is below, this is the longest."
}

func lost(r, to *Rule) string {
	switch {
	case r.isDefault():
		return "The default has only what no other route matches."
	case strings.EqualFold(r.Host, to.Host):
		return "Its path is shorter."
	case r.Host == "":
		return "It is for any host; a route for the host goes first."
	case to.isWildcard():
		return "Its wildcard is shorter; the longer goes first."
	}
	return "It is for a wildcard; a route for the very host goes first."
}
