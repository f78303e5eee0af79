package lb

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"minicloud.internal/kit"
	"minicloud.internal/lb/upstream"
)

// ask calls the admin listener's handlers.
func (b *balancer) ask(t *testing.T, method, url string, header http.Header, answer any) (int, string) {
	t.Helper()
	mux := kit.Admin(b.Health(), b.reg, b.AdminHandlers())
	r := httptest.NewRequest(method, url, nil)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	if answer != nil {
		if err := json.Unmarshal(w.Body.Bytes(), answer); err != nil {
			t.Fatalf("%s %s got %d %s: %v", method, url, w.Code, w.Body, err)
		}
	}
	return w.Code, w.Body.String()
}

func TestAdmin(t *testing.T) {
	_, one := backend(t, named("one"))
	s, gone := backend(t, named("gone"))
	s.Close()
	cfg := patient(one, gone)
	cfg.PathRoutes = []PathRoute{{Path: "/files", Address: gone}}
	cfg.Routes = []Route{{Host: "old.example.com", Redirect: "https://example.com{path}"}}
	lb, c := start(t, cfg), client(t)
	t.Run("/targets tells states and reasons", func(t *testing.T) {
		var got struct{ Targets []upstream.Status }
		if code, _ := lb.ask(t, "GET", "/targets", nil, &got); code != 200 || len(got.Targets) != 2 {
			t.Fatalf("%d %v", code, got)
		}
		a, b := got.Targets[0], got.Targets[1]
		if a.Address != one || a.State != "up" || a.Since == nil || a.LastError != "" || a.InFlight != 0 {
			t.Errorf("the first is %+v", a)
		}
		if b.Address != gone || b.State != "down" || !strings.Contains(b.LastError, "refused") {
			t.Errorf("the second is %+v", b)
		}
	})
	t.Run("/routes tells pools", func(t *testing.T) {
		want := `{"routes":[` +
			`{"name":"/files","path":"/files","pools":[{"name":"/files","weight":1,"policy":"round_robin","queue":0}],"targets":["` + gone + `"],"healthy":[]},` +
			`{"name":"old.example.com/","host":"old.example.com","redirect":"https://example.com{path}","targets":[],"healthy":[]},` +
			`{"name":"default","pools":[{"name":"default","weight":1,"policy":"round_robin","queue":0}],"targets":["` + one + `"],"healthy":["` + one + `"]}]}` + "\n"
		if _, got := lb.ask(t, "GET", "/routes", nil, nil); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
	t.Run("a target that is drained gets no request until it is enabled", func(t *testing.T) {
		var s upstream.Status
		if code, _ := lb.ask(t, "POST", "/targets/"+one+"/drain", nil, &s); code != 200 || s.Address != one || !s.Draining {
			t.Errorf("got %d %+v", code, s)
		}
		if code, _, _ := do(t, c, "GET", lb.url("/"), ""); code != 503 {
			t.Errorf("the next request got %d", code)
		}
		if n := lb.metric(t, "target_draining", "target", one); n != 1 {
			t.Errorf("the metric is %v", n)
		}
		s = upstream.Status{}
		if code, _ := lb.ask(t, "POST", "/targets/"+one+"/enable", nil, &s); code != 200 || s.Draining {
			t.Errorf("got %d %+v", code, s)
		}
		if code, _, _ := do(t, c, "GET", lb.url("/"), ""); code != 200 {
			t.Errorf("the next request got %d", code)
		}
	})
	for _, refused := range []struct {
		name, method, url string
		header            http.Header
		code              int
	}{
		{"an unknown target is a 404", "POST", "/targets/nobody:1/drain", nil, 404},
		{"to drain with GET is a 405", "GET", "/targets/" + one + "/drain", nil, 405},
		{"to enable with GET is a 405", "GET", "/targets/" + one + "/enable", nil, 405},
		{"to write to /routes is a 405", "POST", "/routes", nil, 405},
		{"a form on a page of another site drains nobody", "POST", "/targets/" + one + "/drain", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"nor does one in an old browser", "POST", "/targets/" + one + "/drain", http.Header{"Origin": {"https://evil.example"}}, 403},
		{"an explanation needs a url", "GET", "/explain", nil, 400},
		{"an explanation needs one with a host or a path", "GET", "/explain?url=mailto:me", nil, 400},
		{"a client is an address", "GET", "/explain?url=/a&client=me", nil, 400},
	} {
		t.Run(refused.name, func(t *testing.T) {
			var p kit.Problem
			if code, body := lb.ask(t, refused.method, refused.url, refused.header, &p); code != refused.code || p.Status != code || p.Detail == "" {
				t.Errorf("got %d %s", code, body)
			}
			if lb.set.Targets()[0].Draining() {
				t.Error("it had an effect")
			}
		})
	}
}

func TestExplain(t *testing.T) {
	_, one := backend(t, named("one"))
	_, two := backend(t, named("two"))
	s, gone := backend(t, named("gone"))
	s.Close()
	cfg := patient(one, two, gone)
	cfg.Pools = []Pool{
		{Name: "stable", Targets: []string{one, two, gone}, Balance: upstream.Hash},
		{Name: "canary", Targets: []string{two}, Balance: upstream.Hash, Hash: "header:X-User"},
	}
	cfg.Routes = []Route{
		{Host: "api.example.com", Path: "/v2", Split: map[string]int{"stable": 95, "canary": 5}, StripPrefix: "/v2", RewriteHost: "inner",
			RequestHeaders: map[string]string{"X-Site": "a"}},
		{Path: "/v2/more", Pool: "canary"},
		{Host: "*.example.com", Redirect: "https://example.com{path}{query}", RedirectStatus: 308},
	}
	lb := start(t, cfg)
	explain := func(t *testing.T, query string) (x explanation) {
		t.Helper()
		if code, body := lb.ask(t, "GET", "/explain?"+query, nil, &x); code != 200 {
			t.Fatalf("got %d %s", code, body)
		}
		return x
	}
	t.Run("it names the route, what is forwarded, and the candidates", func(t *testing.T) {
		x := explain(t, "url=http://api.example.com:8080/v2/%252561//more%3Fq=1&client=192.0.2.7")
		if x.Host != "api.example.com:8080" || x.Path != "/v2/%2561//more" || x.NormalPath != "/v2/%2561/more" || x.Route != "api.example.com/v2" || x.Why == "" {
			t.Errorf("got %+v", x)
		}
		if f := x.Forwarded; f == nil || f.Host != "inner" || f.Path != "/%2561//more?q=1" || f.RequestHeaders["X-Site"] != "a" {
			t.Errorf("forwarded is %+v", x.Forwarded)
		}
		if len(x.Others) != 2 || x.Others[0].Route != "*.example.com/" || x.Others[0].WhyNot == "" {
			t.Errorf("the others are %+v", x.Others)
		}
		if len(x.Pools) != 2 || x.Pools[0].Name != "canary" || x.Pools[0].Weight != 5 || x.Pools[0].HashedBy != "X-User" || x.Pools[0].Chosen != "" {
			t.Fatalf("the pools are %+v", x.Pools)
		}
		p := x.Pools[1]
		if p.Name != "stable" || p.HashedBy != "client" || !slices.Contains([]string{one, two}, p.Chosen) || len(p.Targets) != 3 {
			t.Fatalf("the second is %+v", p)
		}
		for i, up := range []bool{true, true, false} {
			if p.Targets[i].Candidate != up || (p.Targets[i].State == "up") != up {
				t.Errorf("target %d is %+v", i, p.Targets[i])
			}
		}
	})
	t.Run("it takes no turn and no place", func(t *testing.T) {
		for range 3 {
			explain(t, "url=http://api.example.com/v2&client=192.0.2.7")
		}
		for _, s := range lb.set.Statuses() {
			if s.InFlight != 0 {
				t.Errorf("%s has %d in flight", s.Address, s.InFlight)
			}
		}
	})
	t.Run("it names where a redirect leads", func(t *testing.T) {
		x := explain(t, "url=http://www.example.com/a%3Fb=c")
		if x.Redirect == nil || *x.Redirect != (redirect{308, "https://example.com/a?b=c"}) || x.Forwarded != nil {
			t.Errorf("got %+v", x)
		}
	})
	t.Run("it says why a path is refused", func(t *testing.T) {
		if x := explain(t, "url=/a/%252e%252e/b"); x.Route != "" || x.NormalPath != "" || !strings.Contains(x.Why, "refused") {
			t.Errorf("got %+v", x)
		}
	})
	t.Run("it knows who answers /healthz", func(t *testing.T) {
		if x := explain(t, "url=/healthz"); !strings.Contains(x.Why, "by the load balancer") {
			t.Errorf("got %+v", x)
		}
	})
	t.Run("a path alone is for any host", func(t *testing.T) {
		if x := explain(t, "url=/v2/more/a"); x.Route != "/v2/more" {
			t.Errorf("got %+v", x)
		}
	})
}
