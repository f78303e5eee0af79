package s3api

import (
	"bufio"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"minicloud.internal/objectstorage/checksum"
	"minicloud.internal/objectstorage/store"
)

func TestAnObjectKeepsWhatItsWriterSaid(t *testing.T) {
	d := newObjectDoor(t)
	put := d.put("a%20b/c", "hello",
		"Content-Type", "text/plain", "Content-Encoding", "br,aws-chunked", "Content-Language", "en",
		"Content-Disposition", "inline", "Cache-Control", "no-cache", "Expires", "Thu, 01 Dec 2033 16:00:00 GMT",
		"x-amz-meta-Colour", "green", "x-amz-meta-list", "1", "x-amz-meta-list", "2", "x-amz-meta-name", "Zoë",
		"x-amz-tagging", "k=v&l=w", "x-amz-storage-class", "GLACIER", "x-amz-website-redirect-location", "/there",
		"x-amz-server-side-encryption", "AES256", "x-amz-acl", "public-read")
	put.header(t, "ETag", `"5d41402abc4b2a76b9719d911017c592"`)
	put.header(t, "X-Amz-Version-Id", "")
	sum := checksum.Of(checksum.CRC64NVME, []byte("hello"))
	put.header(t, "X-Amz-Checksum-Crc64nvme", sum)
	put.header(t, "X-Amz-Checksum-Type", "FULL_OBJECT")

	for _, method := range []string{"GET", "HEAD"} {
		got := d.do(method, "/a%20b/c", "", "x-amz-checksum-mode", "enabled").want(t, 200, "")
		for name, want := range map[string]string{
			"Content-Type": "text/plain", "Content-Encoding": "br", "Content-Language": "en", "Content-Disposition": "inline",
			"Cache-Control": "no-cache", "Expires": "Thu, 01 Dec 2033 16:00:00 GMT", "X-Amz-Meta-Colour": "green",
			"X-Amz-Meta-List": "1,2", "X-Amz-Meta-Name": "=?UTF-8?b?Wm/Dqw==?=", "X-Amz-Tagging-Count": "2",
			"X-Amz-Storage-Class": "GLACIER", "X-Amz-Website-Redirect-Location": "/there", "Accept-Ranges": "bytes",
			"ETag": `"5d41402abc4b2a76b9719d911017c592"`, "Content-Length": "5", "X-Amz-Checksum-Crc64nvme": sum,
			"X-Amz-Server-Side-Encryption": "",
		} {
			got.header(t, name, want)
		}
		if want := map[string]string{"GET": "hello"}[method]; got.body != want {
			t.Errorf("%s has the body %q", method, got.body)
		}
	}
	d.do("GET", "/a%20b/c", "").header(t, "X-Amz-Checksum-Crc64nvme", "")
	d.do("GET", "/a", "").want(t, 404, "NoSuchKey")
	d.do("HEAD", "/a", "").want(t, 404, "")
}

func TestHeadersThatCannotBeHonouredAreRefused(t *testing.T) {
	d := newObjectDoor(t)
	for _, c := range []struct {
		name          string
		status        int
		code          string
		header, value string
	}{
		{"encryption by a key service", 501, "NotImplemented", "x-amz-server-side-encryption", "aws:kms"},
		{"encryption by nobody", 400, "InvalidArgument", "x-amz-server-side-encryption", "rot13"},
		{"customer keys", 501, "NotImplemented", "x-amz-server-side-encryption-customer-algorithm", "AES256"},
		{"a storage class that is none", 400, "InvalidStorageClass", "x-amz-storage-class", "SHED"},
		{"a redirect to elsewhere", 400, "InvalidRedirectLocation", "x-amz-website-redirect-location", "ftp://x"},
		{"an ACL that is none", 400, "InvalidArgument", "x-amz-acl", "everybody"},
		{"a legal hold", 400, "InvalidRequest", "x-amz-object-lock-legal-hold", "ON"},
		{"half a retention", 400, "InvalidArgument", "x-amz-object-lock-mode", "GOVERNANCE"},
		{"more metadata than 2 KB", 400, "MetadataTooLarge", "x-amz-meta-a", strings.Repeat("a", 2048)},
		{"malformed tags", 400, "InvalidArgument", "x-amz-tagging", "=v"},
		{"tags with odd characters", 400, "InvalidTag", "x-amz-tagging", "a=b!"},
		{"too many tags", 400, "BadRequest", "x-amz-tagging", "a&b&c&d&e&f&g&h&i&j&k"},
		{"a malformed MD5", 400, "InvalidDigest", "Content-MD5", "x"},
		{"another body's MD5", 400, "BadDigest", "Content-MD5", "XrY7u+Ae7tCTyyK7j1rNww=="},
		{"another body's checksum", 400, "BadDigest", "x-amz-checksum-crc32", "AAAAAA=="},
		{"no checksum at all", 400, "InvalidRequest", "x-amz-checksum-crc32", "zzz"},
		{"If-None-Match with a tag", 501, "NotImplemented", "If-None-Match", `"x"`},
		{"If-Match on an absent key", 404, "NoSuchKey", "If-Match", `"x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.do("PUT", "/a", "body", c.header, c.value).want(t, c.status, c.code)
			d.do("HEAD", "/a", "").want(t, 404, "")
		})
	}
}

func TestKeysThatStepOutAreRefused(t *testing.T) {
	d := newObjectDoor(t)
	for _, key := range []string{"..", ".", "../x", "a/../../x", "./", "%2e%2e/x"} {
		if got := d.do("PUT", "/"+key, "x"); got.StatusCode != 400 {
			t.Errorf("PUT of %q: %s %s", key, got.Status, got.body)
		}
	}
	for _, key := range []string{"a/../b", "...", "a/./b", "a//b", ".hidden", "..a"} {
		if err := checkObjectKey(key); err != nil {
			t.Errorf("the key %q: %v", key, err)
		}
	}
	d.do("PUT", "/"+strings.Repeat("k", 1024), "x").want(t, 200, "")
	d.do("PUT", "/"+strings.Repeat("k", 1025), "x").want(t, 400, "KeyTooLongError")
}

func TestChecksumsOfAllAlgorithms(t *testing.T) {
	d := newObjectDoor(t)
	for _, a := range checksum.Algorithms() {
		t.Run(string(a), func(t *testing.T) {
			sum := checksum.Of(a, []byte("hello"))
			d.put("k", "hello", a.Field(), sum).header(t, a.Field(), sum)
			got := d.do("GET", "/k", "", "x-amz-checksum-mode", "ENABLED")
			got.header(t, a.Field(), sum)
			got.header(t, "X-Amz-Checksum-Type", "FULL_OBJECT")
			d.do("GET", "/k", "", "x-amz-checksum-mode", "ENABLED", "Range", "bytes=0-1").header(t, a.Field(), "")
			d.do("PUT", "/k", "hullo", a.Field(), sum).want(t, 400, "BadDigest")
			if got := d.do("GET", "/k", ""); got.body != "hello" {
				t.Errorf("after a bad digest the object is %q", got.body)
			}
		})
	}
	d.do("PUT", "/k", "x", "x-amz-checksum-crc32", "AAAAAA==", "x-amz-checksum-crc32c", "AAAAAA==").want(t, 400, "InvalidRequest")
}

func TestBodiesMustBeAsAnnounced(t *testing.T) {
	d := newObjectDoor(t, func(c *Config) { c.MaxObjectSize = 100 })
	t.Run("Content-MD5 is verified", func(t *testing.T) {
		sum := md5.Sum([]byte("hello"))
		d.put("a", "hello", "Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
	})
	t.Run("a body over the limit is refused", func(t *testing.T) {
		d.do("PUT", "/b", strings.Repeat("x", 101)).want(t, 400, "EntityTooLarge")
	})
	t.Run("a length is required", func(t *testing.T) {
		req := d.signed("PUT", "/c", "x")
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader("x")), -1
		d.send(req).want(t, 411, "MissingContentLength")
	})
	t.Run("a body that is cut off leaves nothing", func(t *testing.T) {
		req := d.signed("PUT", "/d", strings.Repeat("x", 50))
		conn, err := net.Dial("tcp", d.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "PUT /files/d HTTP/1.1\r\nHost: %s\r\nContent-Length: 50\r\n", req.Host)
		_ = req.Header.Write(conn)
		_, _ = io.WriteString(conn, "\r\nhalf")
		_ = conn.(*net.TCPConn).CloseWrite()
		if res, err := http.ReadResponse(bufio.NewReader(conn), req); err == nil && res.StatusCode != 400 {
			t.Errorf("it was answered with %s", res.Status)
		}
		d.do("HEAD", "/d", "").want(t, 404, "")
	})
}

func TestRangesAndParts(t *testing.T) {
	d := newObjectDoor(t)
	d.put("k", "0123456789")
	for _, c := range []struct {
		field, body, announced string
		status                 int
	}{
		{"bytes=2-4", "234", "bytes 2-4/10", 206},
		{"bytes=7-", "789", "bytes 7-9/10", 206},
		{"bytes=-3", "789", "bytes 7-9/10", 206},
		{"bytes=-30", "0123456789", "bytes 0-9/10", 206},
		{"bytes=5-99", "56789", "bytes 5-9/10", 206},
		{"bytes=0-99999999999999999999", "0123456789", "bytes 0-9/10", 206},
		{"bytes=0-1,3-4", "0123456789", "", 200},
		{"bytes=4-2", "0123456789", "", 200},
		{"lines=0-1", "0123456789", "", 200},
		{"bytes=10-", "", "", 416},
		{"bytes=-0", "", "", 416},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			got := d.do(method, "/k", "", "Range", c.field).want(t, c.status, map[int]string{416: "InvalidRange"}[c.status])
			got.header(t, "Content-Range", c.announced)
			if method == "GET" && c.status != 416 && got.body != c.body {
				t.Errorf("%s: %q", c.field, got.body)
			}
		}
	}
	whole := d.do("GET", "/k?partNumber=1", "").want(t, 206, "")
	whole.header(t, "Content-Range", "bytes 0-9/10")
	whole.header(t, "X-Amz-Mp-Parts-Count", "")
	d.do("GET", "/k?partNumber=2", "").want(t, 416, "InvalidPartNumber")
	d.do("GET", "/k?partNumber=0", "").want(t, 400, "InvalidArgument")
	d.do("GET", "/k?partNumber=1", "", "Range", "bytes=0-1").want(t, 400, "InvalidRequest")
}

func TestLargeBodiesComeBackWhole(t *testing.T) {
	d := newObjectDoor(t)
	body := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB: a file of its own
	d.put("large", body)
	if got := d.do("GET", "/large", "").want(t, 200, ""); got.body != body {
		t.Error("the body is another one")
	}
	if got := d.do("GET", "/large", "", "Range", "bytes=500000-900000").want(t, 206, ""); got.body != body[500000:900001] {
		t.Error("the range is another one")
	}
}

func TestOverridesAreForSignedRequests(t *testing.T) {
	d := newObjectDoor(t)
	d.put("k", "x", "Content-Type", "text/plain")
	const target = "/k?response-content-type=text%2Fhtml&response-cache-control=no-store&response-content-disposition=attachment"
	got := d.do("GET", target, "").want(t, 200, "")
	got.header(t, "Content-Type", "text/html")
	got.header(t, "Cache-Control", "no-store")
	got.header(t, "Content-Disposition", "attachment")
	if err := d.store.UpdateBucket(t.Context(), "files", func(b *store.Bucket) error { b.Anonymous = "read"; return nil }); err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest("GET", d.URL+"/files"+target, nil)
	d.send(req).want(t, 400, "InvalidRequest")
	req, _ = http.NewRequest("GET", d.URL+"/files/k", nil)
	d.send(req).want(t, 200, "")
}

func TestOneOfManyCreatesAKey(t *testing.T) {
	d := newObjectDoor(t)
	var created, refused atomic.Int32
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			switch got := d.do("PUT", "/k", fmt.Sprint(i), "If-None-Match", "*"); got.StatusCode {
			case 200:
				created.Add(1)
			case 412:
				refused.Add(1)
			default:
				t.Errorf("%s %s", got.Status, got.body)
			}
		})
	}
	wait.Wait()
	if created.Load() != 1 || refused.Load() != 15 {
		t.Errorf("%d created it, %d were refused", created.Load(), refused.Load())
	}
	etag := d.do("HEAD", "/k", "").Header.Get("ETag")
	d.do("PUT", "/k", "x", "If-Match", `"other"`).want(t, 412, "PreconditionFailed")
	d.put("k", "x", "If-Match", etag)
	d.do("PUT", "/k", "x", "If-Match", etag, "If-None-Match", "*").want(t, 501, "NotImplemented")
}
