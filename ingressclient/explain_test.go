package ingressclient

import (
	"embed"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// adminHandler is the admin listener of the resolver and of the load balancer in
// one. It plays back what those of a cloud have said, from testdata/admin, and
// what an evil or a broken one might say.
func (w *world) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cache", func(rw http.ResponseWriter, r *http.Request) {
		playBack(rw, "cache_"+strings.TrimSuffix(r.FormValue("name"), "."))
	})
	mux.HandleFunc("GET /trace", func(rw http.ResponseWriter, r *http.Request) {
		name := strings.TrimSuffix(r.FormValue("name"), ".")
		switch label, _, _ := strings.Cut(strings.TrimPrefix(name, "_http._tcp."), "."); label {
		case "slow":
			<-r.Context().Done()
		case "evil":
			fmt.Fprintf(rw, evilTrace, r.FormValue("name"))
		default:
			playBack(rw, "trace_"+name+"_"+r.FormValue("type"))
		}
	})
	mux.HandleFunc("GET /explain", func(rw http.ResponseWriter, r *http.Request) {
		u, err := url.Parse(r.FormValue("url"))
		if err == nil && u.Path == "/files/a" {
			playBack(rw, "explain_files")
			return
		}
		fmt.Fprintf(rw, `{"host":"x","normal_path":"/","route":"default","why":%q,"redirect":{"status":307,"location":"https://a\u009b/"}}`, "The url is "+r.FormValue("url"))
	})
	return mux
}

// evilTrace has a control character in every text.
const evilTrace = `{"name":%q,"rcode":"A\u001b[2J","explanation":"b\u001b","steps":[
{"kind":"query","zone":"c\u001b","server":"d\u001b","address":"e\u001b","reached":"f\u001b","name":"g\u001b","type":"h\u001b","why":"i\u001b",
 "transport":"j\u001b","queries":2,"notes":["k\u001b"],"outcome":"l\u001b","reason":"m\u001b","refused":[{"record":"n\u001b","reason":"o\u001b"}]},
{"kind":"query","zone":"p","outcome":"answer","accepted":["q\n\u001b"]},
{"kind":"r\u001b","why":"s\n\u001b"}]}`

//go:embed testdata/admin
var recorded embed.FS

func playBack(rw http.ResponseWriter, name string) {
	text, err := recorded.ReadFile("testdata/admin/" + name + ".json")
	if err != nil {
		rw.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprintf(rw, `{"detail":"nobody has recorded %s"}`, name)
		return
	}
	_, _ = rw.Write(text)
}

func TestWalk(t *testing.T) {
	head := "walk    from the root, as if the cache were empty: "
	aa := &response{Rcode: "NOERROR", Flags: []string{"aa"}}
	none := &response{Rcode: "NXDOMAIN"}
	root := step{Kind: "query", Name: "com.", Type: "A", Zone: ".", Server: "a.root.", Address: "192.0.2.1", Milliseconds: 1, Outcome: "referral"}
	with := func(change func(*step)) walk {
		s := root
		change(&s)
		return walk{Rcode: "NOERROR", Steps: []step{s}}
	}
	line := func(asked string) string {
		return head + "0 queries, 0.0 ms|  1  . (root)  a.root, 192.0.2.1  " + asked
	}
	const pad = "               "
	for _, tc := range []struct {
		name string
		walk walk
		want string
	}{
		{"a referral says who serves the zone, and where by the glue",
			with(func(s *step) {
				s.Why = "the closest known servers are those of .; minimised: asking only for com."
				s.Accepted = []string{"com. 86400 IN NS a.gtld.com.", "com. 86400 IN NS b.net.", "a.gtld.com. 86400 IN A 198.51.100.1", "a.gtld.com. 86400 IN AAAA ::1"}
			}),
			line("asked only for com A  1.0 ms") + "|" + pad + "-> referral: com is served by a.gtld.com at 198.51.100.1 and ::1, b.net (no address told) (TTL 1 d)"},
		{"where a server is really reached stands in parentheses, unless it is its address",
			walk{Rcode: "NOERROR", Queries: 2, Steps: []step{
				{Kind: "query", Zone: "a.b.", Server: "s.b.", Address: "192.0.2.1", Reached: "192.0.2.1:53", Name: "a.b.", Type: "A", Outcome: "answer"},
				{Kind: "query", Zone: "a.b.", Server: "s.b.", Address: "::1", Reached: "far:53", Name: "a.b.", Type: "A", Outcome: "answer"},
				{Kind: "query", Zone: "a.b.", Reached: "9.9.9.9:53", Name: "a.b.", Type: "A", Outcome: "answer"}}},
			head + "2 queries, 0.0 ms" +
				"|  1  a.b  s.b, 192.0.2.1     asked for a.b A  0.0 ms|          -> answer: there is no such record" +
				"|  2  a.b  s.b, ::1 (far:53)  asked for a.b A  0.0 ms|          -> answer: there is no such record" +
				"|  3  a.b  9.9.9.9:53         asked for a.b A  0.0 ms|          -> answer: there is no such record"},
		{"an answer tells its records, aliases too",
			with(func(s *step) {
				s.Outcome, s.Response = "answer", aa
				s.Accepted = []string{"www.a.b. 30 IN CNAME a.b.", "a.b. 90 IN A 192.0.2.9"}
			}),
			line("asked for com A  1.0 ms") + "|" + pad + "-> answer with authority: www.a.b CNAME a.b (TTL 30 s), a.b A 192.0.2.9 (TTL 90 s)"},
		{"a denial may be kept for the smaller of two times",
			with(func(s *step) {
				s.Outcome, s.Response = "answer", none
				s.Accepted = []string{"com. 3600 IN SOA a. b. 1 2 3 4 60"}
			}),
			line("asked for com A  1.0 ms") + "|" + pad + "-> answer: there is no such name, which may be kept for 1 min (SOA of com)"},
		{"an alias to a name without the record is an answer and a denial",
			with(func(s *step) {
				s.Outcome, s.Response = "answer", aa
				s.Accepted = []string{"www.a.b. 30 IN CNAME a.b.", "a.b. 10 IN SOA a. b. 1 2 3 4 60"}
			}),
			line("asked for com A  1.0 ms") + "|" + pad + "-> answer with authority: www.a.b CNAME a.b (TTL 30 s); there is no such record, which may be kept for 10 s (SOA of a.b)"},
		{"a SOA record that was asked for is an answer",
			with(func(s *step) {
				s.Outcome, s.Type, s.Accepted = "answer", "SOA", []string{"com. 0 IN SOA a. b. 1 2 3 4 60"}
			}),
			line("asked for com SOA  1.0 ms") + "|" + pad + "-> answer: com SOA a. b. 1 2 3 4 60 (TTL 0 s)"},
		{"what was refused, and why",
			with(func(s *step) {
				s.Accepted = []string{"com. 60 IN NS a."}
				s.Refused = []refusedRecord{{"bank. 60 IN A 192.0.2.66", "out of bailiwick"}}
			}),
			line("asked for com A  1.0 ms") + "|" + pad + "-> referral: com is served by a. (no address told) (TTL 1 min)|" + pad + "refused: bank A 192.0.2.66 (TTL 1 min): out of bailiwick"},
		{"more than eight refusals are counted",
			with(func(s *step) {
				s.Outcome = "answer"
				s.Refused = make([]refusedRecord, 10)
			}),
			line("asked for com A  1.0 ms") + "|" + pad + "-> answer: there is no such record" + strings.Repeat("|"+pad+"refused: : ", 8) + "|" + pad + "refused: 2 records more"},
		{"a server that was of no use, with what it cost",
			with(func(s *step) {
				s.Why, s.Outcome, s.Reason, s.Queries, s.Transport, s.Notes = "asked again, because it was silent", "timeout", "did not answer in time", 3, "tcp", []string{"it was silent twice"}
			}),
			line("asked for com A  1.0 ms over TCP, 3 messages") + "|" + pad + "why: asked again, because it was silent|" + pad + "note: it was silent twice|" + pad + "-> timeout: the server did not answer in time"},
		{"a look-up inside another one is indented, and remarks are not numbered",
			walk{Rcode: "NOERROR", Queries: 1, Steps: []step{
				{Kind: "note", Why: "no glue"},
				{Kind: "known", Name: "ns.com.", Type: "A", Why: "the answer is known", Accepted: []string{"ns.com. 7 IN A 192.0.2.7"}},
				{Kind: "query", Depth: 1, Zone: "com.", Reached: "x:53", Name: "ns.com.", Type: "A", Outcome: "lame"}}},
			head + "1 query, 0.0 ms|            note: no glue|            known: ns.com A, the answer is known: ns.com A 192.0.2.7 (TTL 7 s)" +
				"|    1  com  x:53  asked for ns.com A  0.0 ms|            -> lame: the server was of no use"},
		{"a failure has its sentence, and steps that were not kept are counted",
			walk{Rcode: "SERVFAIL", Explanation: "Nobody answers", More: 1},
			head + "0 queries, 0.0 ms|    and 1 further step that the resolver has not kept|result  SERVFAIL: Nobody answers"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := tc.walk.lines()
			for i := range got {
				got[i] = strings.TrimRight(got[i], " ")
			}
			want := strings.Split(tc.want, "|")
			for i := range want {
				want[i] = strings.TrimRight(want[i], " ")
			}
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func TestHeld(t *testing.T) {
	com := func(entries ...entry) held {
		h := held{Name: "a.com.", Entries: entries}
		h.Closest.Zone, h.Closest.Servers = "com.", []string{"ns.com.", "ns.net."}
		return h
	}
	for _, tc := range []struct {
		name string
		held held
		want string
	}{
		{"nothing, but who is closer", com(), "had nothing of it, but knew who serves com (ns.com, ns.net)"},
		{"nothing at all", held{}, "had nothing of it, and knew the servers of no zone but the root"},
		{"records of the type, and not those of others",
			com(entry{Name: "a.com.", Type: "A", Says: "records", State: "fresh", TTL: 12, Source: "dns-com", Rank: "answer", Records: []string{"a.com. 30 IN A 192.0.2.1", "a.com. 30 IN A 192.0.2.2"}},
				entry{Name: "a.com.", Type: "NS", Says: "records", State: "fresh"}),
			"had 192.0.2.1, 192.0.2.2, from dns-com, good for 12 s more"},
		{"an alias", com(entry{Name: "a.com.", Type: "CNAME", Says: "records", State: "fresh", TTL: 60, Records: []string{"a.com. 60 IN CNAME b.com."}}),
			"had another name for it, b.com, good for 1 min more"},
		{"a record that cannot be read is shown as it is", com(entry{Name: "a.com.", Type: "A", Says: "records", State: "fresh", TTL: 1, Records: []string{"a…"}}),
			"had a…, good for 1 s more"},
		{"what is stale", com(entry{Name: "a.com.", Type: "A", Says: "no such type", State: "stale"}),
			"knew that there is no such record, stale: to be used only where no server answers"},
		{"that a name above does not exist", com(entry{Name: "com.", Type: "every type", Says: "no such name", State: "fresh", TTL: 3600, Source: "dns-root"}),
			"knew that com does not exist, from dns-root, good for 1 h more"},
		{"a failure, and data of a low rank", com(entry{Name: "a.com.", Type: "A", Says: "failure", State: "fresh", TTL: 5, Reason: "nobody answers", Rank: "glue"}),
			"had a failure (nobody answers) (glue), good for 5 s more"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := tc.held.lines("a.com.", inOrder[1])
			if len(got) != 1 || got[0] != "cache   "+tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestDecision(t *testing.T) {
	plain := decision{Route: "r", Why: "W.", NormalPath: "/"}
	with := func(change func(*decision)) decision { d := plain; change(&d); return d }
	const head = "route    r|because  W."
	for _, tc := range []struct {
		name     string
		decision decision
		want     string
	}{
		{"a path that is refused", decision{Why: "W."}, "route    none|because  W.|answer   400, by the load balancer itself"},
		{"no route", decision{Why: "W.", NormalPath: "/"}, "route    none|because  W.|answer   404, by the load balancer itself"},
		{"a redirect", with(func(d *decision) { d.Redirect = &balanceRedirect{308, "https://a/"} }), head + "|answer   308, by the load balancer itself: it redirects to https://a/"},
		{"a redirect that cannot be", with(func(d *decision) { d.Redirect = &balanceRedirect{Status: 400} }), head + "|answer   400, by the load balancer itself: the redirect would lead nowhere"},
		{"what is forwarded, and what changes on the way", with(func(d *decision) {
			d.Others = []otherRoute{{"s", "S."}}
			d.Forwarded = &forwarded{Host: "h", Path: "/p?q", RequestHeaders: map[string]string{"X-B": "", "X-A": "1"}, ResponseHeaders: map[string]string{"X-C": "2"}}
		}), head + "|not      s: S.|forwards PUT /p?q with Host: h|sets     X-A: 1 (to the target)|removes  X-B (to the target)|sets     X-C: 2 (to the client)"},
		{"who of the pools may get it", with(func(d *decision) {
			d.Pools = []pool{
				{Name: "p", Weight: 95, Policy: "least_connections", Queue: 1, Targets: []balanceTarget{
					{Address: "a:1", State: "up", Resolved: "127.0.0.1:1", Weight: 2, InFlight: 1, Candidate: true, LastError: "old"},
					{Address: "long:1", State: "down", LastError: "connection refused", Weight: 1},
					{Address: "b:1", State: "up", Draining: true, Weight: 1}}},
				{Name: "q", Weight: 5, Policy: "hash", HashedBy: "X-User"},
			}
		}), head + "|pool     p: the one with the fewest requests first, for 95 % of the requests, 1 request is waiting" +
			"|      -> a:1     up, at 127.0.0.1:1, weight 2, 1 request under way|         long:1  down, connection refused|         b:1     up, draining" +
			"|pool     q: by the hash of the field X-User, for 5 % of the requests|         Nobody gets requests now: the answer is 503, unless a target comes up in time."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := strings.Join(tc.decision.lines("PUT"), "|"); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
	for policy, want := range map[string]string{"round_robin": "in turn", "random_two": "the less loaded of two drawn by lot", "hash": "by the hash of the client's address", "new": "by new"} {
		if got := (&pool{Policy: policy}).turn(); got != want {
			t.Errorf("%s: got %q, want %q", policy, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for seconds, want := range map[uint64]string{0: "0 s", 59: "59 s", 60: "1 min", 90: "90 s", 3600: "1 h", 5400: "90 min", 86400: "1 d", 90000: "25 h"} {
		if got := span(seconds); got != want {
			t.Errorf("%d: got %q, want %q", seconds, got, want)
		}
	}
}

func TestAdmin(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		answers    bool
		handler    http.HandlerFunc
	}{
		{"a reason is an answer", "too many", true, func(rw http.ResponseWriter, r *http.Request) {
			rw.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(rw, `{"detail":"too many"}`)
		}},
		{"a path that is not known is another part", "404 Not Found: another part", false, func(rw http.ResponseWriter, r *http.Request) {
			rw.WriteHeader(http.StatusNotFound)
			fmt.Fprint(rw, `{"detail":"no"}`)
		}},
		{"so is an error without a reason", "403 Forbidden: another part", false, func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(http.StatusForbidden) }},
		{"so is what is not JSON", "something else", false, func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, "hello") }},
		{"so is JSON about something else", "something else", false, func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, `{"status":"ok"}`) }},
		{"a redirect is not followed", "302 Found", false, http.RedirectHandler("http://192.0.2.1/", http.StatusFound).ServeHTTP},
		{"an answer without an end is cut", "over 8 MiB", false, func(rw http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := rw.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}},
		{"an answer that breaks off is none", "broke off", false, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(rw, "{")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := httptest.NewServer(tc.handler)
			defer s.Close()
			a := &admin{address: s.Listener.Addr().String(), timeout: 10 * time.Second}
			err := a.get(t.Context(), "/", nil, new(walk))
			if err == nil || !strings.Contains(err.Error(), tc.want) || a.answered != tc.answers {
				t.Errorf("got %v, answered: %v", err, a.answered)
			}
			if (a.sentence() == "") != tc.answers {
				t.Errorf("the sentence is %q", a.sentence())
			}
		})
	}
}
