package s3

import (
	"errors"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	smithyhttp "github.com/aws/smithy-go/transport/http"

	"minicloud.internal/objectstorage/store"
)

const (
	metaPrefix     = "X-Amz-Meta-"
	checksumPrefix = "X-Amz-Checksum-"
	standard       = "STANDARD" // the storage class that package store leaves out
	composite      = "COMPOSITE"
	fullObject     = "FULL_OBJECT"
)

// attributeFields are the header fields that attributes are sent and read by.
func attributeFields(a *store.Attributes) map[string]*string {
	return map[string]*string{
		"Content-Type":                    &a.ContentType,
		"Content-Encoding":                &a.ContentEncoding,
		"Content-Language":                &a.ContentLanguage,
		"Content-Disposition":             &a.ContentDisposition,
		"Cache-Control":                   &a.CacheControl,
		"Expires":                         &a.Expires,
		"X-Amz-Storage-Class":             &a.StorageClass,
		"X-Amz-Website-Redirect-Location": &a.Redirect,
	}
}

// attributeHeader returns the header that gives an object the attributes a, the
// checksum aside.
func attributeHeader(a store.Attributes) http.Header {
	h := http.Header{}
	for name, value := range attributeFields(&a) {
		if *value != "" {
			h.Set(name, *value)
		}
	}
	for name, value := range a.User {
		h.Set(metaPrefix+name, value)
	}
	if len(a.Tags) > 0 {
		tags := make([]string, len(a.Tags))
		for i, t := range a.Tags {
			tags[i] = escape(t.Key) + "=" + escape(t.Value)
		}
		h.Set("X-Amz-Tagging", strings.Join(tags, "&"))
	}
	setLocks(h, &a)
	return h
}

// escape encodes for a query in the way that every service reads: a space is %20.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// setChecksum adds the checksum of a whole body to h. A composite one cannot be
// given to a single body.
func setChecksum(h http.Header, c store.Checksum) {
	if c.Value != "" && c.Type != composite {
		h.Set(checksumPrefix+c.Algorithm, c.Value)
	}
}

// infoOf reads the answer to a GET or HEAD of an object, without its tags, its
// parts, and whether it is the latest.
func infoOf(key string, r *smithyhttp.Response) (store.Info, error) {
	info := store.Info{Key: key, Version: versionOf(r.Header), Size: r.ContentLength, ETag: unquote(r.Header.Get("ETag")), Modified: modified(r.Header)}
	if _, total, ok := contentRange(r.Header); ok {
		info.Size = total
	}
	if info.Size < 0 {
		return store.Info{}, errors.New("the S3 service does not say how long the object is")
	}
	for name, value := range attributeFields(&info.Attributes) {
		*value = r.Header.Get(name)
	}
	if info.StorageClass == standard {
		info.StorageClass = ""
	}
	for name, values := range r.Header {
		if user, ok := strings.CutPrefix(textproto.CanonicalMIMEHeaderKey(name), metaPrefix); ok {
			if info.User == nil {
				info.User = map[string]string{}
			}
			info.User[strings.ToLower(user)] = strings.Join(values, ",")
		}
	}
	info.Checksum = checksumOf(r.Header)
	return info, readLocks(r.Header, &info.Attributes)
}

// checksumOf reads the checksum of an answer.
func checksumOf(h http.Header) store.Checksum {
	for name := range h {
		algorithm, ok := strings.CutPrefix(name, checksumPrefix)
		if !ok || algorithm == "Type" || algorithm == "Algorithm" {
			continue
		}
		return checksum(strings.ToUpper(algorithm), h.Get(checksumPrefix+"Type"), h.Get(name))
	}
	return store.Checksum{}
}

// checksum is one that S3 says. A composite value has the number of parts behind
// it there, and not in package store.
func checksum(algorithm, kind, value string) store.Checksum {
	value, _, several := strings.Cut(value, "-")
	switch {
	case kind != "":
	case several:
		kind = composite
	default:
		kind = fullObject
	}
	return store.Checksum{Algorithm: algorithm, Type: kind, Value: value}
}

// tagCount is the number of tags that an answer says the object has.
func tagCount(h http.Header) int {
	n, _ := strconv.Atoi(h.Get("X-Amz-Tagging-Count"))
	return n
}

// versionOf returns the version that an answer names.
func versionOf(h http.Header) string {
	if v := h.Get("X-Amz-Version-Id"); v != "" {
		return v
	}
	return store.Null
}

// isMarker reports that an answer is about a delete marker.
func isMarker(h http.Header) bool { return h.Get("X-Amz-Delete-Marker") == "true" }

// modified reads Last-Modified; the zero time where there is none.
func modified(h http.Header) time.Time {
	t, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// second is t as HTTP has it. Listings are finer, and would differ from GET.
func second(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Second)
}

// contentRange reads "bytes first-last/total" (RFC 9110, section 14.4).
func contentRange(h http.Header) (first, total int64, ok bool) {
	v, ok := strings.CutPrefix(h.Get("Content-Range"), "bytes ")
	if !ok {
		return 0, 0, false
	}
	span, size, ok := strings.Cut(v, "/")
	if !ok {
		return 0, 0, false
	}
	from, _, ok := strings.Cut(span, "-")
	if !ok {
		return 0, 0, false
	}
	first, err1 := strconv.ParseInt(from, 10, 64)
	total, err2 := strconv.ParseInt(size, 10, 64)
	return first, total, err1 == nil && err2 == nil && first >= 0 && total >= first
}

func quote(etag string) string { return `"` + etag + `"` }

func unquote(etag string) string { return strings.Trim(etag, `"`) }
