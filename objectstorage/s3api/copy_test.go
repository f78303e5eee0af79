package s3api

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"minicloud.internal/objectstorage/checksum"
	"minicloud.internal/objectstorage/store"
)

func TestCopyObject(t *testing.T) {
	d := newObjectDoor(t)
	sum := checksum.Of(checksum.SHA256, []byte("hello"))
	etag := d.put("src%20+1", "hello", "Content-Type", "text/plain", "x-amz-meta-a", "1", "x-amz-tagging", "t=1",
		"x-amz-website-redirect-location", "/x", "x-amz-checksum-sha256", sum).Header.Get("ETag")
	const source = "/files/src%20%2B1"
	t.Run("it keeps all but the redirect", func(t *testing.T) {
		var result copyResult
		d.do("PUT", "/dst", "", "x-amz-copy-source", source).want(t, 200, "").decode(t, &result)
		if result.ETag != etag || result.ChecksumSHA256 != sum || result.LastModified == "" {
			t.Errorf("%+v", result)
		}
		got := d.do("GET", "/dst", "", "x-amz-checksum-mode", "ENABLED").want(t, 200, "")
		for name, want := range map[string]string{"Content-Type": "text/plain", "X-Amz-Meta-A": "1", "X-Amz-Tagging-Count": "1",
			"X-Amz-Website-Redirect-Location": "", "X-Amz-Checksum-Sha256": sum} {
			got.header(t, name, want)
		}
		if got.body != "hello" {
			t.Errorf("%q", got.body)
		}
	})
	t.Run("REPLACE takes the request's", func(t *testing.T) {
		d.do("PUT", "/dst", "", "x-amz-copy-source", source, "x-amz-metadata-directive", "REPLACE", "x-amz-tagging-directive", "REPLACE",
			"Content-Type", "text/html", "x-amz-meta-b", "2", "x-amz-tagging", "t=2&u=3", "x-amz-checksum-algorithm", "CRC32").want(t, 200, "")
		got := d.do("HEAD", "/dst", "", "x-amz-checksum-mode", "ENABLED")
		for name, want := range map[string]string{"Content-Type": "text/html", "X-Amz-Meta-A": "", "X-Amz-Meta-B": "2", "X-Amz-Tagging-Count": "2",
			"X-Amz-Checksum-Crc32": checksum.Of(checksum.CRC32, []byte("hello")), "X-Amz-Checksum-Sha256": ""} {
			got.header(t, name, want)
		}
	})
	for _, c := range []struct {
		name    string
		status  int
		code    string
		headers []string
	}{
		{"an absent key", 404, "NoSuchKey", []string{"x-amz-copy-source", "files/absent"}},
		{"an absent bucket", 404, "NoSuchBucket", []string{"x-amz-copy-source", "nowhere/k"}},
		{"an unknown directive", 400, "InvalidArgument", []string{"x-amz-copy-source", source, "x-amz-metadata-directive", "MERGE"}},
		{"an unknown tagging directive", 400, "InvalidArgument", []string{"x-amz-copy-source", source, "x-amz-tagging-directive", "MERGE"}},
		{"If-Match", 412, "PreconditionFailed", []string{"x-amz-copy-source", source, "x-amz-copy-source-if-match", "x"}},
		{"If-None-Match", 412, "PreconditionFailed", []string{"x-amz-copy-source", source, "x-amz-copy-source-if-none-match", etag}},
		{"If-Unmodified-Since", 412, "PreconditionFailed", []string{"x-amz-copy-source", source, "x-amz-copy-source-if-unmodified-since", "Thu, 01 Dec 1994 16:00:00 GMT"}},
		{"a destination that must be absent", 412, "PreconditionFailed", []string{"x-amz-copy-source", source, "If-None-Match", "*"}},
		{"somebody else's source", 403, "AccessDenied", []string{"x-amz-copy-source", source, "x-amz-source-expected-bucket-owner", "me"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.do("PUT", "/dst", "", c.headers...).want(t, c.status, c.code)
		})
	}
	t.Run("onto itself it must change something", func(t *testing.T) {
		d.do("PUT", "/src%20+1", "", "x-amz-copy-source", source).want(t, 400, "InvalidRequest")
		d.do("PUT", "/src%20+1", "", "x-amz-copy-source", source, "x-amz-metadata-directive", "REPLACE", "x-amz-meta-new", "yes").want(t, 200, "")
		got := d.do("GET", "/src%20+1", "")
		got.header(t, "X-Amz-Meta-New", "yes")
		if got.body != "hello" {
			t.Errorf("%q", got.body)
		}
	})
}

func TestUploadPartCopy(t *testing.T) {
	d := newObjectDoor(t)
	d.put("src", bigPart)
	up := d.begin("x-amz-checksum-algorithm", "CRC32C", "x-amz-checksum-type", "FULL_OBJECT")
	copyPart := func(number int, headers ...string) *answer {
		return d.do("PUT", fmt.Sprintf("/k?partNumber=%d&%s", number, up), "", append(headers, "x-amz-copy-source", "files/src")...)
	}
	var one, two copyResult
	copyPart(1).want(t, 200, "").decode(t, &one)
	copyPart(2, "x-amz-copy-source-range", "bytes=1-3").want(t, 200, "").decode(t, &two)
	if one.ChecksumCRC32C != checksum.Of(checksum.CRC32C, []byte(bigPart)) || two.ChecksumCRC32C != checksum.Of(checksum.CRC32C, []byte("123")) {
		t.Errorf("%+v, %+v", one, two)
	}
	for _, field := range []string{"bytes=0-", "bytes=-1", "bytes=3-1", "bytes=a-b", "0-1", "bytes=0-1,2-3", fmt.Sprintf("bytes=0-%d", len(bigPart))} {
		copyPart(3, "x-amz-copy-source-range", field).want(t, 400, "InvalidArgument")
	}
	copyPart(3, "x-amz-copy-source-if-match", "x").want(t, 412, "PreconditionFailed")
	d.complete(up, [][3]string{{"1", one.ETag}, {"2", two.ETag}}).want(t, 200, "")
	if got := d.do("GET", "/k", ""); got.body != bigPart+"123" {
		t.Error("the body is another one")
	}
	d.do("PUT", "/k?partNumber=1&uploadId=none", "", "x-amz-copy-source", "files/src").want(t, 404, "NoSuchUpload")
}

func TestParseSource(t *testing.T) {
	for _, c := range []struct{ header, bucket, key, version string }{
		{"bucket/key", "bucket", "key", ""},
		{"/bucket/a/b", "bucket", "a/b", ""},
		{"bucket%2Fa%2Fb", "bucket", "a/b", ""},
		{"bucket/a%20b+c%2Bd", "bucket", "a b c+d", ""},
		{"bucket/k?versionId=v", "bucket", "k", "v"},
		{"bucket/k%3FversionId%3Dv", "bucket", "k", "v"},
		{"bucket/k%3FversionId%3Dv?versionId=w", "bucket", "k?versionId=v", "w"},
		{"bucket/k?x", "bucket", "k?x", ""},
	} {
		got, err := parseSource(c.header)
		if err != nil || got != (source{c.bucket, c.key, c.version}) {
			t.Errorf("%s: %+v, %v", c.header, got, err)
		}
	}
	for _, header := range []string{"", "/", "bucket", "bucket/", "b/k", "bucket/%zz", "bucket/%ff", "bucket/../k", "bucket/k?versionId=",
		"192.168.1.1/k", "bucket/" + strings.Repeat("k", 1025)} {
		var e *apiError
		if got, err := parseSource(header); !errors.As(err, &e) || e.Code != "InvalidArgument" {
			t.Errorf("%s: %+v, %v", header, got, err)
		}
	}
}

func FuzzSource(f *testing.F) {
	for _, s := range []string{"bucket/key", "/bucket/a%20b?versionId=1", "bucket%2Fk", "%", "bucket/../k", "?versionId="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if s, err := parseSource(header); err == nil {
			if !ValidBucketName(s.bucket) || store.CheckKey(s.key) != nil {
				t.Errorf("%q is %+v", header, s)
			}
		}
	})
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-1", "bytes=5-", "bytes=0-0,2-3", "bytes=99999999999999999999-", "bytes=--1"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, field string, size int64) {
		if size < 0 {
			return
		}
		check := func(s span) {
			if s.start < 0 || s.length < 1 || s.start+s.length > size {
				t.Errorf("%q of %d bytes is %+v", field, size, s)
			}
		}
		if s, ok, err := parseRange(field, size); ok && err == nil {
			check(s)
		}
		if s, err := parseCopyRange(field, size); err == nil {
			check(s)
		}
	})
}
