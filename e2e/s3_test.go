package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// A way is one from a client to the object store.
type way struct {
	name, bucket string
	client       *s3.Client
	http         *http.Client // on the same way, for presigned URLs
}

// ways are those that a user of S3 has.
func ways(t *testing.T, c cloud) []way {
	direct := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	t.Cleanup(direct.CloseIdleConnections)
	through := throughDNS(t, c)
	return []way{
		{"virtual-host style, through DNS and the load balancer", "virtual", newS3("http://s3.example.com", through), through},
		{"path style, through DNS and the load balancer", "path", newS3("http://s3.example.com", through, pathStyle), through},
		{"path style, directly", "direct", newS3("http://"+c.Where(t, "object-storage"), direct, pathStyle), direct},
	}
}

func testS3(t *testing.T, c cloud) {
	for _, w := range ways(t, c) {
		t.Run(w.name, func(t *testing.T) {
			ctx := t.Context()
			if _, err := w.client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &w.bucket}); err != nil {
				t.Fatalf("create the bucket: %v", err)
			}
			for _, step := range []struct {
				name string
				run  func(*testing.T, way)
			}{
				{"objects", s3Objects},
				{"presigned URLs", s3Presigned},
				{"an upload in parts", s3Multipart},
				{"versions", s3Versions},
			} {
				t.Run(step.name, func(t *testing.T) { step.run(t, w) })
			}
			s3Empty(t, w)
			if _, err := w.client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &w.bucket}); err != nil {
				t.Errorf("delete the bucket: %v", err)
			}
			if _, err := w.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &w.bucket}); status(err) != http.StatusNotFound {
				t.Errorf("the bucket after its deletion: %v", err)
			}
		})
	}
	t.Run("/files is the bucket files", func(t *testing.T) { s3Files(t, c) })
	t.Run("s3cmd", func(t *testing.T) { s3cmd(t, c) })
	t.Run("rclone", func(t *testing.T) { rclone(t, c) })
}

// get reads an object and its version's identifier.
func (w way) get(t *testing.T, key string, change ...func(*s3.GetObjectInput)) ([]byte, *s3.GetObjectOutput) {
	t.Helper()
	in := &s3.GetObjectInput{Bucket: &w.bucket, Key: &key}
	for _, f := range change {
		f(in)
	}
	out, err := w.client.GetObject(t.Context(), in)
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	return body, out
}

func (w way) put(t *testing.T, key string, body []byte) *s3.PutObjectOutput {
	t.Helper()
	out, err := w.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &w.bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return out
}

func s3Objects(t *testing.T, w way) {
	ctx := t.Context()
	keys := []string{"a", "a/b", "a b+c%20d", "é/ü/日本", "x//y", "q?a=b&c#d", "é*'()!~"}
	slices.Sort(keys)
	for _, key := range keys {
		w.put(t, key, []byte("body of "+key))
	}
	for _, key := range keys {
		if got, _ := w.get(t, key); string(got) != "body of "+key {
			t.Errorf("%q holds %q", key, got)
		}
	}
	var listed []string
	pages := s3.NewListObjectsV2Paginator(w.client, &s3.ListObjectsV2Input{Bucket: &w.bucket, MaxKeys: aws.Int32(3)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		for _, o := range page.Contents {
			listed = append(listed, *o.Key)
		}
	}
	if !slices.Equal(listed, keys) {
		t.Errorf("listed %q, expected %q", listed, keys)
	}
	_, err := w.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &w.bucket, Key: aws.String("a"), Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")})
	if code(err) != "PreconditionFailed" {
		t.Errorf("If-None-Match: * over an object: %v", err)
	}
	if _, err := w.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &w.bucket, Key: aws.String("nothing")}); code(err) != "NoSuchKey" {
		t.Errorf("a key that is not there: %v", err)
	}
	large := picture()
	if _, err := w.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &w.bucket, Key: aws.String("large"), Body: bytes.NewReader(large),
		ContentType: aws.String("image/jpeg"), Metadata: map[string]string{"who": "me"}}); err != nil {
		t.Fatalf("put: %v", err)
	}
	got, out := w.get(t, "large")
	if !bytes.Equal(got, large) || aws.ToString(out.ContentType) != "image/jpeg" || out.Metadata["who"] != "me" {
		t.Errorf("%d bytes of %s with %v", len(got), aws.ToString(out.ContentType), out.Metadata)
	}
}

// s3Presigned uses URLs that say themselves who may do what, without any
// credential of their user.
func s3Presigned(t *testing.T, w way) {
	presign := s3.NewPresignClient(w.client)
	put, err := presign.PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: &w.bucket, Key: aws.String("pre signed")})
	if err != nil {
		t.Fatal(err)
	}
	get, err := presign.PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: &w.bucket, Key: aws.String("pre signed")})
	if err != nil {
		t.Fatal(err)
	}
	call := func(method, where, body string, signed http.Header) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, where, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range signed {
			if name != "Host" {
				r.Header[name] = values
			}
		}
		resp, err := w.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(answer)
	}
	if code, answer := call(put.Method, put.URL, "by a URL", put.SignedHeader); code != http.StatusOK {
		t.Fatalf("PUT: %d %s", code, answer)
	}
	if code, answer := call(http.MethodGet, get.URL, "", get.SignedHeader); code != http.StatusOK || answer != "by a URL" {
		t.Errorf("GET: %d %s", code, answer)
	}
	if code, answer := call(http.MethodGet, strings.Replace(get.URL, "X-Amz-Expires=", "X-Amz-Expires=9", 1), "", nil); code != http.StatusForbidden {
		t.Errorf("GET with a longer life than was signed: %d %s", code, answer)
	}
	unsigned, _, _ := strings.Cut(get.URL, "?")
	if code, answer := call(http.MethodGet, unsigned, "", nil); code != http.StatusForbidden || !strings.Contains(answer, "AccessDenied") {
		t.Errorf("GET without a signature: %d %s", code, answer)
	}
}

func s3Multipart(t *testing.T, w way) {
	ctx, key := t.Context(), aws.String("parts")
	whole := bytes.Repeat([]byte("twelve million bytes\n"), 12<<20/21)
	begun, err := w.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &w.bucket, Key: key})
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	var parts []types.CompletedPart
	const size = 5 << 20
	for n, rest := int32(1), whole; len(rest) > 0; n++ {
		part := rest[:min(size, len(rest))]
		rest = rest[len(part):]
		out, err := w.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: &w.bucket, Key: key, UploadId: begun.UploadId, PartNumber: &n, Body: bytes.NewReader(part)})
		if err != nil {
			t.Fatalf("part %d: %v", n, err)
		}
		parts = append(parts, types.CompletedPart{PartNumber: &n, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32})
	}
	if _, err := w.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &w.bucket, Key: key, UploadId: begun.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}); err != nil {
		t.Fatalf("complete: %v", err)
	}
	got, out := w.get(t, *key)
	if !bytes.Equal(got, whole) || !strings.HasSuffix(aws.ToString(out.ETag), `-3"`) {
		t.Errorf("%d bytes with ETag %s, expected %d", len(got), aws.ToString(out.ETag), len(whole))
	}
	if got, _ := w.get(t, *key, func(in *s3.GetObjectInput) { in.Range = aws.String("bytes=5242870-5242890") }); !bytes.Equal(got, whole[5242870:5242891]) {
		t.Errorf("a range over the border of two parts holds %q", got)
	}
}

func s3Versions(t *testing.T, w way) {
	ctx, key := t.Context(), aws.String("versioned")
	if _, err := w.client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: &w.bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatalf("versioning: %v", err)
	}
	first, second := w.put(t, *key, []byte("first")), w.put(t, *key, []byte("second"))
	deleted, err := w.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &w.bucket, Key: key})
	if err != nil || !aws.ToBool(deleted.DeleteMarker) {
		t.Fatalf("delete: %v, %+v", err, deleted)
	}
	if _, err := w.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &w.bucket, Key: key}); code(err) != "NoSuchKey" {
		t.Errorf("behind a delete marker: %v", err)
	}
	for version, want := range map[*string]string{first.VersionId: "first", second.VersionId: "second"} {
		if got, _ := w.get(t, *key, func(in *s3.GetObjectInput) { in.VersionId = version }); string(got) != want {
			t.Errorf("version %s holds %q, expected %q", *version, got, want)
		}
	}
	list, err := w.client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &w.bucket, Prefix: key})
	if err != nil || len(list.Versions) != 2 || len(list.DeleteMarkers) != 1 {
		t.Errorf("versions: %v, %+v", err, list)
	}
	if _, err := w.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &w.bucket, Key: key, VersionId: deleted.VersionId}); err != nil {
		t.Fatalf("delete the marker: %v", err)
	}
	if got, _ := w.get(t, *key); string(got) != "second" {
		t.Errorf("without the marker it holds %q", got)
	}
}

// s3Empty removes all versions.
func s3Empty(t *testing.T, w way) {
	pages := s3.NewListObjectVersionsPaginator(w.client, &s3.ListObjectVersionsInput{Bucket: &w.bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatalf("list the versions: %v", err)
		}
		var all []types.ObjectIdentifier
		for _, v := range page.Versions {
			all = append(all, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, v := range page.DeleteMarkers {
			all = append(all, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		if len(all) == 0 {
			return
		}
		out, err := w.client.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: &w.bucket, Delete: &types.Delete{Objects: all}})
		if err != nil || len(out.Errors) > 0 || len(out.Deleted) != len(all) {
			t.Fatalf("delete %d versions: %v, %+v", len(all), err, out)
		}
	}
}

// s3Files meets the objects of the simple door in S3, and those of S3 there.
func s3Files(t *testing.T, c cloud) {
	through := throughDNS(t, c)
	w := way{bucket: "files", client: newS3("http://s3.example.com", through), http: through}
	card := mustEnter(t, c, "http://example.com/files/spells/1.svg")
	if got, out := w.get(t, "spells/1.svg"); string(got) != card || aws.ToString(out.ContentType) != "image/svg+xml" {
		t.Errorf("the card of the first spell is %.60q of %s in S3", got, aws.ToString(out.ContentType))
	}
	w.put(t, "from/s3 é", []byte("hello"))
	if got := mustEnter(t, c, "http://example.com/files/from/s3%20%C3%A9"); got != "hello" {
		t.Errorf("an object of S3 is %q in /files", got)
	}
	// A client of S3 that knows the cloud by its first name, bucket in the path.
	byPath := newS3("http://example.com", through, pathStyle)
	if out, err := byPath.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &w.bucket, Key: aws.String("from/s3 é")}); err != nil || aws.ToInt64(out.ContentLength) != 5 {
		t.Errorf("by http://example.com/files: %v", err)
	}
	// Made inside, where the host is another, and used outside.
	inside, err := s3.NewPresignClient(newS3("http://object-storage:8007", nil, pathStyle)).
		PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: &w.bucket, Key: aws.String("from/s3 é")})
	if err != nil {
		t.Fatal(err)
	}
	outside := strings.Replace(inside.URL, "object-storage:8007", c.Where(t, "object-storage"), 1)
	resp, err := http.Get(outside)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello" {
		t.Errorf("a URL that was made for object-storage:8007 gives %s %s outside, %v", resp.Status, body, err)
	}
	if _, err := w.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &w.bucket, Key: aws.String("from/s3 é")}); err != nil {
		t.Errorf("delete: %v", err)
	}
}

// userTree is what a user might want to keep elsewhere.
func userTree() tree {
	t := tree{
		"empty":                     "",
		"read me.txt":               "hello",
		"photos/2026/é ü 日本.jpg":    string(picture()),
		"photos/2026/a+b&c=d;e.jpg": "x",
		"deep/1/2/3/4/5/6/7":        "deep",
		"seven-megabytes":           strings.Repeat("seven bytes", 7<<20/11), // in parts
	}
	for n := range 60 {
		t[fmt.Sprintf("many/%02d", n)] = fmt.Sprintf("file %d", n)
	}
	return t
}

// tool runs a program that has to succeed.
func tool(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	// What this machine's user has of AWS is none of the test's.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func s3cmd(t *testing.T, c cloud) {
	program, err := exec.LookPath("s3cmd")
	if err != nil {
		t.Skip("SKIPPED: s3cmd is not installed")
	}
	up, down := t.TempDir(), t.TempDir()
	files := userTree()
	if err := files.write(up); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "s3cfg")
	where := c.Where(t, "object-storage")
	text := fmt.Sprintf("[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = False\nmultipart_chunk_size_mb = 5\n",
		accessKey, secretKey, where, where)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		return tool(t, nil, program, append([]string{"-c", config, "--no-progress"}, args...)...)
	}
	run("mb", "s3://s3cmd")
	run("sync", up+"/", "s3://s3cmd/tree/")
	run("sync", "s3://s3cmd/tree/", down+"/")
	files.check(t, down)
	if out := run("sync", "--dry-run", up+"/", "s3://s3cmd/tree/"); strings.Contains(out, "upload:") {
		t.Errorf("a second sync would upload again:\n%s", out)
	}
	if out := run("ls", "s3://s3cmd/tree/"); !strings.Contains(out, "s3://s3cmd/tree/photos/") || !strings.Contains(out, "s3://s3cmd/tree/read me.txt") {
		t.Errorf("ls: %s", out)
	}
	run("cp", "s3://s3cmd/tree/read me.txt", "s3://s3cmd/copy.txt")
	run("mv", "s3://s3cmd/copy.txt", "s3://s3cmd/moved.txt")
	if out := run("get", "s3://s3cmd/moved.txt", "-"); !strings.Contains(out, "hello") {
		t.Errorf("get: %s", out)
	}
	run("del", "--recursive", "--force", "s3://s3cmd/")
	run("rb", "s3://s3cmd")
}

func rclone(t *testing.T, c cloud) {
	program, err := exec.LookPath("rclone")
	if err != nil {
		t.Skip("SKIPPED: rclone is not installed")
	}
	up, down := t.TempDir(), t.TempDir()
	files := userTree()
	if err := files.write(up); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"RCLONE_CONFIG=" + filepath.Join(t.TempDir(), "none"), "RCLONE_CONFIG_CLOUD_TYPE=s3", "RCLONE_CONFIG_CLOUD_PROVIDER=Other",
		"RCLONE_CONFIG_CLOUD_ACCESS_KEY_ID=" + accessKey, "RCLONE_CONFIG_CLOUD_SECRET_ACCESS_KEY=" + secretKey,
		"RCLONE_CONFIG_CLOUD_ENDPOINT=http://" + c.Where(t, "object-storage"), "RCLONE_S3_UPLOAD_CUTOFF=5M", "RCLONE_S3_CHUNK_SIZE=5M", "RCLONE_RETRIES=1",
	}
	run := func(args ...string) string { return tool(t, env, program, args...) }
	run("mkdir", "cloud:rclone")
	run("sync", up, "cloud:rclone/tree")
	run("check", up, "cloud:rclone/tree")
	run("sync", "cloud:rclone/tree", down)
	files.check(t, down)
	if err := os.Remove(filepath.Join(up, "read me.txt")); err != nil {
		t.Fatal(err)
	}
	run("sync", up, "cloud:rclone/tree")
	if out := run("lsf", "cloud:rclone/tree"); strings.Contains(out, "read me.txt") || !strings.Contains(out, "photos/") {
		t.Errorf("lsf after a file was removed and synced: %s", out)
	}
	run("copyto", "cloud:rclone/tree/seven-megabytes", "cloud:rclone/copy") // on the server
	run("moveto", "cloud:rclone/copy", "cloud:rclone/moved")
	run("check", "--one-way", "--include", "/empty", up, "cloud:rclone/tree")
	run("purge", "cloud:rclone")
}

// certificate makes one that is its own authority, for 127.0.0.1 and localhost.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost", "*.localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(cert)
	return certFile, keyFile, pool
}

// The SDK signs and sums otherwise where the connection is encrypted.
func TestS3OverHTTPS(t *testing.T) {
	certFile, keyFile, pool := certificate(t)
	secure := "127.0.0.1:" + freePort(t)
	s := newStorage(t, fmt.Sprintf("listen_tls = %q\ntls_cert = %q\ntls_key = %q", secure, certFile, keyFile))
	s.start(t)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, secure) // whatever the name
		}}
	defer transport.CloseIdleConnections()
	hc := &http.Client{Transport: transport, Timeout: patience}
	_, port, _ := net.SplitHostPort(secure)
	endpoint := (&url.URL{Scheme: "https", Host: "localhost:" + port}).String()
	for _, w := range []way{
		{"virtual-host style", "virtual", newS3(endpoint, hc), hc},
		{"path style", "path", newS3("https://"+secure, hc, pathStyle), hc},
	} {
		t.Run(w.name, func(t *testing.T) {
			if _, err := w.client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &w.bucket}); err != nil {
				t.Fatalf("create the bucket: %v", err)
			}
			s3Objects(t, w)
			s3Presigned(t, w)
			s3Multipart(t, w)
			// A body whose length is not known goes in chunks with a trailer.
			if _, err := w.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &w.bucket, Key: aws.String("stream"),
				Body: io.LimitReader(strings.NewReader(strings.Repeat("stream", 100_000)), 600_000), ContentLength: aws.Int64(600_000)}); err != nil {
				t.Fatalf("put a stream: %v", err)
			}
			if got, _ := w.get(t, "stream"); string(got) != strings.Repeat("stream", 100_000) {
				t.Errorf("the stream came back as %d bytes", len(got))
			}
		})
	}
}
