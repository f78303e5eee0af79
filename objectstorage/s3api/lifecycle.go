package s3api

import (
	"encoding/xml"
	"strings"
	"time"

	"minicloud.internal/objectstorage/store"
)

const maxLifecycleRules = 1000 // as S3 has it

// A Lifecycle is the document of the subresource lifecycle: what becomes of objects
// and of unfinished uploads as they age (S3 user guide, "Managing the lifecycle of
// objects"). Transitions between storage classes are refused, since there is one.
type Lifecycle struct {
	XMLName xml.Name        `xml:"LifecycleConfiguration"`
	Xmlns   string          `xml:"xmlns,attr,omitempty"`
	Rules   []LifecycleRule `xml:"Rule"`
}

// A LifecycleRule says what expires when, of the objects that its filter selects.
type LifecycleRule struct {
	ID     string           `xml:",omitempty"`
	Status string           // "Enabled" or "Disabled"
	Prefix *string          // the older form of Filter
	Filter *LifecycleFilter `xml:",omitempty"`

	Expiration *struct {
		Days                      *int       `xml:",omitempty"`
		Date                      *time.Time `xml:",omitempty"`
		ExpiredObjectDeleteMarker bool       `xml:",omitempty"`
	}
	NoncurrentVersionExpiration *struct {
		NoncurrentDays          int
		NewerNoncurrentVersions int `xml:",omitempty"`
	}
	AbortIncompleteMultipartUpload *struct {
		DaysAfterInitiation int
	}

	// Known, and refused.
	Transition []struct {
		Date, StorageClass string
		Days               int
	}
	NoncurrentVersionTransition []struct {
		StorageClass                            string
		NoncurrentDays, NewerNoncurrentVersions int
	}
}

// A LifecycleFilter selects objects by exactly one of its fields, or by And.
type LifecycleFilter struct {
	Prefix                *string
	Tag                   *tagXML
	ObjectSizeGreaterThan *int64
	ObjectSizeLessThan    *int64
	And                   *struct {
		Prefix                *string
		Tag                   []tagXML
		ObjectSizeGreaterThan *int64
		ObjectSizeLessThan    *int64
	}
}

// ParseLifecycle reads a bucket's document "lifecycle" as it is stored.
func ParseLifecycle(document []byte) (*Lifecycle, error) {
	var l Lifecycle
	if err := xml.Unmarshal(document, &l); err != nil {
		return nil, err
	}
	return &l, nil
}

// LifecycleDocument is the name of a bucket's lifecycle among its Documents.
const LifecycleDocument = lifecycleDocument

func (r *request) getBucketLifecycle() error {
	r.w.Header().Set("X-Amz-Transition-Default-Minimum-Object-Size", "all_storage_classes_128K")
	return r.getDocument(lifecycleDocument, "NoSuchLifecycleConfiguration")
}

func (r *request) putBucketLifecycle() error {
	var l Lifecycle
	if err := r.readXML(&l); err != nil {
		return err
	}
	if err := l.check(); err != nil {
		return err
	}
	l.Xmlns = namespace
	r.w.Header().Set("X-Amz-Transition-Default-Minimum-Object-Size", "all_storage_classes_128K")
	return r.ok(r.putDocument(lifecycleDocument, &l))
}

func (r *request) deleteBucketLifecycle() error { return r.deleteDocument(lifecycleDocument) }

// check validates the document, and names rules that have no name as S3 does.
func (l *Lifecycle) check() error {
	if len(l.Rules) == 0 || len(l.Rules) > maxLifecycleRules {
		return fail("MalformedXML")
	}
	ids := map[string]bool{}
	for i := range l.Rules {
		rule := &l.Rules[i]
		if rule.ID == "" {
			rule.ID = strings.ToLower(newRequestID())
		}
		if len(rule.ID) > 255 {
			return fail("InvalidArgument", "ID length should not exceed allowed limit of 255")
		}
		if ids[rule.ID] {
			return fail("InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule")
		}
		ids[rule.ID] = true
		if err := rule.check(); err != nil {
			return err
		}
	}
	return nil
}

func (rule *LifecycleRule) check() error {
	switch {
	case rule.Status != "Enabled" && rule.Status != "Disabled",
		(rule.Prefix == nil) == (rule.Filter == nil):
		return fail("MalformedXML")
	case len(rule.Transition) > 0 || len(rule.NoncurrentVersionTransition) > 0:
		return notImplemented("A transition between storage classes")
	case rule.Expiration == nil && rule.NoncurrentVersionExpiration == nil && rule.AbortIncompleteMultipartUpload == nil:
		return fail("InvalidRequest", "At least one action needs to be specified in a rule")
	}
	if e := rule.Expiration; e != nil {
		given := 0
		for _, is := range []bool{e.Days != nil, e.Date != nil, e.ExpiredObjectDeleteMarker} {
			if is {
				given++
			}
		}
		switch {
		case e.Days != nil && *e.Days < 1:
			return fail("InvalidArgument", "'Days' for Expiration action must be a positive integer")
		case given != 1:
			return fail("MalformedXML")
		case e.Date != nil && !e.Date.Equal(e.Date.UTC().Truncate(24*time.Hour)):
			return fail("InvalidArgument", "'Date' must be at midnight GMT")
		case e.ExpiredObjectDeleteMarker && rule.selection().narrow():
			return fail("InvalidRequest", "ExpiredObjectDeleteMarker cannot be specified with Object Tags or sizes")
		}
	}
	if n := rule.NoncurrentVersionExpiration; n != nil {
		if n.NoncurrentDays < 1 {
			return fail("InvalidArgument", "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer")
		}
		if n.NewerNoncurrentVersions < 0 || n.NewerNoncurrentVersions > 100 {
			return fail("InvalidArgument", "'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must be between 1 and 100")
		}
	}
	if a := rule.AbortIncompleteMultipartUpload; a != nil {
		if a.DaysAfterInitiation < 1 {
			return fail("InvalidArgument", "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer")
		}
		if rule.selection().narrow() {
			return fail("InvalidRequest", "AbortIncompleteMultipartUpload cannot be specified with Object Tags or sizes")
		}
	}
	return rule.Filter.check()
}

func (f *LifecycleFilter) check() error {
	if f == nil {
		return nil
	}
	given, sizes := 0, [][2]*int64{{f.ObjectSizeGreaterThan, f.ObjectSizeLessThan}}
	for _, is := range []bool{f.Prefix != nil, f.Tag != nil, f.ObjectSizeGreaterThan != nil, f.ObjectSizeLessThan != nil, f.And != nil} {
		if is {
			given++
		}
	}
	var tags []tagXML
	if f.Tag != nil {
		tags = []tagXML{*f.Tag}
	}
	if f.And != nil {
		tags = append(tags, f.And.Tag...)
		sizes = append(sizes, [2]*int64{f.And.ObjectSizeGreaterThan, f.And.ObjectSizeLessThan})
	}
	if given > 1 {
		return fail("MalformedXML")
	}
	for _, s := range sizes {
		for _, size := range s {
			if size != nil && *size < 0 {
				return fail("InvalidArgument", "The object size of a filter must not be negative")
			}
		}
		if s[0] != nil && s[1] != nil && *s[0] >= *s[1] {
			return fail("InvalidRequest", "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'")
		}
	}
	return checkBucketTags(tags)
}

// A selection is a rule's filter in one form.
type selection struct {
	prefix      string
	tags        []tagXML
	above       int64 // bytes; -1: any
	below       int64 // bytes; -1: any
	constrained bool
}

// narrow reports whether the selection looks at more than the prefix.
func (s selection) narrow() bool { return s.constrained }

func (rule *LifecycleRule) selection() selection {
	s := selection{above: -1, below: -1}
	set := func(prefix *string, tags []tagXML, above, below *int64) {
		if prefix != nil {
			s.prefix = *prefix
		}
		s.tags = append(s.tags, tags...)
		if above != nil {
			s.above = *above
		}
		if below != nil {
			s.below = *below
		}
	}
	set(rule.Prefix, nil, nil, nil)
	if f := rule.Filter; f != nil {
		var tags []tagXML
		if f.Tag != nil {
			tags = []tagXML{*f.Tag}
		}
		set(f.Prefix, tags, f.ObjectSizeGreaterThan, f.ObjectSizeLessThan)
		if f.And != nil {
			set(f.And.Prefix, f.And.Tag, f.And.ObjectSizeGreaterThan, f.And.ObjectSizeLessThan)
		}
	}
	s.constrained = len(s.tags) > 0 || s.above >= 0 || s.below >= 0
	return s
}

// selects reports whether a version is among those that the rule is about. A delete
// marker has neither tags nor a size.
func (s selection) selects(v *store.Info) bool {
	if !strings.HasPrefix(v.Key, s.prefix) || v.DeleteMarker && s.constrained ||
		s.above >= 0 && v.Size <= s.above || s.below >= 0 && v.Size >= s.below {
		return false
	}
	for _, want := range s.tags {
		found := false
		for _, have := range v.Tags {
			found = found || have == store.Tag(want)
		}
		if !found {
			return false
		}
	}
	return true
}
