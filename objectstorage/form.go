package objectstorage

import (
	"io"
	"mime/multipart"
	"net/http"
	"strings"

	"minicloud.internal/kit"
	"minicloud.internal/objectstorage/store"
)

// formOverhead is what a form may hold beside its data, in bytes.
const formOverhead = 1 << 20

// form stores what an HTML form sends (RFC 7578): the field "data", a file or
// text, under the key in the field "file_name". The order of the two does not
// matter, since a body is staged before its key is known. Without file_name the
// name of the file is the key.
func (d *door) form(w http.ResponseWriter, r *http.Request) error {
	c, err := writeCondition(r)
	if err != nil {
		return err
	}
	// The parts have limits of their own; this one is for what is between them.
	whole := d.max + formOverhead
	if r.ContentLength > whole {
		return &http.MaxBytesError{Limit: d.max}
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{&limitedBody{r: r.Body, limit: whole}, r.Body}
	reader, err := r.MultipartReader()
	if err != nil {
		return kit.Problemf(http.StatusUnsupportedMediaType, "the body is %q, expected a form: multipart/form-data with its boundary", r.Header.Get("Content-Type"))
	}
	f, err := d.readForm(r, reader)
	if f.upload != nil {
		defer f.upload.Discard()
	}
	if err != nil {
		return err
	}
	if f.upload == nil {
		return kit.Problemf(http.StatusBadRequest, `the form has no field "data"`)
	}
	key := f.name
	if !f.named {
		key = f.file
	}
	if key == "" {
		return kit.Problemf(http.StatusBadRequest, `the form has no name in the field "file_name"`)
	}
	if err := d.authorize(r, key); err != nil {
		return err
	}
	// Browsers and curl say "octet-stream" of what they do not know.
	if f.contentType == "" || f.contentType == "application/octet-stream" {
		f.contentType = detect(key, f.head)
	}
	return d.commit(w, r, f.upload, key, store.Attributes{ContentType: f.contentType}, c)
}

// formData is what a form said so far.
type formData struct {
	named       bool
	name        string       // of the field file_name
	upload      store.Upload // of the field data
	head        []byte       // its first bytes
	file        string       // the name of the file
	contentType string
}

// readForm reads a form to its end. With an error, an upload may still have to
// be discarded.
func (d *door) readForm(r *http.Request, reader *multipart.Reader) (f formData, err error) {
	for {
		part, err := reader.NextPart()
		if err == io.EOF {
			return f, nil
		}
		if err != nil {
			return f, &store.BodyError{Err: err}
		}
		switch name := part.FormName(); {
		case name == "file_name" && !f.named:
			f.named = true
			f.name, err = readName(part)
		case name == "data" && f.upload == nil:
			f.file, f.contentType = part.FileName(), strings.TrimSpace(part.Header.Get("Content-Type"))
			f.upload, f.head, err = d.stage(r.Context(), part, -1)
		case name == "file_name", name == "data":
			err = kit.Problemf(http.StatusBadRequest, "the form has the field %q twice", name)
		default:
			err = kit.Problemf(http.StatusBadRequest, `the form has the field %q, expected "data" and "file_name"`, name)
		}
		if err != nil {
			return f, err
		}
	}
}

func readName(part io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(part, store.MaxKey+1))
	if err != nil {
		return "", &store.BodyError{Err: err}
	}
	if len(b) > store.MaxKey {
		return "", kit.Problemf(http.StatusBadRequest, "the key in file_name has more than %d bytes", store.MaxKey)
	}
	return string(b), store.CheckKey(string(b))
}
