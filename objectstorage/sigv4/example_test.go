package sigv4

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The examples of the Amazon S3 API reference: requests and the signatures that are
// right for them.
var (
	exampleCredential = Credential{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	exampleTime       = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
)

func verifierAt(t time.Time) *Verifier {
	return &Verifier{
		Credentials: func(accessKey string) (string, bool) {
			return exampleCredential.SecretKey, accessKey == exampleCredential.AccessKey
		},
		Region: "us-east-1",
		Now:    func() time.Time { return t },
	}
}

func exampleRequest(method, target, host, body, signed, signature string, fields ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = host
	r.Header.Set("X-Amz-Date", "20130524T000000Z")
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders="+signed+",Signature="+signature)
	return r
}

func TestExamplesOfRequests(t *testing.T) {
	const host = "examplebucket.s3.amazonaws.com"
	for name, r := range map[string]*http.Request{
		"GET object": exampleRequest("GET", "/test.txt", host, "", "host;range;x-amz-content-sha256;x-amz-date",
			"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", "Range", "bytes=0-9", "X-Amz-Content-Sha256", EmptyHash),
		"PUT object": exampleRequest("PUT", "/test$file.text", host, "Welcome to Amazon S3.", "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
			"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd", "Date", "Fri, 24 May 2013 00:00:00 GMT",
			"X-Amz-Storage-Class", "REDUCED_REDUNDANCY", "X-Amz-Content-Sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
		"GET bucket lifecycle": exampleRequest("GET", "/?lifecycle", host, "", "host;x-amz-content-sha256;x-amz-date",
			"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543", "X-Amz-Content-Sha256", EmptyHash),
		"list objects": exampleRequest("GET", "/?max-keys=2&prefix=J", host, "", "host;x-amz-content-sha256;x-amz-date",
			"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7", "X-Amz-Content-Sha256", EmptyHash),
	} {
		t.Run(name, func(t *testing.T) {
			id, err := verifierAt(exampleTime).Verify(r)
			if err != nil || id.AccessKey != exampleCredential.AccessKey || id.Presigned {
				t.Fatalf("%+v, %v", id, err)
			}
			body, err := id.Body(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(body); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestExampleOfAPresignedURL(t *testing.T) {
	r := httptest.NewRequest("GET", "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"+
		"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", nil)
	r.Host = "examplebucket.s3.amazonaws.com"
	if id, err := verifierAt(exampleTime.Add(23 * time.Hour)).Verify(r); err != nil || !id.Presigned || id.AccessKey != exampleCredential.AccessKey {
		t.Errorf("%+v, %v", id, err)
	}
}

const chunkFields = "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class"

func TestExampleOfSignedChunks(t *testing.T) {
	wire := "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + strings.Repeat("a", 65536) + "\r\n" +
		"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + strings.Repeat("a", 1024) + "\r\n" +
		"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
	r := exampleRequest("PUT", "/examplebucket/chunkObject.txt", "s3.amazonaws.com", wire, chunkFields,
		"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
		"X-Amz-Storage-Class", "REDUCED_REDUNDANCY", "X-Amz-Content-Sha256", chunksSigned, "Content-Encoding", "aws-chunked",
		"X-Amz-Decoded-Content-Length", "66560", "Content-Length", "66824")
	if len(wire) != 66824 {
		t.Fatalf("the example has %d bytes", len(wire))
	}
	expectExampleBody(t, r)
}

func TestExampleOfSignedChunksWithATrailer(t *testing.T) {
	wire := "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" + strings.Repeat("a", 65536) + "\r\n" +
		"400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" + strings.Repeat("a", 1024) + "\r\n" +
		"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n" +
		"x-amz-checksum-crc32c:sOO8/Q==\r\n" +
		"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
	r := exampleRequest("PUT", "/examplebucket/chunkObject.txt", "s3.amazonaws.com", wire,
		"content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
		"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
		"X-Amz-Storage-Class", "REDUCED_REDUNDANCY", "X-Amz-Content-Sha256", chunksTrailer, "Content-Encoding", "aws-chunked",
		"X-Amz-Decoded-Content-Length", "66560", "X-Amz-Trailer", "x-amz-checksum-crc32c")
	if body := expectExampleBody(t, r); body.Trailer("x-amz-checksum-crc32c") != "sOO8/Q==" {
		t.Errorf("the trailer is %q", body.Trailer("x-amz-checksum-crc32c"))
	}
}

func expectExampleBody(t *testing.T, r *http.Request) *Body {
	t.Helper()
	id, err := verifierAt(exampleTime).Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := id.Body(r)
	if err != nil || body.Size() != 66560 || !body.Chunked() {
		t.Fatalf("%+v, %v", body, err)
	}
	data, err := io.ReadAll(body)
	if err != nil || string(data) != strings.Repeat("a", 66560) {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	return body
}

const examplePolicy = "{ \"expiration\": \"2015-12-30T12:00:00.000Z\",\r\n" +
	"  \"conditions\": [\r\n" +
	"    {\"bucket\": \"sigv4examplebucket\"},\r\n" +
	"    [\"starts-with\", \"$key\", \"user/user1/\"],\r\n" +
	"    {\"acl\": \"public-read\"},\r\n" +
	"    {\"success_action_redirect\": \"http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html\"},\r\n" +
	"    [\"starts-with\", \"$Content-Type\", \"image/\"],\r\n" +
	"    {\"x-amz-meta-uuid\": \"14365123651274\"},\r\n" +
	"    {\"x-amz-server-side-encryption\": \"AES256\"},\r\n" +
	"    [\"starts-with\", \"$x-amz-meta-tag\", \"\"],\r\n" +
	"\r\n" +
	"    {\"x-amz-credential\": \"AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request\"},\r\n" +
	"    {\"x-amz-algorithm\": \"AWS4-HMAC-SHA256\"},\r\n" +
	"    {\"x-amz-date\": \"20151229T000000Z\" }\r\n" +
	"  ]\r\n" +
	"}"

func TestExampleOfAPolicy(t *testing.T) {
	form := map[string]string{
		"key": "user/user1/${filename}", "acl": "public-read", "content-type": "image/jpeg", "x-amz-meta-uuid": "14365123651274",
		"success_action_redirect":      "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html",
		"x-amz-server-side-encryption": "AES256", "x-amz-meta-tag": "", "policy": base64.StdEncoding.EncodeToString([]byte(examplePolicy)),
		"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request", "x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-date": "20151229T000000Z",
		"x-amz-signature": "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e",
	}
	p, err := verifierAt(time.Date(2015, 12, 30, 11, 0, 0, 0, time.UTC)).VerifyPolicy(form)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check("sigv4examplebucket", "user/user1/cat.jpg", form); err != nil {
		t.Error(err)
	}
	if err := p.Check("sigv4examplebucket", "user/user2/cat.jpg", form); err == nil {
		t.Error("a key of another user was accepted")
	}
}
