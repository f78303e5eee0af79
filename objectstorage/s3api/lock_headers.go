package s3api

import (
	"strings"
	"time"

	"minicloud.internal/objectstorage/store"
)

// The headers of object lock, of a writer and of the answer to a reader.
const (
	lockModeHeader  = "X-Amz-Object-Lock-Mode"
	lockUntilHeader = "X-Amz-Object-Lock-Retain-Until-Date"
	lockHoldHeader  = "X-Amz-Object-Lock-Legal-Hold"
	bypassHeader    = "X-Amz-Bypass-Governance-Retention"
)

// lockHeaders takes into a what the headers of a writer say of the lock of the new
// version, once the bucket has object lock and the writer may lock.
func (r *request) lockHeaders(a *store.Attributes) error {
	mode, until, hold := r.Header.Get(lockModeHeader), r.Header.Get(lockUntilHeader), r.Header.Get(lockHoldHeader)
	if mode == "" && until == "" && hold == "" {
		return nil
	}
	var err error
	if a.RetainUntil, err = parseLockHeaders(mode, until, hold, r.h.Now()); err != nil {
		return err
	}
	a.LockMode, a.LegalHold = mode, hold
	if !hasLock(&r.settings) {
		return fail("InvalidRequest", "Bucket is missing ObjectLockConfiguration")
	}
	if mode != "" {
		if err := r.permitLock("s3:PutObjectRetention", r.key); err != nil {
			return err
		}
	}
	if hold != "" {
		return r.permitLock("s3:PutObjectLegalHold", r.key)
	}
	return nil
}

// parseLockHeaders checks the three values, and returns the time of the second.
func parseLockHeaders(mode, until, hold string, now time.Time) (time.Time, error) {
	wrong := func(name, value, message string) (time.Time, error) {
		return time.Time{}, invalidArgument(strings.ToLower(name), value, message)
	}
	const both = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied."
	switch {
	case mode != "" && until == "":
		return wrong(lockUntilHeader, "", both)
	case mode == "" && until != "":
		return wrong(lockModeHeader, "", both)
	case mode != "" && !validMode(mode):
		return wrong(lockModeHeader, mode, "Unknown wormMode directive.")
	case hold != "" && !oneOf(hold, store.HoldOn, store.HoldOff):
		return wrong(lockHoldHeader, hold, "Legal Hold must be either of 'ON' or 'OFF'")
	case until == "":
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, until)
	switch {
	case err != nil:
		return wrong(lockUntilHeader, until, "The retain until date must be provided in ISO 8601 format")
	case !t.After(now):
		return time.Time{}, errPastRetention(until)
	}
	return t.UTC().Truncate(time.Millisecond), nil
}

// permitLock is permit for what a public ACL or an open bucket never allows: nobody
// without a signature locks, unlocks or looks at a lock, unless a policy says so.
func (r *request) permitLock(action, key string) error {
	if !r.anonymous() {
		return r.permit(action, key)
	}
	said, err := r.policySays(action, key)
	if err != nil {
		return err
	}
	block, err := accessBlock(&r.settings)
	if err != nil {
		return err
	}
	if said != allow || block.RestrictPublicBuckets {
		return r.refuse()
	}
	return nil
}

// bypass reports whether the request asks to pass over retentions in the mode
// GOVERNANCE, and may. Who may not is told so by the lock, where there is one.
func (r *request) bypass(key string) bool {
	return strings.EqualFold(r.Header.Get(bypassHeader), "true") && r.permitLock("s3:BypassGovernanceRetention", key) == nil
}

// setLockHeaders tells a reader of the lock of a version, as far as they may know.
func (r *request) setLockHeaders(a *store.Attributes) {
	h := r.w.Header()
	if a.LockMode != "" && r.permitLock("s3:GetObjectRetention", r.key) == nil {
		h.Set(lockModeHeader, a.LockMode)
		h.Set(lockUntilHeader, timestamp(a.RetainUntil))
	}
	if a.LegalHold != "" && r.permitLock("s3:GetObjectLegalHold", r.key) == nil {
		h.Set(lockHoldHeader, a.LegalHold)
	}
}

// checkLockDigest refuses a body without a digest where the version that it becomes,
// or becomes part of, will be retained: what cannot be removed must be what was sent
// (Amazon S3 API reference, "PutObject"). kind is "Object" or "Part".
func (r *request) checkLockDigest(kind string, p *payload, a *store.Attributes) error {
	if p.md5 != nil || p.declared.Algorithm != "" || !hasLock(&r.settings) {
		return nil
	}
	retained := a.LockMode != "" || a.LegalHold == store.HoldOn
	if !retained {
		d, err := bucketRetention(&r.settings)
		if err != nil {
			return err
		}
		retained = d != nil
	}
	if retained {
		return failf("InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required for Put %s requests with Object Lock parameters", kind)
	}
	return nil
}
