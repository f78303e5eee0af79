package gather

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// A pipe is a client and a connection of [Listener]'s to it.
func pipe(t *testing.T) (client net.Conn, c *conn) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := Listener(inner)
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), accepted.Close() })
	return client, accepted.(*conn)
}

// rest closes c and returns what the client has got.
func rest(t *testing.T, client net.Conn, c *conn) string {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWhatIsHeldBackGoesOutWhenItIsReleased(t *testing.T) {
	for _, c := range []struct {
		name   string
		write  func(t *testing.T, c *conn)
		before int // bytes that are held back then
		want   string
	}{
		{"nothing", func(*testing.T, *conn) {}, 0, ""},
		{"two writes", func(t *testing.T, c *conn) {
			for _, p := range []string{"head ", "body"} {
				if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
					t.Errorf("write: %d, %v", n, err)
				}
			}
		}, 9, "head body"},
		{"a reader", func(t *testing.T, c *conn) {
			if n, err := c.ReadFrom(bytes.NewReader([]byte("body"))); n != 4 || err != nil {
				t.Errorf("read from: %d, %v", n, err)
			}
		}, 4, "body"},
		{"more than is held back goes out in order", func(t *testing.T, c *conn) {
			_, _ = c.Write([]byte("head "))
			if n, err := c.Write(bytes.Repeat([]byte("x"), most)); n != most || err != nil {
				t.Errorf("write: %d, %v", n, err)
			}
			_, _ = c.Write([]byte(" end"))
		}, 4, "head " + string(bytes.Repeat([]byte("x"), most)) + " end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, conn := pipe(t)
			conn.hold()
			c.write(t, conn)
			if n := len(*conn.held); n != c.before {
				t.Errorf("%d bytes are held back, want %d", n, c.before)
			}
			if err := conn.release(); err != nil {
				t.Fatal(err)
			}
			if got := rest(t, client, conn); got != c.want {
				t.Errorf("the client has %d bytes, want %d", len(got), len(c.want))
			}
		})
	}
}

func TestNothingFollowsAnAnswerThatBrokeOff(t *testing.T) {
	client, conn := pipe(t)
	conn.hold()
	if _, err := conn.Write([]byte("an answer")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(-time.Second))
	if err := conn.release(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("release: %v", err)
	}
	_ = conn.SetWriteDeadline(time.Time{})
	if n, err := conn.Write([]byte("the next")); err == nil {
		t.Errorf("%d bytes are written behind an answer that was not sent", n)
	}
	if got, err := io.ReadAll(client); len(got) > 0 || err != nil {
		t.Errorf("the client has %q, %v", got, err)
	}
}

func TestDo(t *testing.T) {
	broken := errors.New("broken")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	var handler http.HandlerFunc
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler(w, r) }))
	s.Listener = Listener(s.Listener)
	s.Start()
	defer s.Close()
	t.Run("an answer is held back until it is whole, and then sent", func(t *testing.T) {
		for _, size := range []int{0, 1, 4096, 30_000, 200_000} {
			body := bytes.Repeat([]byte("x"), size)
			handler = func(w http.ResponseWriter, r *http.Request) {
				c := r.Context().Value(http.LocalAddrContextKey).(address).conn
				err := Do(w, r, func() error {
					w.Header().Set("Content-Length", strconv.Itoa(size))
					_, err := w.Write(body)
					// What has left net/http's own buffer, of 4096 bytes.
					if small := size < most-4096; c.held == nil || small && len(*c.held) < size-4096 {
						t.Errorf("of an answer of %d bytes too little is held back", size)
					}
					return err
				})
				if err != nil || c.holds() {
					t.Errorf("%v, and it holds back: %v", err, c.holds())
				}
			}
			for range 3 { // on one connection
				resp, err := s.Client().Get(s.URL)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes, %v, want %d", len(got), err, size)
				}
			}
		}
	})
	t.Run("a panic within leaves nothing held back", func(t *testing.T) {
		handler = func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				_ = recover()
				_, _ = io.WriteString(w, "sorry")
			}()
			_ = Do(w, r, func() error { panic("in a handler") })
		}
		resp, err := s.Client().Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); string(got) != "sorry" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("an error within is that of Do", func(t *testing.T) {
		got := make(chan error, 1)
		handler = func(w http.ResponseWriter, r *http.Request) {
			got <- Do(w, r, func() error { return broken })
		}
		resp, err := s.Client().Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if err := <-got; err != broken {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a file outside of Do goes out as it is", func(t *testing.T) {
		handler = func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) }
		resp, err := s.Client().Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); string(got) != "from a file" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("another connection is written to as before", func(t *testing.T) {
		w := httptest.NewRecorder()
		err := Do(w, httptest.NewRequest("GET", "/", nil), func() error {
			_, err := io.WriteString(w, "body")
			return err
		})
		if err != nil || w.Body.String() != "body" {
			t.Errorf("%q, %v", w.Body, err)
		}
	})
}
