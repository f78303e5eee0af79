package s3api

import (
	"encoding/xml"
	"strconv"
	"time"

	"minicloud.internal/objectstorage/store"
)

// lockDocument is the document of the subresource object-lock. A bucket that has it
// keeps versions, and keeps both the document and the versions for good.
const lockDocument = "object-lock"

// The longest default retention.
const (
	maxRetentionDays  = 36500
	maxRetentionYears = 100
)

// lockXML is the document of the subresource object-lock (Amazon S3 API reference,
// "ObjectLockConfiguration").
type lockXML struct {
	XMLName           xml.Name `xml:"ObjectLockConfiguration"`
	Xmlns             string   `xml:"xmlns,attr,omitempty"`
	ObjectLockEnabled string
	Rule              *lockRule
}

type lockRule struct {
	DefaultRetention *defaultRetention
}

// A defaultRetention is that of every new version whose writer asks for none.
type defaultRetention struct {
	Mode  string
	Days  *int `xml:",omitempty"`
	Years *int `xml:",omitempty"`
}

// enableLock gives a bucket that is about to be made object lock.
func enableLock(b *store.Bucket) error {
	b.Versioning = store.Enabled
	return setDocument(b, lockDocument, &lockXML{Xmlns: namespace, ObjectLockEnabled: "Enabled"})
}

// hasLock reports whether versions in the bucket can be locked.
func hasLock(b *store.Bucket) bool { return b.Documents[lockDocument] != nil }

func (r *request) getObjectLockConfiguration() error {
	return r.getDocument(lockDocument, "ObjectLockConfigurationNotFoundError")
}

// putObjectLockConfiguration sets the default retention, or none, and gives a bucket
// with versions object lock where it has it not. There is no way back.
func (r *request) putObjectLockConfiguration() error {
	var l lockXML
	if err := r.readXML(&l); err != nil {
		return err
	}
	if err := l.check(); err != nil {
		return err
	}
	l.Xmlns = namespace
	return r.ok(r.h.store.UpdateBucket(r.Context(), r.bucket, func(b *store.Bucket) error {
		if b.Versioning != store.Enabled {
			return fail("InvalidBucketState", "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
		}
		return setDocument(b, lockDocument, &l)
	}))
}

func (l *lockXML) check() error {
	if l.ObjectLockEnabled != "Enabled" {
		return fail("MalformedXML")
	}
	if l.Rule == nil {
		return nil
	}
	d := l.Rule.DefaultRetention
	if d == nil || !validMode(d.Mode) || (d.Days == nil) == (d.Years == nil) {
		return fail("MalformedXML")
	}
	name, n, most := "Days", d.Days, maxRetentionDays
	if n == nil {
		name, n, most = "Years", d.Years, maxRetentionYears
	}
	switch {
	case *n <= 0:
		return invalidArgument(name, strconv.Itoa(*n), "Default retention period must be a positive integer value.")
	case *n > most:
		return invalidArgument(name, strconv.Itoa(*n), "Default retention period too large.")
	}
	return nil
}

func validMode(mode string) bool { return mode == store.Governance || mode == store.Compliance }

// until is when a retention ends that begins now.
func (d *defaultRetention) until(now time.Time) time.Time {
	now = now.UTC().Truncate(time.Millisecond)
	if d.Years != nil {
		return now.AddDate(*d.Years, 0, 0)
	}
	return now.AddDate(0, 0, *d.Days)
}

// bucketRetention is the default retention of a bucket; nil: it has none.
func bucketRetention(b *store.Bucket) (*defaultRetention, error) {
	if !hasLock(b) {
		return nil, nil
	}
	var l lockXML
	if _, err := stored(b, lockDocument, &l); err != nil || l.Rule == nil {
		return nil, err
	}
	return l.Rule.DefaultRetention, nil
}

// Retain gives a version that is about to be committed, at the time now, the default
// retention of its bucket, where it has none of its own. Whoever commits to a bucket
// calls it, by whatever door the body came.
func Retain(b *store.Bucket, a *store.Attributes, now time.Time) error {
	if a.LockMode != "" {
		return nil
	}
	d, err := bucketRetention(b)
	if d != nil {
		a.LockMode, a.RetainUntil = d.Mode, d.until(now)
	}
	return err
}

// retain is Retain for the request's bucket.
func (r *request) retain(a *store.Attributes) error { return Retain(&r.settings, a, r.h.Now()) }
