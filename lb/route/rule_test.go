package route

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	for _, c := range []struct{ name, host, path, want string }{
		{"a path is its own name", "", "/files", "/files"},
		{"a slash at the end changes nothing", "", "/files/", "/files"},
		{"the root is a slash", "", "/", "/"},
		{"a host and a path stand together", "example.com", "/files", "example.com/files"},
		{"a host alone has a slash", "Example.com", "", "example.com/"},
		{"a wildcard is a host", "*.example.com", "/", "*.example.com/"},
		{"what is left is the default", "", "", "default"},
		{"a host may be called default", "default", "", "default/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (&Rule{Host: c.host, Path: c.path}).Name(); got != c.want {
				t.Errorf("it is called %q, expected %q", got, c.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	const host = `, expected a host without a port, as in "example.com", "*.example.com" (whatever is below it) or "[::1]", or "" for any`
	many := make([]Share, 17)
	for i := range many {
		many[i] = Share{Pool: fmt.Sprint(i), Weight: 1}
	}
	for name, c := range map[string]struct {
		rule Rule
		want string
	}{
		"a pool is all that is needed":           {Rule{}, ""},
		"a name is a host":                       {Rule{Host: "a-b_c.example.com"}, ""},
		"a wildcard is a host":                   {Rule{Host: "*.example.com"}, ""},
		"an address is a host":                   {Rule{Host: "192.0.2.1"}, ""},
		"an IPv6 address is a host":              {Rule{Host: "[2001:db8::1]"}, ""},
		"a port is no part of it":                {Rule{Host: "example.com:80"}, `r[0].host is "example.com:80"` + host},
		"a wildcard stands in front":             {Rule{Host: "a.*.com"}, `r[0].host is "a.*.com"` + host},
		"a wildcard needs a name":                {Rule{Host: "*"}, `r[0].host is "*"` + host},
		"a label is not empty":                   {Rule{Host: "a..b"}, `r[0].host is "a..b"` + host},
		"a name has no dot at its end":           {Rule{Host: "a."}, `r[0].host is "a."` + host},
		"a label is at most 63 bytes":            {Rule{Host: strings.Repeat("a", 64)}, `r[0].host is "` + strings.Repeat("a", 64) + `"` + host},
		"an IPv6 address has brackets":           {Rule{Host: "::1"}, `r[0].host is "::1"` + host},
		"an IPv6 address is in its one form":     {Rule{Host: "[2001:DB8::1]"}, `r[0].host is "[2001:DB8::1]"` + host},
		"a wildcard has no address":              {Rule{Host: "*.[::1]"}, `r[0].host is "*.[::1]"` + host},
		"another alphabet is written in ASCII":   {Rule{Host: "é.com"}, `r[0].host is "é.com"` + host},
		"a path begins with a slash":             {Rule{Path: "files"}, `r[0].path is "files", expected a path that begins with "/", as in "/files"`},
		"a prefix to strip is a path":            {Rule{StripPrefix: "files"}, `r[0].strip_prefix is "files", expected a path that begins with "/", as in "/files"`},
		"a prefix to strip has a segment":        {Rule{StripPrefix: "/"}, `r[0].strip_prefix is "/", which has no segment to cut off; leave it away`},
		"a host to rewrite to may have a port":   {Rule{RewriteHost: "example.com:8080"}, ""},
		"it may be an IPv6 address":              {Rule{RewriteHost: "[::1]:8080"}, ""},
		"its port is a number":                   {Rule{RewriteHost: "a:b"}, `r[0].rewrite_host is "a:b", expected a host as in "example.com" or "example.com:8080"`},
		"its port is not empty":                  {Rule{RewriteHost: "a:"}, `r[0].rewrite_host is "a:", expected a host as in "example.com" or "example.com:8080"`},
		"it ends no line":                        {Rule{RewriteHost: "a\r\nb"}, `r[0].rewrite_host is "a\r\nb", expected a host as in "example.com" or "example.com:8080"`},
		"it is no wildcard":                      {Rule{RewriteHost: "*.a"}, `r[0].rewrite_host is "*.a", expected a host as in "example.com" or "example.com:8080"`},
		"fields of requests are checked":         {Rule{RequestHeaders: map[string]string{"TE": ""}}, "r[0].request_headers.TE cannot be set or removed: the field is hop-by-hop"},
		"fields of answers are checked":          {Rule{ResponseHeaders: map[string]string{"Trailer": ""}}, "r[0].response_headers.Trailer cannot be set or removed: the field is framing"},
		"a redirect is checked":                  {Rule{Redirect: "/{path}", RedirectStatus: 302, Split: []Share{}}, `r[0].redirect is "/{path}", expected no "/" beside {path}, which begins with one, and may end with one`},
		"a redirect has no pool":                 {Rule{Redirect: "/a", RedirectStatus: 302, Split: to("a")}, "r[0].redirect stands beside a pool, a split or targets; a route has one of them"},
		"its status is one of five":              {Rule{Redirect: "/a", RedirectStatus: 304, Split: []Share{}}, "r[0].redirect_status is 304, expected 301, 302, 303, 307 or 308"},
		"a route leads somewhere":                {Rule{Split: []Share{}}, "r[0] leads nowhere, expected a pool, a split, targets or a redirect"},
		"a weight is at most 1000":               {Rule{Split: []Share{{Pool: "a", Weight: 1001}}}, "r[0].split.a is 1001, expected 0 to 1000"},
		"a weight is not negative":               {Rule{Split: []Share{{Pool: "a", Weight: -1}}}, "r[0].split.a is -1, expected 0 to 1000"},
		"one weight is not 0":                    {Rule{Split: []Share{{Pool: "a"}, {Pool: "b"}}}, "r[0].split gives no pool any request, expected a weight above 0"},
		"a pool stands once":                     {Rule{Split: append(to("a"), to("a")...)}, "r[0].split.a stands twice"},
		"there are at most 16":                   {Rule{Split: many}, "r[0].split has 17 pools, expected at most 16"},
		"a timeout is not too short":             {Rule{ResponseHeaderTimeout: 1}, `r[0].response_header_timeout is 1ns, expected at least 1ms, with a unit, as in "5s", or "0s" for the load balancer's own`},
		"so for a body's":                        {Rule{BodyIdleTimeout: -time.Second}, `r[0].body_idle_timeout is -1s, expected at least 1ms, with a unit, as in "5s", or "0s" for the load balancer's own`},
		"a size is not negative":                 {Rule{MaxBody: -1}, `r[0].max_body is -1, expected a size as in "10MiB", or 0 for no limit`},
		"there are at most 10 retries":           {Rule{Retries: 11}, "r[0].retries is 11, expected 0 to 10"},
		"a rate is at most a million":            {Rule{Rate: Rate{1e7, 1}}, "r[0].rate_limit is 1e+07 per second, expected at most a million"},
		"a rate has a burst":                     {Rule{Rate: Rate{1, 0}}, "r[0].rate_burst is 0, expected 1 to 100000"},
		"a burst is at most a hundred thousand":  {Rule{Rate: Rate{1, 100_001}}, "r[0].rate_burst is 100001, expected 1 to 100000"},
		"a rate and a burst of that size are ok": {Rule{Rate: Rate{1e6, 100_000}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.rule.Key = "r[0]"
			if c.rule.Split == nil {
				c.rule.Split = to("a")
			}
			wantError(t, CheckAll([]Rule{c.rule}), c.want)
			if _, err := NewTable([]Rule{c.rule}, pools, nil, start); c.want != "" && err == nil {
				t.Error("a table is made of it")
			}
		})
	}
}

func TestNoTwoRulesAreForTheSameRequests(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b Rule
		want string
	}{
		{"one path", Rule{Path: "/a"}, Rule{Path: "/a/"}, `r[1] is for the path "/a/", as r[0] is already; each route stands once`},
		{"one host", Rule{Host: "a.b"}, Rule{Host: "A.B", Path: "/"}, `r[1] is for the host "A.B", as r[0] is already; each route stands once`},
		{"one host and path", Rule{Host: "a.b", Path: "/c"}, Rule{Host: "a.b", Path: "/c"}, `r[1] is for the host "a.b" and the path "/c", as r[0] is already; each route stands once`},
		{"one default", Rule{}, Rule{}, `r[1] is for what no other route takes, as r[0] is already; each route stands once`},
		{"a host and its wildcard differ", Rule{Host: "a.b"}, Rule{Host: "*.a.b"}, ""},
		{"a path of two hosts differs", Rule{Host: "a.b", Path: "/c"}, Rule{Path: "/c"}, ""},
		{"every path is not what is left", Rule{Path: "/"}, Rule{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.a.Key, c.a.Split, c.b.Key, c.b.Split = "r[0]", to("a"), "r[1]", to("b")
			wantError(t, CheckAll([]Rule{c.a, c.b}), c.want)
		})
	}
}
