package s3api

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"minicloud.internal/objectstorage/checksum"
	"minicloud.internal/objectstorage/store"
)

// maxCopy is the largest source of one CopyObject or UploadPartCopy, 5 GiB.
const maxCopy = 5 << 30

// A source is what x-amz-copy-source names. An empty version is the latest.
type source struct{ bucket, key, version string }

// parseSource reads x-amz-copy-source: bucket and key, encoded as in a query, behind
// a slash or not, and "?versionId=" with a version. Some clients encode that too;
// a key that has these very characters is copied by naming its version as well.
func parseSource(header string) (source, error) {
	const separator = "?versionId="
	wrong := func(value, message string) (source, error) {
		return source{}, invalidArgument("x-amz-copy-source", value, message)
	}
	path, version := header, ""
	separated := strings.LastIndex(header, separator)
	if separated >= 0 {
		path, version = header[:separated], header[separated+len(separator):]
	}
	path, err1 := url.QueryUnescape(path)
	version, err2 := url.QueryUnescape(version)
	if err1 != nil || err2 != nil || !utf8.ValidString(path) {
		return wrong(header, "Invalid copy source encoding")
	}
	if i := strings.LastIndex(path, separator); separated < 0 && i >= 0 {
		separated = i
		path, version = path[:i], path[i+len(separator):]
	}
	if separated >= 0 && version == "" {
		return wrong(header, "Version id cannot be the empty string")
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !ValidBucketName(bucket) {
		return wrong(header, "Invalid copy source bucket name")
	}
	if checkObjectKey(key) != nil {
		return wrong(key, "Invalid copy source object key")
	}
	return source{bucket, key, version}, nil
}

// sourceRequest is r aimed at the source of its copy, for the questions that
// concern the source: may it be read, and has its bucket versions.
func (r *request) sourceRequest() (*request, source, error) {
	src, err := parseSource(r.Header.Get(copySource))
	if err != nil {
		return nil, src, err
	}
	from := *r
	from.bucket, from.key = src.bucket, src.key
	if from.settings, err = r.h.store.GetBucket(r.Context(), src.bucket); err != nil {
		return nil, src, from.sourceFailed(src, err)
	}
	if v := r.Header.Get("X-Amz-Source-Expected-Bucket-Owner"); v != "" && v != owner && (r.identity == nil || v != r.identity.AccessKey) {
		return nil, src, fail("AccessDenied")
	}
	action := "s3:GetObject"
	if src.version != "" {
		action = "s3:GetObjectVersion"
	}
	return &from, src, from.permit(action, src.key)
}

// sourceFailed names the source's bucket and key in the error, where the
// destination's would be.
func (r *request) sourceFailed(src source, err error) error {
	if errors.Is(err, store.ErrDeleteMarker) {
		return fail("InvalidRequest", "The source of a copy request may not specifically refer to a delete marker by version id.")
	}
	if errors.Is(err, store.ErrNoVersion) && plausibleVersion(src.version) {
		return fail("NoSuchVersion").with("Key", src.key).with("VersionId", src.version)
	}
	e, ours := r.toAPI(versionError(src.version, err))
	if ours {
		return err
	}
	return e
}

// openSource opens what is to be copied, if the conditions hold for it. The caller
// closes its body.
func (r *request) openSource() (*store.Object, error) {
	from, src, err := r.sourceRequest()
	if err != nil {
		return nil, err
	}
	object, err := r.h.store.Get(r.Context(), src.bucket, src.key, src.version)
	if err != nil {
		return nil, from.sourceFailed(src, err)
	}
	status, failed := r.readCondition("X-Amz-Copy-Source-").check(&object.Info)
	if status != 0 {
		object.Body.Close()
		return nil, fail("PreconditionFailed").with("Condition", strings.ToLower(failed))
	}
	if from.versioned() {
		r.w.Header().Set("X-Amz-Copy-Source-Version-Id", object.Version)
	}
	return object, nil
}

// copyObject makes an object of another, or of an older version of itself.
func (r *request) copyObject() error {
	if err := checkObjectKey(r.key); err != nil {
		return err
	}
	attributes, err := r.copyAttributes()
	if err != nil {
		return err
	}
	condition, err := r.writeCondition()
	if err != nil {
		return err
	}
	algorithm, err := copyAlgorithm(r.Header)
	if err != nil {
		return err
	}
	object, err := r.openSource()
	if err != nil {
		return err
	}
	defer object.Body.Close()
	if object.Size > maxCopy {
		return fail("InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: "+strconv.Itoa(maxCopy))
	}
	if algorithm == "" {
		algorithm = checksum.Algorithm(object.Checksum.Algorithm)
	}
	if algorithm == "" {
		algorithm = checksum.CRC64NVME
	}
	body := checksum.NewReader(object.Body, algorithm)
	upload, err := r.h.store.Stage(r.Context(), body, object.Size)
	if err != nil {
		return copyFailed(err)
	}
	defer upload.Discard()
	merged := attributes.merge(&object.Attributes)
	merged.Checksum = store.Checksum{Algorithm: string(algorithm), Type: checksum.FullObject, Value: body.Sum()}
	if err := r.retain(&merged); err != nil {
		return err
	}
	info, _, err := upload.Commit(r.Context(), r.bucket, r.key, merged, condition)
	if errors.Is(err, store.ErrPrecondition) {
		return r.preconditionFailed(condition)
	}
	if err != nil {
		return err
	}
	r.setNewVersion(info.Version)
	return r.writeXML(http.StatusOK, copyResult{
		XMLName: xml.Name{Space: namespace, Local: "CopyObjectResult"}, LastModified: timestamp(info.Modified),
		ETag: quoted(info.ETag), ChecksumType: info.Checksum.Type, checksumXML: checksumsOf(info.Checksum, 0),
	})
}

// copyFailed is the error of a copy whose source could not be read: the fault of
// this server, not of a client's body.
func copyFailed(err error) error {
	var body *store.BodyError
	if errors.As(err, &body) {
		return body.Err
	}
	return err
}

// A copyResult answers CopyObject and UploadPartCopy.
type copyResult struct {
	XMLName      xml.Name
	LastModified string
	ETag         string
	ChecksumType string `xml:",omitempty"`
	checksumXML
}

// copyAlgorithm returns the algorithm that the copy shall have, empty for the
// source's.
func copyAlgorithm(h http.Header) (checksum.Algorithm, error) {
	only := http.Header{}
	if v := h.Get("X-Amz-Checksum-Algorithm"); v != "" {
		only.Set("X-Amz-Checksum-Algorithm", v)
	}
	algorithm, _, err := checksum.ParseCreate(only)
	return algorithm, checksumError(err)
}

// copyAttributes are those that the headers of a CopyObject ask for.
type copyAttributes struct {
	store.Attributes
	replaceMetadata, replaceTags bool
}

// copyAttributes reads the headers and refuses a copy of an object onto itself
// that would change nothing.
func (r *request) copyAttributes() (*copyAttributes, error) {
	directive := func(name, what string) (replace bool, err error) {
		switch v := r.Header.Get(name); strings.ToUpper(v) {
		case "", "COPY":
			return false, nil
		case "REPLACE":
			return true, nil
		default:
			return false, invalidArgument(strings.ToLower(name), v, "Unknown "+what+" directive.")
		}
	}
	c := &copyAttributes{}
	var err error
	if c.replaceMetadata, err = directive("X-Amz-Metadata-Directive", "metadata"); err != nil {
		return nil, err
	}
	if c.replaceTags, err = directive("X-Amz-Tagging-Directive", "tagging"); err != nil {
		return nil, err
	}
	if c.Attributes, err = r.attributes(); err != nil {
		return nil, err
	}
	if c.replaceTags {
		if c.Tags, err = parseTagging(r.Header.Get("X-Amz-Tagging")); err != nil {
			return nil, err
		}
	}
	src, err := parseSource(r.Header.Get(copySource))
	if err != nil {
		return nil, err
	}
	changes := c.replaceMetadata || c.replaceTags || r.Header.Get("X-Amz-Storage-Class") != "" || c.Redirect != "" ||
		r.Header.Get("X-Amz-Server-Side-Encryption") != "" || src.version != "" || r.Header.Get("X-Amz-Checksum-Algorithm") != ""
	if src.bucket == r.bucket && src.key == r.key && !changes {
		return nil, fail("InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	return c, nil
}

// merge returns the attributes of the copy of an object. The redirect, the storage
// class and the lock are never the source's.
func (c *copyAttributes) merge(from *store.Attributes) store.Attributes {
	a := c.Attributes
	if !c.replaceMetadata {
		a = *from
		a.Redirect, a.StorageClass = c.Redirect, c.StorageClass
		a.LockMode, a.RetainUntil, a.LegalHold = c.LockMode, c.RetainUntil, c.LegalHold
	}
	a.Tags = from.Tags
	if c.replaceTags {
		a.Tags = c.Tags
	}
	return a
}

// uploadPartCopy makes a part of an object, or of a range of one.
func (r *request) uploadPartCopy() error {
	number, err := partNumber(r.query.Get("partNumber"))
	if err != nil {
		return err
	}
	id := r.query.Get("uploadId")
	if _, err := parseSource(r.Header.Get(copySource)); err != nil {
		return err
	}
	multipart, err := r.h.store.GetMultipart(r.Context(), r.bucket, r.key, id)
	if err != nil {
		return err
	}
	object, err := r.openSource()
	if err != nil {
		return err
	}
	defer object.Body.Close()
	part := span{0, object.Size}
	if field := r.Header.Get("X-Amz-Copy-Source-Range"); field != "" {
		if part, err = parseCopyRange(field, object.Size); err != nil {
			return err
		}
	}
	if part.length > maxCopy {
		return fail("InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: "+strconv.Itoa(maxCopy))
	}
	if _, err := object.Body.Seek(part.start, io.SeekStart); err != nil {
		return err
	}
	body := checksum.NewReader(io.LimitReader(object.Body, part.length), partAlgorithm(&multipart))
	upload, err := r.h.store.Stage(r.Context(), body, part.length)
	if err != nil {
		return copyFailed(err)
	}
	defer upload.Discard()
	sum := store.Checksum{Algorithm: string(body.Algorithm()), Value: body.Sum()}
	done, err := upload.CommitPart(r.Context(), r.bucket, r.key, id, number, sum)
	if err != nil {
		return err
	}
	return r.writeXML(http.StatusOK, copyResult{
		XMLName: xml.Name{Space: namespace, Local: "CopyPartResult"}, LastModified: timestamp(done.Modified),
		ETag: quoted(done.ETag), checksumXML: partChecksums(&multipart, done.Checksum),
	})
}
