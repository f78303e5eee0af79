package route

import (
	"bytes"
	"net/url"
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
		"what is decoded is not decoded again":        {path: "/files/%2561", want: "/files/%2561"},
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
			for _, scratch := range [][]byte{nil, []byte("left from before"), make([]byte, 0, 1024)} {
				got, ok := NormalPath([]byte(c.path), scratch)
				if ok == c.refused || string(got) != c.want {
					t.Errorf("NormalPath(%q) = %q, %v, expected %q, %v", c.path, got, ok, c.want, !c.refused)
				}
			}
		})
	}
}

func TestNormalPathOfABufferAllocatesNothing(t *testing.T) {
	scratch := make([]byte, 0, 256)
	for _, path := range [][]byte{[]byte("/api/spells"), []byte("//files/%7Ea%2fb/.c"), nil} {
		if n := testing.AllocsPerRun(100, func() {
			if _, ok := NormalPath(path, scratch); !ok {
				t.Errorf("%q is refused", path)
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations", path, n)
		}
	}
}

func TestCheckPath(t *testing.T) {
	const plain = `: no "//", no "." or ".." segment, no query, and percent-encoded only what has to be`
	for name, c := range map[string]struct{ path, want string }{
		"a plain path passes":                      {"/files", ""},
		"a slash at the end passes":                {"/files/", ""},
		"an encoding that has to be passes":        {"/%C3%A9", ""},
		"a path without a slash in front is wrong": {"files", `path is "files", expected a path that begins with "/", as in "/files"`},
		"no path at all is wrong":                  {"", `path is "", expected a path that begins with "/", as in "/files"`},
		"a path that no request has is wrong":      {"/a/../b", `path is "/a/../b", expected a plain path, as in "/files"` + plain},
		"a needless encoding is wrong":             {"/%61", `path is "/%61", expected a plain path, as in "/files"` + plain},
		"a query is wrong":                         {"/a?b", `path is "/a?b", expected a plain path, as in "/files"` + plain},
		"what has to be encoded is wrong":          {"/é", `path is "/é", expected a plain path, as in "/files"` + plain},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, CheckPath("path", c.path), c.want)
		})
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestStripPrefix(t *testing.T) {
	for name, c := range map[string]struct{ prefix, path, want string }{
		"the prefix is cut off":                          {"/files", "/files/a", "/a"},
		"nothing is left of the prefix itself":           {"/files", "/files", "/"},
		"a slash at the end is all that is left":         {"/files", "/files/", "/"},
		"two segments are cut off":                       {"/a/b", "/a/b/c", "/c"},
		"encodings behind it stay as they were sent":     {"/files", "/files/%61%2fb%2Fc", "/%61%2fb%2Fc"},
		"slashes behind it stay as they were sent":       {"/files", "/files/a//b/", "/a//b/"},
		"slashes where the cut is become one":            {"/files", "/files//evil.example/", "/evil.example/"},
		"many slashes are one too":                       {"/files", "/files////", "/"},
		"slashes before and within it are passed over":   {"/a/b", "//a///b/c", "/c"},
		"a prefix that was sent encoded is cut off":      {"/files", "/%66il%65s/a", "/a"},
		"an encoded prefix is found in any case":         {"/%C3%A9", "/%c3%A9/a", "/a"},
		"an encoded slash is no end of the prefix":       {"/files", "/files%2Fa", "/files%2Fa"},
		"half a segment is left alone":                   {"/files", "/filesystem", "/filesystem"},
		"half a prefix is left alone":                    {"/files/deep", "/files", "/files"},
		"what is not below it is left alone":             {"/files", "/api//%61", "/api//%61"},
		"an encoding that ends the path is left alone":   {"/files", "/file%73%2", "/file%73%2"},
		"no prefix leaves all as it was sent":            {"", "//a", "//a"},
		"a prefix with an encoded slash has one segment": {"/a%2Fb", "/a%2fb/c", "/c"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := stripPrefix([]byte(c.path), c.prefix); string(got) != c.want {
				t.Errorf("stripPrefix(%q, %q) = %q, expected %q", c.path, c.prefix, got, c.want)
			}
		})
	}
}

// decoded returns what the segments of a path mean.
func decoded(t *testing.T, path string) (segments []string) {
	for s := range strings.SplitSeq(path, "/") {
		if s == "" {
			continue
		}
		d, err := url.PathUnescape(s)
		if err != nil {
			t.Fatalf("%q: %v", path, err)
		}
		segments = append(segments, d)
	}
	return segments
}

func FuzzNormalPath(f *testing.F) {
	for _, path := range []string{"", "/", "/files/../a", "//files//public/x", "/a/%61/%2e%2e/b", "/%c3%a9/..%2F", "///a//b/c/%64/%zz", "/files/%2561//", "*"} {
		f.Add(path, "/a")
	}
	f.Add("//%66iles///a%2Fb", "/files")
	f.Add("/%c3%a9//x", "/%C3%A9")
	f.Fuzz(func(t *testing.T, path, prefix string) {
		sent := []byte(path)
		normal, ok := NormalPath(sent, make([]byte, 0, 8))
		if string(sent) != path {
			t.Fatalf("NormalPath(%q) writes over the path", path)
		}
		stripped := stripPrefix(sent, prefixKey(prefix))
		if !ok {
			return
		}
		if again, ok := NormalPath(normal, nil); !ok || !bytes.Equal(again, normal) {
			t.Errorf("NormalPath(%q) = %q, whose own normal form is %q, %v", path, normal, again, ok)
		}
		if bytes.Contains(normal, []byte("//")) || !bytes.HasPrefix(normal, []byte("/")) {
			t.Errorf("NormalPath(%q) = %q, which is not normal", path, normal)
		}
		for s := range strings.SplitSeq(strings.ReplaceAll(string(normal), "%2F", "/"), "/") {
			if s == "." || s == ".." {
				t.Errorf("NormalPath(%q) = %q lets a dot segment through", path, normal)
			}
		}
		if a, b := decoded(t, path), decoded(t, string(normal)); strings.Join(a, "\x00/") != strings.Join(b, "\x00/") {
			t.Errorf("NormalPath(%q) = %q, which means %q instead of %q", path, normal, b, a)
		}
		if CheckPath("", prefix) != nil || prefixKey(prefix) == "" {
			return
		}
		if !under(normal, prefixKey(prefix)) {
			if !bytes.Equal(stripped, sent) {
				t.Errorf("%q is cut off %q, which is not below it: %q", prefix, path, stripped)
			}
			return
		}
		rest := string(normal[len(prefixKey(prefix)):])
		if rest == "" {
			rest = "/"
		}
		if left, ok := NormalPath(stripped, nil); !ok || string(left) != rest || bytes.HasPrefix(stripped, []byte("//")) || !strings.HasSuffix(path, strings.TrimPrefix(string(stripped), "/")) {
			t.Errorf("%q is cut off %q: %q, in normal form %q, expected %q", prefix, path, stripped, left, rest)
		}
	})
}
