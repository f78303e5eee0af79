package lb

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSentencesOfTheLog(t *testing.T) {
	_, one := backend(t, named("one"))
	_, two := backend(t, named("two"))
	_, files := backend(t, named("files"))
	cfg := quick(one, two, files)
	cfg.PathRoutes = []PathRoute{{Path: "/files", Address: files}}
	lb, c := start(t, cfg), client(t)
	for _, path := range []string{"/api/spells", "/api/spells?page=2", "/files/a%20b"} {
		do(t, c, "GET", lb.url(path), "")
	}
	// Lines are written after their request, in their order.
	lb.log.wait(t, 0, "Routing to specific path-based backend: ")
	var got []string
	for _, line := range lb.log.since(0, "") {
		sentence, id, found := strings.Cut(line, " request_id=")
		if found && len(id) != 32 {
			t.Errorf("the id in %q is not 32 digits", line)
		}
		if found || strings.HasPrefix(line, "Healthy targets: ") {
			got = append(got, sentence)
		}
	}
	want := []string{
		"Healthy targets: 3",
		"Request path: /api/spells", "Forwarding connection to backend: " + one,
		"Request path: /api/spells", "Forwarding connection to backend: " + two,
		"Request path: /files/a%20b", "Routing to specific path-based backend: " + files,
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log says\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	t.Run("access_log = false leaves out those of requests", func(t *testing.T) {
		cfg := quick(one)
		cfg.AccessLog = false
		lb := start(t, cfg)
		do(t, c, "GET", lb.url("/api"), "")
		if got := len(lb.log.since(0, "Request path")) + len(lb.log.since(0, "Forwarding")); got != 0 {
			t.Errorf("%d lines", got)
		}
	})
}

func TestWhatIsForwarded(t *testing.T) {
	type seen struct {
		URI, Host string
		Header    http.Header
	}
	_, echo := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.Header().Set("X-Request-Id", "of-the-target")
		_ = json.NewEncoder(w).Encode(seen{r.RequestURI, r.Host, r.Header})
	})
	lb := start(t, quick(echo))
	ask := func(t *testing.T, head string) (seen, http.Header) {
		t.Helper()
		res, body := raw(t, lb.addr, head+"\r\n\r\n")
		var s seen
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			t.Fatalf("%d %q: %v", res.StatusCode, body, err)
		}
		return s, res.Header
	}
	for _, uri := range []string{
		"/", "/files/a%2Fb", "/files//a///b", "//files", "/files/a%20b%c3%a9", "/%66iles/%41", "/a;b=c,d:e@f",
		"/a?x=1;y=2&bad=%zz&&", "/a?", "/a/", "/files/..a/.b",
	} {
		t.Run("the target gets "+uri+" as it is", func(t *testing.T) {
			if got, _ := ask(t, "GET "+uri+" HTTP/1.1\r\nHost: x"); got.URI != uri {
				t.Errorf("the target got %s", got.URI)
			}
		})
	}
	t.Run("headers are those of a proxy that trusts nobody", func(t *testing.T) {
		got, back := ask(t, "GET /a HTTP/1.1\r\nHost: example.com\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\n"+
			"X-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\nForwarded: for=6.6.6.6\r\nX-Real-Ip: 6.6.6.6\r\n"+
			"Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTe: gzip\r\nProxy-Authorization: x\r\nX-Yours: 2\r\n"+
			"X-Request-Id: given\r\nTraceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
		if got.Host != "example.com" {
			t.Errorf("Host is %q", got.Host)
		}
		trace := got.Header.Get("Traceparent")
		if !strings.HasPrefix(trace, "00-0123456789abcdef0123456789abcdef-") || !strings.HasSuffix(trace, "-01") || strings.Contains(trace, "-0123456789abcdef-") {
			t.Errorf("Traceparent is %q, expected the same trace with a span of its own", trace)
		}
		got.Header.Del("Traceparent")
		want := http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"example.com"}, "X-Forwarded-Proto": {"http"},
			"X-Yours": {"2"}, "Via": {"1.1 minicloud"}, "X-Request-Id": {back.Get("X-Request-Id")},
		}
		if !reflect.DeepEqual(got.Header, want) {
			t.Errorf("the target got\n%v\nexpected\n%v", got.Header, want)
		}
		if ids := back["X-Request-Id"]; len(ids) != 1 || len(ids[0]) != 32 || back.Get("X-Hop") != "" {
			t.Errorf("the client got X-Request-Id %q and X-Hop %q", ids, back.Get("X-Hop"))
		}
	})
	for _, path := range []string{"/files/../api", "/files/%2e%2E/api", "/files/..%2Fapi", "/.", "/a/./b"} {
		t.Run(path+" is refused", func(t *testing.T) {
			res, body := raw(t, lb.addr, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			if res.StatusCode != 400 || !strings.Contains(body, "segment") {
				t.Errorf("got %d %s", res.StatusCode, body)
			}
		})
	}
	t.Run("CONNECT is refused", func(t *testing.T) {
		if res, _ := raw(t, lb.addr, "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"); res.StatusCode != 501 {
			t.Errorf("got %d", res.StatusCode)
		}
	})
	t.Run("the load balancer's own health hides the target's", func(t *testing.T) {
		if code, body, _ := do(t, client(t), "GET", lb.url("/healthz"), ""); code != 200 || body != "OK\n" {
			t.Errorf("got %d %q", code, body)
		}
	})
}

func TestAnswersPass(t *testing.T) {
	_, addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/500":
			http.Error(w, "oh", http.StatusInternalServerError)
		case "/503":
			http.Error(w, "busy", http.StatusServiceUnavailable)
		case "/302":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/hints":
			w.Header().Set("Link", "</a>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "done")
		case "/refuse":
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		case "/trailer":
			w.Header().Set("Trailer", "X-Sum")
			_, _ = io.WriteString(w, "body")
			w.Header().Set("X-Sum", "42")
		default:
			b, _ := io.ReadAll(r.Body)
			_, _ = w.Write(b)
		}
	})
	lb, c := start(t, quick(addr)), client(t)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for path, want := range map[string]int{"/500": 500, "/503": 503, "/302": 302, "/204": 204} {
		t.Run(path[1:]+" passes through and ejects nobody", func(t *testing.T) {
			if code, _, h := do(t, c, "GET", lb.url(path), ""); code != want || len(h["X-Request-Id"]) != 1 {
				t.Errorf("got %d with ids %q", code, h["X-Request-Id"])
			}
			if got := stateOf(lb.LoadBalancer, addr); got != "up" {
				t.Errorf("the target is %s", got)
			}
		})
	}
	t.Run("an early hint passes, and the request id with the answer behind it", func(t *testing.T) {
		code, body, h := do(t, c, "GET", lb.url("/hints"), "")
		if code != 200 || body != "done" || len(h["X-Request-Id"]) != 1 {
			t.Errorf("got %d %q, ids %q", code, body, h["X-Request-Id"])
		}
		if res, _ := raw(t, lb.addr, "GET /hints HTTP/1.1\r\nHost: x\r\n\r\n"); res.StatusCode != 103 {
			t.Errorf("the first answer is %d", res.StatusCode)
		}
	})
	t.Run("100-continue goes to the target and back", func(t *testing.T) {
		const head = " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
		if res, _ := raw(t, lb.addr, "POST /refuse"+head); res.StatusCode != 413 {
			t.Errorf("a target that refuses the body is heard as %d", res.StatusCode)
		}
		if res, _ := raw(t, lb.addr, "POST /echo"+head); res.StatusCode != 100 {
			t.Errorf("a target that wants the body is heard as %d", res.StatusCode)
		}
	})
	t.Run("a trailer passes", func(t *testing.T) {
		res, err := c.Get(lb.url("/trailer"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if _, err := io.ReadAll(res.Body); err != nil || res.Trailer.Get("X-Sum") != "42" {
			t.Errorf("the trailer is %v (%v)", res.Trailer, err)
		}
	})
	t.Run("a chunked body of unknown length passes", func(t *testing.T) {
		res, body := raw(t, lb.addr, "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
		if res.StatusCode != 200 || body != "abc" {
			t.Errorf("got %d %q", res.StatusCode, body)
		}
	})
	t.Run("a chunked body that is malformed is the client's fault", func(t *testing.T) {
		res, body := raw(t, lb.addr, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
		if res.StatusCode != 400 || !strings.Contains(body, "chunk size") {
			t.Errorf("got %d %s", res.StatusCode, body)
		}
		if got := stateOf(lb.LoadBalancer, addr); got != "up" {
			t.Errorf("the target is %s", got)
		}
	})
}

func TestEventStream(t *testing.T) {
	more := make(chan struct{})
	_, addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range more {
			_, _ = io.WriteString(w, "data: x\n\n")
			_ = http.NewResponseController(w).Flush()
		}
	})
	lb := start(t, quick(addr))
	go func() { more <- struct{}{} }()
	res, err := client(t).Get(lb.url("/events"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	for range 3 { // each is read before the next is written
		if line, err := in.ReadString('\n'); err != nil || line != "data: x\n" {
			t.Fatalf("read %q, %v", line, err)
		}
		_, _ = in.ReadString('\n')
		more <- struct{}{}
	}
	close(more)
}

func TestLargeBodiesStream(t *testing.T) {
	const size = 192 << 20
	_, addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			n, _ := io.Copy(io.Discard, r.Body)
			if n != size {
				http.Error(w, "short", http.StatusBadRequest)
			}
			return
		}
		w.Header().Set("Content-Length", "201326592")
		_, _ = io.CopyN(w, zeros{}, size)
	})
	lb, c := start(t, quick(addr)), client(t)
	// allocated returns what f allocates in all: more than ever was in use.
	allocated := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	for name, f := range map[string]func(){
		"up": func() {
			r, _ := http.NewRequest("PUT", lb.url("/files/big"), io.LimitReader(zeros{}, size))
			r.ContentLength = size
			res, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != 200 {
				t.Errorf("got %d", res.StatusCode)
			}
		},
		"down": func() {
			res, err := c.Get(lb.url("/files/big"))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
				t.Errorf("read %d bytes, %v", n, err)
			}
		},
	} {
		t.Run(name+" in constant memory", func(t *testing.T) {
			if got := allocated(f); got > size/8 {
				t.Errorf("%d bytes allocated for a body of %d", got, size)
			}
		})
	}
}

// isCut reports whether a client sees that an answer is not whole.
func isCut(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTimeouts(t *testing.T) {
	release := make(chan struct{})
	_, addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		<-release
	})
	defer close(release)
	cfg := patient(addr)
	cfg.ResponseHeaderTimeout, cfg.BodyIdleTimeout = 500*time.Millisecond, 500*time.Millisecond
	lb, c := start(t, cfg), client(t)
	t.Run("an answer that does not begin in time is a 504, and no fault of the target", func(t *testing.T) {
		code, body, _ := do(t, c, "GET", lb.url("/slow"), "")
		if code != 504 || !strings.Contains(body, "did not answer in time") || stateOf(lb.LoadBalancer, addr) != "up" {
			t.Errorf("got %d %s, the target is %s", code, body, stateOf(lb.LoadBalancer, addr))
		}
	})
	t.Run("an answer that stands still is cut, so that the client knows", func(t *testing.T) {
		res, err := c.Get(lb.url("/half"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); !isCut(err) || string(b) != "half" {
			t.Errorf("read %q, %v", b, err)
		}
	})
	t.Run("a request body that stands still is a 408", func(t *testing.T) {
		res, body := raw(t, lb.addr, "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
		if res.StatusCode != 408 {
			t.Errorf("got %d %s", res.StatusCode, body)
		}
	})
}

func TestAnswerAfterALongUpload(t *testing.T) {
	_, addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	cfg := patient(addr)
	cfg.BodyIdleTimeout = time.Second
	lb := start(t, cfg)
	body, in := io.Pipe()
	go func() {
		for range 6 { // longer in all than one step may take
			<-time.After(200 * time.Millisecond)
			_, _ = io.WriteString(in, "x")
		}
		in.Close()
	}()
	r, _ := http.NewRequest("PUT", lb.url("/files/a"), body)
	res, err := client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 204 {
		t.Errorf("got %d", res.StatusCode)
	}
}
