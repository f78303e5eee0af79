package checksum

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// A Part is the checksum of a part, in base64, and its length in bytes.
type Part struct {
	Value string
	Size  int64
}

// Combine returns the checksum of the whole object that consists of parts, in
// their order: what hashing all their bytes would give, without them. Only the
// CRCs can do that ([Algorithm.Supports] with [FullObject]).
func Combine(a Algorithm, parts []Part) (string, error) {
	f, ok := fieldOf(a)
	if !ok {
		return "", fmt.Errorf("the %s of parts cannot be combined", a)
	}
	var sum [8]byte
	var crc uint64
	for i, part := range parts {
		value, err := a.decode(part.Value)
		if err != nil {
			return "", fmt.Errorf("combine part %d: %w", i+1, err)
		}
		if part.Size < 0 {
			return "", fmt.Errorf("combine part %d: it has %d bytes", i+1, part.Size)
		}
		copy(sum[8-len(value):], value)
		crc = f.shift(crc, part.Size) ^ binary.BigEndian.Uint64(sum[:])
	}
	binary.BigEndian.PutUint64(sum[:], crc)
	return base64.StdEncoding.EncodeToString(sum[8-a.Size():]), nil
}

// Composite returns the checksum of the parts' checksums, in their order; values
// are theirs in base64. S3 writes "-" and the number of parts behind it in most
// places.
func Composite(a Algorithm, values []string) (string, error) {
	if !a.Supports(OfParts) {
		return "", fmt.Errorf("there is no %s of checksums", a)
	}
	h := New(a)
	for i, value := range values {
		sum, err := a.decode(value)
		if err != nil {
			return "", fmt.Errorf("add part %d: %w", i+1, err)
		}
		h.Write(sum)
	}
	return Encode(h), nil
}
