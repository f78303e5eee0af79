package s3api

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"minicloud.internal/objectstorage/checksum"
	"minicloud.internal/objectstorage/sigv4"
	"minicloud.internal/objectstorage/store"
)

const (
	// maxFormFields bounds what a form has in front of its file, in bytes, as S3
	// has it; names, values and the lines between them.
	maxFormFields = 20 << 10
	// formReadAhead is what a multipart reader may have taken beyond that.
	formReadAhead = 8 << 10
	// maxOvershoot is how much of a file that is too large is read, in bytes, to
	// tell its size in the error.
	maxOvershoot = 1 << 20
)

// A postForm is an upload by a browser's form (Amazon S3 API reference, "POST
// Object"): the fields, by names in lower case, and the file behind them. What
// stands behind the file is ignored.
type postForm struct {
	fields map[string]string
	file   io.Reader
	name   string // of the file, as the browser says
}

// postObject stores the file of a form. The form's policy is what the request's
// signature is elsewhere, and is checked before anything is said of the bucket.
func (r *request) postObject() error {
	form, err := r.readForm()
	if err != nil {
		return err
	}
	if form.fields["key"] == "" {
		return invalidArgument("key", "", "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.")
	}
	key := strings.ReplaceAll(form.fields["key"], "${filename}", form.name)
	if err := store.CheckKey(key); err != nil {
		return fromKey(err.(*store.KeyError), key)
	}
	if err := checkObjectKey(key); err != nil {
		return err
	}
	p, err := r.verifyForm(form)
	if err != nil {
		return err
	}
	if err := r.loadBucket(); err != nil {
		return err
	}
	if err := r.permit(r.op.action, key); err != nil {
		return err
	}
	if p != nil {
		if err := p.Check(r.bucket, key, form.fields); err != nil {
			return err
		}
	}
	r.key = key
	return r.storeForm(form, p)
}

// verifyForm checks the signature of a form; nil: it has none.
func (r *request) verifyForm(form *postForm) (*sigv4.Policy, error) {
	if r.h.Verifier == nil {
		return nil, nil
	}
	p, err := r.h.Verifier.VerifyPolicy(form.fields)
	if err == nil && p != nil {
		r.identity = &sigv4.Identity{AccessKey: p.AccessKey}
	}
	return p, err
}

// storeForm stages the file, checks what only its end shows, and commits it.
func (r *request) storeForm(form *postForm, p *sigv4.Policy) error {
	// From here on the fields are what the headers of a PutObject are.
	put := *r
	put.Request = r.Request.WithContext(r.Context())
	var err error
	if put.Header, err = form.headers(); err != nil {
		return err
	}
	attributes, err := put.attributes()
	if err != nil {
		return err
	}
	if v, ok := form.fields["tagging"]; ok {
		if attributes.Tags, err = formTags(v); err != nil {
			return err
		}
	}
	condition, err := put.writeCondition()
	if err != nil {
		return err
	}
	declared, err := checksum.ParseForm(form.fields)
	if err != nil {
		return checksumError(err)
	}
	algorithm := declared.Algorithm
	if algorithm == "" {
		algorithm = checksum.CRC64NVME
	}
	body := checksum.NewReader(newBoundedFile(form.file, r.h.MaxObjectSize, p), algorithm)
	upload, err := r.h.store.Stage(r.Context(), body, -1)
	if err != nil {
		return formError(err)
	}
	defer upload.Discard()
	if p != nil {
		if err := p.CheckSize(upload.Size()); err != nil {
			return err
		}
	}
	if declared.Value != "" {
		if err := body.Check(declared.Value); err != nil {
			return checksumError(err)
		}
	}
	attributes.Checksum = store.Checksum{Algorithm: string(algorithm), Type: checksum.FullObject, Value: body.Sum()}
	if err := r.retain(&attributes); err != nil {
		return err
	}
	info, _, err := upload.Commit(r.Context(), r.bucket, r.key, attributes, condition)
	if errors.Is(err, store.ErrPrecondition) {
		return put.preconditionFailed(condition)
	}
	if err != nil {
		return err
	}
	return r.answerForm(form, &info)
}

// answerForm answers as the form asks: by a redirect, or with a status of three.
func (r *request) answerForm(form *postForm, info *store.Info) error {
	h := r.w.Header()
	h.Set("ETag", quoted(info.ETag))
	h.Set("Location", r.formLocation())
	r.setVersion(info.Version)
	setChecksum(h, info)
	redirect := form.fields["success_action_redirect"]
	if redirect == "" {
		redirect = form.fields["redirect"] // the older name
	}
	if u, err := url.Parse(redirect); err == nil && redirect != "" && (u.Scheme == "http" || u.Scheme == "https") {
		q := u.Query()
		q.Set("bucket", r.bucket)
		q.Set("key", r.key)
		q.Set("etag", quoted(info.ETag))
		u.RawQuery = q.Encode()
		h.Set("Location", u.String())
		r.w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	switch form.fields["success_action_status"] {
	case "200":
		return r.ok(nil)
	case "201":
		return r.writeXML(http.StatusCreated, &struct {
			XMLName                     xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ PostResponse"`
			Location, Bucket, Key, ETag string
		}{Location: r.formLocation(), Bucket: r.bucket, Key: r.key, ETag: quoted(info.ETag)})
	}
	return r.noContent(nil)
}

// formLocation is the object's URL: the form was sent to its bucket's.
func (r *request) formLocation() string {
	return strings.TrimSuffix(r.location(), "/") + (&url.URL{Path: "/" + r.key}).EscapedPath()
}

// readForm reads the fields of a form up to its file.
func (r *request) readForm() (*postForm, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return nil, fail("PreconditionFailed").with("Condition", "Bucket POST must be of the enclosure-type multipart/form-data")
	}
	if params["boundary"] == "" {
		return nil, fail("MalformedPOSTRequest")
	}
	bounded := &fieldsReader{r: r.Body, left: maxFormFields + formReadAhead}
	reader := multipart.NewReader(bounded, params["boundary"])
	form := &postForm{fields: map[string]string{}}
	left := int64(maxFormFields)
	for {
		part, err := reader.NextRawPart()
		switch {
		case err == io.EOF: // not wrapped: behind the last boundary, and no body that is cut off
			return nil, invalidArgument("file", "0", "POST requires exactly one file upload per request.")
		case err != nil:
			return nil, bounded.blame()
		}
		name := strings.ToLower(part.FormName())
		if name == "" {
			return nil, fail("MalformedPOSTRequest")
		}
		if name == "file" || part.FileName() != "" {
			bounded.left = -1
			form.file, form.name = part, fileName(part)
			return form, nil
		}
		value, err := io.ReadAll(io.LimitReader(part, left+1))
		if err != nil {
			return nil, bounded.blame()
		}
		if left -= int64(len(value) + len(name)); left < 0 {
			return nil, errFormTooLarge()
		}
		if before, ok := form.fields[name]; ok && strings.HasPrefix(name, "x-amz-meta-") {
			value = fmt.Appendf(nil, "%s,%s", before, value)
		}
		form.fields[name] = string(value)
	}
}

// fileName is the name that ${filename} stands for: without the folders that
// some browsers send along.
func fileName(part *multipart.Part) string {
	_, params, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	name := params["filename"]
	return name[strings.LastIndexAny(name, `/\`)+1:]
}

func errFormTooLarge() *apiError {
	return fail("MaxPostPreDataLengthExceededError").with("MaxPostPreDataLengthBytes", strconv.Itoa(maxFormFields))
}

// formError is the error of a form that could not be read to the end of its file,
// through the store or before it.
func formError(err error) error {
	var body *store.BodyError
	var known *apiError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &body) && (errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "multipart: ")):
		return fail("MalformedPOSTRequest")
	}
	return err // the connection's, or the store's own
}

// formTags reads the field tagging: the document of PutObjectTagging.
func formTags(document string) ([]store.Tag, error) {
	var set tagSet
	if err := decodeXML([]byte(document), &set); err != nil {
		return nil, err
	}
	tags := make([]store.Tag, len(set.Tags))
	for i, t := range set.Tags {
		tags[i] = store.Tag(t)
	}
	return tags, checkTags(tags)
}

// headers are the fields as headers of a PutObject, which have the same names but
// for the ACL's.
func (f *postForm) headers() (http.Header, error) {
	h := http.Header{}
	for name, value := range f.fields {
		if !fitsHeader(name, value) && !oneOf(name, "policy", "tagging", "key") {
			return nil, invalidArgument(name, value, "The field holds characters that no header can hold")
		}
		switch {
		case name == "acl":
			h.Set("X-Amz-Acl", value)
		case strings.HasPrefix(name, "x-amz-checksum-"), name == "content-length":
		case strings.HasPrefix(name, "x-amz-"), strings.HasPrefix(name, "content-"), oneOf(name, "cache-control", "expires", "if-none-match"):
			h.Set(name, value)
		}
	}
	return h, nil
}

// fitsHeader reports whether a field could be one of a request's head (RFC 9110,
// section 5): it would be lost on its way out otherwise.
func fitsHeader(name, value string) bool {
	return !strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c) }) &&
		!strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
}

// A fieldsReader bounds what is read in front of the file.
type fieldsReader struct {
	r    io.Reader
	left int64 // negative: no bound any more
	err  error // of r, or that of the bound
}

func (f *fieldsReader) Read(p []byte) (n int, err error) {
	if f.left == 0 {
		f.err = errFormTooLarge()
		return 0, f.err
	}
	if f.left > 0 && int64(len(p)) > f.left {
		p = p[:f.left]
	}
	if n, err = f.r.Read(p); err != nil && err != io.EOF {
		f.err = err
	}
	if f.left > 0 {
		f.left -= int64(n)
	}
	return n, err
}

// blame is the error for fields that could not be read: that of what was read from,
// and otherwise that of the form.
func (f *fieldsReader) blame() error {
	if f.err != nil {
		return bodyError(f.err)
	}
	return fail("MalformedPOSTRequest")
}

// A boundedFile reads the file of a form, and fails where it is larger than the
// policy or the server allows.
type boundedFile struct {
	r     io.Reader
	limit int64
	read  int64
}

func newBoundedFile(r io.Reader, limit int64, p *sigv4.Policy) *boundedFile {
	if p != nil {
		if most, set := p.MaxSize(); set {
			limit = min(limit, most)
		}
	}
	return &boundedFile{r: r, limit: limit}
}

func (b *boundedFile) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.read += int64(n); b.read > b.limit {
		more, _ := io.Copy(io.Discard, io.LimitReader(b.r, maxOvershoot))
		return 0, fail("EntityTooLarge").with("ProposedSize", strconv.FormatInt(b.read+more, 10)).
			with("MaxSizeAllowed", strconv.FormatInt(b.limit, 10))
	}
	return n, err
}
