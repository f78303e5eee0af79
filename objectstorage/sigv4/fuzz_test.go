package sigv4

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"minicloud.internal/objectstorage/checksum"
)

// FuzzVerify has the SDK sign a request and sends it, as text, to a server that
// verifies it; then again with one thing changed.
func FuzzVerify(f *testing.F) {
	f.Add("GET", "key", "prefix", "a/b", "plain", byte(0), false)
	f.Add("PUT", "a b/ü+%2F~!*'()", "k", "a-b c+d%", "  two   spaces\t", byte(1), false)
	f.Add("DELETE", "//a/../b/./", "é", "", ",,", byte(2), true)
	f.Add("HEAD", "\x00\xff", "X-Amz-Meta", "=&;", "x", byte(3), true)
	f.Fuzz(func(t *testing.T, method, key, name, value, field string, change byte, byURL bool) {
		r := fuzzRequest(method, key, name, value, field)
		if r == nil {
			t.Skip()
		}
		sdkSign(t, r, byURL)
		got := overTheWire(t, r)
		if got == nil {
			t.Skip()
		}
		v := verifierAt(exampleTime)
		id, err := v.Verify(got)
		if err != nil {
			t.Fatalf("the SDK's signature of %s %s was refused: %v\n%+v", got.Method, got.RequestURI, err, err.(*Error).Extra)
		}
		if id == nil || id.AccessKey != exampleCredential.AccessKey || id.Presigned != byURL {
			t.Fatalf("the identity is %+v", id)
		}
		for range 2 { // without and with the key that is kept
			alter(got, change)
			if id, err := v.Verify(got); err == nil && id != nil {
				t.Fatalf("change %d of %s %s was not seen", change%8, got.Method, got.RequestURI)
			}
		}
	})
}

// fuzzRequest returns a request as the SDK makes it: with the path encoded in the
// canonical way.
func fuzzRequest(method, key, name, value, field string) *http.Request {
	if strings.ContainsAny(field, "\r\n\x00") || !validField(field) || name == "" || strings.HasPrefix(name, "X-Amz-") || name == "Signature" || name == "AWSAccessKeyId" {
		return nil
	}
	if method = strings.ToUpper(method); method != "GET" && method != "PUT" && method != "HEAD" && method != "DELETE" && method != "POST" {
		return nil
	}
	path := string(appendPath(nil, "/bucket/"+strings.ReplaceAll(key, "%", "%25")))
	u, err := url.Parse("http://s3.example.com" + path + "?" + escape(name) + "=" + escape(value) + "&" + escape(name) + "=" + escape(field))
	if err != nil {
		return nil
	}
	r := &http.Request{Method: method, URL: u, Host: "s3.example.com", Header: http.Header{}}
	r.Header.Set("X-Amz-Meta-Field", field)
	r.Header.Add("X-Amz-Meta-Field", value2(field))
	r.Header.Set("Content-Type", "text/plain")
	return r
}

func value2(field string) string { return strings.ToUpper(field) }

func validField(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] > '~' {
			return false
		}
	}
	return true
}

func sdkSign(t *testing.T, r *http.Request, byURL bool) {
	t.Helper()
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	credentials := aws.Credentials{AccessKeyID: exampleCredential.AccessKey, SecretAccessKey: exampleCredential.SecretKey}
	if !byURL {
		r.Header.Set("X-Amz-Content-Sha256", EmptyHash)
		if err := signer.SignHTTP(context.Background(), credentials, r, EmptyHash, "s3", "us-east-1", exampleTime); err != nil {
			t.Fatal(err)
		}
		return
	}
	r.URL.RawQuery += "&X-Amz-Expires=60"
	signed, headers, err := signer.PresignHTTP(context.Background(), credentials, r, unsignedPayload, "s3", "us-east-1", exampleTime)
	if err != nil {
		t.Fatal(err)
	}
	if r.URL, err = url.Parse(signed); err != nil {
		t.Fatal(err)
	}
	r.Header = headers
}

// overTheWire sends r to a server and returns what it got.
func overTheWire(t *testing.T, r *http.Request) *http.Request {
	t.Helper()
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		return nil
	}
	got, err := readRequest(wire.Bytes())
	if err != nil {
		return nil
	}
	return got
}

// alter changes one thing that the signature covers.
func alter(r *http.Request, change byte) {
	switch change % 8 {
	case 0:
		r.Method += "X"
	case 1:
		r.RequestURI = strings.Replace(r.RequestURI, "/bucket/", "/bucket//", 1)
	case 2:
		r.RequestURI = strings.Replace(r.RequestURI, "/bucket/", "/bucket/%2E", 1)
	case 3:
		r.URL.RawQuery += "&added="
	case 4:
		r.Host += "x"
	case 5:
		r.Header.Add("X-Amz-Meta-Field", "more")
	case 6:
		r.Header.Set("X-Amz-Acl", "public-read")
	case 7:
		if a := r.Header.Get("Authorization"); a != "" {
			r.Header.Set("Authorization", a[:len(a)-1]+string('0'+('1'-a[len(a)-1]&1)))
			r.Header.Set("X-Amz-Date", exampleTime.Add(time.Second).Format(longDate))
		} else {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "Expires=60", "Expires=61", 1)
		}
	}
}

// FuzzVerifyAnything must not panic, and must not take anything for signed.
func FuzzVerifyAnything(f *testing.F) {
	f.Add("/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=%", goodAuthorization, "20130524T000000Z", "x")
	f.Add("/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=0", "", "", "")
	f.Fuzz(func(t *testing.T, target, authorization, date, payload string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Skip()
		}
		r := &http.Request{Method: "GET", URL: u, RequestURI: target, Host: "h", Header: http.Header{}}
		for name, value := range map[string]string{"Authorization": authorization, "X-Amz-Date": date, "X-Amz-Content-Sha256": payload} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		if id, _ := verifierAt(exampleTime).Verify(r); id != nil {
			t.Fatal("it was taken for signed")
		}
	})
}

// FuzzUnsignedChunks compares the decoder with a simple one that has the whole body
// in memory.
func FuzzUnsignedChunks(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"), uint16(5), true, byte(0))
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\n\r\n\r\n"), uint16(5), true, byte(1))
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\n"), uint16(5), false, byte(2))
	f.Add([]byte("0\r\n\r\n"), uint16(0), false, byte(3))
	f.Fuzz(func(t *testing.T, wire []byte, size uint16, announce bool, how byte) {
		trailer := ""
		if announce {
			trailer = "x-amz-checksum-crc32"
		}
		var source io.Reader = bytes.NewReader(wire)
		switch how % 4 {
		case 1:
			source = iotest.OneByteReader(source)
		case 2:
			source = iotest.DataErrReader(source)
		}
		body := unsignedBody(t, source, int(size), trailer)
		var reader io.Reader = body
		if how%4 == 3 {
			reader = iotest.OneByteReader(body)
		}
		data, err := io.ReadAll(reader)
		want, value, ok := decodeAll(wire, int(size), trailer)
		if ok != (err == nil) {
			t.Fatalf("%v, but the model says %v", err, ok)
		}
		if ok && (!bytes.Equal(data, want) || body.Trailer(trailer) != value) {
			t.Fatalf("%q and %q, but the model says %q and %q", data, body.Trailer(trailer), want, value)
		}
		if len(data) > int(size) {
			t.Fatalf("%d bytes of %d", len(data), size)
		}
	})
}

// decodeAll is the model: it takes the body apart from front to back.
func decodeAll(wire []byte, size int, trailer string) (data []byte, value string, ok bool) {
	rest, last := string(wire), -1
	for {
		line, after, found := strings.Cut(rest, "\r\n")
		n, err := strconv.ParseUint(line, 16, 60)
		if !found || err != nil || len(line) > 15 || strings.ContainsAny(line, "+_") {
			return nil, "", false
		}
		rest = after
		if n == 0 {
			break
		}
		if last >= 0 && last < 8192 || uint64(len(rest)) < n+2 || rest[n:n+2] != "\r\n" {
			return nil, "", false
		}
		data, rest, last = append(data, rest[:n]...), rest[n+2:], int(n)
	}
	if len(data) != size {
		return nil, "", false
	}
	if trailer == "" {
		return data, "", rest == "\r\n"
	}
	value, found := strings.CutPrefix(rest, trailer+":")
	value, ended := strings.CutSuffix(value, "\r\n\r\n")
	value = strings.TrimSuffix(value, "\n") // as minio-go has it
	if strings.HasSuffix(value, "\r") {
		return nil, "", false
	}
	return data, value, found && ended && checksum.CRC32.Valid(value)
}

// FuzzSignedChunks forges one byte of a signed body: nothing of it may then be taken
// for verified.
func FuzzSignedChunks(f *testing.F) {
	f.Add(uint16(10), uint16(100), byte(1), false)
	f.Add(uint16(9000), uint16(8300), byte(0x20), true)
	f.Add(uint16(13), uint16(0), byte(0x20), false) // the size is "d"
	f.Fuzz(func(t *testing.T, size, at uint16, flip byte, trailer bool) {
		field := ""
		if trailer {
			field = "x-amz-checksum-crc32:QWaN2w=="
		}
		data := bytes.Repeat([]byte("."), int(size)%20000)
		r, wire := signedUpload(t, data, 8192, field)
		got, _, err := readSigned(t, r, bytes.NewReader(wire))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if flip == 0 {
			t.Skip()
		}
		i := int(at) % len(wire)
		forged := bytes.Clone(wire)
		forged[i] ^= flip
		if bytes.EqualFold(forged[i:i+1], wire[i:i+1]) {
			t.Skip() // a size in capitals is the same size
		}
		if _, _, err := readSigned(t, r, bytes.NewReader(forged)); err == nil {
			t.Fatalf("byte %d was %q and is %q", i, wire[i], forged[i])
		}
	})
}

func readRequest(wire []byte) (*http.Request, error) {
	return http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
}

// TestARealServerKeepsWhatIsSigned goes through net/http on both sides.
func TestARealServerKeepsWhatIsSigned(t *testing.T) {
	v := verifierAt(exampleTime)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := v.Verify(r)
		if err != nil || id == nil {
			t.Errorf("%s %s: %v, %v", r.Method, r.RequestURI, id, err)
			return
		}
		body, err := id.Body(r)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := io.Copy(w, body); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	for _, path := range []string{"/", "/bucket/a%20b/%C3%BC%2B~", "/bucket//x/../y", "/bucket/key?versionId=1&tagging"} {
		r, err := http.NewRequest("PUT", server.URL+path, strings.NewReader("Welcome to Amazon S3."))
		if err != nil {
			t.Fatal(err)
		}
		Sign(r, exampleCredential, "us-east-1", exampleTime, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(data) != "Welcome to Amazon S3." {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
}
