package s3api

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"minicloud.internal/objectstorage/checksum"
	"minicloud.internal/objectstorage/store"
)

// minPart is the least size of every part but the last, 5 MiB.
const minPart = 5 << 20

type completeXML struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Part    []completePart
}

type completePart struct {
	PartNumber *int
	ETag       *string
	checksumXML
}

type completedXML struct {
	XMLName      xml.Name
	Location     string
	Bucket       string
	Key          string
	ETag         string
	ChecksumType string `xml:",omitempty"`
	checksumXML
}

// completeMultipartUpload makes an object of the parts that the client lists. All
// that can be wrong is found before the store is asked, which decides about the
// condition and the parts in one step with the commit.
func (r *request) completeMultipartUpload() error {
	kind, err := checksum.ParseType(r.Header.Get("X-Amz-Checksum-Type"))
	if err != nil {
		return checksumError(err)
	}
	declared, err := finalChecksum(r.Header)
	if err != nil {
		return err
	}
	condition, err := r.writeCondition()
	if err != nil {
		return err
	}
	size, err := objectSize(r.Header.Get("X-Amz-Mp-Object-Size"))
	if err != nil {
		return err
	}
	parts, err := r.readParts()
	if err != nil {
		return err
	}
	id := r.query.Get("uploadId")
	multipart, err := r.h.store.GetMultipart(r.Context(), r.bucket, r.key, id)
	if errors.Is(err, store.ErrNoUpload) {
		return r.completedBefore(parts, condition)
	}
	if err != nil {
		return err
	}
	c := &completion{id: id, parts: parts, upload: multipart.Attributes.Checksum, algorithm: partAlgorithm(&multipart)}
	if kind != "" && c.upload.Type != "" && kind != c.upload.Type {
		return failf("InvalidRequest", "The upload was created using the %s checksum mode. The complete request must use the same checksum mode.", c.upload.Type)
	}
	if c.stored, err = r.storedParts(id); errors.Is(err, store.ErrNoUpload) {
		return r.completedBefore(parts, condition)
	} else if err != nil {
		return err
	}
	attributes := multipart.Attributes
	if attributes.Checksum, err = c.check(declared, size); err != nil {
		return err
	}
	if err := r.retain(&attributes); err != nil {
		return err
	}
	info, err := r.h.store.CompleteMultipart(r.Context(), r.bucket, r.key, id, c.ids(), attributes, condition)
	switch {
	case errors.Is(err, store.ErrNoUpload): // another request was faster
		return r.completedBefore(parts, condition)
	case errors.Is(err, store.ErrPrecondition):
		return r.preconditionFailed(condition)
	case err != nil:
		return err
	}
	return r.answerComplete(&info)
}

func (r *request) answerComplete(info *store.Info) error {
	r.setNewVersion(info.Version)
	return r.writeXML(http.StatusOK, completedXML{
		XMLName: root("CompleteMultipartUploadResult"), Location: r.location(), Bucket: r.bucket, Key: r.key,
		ETag: quoted(info.ETag), ChecksumType: info.Checksum.Type, checksumXML: checksumsOf(info.Checksum, len(info.Parts)),
	})
}

// location is the object's URL, as the client addressed it.
func (r *request) location() string {
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return scheme + r.Host + r.URL.EscapedPath()
}

// readParts reads the list of parts, which must be there, whole and in order.
func (r *request) readParts() ([]completePart, error) {
	var document completeXML
	if err := r.readXML(&document); err != nil {
		return nil, err
	}
	if len(document.Part) == 0 || len(document.Part) > store.MaxPart {
		return nil, fail("MalformedXML")
	}
	last := 0
	for _, p := range document.Part {
		if p.PartNumber == nil || p.ETag == nil {
			return nil, fail("MalformedXML")
		}
		if n := *p.PartNumber; n < 1 {
			return nil, invalidArgument("PartNumber", strconv.Itoa(n), "PartNumber must be >= 1")
		}
		if *p.PartNumber <= last {
			return nil, fail("InvalidPartOrder").with("UploadId", r.query.Get("uploadId"))
		}
		last = *p.PartNumber
	}
	return document.Part, nil
}

// etag is the part's as the store has it.
func (p *completePart) etag() string { return strings.Trim(*p.ETag, `"`) }

// completedBefore answers where the upload is not there any more: if the key has
// the very object that it would have become, the client has not heard that it
// did, and hears it now.
func (r *request) completedBefore(parts []completePart, c store.Condition) error {
	if !c.IsZero() {
		return store.ErrNoUpload
	}
	sum := md5.New()
	for i := range parts {
		etag, err := hex.DecodeString(parts[i].etag())
		if err != nil || len(etag) != md5.Size {
			return store.ErrNoUpload
		}
		sum.Write(etag)
	}
	info, err := r.h.store.Head(r.Context(), r.bucket, r.key, "")
	if err != nil || info.ETag != fmt.Sprintf("%x-%d", sum.Sum(nil), len(parts)) {
		return store.ErrNoUpload
	}
	return r.answerComplete(&info)
}

// storedParts returns all parts of an upload by their numbers.
func (r *request) storedParts(id string) (map[int]store.Part, error) {
	parts := map[int]store.Part{}
	for after, more := 0, true; more; {
		var page []store.Part
		var err error
		if page, more, err = r.h.store.ListParts(r.Context(), r.bucket, r.key, id, after, maxEntries); err != nil {
			return nil, err
		}
		for _, p := range page {
			parts[p.Number] = p
			after = p.Number
		}
		more = more && len(page) > 0
	}
	return parts, nil
}

// objectSize reads x-amz-mp-object-size; -1: there is none.
func objectSize(v string) (int64, error) {
	if v == "" {
		return -1, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, failf("InvalidRequest", "Value for x-amz-mp-object-size header is invalid: '%s'", v)
	}
	if n < 0 {
		return 0, failf("InvalidRequest", "Value for x-amz-mp-object-size header is less than zero: '%d'", n)
	}
	return n, nil
}

// finalChecksum reads the x-amz-checksum-… of the whole object. One of parts may
// have their number behind it; it is left out here.
func finalChecksum(h http.Header) (checksum.Declared, error) {
	only := http.Header{}
	for name, values := range h {
		algorithm, ok := checksum.FromField(name)
		if !ok {
			continue
		}
		for _, v := range values {
			if value, count, cut := strings.Cut(v, "-"); cut && algorithm.Supports(checksum.OfParts) {
				if _, ok := digits(count); ok {
					v = value
				}
			}
			only.Add(name, v)
		}
	}
	declared, err := checksum.Parse(only)
	return declared, checksumError(err)
}
