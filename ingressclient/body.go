package ingressclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A dataArg is one -d: a text, or the name of a file ("-": standard input).
type dataArg struct{ text, file string }

// A body is what a request sends: pieces in a row. It can be opened again for
// a redirect, unless a piece is a stream.
type body struct {
	pieces      []piece
	size        int64 // -1: unknown, sent in chunks
	contentType string
}

// A piece is a text, a regular file, or a stream that can be read once.
type piece struct {
	text   []byte
	path   string
	stream *once
	size   int64 // -1 for a stream
}

// once is a stream that is read at most once. It is not closed: it ends with
// the process.
type once struct {
	io.Reader
	name string
}

const (
	// readAhead is how much of a stream is kept in memory, so that a small
	// one has a length and can be sent again.
	readAhead = 1 << 20
	// expectAbove is the size from which the server is asked first whether
	// it wants the body at all (RFC 9110, section 10.1.1), as in curl.
	expectAbove = 1 << 20
	// sniffLen is what http.DetectContentType looks at.
	sniffLen = 512
)

// A readError is a failure to read what is to be sent.
type readError struct {
	name string
	err  error
}

func (e *readError) Error() string {
	var path *os.PathError
	if errors.As(e.err, &path) {
		return fmt.Sprintf("cannot read %s: %v", e.name, path.Err)
	}
	return fmt.Sprintf("cannot read %s: %v", e.name, e.err)
}

func (e *readError) Unwrap() error { return e.err }

// prepareBody reads from the flags what is sent: nil without any. Files are
// opened once now, so that one that cannot be read costs no request.
func (c *command) prepareBody(ctx context.Context) (*body, error) {
	var b *body
	var err error
	switch {
	case c.upload != "":
		b, err = c.uploadBody(ctx)
	case len(c.form) > 0:
		b, err = c.formBody(ctx)
	case len(c.data) > 0:
		b, err = c.dataBody(ctx)
	default:
		return nil, nil
	}
	if err == nil {
		b.measure()
		return b, nil
	}
	if cut := c.cutShort(ctx, "Reading what to send"); cut != nil {
		return nil, cut
	}
	if bad := (*readError)(nil); errors.As(err, &bad) {
		return nil, failf(exitRead, "%v", bad).withHint("nothing was sent; @FILE is relative to the current folder")
	}
	return nil, err
}

func (b *body) measure() {
	b.size = 0
	for _, p := range b.pieces {
		if p.size < 0 {
			b.size = -1
			return
		}
		b.size += p.size
	}
}

// dataBody joins the -d with "&". A single file has its own media type where
// its name or its first bytes tell one; everything else is what curl says.
func (c *command) dataBody(ctx context.Context) (*body, error) {
	b := &body{contentType: "application/x-www-form-urlencoded"}
	for i, d := range c.data {
		if i > 0 && !c.json {
			b.pieces = append(b.pieces, textPiece("&"))
		}
		if d.file == "" {
			b.pieces = append(b.pieces, textPiece(d.text))
			continue
		}
		p, start, err := c.filePiece(ctx, d.file)
		if err != nil {
			return nil, err
		}
		b.pieces = append(b.pieces, p)
		if kind := mediaType(d.file, start); kind != "" && len(c.data) == 1 {
			b.contentType = kind
		}
	}
	if c.json {
		b.contentType = "application/json"
	}
	return b, nil
}

func (c *command) uploadBody(ctx context.Context) (*body, error) {
	p, start, err := c.filePiece(ctx, c.upload)
	if err != nil {
		return nil, err
	}
	return &body{pieces: []piece{p}, contentType: mediaType(c.upload, start)}, nil
}

func textPiece(s string) piece { return piece{text: []byte(s), size: int64(len(s))} }

// filePiece returns a file, or for "-" standard input, and its first bytes. A
// pipe, or a device, is a stream.
func (c *command) filePiece(ctx context.Context, name string) (piece, []byte, error) {
	if name == "-" {
		return streamPiece(ctx, c.stdin, "standard input")
	}
	f, err := os.Open(name)
	if err != nil {
		return piece{}, nil, &readError{name, err}
	}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return piece{}, nil, &readError{name, err}
	}
	if !st.Mode().IsRegular() && !st.IsDir() {
		return streamPiece(ctx, f, name)
	}
	defer f.Close()
	start := make([]byte, sniffLen)
	n, err := io.ReadFull(f, start)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF { // A folder ends here.
		return piece{}, nil, &readError{name, err}
	}
	return piece{path: name, size: st.Size()}, start[:n], nil
}

// streamPiece reads the beginning of a stream. A read cannot be interrupted:
// where ctx ends first, its goroutine is left to the end of the process.
func streamPiece(ctx context.Context, r io.Reader, name string) (piece, []byte, error) {
	type result struct {
		start []byte
		err   error
	}
	done := make(chan result, 1)
	go func() {
		start, err := io.ReadAll(io.LimitReader(r, readAhead+1))
		done <- result{start, err}
	}()
	select {
	case <-ctx.Done():
		return piece{}, nil, ctx.Err()
	case got := <-done:
		sniff := got.start[:min(len(got.start), sniffLen)]
		switch {
		case got.err != nil:
			return piece{}, nil, &readError{name, got.err}
		case len(got.start) <= readAhead:
			return piece{text: got.start, size: int64(len(got.start))}, sniff, nil
		}
		return piece{stream: &once{Reader: io.MultiReader(bytes.NewReader(got.start), r), name: name}, size: -1}, sniff, nil
	}
}

// rewindable returns the failure of a body that cannot be sent a second time.
func (b *body) rewindable() error {
	if b == nil {
		return nil
	}
	for _, p := range b.pieces {
		if p.stream != nil {
			return failf(exitRewind, "A redirect asks for the body again, but %s can be read once only", p.stream.name).
				withHint("send a file, or the URL that the redirect leads to")
		}
	}
	return nil
}

// reader opens the body.
func (b *body) reader() io.ReadCloser { return &bodyReader{pieces: b.pieces} }

// A bodyReader reads pieces in a row. What fails is a [readError].
type bodyReader struct {
	pieces []piece
	name   string
	from   io.Reader
	file   *os.File
	left   int64 // of a file; -1: until the end of the stream
}

// Read implements [io.Reader].
func (r *bodyReader) Read(p []byte) (int, error) {
	for {
		if r.from == nil {
			if len(r.pieces) == 0 {
				return 0, io.EOF
			}
			if err := r.next(); err != nil {
				return 0, err
			}
		}
		if r.left >= 0 && int64(len(p)) > r.left {
			p = p[:r.left]
		}
		n, err := 0, io.EOF
		if r.left != 0 {
			n, err = r.from.Read(p)
		}
		if r.left > 0 {
			r.left -= int64(n)
		}
		switch {
		case err == nil || n > 0 && err == io.EOF:
			return n, nil
		case err != io.EOF:
			return n, &readError{r.name, err}
		case r.left > 0:
			return n, &readError{r.name, errors.New("it became shorter while it was sent")}
		}
		if err := r.Close(); err != nil {
			return 0, &readError{r.name, err}
		}
		r.from = nil
	}
}

// next opens the next piece.
func (r *bodyReader) next() error {
	p := r.pieces[0]
	r.pieces = r.pieces[1:]
	r.left, r.name = p.size, p.path
	switch {
	case p.stream != nil:
		r.from, r.name = p.stream, p.stream.name
	case p.path != "":
		f, err := os.Open(p.path)
		if err != nil {
			return &readError{p.path, err}
		}
		r.from, r.file = f, f
	default:
		r.from = bytes.NewReader(p.text)
	}
	return nil
}

// Close implements [io.Closer].
func (r *bodyReader) Close() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}

// uploadName adds the file's name to a URL of -T that ends in "/", as curl does.
func (o *options) uploadName(t *target) {
	if o.upload != "" && o.upload != "-" && strings.HasSuffix(t.url.Path, "/") {
		t.url = t.url.JoinPath(filepath.Base(o.upload))
	}
}
