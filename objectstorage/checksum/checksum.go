// Package checksum has the checksums of S3: those that a client declares in
// x-amz-checksum-… (or behind its body, as a trailer), those that are computed while
// a body is read, and those that an upload in parts gets from its parts.
//
// A body goes like this:
//
//	declared, err := checksum.Parse(request.Header)
//	body := checksum.NewReader(payload, declared.Algorithm) // read it to its end
//	err = body.Check(declared.Value)                        // or the trailer's value
//
// and an object of parts gets its checksum from [Combine] (FULL_OBJECT) or
// [Composite] (COMPOSITE).
//
// Nothing here is meant against somebody who forges a body: that is what the
// signature is for.
package checksum

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// An Algorithm is a checksum algorithm by the name that S3 gives it, in capitals.
// The zero value is none.
type Algorithm string

// The algorithms that S3 has.
const (
	CRC32     Algorithm = "CRC32"
	CRC32C    Algorithm = "CRC32C"
	CRC64NVME Algorithm = "CRC64NVME"
	MD5       Algorithm = "MD5"
	SHA1      Algorithm = "SHA1"
	SHA256    Algorithm = "SHA256"
	SHA512    Algorithm = "SHA512"
	XXHash128 Algorithm = "XXHASH128"
	XXHash3   Algorithm = "XXHASH3"
	XXHash64  Algorithm = "XXHASH64"
)

// Types of an object's checksum (x-amz-checksum-type).
const (
	FullObject = "FULL_OBJECT" // of all bytes
	OfParts    = "COMPOSITE"   // of the checksums of the parts
)

// prefix is what the names of the fields begin with.
const prefix = "x-amz-checksum-"

// Algorithms returns all algorithms, sorted by name.
func Algorithms() []Algorithm {
	return []Algorithm{CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256, SHA512, XXHash128, XXHash3, XXHash64}
}

// ParseAlgorithm returns the algorithm of a name, which may be in any case, as
// clients write it both ways.
func ParseAlgorithm(name string) (Algorithm, bool) {
	a := Algorithm(strings.ToUpper(name))
	return a, a.Size() > 0
}

// FromField returns the algorithm that a field such as "x-amz-checksum-crc32"
// carries. The name may be in any case.
func FromField(name string) (Algorithm, bool) {
	if len(name) <= len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
		return "", false
	}
	return ParseAlgorithm(name[len(prefix):])
}

// Field is the name of the field that carries a's values, in lower case:
// "x-amz-checksum-crc32".
func (a Algorithm) Field() string { return prefix + strings.ToLower(string(a)) }

// Size is the length of a's sums in bytes, before base64, and 0 for what is no
// algorithm.
func (a Algorithm) Size() int {
	switch a {
	case CRC32, CRC32C:
		return 4
	case CRC64NVME, XXHash64, XXHash3:
		return 8
	case MD5, XXHash128:
		return 16
	case SHA1:
		return 20
	case SHA256:
		return 32
	case SHA512:
		return 64
	}
	return 0
}

// Valid reports whether value is the base64 of one of a's sums.
func (a Algorithm) Valid(value string) bool {
	_, err := a.decode(value)
	return err == nil
}

func (a Algorithm) decode(value string) ([]byte, error) {
	sum, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil || len(sum) != a.Size() || len(sum) == 0 || strings.ContainsAny(value, "\r\n") {
		return nil, fmt.Errorf("%q is no %s checksum in base64", value, a)
	}
	return sum, nil
}

// Supports reports whether an object of parts can have a checksum of a of that
// type ([FullObject], [OfParts]).
func (a Algorithm) Supports(kind string) bool {
	switch kind {
	case FullObject:
		return a == CRC32 || a == CRC32C || a == CRC64NVME
	case OfParts:
		return a.Size() > 0 && a != CRC64NVME
	}
	return false
}

// DefaultType is the type that an upload in parts gets where its client names
// none.
func (a Algorithm) DefaultType() string {
	if a == CRC64NVME {
		return FullObject
	}
	return OfParts
}

// New returns a hash of a. Its Sum has the byte order that S3 wants. It panics
// where a is no algorithm: a comes from [ParseAlgorithm] or is one of the constants.
func New(a Algorithm) hash.Hash {
	switch a {
	case CRC32:
		return crc32.NewIEEE()
	case CRC32C:
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case CRC64NVME:
		return &crc64nvme{}
	case MD5:
		return md5.New()
	case SHA1:
		return sha1.New()
	case SHA256:
		return sha256.New()
	case SHA512:
		return sha512.New()
	case XXHash64:
		return xxhash.New()
	case XXHash3:
		return newXXH3(8)
	case XXHash128:
		return newXXH3(16)
	}
	panic(fmt.Sprintf("checksum: unknown algorithm %q", string(a)))
}

// Of returns the checksum of data, in base64.
func Of(a Algorithm, data []byte) string {
	h := New(a)
	h.Write(data)
	return Encode(h)
}

// Encode returns the sum of h as S3 writes it.
func Encode(h hash.Hash) string {
	var buffer [64]byte
	return base64.StdEncoding.EncodeToString(h.Sum(buffer[:0]))
}

// A Reader computes the checksum of what is read through it. It is used by one
// goroutine.
type Reader struct {
	source    io.Reader
	hash      hash.Hash
	algorithm Algorithm
}

// NewReader returns a Reader of r. Where a is "", nothing is computed.
func NewReader(r io.Reader, a Algorithm) *Reader {
	c := &Reader{source: r, algorithm: a}
	if a != "" {
		c.hash = New(a)
	}
	return c
}

func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.source.Read(p)
	if r.hash != nil && n > 0 {
		r.hash.Write(p[:n])
	}
	return n, err
}

// Algorithm returns what [NewReader] was given.
func (r *Reader) Algorithm() Algorithm { return r.algorithm }

// Sum returns the checksum of what was read so far, in base64, or "" where nothing
// is computed.
func (r *Reader) Sum() string {
	if r.hash == nil {
		return ""
	}
	return Encode(r.hash)
}

// Check returns an [*Error], BadDigest, unless want is empty or the checksum of
// what was read so far.
func (r *Reader) Check(want string) error {
	if want == "" || r.hash == nil || r.Sum() == want {
		return nil
	}
	return &Error{Code: "BadDigest", Message: fmt.Sprintf("The %s you specified did not match the calculated checksum.", r.algorithm)}
}

// An Error is a refusal. Its status is always 400 Bad Request.
type Error struct {
	Code    string // S3's: "InvalidRequest", "BadDigest"
	Message string // as S3 words it
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func invalid(format string, args ...any) error {
	return &Error{Code: "InvalidRequest", Message: fmt.Sprintf(format, args...)}
}
