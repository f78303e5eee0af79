package kit

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// step is how much of an answer passes under one deadline: small enough that
// 10 kB/s keep up with 30 s, large enough that sendfile(2) stays worth it.
const step = 256 << 10

// idleBody moves the read deadline on with every read. The deadline must be
// gone when the body has ended, because net/http then reads on, to learn
// whether the client has left, and would end the request's context with it.
type idleBody struct {
	io.ReadCloser
	control *http.ResponseController
	idle    time.Duration
	mu      sync.Mutex
	// over: the deadline is no longer this body's. A reader that outlives
	// the handler, as a proxy's may, would set it for the next request.
	over bool
}

func (b *idleBody) Read(p []byte) (int, error) {
	b.deadline(time.Now().Add(b.idle), false)
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.deadline(time.Time{}, true)
	} else if err != nil {
		// net/http tries to read the rest before it answers, and without a
		// deadline in the past it would try for ever.
		b.deadline(time.Now(), true)
	}
	return n, err
}

func (b *idleBody) Close() error {
	b.deadline(time.Now().Add(b.idle), false)
	defer b.deadline(time.Time{}, true)
	return b.ReadCloser.Close()
}

// deadline sets the read deadline, for the last time if over.
func (b *idleBody) deadline(t time.Time, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.over = over
		_ = b.control.SetReadDeadline(t)
	}
}

func (b *idleBody) isOver() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.over
}

// response moves the write deadline on with every write, and counts.
type response struct {
	http.ResponseWriter
	control  *http.ResponseController
	body     *idleBody
	idle     time.Duration
	status   int // 0 until a final one is sent, or may have been
	bytes    int64
	hijacked bool
}

// newResponse wraps w, and the body of r where it has one.
func newResponse(w http.ResponseWriter, r *http.Request, idle time.Duration) *response {
	control := http.NewResponseController(w)
	body := &idleBody{ReadCloser: r.Body, control: control, idle: idle, over: r.Body == http.NoBody}
	if !body.over {
		r.Body = body
		// For the body that the handler does not read: net/http does.
		body.deadline(time.Now().Add(idle), false)
	}
	return &response{ResponseWriter: w, control: control, body: body, idle: idle}
}

// finish is due when the handler has returned: net/http has yet to write what
// it holds in its buffers, and to read what is left of the body.
func (w *response) finish(r *http.Request) {
	w.extend()
	w.body.deadline(time.Now().Add(w.idle), true)
	if r.MultipartForm != nil {
		_ = r.MultipartForm.RemoveAll() // net/http does so for its own copy of r only
	}
}

// Unwrap serves [http.ResponseController].
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) extend() {
	if w.hijacked {
		return
	}
	idle := w.idle
	if !w.body.isOver() {
		idle *= 2 // net/http reads what is left of the body before it writes
	}
	_ = w.control.SetWriteDeadline(time.Now().Add(idle))
}

// sent notes that an answer is under way.
func (w *response) sent(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *response) WriteHeader(status int) {
	w.extend() // a 1xx is written at once
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.sent(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (total int, err error) {
	w.sent(http.StatusOK)
	for {
		w.extend()
		n, err := w.ResponseWriter.Write(p[total:min(total+step, len(p))])
		total += n
		w.bytes += int64(n)
		if err != nil || total == len(p) {
			return total, err
		}
	}
}

// ReadFrom keeps sendfile(2): a file passes in steps, with a new deadline each.
func (w *response) ReadFrom(src io.Reader) (total int64, err error) {
	limited, bounded := src.(*io.LimitedReader)
	file, left := src, int64(1<<62)
	if bounded { // net/http looks for a file under one limit, not under two
		file, left = limited.R, limited.N
	}
	for left > 0 && err == nil {
		w.extend()
		var n int64
		n, err = io.CopyN(w.ResponseWriter, file, min(step, left))
		if n > 0 {
			w.sent(http.StatusOK)
		}
		total += n
		left -= n
		w.bytes += n
		if bounded {
			limited.N = left
		}
	}
	if err == io.EOF {
		err = nil
	}
	return total, err
}

// Flush lets handlers stream.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is Flush for [http.ResponseController].
func (w *response) FlushError() error {
	w.extend()
	w.sent(http.StatusOK)
	return w.control.Flush()
}

// Hijack hands over the connection, without deadlines ([http.Hijacker]).
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := w.control.Hijack()
	if err == nil {
		w.hijacked = true
		w.sent(http.StatusSwitchingProtocols)
		w.body.deadline(time.Time{}, true)
	}
	return conn, buffered, err
}
