package sigv4

import (
	"net/http"
	"strconv"
	"time"
)

// maxExpires is a week, in seconds: as long as a signing key is good for.
const maxExpires = 604800

// presigned reads the claim of a query.
func (v *Verifier) presigned(r *http.Request, q query) (claim, error) {
	if q.repeated() {
		return claim{}, malformedQuery("Query-string authentication parameters must be specified once.")
	}
	switch name, _ := q.get("X-Amz-Algorithm"); name {
	case algorithm:
	case "":
		return claim{}, errQueryMissing()
	case "AWS4-ECDSA-P256-SHA256":
		return claim{}, malformedQuery(`X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"`)
	default:
		return claim{}, malformedQuery(`X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"`)
	}
	credential, _ := q.get("X-Amz-Credential")
	if credential == "" {
		return claim{}, errQueryMissing()
	}
	s, err := parseScope(credential, queryScope())
	if err != nil {
		return claim{}, err
	}
	if _, ok := q.get("X-Amz-Security-Token"); ok || r.Header["X-Amz-Security-Token"] != nil {
		return claim{}, errToken()
	}
	if err := v.checkRegion(s, queryScope()); err != nil {
		return claim{}, err
	}
	c := claim{scope: s, presigned: true, payload: presignedPayload(r, q)}
	c.date, _ = q.get("X-Amz-Date")
	c.signature, _ = q.get("X-Amz-Signature")
	c.signedHeaders, _ = q.get("X-Amz-SignedHeaders")
	if c.date == "" || c.signature == "" || c.signedHeaders == "" {
		return claim{}, errQueryMissing()
	}
	if _, err := time.Parse(longDate, c.date); err != nil {
		return claim{}, malformedQuery(`X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`)
	}
	if _, err := q.expires(); err != nil {
		return claim{}, err
	}
	return c, nil
}

// presignedPayload is the payload hash of a presigned URL: who made the URL does
// not know the body in most cases, and then says nothing of it.
func presignedPayload(r *http.Request, q query) string {
	if payload, ok := q.get("X-Amz-Content-Sha256"); ok {
		return payload
	}
	if payload := single(r.Header, "X-Amz-Content-Sha256"); payload != "" {
		return payload
	}
	return unsignedPayload
}

func (q query) expires() (time.Duration, error) {
	value, _ := q.get("X-Amz-Expires")
	if value == "" {
		return 0, errQueryMissing()
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil:
		return 0, malformedQuery("X-Amz-Expires should be a number")
	case seconds < 0:
		return 0, malformedQuery("X-Amz-Expires must be non-negative")
	case seconds > maxExpires:
		return 0, malformedQuery("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	}
	return time.Duration(seconds) * time.Second, nil
}

// checkExpiry refuses a URL that is not valid any more, or not yet.
func (v *Verifier) checkExpiry(q query, c claim) error {
	date, err := time.Parse(longDate, c.date)
	if err != nil {
		return errDate()
	}
	valid, err := q.expires()
	if err != nil {
		return err
	}
	now, end := v.now(), date.Add(valid)
	switch {
	case date.Sub(now) > v.skew():
		return denied("Request is not valid yet", Field{"ServerTime", now.UTC().Format(time.RFC3339)})
	case !now.Before(end):
		return denied("Request has expired.",
			Field{"ServerTime", now.UTC().Format(time.RFC3339)},
			Field{"X-Amz-Expires", strconv.FormatInt(int64(valid/time.Second), 10)},
			Field{"Expires", end.UTC().Format(time.RFC3339)})
	}
	return nil
}

func errQueryMissing() *Error {
	return malformedQuery("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
}
