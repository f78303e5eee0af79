package s3api

import (
	"strings"
	"time"

	"minicloud.internal/objectstorage/store"
)

// An Expiry is what a lifecycle wants done with one version of a key.
type Expiry int

// What can become of a version.
const (
	Keep Expiry = iota
	// ExpireCurrent deletes the object as a client would, without naming a
	// version: where the bucket keeps versions, that makes a delete marker.
	ExpireCurrent
	// RemoveVersion removes this version, or this delete marker, for good.
	RemoveVersion
)

// Prefixes returns the prefixes of the keys that l could expire something of, none
// of them within another. A sweep lists those and nothing else.
func (l *Lifecycle) Prefixes() []string {
	var prefixes []string
	for i := range l.Rules {
		if l.Rules[i].Status != "Enabled" {
			continue
		}
		prefix, covered := l.Rules[i].selection().prefix, false
		kept := prefixes[:0]
		for _, p := range prefixes {
			covered = covered || strings.HasPrefix(prefix, p)
			if covered || !strings.HasPrefix(p, prefix) {
				kept = append(kept, p)
			}
		}
		if prefixes = kept; !covered {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}

// NeedsTags reports whether a rule looks at tags, which a listing does not have:
// then the versions handed to [Lifecycle.Expired] come from Head.
func (l *Lifecycle) NeedsTags() bool {
	for i := range l.Rules {
		if l.Rules[i].Status == "Enabled" && len(l.Rules[i].selection().tags) > 0 {
			return true
		}
	}
	return false
}

// Expired decides what is due at the time now. versions are all of one key, the
// latest first, as [store.Store.ListVersions] returns them, with Modified, Size,
// Latest and DeleteMarker set, and Tags where [Lifecycle.NeedsTags]. The answer has an
// element per version. It is a pure function: nothing is done.
//
// A version of n days is due at the first midnight UTC behind n times 24 hours, as S3
// counts; what is not the latest ages from the moment it was replaced.
func (l *Lifecycle) Expired(versions []store.Info, now time.Time) []Expiry {
	answer := make([]Expiry, len(versions))
	for i := range l.Rules {
		rule := &l.Rules[i]
		if rule.Status != "Enabled" {
			continue
		}
		s := rule.selection()
		for v := range versions {
			if !s.selects(&versions[v]) {
				continue
			}
			if due := rule.expires(versions, v, now); due > answer[v] {
				answer[v] = due
			}
		}
	}
	return answer
}

// expires is what one rule says of versions[i].
func (rule *LifecycleRule) expires(versions []store.Info, i int, now time.Time) Expiry {
	v := &versions[i]
	if !v.Latest {
		n := rule.NoncurrentVersionExpiration
		if n == nil || i == 0 || i-1 < n.NewerNoncurrentVersions {
			return Keep // versions[1] to versions[i-1] are the newer of the older ones
		}
		if !now.Before(dueDate(versions[i-1].Modified, n.NoncurrentDays)) {
			return RemoveVersion
		}
		return Keep
	}
	e := rule.Expiration
	switch {
	case e == nil:
		return Keep
	case v.DeleteMarker:
		// A marker that hides nothing is removed where the rule says so, and
		// where its age is what a rule in days is about.
		alone := len(versions) == 1
		if alone && (e.ExpiredObjectDeleteMarker || e.Days != nil && !now.Before(dueDate(v.Modified, *e.Days))) {
			return RemoveVersion
		}
		return Keep
	case e.Days != nil && !now.Before(dueDate(v.Modified, *e.Days)),
		e.Date != nil && !now.Before(*e.Date):
		return ExpireCurrent
	}
	return Keep
}

// dueDate is when something from t is due after that many days.
func dueDate(t time.Time, days int) time.Time {
	due := t.UTC().AddDate(0, 0, days)
	midnight := due.Truncate(24 * time.Hour)
	if midnight.Before(due) {
		midnight = midnight.AddDate(0, 0, 1)
	}
	return midnight
}

// ExpiredUpload reports whether an unfinished upload is to be aborted at the time
// now.
func (l *Lifecycle) ExpiredUpload(m *store.Multipart, now time.Time) bool {
	for i := range l.Rules {
		rule := &l.Rules[i]
		a := rule.AbortIncompleteMultipartUpload
		if rule.Status == "Enabled" && a != nil && strings.HasPrefix(m.Key, rule.selection().prefix) &&
			!now.Before(dueDate(m.Initiated, a.DaysAfterInitiation)) {
			return true
		}
	}
	return false
}

// Expiration is when the current version is due and by which rule, for the header
// x-amz-expiration; ok is false where none applies.
func (l *Lifecycle) Expiration(v *store.Info) (at time.Time, rule string, ok bool) {
	for i := range l.Rules {
		e := l.Rules[i].Expiration
		if l.Rules[i].Status != "Enabled" || e == nil || !l.Rules[i].selection().selects(v) {
			continue
		}
		var due time.Time
		switch {
		case e.Days != nil:
			due = dueDate(v.Modified, *e.Days)
		case e.Date != nil:
			due = *e.Date
		default:
			continue
		}
		if !ok || due.Before(at) {
			at, rule, ok = due, l.Rules[i].ID, true
		}
	}
	return at, rule, ok
}
