package sigv4

import (
	"crypto/subtle"
	"net/http"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	service    = "s3"
	longDate   = "20060102T150405Z" // x-amz-date
	day        = "20060102"         // of a credential scope
)

// DefaultSkew is how far a client's clock may be off, as S3 allows it.
const DefaultSkew = 15 * time.Minute

// A Credential is an access key and the secret that belongs to it.
type Credential struct{ AccessKey, SecretKey string }

// A Verifier verifies requests. It may be used concurrently, and must not be copied
// or changed once it is in use.
type Verifier struct {
	// Credentials returns the secret of an access key. It must be safe for
	// concurrent use.
	Credentials func(accessKey string) (secret string, ok bool)
	// Region is the only one that a credential scope may name. Empty: any.
	Region string
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// MaxSkew is how far the date of a request may be from Now, both ways. Zero:
	// [DefaultSkew].
	MaxSkew time.Duration
	// MaxPolicyAge is how long after its x-amz-date the policy of a form is
	// valid, whatever its expiration says. Zero: only its expiration counts.
	MaxPolicyAge time.Duration
	// Hosts returns other spellings of a request's Host that the client may have
	// signed, because it knows this server by another name. Nil: none.
	Hosts func(host string) []string

	keys keyCache
}

// An Identity is who signed a request, and what is needed to check its body. A nil
// Identity is anonymous.
type Identity struct {
	AccessKey string
	Presigned bool // by its query; otherwise by its Authorization field

	payload   string // x-amz-content-sha256, as it was signed
	signature string // the request's, with which the chain of chunks begins
	date      string // in longDate
	scope     string // day/region/s3/aws4_request
	key       key
}

// claim is what a request says of its signature.
type claim struct {
	scope
	signedHeaders string
	signature     string
	date          string // in longDate, as signed
	payload       string // the last line of the canonical request
	presigned     bool
}

// Verify checks the signature of r: of its Authorization field or of its query. A
// request with neither is anonymous, nil and no error. Every other error is an
// [*Error]. The body is not touched; see [Identity.Body].
func (v *Verifier) Verify(r *http.Request) (*Identity, error) {
	query := parseQuery(r)
	authorization := r.Header["Authorization"]
	presigned, old := query.mechanism()
	var c claim
	var err error
	switch {
	case len(authorization) > 0 && (presigned || old):
		return nil, errTwoMechanisms(authorization[0])
	case old:
		return nil, errMechanism()
	case presigned:
		c, err = v.presigned(r, query)
	case len(authorization) == 0:
		return nil, nil
	default:
		c, err = v.header(r)
	}
	if err != nil {
		return nil, err
	}
	return v.check(r, query, c)
}

// check compares the signature of c with the one that r should have.
func (v *Verifier) check(r *http.Request, query query, c claim) (*Identity, error) {
	secret, ok := v.Credentials(c.accessKey)
	if !ok {
		return nil, errAccessKey(c.accessKey)
	}
	if err := c.checkDay(); err != nil {
		return nil, err
	}
	if c.presigned {
		if err := v.checkExpiry(query, c); err != nil {
			return nil, err
		}
	}
	if !knownPayload(c.payload) {
		return nil, errPayload(c.payload)
	}
	names, err := splitSigned(c)
	if err != nil {
		return nil, err
	}
	if err := checkSigned(r, names); err != nil {
		return nil, err
	}
	signing, cached := v.keys.get(secret, c.scope)
	if !cached {
		signing = deriveKey(secret, c.day, c.region)
	}
	var buffer [1024]byte
	canonical, toSign := []byte(nil), []byte(nil)
	match := func(host string) bool {
		canonical = appendCanonical(buffer[:0], r, query, host, names, c.signedHeaders, c.payload)
		var line [256]byte
		toSign = appendStringToSign(line[:0], c.date, c.scope.String(), canonical)
		return equal(c.signature, signing.sign(toSign))
	}
	if !match(r.Host) && !v.matchOther(r.Host, match) {
		match(r.Host) // the error shows the request as it came
		return nil, errSignature(c.accessKey, c.signature, toSign, canonical)
	}
	if !cached {
		v.keys.put(secret, c.scope, signing)
	}
	return &Identity{
		AccessKey: c.accessKey, Presigned: c.presigned, payload: c.payload,
		signature: c.signature, date: c.date, scope: c.scope.String(), key: signing,
	}, nil
}

// matchOther tries the other names of host, and host without the port that its
// scheme has anyway, which many clients leave out of what they sign.
func (v *Verifier) matchOther(host string, match func(string) bool) bool {
	for _, port := range []string{":80", ":443"} {
		if bare, ok := strings.CutSuffix(host, port); ok && match(bare) {
			return true
		}
	}
	if v.Hosts == nil {
		return false
	}
	for _, other := range v.Hosts(host) {
		if other != host && match(other) {
			return true
		}
	}
	return false
}

func (v *Verifier) now() time.Time {
	if v.Now != nil {
		return v.Now()
	}
	return time.Now()
}

func (v *Verifier) skew() time.Duration {
	if v.MaxSkew > 0 {
		return v.MaxSkew
	}
	return DefaultSkew
}

// equal compares a signature with the right one without telling by its time how
// much of it is right.
func equal(provided string, right [64]byte) bool {
	return len(provided) == len(right) && subtle.ConstantTimeCompare([]byte(provided), right[:]) == 1
}
