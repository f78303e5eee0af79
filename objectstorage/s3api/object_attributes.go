package s3api

import (
	"encoding/xml"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"minicloud.internal/objectstorage/store"
)

// attributesXML answers GetObjectAttributes.
type attributesXML struct {
	XMLName      xml.Name
	ETag         string           `xml:",omitempty"`
	Checksum     *attributeSums   `xml:",omitempty"`
	ObjectParts  *attributesParts `xml:",omitempty"`
	StorageClass string           `xml:",omitempty"`
	ObjectSize   *int64           `xml:",omitempty"`
}

type attributeSums struct {
	checksumXML
	ChecksumType string `xml:",omitempty"`
}

type attributesParts struct {
	PartsCount           int
	PartNumberMarker     int
	NextPartNumberMarker int
	MaxParts             int
	IsTruncated          bool
	Part                 []attributesPart
}

type attributesPart struct {
	PartNumber int
	Size       int64
	checksumXML
}

// getObjectAttributes answers with those attributes of a version that
// x-amz-object-attributes names.
func (r *request) getObjectAttributes() error {
	version, err := r.version()
	if err != nil {
		return err
	}
	wanted, err := r.wantedAttributes()
	if err != nil {
		return err
	}
	limit, err := limit("x-amz-max-parts", r.Header.Get("X-Amz-Max-Parts"))
	if err != nil {
		return err
	}
	marker, err := bounded("x-amz-part-number-marker", r.Header.Get("X-Amz-Part-Number-Marker"), 0)
	if err != nil {
		return err
	}
	info, err := r.h.store.Head(r.Context(), r.bucket, r.key, version)
	if err != nil {
		return r.readFailed(&info, version, err)
	}
	answer := attributesXML{XMLName: root("GetObjectAttributesResponse")}
	if wanted["ETag"] {
		answer.ETag = info.ETag
	}
	if wanted["Checksum"] && info.Checksum.Value != "" {
		answer.Checksum = &attributeSums{checksumsOf(info.Checksum, len(info.Parts)), info.Checksum.Type}
	}
	if wanted["ObjectParts"] && len(info.Parts) > 0 {
		answer.ObjectParts = partsOf(&info, marker, limit)
	}
	if wanted["StorageClass"] {
		answer.StorageClass = storageClass(info.StorageClass)
	}
	if wanted["ObjectSize"] {
		answer.ObjectSize = &info.Size
	}
	r.w.Header().Set("Last-Modified", httpTime(info.Modified))
	r.setVersion(info.Version)
	return r.writeXML(http.StatusOK, answer)
}

// partsOf returns a page of the parts that an object was completed of. They are
// numbered by their place, as GET with partNumber counts them.
func partsOf(info *store.Info, marker, limit int) *attributesParts {
	from := min(marker, len(info.Parts))
	to := min(from+limit, len(info.Parts))
	p := &attributesParts{PartsCount: len(info.Parts), PartNumberMarker: marker, NextPartNumberMarker: to,
		MaxParts: limit, IsTruncated: to < len(info.Parts)}
	for i, part := range info.Parts[from:to] {
		x := attributesPart{PartNumber: from + i + 1, Size: part.Size}
		if part.Checksum.Algorithm == info.Checksum.Algorithm {
			x.checksumXML = checksumsOf(store.Checksum{Algorithm: part.Checksum.Algorithm, Value: part.Checksum.Value}, 0)
		}
		p.Part = append(p.Part, x)
	}
	return p
}

// wantedAttributes reads x-amz-object-attributes.
func (r *request) wantedAttributes() (map[string]bool, error) {
	const header = "X-Amz-Object-Attributes"
	known := []string{"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}
	wanted := map[string]bool{}
	for _, field := range r.Header.Values(header) {
		for name := range strings.SplitSeq(field, ",") {
			if name = strings.TrimSpace(name); name == "" {
				continue
			}
			if !slices.Contains(known, name) {
				return nil, invalidArgument(strings.ToLower(header), name, "Invalid attribute name specified.")
			}
			wanted[name] = true
		}
	}
	if len(wanted) == 0 {
		return nil, fail("InvalidRequest", "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	return wanted, nil
}

// maxEntries is how many entries one page of any of S3's listings has at most.
const maxEntries = 1000

// limit reads the number of entries that a page shall have: 0 to [maxEntries],
// which is the default and what a larger number becomes.
func limit(name, value string) (int, error) {
	n, err := bounded(name, value, maxEntries)
	return min(n, maxEntries), err
}

// bounded reads an argument that is an integer of 0 to 2^31-1; an empty one is
// fallback.
func bounded(name, value string, fallback int) (int, error) {
	if value == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil || n > math.MaxInt32:
		return 0, invalidArgument(name, value, "Provided "+value+" not an integer or within integer range")
	case n < 0:
		return 0, invalidArgument(name, value, "Argument "+value+" must be an integer between 0 and 2147483647")
	}
	return int(n), nil
}
