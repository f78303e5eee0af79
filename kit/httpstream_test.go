package kit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// slowly writes text to conn, n bytes at a time, with a pause before each.
func slowly(conn net.Conn, text string, n int, pause time.Duration) {
	for len(text) > 0 {
		time.Sleep(pause)
		if _, err := io.WriteString(conn, text[:min(n, len(text))]); err != nil {
			return
		}
		text = text[min(n, len(text)):]
	}
}

func TestAPausingClient(t *testing.T) {
	const post = "POST / HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
	read := func(w http.ResponseWriter, r *http.Request) {
		var v string
		if err := ReadJSON(w, r, 1<<20, &v); err != nil {
			WriteProblem(w, r, err.(*Problem))
			return
		}
		fmt.Fprint(w, v)
	}
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		client  func(*running) net.Conn
		status  int
		after   time.Duration
		closes  bool
	}{
		{
			"is cut off when its body stands still: 408 after BodyIdle, and the connection ends",
			read, func(s *running) net.Conn { return s.raw(post, 100, `"abc`) },
			408, 30 * time.Second, true,
		}, {
			"is served when it is slow but steady, for as long as it takes",
			read, func(s *running) net.Conn {
				conn := s.raw(post, 102, "")
				go slowly(conn, `"`+strings.Repeat("x", 100)+`"`, 1, 20*time.Second)
				return conn
			},
			200, 102 * 20 * time.Second, false,
		}, {
			"cannot hold a handler's answer back with a body that nobody reads",
			func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) },
			func(s *running) net.Conn { return s.raw(post, 100, "") },
			404, 30 * time.Second, true,
		}, {
			"cannot hold a flush back with a body that nobody reads",
			func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(404)
				w.(http.Flusher).Flush()
			},
			func(s *running) net.Conn { return s.raw(post, 100, "") },
			404, 30 * time.Second, true,
		}, {
			"has BodyIdle for an unread body after a slow handler too",
			func(w http.ResponseWriter, r *http.Request) { time.Sleep(time.Minute); w.WriteHeader(404) },
			func(s *running) net.Conn {
				conn := s.raw(post, 100, "")
				go slowly(conn, strings.Repeat("x", 100), 100, 80*time.Second)
				return conn
			},
			404, 80 * time.Second, false,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, &HTTPServer{Handler: c.handler})
				began := time.Now()
				conn := c.client(s)
				answer := bufio.NewReader(conn)
				resp, err := http.ReadResponse(answer, nil)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); resp.StatusCode != c.status || took != c.after {
					t.Errorf("got %d after %v, want %d after %v", resp.StatusCode, took, c.status, c.after)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = conn.SetReadDeadline(time.Now().Add(40 * time.Second)) // less than IdleTimeout
				if _, err := answer.ReadByte(); (err == io.EOF) != c.closes {
					t.Errorf("after the answer the connection brings %v; want it closed: %v", err, c.closes)
				}
			})
		})
	}
}

func TestAHandlerMayTakeItsTime(t *testing.T) {
	long := 5 * time.Minute // many times BodyIdle
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
	}{
		{"before it answers", func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(long)
			fmt.Fprint(w, "whole")
		}},
		{"after it has read the body", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			time.Sleep(long)
			fmt.Fprint(w, "whole")
		}},
		{"between two reads of the body", func(w http.ResponseWriter, r *http.Request) {
			_, _ = r.Body.Read(make([]byte, 1))
			time.Sleep(long)
			if rest, err := io.ReadAll(r.Body); len(rest) != 5 || err != nil {
				t.Errorf("read %d bytes, %v, want the last 5", len(rest), err)
			}
			fmt.Fprint(w, "whole")
		}},
		{"after it has closed the body", func(w http.ResponseWriter, r *http.Request) {
			_ = r.Body.Close()
			time.Sleep(long)
			fmt.Fprint(w, "whole")
		}},
		{"after a write that is still in a buffer", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "whole")
			time.Sleep(long)
		}},
		{"before a flush", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "whole")
			time.Sleep(long)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Errorf("the flush failed: %v", err)
			}
		}},
		{"between flushes", func(w http.ResponseWriter, r *http.Request) {
			for _, part := range []string{"wh", "ol", "e"} {
				fmt.Fprint(w, part)
				w.(http.Flusher).Flush()
				time.Sleep(long)
			}
		}},
		{"before a file", func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(long)
			_, _ = io.Copy(w, strings.NewReader("whole"))
			time.Sleep(long)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, &HTTPServer{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					c.handler(w, r)
					if err := r.Context().Err(); err != nil {
						t.Errorf("the request's context ended: %v", err)
					}
				})})
				conn := s.raw("")
				answers := bufio.NewReader(conn)
				for range 2 { // the second over the same connection
					fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabcdef")
					resp, err := http.ReadResponse(answers, nil)
					if err != nil {
						t.Fatal(err)
					}
					if body, err := io.ReadAll(resp.Body); string(body) != "whole" || err != nil {
						t.Errorf("got %q, %v", body, err)
					}
					time.Sleep(100 * time.Second) // idle, within IdleTimeout
				}
			})
		})
	}
}

// paused reads n bytes of the body at a time, with a pause before each.
func paused(r io.Reader, n int, pause time.Duration) (total int, err error) {
	part := make([]byte, n)
	for err == nil {
		time.Sleep(pause)
		n, err = io.ReadFull(r, part)
		total += n
	}
	return total, err
}

func TestASlowReaderOfTheAnswer(t *testing.T) {
	const size = 4 << 20
	for _, c := range []struct {
		name  string
		write func(w http.ResponseWriter) (int64, error)
	}{
		{"of one large write", func(w http.ResponseWriter) (int64, error) {
			n, err := w.Write(make([]byte, size))
			return int64(n), err
		}},
		{"of a file", func(w http.ResponseWriter) (int64, error) {
			return io.CopyN(w, zeros{}, size)
		}},
	} {
		serve := func(t *testing.T) (*http.Response, chan error) {
			wrote := make(chan error, 1)
			s := start(t, &HTTPServer{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(size))
				_, err := c.write(w)
				wrote <- err
			})})
			resp, err := http.ReadResponse(bufio.NewReader(s.raw("GET / HTTP/1.1\r\nHost: test\r\n\r\n")), nil)
			if err != nil {
				t.Fatal(err)
			}
			return resp, wrote
		}
		t.Run(c.name+" gets all of it when it goes on", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				resp, wrote := serve(t)
				if n, err := paused(resp.Body, 64<<10, 5*time.Second); n != size || err != io.EOF {
					t.Errorf("read %d bytes, %v, want %d", n, err, size)
				}
				if err := <-wrote; err != nil {
					t.Errorf("the handler got %v", err)
				}
			})
		})
		t.Run(c.name+" is cut off when it stops", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, wrote := serve(t)
				began := time.Now()
				if err := <-wrote; !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the handler got %v, want a timeout", err)
				}
				if took := time.Since(began); took != 30*time.Second {
					t.Errorf("cut off after %v, want 30s", took)
				}
			})
		})
	}
}

// zeros is an endless file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestFiles passes files over a real connection, where sendfile(2) is used.
func TestFiles(t *testing.T) {
	content := make([]byte, 3*step+1234)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &HTTPServer{Logger: (&logs{}).logger(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(name)
		if err != nil {
			panic(err)
		}
		defer f.Close()
		w.Header().Set("Etag", `"1"`)
		switch r.URL.Path {
		case "/serve":
			http.ServeContent(w, r, "", time.Time{}, f)
		case "/copy": // of a length that nobody said
			if n, err := io.Copy(w, f); n != int64(len(content)) || err != nil {
				t.Errorf("copied %d bytes, %v", n, err)
			}
		case "/short": // of a length that the file has not
			w.Header().Set("Content-Length", fmt.Sprint(len(content)+5))
			if n, err := io.CopyN(w, f, int64(len(content)+5)); n != int64(len(content)) || err != io.EOF {
				t.Errorf("copied %d bytes, %v, want them all, and EOF", n, err)
			}
		}
	})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, ln) }()
	client := NewHTTPClient(nil, 0)
	defer func() {
		client.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for _, c := range []struct {
		name, method, path, header string
		status                     int
		want                       []byte
		fails                      bool
	}{
		{"whole", "GET", "/serve", "", 200, content, false},
		{"whole, in chunks", "GET", "/copy", "", 200, content, false},
		{"a range", "GET", "/serve", "Range: bytes=100-700099", 206, content[100:700100], false},
		{"the last byte", "GET", "/serve", "Range: bytes=-1", 206, content[len(content)-1:], false},
		{"HEAD", "HEAD", "/serve", "", 200, nil, false},
		{"not modified", "GET", "/serve", `If-None-Match: "1"`, 304, nil, false},
		{"a file shorter than announced is an error for the client", "GET", "/short", "", 200, content, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := http.NewRequest(c.method, "http://"+ln.Addr().String()+c.path, nil)
			if name, value, ok := strings.Cut(c.header, ": "); ok {
				r.Header.Set(name, value)
			}
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || !bytes.Equal(body, c.want) || (err != nil) != c.fails {
				t.Errorf("got %d, %d bytes, %v; want %d, %d bytes, error: %v", resp.StatusCode, len(body), err, c.status, len(c.want), c.fails)
			}
		})
	}
}

// sink is a connection's writer that notes what it is asked to read from.
type sink struct {
	*httptest.ResponseRecorder
	from []io.Reader
	size []int64
}

func (s *sink) ReadFrom(r io.Reader) (int64, error) {
	limited := r.(*io.LimitedReader)
	s.from, s.size = append(s.from, limited.R), append(s.size, limited.N)
	return io.Copy(s.ResponseRecorder, r)
}

func TestReadFrom(t *testing.T) {
	broken := errors.New("broken disk")
	for _, c := range []struct {
		name   string
		src    func(file io.Reader) io.Reader
		total  int64
		status int
		err    error
	}{
		{"takes a file in steps", func(f io.Reader) io.Reader { return f }, 2*step + 100, 200, nil},
		{"takes a part of a file in steps, under one limit", func(f io.Reader) io.Reader { return io.LimitReader(f, step+50) }, step + 50, 200, nil},
		{"takes nothing of an empty part", func(f io.Reader) io.Reader { return io.LimitReader(f, 0) }, 0, 0, nil},
		{"returns the source's error, and has sent nothing yet", func(io.Reader) io.Reader {
			return io.MultiReader(&failing{broken})
		}, 0, 0, broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := strings.NewReader(strings.Repeat("x", 2*step+100))
			to := &sink{ResponseRecorder: httptest.NewRecorder()}
			w := newResponse(to, httptest.NewRequest("GET", "/", nil), time.Second)
			src := c.src(file)
			n, err := w.ReadFrom(src)
			if n != c.total || err != c.err || w.bytes != c.total || w.status != c.status || int64(to.Body.Len()) != c.total {
				t.Errorf("read %d, %v, counted %d, status %d, passed on %d; want %d, %v, status %d",
					n, err, w.bytes, w.status, to.Body.Len(), c.total, c.err, c.status)
			}
			for i, from := range to.from {
				if from != io.Reader(file) && c.err == nil || to.size[i] > step {
					t.Errorf("step %d: %T, %d bytes; want the file itself, at most %d", i, from, to.size[i], step)
				}
			}
			if limited, ok := src.(*io.LimitedReader); ok && limited.N != 0 {
				t.Errorf("the limit says %d are left", limited.N)
			}
		})
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// deadlines records the read deadlines that a body sets.
type deadlines struct {
	http.ResponseWriter
	read []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.read = append(d.read, t)
	return nil
}

func TestABodyLeavesTheDeadlineAloneOnceItIsOver(t *testing.T) {
	for name, end := range map[string]func(*response, *http.Request){
		"after its end":             func(_ *response, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) },
		"after its Close":           func(_ *response, r *http.Request) { _ = r.Body.Close() },
		"after the handler's end":   func(w *response, r *http.Request) { w.finish(r) },
		"where there was never one": func(_ *response, r *http.Request) {},
	} {
		t.Run(name, func(t *testing.T) {
			d := &deadlines{ResponseWriter: httptest.NewRecorder()}
			r := httptest.NewRequest("POST", "/", strings.NewReader("body"))
			if name == "where there was never one" {
				r.Body = http.NoBody
			}
			w := newResponse(d, r, time.Second)
			end(w, r)
			before := len(d.read)
			_, _ = r.Body.Read(make([]byte, 10))
			_ = r.Body.Close()
			w.finish(r)
			if len(d.read) != before {
				t.Errorf("set %v", d.read[before:])
			}
		})
	}
}
