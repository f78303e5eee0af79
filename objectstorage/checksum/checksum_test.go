package checksum

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// known are checksums that other implementations agree on.
var known = map[string]map[Algorithm]string{
	"abcdefg": {
		CRC32: "MSpqpg==", CRC32C: "5if0QQ==", CRC64NVME: "SmzZ/LTp1CA=", MD5: "esZsDxSN6VGbi9JkMSxNZA==",
		SHA1: "L7XhNBn8iSRoZeejJPR27GJOh0A=", SHA256: "fRpUEnsiJQL1t5tfsIAwYRUqRPkrN+I8ZSe69mXU2po=",
		SHA512:   "1xakGIVptoqxtt+sF45XARTN8Oo6HMDjFIbD5BJBvGp2Qk6MN6sm8Jb8he+YhsjLY0GH9P3f9kX7CZ8f9UxrjA==",
		XXHash64: "GGCUDikCgi0=", XXHash3: "WkDcP9RMBS8=", XXHash128: "Kq/YOGmlnDE/55jA7aptxg==",
	},
	"dummy data": {
		CRC32: "QWaN2w==", CRC32C: "R/I7iQ==", CRC64NVME: "dPVWc2vU1+Q=", MD5: "Mb+5cwrlGvc5U7pyDIZg1w==",
		SHA1: "YR/1TvTYOJz5gtqVFoBJBtmTibY=", SHA256: "eXuwq/95jXIAr3aF3KeQHt/8Ur8mUA1b2XKCZY7iQVI=",
		XXHash64: "vYOmFpsGXtY=", XXHash3: "9J6xx21X+f8=", XXHash128: "menoCZOCZ2Acv4XMxaUR9w==",
	},
	"hello world": {CRC64NVME: "jSnVw/bqjr4="},
}

func TestChecksumsAreThoseOfOtherImplementations(t *testing.T) {
	for data, sums := range known {
		for a, want := range sums {
			if got := Of(a, []byte(data)); got != want {
				t.Errorf("%s of %q: %s, expected %s", a, data, got, want)
			}
			if !a.Valid(want) {
				t.Errorf("%s %s is not taken for valid", a, want)
			}
		}
	}
}

// XXH3 has another way for almost every length; these are the reference's sums of
// the bytes 0, 1, 2, …
func TestXXH3OfEveryKindOfLength(t *testing.T) {
	for _, test := range xxh3Vectors {
		data := make([]byte, test.length)
		for i := range data {
			data[i] = byte(i * 31)
		}
		if got := fmt.Sprintf("%x", sum(XXHash3, data)); got != test.sum64 {
			t.Errorf("64 bits of %d bytes: %s, expected %s", test.length, got, test.sum64)
		}
		if got := fmt.Sprintf("%x", sum(XXHash128, data)); got != test.sum128 {
			t.Errorf("128 bits of %d bytes: %s, expected %s", test.length, got, test.sum128)
		}
	}
}

func sum(a Algorithm, data []byte) []byte {
	h := New(a)
	h.Write(data)
	return h.Sum(nil)
}

func TestHowABodyIsCutDoesNotMatter(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 5000)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	for _, a := range Algorithms() {
		for n := 0; n < len(data); n += 1 + random.IntN(500) {
			h, want := New(a), sum(a, data[:n])
			for rest := data[:n]; len(rest) > 0; {
				k := 1 + random.IntN(len(rest))
				h.Write(rest[:k])
				rest = rest[k:]
				h.Sum(nil) // changes nothing
			}
			if got := h.Sum(nil); !bytes.Equal(got, want) || len(got) != a.Size() || h.Size() != a.Size() {
				t.Fatalf("%s of %d bytes in pieces: %x, expected %x", a, n, got, want)
			}
			h.Reset()
			h.Write(data[:n])
			if got := h.Sum(nil); !bytes.Equal(got, want) {
				t.Fatalf("%s after Reset: %x, expected %x", a, got, want)
			}
		}
	}
}

func TestCRC64IsThatOfTheStandardLibrary(t *testing.T) {
	table := crc64.MakeTable(nvme)
	data := bytes.Repeat([]byte("0123456789abcdef!"), 300)
	for n := range 200 {
		if got, want := sum(CRC64NVME, data[n:len(data)-n]), crc64.Checksum(data[n:len(data)-n], table); fmt.Sprintf("%016x", want) != fmt.Sprintf("%x", got) {
			t.Fatalf("got %x, expected %016x", got, want)
		}
	}
}

func TestCombineGivesTheChecksumOfTheWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, a := range []Algorithm{CRC32, CRC32C, CRC64NVME} {
		for range 20 {
			var whole []byte
			var parts []Part
			for range 1 + random.IntN(6) {
				part := make([]byte, random.IntN(3000))
				for i := range part {
					part[i] = byte(random.Uint32())
				}
				whole = append(whole, part...)
				parts = append(parts, Part{Of(a, part), int64(len(part))})
			}
			if got, err := Combine(a, parts); err != nil || got != Of(a, whole) {
				t.Fatalf("%s of %d parts: %s, %v; expected %s", a, len(parts), got, err, Of(a, whole))
			}
		}
	}
}

func TestCombineOfLargePartsIsThatOfZeros(t *testing.T) {
	zeros := make([]byte, 1<<20)
	h := New(CRC64NVME)
	for range 8 {
		h.Write(zeros)
	}
	part := Part{Of(CRC64NVME, zeros), 1 << 20}
	parts := make([]Part, 8)
	for i := range parts {
		parts[i] = part
	}
	if got, err := Combine(CRC64NVME, parts); err != nil || got != Encode(h) {
		t.Errorf("%s, %v; expected %s", got, err, Encode(h))
	}
}

func TestCombineAndCompositeRefuseWhatTheyCannot(t *testing.T) {
	if _, err := Combine(SHA256, []Part{{Of(SHA256, nil), 0}}); err == nil {
		t.Error("SHA256 was combined")
	}
	if _, err := Combine(CRC32, []Part{{"MSpqpg", 7}}); err == nil {
		t.Error("a value that is no base64 was combined")
	}
	if _, err := Combine(CRC32, []Part{{"MSpqpg==", -1}}); err == nil {
		t.Error("a negative length was combined")
	}
	if _, err := Composite(CRC64NVME, nil); err == nil {
		t.Error("a composite CRC64NVME was made")
	}
	if _, err := Composite(SHA1, []string{"x"}); err == nil {
		t.Error("a value that is no checksum was taken")
	}
}

func TestCompositeIsTheHashOfTheHashes(t *testing.T) {
	a, b := sum(SHA256, []byte("a")), sum(SHA256, []byte("b"))
	got, err := Composite(SHA256, []string{Of(SHA256, []byte("a")), Of(SHA256, []byte("b"))})
	if want := Of(SHA256, append(a, b...)); err != nil || got != want {
		t.Errorf("%s, %v; expected %s", got, err, want)
	}
}

func TestReaderChecksWhatWasRead(t *testing.T) {
	r := NewReader(iotest.OneByteReader(strings.NewReader("abcdefg")), CRC32)
	if got, err := io.ReadAll(r); err != nil || string(got) != "abcdefg" {
		t.Fatalf("%q, %v", got, err)
	}
	if err := r.Check("MSpqpg=="); err != nil || r.Sum() != "MSpqpg==" {
		t.Errorf("%s: %v", r.Sum(), err)
	}
	var refused *Error
	if err := r.Check("QWaN2w=="); !errors.As(err, &refused) || refused.Code != "BadDigest" ||
		refused.Message != "The CRC32 you specified did not match the calculated checksum." {
		t.Errorf("%v", err)
	}
	none := NewReader(strings.NewReader("abc"), "")
	io.Copy(io.Discard, none)
	if none.Sum() != "" || none.Check("anything") != nil {
		t.Error("a reader without an algorithm computed something")
	}
}

func header(fields ...string) http.Header {
	h := make(http.Header)
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return h
}

func TestParseReadsWhatARequestDeclares(t *testing.T) {
	for name, test := range map[string]struct {
		h    http.Header
		want Declared
		err  string
	}{
		"nothing":                       {h: header("Content-Type", "x")},
		"a value":                       {h: header("x-amz-checksum-crc32", "MSpqpg=="), want: Declared{CRC32, "MSpqpg==", false}},
		"a value and its name":          {h: header("x-amz-checksum-sha1", "L7XhNBn8iSRoZeejJPR27GJOh0A=", "x-amz-sdk-checksum-algorithm", "sha1"), want: Declared{SHA1, "L7XhNBn8iSRoZeejJPR27GJOh0A=", false}},
		"a trailer":                     {h: header("x-amz-trailer", "x-amz-checksum-crc64nvme", "x-amz-sdk-checksum-algorithm", "CRC64NVME"), want: Declared{CRC64NVME, "", true}},
		"type and algorithm are no sum": {h: header("x-amz-checksum-type", "FULL_OBJECT", "x-amz-checksum-algorithm", "CRC32", "x-amz-checksum-mode", "ENABLED")},
		"an unknown algorithm":          {h: header("x-amz-sdk-checksum-algorithm", "crc16"), err: "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256, SHA512, XXHASH128, XXHASH3, XXHASH64]"},
		"a name without a value":        {h: header("x-amz-sdk-checksum-algorithm", "crc32"), err: "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."},
		"two values":                    {h: header("x-amz-checksum-crc32", "MSpqpg==", "x-amz-checksum-crc32c", "5if0QQ=="), err: "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."},
		"one twice":                     {h: header("x-amz-checksum-crc32", "MSpqpg==", "x-amz-checksum-crc32", "MSpqpg=="), err: "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."},
		"a value and a trailer":         {h: header("x-amz-checksum-crc32", "MSpqpg==", "x-amz-trailer", "x-amz-checksum-crc32"), err: "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."},
		"another algorithm":             {h: header("x-amz-checksum-crc32", "MSpqpg==", "x-amz-sdk-checksum-algorithm", "sha1"), err: "Value for x-amz-sdk-checksum-algorithm header is invalid."},
		"another algorithm's trailer":   {h: header("x-amz-trailer", "x-amz-checksum-crc64nvme", "x-amz-sdk-checksum-algorithm", "sha1"), err: "Value for x-amz-sdk-checksum-algorithm header is invalid."},
		"no base64":                     {h: header("x-amz-checksum-crc32", "MSpqpg"), err: "Value for x-amz-checksum-crc32 header is invalid."},
		"of a wrong length":             {h: header("x-amz-checksum-sha256", "MSpqpg=="), err: "Value for x-amz-checksum-sha256 header is invalid."},
		"with a line break":             {h: header("x-amz-checksum-crc32", "MSpq\npg=="), err: "Value for x-amz-checksum-crc32 header is invalid."},
		"empty":                         {h: header("x-amz-checksum-crc32", ""), err: "Value for x-amz-checksum-crc32 header is invalid."},
		"a value of no algorithm":       {h: header("x-amz-checksum-crc16", "MSpqpg==", "x-amz-checksum-crc32", "MSpqpg=="), err: "The algorithm type you specified in x-amz-checksum- header is invalid."},
		"a trailer of no algorithm":     {h: header("x-amz-trailer", "x-amz-meta-a"), err: "The value specified in the x-amz-trailer header is not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(test.h)
			checkRefusal(t, err, test.err)
			if got != test.want {
				t.Errorf("%+v, expected %+v", got, test.want)
			}
		})
	}
}

func checkRefusal(t *testing.T, err error, message string) {
	t.Helper()
	var refused *Error
	switch {
	case message == "" && err != nil:
		t.Errorf("unexpected: %v", err)
	case message != "" && (!errors.As(err, &refused) || refused.Code != "InvalidRequest" || refused.Message != message):
		t.Errorf("%v, expected %s", err, message)
	}
}

func TestParseFormReadsTheFieldsOfAForm(t *testing.T) {
	got, err := ParseForm(map[string]string{"x-amz-checksum-crc32": "MSpqpg==", "x-amz-checksum-algorithm": "CRC32", "key": "a"})
	if err != nil || got != (Declared{CRC32, "MSpqpg==", false}) {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = ParseForm(map[string]string{"x-amz-checksum-crc32": "invalid"})
	checkRefusal(t, err, "Value for x-amz-checksum-crc32 header is invalid.")
	_, err = ParseForm(map[string]string{"x-amz-checksum-crc32": "MSpqpg==", "x-amz-checksum-crc32c": "5if0QQ=="})
	checkRefusal(t, err, "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
	_, err = ParseForm(map[string]string{"x-amz-checksum-invalid": "x"})
	checkRefusal(t, err, "The algorithm type you specified in x-amz-checksum- header is invalid.")
}

func TestParseCreateChoosesTheType(t *testing.T) {
	for name, test := range map[string]struct {
		h    http.Header
		a    Algorithm
		kind string
		err  string
	}{
		"nothing":              {h: header()},
		"a CRC":                {h: header("x-amz-checksum-algorithm", "crc32"), a: CRC32, kind: OfParts},
		"CRC64NVME":            {h: header("x-amz-checksum-algorithm", "CRC64NVME"), a: CRC64NVME, kind: FullObject},
		"a CRC of all":         {h: header("x-amz-checksum-algorithm", "CRC32C", "x-amz-checksum-type", "full_object"), a: CRC32C, kind: FullObject},
		"a hash of all":        {h: header("x-amz-checksum-algorithm", "SHA1", "x-amz-checksum-type", "FULL_OBJECT"), err: "The FULL_OBJECT checksum type cannot be used with the sha1 checksum algorithm."},
		"CRC64NVME of parts":   {h: header("x-amz-checksum-algorithm", "CRC64NVME", "x-amz-checksum-type", "COMPOSITE"), err: "The COMPOSITE checksum type cannot be used with the crc64nvme checksum algorithm."},
		"a type alone":         {h: header("x-amz-checksum-type", "COMPOSITE"), err: "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."},
		"an unknown type":      {h: header("x-amz-checksum-algorithm", "SHA1", "x-amz-checksum-type", "HALF"), err: "Value for x-amz-checksum-type header is invalid."},
		"an unknown algorithm": {h: header("x-amz-checksum-algorithm", "X"), err: "Checksum algorithm provided is unsupported. Please try again with any of the valid types: " + names()},
	} {
		t.Run(name, func(t *testing.T) {
			a, kind, err := ParseCreate(test.h)
			checkRefusal(t, err, test.err)
			if a != test.a || kind != test.kind {
				t.Errorf("%s %s, expected %s %s", a, kind, test.a, test.kind)
			}
		})
	}
}

func TestFieldsAndAlgorithmsBelongTogether(t *testing.T) {
	for _, a := range Algorithms() {
		if got, ok := FromField(strings.ToUpper(a.Field())); !ok || got != a {
			t.Errorf("%s: %s", a.Field(), got)
		}
	}
	for _, field := range []string{"x-amz-checksum-", "x-amz-checksum-type", "x-amz-meta-crc32", ""} {
		if a, ok := FromField(field); ok {
			t.Errorf("%q is taken for %s", field, a)
		}
	}
}

func BenchmarkChecksum(b *testing.B) {
	data := make([]byte, 32<<10)
	for _, a := range Algorithms() {
		b.Run(string(a), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			h := New(a)
			for b.Loop() {
				h.Write(data)
			}
		})
	}
}
