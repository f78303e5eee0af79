package objectstorage

import (
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"minicloud.internal/kit"
	"minicloud.internal/objectstorage/s3api"
	"minicloud.internal/objectstorage/store"
)

// door is the HTTP handler of /files, which is the bucket of that name, for
// requests without a signature.
type door struct {
	store   store.Store
	max     int64 // bytes of a body
	permit  func(s3api.Ask) error
	now     func() time.Time
	logger  *slog.Logger
	metrics *metrics
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation := operationOf(r)
	out := &meter{ResponseWriter: w}
	defer func() { d.metrics.count(doorFiles, operation, out.status) }()
	// What is served here was written by anybody: a browser shall believe the
	// type that was stored and guess none.
	out.Header().Set("X-Content-Type-Options", "nosniff")
	if err := d.route(out, r); err != nil {
		d.fail(out, r, err)
	}
}

// route decides by path and method.
//
//	/files, /files/   GET, HEAD: the listing
//	/files/put        POST: a form; otherwise an object as any
//	/files/{key}      GET, HEAD, PUT, DELETE
func (d *door) route(w http.ResponseWriter, r *http.Request) error {
	key, ok := keyOf(r.URL.Path)
	if !ok {
		return kit.Problemf(http.StatusNotFound, "nothing is at %q; objects are under /files/", r.URL.Path)
	}
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	form := key == "put" && r.Method == http.MethodPost
	switch {
	case key == "" && !read:
		return kit.NotAllowed(w, r, "GET", "HEAD")
	case key == "put" && !read && !form && r.Method != http.MethodPut && r.Method != http.MethodDelete:
		return kit.NotAllowed(w, r, "GET", "HEAD", "PUT", "DELETE", "POST")
	case !read && !form && r.Method != http.MethodPut && r.Method != http.MethodDelete:
		return kit.NotAllowed(w, r, "GET", "HEAD", "PUT", "DELETE")
	}
	if !form {
		if err := d.authorize(r, key); err != nil {
			return err
		}
	}
	switch {
	case key == "":
		return d.list(w, r)
	case form:
		return d.form(w, r)
	}
	if err := store.CheckKey(key); err != nil {
		return err
	}
	switch {
	case read:
		return d.get(w, r, key)
	case r.Method == http.MethodPut:
		return d.put(w, r, key)
	}
	return d.delete(w, r, key)
}

// authorize lets through what the bucket lets anybody do, as it would through S3's
// door: by its settings, its policy, its public access block and where a browser
// sends the request from. Of a form the key is known only at its end.
func (d *door) authorize(r *http.Request, key string) error {
	b, err := d.store.GetBucket(r.Context(), filesBucket)
	if err != nil {
		return err
	}
	a := s3api.Ask{Request: r, Bucket: b, Key: key, Action: "s3:GetObject"}
	switch r.Method {
	case http.MethodPut, http.MethodPost:
		a.Action, a.Write = "s3:PutObject", true
	case http.MethodDelete:
		a.Action, a.Write = "s3:DeleteObject", true
	default:
		if key == "" {
			a.Action = "s3:ListBucket"
		}
	}
	if err := d.permit(a); err != nil {
		d.logger.Info("request refused", "method", r.Method, "path", r.URL.Path, "reason", err)
		return kit.Problemf(http.StatusForbidden, "the bucket %q does not let anybody do %s from here without a signature; sign the request as S3 has it, or open the bucket in the configuration", filesBucket, a.Action)
	}
	return nil
}

// keyOf takes the key out of a decoded path. It is everything behind "/files/",
// byte for byte: nothing is cleaned and "%2F" is a slash like any other, since
// a key is a name and no path. The listing has the empty key.
func keyOf(path string) (key string, ok bool) {
	if path == "/files" {
		return "", true
	}
	return strings.CutPrefix(path, "/files/")
}

func (d *door) delete(w http.ResponseWriter, r *http.Request, key string) error {
	c, err := writeCondition(r)
	if err != nil {
		return err
	}
	if _, err := d.store.Delete(r.Context(), filesBucket, key, "", c); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// fail answers a request with a problem document, and logs what is the service's
// own fault.
func (d *door) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err, r.URL.Path)
	if p.Status >= 500 && p.Status != http.StatusNotImplemented {
		d.logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err,
			"request_id", kit.TraceFrom(r.Context()).RequestID)
	}
	kit.WriteProblem(w, r, p)
}

// problemOf maps an error to its problem document.
func problemOf(err error, path string) *kit.Problem {
	var (
		problem *kit.Problem
		key     *store.KeyError
		tooLong *http.MaxBytesError
		body    *store.BodyError
	)
	switch {
	case errors.As(err, &problem):
		return problem
	case errors.As(err, &key):
		return kit.Problemf(http.StatusBadRequest, "%v", key)
	case errors.As(err, &tooLong):
		return kit.Problemf(http.StatusRequestEntityTooLarge, "the body is over the limit of %d bytes", tooLong.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return kit.Problemf(http.StatusRequestTimeout, "the body stood still for too long; nothing was stored")
	case errors.As(err, &body):
		return kit.Problemf(http.StatusBadRequest, "the body could not be read to its end; nothing was stored")
	case errors.Is(err, store.ErrNotFound):
		name, _ := keyOf(path)
		return kit.Problemf(http.StatusNotFound, "no object has the key %q", name)
	case errors.Is(err, store.ErrNoBucket):
		return kit.Problemf(http.StatusNotFound, "the bucket %q, which /files is, does not exist; the configuration names it in buckets, or CreateBucket of S3 makes it", filesBucket)
	case errors.Is(err, store.ErrPrecondition):
		return kit.Problemf(http.StatusPreconditionFailed, "the object is not in the state that the request's conditions want; nothing was changed")
	case errors.Is(err, store.ErrLocked):
		return kit.Problemf(http.StatusForbidden, "a retention or a legal hold of S3's Object Lock keeps the object; nothing was changed")
	case errors.Is(err, store.ErrAttributes):
		return kit.Problemf(http.StatusRequestHeaderFieldsTooLarge, "the header fields that are kept with the object have over %d bytes", store.MaxAttributes)
	case errors.Is(err, store.ErrNoSpace):
		return kit.Problemf(http.StatusInsufficientStorage, "the store is full and nothing was stored; delete objects or give it more room")
	case errors.Is(err, store.ErrStopped):
		return kit.Problemf(http.StatusServiceUnavailable, "the store takes no writes, because one could not be made durable; its operator has to check the disk and restart it")
	case errors.Is(err, store.ErrReadOnly):
		return kit.Problemf(http.StatusServiceUnavailable, "the store cannot write, because its disk is read-only; its operator has to mount it for writing")
	case errors.Is(err, store.ErrBusy):
		return kit.Problemf(http.StatusServiceUnavailable, "the store has too much to do at once; try again in a moment")
	case errors.Is(err, store.ErrCorrupt):
		return kit.Problemf(http.StatusInternalServerError, "the stored object is damaged; put it again, or delete it")
	}
	return kit.Problemf(http.StatusInternalServerError, "the store met an error, which its log has under the request id; try again")
}
