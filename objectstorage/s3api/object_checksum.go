package s3api

import (
	"encoding/xml"
	"strings"

	"minicloud.internal/objectstorage/checksum"
	"minicloud.internal/objectstorage/store"
)

// checksumXML are the elements of a checksum, of which a document has one. It is
// embedded in the types of documents, read and written.
type checksumXML struct {
	ChecksumCRC32     string `xml:",omitempty"`
	ChecksumCRC32C    string `xml:",omitempty"`
	ChecksumCRC64NVME string `xml:",omitempty"`
	ChecksumMD5       string `xml:",omitempty"`
	ChecksumSHA1      string `xml:",omitempty"`
	ChecksumSHA256    string `xml:",omitempty"`
	ChecksumSHA512    string `xml:",omitempty"`
	ChecksumXXHASH128 string `xml:",omitempty"`
	ChecksumXXHASH3   string `xml:",omitempty"`
	ChecksumXXHASH64  string `xml:",omitempty"`
}

// element is that of an algorithm, nil for what is none.
func (x *checksumXML) element(a checksum.Algorithm) *string {
	switch a {
	case checksum.CRC32:
		return &x.ChecksumCRC32
	case checksum.CRC32C:
		return &x.ChecksumCRC32C
	case checksum.CRC64NVME:
		return &x.ChecksumCRC64NVME
	case checksum.MD5:
		return &x.ChecksumMD5
	case checksum.SHA1:
		return &x.ChecksumSHA1
	case checksum.SHA256:
		return &x.ChecksumSHA256
	case checksum.SHA512:
		return &x.ChecksumSHA512
	case checksum.XXHash128:
		return &x.ChecksumXXHASH128
	case checksum.XXHash3:
		return &x.ChecksumXXHASH3
	case checksum.XXHash64:
		return &x.ChecksumXXHASH64
	}
	return nil
}

// given returns the checksums that a document has, in the order of the
// algorithms.
func (x *checksumXML) given() (all []checksum.Algorithm) {
	for _, a := range checksum.Algorithms() {
		if *x.element(a) != "" {
			all = append(all, a)
		}
	}
	return all
}

// checksumsOf returns the elements of an object's checksum; parts is how many it
// was completed of.
func checksumsOf(c store.Checksum, parts int) (x checksumXML) {
	if e := x.element(checksum.Algorithm(c.Algorithm)); e != nil && c.Value != "" {
		*e = checksumValue(c, parts)
	}
	return x
}

// partAlgorithm is that of the checksums that the parts of an upload are kept
// with. Where the client named none, the object gets a CRC64NVME over everything,
// as in S3, and its parts' are nobody's business but this server's.
func partAlgorithm(m *store.Multipart) checksum.Algorithm {
	if a := m.Attributes.Checksum.Algorithm; a != "" {
		return checksum.Algorithm(a)
	}
	return checksum.CRC64NVME
}

// partChecksums returns the elements of a part's checksum, none where the upload
// was begun without an algorithm.
func partChecksums(m *store.Multipart, c store.Checksum) (x checksumXML) {
	if m.Attributes.Checksum.Algorithm != "" {
		x = checksumsOf(store.Checksum{Algorithm: c.Algorithm, Value: c.Value}, 0)
	}
	return x
}

// root is the name of an answer's root element.
func root(local string) xml.Name { return xml.Name{Space: namespace, Local: local} }

// storageClass is the element of that name, which has a value in every list.
func storageClass(class string) string {
	if class == "" {
		return "STANDARD"
	}
	return strings.ToUpper(class)
}
