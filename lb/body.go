package lb

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// buffers holds the buffers that bodies are copied through.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

// A streamBody is a request's body during one attempt. Once closed it reads no
// more, so that a late reader of a failed attempt takes nothing from the next.
type streamBody struct {
	src io.Reader

	mu     sync.Mutex
	read   bool
	closed bool
	err    error // of src, other than its end
}

var errAttemptOver = errors.New("the attempt is over")

func (b *streamBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, errAttemptOver
	}
	b.read = true
	b.mu.Unlock()
	n, err := b.src.Read(p)
	if err != nil && err != io.EOF {
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
	}
	return n, err
}

// Close ends the attempt's reading; the source stays open for the next.
func (b *streamBody) Close() error {
	b.close()
	return nil
}

// close also reports whether anything was read, and what failed on the client's
// side. On nil, a body that is absent or kept, it reports nothing.
func (b *streamBody) close() (read bool, err error) {
	if b == nil {
		return false, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.read, b.err
}

// An answerBody is the body of an answer, which a target may not leave standing
// still.
type answerBody struct {
	io.ReadCloser
	idle   time.Duration
	cut    func() // ends the request
	failed func(error)
	timer  *time.Timer
}

func (b *answerBody) Read(p []byte) (int, error) {
	// The clock runs while the target is waited for, not while the client is.
	if b.timer == nil {
		b.timer = time.AfterFunc(b.idle, b.cut)
	} else {
		b.timer.Reset(b.idle)
	}
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF {
		b.failed(err)
	}
	return n, err
}

// A tunnelBody is the target's side of an upgraded connection. A byte in either
// direction starts its clock anew.
type tunnelBody struct {
	io.ReadWriteCloser
	idle   time.Duration
	timer  *time.Timer
	closed atomic.Bool
}

// newTunnelBody returns a tunnel that is cut after idle.
func newTunnelBody(c io.ReadWriteCloser, idle time.Duration, cut func()) *tunnelBody {
	return &tunnelBody{ReadWriteCloser: c, idle: idle, timer: time.AfterFunc(idle, cut)}
}

func (b *tunnelBody) Read(p []byte) (int, error) {
	n, err := b.ReadWriteCloser.Read(p)
	b.alive()
	return n, err
}

func (b *tunnelBody) Write(p []byte) (int, error) {
	n, err := b.ReadWriteCloser.Write(p)
	b.alive()
	return n, err
}

func (b *tunnelBody) alive() {
	b.timer.Reset(b.idle)
	if b.closed.Load() { // in between: leave no clock behind
		b.timer.Stop()
	}
}

func (b *tunnelBody) Close() error {
	b.closed.Store(true)
	b.timer.Stop()
	return b.ReadWriteCloser.Close()
}

// CloseWrite passes a half-close on to the target.
func (b *tunnelBody) CloseWrite() error {
	if half, ok := b.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// An answer is the way back to the client.
type answer struct {
	http.ResponseWriter
	ctx    context.Context
	status int // of the final answer; 0 before it
}

// Unwrap serves [http.ResponseController].
func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *answer) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Hijack hands out the connection for a tunnel. It closes with the request's
// context: a tunnel that is cut must not wait for a client that does not read.
func (w *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.status = http.StatusSwitchingProtocols
		context.AfterFunc(w.ctx, func() { _ = c.Close() })
	}
	return c, rw, err
}
