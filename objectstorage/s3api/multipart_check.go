package s3api

import (
	"slices"
	"strconv"
	"strings"

	"minicloud.internal/objectstorage/checksum"
	"minicloud.internal/objectstorage/store"
)

// A completion is a CompleteMultipartUpload that is being checked: what the client
// lists against what the store has.
type completion struct {
	id        string
	parts     []completePart
	stored    map[int]store.Part
	upload    store.Checksum     // as the upload was begun: algorithm and type, or nothing
	algorithm checksum.Algorithm // that the stored parts have
}

// ids names the parts for the store.
func (c *completion) ids() []store.PartID {
	ids := make([]store.PartID, len(c.parts))
	for i := range c.parts {
		ids[i] = store.PartID{Number: *c.parts[i].PartNumber, ETag: c.parts[i].etag()}
	}
	return ids
}

// check goes through the parts and returns the checksum of the object. size is
// what the client takes it for, or -1.
func (c *completion) check(declared checksum.Declared, size int64) (store.Checksum, error) {
	total := int64(0)
	for i := range c.parts {
		p := &c.parts[i]
		part, ok := c.stored[*p.PartNumber]
		if !ok || part.ETag != p.etag() {
			return store.Checksum{}, c.invalidPart(p)
		}
		if err := c.checkSum(p, part); err != nil {
			return store.Checksum{}, err
		}
		if part.Size < minPart && i < len(c.parts)-1 {
			return store.Checksum{}, fail("EntityTooSmall").with("ProposedSize", strconv.FormatInt(part.Size, 10)).
				with("MinSizeAllowed", strconv.Itoa(minPart)).with("PartNumber", strconv.Itoa(*p.PartNumber)).with("ETag", p.etag())
		}
		total += part.Size
	}
	if size >= 0 && size != total {
		return store.Checksum{}, failf("InvalidRequest", "The provided 'x-amz-mp-object-size' header value %d does not match what was computed: %d", size, total)
	}
	return c.final(declared)
}

func (c *completion) invalidPart(p *completePart) error {
	return fail("InvalidPart").with("UploadId", c.id).with("PartNumber", strconv.Itoa(*p.PartNumber)).with("ETag", p.etag())
}

// checkSum compares the checksum that the client gives for a part. Where the
// upload was begun without an algorithm, S3 looks at none.
func (c *completion) checkSum(p *completePart, part store.Part) error {
	given := p.given()
	if c.upload.Algorithm == "" {
		return nil
	}
	if len(given) == 0 {
		if c.upload.Type == checksum.FullObject {
			return nil
		}
		return failf("InvalidRequest", "The upload was created using a %s checksum. The complete request must include the checksum for each part. It was missing for part %d in the request.",
			strings.ToLower(c.upload.Algorithm), *p.PartNumber)
	}
	value := *p.element(given[0])
	if len(given) > 1 || !given[0].Valid(value) {
		return invalidArgument("Checksum", sums(p, given), "Invalid Base64 or multiple checksums present in request")
	}
	if string(given[0]) != c.upload.Algorithm {
		return failf("BadDigest", "The %s you specified for part %d did not match what we received.", strings.ToLower(string(given[0])), *p.PartNumber)
	}
	if value != part.Checksum.Value {
		return c.invalidPart(p)
	}
	return nil
}

// sums shows what a client sent where one checksum was expected.
func sums(p *completePart, given []checksum.Algorithm) string {
	if len(given) == 1 {
		return *p.element(given[0])
	}
	var b strings.Builder
	for _, a := range given {
		b.WriteString(string(a) + ":" + *p.element(a) + ";")
	}
	return b.String()
}

// final computes the object's checksum of those of its parts and compares it with
// the one that the client declared. An upload that was begun without an algorithm
// has one only where the store knows that of every part: another S3 service behind
// this one may not.
func (c *completion) final(declared checksum.Declared) (store.Checksum, error) {
	if c.upload.Algorithm == "" && slices.ContainsFunc(c.parts, func(p completePart) bool { return c.stored[*p.PartNumber].Checksum.Value == "" }) {
		return store.Checksum{}, nil
	}
	sum := store.Checksum{Algorithm: string(c.algorithm), Type: c.upload.Type}
	if sum.Type == "" {
		sum.Type = checksum.FullObject
	}
	var err error
	if sum.Type == checksum.FullObject {
		parts := make([]checksum.Part, len(c.parts))
		for i := range c.parts {
			part := c.stored[*c.parts[i].PartNumber]
			parts[i] = checksum.Part{Value: part.Checksum.Value, Size: part.Size}
		}
		sum.Value, err = checksum.Combine(c.algorithm, parts)
	} else {
		values := make([]string, len(c.parts))
		for i := range c.parts {
			values[i] = c.stored[*c.parts[i].PartNumber].Checksum.Value
		}
		sum.Value, err = checksum.Composite(c.algorithm, values)
	}
	if err != nil || declared.Algorithm == "" || c.upload.Algorithm == "" {
		return sum, err
	}
	if declared.Algorithm != c.algorithm {
		return sum, failf("InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", c.algorithm, declared.Algorithm)
	}
	if declared.Value != sum.Value {
		return sum, failf("BadDigest", "The %s you specified did not match the calculated checksum.", c.algorithm)
	}
	return sum, nil
}
