package s3api

import (
	"cmp"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"minicloud.internal/objectstorage/store"
)

// maxObjectTags is how many tags an object can have.
const maxObjectTags = 10

// A tagSet is the document of PutObjectTagging and GetObjectTagging.
type tagSet struct {
	XMLName xml.Name `xml:"Tagging"`
	Space   string   `xml:"xmlns,attr,omitempty"`
	Tags    []tagXML `xml:"TagSet>Tag"`
}

type tagXML struct {
	Key   string
	Value string
}

// getObjectTagging answers with the tags of a version.
func (r *request) getObjectTagging() error {
	version, err := r.version()
	if err != nil {
		return err
	}
	info, err := r.h.store.Head(r.Context(), r.bucket, r.key, version)
	if err != nil {
		return r.readFailed(&info, version, err)
	}
	// The element TagSet stands there without tags too.
	type set struct{ Tag []tagXML }
	answer := struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ Tagging"`
		TagSet  set
	}{}
	for _, t := range info.Tags {
		answer.TagSet.Tag = append(answer.TagSet.Tag, tagXML(t))
	}
	r.setVersion(info.Version)
	return r.writeXML(http.StatusOK, answer)
}

// putObjectTagging replaces the tags of a version.
func (r *request) putObjectTagging() error {
	var document tagSet
	if err := r.readXML(&document); err != nil {
		return err
	}
	tags := make([]store.Tag, len(document.Tags))
	for i, t := range document.Tags {
		tags[i] = store.Tag(t)
	}
	if err := checkTags(tags); err != nil {
		return err
	}
	return r.setTags(tags, http.StatusOK)
}

// deleteObjectTagging removes the tags of a version.
func (r *request) deleteObjectTagging() error { return r.setTags(nil, http.StatusNoContent) }

func (r *request) setTags(tags []store.Tag, status int) error {
	version, err := r.version()
	if err != nil {
		return err
	}
	info, err := r.h.store.Update(r.Context(), r.bucket, r.key, version, func(a *store.Attributes) error {
		a.Tags = tags
		return nil
	})
	if err != nil {
		return r.readFailed(&info, version, err)
	}
	r.setVersion(info.Version)
	r.w.WriteHeader(status)
	return nil
}

// parseTagging reads x-amz-tagging: tags as the parameters of a URL, "a=1&b=2".
func parseTagging(header string) ([]store.Tag, error) {
	malformed := func() error {
		return invalidArgument("x-amz-tagging", header,
			"The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
	}
	var tags []store.Tag
	for pair := range strings.SplitSeq(header, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		key, err1 := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		if err1 != nil || err2 != nil || key == "" || !utf8.ValidString(key) || !utf8.ValidString(value) {
			return nil, malformed()
		}
		if slices.ContainsFunc(tags, func(t store.Tag) bool { return t.Key == key }) {
			return nil, malformed()
		}
		tags = append(tags, store.Tag{Key: key, Value: value})
		if len(tags) > maxObjectTags {
			break // checkTags says so; a header of a thousand tags is not compared with itself
		}
	}
	if err := checkTags(tags); err != nil {
		return nil, err
	}
	return tags, nil
}

// checkTags applies the rules for an object's tags (S3 user guide, "Categorizing
// your objects using tags") and sorts them.
func checkTags(tags []store.Tag) error {
	if len(tags) > maxObjectTags {
		return fail("BadRequest", "Object tags cannot be greater than 10")
	}
	for i, t := range tags {
		switch {
		case t.Key == "" || utf8.RuneCountInString(t.Key) > 128 || !tagText(t.Key):
			return fail("InvalidTag", "The TagKey you have provided is invalid").with("TagKey", t.Key)
		case utf8.RuneCountInString(t.Value) > 256 || !tagText(t.Value):
			return fail("InvalidTag", "The TagValue you have provided is invalid").with("TagKey", t.Key).with("TagValue", t.Value)
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return fail("InvalidTag", "System tags cannot be added/updated by requester").with("TagKey", t.Key)
		case slices.ContainsFunc(tags[:i], func(o store.Tag) bool { return o.Key == t.Key }):
			return fail("InvalidTag", "Cannot provide multiple Tags with the same key").with("TagKey", t.Key)
		}
	}
	slices.SortFunc(tags, func(a, b store.Tag) int { return cmp.Compare(a.Key, b.Key) })
	return nil
}

// tagText reports whether s has only the characters that tags may have.
func tagText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsNumber(c) && !unicode.Is(unicode.Zs, c) && !strings.ContainsRune("+-=._:/@", c)
	})
}
