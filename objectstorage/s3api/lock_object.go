package s3api

import (
	"encoding/xml"
	"net/http"
	"time"

	"minicloud.internal/objectstorage/store"
)

// A retentionXML is the document of the subresource retention.
type retentionXML struct {
	XMLName         xml.Name `xml:"Retention"`
	Xmlns           string   `xml:"xmlns,attr,omitempty"`
	Mode            string   `xml:",omitempty"`
	RetainUntilDate string   `xml:",omitempty"`
}

// A holdXML is the document of the subresource legal-hold.
type holdXML struct {
	XMLName xml.Name `xml:"LegalHold"`
	Xmlns   string   `xml:"xmlns,attr,omitempty"`
	Status  string
}

func (r *request) getObjectRetention() error {
	a, err := r.lockOf()
	if err != nil {
		return err
	}
	if a.LockMode == "" {
		return fail("NoSuchObjectLockConfiguration")
	}
	return r.writeXML(http.StatusOK, &retentionXML{Xmlns: namespace, Mode: a.LockMode, RetainUntilDate: timestamp(a.RetainUntil)})
}

func (r *request) getObjectLegalHold() error {
	a, err := r.lockOf()
	if err != nil {
		return err
	}
	if a.LegalHold == "" {
		return fail("NoSuchObjectLockConfiguration")
	}
	return r.writeXML(http.StatusOK, &holdXML{Xmlns: namespace, Status: a.LegalHold})
}

// lockOf returns the attributes of the version that is asked for, in a bucket that
// has object lock.
func (r *request) lockOf() (*store.Attributes, error) {
	version := r.query.Get("versionId") // to S3, the empty one is the latest here
	info, err := r.h.store.Head(r.Context(), r.bucket, r.key, version)
	if err != nil {
		return nil, r.readFailed(&info, version, err)
	}
	if !hasLock(&r.settings) {
		return nil, errNoLock()
	}
	return &info.Attributes, nil
}

// errNoLock is what is said of a version whose bucket has no object lock.
func errNoLock() error { return fail("InvalidRequest", "Bucket is missing Object Lock Configuration") }

// putObjectRetention sets, extends or, with the permission to bypass it, shortens or
// removes the retention of a version.
func (r *request) putObjectRetention() error {
	var document retentionXML
	if err := r.readLock(&document); err != nil {
		return err
	}
	want, err := document.retention(r.h.Now())
	if err != nil {
		return err
	}
	bypass := r.bypass(r.key)
	return r.setLock(func(a *store.Attributes) error {
		if !want.replaces(a, r.h.Now(), bypass) {
			return store.ErrLocked
		}
		a.LockMode, a.RetainUntil = want.mode, want.until
		return nil
	})
}

// putObjectLegalHold sets or ends the legal hold of a version.
func (r *request) putObjectLegalHold() error {
	var document holdXML
	if err := r.readLock(&document); err != nil {
		return err
	}
	if !oneOf(document.Status, store.HoldOn, store.HoldOff) {
		return fail("MalformedXML")
	}
	return r.setLock(func(a *store.Attributes) error {
		a.LegalHold = document.Status
		return nil
	})
}

// readLock reads the document of a version's lock. To S3 an empty one is malformed.
func (r *request) readLock(v any) error {
	body, err := r.readDocument()
	if err != nil {
		return err
	}
	return decodeXML(body, v)
}

// setLock changes the lock of a version, as one step with the look at what it is.
func (r *request) setLock(change func(*store.Attributes) error) error {
	version := r.query.Get("versionId")
	info, err := r.h.store.Update(r.Context(), r.bucket, r.key, version, func(a *store.Attributes) error {
		if !hasLock(&r.settings) {
			return errNoLock()
		}
		return change(a)
	})
	if err != nil {
		return r.readFailed(&info, version, err)
	}
	return r.ok(nil)
}

// A retention is until when a version is kept; the zero value is none.
type retention struct {
	mode  string
	until time.Time // UTC, in whole milliseconds
}

// retention reads the document. An empty one asks for no retention.
func (x *retentionXML) retention(now time.Time) (retention, error) {
	if x.Mode == "" && x.RetainUntilDate == "" {
		return retention{}, nil
	}
	until, err := time.Parse(time.RFC3339, x.RetainUntilDate)
	if err != nil || !validMode(x.Mode) {
		return retention{}, fail("MalformedXML")
	}
	if !until.After(now) {
		return retention{}, errPastRetention(x.RetainUntilDate)
	}
	return retention{x.Mode, until.UTC().Truncate(time.Millisecond)}, nil
}

func errPastRetention(value string) error {
	return invalidArgument("x-amz-object-lock-retain-until-date", value, "The retain until date must be in the future!")
}

// replaces reports whether w may take the place of the retention that a version has
// at the time now. One that has ended gives way to anything; one that lasts, to the
// same mode for as long or longer; and one in the mode GOVERNANCE, with bypass, to
// anything.
func (w retention) replaces(a *store.Attributes, now time.Time, bypass bool) bool {
	switch {
	case !a.RetainUntil.After(now), w.mode == a.LockMode && !w.until.Before(a.RetainUntil):
		return true
	}
	return a.LockMode == store.Governance && bypass
}
