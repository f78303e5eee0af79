package sigv4

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Policy is what the sender of a form may upload: the signed document in its
// field "policy". (Amazon S3 API reference, "POST Policy".)
type Policy struct {
	AccessKey  string
	expiration time.Time
	conditions []condition
	size       sizeRange
}

// policyFields are those that make a form a signed one. All or none are there.
var policyFields = [...]string{"policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"}

// VerifyPolicy checks the signature of a form and reads its policy. The names of the
// fields are in lower case; of the file itself nothing is needed. A form without any
// field of a signature is anonymous, nil and no error. Every other error is an
// [*Error].
func (v *Verifier) VerifyPolicy(form map[string]string) (*Policy, error) {
	has := func(name string) bool { _, ok := form[name]; return ok }
	if !slices.ContainsFunc(policyFields[:], has) {
		if has("awsaccesskeyid") || has("signature") {
			return nil, errMechanism()
		}
		return nil, nil
	}
	for _, name := range policyFields {
		if !has(name) {
			return nil, invalidArgument(name, "", fmt.Sprintf("Bucket POST must contain a field named '%s'.  If it is specified, please check the order of the fields.", name))
		}
	}
	if form["x-amz-algorithm"] != algorithm {
		return nil, invalidArgument("X-Amz-Algorithm", form["x-amz-algorithm"], "Only AWS4-HMAC-SHA256 is supported")
	}
	date, err := time.Parse(longDate, form["x-amz-date"])
	if err != nil {
		return nil, invalidArgument("X-Amz-Date", form["x-amz-date"], "X-Amz-Date must be formated via ISO8601 Long format")
	}
	if date.Sub(v.now()) > v.skew() {
		return nil, invalidArgument("X-Amz-Date", form["x-amz-date"], "X-Amz-Date lies in the future")
	}
	if v.MaxPolicyAge > 0 && v.now().Sub(date) > v.MaxPolicyAge {
		return nil, errPolicyExpired()
	}
	s, err := v.verifyForm(form)
	if err != nil {
		return nil, err
	}
	p, err := parsePolicy(form["policy"])
	if err != nil {
		return nil, err
	}
	if !v.now().Before(p.expiration) {
		return nil, errPolicyExpired()
	}
	p.AccessKey = s.accessKey
	return p, nil
}

// verifyForm checks the signature, which is of the field "policy" as it is.
func (v *Verifier) verifyForm(form map[string]string) (scope, error) {
	credential, provided := form["x-amz-credential"], form["x-amz-signature"]
	errs := formScope(credential)
	s, err := parseScope(credential, errs)
	if err != nil {
		return scope{}, err
	}
	if err := v.checkRegion(s, errs); err != nil {
		return scope{}, err
	}
	// A key of one day that got out must not sign forms of other days.
	if !strings.HasPrefix(form["x-amz-date"], s.day) {
		return scope{}, invalidArgument("X-Amz-Date", form["x-amz-date"], "X-Amz-Date and the date of X-Amz-Credential are not the same day")
	}
	if _, ok := form["x-amz-security-token"]; ok {
		return scope{}, errToken()
	}
	secret, ok := v.Credentials(s.accessKey)
	if !ok {
		return scope{}, errAccessKey(s.accessKey)
	}
	signing, cached := v.keys.get(secret, s)
	if !cached {
		signing = deriveKey(secret, s.day, s.region)
	}
	toSign := []byte(form["policy"])
	if !equal(provided, signing.sign(toSign)) {
		return scope{}, errSignature(s.accessKey, provided, toSign, nil)
	}
	return s, nil
}

func formScope(credential string) scopeErrors {
	say := func(format string, args ...any) *Error {
		return invalidArgument("x-amz-credential", credential, fmt.Sprintf(format, args...))
	}
	return scopeErrors{
		malformed:  func() *Error { return say(sayMalformed) },
		service:    func(got string) *Error { return say(sayService, got) },
		terminator: func(got string) *Error { return say(sayTerminator, got) },
		day:        func(got string) *Error { return say(sayDay, got) },
		region:     func(got, want string) *Error { return say(sayRegion, got, want) },
	}
}

func parsePolicy(encoded string) (*Policy, error) {
	document, err := decodePolicy(encoded)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(document, &fields); err != nil {
		return nil, errPolicyJSON()
	}
	for _, name := range []string{"expiration", "conditions"} {
		if _, ok := fields[name]; !ok {
			return nil, errPolicy("Policy missing %s.", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if name != "expiration" && name != "conditions" {
			return nil, errPolicy("Unexpected: %q", name)
		}
	}
	p := &Policy{}
	if p.expiration, err = parseExpiration(fields["expiration"]); err != nil {
		return nil, err
	}
	var conditions []json.RawMessage
	if err := json.Unmarshal(fields["conditions"], &conditions); err != nil {
		return nil, errPolicy("Invalid 'conditions' value: must be a List.")
	}
	for _, raw := range conditions {
		if err := p.add(raw); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// decodePolicy accepts base64 with and without padding, for both are sent.
func decodePolicy(encoded string) ([]byte, error) {
	encoded = strings.TrimSpace(encoded)
	if encoded == "" {
		return nil, errPolicy("Expecting '{' but found End-of-Input")
	}
	document, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		document, err = base64.RawStdEncoding.DecodeString(encoded)
	}
	if err != nil {
		return nil, errPolicy("invalid Base64 encoding.")
	}
	return bytes.TrimPrefix(document, []byte("\xef\xbb\xbf")), nil
}

func parseExpiration(raw json.RawMessage) (time.Time, error) {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return time.Time{}, errPolicyJSON()
	}
	t, err := time.Parse(time.RFC3339, text) // fractions of a second included
	if err != nil {
		return time.Time{}, errPolicy("Invalid 'expiration' value: '%s'", text)
	}
	return t, nil
}

// Check wants every condition to hold for a form that uploads key to bucket, and
// every field of it to have a condition, but those that need none: "file",
// "policy", "x-amz-signature" and "x-ignore-…". key is that of the object, after
// ${filename} was replaced.
func (p *Policy) Check(bucket, key string, form map[string]string) error {
	conditioned := func(name string) bool {
		return slices.ContainsFunc(p.conditions, func(c condition) bool { return c.field == name })
	}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		exempt := name == "file" || name == "policy" || name == "x-amz-signature" || strings.HasPrefix(name, "x-ignore-")
		if !exempt && !conditioned(name) {
			return errAccording("Extra input fields: %s", name)
		}
	}
	for _, c := range p.conditions {
		value, ok := form[c.field]
		switch c.field {
		case "bucket":
			value, ok = bucket, true
		case "key":
			value, ok = key, true
		}
		if !ok || !c.holds(value) {
			return errAccording("Policy Condition failed: %s", c.text)
		}
	}
	if !conditioned("bucket") {
		return errAccording("Extra input fields: bucket")
	}
	return nil
}

// CheckSize checks the content-length-range, if there is one, for a file of size
// bytes.
func (p *Policy) CheckSize(size int64) error {
	switch r := p.size; {
	case !r.set:
		return nil
	case size > r.most:
		return refuse(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.",
			Field{"ProposedSize", fmt.Sprint(size)}, Field{"MaxSizeAllowed", fmt.Sprint(r.most)})
	case size < r.least:
		return refuse(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size",
			Field{"ProposedSize", fmt.Sprint(size)}, Field{"MinSizeAllowed", fmt.Sprint(r.least)})
	}
	return nil
}

// MaxSize is the size of the largest file that [Policy.CheckSize] accepts; false:
// there is no such limit.
func (p *Policy) MaxSize() (int64, bool) { return p.size.most, p.size.set }

func errPolicy(format string, args ...any) *Error {
	return refuse(http.StatusBadRequest, "InvalidPolicyDocument", "Invalid Policy: "+fmt.Sprintf(format, args...))
}

func errPolicyJSON() *Error { return errPolicy("Invalid JSON.") }

func errAccording(format string, args ...any) *Error {
	return denied("Invalid according to Policy: " + fmt.Sprintf(format, args...))
}

func errPolicyExpired() *Error { return errAccording("Policy expired.") }
