//go:build linux

package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// generate runs the generator for a moment against a handler.
func generate(t *testing.T, w workload, h http.Handler) loadResult {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	g := generatorFor(t, w, loadSpec{Duration: 20 * time.Millisecond}, server.Listener.Addr())
	defer g.stop()
	var ready bytes.Buffer
	if err := g.run(&ready); err != nil && !errors.Is(err, errFailed) {
		t.Fatal(err)
	}
	if g.result.Errors == 0 && ready.String() != "ready\n" {
		t.Errorf("it said %q", ready.String())
	}
	return g.result
}

func generatorFor(t *testing.T, w workload, spec loadSpec, address net.Addr) *generator {
	t.Helper()
	var err error
	if spec.Address, err = netip.ParseAddrPort(address.String()); err != nil {
		t.Fatal(err)
	}
	spec.Proxy, spec.Backend = []int{os.Getpid()}, []int{os.Getpid()}
	g, err := newGenerator(w, spec)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// answerWith answers as the workload expects.
func answerWith(w workload) http.Handler {
	if w.upload > 0 {
		return sink()
	}
	body := w.answer(true)
	return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = rw.Write(body)
	})
}

func TestGenerator(t *testing.T) {
	for _, w := range workloads {
		t.Run("it finds nothing wrong with right answers: "+w.name, func(t *testing.T) {
			w.connections = min(w.connections, 100)
			got := generate(t, w, answerWith(w))
			if got.Errors != 0 || got.Checked < int64(w.connections) || got.Requests > got.Checked || got.Elapsed < 20*time.Millisecond || got.Proxy <= 0 {
				t.Errorf("%+v", got)
			}
		})
	}
	small := workload{name: "small", connections: 4, path: "/small", check: 1}
	large := workload{name: "large", connections: 2, path: "/1m", check: 1}
	for _, test := range []struct {
		name   string
		w      workload
		answer http.HandlerFunc
		err    string
	}{
		{"another status fails", small, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "502"},
		{"another length fails", small, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "short") }, "a body of 5 bytes, expected 114"},
		{"another body of the same length fails", small, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(smallAnswer, "Accio", "Lumos", 1))
		}, "differs"},
		{"one wrong byte in a megabyte fails", large, func(w http.ResponseWriter, _ *http.Request) {
			body := payload(megabyte)
			body[megabyte-1] ^= 1
			w.Header().Set("Content-Length", strconv.Itoa(megabyte))
			_, _ = w.Write(body)
		}, "differs"},
		{"a chunked answer fails", small, func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, smallAnswer)
		}, "chunked"},
		{"a connection that ends within the answer fails", large, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(megabyte))
			_, _ = w.Write(payload(megabyte)[:1000])
		}, "ended before"},
		{"an answer without the rest of the request fails", workloadOf(t, "POST"), func(w http.ResponseWriter, r *http.Request) {
			hijackAndWrite(w, "HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\n"+string(sinkAnswer(megabyte, 0, false)))
		}, ""},
		{"bytes after the answer fail", small, func(w http.ResponseWriter, r *http.Request) {
			hijackAndWrite(w, "HTTP/1.1 200 OK\r\nContent-Length: 114\r\n\r\n"+smallAnswer+"more")
		}, "4 bytes after the end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := generate(t, test.w, test.answer)
			if got.Errors == 0 || !strings.Contains(got.FirstError, test.err) {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("a connection whose end was announced is followed by another", func(t *testing.T) {
		got := generate(t, small, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			answerWith(small).ServeHTTP(w, r)
		}))
		if got.Errors != 0 || got.Checked < 4 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("nobody listening is counted and ends the run", func(t *testing.T) {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		g := generatorFor(t, small, loadSpec{Duration: time.Minute}, ln.Addr())
		defer g.stop()
		if err := g.run(io.Discard); err != errFailed || g.result.Errors < tooMany || !strings.Contains(g.result.FirstError, "refused") {
			t.Errorf("%v, %+v", err, g.result)
		}
	})
}

// hijackAndWrite answers with raw bytes and leaves the connection to the client.
func hijackAndWrite(w http.ResponseWriter, raw string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, raw)
	_, _ = io.Copy(io.Discard, conn)
}

func TestIdle(t *testing.T) {
	w := workloads[0]
	hold := func(t *testing.T, h http.Handler) loadResult {
		server := httptest.NewServer(h)
		defer server.Close()
		g := generatorFor(t, w, loadSpec{Idle: 200}, server.Listener.Addr())
		defer g.stop()
		// The pipe ends when the generator has said that all are open.
		read, write := io.Pipe()
		if err := g.idle(read, closeOnWrite{write}); err != nil && !errors.Is(err, errFailed) {
			t.Fatal(err)
		}
		return g.result
	}
	t.Run("each connection makes one request and stays", func(t *testing.T) {
		if got := hold(t, answerWith(w)); got.Errors != 0 || got.Checked != 200 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a connection that is closed meanwhile is an error", func(t *testing.T) {
		got := hold(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Connection", "close")
			answerWith(w).ServeHTTP(rw, r)
		}))
		if got.Errors != 200 {
			t.Errorf("%+v", got)
		}
	})
}

// closeOnWrite closes on the first write.
type closeOnWrite struct{ io.Closer }

func (c closeOnWrite) Write(b []byte) (int, error) { return len(b), c.Close() }
