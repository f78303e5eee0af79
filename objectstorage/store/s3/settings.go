package s3

import (
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"slices"

	"minicloud.internal/objectstorage/store"
)

// AnonymousTag is the tag of a bucket that keeps [store.Bucket]'s Anonymous.
const AnonymousTag = "minicloud:anonymous"

// location is the document that is a region's name, and is given at the bucket's
// creation alone.
const location = "location"

// Documents returns the names of the documents that a bucket can have: the
// subresources of S3 that store them.
func Documents() []string {
	return []string{"cors", "lifecycle", location, objectLock, "ownershipControls", "policy", "publicAccessBlock", "tagging"}
}

// checkDocuments returns an error where after has a document that S3 does not
// keep, or another location.
func checkDocuments(after, before map[string][]byte) error {
	if len(before[objectLock]) > 0 && len(after[objectLock]) == 0 {
		return fmt.Errorf("object lock cannot be taken from a bucket: %w", errors.ErrUnsupported)
	}
	for name, body := range after {
		if !slices.Contains(Documents(), name) {
			return fmt.Errorf("the S3 service keeps no document %s of a bucket: %w", name, errors.ErrUnsupported)
		}
		if name == location && before != nil && string(before[name]) != string(body) {
			return fmt.Errorf("the location of a bucket cannot be changed: %w", errors.ErrUnsupported)
		}
	}
	return nil
}

// A tagging is the document of that name (Amazon S3 API reference, "Tagging").
type tagging struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ Tagging"`
	Tags    []tag    `xml:"TagSet>Tag"`
}

type tag struct{ Key, Value string }

func parseTags(document []byte) (tagging, error) {
	// Not every writer names the space.
	var t struct {
		XMLName xml.Name `xml:"Tagging"`
		Tags    []tag    `xml:"TagSet>Tag"`
	}
	if err := xml.Unmarshal(document, &t); err != nil {
		return tagging{}, fmt.Errorf("read the tagging of the bucket: %w", err)
	}
	return tagging{Tags: t.Tags}, nil
}

// splitTags takes [AnonymousTag] out of a tagging document. One without it stays
// as it is, byte for byte.
func splitTags(document []byte) (rest []byte, anonymous string, err error) {
	if len(document) == 0 {
		return nil, "", nil
	}
	t, err := parseTags(document)
	if err != nil {
		return nil, "", err
	}
	all := len(t.Tags)
	t.Tags = slices.DeleteFunc(t.Tags, func(t tag) bool {
		if t.Key == AnonymousTag {
			anonymous = t.Value
		}
		return t.Key == AnonymousTag
	})
	switch len(t.Tags) {
	case all:
		return document, "", nil
	case 0:
		return nil, anonymous, nil
	}
	rest, err = xml.Marshal(t)
	return rest, anonymous, err
}

// joinTags is the reverse. A document that has the tag already is refused, so that
// who may tag a bucket cannot open it by that.
func joinTags(document []byte, anonymous string) ([]byte, error) {
	var t tagging
	if len(document) > 0 {
		var err error
		if t, err = parseTags(document); err != nil {
			return nil, err
		}
	}
	if slices.ContainsFunc(t.Tags, func(t tag) bool { return t.Key == AnonymousTag }) {
		return nil, fmt.Errorf("the tag %s is reserved: %w", AnonymousTag, errors.ErrUnsupported)
	}
	if anonymous == "" {
		return document, nil
	}
	// S3's tag values have no more than letters, digits and +-=._:/@ in them.
	t.Tags = append(t.Tags, tag{AnonymousTag, anonymous})
	return xml.Marshal(t)
}

func cloneAttributes(a store.Attributes) store.Attributes {
	a.User, a.Tags = maps.Clone(a.User), slices.Clone(a.Tags)
	return a
}

func sameTags(a, b store.Attributes) bool { return slices.Equal(a.Tags, b.Tags) }

// sameAttributes compares all but the tags.
func sameAttributes(a, b store.Attributes) bool {
	if !maps.Equal(a.User, b.User) || a.Checksum != b.Checksum {
		return false
	}
	fields := attributeFields(&b)
	for name, value := range attributeFields(&a) {
		if *value != *fields[name] {
			return false
		}
	}
	return true
}
