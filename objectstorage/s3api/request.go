package s3api

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"minicloud.internal/objectstorage/store"
)

// address sets bucket and key: both percent-decoded once, the key as it stands in
// the path and never cleaned, so that "a//b", "../x" and "/" are keys like others.
func (r *request) address() error {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	bucket, virtual := r.h.hostBucket(r.Host)
	key := path
	if !virtual {
		bucket, key, _ = strings.Cut(path, "/")
		if bucket == "" && key == "" {
			return nil // the service itself
		}
		var err error
		if bucket, err = url.PathUnescape(bucket); err != nil {
			return fail("InvalidURI").with("URI", r.URL.EscapedPath())
		}
	}
	key, err := url.PathUnescape(key)
	if err != nil || !utf8.ValidString(key) {
		return fail("InvalidURI").with("URI", r.URL.EscapedPath())
	}
	r.bucket, r.key = bucket, key
	if !ValidBucketName(bucket) {
		return fail("InvalidBucketName").with("BucketName", bucket)
	}
	if len(key) > store.MaxKey {
		return fromKey(&store.KeyError{}, key)
	}
	return nil
}

// hostBucket returns the bucket that a Host names in virtual-host style. Of
// several base domains the longest decides: with "localhost" and "s3.localhost",
// the host "s3.localhost" is the service and no bucket.
func (h *Handler) hostBucket(host string) (bucket string, virtual bool) {
	if len(h.Hosts) == 0 {
		return "", false
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	best := ""
	for _, base := range h.Hosts {
		if len(base) > len(best) && (host == base || strings.HasSuffix(host, "."+base)) {
			best = base
		}
	}
	if best == "" || host == best {
		return "", false
	}
	return strings.TrimSuffix(host, "."+best), true
}

// ValidBucketName reports whether S3 has buckets of that name (Amazon S3 user
// guide, "General purpose bucket naming rules"): 3 to 63 lower-case letters,
// digits, dots and hyphens, between letters or digits, no two dots beside each
// other, and no IPv4 address.
func ValidBucketName(name string) bool {
	if len(name) < 3 || len(name) > 63 || strings.Contains(name, "..") || strings.Contains(name, ".") && net.ParseIP(name) != nil {
		return false
	}
	alphanumeric := func(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
	for i := range len(name) {
		if c := name[i]; !alphanumeric(c) && c != '.' && c != '-' {
			return false
		}
	}
	return alphanumeric(name[0]) && alphanumeric(name[len(name)-1]) &&
		!strings.HasPrefix(name, "xn--") && !strings.HasSuffix(name, "-s3alias")
}

// parseQuery decodes a query string. What [url.ParseQuery] leaves out silently is
// an error here, since a parameter that is overlooked can mean another operation.
func parseQuery(raw string) (url.Values, error) {
	if strings.Contains(raw, ";") {
		raw = strings.ReplaceAll(raw, ";", "%3B") // part of a value, never a separator
	}
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, fail("InvalidURI")
	}
	return q, nil
}

// copySource is the header that makes a PUT a copy.
const copySource = "X-Amz-Copy-Source"

// Claims reports whether a request is one of S3 rather than of the simple door at
// /files: it is signed, its host names a bucket, it has a header or a query
// parameter that S3 alone has, its path is the service's or another bucket's, it is a
// form for the bucket itself, or a browser's preflight, which says nothing of all
// that.
func (h *Handler) Claims(r *http.Request) bool {
	if _, virtual := h.hostBucket(r.Host); virtual {
		return true
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if bucket != "files" || key == "" && r.Method == http.MethodPost || strings.HasPrefix(r.Header.Get("Authorization"), "AWS") {
		return true
	}
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		return true
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Amz-") || strings.HasPrefix(name, "Amz-Sdk-") {
			return true
		}
	}
	for name := range r.URL.Query() {
		if selectors[name] || name == "versionId" || name == "partNumber" || name == "AWSAccessKeyId" ||
			strings.HasPrefix(strings.ToLower(name), "x-amz-") {
			return true
		}
	}
	return false
}
