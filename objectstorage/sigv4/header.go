package sigv4

import (
	"net/http"
	"strings"
	"time"
)

// single returns the value of a field. Of a repeated one it returns all, joined as
// they are signed, so that what is checked is what was signed.
func single(h http.Header, name string) string {
	switch values := h[name]; len(values) {
	case 0:
		return ""
	case 1:
		return values[0]
	default:
		return strings.Join(values, ",")
	}
}

// header reads the claim of the Authorization field.
func (v *Verifier) header(r *http.Request) (claim, error) {
	authorization := single(r.Header, "Authorization")
	scheme, rest, ok := strings.Cut(authorization, " ")
	switch {
	case !ok:
		return claim{}, invalidArgument("Authorization", authorization, "Authorization header is invalid -- one and only one ' ' (space) required.")
	case scheme == "AWS":
		return claim{}, errMechanism()
	case scheme != algorithm:
		return claim{}, invalidArgument("Authorization", scheme, "Unsupported Authorization Type")
	}
	date, err := v.requestDate(r.Header)
	if err != nil {
		return claim{}, err
	}
	c, err := parseAuthorization(rest)
	if err != nil {
		return claim{}, err
	}
	c.date = date
	if err := v.checkRegion(c.scope, headerScope()); err != nil {
		return claim{}, err
	}
	if r.Header["X-Amz-Security-Token"] != nil {
		return claim{}, errToken()
	}
	if c.payload = single(r.Header, "X-Amz-Content-Sha256"); c.payload == "" {
		return claim{}, invalidRequest("Missing required header for this request: x-amz-content-sha256")
	}
	return c, nil
}

// requestDate returns x-amz-date or, where that is missing, Date, in longDate. It
// must be near enough to now.
func (v *Verifier) requestDate(h http.Header) (string, error) {
	sent := single(h, "X-Amz-Date")
	t, err := time.Parse(longDate, sent)
	if sent == "" {
		sent = single(h, "Date")
		if t, err = time.Parse(longDate, sent); err != nil {
			t, err = http.ParseTime(sent)
		}
	}
	if err != nil {
		return "", errDate()
	}
	if now := v.now(); t.Sub(now).Abs() > v.skew() {
		return "", errSkewed(sent, now, v.skew())
	}
	if len(sent) == len(longDate) { // then it is in that form, and not in one of Date
		return sent, nil
	}
	return t.UTC().Format(longDate), nil
}

// parseAuthorization reads what follows the algorithm: Credential, SignedHeaders
// and Signature, once each, separated by commas.
func parseAuthorization(rest string) (claim, error) {
	if strings.Count(rest, ",") != 2 {
		return claim{}, malformedHeader("the authorization header requires three components: Credential, SignedHeaders, and Signature.")
	}
	var credential, headers, signature string
	for component := range strings.SplitSeq(rest, ",") {
		component = strings.TrimSpace(component)
		name, value, ok := strings.Cut(component, "=")
		if !ok || strings.Contains(value, "=") {
			return claim{}, malformedHeader("the authorization component %q is malformed.", component)
		}
		var target *string
		switch name {
		case "Credential":
			target = &credential
		case "SignedHeaders":
			target = &headers
		case "Signature":
			target = &signature
		}
		switch {
		case target == nil: // then one of the three is missing
		case *target != "" || value == "":
			return claim{}, malformedHeader("the authorization component %q is malformed.", component)
		default:
			*target = value
		}
	}
	switch {
	case credential == "":
		return claim{}, malformedHeader("missing Credential.")
	case headers == "":
		return claim{}, malformedHeader("missing SignedHeaders.")
	case signature == "":
		return claim{}, malformedHeader("missing Signature.")
	}
	s, err := parseScope(credential, headerScope())
	if err != nil {
		return claim{}, err
	}
	return claim{scope: s, signedHeaders: headers, signature: signature}, nil
}
