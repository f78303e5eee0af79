package resolver

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// admin asks the admin listener.
func admin(t *testing.T, r *built, method, target string) (status int, body string) {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, h := range r.AdminHandlers() {
		mux.Handle(pattern, h)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w.Code, w.Body.String()
}

func TestAdminCache(t *testing.T) {
	t.Setenv("MINICLOUD_HTTP_PORT", "8080")
	c := stoppedClock()
	r := shipped(t, c.now, nil)
	query(t, r, "www.example.com. A")
	query(t, r, "nope.example.com. A")
	c.forward(10 * time.Second)
	ask := func(target string) (out struct {
		Entries []cached `json:"entries"`
		Zone    struct {
			Zone string `json:"zone"`
		} `json:"closest_zone"`
	}) {
		t.Helper()
		status, body := admin(t, r, http.MethodGet, target)
		if err := json.Unmarshal([]byte(body), &out); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		return out
	}
	got := ask("/cache?name=Example.com")
	if len(got.Entries) != 1 || got.Entries[0].TTL != 20 || got.Entries[0].State != "fresh" || got.Entries[0].Source != "dns-example-com" ||
		len(got.Entries[0].Records) != 1 || got.Zone.Zone != "example.com." {
		t.Errorf("got %+v", got)
	}
	if got := ask("/cache?name=www.example.com.&type=A"); len(got.Entries) != 0 {
		t.Errorf("another type: %+v", got)
	}
	if got := ask("/cache?name=below.nope.example.com"); len(got.Entries) != 1 || got.Entries[0].Says != "no such name" || got.Entries[0].Name != "nope.example.com." {
		t.Errorf("what covers a name: %+v", got)
	}
	before := upstream(t, r)
	if status, body := admin(t, r, http.MethodDelete, "/cache?name=example.com"); status != http.StatusOK || !strings.Contains(body, `"forgotten": 1`) && !strings.Contains(body, `"forgotten":1`) {
		t.Errorf("%d %s", status, body)
	}
	query(t, r, "example.com. A")
	if n := upstream(t, r) - before; n == 0 {
		t.Error("it was still known")
	}
	if status, body := admin(t, r, http.MethodGet, "/cache"); status != http.StatusOK || !strings.Contains(body, "max_bytes") {
		t.Errorf("%d %s", status, body)
	}
}

func TestAdminTrace(t *testing.T) {
	t.Setenv("MINICLOUD_HTTP_PORT", "8080")
	r := shipped(t, time.Now, nil)
	query(t, r, "www.example.com. A") // a trace does not believe the cache
	status, body := admin(t, r, http.MethodGet, "/trace?name=www.example.com&type=a")
	var got traced
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	var reached []string
	for _, s := range got.Steps {
		if s.Reached != "" {
			reached = append(reached, s.Reached+" "+string(s.Outcome))
		}
	}
	if want := "dns-root:53 referral, dns-com:53 referral, dns-example-com:53 answer"; strings.Join(reached, ", ") != want {
		t.Errorf("asked %v, expected %s", reached, want)
	}
	if got.Rcode != "NOERROR" || len(got.Answer) != 2 || got.Queries != 3 {
		t.Errorf("got %+v", got)
	}
}

func TestAdminSaysWhatIsWrong(t *testing.T) {
	r := newWorld(t).resolver(nil)
	for _, tt := range []struct {
		name, method, target string
		status               int
		says                 string
	}{
		{"a trace needs a name", http.MethodGet, "/trace", http.StatusBadRequest, "expected a domain name"},
		{"a name is one", http.MethodGet, "/trace?name=a..b", http.StatusBadRequest, "expected a domain name"},
		{"a type is one", http.MethodGet, "/trace?name=a.b&type=XYZ", http.StatusBadRequest, "expected one such as A"},
		{"a name has 255 octets at most", http.MethodGet, "/trace?name=" + strings.Repeat("a.", 126) + "aa", http.StatusBadRequest, "expected a domain name"},
		{"no record is of type 0", http.MethodGet, "/cache?name=a.b&type=TYPE0", http.StatusBadRequest, "expected one such as A"},
		{"nor of type OPT", http.MethodGet, "/cache?name=a.b&type=OPT", http.StatusBadRequest, "expected one such as A"},
		{"whatever it is called", http.MethodGet, "/cache?name=a.b&type=type41", http.StatusBadRequest, "expected one such as A"},
		{"nor of one for questions", http.MethodGet, "/cache?name=a.b&type=MAILB", http.StatusBadRequest, "expected one such as A"},
		{"but ANY can be asked for", http.MethodGet, "/cache?name=a.b&type=ANY", http.StatusOK, "closest_zone"},
		{"and what has no name", http.MethodGet, "/cache?name=a.b&type=TYPE65280", http.StatusOK, "closest_zone"},
		{"a special-use name is not asked for", http.MethodGet, "/trace?name=a.test", http.StatusUnprocessableEntity, "RFC 6761"},
		{"to forget everything is not meant", http.MethodDelete, "/cache", http.StatusBadRequest, "expected a domain name"},
		{"a trace is read", http.MethodPost, "/trace?name=a.b", http.StatusMethodNotAllowed, "expected GET"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := admin(t, r, tt.method, tt.target)
			if status != tt.status || !strings.Contains(body, tt.says) {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
	for range maxTraces {
		r.traces <- struct{}{}
	}
	if status, body := admin(t, r, http.MethodGet, "/trace?name=a.b"); status != http.StatusServiceUnavailable || !strings.Contains(body, "under way") {
		t.Errorf("too many at once: %d %s", status, body)
	}
}
