package sigv4

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// unsignedBody returns the body of a request whose chunks are not signed.
func unsignedBody(t *testing.T, wire io.Reader, size int, trailer string) *Body {
	t.Helper()
	r := &http.Request{Body: io.NopCloser(wire), Header: http.Header{}}
	r.Header.Set("X-Amz-Content-Sha256", chunksUnsigned)
	r.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(size))
	if trailer != "" {
		r.Header.Set("X-Amz-Trailer", trailer)
	}
	var anonymous *Identity
	body, err := anonymous.Body(r)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

const crc64 = "x-amz-checksum-crc64nvme"

func TestUnsignedChunks(t *testing.T) {
	large := strings.Repeat("x", 8192)
	for name, test := range map[string]struct {
		wire          string
		size          int
		trailer       string
		code, message string
	}{
		"a trailer":                     {"5\r\nhello\r\n0\r\nx-amz-checksum-crc64nvme:M3eFcAZSQlc=\r\n\r\n", 5, crc64, "", ""},
		"a trailer as minio-go has it":  {"5\r\nhello\r\n0\r\nx-amz-checksum-crc64nvme:M3eFcAZSQlc=\n\r\n\r\n", 5, crc64, "", ""},
		"no trailer":                    {"b\r\nhello world\r\n0\r\n\r\n", 11, "", "", ""},
		"capitals and zeros":            {"00B\r\nhello world\r\n000\r\n\r\n", 11, "", "", ""},
		"empty":                         {"0\r\n\r\n", 0, "", "", ""},
		"two chunks":                    {"2000\r\n" + large + "\r\n1\r\nx\r\n0\r\n\r\n", 8193, "", "", ""},
		"a small chunk before another":  {"1\r\nx\r\n2000\r\n" + large + "\r\n0\r\n\r\n", 8193, "", "InvalidChunkSizeError", "Only the last chunk is allowed to have a size less than 8192 bytes"},
		"small chunks":                  {"1\r\nx\r\n1\r\nx\r\n1\r\nx\r\n0\r\n\r\n", 3, "", "InvalidChunkSizeError", "Only the last chunk is allowed to have a size less than 8192 bytes"},
		"a missing trailer":             {"5\r\nhello\r\n0\r\n\r\n", 5, crc64, "MalformedTrailerError", errTrailer().Message},
		"a trailer without a name":      {"5\r\nhello\r\n0\r\n:M3eFcAZSQlc=\r\n\r\n", 5, crc64, "MalformedTrailerError", errTrailer().Message},
		"a trailer that was no news":    {"5\r\nhello\r\n0\r\nx-amz-checksum-crc64nvme:M3eFcAZSQlc=\r\n\r\n", 5, "", "MalformedTrailerError", errTrailer().Message},
		"another trailer":               {"5\r\nhello\r\n0\r\ninvalid_trailer:M3eFcAZSQlc=\r\n\r\n", 5, crc64, "MalformedTrailerError", errTrailer().Message},
		"a trailer of another name":     {"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", 5, crc64, "MalformedTrailerError", errTrailer().Message},
		"a trailer that is no checksum": {"5\r\nhello\r\n0\r\nx-amz-checksum-crc64nvme:invalid\r\n\r\n", 5, crc64, "InvalidRequest", "Value for x-amz-checksum-crc64nvme trailing header is invalid."},
		"two trailers":                  {"5\r\nhello\r\n0\r\nx-amz-checksum-crc64nvme:M3eFcAZSQlc=\r\nx-amz-checksum-crc64nvme:M3eFcAZSQlc=\r\n\r\n", 5, crc64, "IncompleteBody", errIncomplete().Message},
		"a line feed alone":             {"A\ndummy data\r\n0\r\n\r\n", 10, crc64, "IncompleteBody", errIncomplete().Message},
		"no end of a chunk":             {"A\r\ndummy data0\r\n\r\n", 10, crc64, "IncompleteBody", errIncomplete().Message},
		"a chunk longer than its size":  {"A\r\nXYZ\r\ndummy data\r\n0\r\n\r\n", 10, crc64, "IncompleteBody", errIncomplete().Message},
		"a chunk shorter than its size": {"B\r\ndummy data\r\n0\r\n\r\n", 10, crc64, "IncompleteBody", errIncomplete().Message},
		"no end":                        {"A\r\ndummy data\r\n0\r\n", 10, crc64, "IncompleteBody", errIncomplete().Message},
		"no end of the trailer":         {"A\r\ndummy data\r\n0\r\nx-amz-checksum-crc64nvme:dPVWc2vU1+Q=\r\n", 10, crc64, "IncompleteBody", errIncomplete().Message},
		"nothing but a size":            {"A\r\n", 10, crc64, "IncompleteBody", errIncomplete().Message},
		"nothing":                       {"", 10, crc64, "IncompleteBody", errIncomplete().Message},
		"a size that is none":           {"size\r\ndummy data\r\n0\r\n\r\n", 10, "", "IncompleteBody", errIncomplete().Message},
		"a negative size":               {"-A\r\ndummy data\r\n0\r\n\r\n", 10, "", "IncompleteBody", errIncomplete().Message},
		"an empty size":                 {"\r\n0\r\n\r\n", 0, "", "IncompleteBody", errIncomplete().Message},
		"a size beyond all":             {"ffffffffffffffff\r\n", 10, "", "IncompleteBody", errIncomplete().Message},
		"an extension":                  {"A;x=y\r\ndummy data\r\n0\r\n\r\n", 10, "", "IncompleteBody", errIncomplete().Message},
		"a last size that is none":      {"A\r\ndummy data\r\nJ\r\n\r\n", 10, "", "IncompleteBody", errIncomplete().Message},
		"a line without end":            {strings.Repeat("0", 1<<20), 10, "", "IncompleteBody", errIncomplete().Message},
		"more behind the end":           {"A\r\ndummy data\r\n0\r\n\r\nmore", 10, "", "IncompleteBody", errIncomplete().Message},
		"more than announced":           {"b\r\nabcdefghijk\r\n0\r\n\r\n", 5, "", "IncompleteBody", errLength().Message},
		"much more than announced":      {"fffffff\r\nabcdefghijk", 5, "", "IncompleteBody", errLength().Message},
		"less than announced":           {"b\r\nabcdefghijk\r\n0\r\n\r\n", 200, "", "IncompleteBody", errLength().Message},
		"less, and another trailer":     {"a\r\ndummy data\r\n0\r\nx-amz-checksum-sha256:eXuwq/95jXIAr3aF3KeQHt/8Ur8mUA1b2XKCZY7iQVI=\r\n\r\n", 7, crc64, "IncompleteBody", errLength().Message},
	} {
		t.Run(name, func(t *testing.T) {
			for how, wrap := range map[string]func(io.Reader) io.Reader{
				"at once": func(r io.Reader) io.Reader { return r }, "in bytes": iotest.OneByteReader, "in halves": iotest.HalfReader, "with its end": iotest.DataErrReader,
			} {
				body := unsignedBody(t, wrap(strings.NewReader(test.wire)), test.size, test.trailer)
				data, err := io.ReadAll(body)
				if test.code != "" {
					expectRefusal(t, err, 400, test.code, test.message)
					if body.Trailer(crc64) != "" {
						t.Error("there is a trailer nevertheless")
					}
					continue
				}
				if err != nil || len(data) != test.size {
					t.Errorf("%s: %d bytes, %v", how, len(data), err)
				}
				if want := map[string]string{crc64: "M3eFcAZSQlc="}[test.trailer]; body.Trailer(crc64) != want {
					t.Errorf("%s: the trailer is %q", how, body.Trailer(crc64))
				}
			}
		})
	}
}

func TestAFailureOfTheSourceStaysWhatItIs(t *testing.T) {
	failure := fmt.Errorf("the disk is on fire")
	for _, wire := range []string{"", "A", "A\r\ndummy", "A\r\ndummy data\r\n0\r\n"} {
		body := unsignedBody(t, io.MultiReader(strings.NewReader(wire), iotest.ErrReader(failure)), 10, "")
		if _, err := io.ReadAll(body); err != failure {
			t.Errorf("after %q: %v", wire, err)
		}
	}
}

func TestTheChunkThatIsTooSmallIsNamed(t *testing.T) {
	_, err := io.ReadAll(unsignedBody(t, strings.NewReader("64\r\n"+strings.Repeat("x", 100)+"\r\n1\r\nx\r\n0\r\n\r\n"), 101, ""))
	if e := refusal(t, err); e.field("Chunk") != "1" || e.field("BadChunkSize") != "100" {
		t.Errorf("the fields are %q", e.Extra)
	}
}

// signedUpload makes a request with signed chunks; the SDK signs it and them.
func signedUpload(t testing.TB, data []byte, chunk int, trailer string) (*http.Request, []byte) {
	t.Helper()
	ctx, credentials := context.Background(), aws.Credentials{AccessKeyID: exampleCredential.AccessKey, SecretAccessKey: exampleCredential.SecretKey}
	payload := chunksSigned
	name, _, _ := strings.Cut(trailer, ":")
	r := httptest.NewRequest("PUT", "http://s3.example.com/bucket/key", nil)
	r.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(len(data)))
	if trailer != "" {
		payload = chunksTrailer
		r.Header.Set("X-Amz-Trailer", name)
	}
	r.Header.Set("X-Amz-Content-Sha256", payload)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, r, payload, "s3", "us-east-1", exampleTime); err != nil {
		t.Fatal(err)
	}
	_, seed, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	raw, err := hex.DecodeString(seed)
	if err != nil {
		t.Fatal(err)
	}
	stream := v4.NewStreamSigner(credentials, "s3", "us-east-1", raw)
	var wire bytes.Buffer
	last := ""
	for ended := false; !ended; {
		part := data[:min(chunk, len(data))]
		data, ended = data[len(part):], len(part) == 0
		signature, err := stream.GetSignature(ctx, nil, part, exampleTime)
		if err != nil {
			t.Fatal(err)
		}
		last = hex.EncodeToString(signature)
		fmt.Fprintf(&wire, "%x;chunk-signature=%s\r\n%s", len(part), last, part)
		if !ended {
			wire.WriteString("\r\n")
		}
	}
	if trailer != "" {
		// The SDK does not sign trailers.
		c := newChain(&Identity{signature: last, date: "20130524T000000Z", scope: "20130524/us-east-1/s3/aws4_request",
			key: deriveKey(exampleCredential.SecretKey, "20130524", "us-east-1")})
		c.hash.Write([]byte(trailer + "\n"))
		_ = c.verifyTrailer() // computes the right signature in any case
		fmt.Fprintf(&wire, "%s\r\nx-amz-trailer-signature:%s\r\n", trailer, c.previous[:])
	}
	wire.WriteString("\r\n")
	return r, wire.Bytes()
}

func readSigned(t testing.TB, r *http.Request, wire io.Reader) ([]byte, *Body, error) {
	t.Helper()
	id, err := verifierAt(exampleTime).Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	r.Body = io.NopCloser(wire)
	body, err := id.Body(r)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(body)
	return data, body, err
}

func TestSignedChunksAreThoseOfTheSDK(t *testing.T) {
	for _, test := range []struct{ size, chunk int }{{0, 10}, {18, 8192}, {10000, 8192}, {16384, 8192}, {20000, 9000}} {
		for _, trailer := range []string{"", "x-amz-checksum-crc32:QWaN2w=="} {
			data := bytes.Repeat([]byte("d"), test.size)
			r, wire := signedUpload(t, data, test.chunk, trailer)
			got, body, err := readSigned(t, r, iotest.HalfReader(bytes.NewReader(wire)))
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%+v: %d bytes, %v", test, len(got), err)
			}
			if trailer != "" && body.Trailer("x-amz-checksum-crc32") != "QWaN2w==" {
				t.Errorf("the trailer is %q", body.Trailer("x-amz-checksum-crc32"))
			}
		}
	}
}

func TestASignedTrailerAsMinioGoHasIt(t *testing.T) {
	r, wire := signedUpload(t, []byte("dummy data"), 8192, "x-amz-checksum-crc32:QWaN2w==")
	wire = bytes.Replace(wire, []byte("==\r\n"), []byte("==\n\r\n"), 1)
	if data, body, err := readSigned(t, r, bytes.NewReader(wire)); err != nil || string(data) != "dummy data" || body.Trailer("x-amz-checksum-crc32") == "" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestSignedChunksThatWereCutUp(t *testing.T) {
	const payload = "dummy data paylaod"
	for _, test := range []struct {
		from, to int
		with     string
	}{
		{0, 2, "j"}, {83, 85, ""}, {83, 85, "dd"}, {103, 105, ""}, {103, 105, "something invalid"}, {187, 191, "bbbb"},
		{190, 191, "s"}, {2, 3, ":"}, {3, 19, ""}, {19, 24, ""}, {191, 191, "x"}, {10, 191, ""},
	} {
		r, wire := signedUpload(t, []byte(payload), 8192, "")
		_, _, err := readSigned(t, r, io.MultiReader(bytes.NewReader(wire[:test.from]), strings.NewReader(test.with), bytes.NewReader(wire[test.to:])))
		if e := refusal(t, err); e.Message != errIncomplete().Message {
			t.Errorf("%+v: %v", test, err)
		}
	}
	for _, test := range []struct {
		from, to int
		with     string
	}{
		{175, 176, "k"}, {175, 177, "cc"}, {215, 216, "bcd"}, {220, 223, "invalid"}, {230, 235, "abcd"}, {241, 245, "abcde"}, {306, 308, "pp"}, {304, 308, "erty"},
	} {
		r, wire := signedUpload(t, []byte("abcdefg"), 8192, "x-amz-checksum-crc64nvme:SmzZ/LTp1CA=")
		_, _, err := readSigned(t, r, io.MultiReader(bytes.NewReader(wire[:test.from]), strings.NewReader(test.with), bytes.NewReader(wire[test.to:])))
		if e := refusal(t, err); e.Message != errIncomplete().Message {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

func TestForgedChunksAreRefused(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1024) // two chunks
	second := 85 + 2 + 8192 + 2                            // where the line of the second begins: 2000;…
	for name, forge := range map[string]func([]byte) []byte{
		"a byte of the first chunk":   func(w []byte) []byte { w[200] ^= 1; return w },
		"a byte of the last chunk":    func(w []byte) []byte { w[second+200] ^= 1; return w },
		"the signature of a chunk":    func(w []byte) []byte { w[25] = 'f' - (w[25] & 1); w[26] = w[25]; return w },
		"the signature of the end":    func(w []byte) []byte { w[len(w)-8] ^= 1; return w },
		"chunks in another order":     func(w []byte) []byte { return append(append(clip(w[second:2*second]), w[:second]...), w[2*second:]...) },
		"the first chunk twice":       func(w []byte) []byte { return append(append(clip(w[:second]), w[:second]...), w[2*second:]...) },
		"the signatures of the first": func(w []byte) []byte { copy(w[second:second+85], w[:85]); return w },
	} {
		t.Run(name, func(t *testing.T) {
			r, wire := signedUpload(t, data, 8192, "")
			_, _, err := readSigned(t, r, bytes.NewReader(forge(wire)))
			e := expectRefusal(t, err, 403, "SignatureDoesNotMatch", mismatch)
			if !strings.HasPrefix(e.field("StringToSign"), "AWS4-HMAC-SHA256-PAYLOAD\n20130524T000000Z\n") {
				t.Errorf("the fields are %q", e.Extra)
			}
		})
	}
	t.Run("the trailer", func(t *testing.T) {
		r, wire := signedUpload(t, []byte("dummy data"), 8192, "x-amz-checksum-crc32:QWaN2w==")
		_, _, err := readSigned(t, r, bytes.NewReader(bytes.Replace(wire, []byte("QWaN2w=="), []byte("MSpqpg=="), 1)))
		expectRefusal(t, err, 403, "SignatureDoesNotMatch", mismatch)
	})
	t.Run("the end left out", func(t *testing.T) {
		r, wire := signedUpload(t, data, 8192, "")
		_, _, err := readSigned(t, r, bytes.NewReader(wire[:2*second]))
		expectRefusal(t, err, 400, "IncompleteBody", errIncomplete().Message)
	})
}

func clip(b []byte) []byte { return b[:len(b):len(b)] }

func TestSignedTrailersThatAreMalformed(t *testing.T) {
	for _, test := range []struct{ announced, sent string }{
		{crc64, "x-amz-invalid:invalid"}, {crc64, ""}, {"x-amz-checksum-sha1", "x-amz-checksum-crc32:QWaN2w=="}, {"", "x-amz-checksum-crc32:QWaN2w=="},
	} {
		announced := test.announced
		if announced == "" {
			announced = "none"
		}
		r, wire := signedUpload(t, []byte("dummy data"), 8192, announced+":QWaN2w==")
		if test.announced == "" {
			r.Header.Del("X-Amz-Trailer")
			Sign(r, exampleCredential, "us-east-1", exampleTime, chunksTrailer)
			wire = resign(t, r, "dummy data")
		}
		wire = bytes.Replace(wire, []byte(announced+":QWaN2w=="), []byte(test.sent), 1)
		_, _, err := readSigned(t, r, bytes.NewReader(wire))
		expectRefusal(t, err, 400, "MalformedTrailerError", errTrailer().Message)
	}
}

// resign makes the chunks of a body for a request that is signed already, with the
// trailer none:QWaN2w==.
func resign(t *testing.T, r *http.Request, data string) []byte {
	t.Helper()
	id, err := verifierAt(exampleTime).Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	c := newChain(id)
	var wire bytes.Buffer
	for _, part := range []string{data, ""} {
		c.hash.Write([]byte(part))
		_ = c.verifyChunk()
		fmt.Fprintf(&wire, "%x;chunk-signature=%s\r\n%s", len(part), c.previous[:], part)
		if part != "" {
			wire.WriteString("\r\n")
		}
	}
	c.hash.Write([]byte("none:QWaN2w==\n"))
	_ = c.verifyTrailer()
	fmt.Fprintf(&wire, "none:QWaN2w==\r\nx-amz-trailer-signature:%s\r\n\r\n", c.previous[:])
	return wire.Bytes()
}

func BenchmarkSignedChunks(b *testing.B) {
	data := make([]byte, 1<<20)
	r, wire := signedUpload(b, data, 64<<10, "")
	id, err := verifierAt(exampleTime).Verify(r)
	if err != nil {
		b.Fatal(err)
	}
	buffer := make([]byte, 32<<10)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(bytes.NewReader(wire))
		body, err := id.Body(r)
		for err == nil {
			_, err = body.Read(buffer)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
}
