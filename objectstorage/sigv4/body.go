package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"minicloud.internal/objectstorage/checksum"
)

// The values of x-amz-content-sha256 that are no hash.
const (
	unsignedPayload  = "UNSIGNED-PAYLOAD"
	chunksUnsigned   = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	chunksSigned     = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	chunksTrailer    = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	chunksV4A        = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
	chunksV4ATrailer = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"

	emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func knownPayload(value string) bool {
	switch value {
	case unsignedPayload, chunksUnsigned, chunksSigned, chunksTrailer, chunksV4A, chunksV4ATrailer:
		return true
	}
	return isHash(value)
}

func isHash(value string) bool {
	if len(value) != 2*sha256.Size {
		return false
	}
	for i := range len(value) {
		if _, ok := fromHex(value[i]); !ok {
			return false
		}
	}
	return true
}

func errPayload(value string) *Error {
	return invalidArgument("x-amz-content-sha256", value, "x-amz-content-sha256 must be "+
		strings.Join([]string{unsignedPayload, chunksUnsigned, chunksSigned, chunksTrailer, chunksV4A, chunksV4ATrailer}, ", ")+
		" or a valid sha256 value.")
}

// A Body is the payload of a request, decoded, and verified while it is read. Its
// last bytes come together with io.EOF or not at all: whoever read as many as Size
// without an error has a body that is verified. It is used by one goroutine.
type Body struct {
	reader  io.Reader
	size    int64
	decoder *decoder // nil: the payload is not in chunks
}

// Read returns an [*Error] where the client is to blame: the body is not what was
// signed, or is malformed, or ended early. Nothing that was read before counts
// then. Other errors are those of the request's body.
func (b *Body) Read(p []byte) (int, error) { return b.reader.Read(p) }

// Size is the number of bytes that there are to read, or -1 where the client did
// not say.
func (b *Body) Size() int64 { return b.size }

// Chunked reports whether the body came in chunks (aws-chunked).
func (b *Body) Chunked() bool { return b.decoder != nil }

// Trailer returns a field that came behind the body, by its name in lower case, or
// "". It knows only after Read returned io.EOF.
func (b *Body) Trailer(name string) string {
	if b.decoder == nil || b.decoder.err != io.EOF {
		return ""
	}
	return b.decoder.trailers[name]
}

// Whole is Body for an operation whose body is a document: it refuses chunks, as
// S3 does for anything but objects and parts.
func (id *Identity) Whole(r *http.Request) (*Body, error) {
	switch id.payloadOf(r) {
	case chunksUnsigned, chunksSigned, chunksTrailer, chunksV4A, chunksV4ATrailer:
		return nil, invalidRequest("The value of x-amz-content-sha256 header is invalid.")
	}
	return id.Body(r)
}

// Body returns the payload of r, which id signed; nil is anonymous. How r.Body is
// encoded and what it is checked against says x-amz-content-sha256. It returns an
// [*Error] for fields that do not fit together. Who closes r.Body stays as it was.
func (id *Identity) Body(r *http.Request) (*Body, error) {
	switch payload := id.payloadOf(r); payload {
	case "", unsignedPayload:
		return &Body{reader: &whole{source: r.Body, size: r.ContentLength}, size: r.ContentLength}, nil
	case chunksUnsigned, chunksSigned, chunksTrailer:
		return id.chunked(r, payload)
	case chunksV4A, chunksV4ATrailer:
		if id == nil {
			return nil, errAnonymousChunks()
		}
		return nil, refuse(http.StatusNotImplemented, "NotImplemented", fmt.Sprintf("The chunk encoding algorithm %s is not supported.", payload))
	default:
		if !isHash(payload) && id != nil { // of nobody, S3 says at the end that it is another's
			return nil, errPayload(payload)
		}
		w := &whole{source: r.Body, size: r.ContentLength, want: strings.ToLower(payload), hash: sha256.New()}
		return &Body{reader: w, size: r.ContentLength}, nil
	}
}

func (id *Identity) payloadOf(r *http.Request) string {
	if id == nil {
		return single(r.Header, "X-Amz-Content-Sha256")
	}
	return id.payload
}

func errAnonymousChunks() *Error {
	return invalidRequest("Anonymous requests don't support this x-amz-content-sha256 value. Please use UNSIGNED-PAYLOAD or STREAMING-UNSIGNED-PAYLOAD-TRAILER.")
}

func (id *Identity) chunked(r *http.Request, payload string) (*Body, error) {
	if id == nil && payload != chunksUnsigned {
		return nil, errAnonymousChunks()
	}
	size, err := strconv.ParseUint(single(r.Header, "X-Amz-Decoded-Content-Length"), 10, 63)
	if err != nil {
		return nil, refuse(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	d := newDecoder(r.Body, int64(size))
	if payload != chunksSigned {
		d.trailing = true
		d.announced = strings.ToLower(strings.TrimSpace(single(r.Header, "X-Amz-Trailer")))
		if _, ok := checksum.FromField(d.announced); d.announced != "" && !ok {
			return nil, invalidRequest("The value specified in the x-amz-trailer header is not supported")
		}
	}
	if payload != chunksUnsigned {
		d.chain = newChain(id)
	}
	return &Body{reader: d, size: int64(size), decoder: d}, nil
}

// whole reads a body that is not in chunks.
type whole struct {
	source io.Reader
	size   int64 // -1: unknown
	read   int64
	want   string    // its SHA-256
	hash   hash.Hash // nil: nobody signed it
	err    error
}

func (w *whole) Read(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := 0, io.EOF
	if w.source != nil && (w.size != 0 || w.read > 0) {
		n, err = w.source.Read(p)
	}
	w.read += int64(n)
	if w.hash != nil {
		w.hash.Write(p[:n])
	}
	switch {
	case err == nil && w.read == w.size, err == io.EOF:
		w.err = w.end()
	case err != nil:
		w.err = readError(err)
	}
	if w.err != nil && w.err != io.EOF {
		return 0, w.err
	}
	return n, w.err
}

// end returns io.EOF where the body is what was signed.
func (w *whole) end() error {
	if w.size >= 0 && w.read != w.size {
		return errLength()
	}
	if w.hash == nil {
		return io.EOF
	}
	var got [2 * sha256.Size]byte
	if hex.Encode(got[:], w.hash.Sum(nil)); string(got[:]) != w.want {
		return refuse(http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.",
			Field{"ClientComputedContentSHA256", w.want}, Field{"S3ComputedContentSHA256", string(got[:])})
	}
	return io.EOF
}

// readError says that the client cut its body off, where that is so.
func readError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errLength()
	}
	return err
}
