package route

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// Diagnose returns what is valid in the rules, and yet hardly what somebody
// wants; each finding is a sentence that begins with the [Rule.Key]. The rules
// have passed [CheckAll]. Two pools are the same where their names are.
func Diagnose(rules []Rule) (findings []string) {
	d := newDiagnosis(rules)
	for i := range rules {
		r := &rules[i]
		for _, find := range []func(*Rule) string{d.unreachable, d.redundant, d.shadowing, d.stripsOutside, d.withoutEffect, d.circular} {
			if s := find(r); s != "" {
				findings = append(findings, fmt.Sprintf("%s (%s): %s", r.Key, r.Name(), s))
			}
		}
	}
	return findings
}

type diagnosis struct {
	rules    []Rule
	index    index[*Rule]
	fallback *Rule
}

func newDiagnosis(rules []Rule) *diagnosis {
	d := &diagnosis{rules: rules}
	for i := range rules {
		if r := &rules[i]; r.isDefault() {
			d.fallback = r
		} else {
			d.index.add(r.Host, r.Path, r)
		}
	}
	return d
}

func (d *diagnosis) match(host, normal string) *Rule {
	if r, ok := d.index.match([]byte(host), []byte(normal)); ok {
		return r
	}
	return d.fallback
}

// unreachable finds the default beside a route for every path of every host. No
// other route can be without requests: its own path on its own host is its own.
func (d *diagnosis) unreachable(r *Rule) string {
	if all, ok := d.index.any.values[""]; ok && r.isDefault() {
		return fmt.Sprintf("no request gets here, %s (%s) takes every path of every host", all.Key, all.Name())
	}
	return ""
}

// redundant finds a route without which its requests would go the same way. One
// with a rate limit is none: it counts for itself. Nor is one that keeps requests
// from others.
func (d *diagnosis) redundant(r *Rule) string {
	if r.isDefault() || r.Rate.On() || len(d.shadows(r)) > 0 {
		return ""
	}
	others := slices.DeleteFunc(slices.Clone(d.rules), func(o Rule) bool { return o.Name() == r.Name() })
	next := newDiagnosis(others).match(r.sampleHost(), samplePath(r))
	if next == nil || !reflect.DeepEqual(next.effect(), r.effect()) {
		return ""
	}
	return fmt.Sprintf("it says the same as %s (%s), which has these requests without it", next.Key, next.Name())
}

// shadowing finds a route that takes requests from longer paths for more hosts,
// unless those would do the same with them. Who only thinks of the longest path
// may expect those to win.
func (d *diagnosis) shadowing(r *Rule) string {
	var from []string
	for _, o := range d.shadows(r) {
		if reflect.DeepEqual(o.effect(), r.effect()) {
			continue
		}
		from = append(from, fmt.Sprintf("%s (%s)", o.Key, o.Name()))
	}
	if len(from) == 0 {
		return ""
	}
	return "for its host it takes the requests of " + strings.Join(from, ", ") + ": the host goes before the length of the path"
}

func (d *diagnosis) shadows(r *Rule) (others []*Rule) {
	for i := range d.rules {
		o := &d.rules[i]
		if r.Host == "" || !o.moreHosts(r) || prefixKey(o.Path) == prefixKey(r.Path) || !under(prefixKey(o.Path), prefixKey(r.Path)) {
			continue
		}
		// The same path may stand there for this host too.
		if d.match(r.sampleHost(), prefixKey(o.Path)) == r {
			others = append(others, o)
		}
	}
	return others
}

// moreHosts reports whether r is for all hosts of o, and for others.
func (r *Rule) moreHosts(o *Rule) bool {
	a, b := strings.ToLower(r.Host), strings.ToLower(o.Host)
	return a != b && (a == "" || r.isWildcard() && strings.HasSuffix(b, a[1:]))
}

// stripsOutside finds a prefix that is cut off only some of the paths, or none.
func (d *diagnosis) stripsOutside(r *Rule) string {
	strip, path := prefixKey(r.StripPrefix), prefixKey(r.Path)
	switch {
	case strip == "" || under(path, strip):
		return ""
	case under(strip, path):
		return fmt.Sprintf("strip_prefix %q is longer than its path: what is not below it is forwarded whole", r.StripPrefix)
	}
	return fmt.Sprintf("strip_prefix %q is not on its path: it never cuts anything off", r.StripPrefix)
}

// withoutEffect finds what a redirect has no use for.
func (d *diagnosis) withoutEffect(r *Rule) string {
	if r.Redirect == "" {
		return ""
	}
	for _, s := range []struct {
		key string
		set bool
	}{
		{"rewrite_host", r.RewriteHost != ""},
		{"request_headers", len(r.RequestHeaders) > 0},
		{"strip_prefix", r.StripPrefix != "" && !strings.Contains(r.Redirect, "{path}")},
	} {
		if s.set {
			return s.key + " has no effect, no target sees these requests"
		}
	}
	return ""
}

// circular follows redirects for as long as they lead to routes of the table.
// One to https ends elsewhere, and so does one to a port.
func (d *diagnosis) circular(start *Rule) string {
	host, path := start.sampleHost(), samplePath(start)
	way := []string{path}
	for r := start; r != nil && r.Redirect != "" && len(way) <= len(d.rules)+1; {
		to, err := r.follow(host, path)
		if err != nil || to.Scheme == "https" || to.Port() != "" {
			return ""
		}
		normal, ok := NormalPath([]byte(to.EscapedPath()), nil)
		if !ok {
			return ""
		}
		next := d.match(host, string(normal))
		if to.Host != "" && !strings.EqualFold(to.Host, host) {
			host = to.Host
			// Whether a host that no route names is ours, nobody can tell.
			if next = d.match(host, string(normal)); next == nil || next.Host == "" {
				return ""
			}
		}
		path = string(normal)
		way = append(way, path)
		if next == start {
			return "its redirect leads back to it: " + strings.Join(way, " -> ")
		}
		r = next
	}
	return ""
}

// follow returns where a redirect leads.
func (r *Rule) follow(host, path string) (*url.URL, error) {
	pieces, err := parseTemplate(r.key("redirect"), r.Redirect)
	if err != nil {
		return nil, err
	}
	location, _ := appendLocation(nil, pieces, []byte(host), stripPrefix([]byte(path), prefixKey(r.StripPrefix)), nil)
	return url.Parse(string(location))
}

// sampleHost is a host whose requests are the rule's, and no other's by mistake.
func (r *Rule) sampleHost() string {
	host := strings.ToLower(r.Host)
	if below, ok := strings.CutPrefix(host, "*"); ok {
		return "_" + below
	}
	if host == "" {
		return "_"
	}
	return host
}

// samplePath is a path below the rule's own, which only a route that has as much
// to say as the rule takes as well.
func samplePath(r *Rule) string { return prefixKey(r.Path) + "/_" }
