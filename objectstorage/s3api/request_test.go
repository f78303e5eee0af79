package s3api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"minicloud.internal/objectstorage/store"
)

func address(t *testing.T, host, path string) (bucket, key string, err error) {
	t.Helper()
	u, err := url.ParseRequestURI(path)
	if err != nil {
		t.Fatal(err)
	}
	h := New(nil, Config{Hosts: []string{"s3.example.com", "localhost", "s3.localhost"}})
	r := &request{Request: &http.Request{Host: host, URL: u}, h: h}
	err = r.address()
	return r.bucket, r.key, err
}

func TestAddress(t *testing.T) {
	for _, test := range []struct{ name, host, path, bucket, key, code string }{
		{"the service", "s3.example.com", "/", "", "", ""},
		{"path style", "s3.example.com", "/photos/a/b.jpg", "photos", "a/b.jpg", ""},
		{"path style at a host that is not configured", "10.0.0.1:8007", "/photos/a", "photos", "a", ""},
		{"a bucket with a slash behind it", "s3.example.com", "/photos/", "photos", "", ""},
		{"virtual-host style", "photos.s3.example.com", "/a/b.jpg", "photos", "a/b.jpg", ""},
		{"virtual-host style without a key", "photos.s3.example.com", "/", "photos", "", ""},
		{"with a port", "photos.s3.example.com:8007", "/a", "photos", "a", ""},
		{"in capitals and with the dot at the end", "Photos.S3.Example.COM.", "/a", "photos", "a", ""},
		{"a bucket with dots", "my.photos.s3.example.com", "/a", "my.photos", "a", ""},
		{"the longest base domain decides", "s3.localhost", "/photos/a", "photos", "a", ""},
		{"below the longest", "photos.s3.localhost", "/a", "photos", "a", ""},
		{"below the shorter", "photos.localhost", "/a", "photos", "a", ""},
		{"a host that only ends alike", "photos-s3.example.com", "/bucket/a", "bucket", "a", ""},
		{"an IPv6 host", "[::1]:8007", "/photos/a", "photos", "a", ""},
		{"no step up is taken", "s3.example.com", "/photos/../../etc/passwd", "photos", "../../etc/passwd", ""},
		{"nor an escaped one", "s3.example.com", "/photos/%2e%2e/%2E%2E/x", "photos", "../../x", ""},
		{"an escaped slash is part of the key", "s3.example.com", "/photos/a%2Fb", "photos", "a/b", ""},
		{"slashes stay as they are", "s3.example.com", "/photos//a//b/", "photos", "/a//b/", ""},
		{"decoded once", "s3.example.com", "/photos/a%252Fb", "photos", "a%2Fb", ""},
		{"plus is plus", "s3.example.com", "/photos/a+b%20c", "photos", "a+b c", ""},
		{"NUL is a byte", "s3.example.com", "/photos/a%00b", "photos", "a\x00b", ""},
		{"an escaped slash is no end of the bucket", "s3.example.com", "/photos%2Fa", "photos/a", "a", "InvalidBucketName"},
		{"no bucket", "s3.example.com", "//a", "", "a", "InvalidBucketName"},
		{"a bucket of two letters", "s3.example.com", "/ab", "ab", "", "InvalidBucketName"},
		{"a virtual bucket that is none", "a_b.s3.example.com", "/k", "a_b", "k", "InvalidBucketName"},
		{"a key that is no UTF-8", "s3.example.com", "/photos/%ff", "", "", "InvalidURI"},
		{"a key of 1,024 bytes", "s3.example.com", "/photos/" + strings.Repeat("k", 1024), "photos", strings.Repeat("k", 1024), ""},
		{"a key of 1,025 bytes", "s3.example.com", "/photos/" + strings.Repeat("k", 1025), "photos", strings.Repeat("k", 1025), "KeyTooLongError"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bucket, key, err := address(t, test.host, test.path)
			var e *apiError
			if errors.As(err, &e); test.code != "" || err != nil {
				if e == nil || e.Code != test.code {
					t.Fatalf("the error is %v, expected %q", err, test.code)
				}
				return
			}
			if bucket != test.bucket || key != test.key {
				t.Errorf("the bucket is %q and the key %q, expected %q and %q", bucket, key, test.bucket, test.key)
			}
		})
	}
}

func TestValidBucketName(t *testing.T) {
	for name, want := range map[string]bool{
		"files": true, "a.b": true, "a-b-1": true, "1bucket": true, strings.Repeat("a", 63): true,
		"ab": false, strings.Repeat("a", 64): false, "Files": false, "a_b": false, ".ab": false, "ab.": false,
		"-ab": false, "ab-": false, "a..b": false, "192.168.0.1": false, "xn--abc": false, "abc-s3alias": false,
		"": false, "a b": false, "ä-umlaut": false, "a/b": false,
	} {
		if got := ValidBucketName(name); got != want {
			t.Errorf("ValidBucketName(%q) is %t, expected %t", name, got, want)
		}
	}
}

func TestClaims(t *testing.T) {
	h := New(nil, Config{Hosts: []string{"s3.example.com"}})
	for _, test := range []struct {
		name, host, url string
		headers         []string
		want            bool
	}{
		{"a form for the bucket", "example.com", "POST /files", nil, true},
		{"a preflight", "example.com", "OPTIONS /files/a", []string{"Access-Control-Request-Method", "PUT"}, true},
		{"OPTIONS that is none", "example.com", "OPTIONS /files/a", nil, false},
		{"a plain request for a file", "example.com", "/files/a.jpg", nil, false},
		{"a listing of the simple door", "example.com", "/files/?prefix=a&delimiter=/&limit=3", nil, false},
		{"a form of the simple door", "example.com", "POST /files/put", nil, false},
		{"another bucket", "example.com", "/photos/a.jpg", nil, true},
		{"the service", "example.com", "/", nil, true},
		{"a bucket whose name begins alike", "example.com", "/files2/a", nil, true},
		{"signed", "example.com", "/files/a", []string{"Authorization", "AWS4-HMAC-SHA256 Credential=a"}, true},
		{"signed as long ago", "example.com", "/files/a", []string{"Authorization", "AWS a:b"}, true},
		{"another authorization", "example.com", "/files/a", []string{"Authorization", "Bearer x"}, false},
		{"presigned", "example.com", "/files/a?X-Amz-Signature=1", nil, true},
		{"a header of S3", "example.com", "/files/a", []string{"x-amz-acl", "private"}, true},
		{"a header of an SDK", "example.com", "/files/a", []string{"amz-sdk-invocation-id", "1"}, true},
		{"a subresource", "example.com", "/files/?list-type=2", nil, true},
		{"virtual-host style", "files.s3.example.com", "/a", nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			method, target, ok := strings.Cut(test.url, " ")
			if !ok {
				method, target = "GET", test.url
			}
			r := httptest.NewRequest(method, target, nil)
			r.Host = test.host
			for i := 0; i < len(test.headers); i += 2 {
				r.Header.Set(test.headers[i], test.headers[i+1])
			}
			if got := h.Claims(r); got != test.want {
				t.Errorf("Claims is %t, expected %t", got, test.want)
			}
		})
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("s3.example.com", "/photos/a/../b")
	f.Add("my.photos.s3.example.com:80", "/%2e%2e/%00")
	f.Add("[::1]", "/photos/%c3%a4?x")
	f.Fuzz(func(t *testing.T, host, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		h := New(nil, Config{Hosts: []string{"s3.example.com"}})
		r := &request{Request: &http.Request{Host: host, URL: u}, h: h}
		if err := r.address(); err != nil {
			var e *apiError
			if !errors.As(err, &e) || e.Status != http.StatusBadRequest {
				t.Fatalf("%q %q: the error is %v, expected one that blames the client", host, path, err)
			}
			return
		}
		if r.bucket == "" {
			if r.key != "" {
				t.Fatalf("%q %q: the key %q in no bucket", host, path, r.key)
			}
			return
		}
		if !ValidBucketName(r.bucket) || len(r.key) > store.MaxKey || !utf8.ValidString(r.key) {
			t.Fatalf("%q %q: the bucket is %q and the key %q", host, path, r.bucket, r.key)
		}
		// The same object in the other style.
		again := &url.URL{Path: "/" + r.bucket + "/" + r.key}
		other := &request{Request: &http.Request{Host: "10.0.0.1", URL: again}, h: h}
		if err := other.address(); err != nil || other.bucket != r.bucket || other.key != r.key {
			t.Fatalf("%q %q: path style has %q %q (%v), expected %q %q", host, path, other.bucket, other.key, err, r.bucket, r.key)
		}
	})
}
