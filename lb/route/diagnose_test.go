package route

import (
	"slices"
	"testing"
)

func TestDiagnose(t *testing.T) {
	redirect := func(host, path, to string) Rule {
		return Rule{Host: host, Path: path, Redirect: to, RedirectStatus: 302}
	}
	pool := func(host, path, pool string) Rule { return Rule{Host: host, Path: path, Split: to(pool)} }
	headers := map[string]string{"X-A": "1"}
	for _, c := range []struct {
		name  string
		rules []Rule
		want  []string
	}{
		{"routes that all have their use",
			[]Rule{pool("", "/files", "a"), pool("", "/files/deep", "b"), pool("example.com", "/x", "a"), pool("", "", "c")}, nil},
		{"a default behind a route for everything",
			[]Rule{pool("", "/", "a"), pool("", "", "b")},
			[]string{"r[1] (default): no request gets here, r[0] (/) takes every path of every host"}},
		{"a route that says the same as a shorter one",
			[]Rule{pool("", "/files", "a"), pool("", "/files/deep", "a")},
			[]string{"r[1] (/files/deep): it says the same as r[0] (/files), which has these requests without it"}},
		{"a route that says the same as the default",
			[]Rule{pool("", "", "a"), pool("", "/files", "a")},
			[]string{"r[1] (/files): it says the same as r[0] (default), which has these requests without it"}},
		{"a host that says the same as its wildcard",
			[]Rule{pool("*.example.com", "", "a"), pool("www.example.com", "", "a")},
			[]string{"r[1] (www.example.com/): it says the same as r[0] (*.example.com/), which has these requests without it"}},
		{"the same pool with other fields is not the same",
			[]Rule{pool("", "", "a"), {Path: "/a", Split: to("a"), RequestHeaders: headers}}, nil},
		{"the same pool with an own limit is not the same",
			[]Rule{{Split: to("a"), Rate: Rate{1, 1}}, {Path: "/a", Split: to("a"), Rate: Rate{1, 1}}}, nil},
		{"one that is needed to keep requests from another is not the same",
			[]Rule{pool("", "/a", "a"), pool("", "/a/b", "b"), pool("", "/a/b/c", "a")}, nil},
		{"no fields are the same as none at all",
			[]Rule{pool("", "", "a"), {Path: "/a", Split: to("a"), RequestHeaders: map[string]string{}}},
			[]string{"r[1] (/a): it says the same as r[0] (default), which has these requests without it"}},
		{"a host that takes a longer path",
			[]Rule{pool("example.com", "", "a"), pool("", "/files", "b")},
			[]string{"r[0] (example.com/): for its host it takes the requests of r[1] (/files): the host goes before the length of the path"}},
		{"a host that takes a longer path to where that leads",
			[]Rule{pool("example.com", "", "a"), pool("", "/files", "a")}, nil},
		{"a host that takes two longer paths",
			[]Rule{pool("example.com", "", "a"), pool("", "/a", "b"), pool("", "/b", "b")},
			[]string{"r[0] (example.com/): for its host it takes the requests of r[1] (/a), r[2] (/b): the host goes before the length of the path"}},
		{"a host like the default that takes a longer path",
			[]Rule{pool("", "", "a"), pool("example.com", "", "a"), pool("", "/files", "b")},
			[]string{"r[1] (example.com/): for its host it takes the requests of r[2] (/files): the host goes before the length of the path"}},
		{"a wildcard that takes a longer path",
			[]Rule{pool("*.example.com", "/a", "a"), pool("", "/a/b", "b")},
			[]string{"r[0] (*.example.com/a): for its host it takes the requests of r[1] (/a/b): the host goes before the length of the path"}},
		{"a host that takes a longer path of its wildcard",
			[]Rule{pool("www.example.com", "", "a"), pool("*.example.com", "/b", "b")},
			[]string{"r[0] (www.example.com/): for its host it takes the requests of r[1] (*.example.com/b): the host goes before the length of the path"}},
		{"a host that has the longer path as well",
			[]Rule{pool("example.com", "", "a"), pool("", "/files", "b"), pool("example.com", "/files", "b")}, nil},
		{"a redirect to itself",
			[]Rule{redirect("", "/a", "/a{path}")},
			[]string{"r[0] (/a): its redirect leads back to it: /a/_ -> /a/a/_"}},
		{"a redirect of a host to itself",
			[]Rule{redirect("example.com", "", "http://{host}/new"), pool("", "", "a")},
			[]string{"r[0] (example.com/): its redirect leads back to it: /_ -> /new"}},
		{"redirects in a circle",
			[]Rule{redirect("", "/a", "/b"), redirect("", "/b", "/c"), redirect("", "/c", "/a")},
			[]string{"r[0] (/a): its redirect leads back to it: /a/_ -> /b -> /c -> /a",
				"r[1] (/b): its redirect leads back to it: /b/_ -> /c -> /a -> /b",
				"r[2] (/c): its redirect leads back to it: /c/_ -> /a -> /b -> /c"}},
		{"a redirect into a circle is not in it",
			[]Rule{redirect("", "/x", "/a"), redirect("", "/a", "/b"), redirect("", "/b", "/a")},
			[]string{"r[1] (/a): its redirect leads back to it: /a/_ -> /b -> /a",
				"r[2] (/b): its redirect leads back to it: /b/_ -> /a -> /b"}},
		{"hosts that redirect to each other",
			[]Rule{redirect("a.org", "", "http://b.org{path}"), redirect("b.org", "", "http://A.org{path}")},
			[]string{"r[0] (a.org/): its redirect leads back to it: /_ -> /_ -> /_",
				"r[1] (b.org/): its redirect leads back to it: /_ -> /_ -> /_"}},
		{"a redirect that cuts its prefix off",
			[]Rule{{Path: "/old", StripPrefix: "/old", Redirect: "/new{path}", RedirectStatus: 308}, pool("", "", "a")}, nil},
		{"a redirect to https",
			[]Rule{redirect("", "", "https://{host}{path}{query}")}, nil},
		{"a redirect to another port",
			[]Rule{redirect("", "", "http://{host}:8080{path}{query}")}, nil},
		{"a redirect to a host that may be somebody else's",
			[]Rule{redirect("", "", "http://example.org{path}")}, nil},
		{"a redirect to where nothing is",
			[]Rule{redirect("", "/a", "/b")}, nil},
		{"a redirect to a path that is refused",
			[]Rule{redirect("", "/a", "/a/../a")}, nil},
		{"what a redirect has no use for",
			[]Rule{{Path: "/a", Redirect: "/b", RedirectStatus: 302, RequestHeaders: headers},
				{Path: "/c", Redirect: "/d", RedirectStatus: 302, RewriteHost: "a"},
				{Path: "/e", Redirect: "/f", RedirectStatus: 302, StripPrefix: "/e"}},
			[]string{"r[0] (/a): request_headers has no effect, no target sees these requests",
				"r[1] (/c): rewrite_host has no effect, no target sees these requests",
				"r[2] (/e): strip_prefix has no effect, no target sees these requests"}},
		{"a prefix that is not on the path",
			[]Rule{{Path: "/a", StripPrefix: "/b", Split: to("a")}},
			[]string{`r[0] (/a): strip_prefix "/b" is not on its path: it never cuts anything off`}},
		{"a prefix that is longer than the path",
			[]Rule{{Path: "/a", StripPrefix: "/a/b", Split: to("a")}},
			[]string{`r[0] (/a): strip_prefix "/a/b" is longer than its path: what is not below it is forwarded whole`}},
		{"a prefix that is a part of the path",
			[]Rule{{Path: "/a/b", StripPrefix: "/a/", Split: to("a")}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range c.rules {
				c.rules[i].Key = "r[" + string(rune('0'+i)) + "]"
			}
			if err := CheckAll(c.rules); err != nil {
				t.Fatal(err)
			}
			if got := Diagnose(c.rules); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}
