package sigv4

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// EmptyHash is the payload hash of a request without a body.
const EmptyHash = emptyHash

// UnsignedPayload is the payload hash of a request whose body is not signed.
const UnsignedPayload = unsignedPayload

// Sign signs a request that is to be sent, by its Authorization field: its Host,
// Content-Type, Content-MD5 and all x-amz-… fields. payloadHash is the SHA-256 of
// the body in hexadecimal digits, or another value of x-amz-content-sha256.
func Sign(r *http.Request, c Credential, region string, t time.Time, payloadHash string) {
	date, s := t.UTC().Format(longDate), newScope(c, region, t)
	r.Header.Set("X-Amz-Date", date)
	r.Header.Set("X-Amz-Content-Sha256", payloadHash)
	names := []string{"host"}
	for name := range r.Header {
		name = strings.ToLower(name)
		if name == "content-type" || name == "content-md5" || strings.HasPrefix(name, "x-amz-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	signed := strings.Join(names, ";")
	canonical := appendCanonical(nil, r, parseQuery(r), hostOf(r), names, signed, payloadHash)
	signature := deriveKey(c.SecretKey, s.day, region).sign(appendStringToSign(nil, date, s.full, canonical))
	r.Header.Set("Authorization", algorithm+" Credential="+c.AccessKey+"/"+s.full+", SignedHeaders="+signed+", Signature="+string(signature[:]))
}

// Presign makes the URL of r one that is valid from t for as long as valid says,
// whole seconds up to a week, for whoever has it. Its Host and the x-amz-… fields
// that r has are signed and must be sent with it; the body is not.
func Presign(r *http.Request, c Credential, region string, t time.Time, valid time.Duration) {
	date, s := t.UTC().Format(longDate), newScope(c, region, t)
	names := []string{"host"}
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	signed := strings.Join(names, ";")
	q := append(parseQuery(r),
		parameter{"X-Amz-Algorithm", algorithm},
		parameter{"X-Amz-Credential", c.AccessKey + "/" + s.full},
		parameter{"X-Amz-Date", date},
		parameter{"X-Amz-Expires", strconv.FormatInt(int64(valid/time.Second), 10)},
		parameter{"X-Amz-SignedHeaders", signed})
	canonical := appendCanonical(nil, r, q, hostOf(r), names, signed, presignedPayload(r, q))
	signature := deriveKey(c.SecretKey, s.day, region).sign(appendStringToSign(nil, date, s.full, canonical))
	r.URL.RawQuery = string(q.append(nil)) + "&X-Amz-Signature=" + string(signature[:])
}

// SignPolicy returns the fields that make a form with a policy document, in JSON,
// a signed one. The policy has conditions for all of them but the policy itself and
// the signature.
func SignPolicy(policy string, c Credential, region string, t time.Time) map[string]string {
	s := newScope(c, region, t)
	encoded := base64.StdEncoding.EncodeToString([]byte(policy))
	signature := deriveKey(c.SecretKey, s.day, region).sign([]byte(encoded))
	return map[string]string{
		"policy":           encoded,
		"x-amz-algorithm":  algorithm,
		"x-amz-credential": c.AccessKey + "/" + s.full,
		"x-amz-date":       t.UTC().Format(longDate),
		"x-amz-signature":  string(signature[:]),
	}
}

func newScope(c Credential, region string, t time.Time) scope {
	s := scope{accessKey: c.AccessKey, day: t.UTC().Format(day), region: region}
	s.full = strings.Join([]string{s.day, region, service, terminator}, "/")
	return s
}

// hostOf is the Host that a client sends with r.
func hostOf(r *http.Request) string {
	if r.Host != "" {
		return r.Host
	}
	return r.URL.Host
}
