package route

import (
	"net/url"
	"strings"
	"testing"
)

func TestAppendLocation(t *testing.T) {
	for name, c := range map[string]struct {
		template, host, path, query, want string
		refused                           bool
	}{
		"all of a request moves to https":               {"https://{host}{path}{query}", "example.com", "/a/b", "c=d", "https://example.com/a/b?c=d", false},
		"no query brings no question mark":              {"https://{host}{path}{query}", "example.com", "/a", "", "https://example.com/a", false},
		"the port of the request is not that of https":  {"https://{host}{path}", "example.com:8080", "/", "", "https://example.com/", false},
		"an IPv6 address keeps its brackets":            {"https://{host}:8443{path}", "[2001:db8::1]:80", "/", "", "https://[2001:db8::1]:8443/", false},
		"the host keeps its case":                       {"http://www.{host}/", "Example.COM", "/", "", "http://www.Example.COM/", false},
		"a fixed place":                                 {"https://example.com/new", "", "/old", "x", "https://example.com/new", false},
		"a prefix is put in front":                      {"/new{path}", "", "/a//b/", "", "/new/a//b/", false},
		"encodings stay as they were sent":              {"{path}{query}", "", "/%61%2f", "a=%20+%zz", "/%61%2f?a=%20+%zz", false},
		"slashes in front lead to no other host":        {"{path}", "", "//evil.example/", "", "/evil.example/", false},
		"a backslash leads to no other host":            {"{path}", "", `/\evil.example`, "", "/%5Cevil.example", false},
		"the end of a line is encoded":                  {"{path}{query}", "", "/a\r\nX: y", "b\r\nX: y", "/a%0D%0AX:%20y?b%0D%0AX:%20y", false},
		"what a URL cannot hold is encoded":             {"{path}{query}", "", `/é<">`, `[a]|#`, "/%C3%A9%3C%22%3E?%5Ba%5D%7C%23", false},
		"a question mark in a path is encoded":          {"{path}", "", "/a?b", "", "/a%3Fb", false},
		"no host is refused":                            {"https://{host}/", "", "/", "", "", true},
		"a port without a host is refused":              {"https://{host}/", ":80", "/", "", "", true},
		"a host with an end of a line is refused":       {"https://{host}/", "a\r\nb", "/", "", "", true},
		"a host with credentials is refused":            {"https://{host}/", "a@evil.example", "/", "", "", true},
		"a host with a slash is refused":                {"https://{host}/", "evil.example/a", "/", "", "", true},
		"a host with half a bracket is refused":         {"https://{host}/", "[::1", "/", "", "", true},
		"a host that is not named does not matter":      {"https://example.com{path}", "a\r\nb", "/c", "", "https://example.com/c", false},
		"an encoded slash in a path stays encoded":      {"https://example.com{path}", "", "/%2F%2Fevil.example", "", "https://example.com/%2F%2Fevil.example", false},
		"a literal fragment stays":                      {"/new#there", "", "/", "", "/new#there", false},
		"the asterisk of OPTIONS stays behind a slash":  {"{path}", "", "*", "", "/*", false},
		"a host may have an underscore":                 {"http://{host}/", "a_b", "/", "", "http://a_b/", false},
		"the query may stand within the literal's own":  {"/x?a=b&u={path}", "", "/c", "", "/x?a=b&u=/c", false},
		"a percent sign of a host is refused":           {"https://{host}/", "a%0d", "/", "", "", true},
		"a host with a name in brackets is refused":     {"https://{host}/", "[evil]", "/", "", "", true},
		"the root's path does not begin another's host": {"{path}{query}", "", "/", "//evil.example", "/?//evil.example", false},
	} {
		t.Run(name, func(t *testing.T) {
			pieces, err := parseTemplate("redirect", c.template)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := appendLocation(nil, pieces, []byte(c.host), []byte(c.path), []byte(c.query))
			if ok == c.refused || ok && string(got) != c.want {
				t.Errorf("got %q, %v, expected %q", got, ok, c.want)
			}
		})
	}
	pieces, _ := parseTemplate("redirect", "https://{host}{path}{query}")
	buf, host, path, query := make([]byte, 0, 1024), []byte("example.com:80"), []byte("//a/é"), []byte("b=c")
	if n := testing.AllocsPerRun(100, func() { buf, _ = appendLocation(buf[:0], pieces, host, path, query) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTemplatesThatAreRefused(t *testing.T) {
	const (
		begin  = `, expected it to begin with "https://", "http://", "/" or "{path}"`
		beside = `, expected no "/" beside {path}, which begins with one, and may end with one`
		braces = ", expected no braces but those of {host}, {path} and {query}"
		once   = ", expected each of {host}, {path} and {query} at most once"
		host   = ", expected a host or {host} after the scheme"
		ascii  = ", expected a URL in ASCII, percent-encoded where needed"
	)
	for name, c := range map[string]struct{ template, want string }{
		"nothing":                            {"", begin},
		"a name":                             {"example.com", begin},
		"another scheme":                     {"javascript:{path}", begin},
		"a host without a scheme":            {"//example.com{path}", begin},
		"a host of the client's in front":    {"{host}{path}", begin},
		"a query in front":                   {"{query}", begin},
		"a scheme without a host":            {"https:///a", host},
		"a scheme alone":                     {"https://", host},
		"a scheme and a path":                {"https://{path}", host},
		"a scheme and a query":               {"https://{query}", host},
		"a slash before the path":            {"/{path}", beside},
		"a slash before it further on":       {"https://example.com/new/{path}", beside},
		"a slash behind the path":            {"{path}/", beside},
		"a question mark before the query":   {"/a?{query}", `, expected no "?" before {query}, which brings its own where there is a query`},
		"the path twice":                     {"{path}{path}", once},
		"something behind the query":         {"https://a{query}@evil.example/", `, expected nothing behind {query} but a fragment, as in "#top"`},
		"credentials":                        {"https://a@{host}/", `, expected no "@" in its host`},
		"another variable":                   {"/{uri}", braces},
		"a brace that opens nothing":         {"/a}", braces},
		"a brace that is not closed":         {"/{host", braces},
		"the end of a line":                  {"/a\r\nX: y", ascii},
		"a space":                            {"/a b", ascii},
		"a backslash":                        {`/\evil.example`, ascii},
		"another alphabet":                   {"/é", ascii},
		"a variable in the place of a brace": {"/{{path}}", braces},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseTemplate("redirect", c.template)
			if err == nil || !strings.HasPrefix(err.Error(), "redirect is ") || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("got  %v\nwant …%s", err, c.want)
			}
		})
	}
}

func FuzzLocation(f *testing.F) {
	f.Add("https://{host}{path}{query}", "example.com:80", "/a", "b=c")
	f.Add("{path}{query}", "a", `//\evil.example`, "\r\nX: y")
	f.Add("/new{path}", "", "//", "?")
	f.Add("http://a.{host}/b#{path}", "[::1]:80", "*", "")
	f.Add("https://example.com{query}", "", "", "@evil.example/")
	f.Fuzz(func(t *testing.T, template, host, path, query string) {
		pieces, err := parseTemplate("redirect", template)
		if err != nil {
			return
		}
		got, ok := appendLocation(nil, pieces, []byte(host), []byte(path), []byte(query))
		if !ok {
			return
		}
		location := string(got)
		if strings.ContainsFunc(location, func(c rune) bool { return c <= ' ' || c > '~' || c == '\\' }) {
			t.Fatalf("%q holds what a field or a URL must not", location)
		}
		// Where the author named the host, or none, nothing of the client's
		// changes it.
		if strings.Contains(template, "{host}") {
			return
		}
		plain, _ := appendLocation(nil, pieces, nil, []byte("/"), nil)
		want, err := url.Parse(string(plain))
		if err != nil {
			return // the author's own mistake
		}
		if !strings.Contains(template, "://") && strings.HasPrefix(location, "//") {
			t.Fatalf("%q leads to another host", location)
		}
		if u, err := url.Parse(location); err == nil && (u.Host != want.Host || u.Scheme != want.Scheme || u.User.String() != want.User.String()) {
			t.Fatalf("%q leads to %s of %s, expected %s of %s", location, u.Host, u.Scheme, want.Host, want.Scheme)
		}
	})
}
