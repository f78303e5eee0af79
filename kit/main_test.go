package kit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("KIT_TEST_PROGRAM") != "" { // this is the subprocess of process_test.go
		os.Exit(Main("program", program))
	}
	goleak.VerifyTestMain(m)
}

// logs collects what a logger writes.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) logger() *slog.Logger { return NewLogger(l, "debug", "text", "test") }

// pipes is a listener of in-memory connections without any buffer, so that a
// synctest bubble knows when both ends of one stand still.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// running is a server under test: its client, its log, its end.
type running struct {
	*http.Client
	t    *testing.T
	ln   *pipes
	logs *logs
	stop func(cause error)
	done chan error // what Serve returned, once
}

// start serves s on pipes. The test ends it.
func start(t *testing.T, s *HTTPServer) *running {
	t.Helper()
	r := &running{t: t, ln: newPipes(), logs: &logs{}, done: make(chan error, 1)}
	s.Logger = r.logs.logger()
	ctx, cancel := context.WithCancelCause(context.Background())
	r.stop = cancel
	r.Client = NewHTTPClient(r.ln.dial, 0)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.done <- s.Serve(ctx, r.ln)
	}()
	t.Cleanup(func() {
		cancel(ErrStopNow)
		r.CloseIdleConnections()
		<-ended
	})
	return r
}

// get asks for a path and returns status and body.
func (r *running) get(path string) (int, string) {
	r.t.Helper()
	resp, err := r.Get("http://test" + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// raw opens a connection and writes text to it.
func (r *running) raw(format string, args ...any) net.Conn {
	r.t.Helper()
	conn, err := r.ln.dial(r.t.Context(), "", "")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, format, args...); err != nil {
		r.t.Fatal(err)
	}
	return conn
}

// clean asserts that the server ends without an error.
func (r *running) clean() {
	r.t.Helper()
	if err := <-r.done; err != nil {
		r.t.Errorf("Serve returned %v, want nil", err)
	}
}
