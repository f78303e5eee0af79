package objectstorage

import (
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"minicloud.internal/kit"
	"minicloud.internal/objectstorage/gather"
)

// get answers GET and HEAD with an object: whole, a range, several ranges, or
// not at all where a condition says so (RFC 9110, sections 13 and 14).
func (d *door) get(w http.ResponseWriter, r *http.Request, key string) error {
	o, err := d.store.Get(r.Context(), filesBucket, key, "")
	if err != nil {
		return err
	}
	_, inMemory := o.Body.(io.WriterTo)
	body := o.Body
	if strings.Contains(r.Header.Get("Range"), ",") {
		body = &shared{body: o.Body}
	}
	defer body.Close()
	h := w.Header()
	h.Set("ETag", quote(o.ETag))
	for name, value := range map[string]string{
		"Content-Type":        o.ContentType,
		"Content-Encoding":    o.ContentEncoding,
		"Content-Language":    o.ContentLanguage,
		"Content-Disposition": o.ContentDisposition,
		"Cache-Control":       o.CacheControl,
		"Expires":             o.Expires,
	} {
		if value != "" {
			h.Set(name, value)
		}
	}
	// ServeContent leaves the length out where the content is encoded, for the
	// sake of those who encode behind its back.
	h.Set("Content-Length", strconv.FormatInt(o.Size, 10))
	serve := func() error {
		http.ServeContent(&problemWriter{ResponseWriter: w, r: r, size: o.Size}, r, "", o.Modified, body)
		return nil
	}
	if !inMemory {
		return serve()
	}
	_ = gather.Do(w, r, serve) // the answer is begun; who has left hears of no error
	return nil
}

// shared is a body that [http.ServeContent] reads for several ranges: on a goroutine
// that it does not join, and that may still be reading when the body is closed. Close
// waits for that read. Others go without: this hides that a body is a file.
type shared struct {
	mu   sync.Mutex
	body io.ReadSeekCloser // nil: it is closed
}

func (b *shared) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.body == nil {
		return 0, fs.ErrClosed
	}
	return b.body.Read(p)
}

func (b *shared) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.body == nil {
		return 0, fs.ErrClosed
	}
	return b.body.Seek(offset, whence)
}

func (b *shared) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.body == nil {
		return fs.ErrClosed
	}
	err := b.body.Close()
	b.body = nil
	return err
}

// problemWriter puts a problem document in the place of the errors that
// [http.ServeContent] writes.
type problemWriter struct {
	http.ResponseWriter
	r       *http.Request
	size    int64
	replied bool // with a problem; what follows is dropped
}

// Unwrap serves [http.ResponseController].
func (w *problemWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *problemWriter) WriteHeader(status int) {
	if status < 400 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	h := w.Header()
	for _, name := range []string{"Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control", "Expires"} {
		h.Del(name)
	}
	p := kit.Problemf(http.StatusInternalServerError, "the object could not be read; try again")
	switch status {
	case http.StatusPreconditionFailed:
		p = kit.Problemf(status, "the object is not in the state that the request's conditions want")
	case http.StatusRequestedRangeNotSatisfiable:
		p = kit.Problemf(status, "the range is %q, which does not lie in the object's %d bytes or is malformed", w.r.Header.Get("Range"), w.size)
	}
	w.replied = true
	kit.WriteProblem(w.ResponseWriter, w.r, p)
}

func (w *problemWriter) Write(p []byte) (int, error) {
	if w.replied {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// ReadFrom lets the writer below take a file as a file.
func (w *problemWriter) ReadFrom(src io.Reader) (int64, error) {
	return io.Copy(w.ResponseWriter, src)
}
