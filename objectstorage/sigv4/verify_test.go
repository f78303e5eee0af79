package sigv4

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// signed returns a request that is right at exampleTime, as a server gets it.
func signed(change func(*http.Request)) *http.Request {
	r := httptest.NewRequest("PUT", "http://s3.example.com/bucket/a%20key?x=1", strings.NewReader("data"))
	r.Header.Set("X-Amz-Meta-A", "1")
	Sign(r, exampleCredential, "us-east-1", exampleTime, unsignedPayload)
	if change != nil {
		change(r)
	}
	return r
}

func refusal(t *testing.T, err error) *Error {
	t.Helper()
	var refused *Error
	if !errors.As(err, &refused) {
		t.Fatalf("%v, expected a refusal", err)
	}
	return refused
}

func expectRefusal(t *testing.T, err error, status int, code, message string) *Error {
	t.Helper()
	e := refusal(t, err)
	if e.Status != status || e.Code != code || e.Message != message {
		t.Errorf("%d %s: %s\nexpected %d %s: %s", e.Status, e.Code, e.Message, status, code, message)
	}
	return e
}

func (e *Error) field(name string) string {
	for _, f := range e.Extra {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

const (
	goodAuthorization = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-date,Signature=00"
	malformed         = "The authorization header is malformed; "
	mismatch          = "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)

func authorization(old, new string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Authorization", strings.Replace(goodAuthorization, old, new, 1))
	}
}

func set(fields ...string) func(*http.Request) {
	return func(r *http.Request) {
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
	}
}

func TestRefusalsOfTheAuthorizationField(t *testing.T) {
	for name, test := range map[string]struct {
		change        func(*http.Request)
		status        int
		code, message string
	}{
		"no space":               {set("Authorization", "invalid_header"), 400, "InvalidArgument", "Authorization header is invalid -- one and only one ' ' (space) required."},
		"empty":                  {set("Authorization", ""), 400, "InvalidArgument", "Authorization header is invalid -- one and only one ' ' (space) required."},
		"signature V2":           {set("Authorization", "AWS key:signature"), 400, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."},
		"signature V4A":          {authorization("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), 400, "InvalidArgument", "Unsupported Authorization Type"},
		"basic":                  {set("Authorization", "Basic YTpi"), 400, "InvalidArgument", "Unsupported Authorization Type"},
		"two components":         {authorization("SignedHeaders=host;x-amz-date,", ""), 400, "AuthorizationHeaderMalformed", malformed + "the authorization header requires three components: Credential, SignedHeaders, and Signature."},
		"a component without =":  {authorization("SignedHeaders=", "SignedHeaders-"), 400, "AuthorizationHeaderMalformed", malformed + `the authorization component "SignedHeaders-host;x-amz-date" is malformed.`},
		"no credential":          {authorization("Credential=", "Other="), 400, "AuthorizationHeaderMalformed", malformed + "missing Credential."},
		"no signed headers":      {authorization("SignedHeaders=", "Other="), 400, "AuthorizationHeaderMalformed", malformed + "missing SignedHeaders."},
		"no signature":           {authorization("Signature=", "Other="), 400, "AuthorizationHeaderMalformed", malformed + "missing Signature."},
		"a component twice":      {authorization("SignedHeaders=host;x-amz-date", "Signature=1"), 400, "AuthorizationHeaderMalformed", malformed + `the authorization component "Signature=00" is malformed.`},
		"an empty component":     {authorization("Signature=00", "Signature="), 400, "AuthorizationHeaderMalformed", malformed + `the authorization component "Signature=" is malformed.`},
		"too many parts":         {authorization("/s3/", "/s3/extra/"), 400, "AuthorizationHeaderMalformed", malformed + `the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`},
		"no access key":          {authorization("AKIAIOSFODNN7EXAMPLE", ""), 400, "AuthorizationHeaderMalformed", malformed + `the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`},
		"another terminator":     {authorization("aws4_request", "aws_request"), 400, "AuthorizationHeaderMalformed", malformed + `incorrect terminal "aws_request". This endpoint uses "aws4_request".`},
		"another service":        {authorization("/s3/", "/ec2/"), 400, "AuthorizationHeaderMalformed", malformed + `incorrect service "ec2". This endpoint belongs to "s3".`},
		"another region":         {authorization("us-east-1", "us-west-1"), 400, "AuthorizationHeaderMalformed", malformed + `the region "us-west-1" is wrong; expecting "us-east-1"`},
		"a day that is none":     {authorization("20130524", "3223423234"), 400, "AuthorizationHeaderMalformed", malformed + `incorrect date format "3223423234". This date in the credential must be in the format "yyyyMMdd".`},
		"another day":            {authorization("20130524", "20130523"), 400, "AuthorizationHeaderMalformed", malformed + malformed + "Invalid credential date. Date is not the same as X-Amz-Date."},
		"another access key":     {authorization("AKIAIOSFODNN7EXAMPLE", "other"), 403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."},
		"no date":                {func(r *http.Request) { r.Header.Del("X-Amz-Date") }, 403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header."},
		"an empty date":          {set("X-Amz-Date", ""), 403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header."},
		"a date that is none":    {set("X-Amz-Date", "03032006"), 403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header."},
		"two dates":              {func(r *http.Request) { r.Header.Add("X-Amz-Date", "20130524T000001Z") }, 403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header."},
		"no payload hash":        {func(r *http.Request) { r.Header.Del("X-Amz-Content-Sha256") }, 400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256"},
		"a hash that is none":    {set("X-Amz-Content-Sha256", "invalid_sha256"), 400, "InvalidArgument", errPayload("").Message},
		"two payload hashes":     {func(r *http.Request) { r.Header.Add("X-Amz-Content-Sha256", EmptyHash) }, 400, "InvalidArgument", errPayload("").Message},
		"a session token":        {set("X-Amz-Security-Token", "x"), 400, "InvalidToken", "The provided token is malformed or otherwise invalid."},
		"fields not signed":      {set("X-Amz-Tagging", "a=b", "X-Amz-Copy-Source", "b/k"), 403, "AccessDenied", "There were headers present in the request which were not signed"},
		"host not signed":        {authorization("host;", ""), 403, "AccessDenied", "There were headers present in the request which were not signed"},
		"names in capitals":      {authorization("host;", "Host;"), 400, "AuthorizationHeaderMalformed", malformed + `the authorization component "SignedHeaders=Host;x-amz-date" is malformed.`},
		"an empty name":          {authorization("host;", "host;;"), 400, "AuthorizationHeaderMalformed", malformed + `the authorization component "SignedHeaders=host;;x-amz-date" is malformed.`},
		"another method":         {func(r *http.Request) { r.Method = "DELETE" }, 403, "SignatureDoesNotMatch", mismatch},
		"another path":           {func(r *http.Request) { r.RequestURI = "/bucket/another" }, 403, "SignatureDoesNotMatch", mismatch},
		"a path that is cleaned": {func(r *http.Request) { r.RequestURI = "/bucket//a%20key?x=1" }, 403, "SignatureDoesNotMatch", mismatch},
		"another query":          {func(r *http.Request) { r.URL.RawQuery = "x=2" }, 403, "SignatureDoesNotMatch", mismatch},
		"another host":           {func(r *http.Request) { r.Host = "evil.example.com" }, 403, "SignatureDoesNotMatch", mismatch},
		"a believed proxy":       {func(r *http.Request) { r.Host = "evil"; r.Header.Set("X-Forwarded-Host", "s3.example.com") }, 403, "SignatureDoesNotMatch", mismatch},
		"another field":          {set("X-Amz-Meta-A", "2"), 403, "SignatureDoesNotMatch", mismatch},
		"a field twice":          {func(r *http.Request) { r.Header.Add("X-Amz-Meta-A", "1") }, 403, "SignatureDoesNotMatch", mismatch},
		"both ways":              {func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=1" }, 400, "InvalidArgument", errTwoMechanisms("").Message},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := verifierAt(exampleTime).Verify(signed(test.change))
			expectRefusal(t, err, test.status, test.code, test.message)
			if id != nil {
				t.Error("there is an identity nevertheless")
			}
		})
	}
}

func TestARefusalTellsWhatTheClientNeeds(t *testing.T) {
	v := verifierAt(exampleTime)
	_, err := v.Verify(signed(set("X-Amz-Meta-A", "2")))
	e := refusal(t, err)
	canonical := "PUT\n/bucket/a%20key\nx=1\nhost:s3.example.com\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:20130524T000000Z\nx-amz-meta-a:2\n\n" +
		"host;x-amz-content-sha256;x-amz-date;x-amz-meta-a\nUNSIGNED-PAYLOAD"
	if e.field("CanonicalRequest") != canonical || !strings.HasPrefix(e.field("CanonicalRequestBytes"), "50 55 54 0a 2f") {
		t.Errorf("the canonical request is %q", e.field("CanonicalRequest"))
	}
	if !strings.HasPrefix(e.field("StringToSign"), "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n") || e.field("AWSAccessKeyId") != exampleCredential.AccessKey {
		t.Errorf("the fields are %q", e.Extra)
	}
	_, err = v.Verify(signed(set("X-Amz-Tagging", "a=b", "X-Amz-Copy-Source", "b/k")))
	if got := refusal(t, err).field("HeadersNotSigned"); got != "x-amz-copy-source, x-amz-tagging" {
		t.Errorf("the unsigned fields are %q", got)
	}
	_, err = v.Verify(signed(authorization("us-east-1", "us-west-1")))
	if got := refusal(t, err).field("Region"); got != "us-east-1" {
		t.Errorf("the region is %q", got)
	}
	for _, f := range e.Extra {
		if strings.Contains(f.Value, exampleCredential.SecretKey) {
			t.Errorf("%s has the secret", f.Name)
		}
	}
}

func TestTheClockMayBeOffByTheSkewBothWays(t *testing.T) {
	for off, ok := range map[time.Duration]bool{
		0: true, 15 * time.Minute: true, -15 * time.Minute: true, 15*time.Minute + time.Second: false, -15*time.Minute - time.Second: false, 120 * time.Hour: false,
	} {
		_, err := verifierAt(exampleTime.Add(off)).Verify(signed(nil))
		if ok && err != nil {
			t.Errorf("%v off: %v", off, err)
		}
		if !ok {
			e := expectRefusal(t, err, 403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
			if e.field("RequestTime") != "20130524T000000Z" || e.field("ServerTime") != exampleTime.Add(off).Format(time.RFC3339) || e.field("MaxAllowedSkewMilliseconds") != "900000" {
				t.Errorf("the fields are %q", e.Extra)
			}
		}
	}
}

func TestADateFieldIsEnough(t *testing.T) {
	for _, date := range []string{"Fri, 24 May 2013 00:00:00 GMT", "20130524T000000Z"} {
		r := httptest.NewRequest("GET", "http://s3.example.com/", nil)
		r.Header.Set("X-Amz-Content-Sha256", EmptyHash)
		r.Header.Set("Date", date)
		const names = "date;host;x-amz-content-sha256"
		s := newScope(exampleCredential, "us-east-1", exampleTime)
		canonical := appendCanonical(nil, r, nil, r.Host, strings.Split(names, ";"), names, EmptyHash)
		signature := deriveKey(exampleCredential.SecretKey, s.day, s.region).sign(appendStringToSign(nil, "20130524T000000Z", s.full, canonical))
		r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Signature=%s, Credential=%s/%s, SignedHeaders=%s", signature[:], s.accessKey, s.full, names))
		if _, err := verifierAt(exampleTime).Verify(r); err != nil {
			t.Errorf("%s: %v", date, err)
		}
	}
}

func TestARequestWithoutASignatureIsAnonymous(t *testing.T) {
	for _, target := range []string{"/", "/files/a?X-Amz=1&prefix=Signature"} {
		if id, err := verifierAt(exampleTime).Verify(httptest.NewRequest("GET", target, nil)); id != nil || err != nil {
			t.Errorf("%s: %v, %v", target, id, err)
		}
	}
}

func TestAnyRegionWhereNoneIsConfigured(t *testing.T) {
	v := verifierAt(exampleTime)
	v.Region = ""
	r := httptest.NewRequest("GET", "http://s3.example.com/", nil)
	Sign(r, exampleCredential, "moon-1", exampleTime, EmptyHash)
	if _, err := v.Verify(r); err != nil {
		t.Error(err)
	}
}

func TestTheHostMayHaveOtherNames(t *testing.T) {
	v := verifierAt(exampleTime)
	v.Hosts = func(host string) []string {
		return []string{"other.example.com", "localhost:" + host[strings.LastIndex(host, ":")+1:]}
	}
	for host, ok := range map[string]bool{"10.0.0.1:8007": true, "10.0.0.1:9": false} {
		r := httptest.NewRequest("GET", "http://localhost:8007/bucket/key", nil)
		Presign(r, exampleCredential, "us-east-1", exampleTime, time.Hour)
		r.RequestURI, r.Host = r.URL.RequestURI(), host
		if _, err := v.Verify(r); (err == nil) != ok {
			t.Errorf("%s: %v", host, err)
		}
	}
	r := httptest.NewRequest("GET", "http://s3.example.com/bucket/key", nil)
	Sign(r, exampleCredential, "us-east-1", exampleTime, EmptyHash)
	r.Host = "s3.example.com:80"
	if _, err := v.Verify(r); err != nil {
		t.Errorf("the port that http has anyway: %v", err)
	}
}

func presigned(change func(q map[string]string), fields ...string) *http.Request {
	r := httptest.NewRequest("GET", "http://s3.example.com/bucket/key", nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	Presign(r, exampleCredential, "us-east-1", exampleTime, time.Hour)
	if change != nil {
		q := make(map[string]string)
		for _, p := range parseQuery(r) {
			q[p.name] = p.value
		}
		change(q)
		var out query
		for name, value := range q {
			out = append(out, parameter{name, value})
		}
		r.URL.RawQuery = string(out.append(nil)) + "&X-Amz-Signature=" + q["X-Amz-Signature"]
	}
	return r
}

func with(name, value string) func(map[string]string) {
	return func(q map[string]string) { q[name] = value }
}

func credentialOf(old, new string) func(map[string]string) {
	return func(q map[string]string) { q["X-Amz-Credential"] = strings.Replace(q["X-Amz-Credential"], old, new, 1) }
}

func TestRefusalsOfPresignedURLs(t *testing.T) {
	const inCredential = "Error parsing the X-Amz-Credential parameter; "
	missing := errQueryMissing().Message
	for name, test := range map[string]struct {
		change        func(map[string]string)
		code, message string
	}{
		"no algorithm":          {func(q map[string]string) { delete(q, "X-Amz-Algorithm") }, "", missing},
		"another algorithm":     {with("X-Amz-Algorithm", "AWS4-SHA256"), "", `X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"`},
		"signature V4A":         {with("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256"), "", `X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"`},
		"no credential":         {func(q map[string]string) { delete(q, "X-Amz-Credential") }, "", missing},
		"no date":               {func(q map[string]string) { delete(q, "X-Amz-Date") }, "", missing},
		"no expiry":             {func(q map[string]string) { delete(q, "X-Amz-Expires") }, "", missing},
		"no signed headers":     {func(q map[string]string) { delete(q, "X-Amz-SignedHeaders") }, "", missing},
		"no signature":          {with("X-Amz-Signature", ""), "", missing},
		"a malformed scope":     {with("X-Amz-Credential", "access/hello/world"), "", inCredential + sayMalformed},
		"another terminator":    {credentialOf("aws4_request", "aws5_request"), "", inCredential + `incorrect terminal "aws5_request". This endpoint uses "aws4_request".`},
		"another service":       {credentialOf("/s3/", "/sns/"), "", inCredential + `incorrect service "sns". This endpoint belongs to "s3".`},
		"another region":        {credentialOf("us-east-1", "us-west-1"), "", inCredential + `the region "us-west-1" is wrong; expecting "us-east-1"`},
		"a day that is none":    {credentialOf("20130524", "32234Z34"), "", inCredential + `incorrect date format "32234Z34". This date in the credential must be in the format "yyyyMMdd".`},
		"another day":           {credentialOf("20130524", "20060102"), "", `Invalid credential date "20060102". This date is not the same as X-Amz-Date: "20130524".`},
		"a date that is none":   {with("X-Amz-Date", "2013"), "", `X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`},
		"an expiry that is not": {with("X-Amz-Expires", "x"), "", "X-Amz-Expires should be a number"},
		"a negative expiry":     {with("X-Amz-Expires", "-3"), "", "X-Amz-Expires must be non-negative"},
		"more than a week":      {with("X-Amz-Expires", "604801"), "", "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds"},
		"names in capitals":     {with("X-Amz-SignedHeaders", "HOST"), "", "X-Amz-SignedHeaders is malformed."},
		"another access key":    {credentialOf("AKIA", "AKIB"), "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."},
		"a session token":       {with("X-Amz-Security-Token", "x"), "InvalidToken", "The provided token is malformed or otherwise invalid."},
		"a longer expiry":       {with("X-Amz-Expires", "3601"), "SignatureDoesNotMatch", mismatch},
		"one more parameter":    {with("versionId", "1"), "SignatureDoesNotMatch", mismatch},
		"another signature":     {with("X-Amz-Signature", strings.Repeat("0", 64)), "SignatureDoesNotMatch", mismatch},
		"a payload hash":        {with("X-Amz-Content-Sha256", EmptyHash), "SignatureDoesNotMatch", mismatch},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifierAt(exampleTime).Verify(presigned(test.change))
			e := refusal(t, err)
			if test.code == "" {
				test.code = "AuthorizationQueryParametersError"
			}
			if e.Code != test.code || e.Message != test.message {
				t.Errorf("%v\nexpected %s: %s", e, test.code, test.message)
			}
		})
	}
}

func TestPresignedURLsOfAnotherKind(t *testing.T) {
	v := verifierAt(exampleTime)
	for _, query := range []string{"AWSAccessKeyId=a&Expires=1&Signature=b", "Signature=b"} {
		_, err := v.Verify(httptest.NewRequest("GET", "/b/k?"+query, nil))
		expectRefusal(t, err, 400, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	}
	r := presigned(nil)
	r.URL.RawQuery += "&X-Amz-Expires=604800"
	_, err := v.Verify(r)
	expectRefusal(t, err, 400, "AuthorizationQueryParametersError", "Query-string authentication parameters must be specified once.")
}

func TestAPresignedURLIsValidForItsTime(t *testing.T) {
	for at, message := range map[time.Duration]string{
		0: "", time.Hour - time.Second: "", -15 * time.Minute: "",
		time.Hour: "Request has expired.", 720 * time.Hour: "Request has expired.", -16 * time.Minute: "Request is not valid yet",
	} {
		_, err := verifierAt(exampleTime.Add(at)).Verify(presigned(nil))
		if message == "" {
			if err != nil {
				t.Errorf("%v later: %v", at, err)
			}
			continue
		}
		e := expectRefusal(t, err, 403, "AccessDenied", message)
		if at > 0 && (e.field("X-Amz-Expires") != "3600" || e.field("Expires") != "2013-05-24T01:00:00Z" || e.field("ServerTime") == "") {
			t.Errorf("the fields are %q", e.Extra)
		}
	}
	_, err := verifierAt(exampleTime).Verify(presigned(with("X-Amz-Expires", "0")))
	expectRefusal(t, err, 403, "AccessDenied", "Request has expired.")
}

func TestFieldsOfAPresignedURLMustBeSent(t *testing.T) {
	v := verifierAt(exampleTime)
	r := presigned(nil, "X-Amz-Acl", "private")
	if _, err := v.Verify(r); err != nil {
		t.Error(err)
	}
	r.Header.Del("X-Amz-Acl")
	_, err := v.Verify(r)
	expectRefusal(t, err, 403, "SignatureDoesNotMatch", mismatch)
	r = presigned(nil)
	r.Header.Set("X-Amz-Copy-Source", "b/k")
	_, err = v.Verify(r)
	expectRefusal(t, err, 403, "AccessDenied", "There were headers present in the request which were not signed")
	r = presigned(nil)
	r.Header.Set("Content-Type", "text/plain")
	if _, err := v.Verify(r); err != nil {
		t.Errorf("a field that need not be signed: %v", err)
	}
}

func TestASecretThatChangedIsUsedAtOnce(t *testing.T) {
	v := verifierAt(exampleTime)
	var mu sync.Mutex
	secret := exampleCredential.SecretKey
	v.Credentials = func(string) (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		return secret, true
	}
	for range 2 { // the second time with the key that is kept
		if _, err := v.Verify(signed(nil)); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	secret = "another"
	mu.Unlock()
	if _, err := v.Verify(signed(nil)); err == nil {
		t.Error("the old secret is still good")
	}
}

func TestTheKeysThatAreKeptAreBounded(t *testing.T) {
	v := verifierAt(exampleTime)
	v.Region = ""
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range maxKeys {
				r := httptest.NewRequest("GET", "http://s3.example.com/", nil)
				Sign(r, exampleCredential, fmt.Sprintf("region-%d-%d", worker, i), exampleTime, EmptyHash)
				if _, err := v.Verify(r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if n := len(v.keys.keys); n == 0 || n > maxKeys {
		t.Errorf("%d keys are kept", n)
	}
	before := len(v.keys.keys)
	r := httptest.NewRequest("GET", "http://s3.example.com/", nil)
	Sign(r, Credential{exampleCredential.AccessKey, "wrong"}, "region-x", exampleTime, EmptyHash)
	if _, err := v.Verify(r); err == nil || len(v.keys.keys) != before {
		t.Errorf("a wrong signature left a key behind: %v", err)
	}
}

func TestAWholeBodyIsHashed(t *testing.T) {
	const data = "Welcome to Amazon S3."
	const hash = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
	for name, test := range map[string]struct {
		body, hash string
		size       int64
		code       string
	}{
		"right":                   {data, hash, 21, ""},
		"right in capitals":       {data, strings.ToUpper(hash), 21, ""},
		"right, of unknown size":  {data, hash, -1, ""},
		"empty":                   {"", EmptyHash, 0, ""},
		"unsigned":                {data, unsignedPayload, 21, ""},
		"another":                 {"Welcome to Amazon S4.", hash, 21, "XAmzContentSHA256Mismatch"},
		"another of unknown size": {"Welcome", hash, -1, "XAmzContentSHA256Mismatch"},
		"empty and another hash":  {"", hash, 0, "XAmzContentSHA256Mismatch"},
		"cut off":                 {data[:10], hash, 21, "IncompleteBody"},
		"cut off and unsigned":    {data[:10], unsignedPayload, 21, "IncompleteBody"},
	} {
		t.Run(name, func(t *testing.T) {
			id := &Identity{payload: test.hash}
			body, err := id.Whole(&http.Request{Body: io.NopCloser(strings.NewReader(test.body)), ContentLength: test.size})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(body)
			if test.code == "" {
				if err != nil || string(got) != test.body || body.Size() != test.size || body.Chunked() {
					t.Errorf("%q, %v", got, err)
				}
				return
			}
			if e := refusal(t, err); e.Code != test.code || e.Status != 400 {
				t.Errorf("%v, expected %s", err, test.code)
			}
			if _, again := body.Read(make([]byte, 1)); again != err {
				t.Errorf("the next Read gave %v", again)
			}
		})
	}
}

// Whoever reads exactly as many bytes as were announced must not miss the end.
func TestTheLastByteComesWithTheVerdict(t *testing.T) {
	id := &Identity{payload: EmptyHash}
	body, err := id.Body(&http.Request{Body: io.NopCloser(strings.NewReader("forged")), ContentLength: 6})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(body, make([]byte, 6)); err == nil {
		t.Errorf("%d bytes were read without an error", n)
	}
}

func TestPayloadsThatAreRefused(t *testing.T) {
	chunked := http.Header{"X-Amz-Decoded-Content-Length": {"5"}}
	for name, test := range map[string]struct {
		id            *Identity
		payload       string
		h             http.Header
		whole         bool
		status        int
		code, message string
	}{
		"anonymous signed chunks":    {nil, chunksSigned, chunked, false, 400, "InvalidRequest", errAnonymousChunks().Message},
		"anonymous V4A":              {nil, chunksV4A, chunked, false, 400, "InvalidRequest", errAnonymousChunks().Message},
		"V4A":                        {&Identity{}, chunksV4ATrailer, chunked, false, 501, "NotImplemented", "The chunk encoding algorithm STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER is not supported."},
		"chunks of a document":       {&Identity{}, chunksUnsigned, chunked, true, 400, "InvalidRequest", "The value of x-amz-content-sha256 header is invalid."},
		"no decoded length":          {&Identity{}, chunksSigned, http.Header{}, false, 411, "MissingContentLength", "You must provide the Content-Length HTTP header."},
		"a decoded length of no use": {&Identity{}, chunksSigned, http.Header{"X-Amz-Decoded-Content-Length": {"12x"}}, false, 411, "MissingContentLength", "You must provide the Content-Length HTTP header."},
		"a negative decoded length":  {&Identity{}, chunksSigned, http.Header{"X-Amz-Decoded-Content-Length": {"-1"}}, false, 411, "MissingContentLength", "You must provide the Content-Length HTTP header."},
		"another trailer":            {&Identity{}, chunksUnsigned, http.Header{"X-Amz-Decoded-Content-Length": {"5"}, "X-Amz-Trailer": {"x-amz-meta-a"}}, false, 400, "InvalidRequest", "The value specified in the x-amz-trailer header is not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{Body: http.NoBody, Header: test.h.Clone()}
			r.Header.Set("X-Amz-Content-Sha256", test.payload)
			if test.id != nil {
				test.id.payload = test.payload
			}
			read := test.id.Body
			if test.whole {
				read = test.id.Whole
			}
			_, err := read(r)
			expectRefusal(t, err, test.status, test.code, test.message)
		})
	}
}

func TestAHashThatIsNoneIsAnothersWhereNobodySigned(t *testing.T) {
	var anonymous *Identity
	r := &http.Request{Body: io.NopCloser(strings.NewReader("hello")), ContentLength: 5, Header: http.Header{"X-Amz-Content-Sha256": {"nonsense"}}}
	body, err := anonymous.Body(r)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(body)
	expectRefusal(t, err, 400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
}

func BenchmarkVerify(b *testing.B) {
	v := verifierAt(exampleTime)
	b.Run("header", func(b *testing.B) {
		b.ReportAllocs()
		r := httptest.NewRequest("GET", "http://s3.example.com/bucket/a-key", nil)
		Sign(r, exampleCredential, "us-east-1", exampleTime, EmptyHash)
		for b.Loop() {
			if _, err := v.Verify(r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("presigned", func(b *testing.B) {
		b.ReportAllocs()
		r := presigned(nil)
		for b.Loop() {
			if _, err := v.Verify(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
