package objectstorage

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"minicloud.internal/kit"
	"minicloud.internal/objectstorage/client"
	"minicloud.internal/objectstorage/store"
)

// page asks for a page of the listing.
func (r *running) page(t *testing.T, query string) (l listing) {
	t.Helper()
	a := r.do(t, http.MethodGet, "/files/"+query, nil)
	if a.status != 200 || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("GET /files/%s: %+v", query, a)
	}
	if err := json.Unmarshal([]byte(a.body), &l); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestList(t *testing.T) {
	r := run(t, nil, nil)
	if a := r.do(t, http.MethodGet, "/files", nil); a.body != `{"prefix":"","objects":[],"prefixes":[],"next":""}`+"\n" {
		t.Errorf("an empty store: %+v", a)
	}
	for _, key := range []string{"a.txt", "b/1", "b/2", "b/c/3", "d e/é"} {
		r.put(t, client.Path(key), "hello", "Content-Type: text/x-"+fmt.Sprint(len(key)))
	}
	for _, c := range []struct{ name, query, objects, prefixes, next string }{
		{"everything, sorted", "", "a.txt b/1 b/2 b/c/3 d e/é", "", ""},
		{"a prefix", "?prefix=b/", "b/1 b/2 b/c/3", "", ""},
		{"a delimiter", "?delimiter=/", "a.txt", "b/ d e/", ""},
		{"both", "?prefix=b/&delimiter=%2F", "b/1 b/2", "b/c/", ""},
		{"a limit", "?limit=2", "a.txt b/1", "", "b/1"},
		{"the page after", "?limit=2&after=b/1", "b/2 b/c/3", "", "b/c/3"},
		{"the last page", "?limit=2&after=b/c/3", "d e/é", "", ""},
		{"after a common prefix", "?limit=1&delimiter=/&after=b/", "", "d e/", ""},
		{"nothing", "?prefix=z", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := r.page(t, c.query)
			var keys []string
			for _, o := range l.Objects {
				keys = append(keys, o.Key)
				if o.Size != 5 || `"`+o.ETag+`"` != helloETag || o.LastModified.IsZero() || o.ContentType != "text/x-"+fmt.Sprint(len(o.Key)) {
					t.Errorf("%+v", o)
				}
			}
			if got := strings.Join(keys, " "); got != c.objects || strings.Join(l.Prefixes, " ") != c.prefixes || l.Next != c.next {
				t.Errorf("objects %s, prefixes %s, next %q", got, l.Prefixes, l.Next)
			}
		})
	}
	for _, c := range []struct{ query, want string }{
		{"?limit=0", "from 1 to 1000"},
		{"?limit=1001", "from 1 to 1000"},
		{"?limit=x", "from 1 to 1000"},
		{"?limit=1&limit=2", "2 times"},
		{"?max-keys=3", "max-keys"},
		{"?prefix=%ff", "UTF-8"},
		{"?prefix=" + strings.Repeat("p", 1025), "1025 bytes"},
		{"?prefix=%zz", "malformed"},
	} {
		if a := r.do(t, http.MethodGet, "/files/"+c.query, nil); a.status != 400 || !strings.Contains(a.body, c.want) {
			t.Errorf("%.30s: %+v, want 400 with %q", c.query, a, c.want)
		} else {
			wantProblem(t, a)
		}
	}
}

// The pages of any walk, put together, are the sorted keys: none twice, none
// missing.
func TestPagesAreTheWhole(t *testing.T) {
	r := run(t, nil, nil)
	random := rand.New(rand.NewPCG(3, 4))
	model := map[string]bool{}
	for range 120 {
		var key strings.Builder
		for range 1 + random.IntN(4) {
			key.WriteString([]string{"a", "b", "/", "?", "é", "+"}[random.IntN(6)])
		}
		model[key.String()] = true
		r.put(t, client.Path(key.String()), "x")
	}
	for _, prefix := range []string{"", "a", "é", "/"} {
		for _, delimiter := range []string{"", "/", "b"} {
			want := map[string]bool{}
			for key := range model {
				rest, ok := strings.CutPrefix(key, prefix)
				if before, _, found := strings.Cut(rest, delimiter); ok && found && delimiter != "" {
					want[prefix+before+delimiter] = true
				} else if ok {
					want[key] = true
				}
			}
			var got []string
			for after := ""; ; {
				q := url.Values{"prefix": {prefix}, "delimiter": {delimiter}, "limit": {"7"}, "after": {after}}
				l := r.page(t, "?"+q.Encode())
				if len(l.Objects)+len(l.Prefixes) > 7 {
					t.Fatalf("a page of %d entries", len(l.Objects)+len(l.Prefixes))
				}
				for _, o := range l.Objects {
					got = append(got, o.Key)
				}
				got = append(got, l.Prefixes...)
				if after = l.Next; after == "" {
					break
				}
			}
			slices.Sort(got)
			if len(got) != len(want) {
				t.Errorf("prefix %q, delimiter %q: %d entries, want %d", prefix, delimiter, len(got), len(want))
			}
			for _, entry := range slices.Compact(got) {
				if !want[entry] {
					t.Errorf("prefix %q, delimiter %q: %q does not belong", prefix, delimiter, entry)
				}
			}
		}
	}
}

func TestListForPeople(t *testing.T) {
	r := run(t, nil, nil)
	keys := []string{"a b/<script>", "a b/2", "c&d", "../up"}
	for _, key := range keys {
		r.put(t, client.Path(key), "body of "+key)
	}
	const browser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	a := r.do(t, http.MethodGet, "/files/?limit=3", nil, browser)
	if a.status != 200 || a.header.Get("Content-Type") != "text/html; charset=utf-8" || strings.Contains(a.body, "<script>") {
		t.Fatalf("%+v", a)
	}
	if !strings.Contains(a.body, "next page") {
		t.Errorf("no way to the next page in %s", a.body)
	}
	a = r.do(t, http.MethodGet, "/files/", nil, browser)
	links := regexp.MustCompile(`<td><a href="([^"]*)">`).FindAllStringSubmatch(a.body, -1)
	if len(links) != len(keys) {
		t.Fatalf("%d links in %s", len(links), a.body)
	}
	for _, link := range links {
		if got := r.do(t, http.MethodGet, strings.ReplaceAll(link[1], "&amp;", "&"), nil); !strings.HasPrefix(got.body, "body of ") {
			t.Errorf("the link %s leads to %+v", link[1], got)
		}
	}
	a = r.do(t, http.MethodGet, "/files/?delimiter=/", nil, browser)
	if !strings.Contains(a.body, `href="/files/?delimiter=%2F&amp;prefix=a&#43;b%2F"`) && !strings.Contains(a.body, `prefix=a+b%2F`) {
		t.Errorf("no link to the folder in %s", a.body)
	}
}

func TestPrefersHTML(t *testing.T) {
	for _, c := range []struct {
		accept string
		want   bool
	}{
		{"", false},
		{"*/*", false},
		{"text/html", true},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", true},
		{"text/*", true},
		{"application/json, text/html;q=0.9", false},
		{"application/json;q=0.5, text/html;q=0.9", true},
		{"text/html;q=0, */*", false},
		{"text/html;q=x", true},
	} {
		if got := prefersHTML([]string{c.accept}); got != c.want {
			t.Errorf("%q: %v, want %v", c.accept, got, c.want)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{"", "prefix=a&delimiter=/&limit=3&after=b", "limit=-1", "limit=99999999999999999999", "prefix=%ff", "a;b", "%", "limit=1&limit=1"} {
		f.Add(seed, "text/html;q=0.3")
	}
	f.Add("", "text/html;q=NaN, ;;q=,*/*")
	f.Fuzz(func(t *testing.T, raw, accept string) {
		prefersHTML([]string{accept})
		q, err := parseQuery(raw)
		if err != nil {
			var p *kit.Problem
			if !errors.As(err, &p) || p.Status != 400 {
				t.Fatalf("%v, want a problem with status 400", err)
			}
			return
		}
		if q.Limit < 1 || q.Limit > maxLimit || max(len(q.Prefix), len(q.Delimiter), len(q.After)) > store.MaxKey {
			t.Fatalf("%+v", q)
		}
	})
}

// A key survives the way through a URL, whatever its bytes.
func FuzzKeyOf(f *testing.F) {
	for _, seed := range []string{"a", "a/b", "../..", "//", "%2e%2e", "a b?c#d", "\x00", "é", "\xff", "", "put"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if u, err := url.ParseRequestURI("/" + key); err == nil {
			if k, ok := keyOf(u.Path); ok && store.CheckKey(k) == nil && u.Path != "/files/"+k {
				t.Fatalf("the path %q became the key %q", u.Path, k)
			}
		}
		u, err := url.ParseRequestURI(client.Path(key))
		if err != nil {
			t.Fatalf("the path of %q: %v", key, err)
		}
		if got, ok := keyOf(u.Path); !ok || got != key {
			t.Fatalf("%q became %q, %v", key, got, ok)
		}
	})
}

func FuzzParseETags(f *testing.F) {
	for _, seed := range []string{"*", `"a"`, `"a", W/"b" ,"c"`, `"*"`, `"`, `,`, `"a" "b"`, "W/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, v string) {
		tags, err := parseETags(v)
		if (err == nil) != (len(tags) > 0) {
			t.Fatalf("%q: %q, %v", v, tags, err)
		}
		if slices.Contains(tags, "*") && strings.TrimSpace(v) != "*" {
			t.Fatalf("%q would match any object", v)
		}
	})
}
