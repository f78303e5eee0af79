package s3api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"minicloud.internal/objectstorage/store"
)

// etagList returns the entity tags of a field such as If-Match, without their
// quotes. S3's clients send them with and without; "*" is any.
func etagList(field string) []string {
	var tags []string
	for tag := range strings.SplitSeq(field, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag = strings.Trim(tag, `"`); tag != "" {
			tags = append(tags, tag)
		}
	}
	return tags
}

// readCondition is what a GET, a HEAD or the source of a copy must satisfy, each
// field as it came.
type readCondition struct {
	match, noneMatch                []string
	modifiedSince, unmodifiedSince  time.Time
	matchField, noneMatchField      string // their names, for the error
	modifiedField, unmodifiedField  string
	noneMatchStatus, modifiedStatus int // what answers a failing one
}

// readCondition returns the conditions of a request, in the fields that begin
// with prefix ("X-Amz-Copy-Source-" or nothing). A date that is none is ignored,
// as RFC 9110 section 13.1.3 asks.
func (r *request) readCondition(prefix string) readCondition {
	date := func(name string) time.Time {
		field := r.Header.Get(name)
		if field == "" {
			return time.Time{}
		}
		t, err := http.ParseTime(field)
		if err != nil || t.After(r.h.Now()) && strings.HasSuffix(name, "If-Modified-Since") {
			return time.Time{}
		}
		return t
	}
	c := readCondition{
		matchField: prefix + "If-Match", noneMatchField: prefix + "If-None-Match",
		modifiedField: prefix + "If-Modified-Since", unmodifiedField: prefix + "If-Unmodified-Since",
		noneMatchStatus: http.StatusNotModified, modifiedStatus: http.StatusNotModified,
	}
	if prefix != "" {
		c.noneMatchStatus, c.modifiedStatus = http.StatusPreconditionFailed, http.StatusPreconditionFailed
	}
	c.match, c.noneMatch = etagList(r.Header.Get(c.matchField)), etagList(r.Header.Get(c.noneMatchField))
	c.modifiedSince, c.unmodifiedSince = date(c.modifiedField), date(c.unmodifiedField)
	return c
}

// check decides as S3 does (RFC 9110 section 13.2.2): If-Match, which overrules
// If-Unmodified-Since, and then If-None-Match, which overrules
// If-Modified-Since. It returns 0 or the status that answers, and the name of
// the field that did not hold.
func (c readCondition) check(info *store.Info) (status int, failed string) {
	modified := info.Modified.Truncate(time.Second)
	has := func(tags []string) bool { return slices.Contains(tags, "*") || slices.Contains(tags, info.ETag) }
	switch {
	case len(c.match) > 0:
		if !has(c.match) {
			return http.StatusPreconditionFailed, c.matchField
		}
	case !c.unmodifiedSince.IsZero() && modified.After(c.unmodifiedSince):
		return http.StatusPreconditionFailed, c.unmodifiedField
	}
	switch {
	case len(c.noneMatch) > 0:
		if has(c.noneMatch) {
			return c.noneMatchStatus, c.noneMatchField
		}
	case !c.modifiedSince.IsZero() && !modified.After(c.modifiedSince):
		return c.modifiedStatus, c.modifiedField
	}
	return 0, ""
}

// writeCondition returns what must hold for a PUT or a completed upload: If-Match
// with one entity tag, or If-None-Match with an asterisk. Anything else is
// NotImplemented, as in S3.
func (r *request) writeCondition() (store.Condition, error) {
	match, none := etagList(r.Header.Get("If-Match")), etagList(r.Header.Get("If-None-Match"))
	switch {
	case len(match) > 0 && len(none) > 0:
		return store.Condition{}, fail("NotImplemented").with("Header", "If-Match, If-None-Match")
	case len(match) > 1:
		return store.Condition{}, fail("NotImplemented").with("Header", "If-Match")
	case len(match) == 1:
		return store.Condition{Match: match}, nil
	case len(none) == 1 && none[0] == "*":
		return store.Condition{Absent: true}, nil
	case len(none) > 0:
		return store.Condition{}, fail("NotImplemented").with("Header", "If-None-Match")
	}
	return store.Condition{}, nil
}

// deleteCondition returns what must hold for a DELETE.
func (r *request) deleteCondition() (store.Condition, error) {
	c := store.Condition{Match: etagList(r.Header.Get("If-Match"))}
	if v := r.Header.Get("X-Amz-If-Match-Size"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return c, invalidArgument("x-amz-if-match-size", v, "The size must be an integer of 0 or more.")
		}
		c.HasSize, c.Size = true, n
	}
	if v := r.Header.Get("X-Amz-If-Match-Last-Modified-Time"); v != "" {
		t, err := parseTime(v)
		if err != nil {
			return c, invalidArgument("x-amz-if-match-last-modified-time", v, "The time is not valid.")
		}
		c.Modified = t
	}
	return c, nil
}

// parseTime reads a time as a field (RFC 9110) or an XML document (ISO 8601)
// has it.
func parseTime(v string) (time.Time, error) {
	if t, err := http.ParseTime(v); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339, v)
}

// preconditionFailed is the answer to a write whose condition did not hold: 404
// where it wanted an object and the key has none, and otherwise 412.
func (r *request) preconditionFailed(c store.Condition) error {
	if len(c.Match) == 0 {
		return fail("PreconditionFailed").with("Condition", "If-None-Match")
	}
	if _, err := r.h.store.Head(r.Context(), r.bucket, r.key, ""); err != nil {
		return err
	}
	return fail("PreconditionFailed").with("Condition", "If-Match")
}
