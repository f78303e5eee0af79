package s3api

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"minicloud.internal/objectstorage/checksum"
	"minicloud.internal/objectstorage/store"
)

// putObject stores the body under the key. What is wrong with the headers is said
// before a byte of the body is asked for.
func (r *request) putObject() error {
	if err := checkObjectKey(r.key); err != nil {
		return err
	}
	attributes, err := r.attributes()
	if err != nil {
		return err
	}
	if attributes.Tags, err = parseTagging(r.Header.Get("X-Amz-Tagging")); err != nil {
		return err
	}
	condition, err := r.writeCondition()
	if err != nil {
		return err
	}
	body, err := r.payload(checksum.CRC64NVME)
	if err != nil {
		return err
	}
	if err := r.checkLockDigest("Object", body, &attributes); err != nil {
		return err
	}
	upload, err := r.stage(body)
	if err != nil {
		return err
	}
	defer upload.Discard()
	attributes.Checksum = body.checksum()
	if err := r.retain(&attributes); err != nil {
		return err
	}
	info, _, err := upload.Commit(r.Context(), r.bucket, r.key, attributes, condition)
	if errors.Is(err, store.ErrPrecondition) {
		return r.preconditionFailed(condition)
	}
	if err != nil {
		return err
	}
	r.answerPut(&info)
	return nil
}

// answerPut tells of an object that was written at once.
func (r *request) answerPut(info *store.Info) {
	h := r.w.Header()
	h.Set("ETag", quoted(info.ETag))
	h.Set("X-Amz-Object-Size", strconv.FormatInt(info.Size, 10))
	r.setNewVersion(info.Version)
	setChecksum(h, info)
	h.Set("Content-Length", "0")
	r.w.WriteHeader(http.StatusOK)
}

// checkObjectKey refuses the keys that S3 has not: those with more steps up ("..")
// than down (S3 user guide, "Naming Amazon S3 objects"), since HTTP clients and
// file systems on the way resolve them to something else, and those of nothing
// but such steps. It guards what makes objects; to read such a key finds nothing.
func checkObjectKey(key string) error {
	depth, named := 0, false
	for step := range strings.SplitSeq(key, "/") {
		switch step {
		case "..":
			if depth--; depth < 0 {
				return badKey()
			}
		case ".", "":
		default:
			depth++
			named = true
		}
	}
	if !named && strings.Contains(key, ".") {
		return badKey()
	}
	return store.CheckKey(key)
}

// badKey is what S3 answers to a path that it does not take for a key.
func badKey() error {
	return &apiError{Code: "400", Message: "Bad Request", Status: http.StatusBadRequest}
}

// A payload is the body of a request on its way into the store: decoded from its
// transfer, and summed as the client declared and as the object wants it.
type payload struct {
	io.Reader
	size     int64 // as announced
	md5      []byte
	declared checksum.Declared
	client   *checksum.Reader // of the declared algorithm
	own      *checksum.Reader // of the algorithm that is kept; client, where that is the same
	trailer  func(name string) string
}

// payload prepares the body of a PutObject or an UploadPart. What is kept is the
// checksum that the client declared, and otherwise that of fallback.
func (r *request) payload(fallback checksum.Algorithm) (*payload, error) {
	p := &payload{}
	var err error
	if p.md5, err = contentMD5(r.Header); err != nil {
		return nil, err
	}
	if p.declared, err = checksum.Parse(r.Header); err != nil {
		return nil, checksumError(err)
	}
	body, err := r.identity.Body(r.Request)
	if err != nil {
		return nil, err
	}
	switch p.size = body.Size(); {
	case p.size < 0:
		return nil, fail("MissingContentLength")
	case p.size > r.h.MaxObjectSize:
		return nil, fail("EntityTooLarge").with("ProposedSize", strconv.FormatInt(p.size, 10)).
			with("MaxSizeAllowed", strconv.FormatInt(r.h.MaxObjectSize, 10))
	}
	p.trailer = body.Trailer
	p.keep(body, fallback)
	return p, nil
}

// keep sets up the sums over body.
func (p *payload) keep(body io.Reader, fallback checksum.Algorithm) {
	algorithm := p.declared.Algorithm
	if algorithm == "" {
		algorithm = fallback
	}
	p.client = checksum.NewReader(body, algorithm)
	p.own, p.Reader = p.client, p.client
}

// keepToo sets up a second sum, where what is kept is not what was declared.
func (p *payload) keepToo(algorithm checksum.Algorithm) {
	if algorithm != p.client.Algorithm() {
		p.own = checksum.NewReader(p.client, algorithm)
		p.Reader = p.own
	}
}

// stage reads p into the store and verifies it. After an error nothing is kept.
func (r *request) stage(p *payload) (store.Upload, error) {
	upload, err := r.h.store.Stage(r.Context(), p, p.size)
	if err != nil {
		return nil, checksumError(bodyError(err))
	}
	if err := p.verify(upload); err != nil {
		upload.Discard()
		return nil, err
	}
	return upload, nil
}

// verify compares what arrived with what the client said of it, before or behind
// the body.
func (p *payload) verify(upload store.Upload) error {
	if upload.Size() != p.size {
		return fail("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
	}
	if p.md5 != nil && subtle.ConstantTimeCompare([]byte(hex.EncodeToString(p.md5)), []byte(upload.ETag())) != 1 {
		got, _ := hex.DecodeString(upload.ETag())
		return fail("BadDigest").with("ExpectedDigest", hex.EncodeToString(p.md5)).
			with("CalculatedDigest", base64.StdEncoding.EncodeToString(got))
	}
	want := p.declared.Value
	if p.declared.Trailer {
		field := p.declared.Algorithm.Field()
		want = p.trailer(field)
		if !p.declared.Algorithm.Valid(want) {
			return failf("InvalidRequest", "Value for %s trailing header is invalid.", field)
		}
	}
	return checksumError(p.client.Check(want))
}

// checksum is what the object keeps, once p was read.
func (p *payload) checksum() store.Checksum {
	return store.Checksum{Algorithm: string(p.own.Algorithm()), Type: checksum.FullObject, Value: p.own.Sum()}
}

// checksumError gives a refusal of package checksum its status. Other errors, and
// nil, it returns as they are.
func checksumError(err error) error {
	if err == nil {
		return nil
	}
	var e *checksum.Error
	if errors.As(err, &e) {
		return fail(e.Code, e.Message)
	}
	return err
}
