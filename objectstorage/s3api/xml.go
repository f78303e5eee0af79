package s3api

import (
	"bytes"
	"crypto/md5"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"minicloud.internal/objectstorage/checksum"
)

const (
	// maxDocument bounds a request's XML or JSON document, 4 MiB: the largest,
	// a DeleteObjects of 1,000 keys of 1,024 bytes, fits with its tags, and so
	// does a CompleteMultipartUpload of 10,000 parts.
	maxDocument = 4 << 20
	// namespace is that of all of S3's documents.
	namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
)

// timestamp is a time as S3's documents have it: UTC, in milliseconds.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// writeXML answers with v as S3's XML. v's type has an XMLName with the
// namespace where the document has one.
func (r *request) writeXML(status int, v any) error {
	var body bytes.Buffer
	body.WriteString(xml.Header)
	if err := xml.NewEncoder(&body).Encode(v); err != nil {
		return err
	}
	r.w.Header().Set("Content-Type", "application/xml")
	r.w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = r.w.Write(body.Bytes()) // a client that went away is told nothing
	}
	return nil
}

// writeError answers with an error's document, to HEAD without it. Where the
// answer has begun, it cuts the connection off instead, so that nobody takes
// the rest for whole.
func (r *request) writeError(err error) {
	e, ours := r.toAPI(err)
	begun := r.w.(*responseWriter).status != 0
	if ours && !(begun && r.Context().Err() != nil) { // a client that went away is no fault of ours
		r.h.Logger.Error("a request of S3 was not served", "operation", r.op.name, "bucket", r.bucket, "request", r.id, "status", e.Status, "error", err)
	}
	if begun {
		panic(http.ErrAbortHandler)
	}
	h := r.w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Range", "Content-Disposition", "Content-Language", "Cache-Control", "Expires", "Accept-Ranges"} {
		h.Del(name) // of the answer that was meant
	}
	if r.Method == http.MethodHead || e.Status == http.StatusNotModified {
		if e.Status != http.StatusNotModified {
			h.Set("Content-Type", "application/xml")
		}
		r.w.WriteHeader(e.Status)
		return
	}
	h.Del("ETag")
	h.Del("Last-Modified")
	_ = r.writeXML(e.Status, &errorDocument{e, r.URL.EscapedPath(), r.id})
}

// An errorDocument is an apiError as XML.
type errorDocument struct {
	*apiError
	resource, id string
}

// MarshalXML writes the elements in S3's order.
func (d *errorDocument) MarshalXML(e *xml.Encoder, _ xml.StartElement) error {
	root := xml.StartElement{Name: xml.Name{Local: "Error"}}
	fields := append([]field{{"Code", d.Code}, {"Message", d.Message}}, d.Fields...)
	fields = append(fields, field{"Resource", d.resource}, field{"RequestId", d.id}, field{"HostId", d.id})
	if err := e.EncodeToken(root); err != nil {
		return err
	}
	for _, f := range fields {
		if err := e.EncodeElement(f.Value, xml.StartElement{Name: xml.Name{Local: f.Name}}); err != nil {
			return err
		}
	}
	return e.EncodeToken(root.End())
}

// readXML reads the request's document into v, a pointer to a struct whose XMLName
// names the root element. Content-MD5 and the payload's hash are verified, and so is
// a checksum. What is not well-formed, or has an element that v has no
// place for, is MalformedXML.
func (r *request) readXML(v any) error {
	body, err := r.readDocument()
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return fail("MissingRequestBodyError")
	}
	return decodeXML(body, v)
}

// readDocument reads a body of at most [maxDocument] bytes to its end, and verifies
// it against the payload's hash, Content-MD5 and the checksum that were sent along.
func (r *request) readDocument() ([]byte, error) {
	sum, err := contentMD5(r.Header)
	if err != nil {
		return nil, err
	}
	var declared checksum.Declared
	if !r.op.objectChecksum {
		if declared, err = checksum.Parse(r.Header); err != nil {
			return nil, checksumError(err)
		}
	}
	src, err := r.identity.Whole(r.Request)
	if err != nil {
		return nil, err
	}
	if src.Size() > maxDocument {
		return nil, errDocumentTooLong()
	}
	body, err := io.ReadAll(io.LimitReader(src, maxDocument+1))
	if err != nil {
		return nil, bodyError(err)
	}
	if len(body) > maxDocument {
		return nil, errDocumentTooLong()
	}
	if got := md5.Sum(body); sum != nil && subtle.ConstantTimeCompare(got[:], sum) != 1 {
		return nil, fail("BadDigest").with("ExpectedDigest", hex.EncodeToString(sum)).
			with("CalculatedDigest", base64.StdEncoding.EncodeToString(got[:]))
	}
	if declared.Value != "" {
		reader := checksum.NewReader(bytes.NewReader(body), declared.Algorithm)
		_, _ = io.Copy(io.Discard, reader)
		if err := reader.Check(declared.Value); err != nil {
			return nil, checksumError(err)
		}
	}
	return body, nil
}

func errDocumentTooLong() error {
	return fail("MaxMessageLengthExceeded").with("MaxMessageLengthBytes", strconv.Itoa(maxDocument))
}

// contentMD5 decodes Content-MD5 (RFC 1864); nil: there is none.
func contentMD5(h http.Header) ([]byte, error) {
	v := h.Values("Content-Md5")
	if len(v) == 0 {
		return nil, nil
	}
	sum, err := base64.StdEncoding.DecodeString(v[0])
	if err != nil || len(sum) != md5.Size {
		return nil, fail("InvalidDigest").with("Content-MD5", v[0])
	}
	return sum, nil
}

// bodyError is the error of a body that could not be read to its end. Those of
// package sigv4 say themselves what was wrong.
func bodyError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fail("IncompleteBody")
	}
	return err
}

// decodeXML decodes one document strictly: the root is the one that v's XMLName
// names, every element has a place in v, nothing follows the root, and there
// is no document type, for entities have no business here.
func decodeXML(body []byte, v any) error {
	if err := checkElements(body, reflect.TypeOf(v).Elem()); err != nil {
		return fail("MalformedXML")
	}
	if err := xml.Unmarshal(body, v); err != nil {
		return fail("MalformedXML")
	}
	return nil
}

var errElement = errors.New("an element out of place")

// checkElements walks a document's elements along v's type, which encoding/xml
// does not: it ignores those that it does not know.
func checkElements(body []byte, root reflect.Type) error {
	known := map[string]bool{"": true}
	addElements(known, "", root)
	dec := xml.NewDecoder(bytes.NewReader(body))
	var path []string // of the open elements, the root's being ""
	roots := 0
	for {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.Directive:
			return errElement
		case xml.StartElement:
			here := ""
			if len(path) > 0 {
				here = path[len(path)-1] + "/" + t.Name.Local
			} else {
				roots++
			}
			if !known[here] {
				return errElement
			}
			path = append(path, here)
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			if len(path) == 0 && len(bytes.TrimSpace(t)) > 0 {
				return errElement
			}
		}
	}
	if roots != 1 {
		return errElement
	}
	return nil
}

// addElements adds the paths of t's elements: "/Rule", "/Rule/ID".
func addElements(known map[string]bool, prefix string, t reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("xml"), ",")
		if f.Name == "XMLName" || name == "-" || strings.Contains(options, "attr") || strings.Contains(options, "chardata") {
			continue
		}
		if i := strings.LastIndexByte(name, ' '); i >= 0 {
			name = name[i+1:]
		}
		if name == "" && !f.Anonymous {
			name = f.Name
		}
		path := prefix
		if name != "" {
			for part := range strings.SplitSeq(name, ">") {
				path += "/" + part
				known[path] = true
			}
		}
		addElements(known, path, f.Type)
	}
}
