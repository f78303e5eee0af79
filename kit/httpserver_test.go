package kit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheDrainDelay(t *testing.T) {
	for _, c := range []struct {
		name     string
		askAgo   time.Duration // before the drain; 0: nobody asks
		askAfter time.Duration // into the drain; 0: nobody asks
		cause    error
		want     time.Duration
	}{
		{"lasts until a watcher was told, and has had a moment to act", time.Second, 3 * time.Second, nil, 3*time.Second + settle},
		{"lasts in full when the watcher does not ask again", time.Second, 0, nil, 20 * time.Second},
		{"is skipped when nobody ever asked", 0, 0, nil, 0},
		{"is skipped when nobody has asked for as long as it is", 20 * time.Second, 0, nil, 0},
		{"is skipped when whoever watched is gone too", time.Second, 0, ErrStopNow, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				health := NewHealth()
				s := start(t, &HTTPServer{Handler: http.NotFoundHandler(), Health: health, DrainDelay: 20 * time.Second})
				if c.askAgo > 0 {
					if status, _ := s.get("/healthz"); status != 200 {
						t.Errorf("before the drain /healthz is %d, want 200", status)
					}
					time.Sleep(c.askAgo)
				}
				synctest.Wait()
				began := time.Now()
				s.stop(c.cause)
				if c.askAfter > 0 {
					time.Sleep(c.askAfter)
					if status, body := s.get("/healthz"); status != 503 || body != "draining\n" {
						t.Errorf("in the drain /healthz is %d %q, want 503 draining", status, body)
					}
				}
				s.clean()
				if got := time.Since(began); got < c.want || got > c.want+50*time.Millisecond {
					t.Errorf("the drain took %v, want %v", got, c.want)
				}
			})
		})
	}
}

func TestWhileItDrains(t *testing.T) {
	t.Run("a request in flight is answered, and its context lives", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, &HTTPServer{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(5 * time.Second)
				fmt.Fprint(w, r.Context().Err())
			})})
			go func() {
				time.Sleep(time.Second)
				s.stop(nil)
			}()
			if status, body := s.get("/"); status != 200 || body != "<nil>" {
				t.Errorf("got %d %q, want 200 and no error of the context", status, body)
			}
			s.clean()
		})
	})
	t.Run("new requests are served, and their connections close", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			health := NewHealth()
			s := start(t, &HTTPServer{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
				Health: health, DrainDelay: time.Minute})
			s.get("/healthz")
			for _, wantClose := range []bool{false, true} {
				resp, err := s.Get("http://test/")
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != 200 || resp.Close != wantClose {
					t.Errorf("got %d, Connection: close %v, want 200, %v", resp.StatusCode, resp.Close, wantClose)
				}
				s.stop(nil)
				synctest.Wait()
			}
			s.clean()
		})
	})
	t.Run("a connection without a request does not hold it up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, &HTTPServer{Handler: http.NotFoundHandler()})
			s.raw("")
			synctest.Wait()
			began := time.Now()
			s.stop(nil)
			s.clean()
			if took := time.Since(began); took > time.Second {
				t.Errorf("the end took %v", took)
			}
		})
	})
	t.Run("what takes longer than DrainTimeout is cut off and joined", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began, ended := make(chan struct{}), false
			s := start(t, &HTTPServer{DrainTimeout: 3 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(began)
				<-r.Context().Done()
				time.Sleep(time.Second)
				ended = true
			})})
			s.raw("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
			<-began
			start := time.Now()
			s.stop(nil)
			s.clean()
			if took := time.Since(start); !ended || took != 4*time.Second {
				t.Errorf("handler has returned: %v, after %v; want true after 4s", ended, took)
			}
			if log := s.logs.String(); !strings.Contains(log, "requests cut off") {
				t.Errorf("the log has no word of it:\n%s", log)
			}
		})
	})
	t.Run("a handler deaf to its context is left behind, and the log says so", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began, release := make(chan struct{}), make(chan struct{})
			defer close(release)
			s := start(t, &HTTPServer{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				close(began)
				<-release
			})})
			conn := s.raw("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
			<-began
			start := time.Now()
			s.stop(nil)
			s.clean()
			if took := time.Since(start); took != 15*time.Second {
				t.Errorf("Serve returned after %v, want 10s and 5s", took)
			}
			if _, err := io.ReadAll(conn); err != nil || time.Since(start) != 15*time.Second {
				t.Errorf("its connection ends after %v with %v, want it closed before", time.Since(start), err)
			}
			if log := s.logs.String(); !strings.Contains(log, "left behind") {
				t.Errorf("the log has no word of it:\n%s", log)
			}
		})
	})
}

func TestALostListenerIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, &HTTPServer{Handler: http.NotFoundHandler(), Health: NewHealth()})
		s.get("/")
		_ = s.ln.Close()
		if err := <-s.done; err == nil {
			t.Error("Serve returned nil, want the listener's error")
		}
	})
}

func TestPanics(t *testing.T) {
	t.Run("before the answer: 500 with the request id and nothing of the bug", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, &HTTPServer{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Encoding", "br")
				w.Header().Set("Content-Length", "5")
				w.Header().Set("Etag", `"x"`)
				panic("the secret state")
			})})
			r, _ := http.NewRequest("GET", "http://test/", nil)
			r.Header.Set(RequestIDHeader, "my-id")
			resp, err := s.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			want := `{"title":"Internal Server Error","status":500,"detail":"the request met a bug in this service; its log has it under the request id","request_id":"my-id"}` + "\n"
			if resp.StatusCode != 500 || string(body) != want {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
			if h := resp.Header; h.Get("Content-Encoding")+h.Get("Etag") != "" || h.Get(RequestIDHeader) != "my-id" || h.Get("Content-Type") != "application/problem+json" {
				t.Errorf("headers of the answer that was not given: %v", h)
			}
			if log := s.logs.String(); !strings.Contains(log, "the secret state") || !strings.Contains(log, "my-id") || !strings.Contains(log, "httpserver_test.go") {
				t.Errorf("the log lacks the panic, its request or its stack:\n%s", log)
			}
		})
	})
	partial := func(part string, v any) func(t *testing.T) {
		return func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, &HTTPServer{AccessLog: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_, _ = io.Copy(w, strings.NewReader(part))
					w.(http.Flusher).Flush()
					panic(v)
				})})
				resp, err := s.Get("http://test/")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if body, err := io.ReadAll(resp.Body); err == nil {
					t.Errorf("the client took %q for the whole answer", body)
				}
				synctest.Wait()
				if got, want := strings.Contains(s.logs.String(), "level=ERROR"), v != http.ErrAbortHandler; got != want {
					t.Errorf("logged as an error: %v, want %v", got, want)
				}
				if !strings.Contains(s.logs.String(), "msg=request") {
					t.Error("no line in the access log")
				}
			})
		}
	}
	t.Run("in the middle of the answer: the connection is cut", partial("part of it", "bug"))
	t.Run("after the headers: the connection is cut", partial("", "bug"))
	t.Run("with ErrAbortHandler: the connection is cut, and it is no error", partial("part of it", http.ErrAbortHandler))
	t.Run("with ErrAbortHandler before the answer: nothing is answered", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, &HTTPServer{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })})
			got, err := io.ReadAll(s.raw("GET / HTTP/1.1\r\nHost: test\r\n\r\n"))
			if len(got) > 0 || err != nil {
				t.Errorf("got %q, %v, want the end of the connection", got, err)
			}
		})
	})
}

func TestPaths(t *testing.T) {
	service := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "service ", r.Method, " ", r.URL.Path)
		r.URL.Path = "/healthz" // the log has the path that was asked for
	})
	for _, c := range []struct{ name, request, want, log string }{
		{"GET /healthz is the health, and not in the log", "GET /healthz", "200 OK\n", ""},
		{"HEAD /healthz is the health", "HEAD /healthz", "200 ", ""},
		{"POST /healthz is the service's", "POST /healthz", "200 service POST /healthz", ""},
		{"a path that a mux would clean arrives as it is", "GET /a//b/../c", "200 service GET /a//b/../c", "path=/a//b/../c status=200 bytes=22 took=0s"},
		{"a line break in a path breaks no line of the log", "GET /a%0Ab", "200 service GET /a\nb", `path="/a\nb" status=200`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, &HTTPServer{Handler: service, Health: NewHealth(), AccessLog: true})
				method, path, _ := strings.Cut(c.request, " ")
				r, _ := http.NewRequest(method, "http://test"+path, nil)
				resp, err := s.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, _ := io.ReadAll(resp.Body)
				if got := fmt.Sprintf("%d %s", resp.StatusCode, body); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
				synctest.Wait()
				if log := s.logs.String(); !strings.Contains(log, c.log) || c.log == "" && strings.Contains(log, "msg=request") {
					t.Errorf("the log has %q, want %q in it", log, c.log)
				}
			})
		})
	}
}

func TestWithoutHealthTheServiceHasAllPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, &HTTPServer{Handler: http.NotFoundHandler()})
		if status, _ := s.get("/healthz"); status != 404 {
			t.Errorf("got %d, want the service's 404", status)
		}
	})
}

func TestInformationalResponsesPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, &HTTPServer{AccessLog: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
		})})
		early := 0
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { early = code; return nil }})
		r, _ := http.NewRequestWithContext(ctx, "GET", "http://test/", nil)
		resp, err := s.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		synctest.Wait()
		if early != 103 || resp.StatusCode != 418 || !strings.Contains(s.logs.String(), "status=418") {
			t.Errorf("got %d, then %d, logged as\n%s", early, resp.StatusCode, s.logs)
		}
	})
}

// echo takes the connection over and sends back each line, until its context
// ends.
func echo(w http.ResponseWriter, r *http.Request) {
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	defer context.AfterFunc(r.Context(), func() { _ = conn.Close() })()
	fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n")
	for {
		line, err := buffered.ReadString('\n')
		if err != nil {
			return
		}
		fmt.Fprint(conn, line)
	}
}

func TestUpgrades(t *testing.T) {
	const upgrade = "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n"
	// converse expects 101, an echo at once, and one after a long silence.
	converse := func(t *testing.T, s *running) {
		conn := s.raw(upgrade)
		answer := bufio.NewReader(conn)
		resp, err := http.ReadResponse(answer, nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "lines" {
			t.Fatalf("got %v, %v, want 101", resp, err)
		}
		for range 2 {
			fmt.Fprint(conn, "hello\n")
			if line, err := answer.ReadString('\n'); line != "hello\n" {
				t.Fatalf("got %q, %v, want the echo", line, err)
			}
			time.Sleep(10 * time.Minute)
		}
		s.stop(nil)
		if rest, err := io.ReadAll(answer); len(rest) > 0 || err != nil {
			t.Errorf("at the end the connection brings %q, %v, want it closed", rest, err)
		}
		s.clean()
		if log := s.logs.String(); !strings.Contains(log, "status=101") || strings.Contains(log, "left behind") {
			t.Errorf("the access log:\n%s", s.logs)
		}
	}
	t.Run("a connection that a handler took over has no deadline, and outlives no Serve", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			converse(t, start(t, &HTTPServer{Handler: http.HandlerFunc(echo), AccessLog: true}))
		})
	})
	t.Run("a connection that a handler hands on has no deadline either", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, &HTTPServer{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					panic(err)
				}
				go func() {
					defer conn.Close()
					time.Sleep(time.Hour)
					fmt.Fprint(conn, "an hour later")
				}()
			})})
			if got, err := io.ReadAll(s.raw(upgrade)); string(got) != "an hour later" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	})
	t.Run("a reverse proxy passes an upgrade through", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			back := start(t, &HTTPServer{Handler: http.HandlerFunc(echo)})
			target, _ := url.Parse("http://back")
			proxy := &httputil.ReverseProxy{Transport: back.Transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
			converse(t, start(t, &HTTPServer{Handler: proxy, AccessLog: true}))
		})
	})
}

func TestUploadedFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	handler := func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(1); err != nil {
			t.Error(err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("%d temporary files while the handler runs, want 1", len(entries))
		}
	}
	form := "--b\r\nContent-Disposition: form-data; name=\"data\"; filename=\"f\"\r\n\r\n" + strings.Repeat("x", 1<<20) + "\r\n--b--\r\n"
	r := httptest.NewRequest("POST", "/", strings.NewReader(form))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	s := &HTTPServer{Handler: http.HandlerFunc(handler), Logger: (&logs{}).logger()}
	s.wrap(t.Context(), &handlers{}).ServeHTTP(httptest.NewRecorder(), r)
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("%d temporary files are left", len(entries))
	}
}

func TestNoHandlerBeginsAfterTheEnd(t *testing.T) {
	var h handlers
	if !h.begin() {
		t.Fatal("a handler may not begin at the beginning")
	}
	ended := h.ended()
	if h.begin() {
		t.Error("a handler began after the end")
	}
	select {
	case <-ended:
		t.Error("ended while one runs")
	default:
	}
	h.group.Done()
	<-ended
	s := &HTTPServer{Logger: (&logs{}).logger()}
	defer func() {
		if v := recover(); !errors.Is(v.(error), http.ErrAbortHandler) {
			t.Errorf("a late request panicked with %v, want ErrAbortHandler", v)
		}
	}()
	s.wrap(t.Context(), &h).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}
