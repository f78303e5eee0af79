package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBook(t *testing.T) {
	c := newCloud(t)
	r := c.start("one")

	t.Run("the book begins with two spells", func(t *testing.T) {
		a := r.call("GET", "/api/spells", "")
		want := `[{"id":1,"name":"Accio","description":"Summons an object"},{"id":2,"name":"Lumos","description":"Creates light"}]` + "\n"
		if a.status != 200 || a.body != want || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("got %v", a)
		}
	})
	t.Run("a POST answers 201, the place, and the spell", func(t *testing.T) {
		a := r.call("POST", "/api/spells", `{"name":"Nox","description":"Puts out light"}`)
		if a.status != 201 || a.header.Get("Location") != "/api/spells/3" || a.spell(t) != (Spell{3, "Nox", "Puts out light"}) {
			t.Errorf("got %v", a)
		}
	})
	t.Run("two spells may have one name, and a description may be absent", func(t *testing.T) {
		if a := r.call("POST", "/api/spells", `{"name":"Nox"}`); a.status != 201 || a.spell(t) != (Spell{4, "Nox", ""}) {
			t.Errorf("got %v", a)
		}
	})
	t.Run("a spell is read from the data store, then from the cache", func(t *testing.T) {
		for _, want := range []string{miss, hit} {
			a := r.call("GET", "/api/spells/3", "")
			if a.status != 200 || a.header.Get("X-Cache") != want || a.spell(t) != (Spell{3, "Nox", "Puts out light"}) {
				t.Errorf("want a %s, got %v", want, a)
			}
		}
	})
	t.Run("a PUT replaces, and the next read sees it", func(t *testing.T) {
		want := Spell{3, "Nox Maxima", "Puts out all light\n\tin the \"house\" & garden 魔"}
		body, _ := json.Marshal(want)
		if a := r.call("PUT", "/api/spells/3", string(body)); a.status != 200 || a.spell(t) != want {
			t.Errorf("got %v", a)
		}
		if a := r.call("GET", "/api/spells/3", ""); a.header.Get("X-Cache") != miss || a.spell(t) != want {
			t.Errorf("got %v", a)
		}
	})
	t.Run("a HEAD has the header fields of the GET and no body", func(t *testing.T) {
		a := r.call("HEAD", "/api/spells/3", "")
		if a.status != 200 || a.body != "" || a.header.Get("Content-Type") != "application/json" || a.header.Get("X-Cache") == "" {
			t.Errorf("got %v", a)
		}
	})
	t.Run("a deleted spell is gone, from the cache too", func(t *testing.T) {
		r.call("GET", "/api/spells/4", "")
		for _, want := range []struct {
			method string
			status int
		}{{"DELETE", 204}, {"DELETE", 404}, {"GET", 404}, {"PUT", 404}} {
			body := ""
			if want.method == "PUT" {
				body = `{"name":"Nox"}`
			}
			a := r.call(want.method, "/api/spells/4", body)
			if a.status != want.status {
				t.Errorf("%s: want %d, got %v", want.method, want.status, a)
			}
			if want.status == 404 && !strings.Contains(a.problem(t).Detail, "no spell 4") {
				t.Errorf("%s: got %v", want.method, a)
			}
		}
	})
	t.Run("an id is not given twice", func(t *testing.T) {
		r.call("DELETE", "/api/spells/3", "")
		if a := r.call("POST", "/api/spells", `{"name":"Protego"}`); a.spell(t).ID != 5 {
			t.Errorf("got %v", a)
		}
	})
	t.Run("every answer names the replica and the request", func(t *testing.T) {
		for _, path := range []string{"/api/spells", "/api/spells/1", "/api/spells/99", "/api/spells/x", "/elsewhere"} {
			a := r.call("GET", path, "", "X-Request-Id", "mine")
			if a.header.Get("X-Served-By") != "one" || a.header.Get("X-Request-Id") != "mine" {
				t.Errorf("%s: got %v", path, a.header)
			}
		}
	})
	t.Run("requests are counted by the pattern of their route", func(t *testing.T) {
		for _, m := range []struct {
			labels []string
			least  float64
		}{
			{[]string{"route", "/api/spells/{id}", "method", "GET", "code", "2xx"}, 4},
			{[]string{"route", "/api/spells", "method", "POST", "code", "2xx"}, 3},
			{[]string{"route", "none", "method", "GET", "code", "4xx"}, 1},
		} {
			if got := r.metric("minicloud_httpapi_requests_total", m.labels...); got < m.least {
				t.Errorf("%v: %v, want at least %v", m.labels, got, m.least)
			}
		}
	})
}

func TestList(t *testing.T) {
	c := newCloud(t)
	r := c.start("one")
	for i := 3; i <= 120; i++ {
		r.call("POST", "/api/spells", fmt.Sprintf(`{"name":"Spell %d"}`, i))
	}
	for _, c := range []struct {
		name, query string
		first, n    int
		next        string
	}{
		{"without a limit there are 100, and where to go on", "", 1, 100, `</api/spells?limit=100&after=100>; rel="next"`},
		{"the last page names no other", "?limit=100&after=100", 101, 20, ""},
		{"a page that ends with the book names no other", "?limit=20&after=100", 101, 20, ""},
		{"after skips up to that id", "?limit=2&after=7", 8, 2, `</api/spells?limit=2&after=9>; rel="next"`},
		{"past the end is an empty array", "?after=120", 0, 0, ""},
		{"the highest limit is 1000", "?limit=1000", 1, 120, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := r.call("GET", "/api/spells"+c.query, "")
			var spells []Spell
			if err := json.Unmarshal([]byte(a.body), &spells); err != nil || spells == nil || len(spells) != c.n || a.header.Get("Link") != c.next {
				t.Fatalf("%d spells, Link %q, want %d and %q (%v)", len(spells), a.header.Get("Link"), c.n, c.next, err)
			}
			for i, sp := range spells {
				if sp.ID != int64(c.first+i) {
					t.Fatalf("spell %d has the id %d", i, sp.ID)
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	c := newCloud(t)
	r := c.start("one")
	long := func(n int) string { return strings.Repeat("é", n) }
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		detail                   string
		fields                   []string
	}{
		{"malformed JSON", "POST", "/api/spells", `{"name":`, nil, 400, "ends in the middle", nil},
		{"two values", "POST", "/api/spells", `{"name":"a"}{}`, nil, 400, "more than one", nil},
		{"an array", "POST", "/api/spells", `[]`, nil, 400, "object", nil},
		{"an empty body", "POST", "/api/spells", "", nil, 400, "empty", nil},
		{"an unknown field is named", "POST", "/api/spells", `{"name":"a","colour":"red"}`, nil, 400, `"colour"`, nil},
		{"a POST has no id to choose", "POST", "/api/spells", `{"id":9,"name":"a"}`, nil, 400, `"id"`, nil},
		{"a number for a name", "POST", "/api/spells", `{"name":1}`, nil, 400, `"name"`, nil},
		{"another content type", "POST", "/api/spells", `name=a`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "application/json", nil},
		{"a body over the limit", "POST", "/api/spells", `{"name":"` + strings.Repeat("a", 64<<10) + `"}`, nil, 413, "65536 bytes", nil},
		{"a missing name", "POST", "/api/spells", `{"description":"a"}`, nil, 422, `the field "name" is empty`, []string{"name"}},
		{"a blank name", "POST", "/api/spells", `{"name":" \u2003"}`, nil, 422, `the field "name" is empty`, []string{"name"}},
		{"a name of 101 characters", "POST", "/api/spells", `{"name":"` + long(101) + `"}`, nil, 422, "101 characters", []string{"name"}},
		{"a newline in a name", "POST", "/api/spells", `{"name":"a\nb"}`, nil, 422, "control character", []string{"name"}},
		{"a NUL in a description", "POST", "/api/spells", `{"name":"a","description":"\u0000"}`, nil, 422, "control character", []string{"description"}},
		{"every wrong field is named", "PUT", "/api/spells/1", `{"description":"` + long(2001) + `"}`, nil, 422, "2001 characters", []string{"name", "description"}},
		{"an id in the body that is not the path's", "PUT", "/api/spells/1", `{"id":2,"name":"a"}`, nil, 422, "expected 1", []string{"id"}},
		{"an id of 0", "GET", "/api/spells/0", "", nil, 400, "whole number", nil},
		{"a negative id", "DELETE", "/api/spells/-1", "", nil, 400, "whole number", nil},
		{"an id that is a word", "GET", "/api/spells/accio", "", nil, 400, `"accio"`, nil},
		{"an id that no number holds", "GET", "/api/spells/9223372036854775808", "", nil, 400, "whole number", nil},
		{"a second spelling of an id", "GET", "/api/spells/01", "", nil, 400, "whole number", nil},
		{"an escaped slash", "GET", "/api/spells/1%2f2", "", nil, 400, "whole number", nil},
		{"a limit of 0", "GET", "/api/spells?limit=0", "", nil, 400, "1 to 1000", nil},
		{"a limit over 1000", "GET", "/api/spells?limit=1001", "", nil, 400, "1 to 1000", nil},
		{"an after that is no number", "GET", "/api/spells?after=x", "", nil, 400, "after", nil},
		{"a path that is not there", "GET", "/spells", "", nil, 404, "/api/spells", nil},
		{"a trailing slash", "GET", "/api/spells/", "", nil, 404, "/api/spells", nil},
	} {
		t.Run(c.name+" is refused", func(t *testing.T) {
			a := r.call(c.method, c.path, c.body, c.headers...)
			p := a.problem(t)
			if a.status != c.status || !strings.Contains(p.Detail, c.detail) {
				t.Fatalf("got %v, want %d with %q", a, c.status, c.detail)
			}
			var fields []string
			for _, e := range p.Errors {
				fields = append(fields, e.Field)
			}
			if diff := cmp.Diff(c.fields, fields); diff != "" {
				t.Errorf("errors[]: %s", diff)
			}
		})
	}
	t.Run("the longest name and description are taken", func(t *testing.T) {
		if a := r.call("POST", "/api/spells", `{"name":"`+long(100)+`","description":"`+long(2000)+`"}`); a.status != 201 {
			t.Errorf("got %v", a)
		}
	})
	for _, c := range []struct{ method, path, allow string }{
		{"DELETE", "/api/spells", "GET, HEAD, POST"},
		{"PATCH", "/api/spells/1", "GET, HEAD, PUT, DELETE"},
		{"BREW", "/api/spells/1", "GET, HEAD, PUT, DELETE"},
	} {
		t.Run(c.method+" "+c.path+" is refused with the methods that are allowed", func(t *testing.T) {
			a := r.call(c.method, c.path, "")
			if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != c.allow || a.problem(t).Title != "Method Not Allowed" {
				t.Errorf("got %v", a)
			}
		})
	}
	t.Run("nothing that was refused is in the book", func(t *testing.T) {
		if a := r.call("GET", "/api/spells", ""); strings.Count(a.body, `"id"`) != 3 {
			t.Errorf("got %v", a)
		}
	})
}

func TestTwoReplicas(t *testing.T) {
	c := newCloud(t)
	var starting sync.WaitGroup
	replicas := make([]*replica, 2)
	for i, name := range []string{"one", "two"} {
		starting.Go(func() { replicas[i] = c.replica(c.config(name)) })
	}
	starting.Wait()
	one, two := replicas[0], replicas[1]
	<-one.store.schema
	<-two.store.schema

	t.Run("two that start together seed the book once", func(t *testing.T) {
		if a := two.call("GET", "/api/spells", ""); strings.Count(a.body, `"id"`) != 2 {
			t.Errorf("got %v", a)
		}
		c.quietNow(one)
		if seen := c.queue.seen(); len(seen) != 2 {
			t.Errorf("events of the spells %v", seen)
		}
	})
	t.Run("what one changes the other sees at once", func(t *testing.T) {
		two.call("GET", "/api/spells/2", "")
		two.call("GET", "/api/spells/2", "")
		one.call("PUT", "/api/spells/2", `{"name":"Lumos Maxima"}`)
		if a := two.call("GET", "/api/spells/2", ""); a.spell(t).Name != "Lumos Maxima" {
			t.Errorf("got %v", a)
		}
	})
	t.Run("a deleted seed does not come back with a new replica", func(t *testing.T) {
		one.call("DELETE", "/api/spells/1", "")
		one.stop()
		three := c.start("three")
		if a := three.call("GET", "/api/spells", ""); strings.Contains(a.body, "Accio") || three.call("GET", "/api/spells/1", "").status != 404 {
			t.Errorf("got %v", a)
		}
	})
}
