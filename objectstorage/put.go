package objectstorage

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"

	"minicloud.internal/kit"
	"minicloud.internal/objectstorage/client"
	"minicloud.internal/objectstorage/s3api"
	"minicloud.internal/objectstorage/store"
)

// sniffLen is what [http.DetectContentType] looks at, in bytes.
const sniffLen = 512

// put stores the request's body under key.
func (d *door) put(w http.ResponseWriter, r *http.Request, key string) error {
	c, err := writeCondition(r)
	if err != nil {
		return err
	}
	if err := unknownBody(r.Header); err != nil {
		return err
	}
	sum, err := contentMD5(r.Header)
	if err != nil {
		return err
	}
	attributes := attributesOf(r.Header)
	if err := attributes.Check(); err != nil {
		return err
	}
	if r.ContentLength > d.max {
		return &http.MaxBytesError{Limit: d.max}
	}
	if err := d.foresee(r.Context(), key, c); err != nil {
		return err
	}
	u, head, err := d.stage(r.Context(), r.Body, r.ContentLength)
	if err != nil {
		return err
	}
	defer u.Discard()
	if sum != "" && sum != u.ETag() {
		return kit.Problemf(http.StatusBadRequest, "the body does not have the MD5 that Content-MD5 states; nothing was stored")
	}
	if attributes.ContentType == "" {
		attributes.ContentType = detect(key, head)
	}
	return d.commit(w, r, u, key, attributes, c)
}

// foresee fails early, before a long body is read, where a condition does not
// hold already. The store decides again.
func (d *door) foresee(ctx context.Context, key string, c store.Condition) error {
	if c.IsZero() {
		return nil
	}
	switch info, err := d.store.Head(ctx, filesBucket, key, ""); {
	case err == nil:
		return c.Check(&info)
	case errors.Is(err, store.ErrNotFound):
		return c.Check(nil)
	default:
		return err
	}
}

// stage hands a body of at most d.max bytes to the store, and returns its first
// sniffLen bytes beside the upload. size is its length or -1.
func (d *door) stage(ctx context.Context, body io.Reader, size int64) (store.Upload, []byte, error) {
	body = &limitedBody{r: body, limit: d.max}
	head := make([]byte, sniffLen)
	n, err := 0, error(nil)
	// io.ReadFull would make one error of a body's end and its being cut off.
	for n < len(head) && err == nil {
		var k int
		k, err = body.Read(head[n:])
		n += k
	}
	head = head[:n]
	if err != nil && err != io.EOF {
		return nil, nil, &store.BodyError{Err: err}
	}
	whole := io.Reader(bytes.NewReader(head))
	if err == nil {
		whole = io.MultiReader(whole, body)
	}
	u, err := d.store.Stage(ctx, whole, size)
	return u, head, err
}

// commit publishes an upload, retained as the bucket wants it, and answers: 201 for
// a new key, 200 for a replaced object.
func (d *door) commit(w http.ResponseWriter, r *http.Request, u store.Upload, key string, a store.Attributes, c store.Condition) error {
	b, err := d.store.GetBucket(r.Context(), filesBucket)
	if err != nil {
		return err
	}
	if err := s3api.Retain(&b, &a, d.now()); err != nil {
		return err
	}
	info, created, err := u.Commit(r.Context(), filesBucket, key, a, c)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", quote(info.ETag))
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		w.Header().Set("Location", client.Path(key))
	}
	kit.WriteJSON(w, status, struct {
		Key  string `json:"key"`
		Size int64  `json:"size"`
		ETag string `json:"etag"`
	}{info.Key, info.Size, info.ETag})
	return nil
}

// limitedBody fails with an [http.MaxBytesError] behind limit bytes. The one of
// net/http would also close the connection, before the answer is read.
type limitedBody struct {
	r           io.Reader
	limit, read int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.read += int64(n); b.read > b.limit {
		return 0, &http.MaxBytesError{Limit: b.limit}
	}
	return n, err
}

// unknownBody refuses bodies that S3 clients wrap in chunks of their own: kept
// as they come, they would not be what the client meant to store.
func unknownBody(h http.Header) error {
	if strings.HasPrefix(h.Get("X-Amz-Content-Sha256"), "STREAMING-") || strings.Contains(strings.ToLower(h.Get("Content-Encoding")), "aws-chunked") {
		return kit.Problemf(http.StatusNotImplemented, "a body in aws-chunked encoding is not known here; send it as it is")
	}
	if h.Get("Content-Range") != "" {
		return kit.Problemf(http.StatusBadRequest, "a PUT with Content-Range is not known here; send the whole object") // RFC 9110, section 14.5
	}
	return nil
}

// contentMD5 returns what Content-MD5 (RFC 1864) states, as an ETag has it.
func contentMD5(h http.Header) (string, error) {
	v := h.Get("Content-MD5")
	if v == "" {
		return "", nil
	}
	sum, err := base64.StdEncoding.DecodeString(v)
	if err != nil || len(sum) != md5.Size {
		return "", kit.Problemf(http.StatusBadRequest, "Content-MD5 is %q, expected 16 bytes in base64", v)
	}
	return hex.EncodeToString(sum), nil
}

// attributesOf takes the fields that are kept with an object.
func attributesOf(h http.Header) store.Attributes {
	a := store.Attributes{
		ContentType:        h.Get("Content-Type"),
		ContentEncoding:    h.Get("Content-Encoding"),
		ContentLanguage:    h.Get("Content-Language"),
		ContentDisposition: h.Get("Content-Disposition"),
		CacheControl:       h.Get("Cache-Control"),
		Expires:            h.Get("Expires"),
	}
	// curl -d says so of any body, unasked. No raw body is a form.
	if t, _, _ := strings.Cut(a.ContentType, ";"); strings.EqualFold(strings.TrimSpace(t), "application/x-www-form-urlencoded") {
		a.ContentType = ""
	}
	return a
}

// detect guesses a content type from the key's extension, then from the first
// bytes of the body.
func detect(key string, head []byte) string {
	if t := mime.TypeByExtension(path.Ext(key)); t != "" {
		return t
	}
	return http.DetectContentType(head)
}

// writeCondition reads the conditions of a PUT or DELETE (RFC 9110, section
// 13), and refuses what would be something else than a plain write: on S3, a
// query parameter names another operation.
func writeCondition(r *http.Request) (c store.Condition, err error) {
	for name := range r.URL.Query() {
		if name != "x-id" { // the name of the operation, which SDKs of S3 add
			return c, kit.Problemf(http.StatusNotImplemented, "the query parameter %q is not known with %s", name, r.Method)
		}
	}
	switch v := strings.TrimSpace(strings.Join(r.Header.Values("If-None-Match"), ",")); v {
	case "":
	case "*":
		c.Absent = true
	default:
		return c, kit.Problemf(http.StatusNotImplemented, "If-None-Match is %q, which with %s is known only as *", v, r.Method)
	}
	if v := strings.Join(r.Header.Values("If-Match"), ","); v != "" {
		if c.Match, err = parseETags(v); err != nil {
			return c, kit.Problemf(http.StatusBadRequest, "If-Match is %q, expected * or ETags in double quotes", v)
		}
	} else if v := r.Header.Get("If-Unmodified-Since"); v != "" {
		// A value that is no date is to be ignored (section 13.1.4).
		c.UnmodifiedSince, _ = http.ParseTime(v)
	}
	return c, nil
}

var errETags = errors.New("not a list of entity tags")

// parseETags reads "*" or a list of entity tags (RFC 9110, section 8.8.3). A
// weak one stays in the list with its W/, since it matches no object here.
func parseETags(v string) (tags []string, err error) {
	if v = strings.TrimSpace(v); v == "*" {
		return []string{"*"}, nil
	}
	for {
		v = strings.TrimLeft(v, " \t,")
		if v == "" {
			break
		}
		weak := ""
		if rest, ok := strings.CutPrefix(v, "W/"); ok {
			weak, v = "W/", rest
		}
		rest, ok := strings.CutPrefix(v, `"`)
		if !ok {
			return nil, errETags
		}
		tag, rest, ok := strings.Cut(rest, `"`)
		if !ok {
			return nil, errETags
		}
		if weak == "" && tag == "*" {
			weak = "quoted " // it is a tag and not any object
		}
		tags = append(tags, weak+tag)
		if v = strings.TrimLeft(rest, " \t"); v != "" && v[0] != ',' {
			return nil, errETags
		}
	}
	if len(tags) == 0 {
		return nil, errETags
	}
	return tags, nil
}

func quote(etag string) string { return `"` + etag + `"` }
