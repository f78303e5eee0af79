package s3api

import (
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"minicloud.internal/objectstorage/checksum"
	"minicloud.internal/objectstorage/store"
)

const (
	metaPrefix = "X-Amz-Meta-"
	// maxUserMetadata bounds the names (without prefix) and values of the user
	// metadata together, in bytes (S3 user guide, "Working with object metadata").
	maxUserMetadata = 2048
	// defaultType is the Content-Type of an object whose writer named none.
	defaultType = "binary/octet-stream"
)

// storageClasses are those that S3 knows. Here they are names: all objects are kept
// alike.
var storageClasses = []string{"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING",
	"GLACIER", "DEEP_ARCHIVE", "GLACIER_IR", "EXPRESS_ONEZONE", "OUTPOSTS", "SNOW"}

// cannedACLs are the values of x-amz-acl on an object.
var cannedACLs = []string{"private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read",
	"bucket-owner-read", "bucket-owner-full-control"}

// attributes returns what the headers of a PutObject, a CopyObject or a
// CreateMultipartUpload say about the object, without its tags and checksum.
func (r *request) attributes() (store.Attributes, error) {
	if err := r.refuseForeign(); err != nil {
		return store.Attributes{}, err
	}
	a := store.Attributes{
		ContentType:        r.Header.Get("Content-Type"),
		ContentEncoding:    contentEncoding(r.Header),
		ContentLanguage:    r.Header.Get("Content-Language"),
		ContentDisposition: r.Header.Get("Content-Disposition"),
		CacheControl:       r.Header.Get("Cache-Control"),
		Expires:            r.Header.Get("Expires"),
		StorageClass:       r.Header.Get("X-Amz-Storage-Class"),
		Redirect:           r.Header.Get("X-Amz-Website-Redirect-Location"),
	}
	if a.StorageClass != "" && !slices.Contains(storageClasses, a.StorageClass) {
		return a, fail("InvalidStorageClass").with("StorageClassRequested", a.StorageClass)
	}
	if a.StorageClass == "STANDARD" {
		a.StorageClass = ""
	}
	if v := a.Redirect; v != "" && !strings.HasPrefix(v, "/") && !strings.HasPrefix(v, "http://") && !strings.HasPrefix(v, "https://") {
		return a, fail("InvalidRedirectLocation")
	}
	if v := r.Header.Get("X-Amz-Acl"); v != "" && !slices.Contains(cannedACLs, v) {
		return a, invalidArgument("x-amz-acl", v, "")
	}
	if err := r.lockHeaders(&a); err != nil {
		return a, err
	}
	var err error
	a.User, err = userMetadata(r.Header)
	return a, err
}

// contentEncoding is the field without aws-chunked, which belongs to the transfer
// and not to the object.
func contentEncoding(h http.Header) string {
	var kept []string
	for coding := range strings.SplitSeq(strings.Join(h.Values("Content-Encoding"), ","), ",") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "aws-chunked") {
			kept = append(kept, coding)
		}
	}
	return strings.Join(kept, ",")
}

// userMetadata collects x-amz-meta-…, names in lower case, several values of a
// name joined by commas.
func userMetadata(h http.Header) (map[string]string, error) {
	var user map[string]string
	size := 0
	for name, values := range h {
		if !strings.HasPrefix(name, metaPrefix) {
			continue
		}
		if user == nil {
			user = map[string]string{}
		}
		key, value := strings.ToLower(name[len(metaPrefix):]), strings.Join(values, ",")
		user[key] = value
		size += len(key) + len(value)
	}
	if size > maxUserMetadata {
		return nil, fail("MetadataTooLarge").with("Size", strconv.Itoa(size)).with("MaxSizeAllowed", strconv.Itoa(maxUserMetadata))
	}
	return user, nil
}

// refuseForeign refuses what a writer asks for and would not get: encryption with
// keys of its own or a key service. AES256 is accepted, since
// clients send it as a matter of habit, and never reported, since nothing is
// encrypted here.
func (r *request) refuseForeign() error {
	const sse = "X-Amz-Server-Side-Encryption"
	switch v := r.Header.Get(sse); {
	case v == "" || v == "AES256":
	case v == "aws:kms" || v == "aws:kms:dsse":
		return notImplemented("Encryption with " + v)
	default:
		return invalidArgument("x-amz-server-side-encryption", v, "The encryption method specified is not supported")
	}
	for name := range r.Header {
		if strings.HasPrefix(name, sse+"-Customer-") || strings.HasPrefix(name, "X-Amz-Copy-Source-Server-Side-Encryption-Customer-") {
			return notImplemented("Encryption with customer-provided keys")
		}
		if strings.HasPrefix(name, sse+"-Aws-Kms-") || name == sse+"-Context" || name == sse+"-Bucket-Key-Enabled" && r.Header.Get(name) == "true" {
			return notImplemented("Encryption with aws:kms")
		}
	}
	return nil
}

// versioned reports whether the bucket of the request has versions to tell of.
func (r *request) versioned() bool { return r.settings.Versioning != store.Off }

// setVersion names the version in the answer, as S3 does in buckets that were
// ever versioned.
func (r *request) setVersion(version string) {
	if r.versioned() && version != "" {
		r.w.Header().Set("X-Amz-Version-Id", version)
	}
}

// setNewVersion names the version that a write made. Of the version null, which a
// bucket with suspended versioning makes, S3 is silent.
func (r *request) setNewVersion(version string) {
	if version != store.Null {
		r.setVersion(version)
	}
}

// quoted is an ETag as HTTP has it.
func quoted(etag string) string { return `"` + etag + `"` }

// setChecksum sends a checksum and its type.
func setChecksum(h http.Header, info *store.Info) {
	if c := info.Checksum; c.Algorithm != "" && c.Value != "" {
		h.Set(checksum.Algorithm(c.Algorithm).Field(), checksumValue(c, len(info.Parts)))
		h.Set("X-Amz-Checksum-Type", c.Type)
	}
}

// checksumValue is a checksum as S3 writes it: behind one of parts stands their
// number.
func checksumValue(c store.Checksum, parts int) string {
	if c.Type == checksum.OfParts {
		return fmt.Sprintf("%s-%d", c.Value, parts)
	}
	return c.Value
}

// setInfo sends what GET and HEAD tell of an object, apart from its length.
func (r *request) setInfo(info *store.Info) {
	h := r.w.Header()
	r.setValidators(info)
	h.Set("Accept-Ranges", "bytes")
	set := func(name, value string) {
		if value != "" {
			h.Set(name, value)
		}
	}
	contentType := info.ContentType
	if contentType == "" {
		contentType = defaultType
	}
	set("Content-Type", contentType)
	set("Content-Encoding", info.ContentEncoding)
	set("Content-Language", info.ContentLanguage)
	set("Content-Disposition", info.ContentDisposition)
	set("Cache-Control", info.CacheControl)
	set("Expires", info.Expires)
	set("X-Amz-Storage-Class", storageClass(info.StorageClass))
	set("X-Amz-Website-Redirect-Location", info.Redirect)
	if n := len(info.Tags); n > 0 {
		h.Set("X-Amz-Tagging-Count", strconv.Itoa(n))
	}
	r.setLockHeaders(&info.Attributes)
	for name, value := range info.User {
		h.Set(metaPrefix+name, headerText(value))
	}
}

// setValidators sends what a 304 has too.
func (r *request) setValidators(info *store.Info) {
	h := r.w.Header()
	h.Set("ETag", quoted(info.ETag))
	h.Set("Last-Modified", httpTime(info.Modified))
	r.setVersion(info.Version)
}

func httpTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// headerText is user metadata as S3 sends it: what is not ASCII as an encoded
// word (RFC 2047).
func headerText(v string) string {
	for _, c := range []byte(v) {
		if c >= 0x7f {
			return mime.BEncoding.Encode("UTF-8", v)
		}
	}
	return v
}

// overrides are the query parameters that replace a field of the answer to GET and
// HEAD.
var overrides = map[string]string{
	"response-cache-control":       "Cache-Control",
	"response-content-disposition": "Content-Disposition",
	"response-content-encoding":    "Content-Encoding",
	"response-content-language":    "Content-Language",
	"response-content-type":        "Content-Type",
	"response-expires":             "Expires",
}

// setOverrides applies response-…, which only a signed request may have: else
// anybody could make a link that serves an image as a page with script.
func (r *request) setOverrides() error {
	for parameter, name := range overrides {
		if !r.query.Has(parameter) {
			continue
		}
		if r.anonymous() {
			return fail("InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests.")
		}
		r.w.Header().Set(name, r.query.Get(parameter))
	}
	return nil
}
