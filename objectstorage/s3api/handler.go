package s3api

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"minicloud.internal/objectstorage/sigv4"
	"minicloud.internal/objectstorage/store"
)

// owner is the one account: the identifier and the display name of who owns
// every bucket and object.
const owner = "minicloud"

// Config is what a [Handler] needs beside its store.
type Config struct {
	// Verifier checks signatures; nil accepts unsigned requests alone.
	Verifier *sigv4.Verifier
	// Region is what GetBucketLocation and HeadBucket report, and the only one
	// that a bucket may be created in; empty reports us-east-1 and accepts any.
	Region string
	// Hosts are the base domains of virtual-host style addresses, in lower
	// case and without a port: with "s3.example.com", a request to
	// "photos.s3.example.com" is for the bucket photos. None: path style only.
	Hosts []string
	// Known reports whether a Host, in lower case and without its port, is one
	// that the service is reached by, beside the base domains and what is loopback.
	// A browser's request to any other may come from a page whose name was pointed
	// here (DNS rebinding), and is taken for another site's. nil: none.
	Known func(host string) bool
	// MaxObjectSize bounds one body, in bytes; 0 is 5 GiB, as S3 has it.
	MaxObjectSize int64
	// Logger takes the causes of 5xx answers; nil drops them.
	Logger *slog.Logger
	// Now is the clock; nil is [time.Now].
	Now func() time.Time
	// Observe, where set, is told of every answer: the operation by S3's name
	// ("GetObject"; "Unknown" where none was recognised) and the status.
	Observe func(operation string, status int)
}

// A Handler is the S3 door of a store. It holds no state but its
// configuration; its methods may be called concurrently.
type Handler struct {
	store      store.Store
	operations map[target]*operation
	Config
}

// New returns the S3 door of s.
func New(s store.Store, c Config) *Handler {
	if c.MaxObjectSize == 0 {
		c.MaxObjectSize = 5 << 30
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Handler{store: s, operations: operations(), Config: c}
}

// region is the one that is reported.
func (h *Handler) region() string {
	if h.Region == "" {
		return "us-east-1"
	}
	return h.Region
}

// A request is one on its way through the door. Only the goroutine that serves
// it uses it.
type request struct {
	*http.Request
	w  http.ResponseWriter
	h  *Handler
	op *operation
	id string // the request id

	bucket, key string
	query       url.Values
	// identity is who signed; nil: anonymous.
	identity *sigv4.Identity
	// settings are the bucket's, for every operation but those with
	// operation.bucketless.
	settings store.Bucket
	// policy is that of the bucket policyOf, where [request.keepPolicy] read it.
	policy   *policy
	policyOf string
}

// anonymous reports that nobody signed the request.
func (r *request) anonymous() bool { return r.identity == nil }

// ServeHTTP answers a request of S3, every time with S3's XML.
func (h *Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	answer := &responseWriter{ResponseWriter: w}
	r := &request{Request: req, w: answer, h: h, op: unknownOperation, id: newRequestID()}
	header, id := answer.Header(), []string{r.id}
	header["X-Amz-Request-Id"], header["X-Amz-Id-2"] = id, id
	if h.Observe != nil {
		defer func() { h.Observe(r.op.name, answer.status) }() // also where the answer is cut off
	}
	if err := r.run(); err != nil {
		r.writeError(err)
	}
}

// run takes the steps in S3's order: what is asked for, who asks, may they,
// does the bucket exist, and only then the operation.
func (r *request) run() (err error) {
	if err := r.checkHeaderSize(); err != nil {
		return err
	}
	if r.query, err = parseQuery(r.URL.RawQuery); err != nil {
		return err
	}
	if err := r.address(); err != nil {
		return err
	}
	if r.Method == http.MethodOptions {
		return r.preflight()
	}
	op, err := r.choose()
	if err != nil {
		return err
	}
	r.op = op
	if err := r.corsHeaders(); err != nil {
		return err
	}
	if r.h.Verifier != nil && !r.op.form {
		if r.identity, err = r.h.Verifier.Verify(r.Request); err != nil {
			return err
		}
	}
	if err := r.authorize(); err != nil {
		return err
	}
	return r.op.serve(r)
}

// maxHeaders bounds the names and values of a request's headers, in bytes, as S3 has
// it.
const maxHeaders = 8 << 10

func (r *request) checkHeaderSize() error {
	size := 0
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v)
		}
	}
	if size > maxHeaders {
		return fail("RequestHeaderSectionTooLarge").with("MaxSizeAllowed", strconv.Itoa(maxHeaders))
	}
	return nil
}

// newRequestID returns 16 hexadecimal digits in upper case, as S3's are. It is a name,
// and no secret.
func newRequestID() string {
	id := rand.Uint64()
	var digits [16]byte
	for i := range digits {
		digits[i] = "0123456789ABCDEF"[id>>(60-4*i)&15]
	}
	return string(digits[:])
}

// A responseWriter keeps the status of the answer.
type responseWriter struct {
	http.ResponseWriter
	status int
}

func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// ReadFrom lets a body that is a file go out by sendfile.
func (w *responseWriter) ReadFrom(src io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return io.Copy(w.ResponseWriter, src)
}

// Unwrap serves [http.ResponseController].
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
