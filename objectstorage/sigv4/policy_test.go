package sigv4

import (
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"
)

// signedForm is a form whose fields have the conditions that they need.
func signedForm(policy string) map[string]string {
	return SignPolicy(policy, exampleCredential, "us-east-1", exampleTime)
}

const (
	expiration = `"expiration": "2013-05-25T00:00:00.000Z"`
	ofAuth     = `["starts-with","$x-amz-algorithm",""],["starts-with","$x-amz-credential",""],["starts-with","$x-amz-date",""]`
)

func document(conditions ...string) string {
	return `{` + expiration + `,"conditions":[` + strings.Join(conditions, ",") + `]}`
}

func TestAFormWithoutASignatureIsAnonymous(t *testing.T) {
	if p, err := verifierAt(exampleTime).VerifyPolicy(map[string]string{"key": "a"}); p != nil || err != nil {
		t.Errorf("%v, %v", p, err)
	}
}

func TestRefusalsOfForms(t *testing.T) {
	good := signedForm(document(`{"bucket":"b"}`))
	credential := good["x-amz-credential"]
	change := func(name, value string) map[string]string {
		form := maps.Clone(good)
		form[name] = value
		return form
	}
	without := func(name string) map[string]string {
		form := maps.Clone(good)
		delete(form, name)
		return form
	}
	const order = "Bucket POST must contain a field named '%'.  If it is specified, please check the order of the fields."
	for name, test := range map[string]struct {
		form            map[string]string
		status          int
		code, message   string
		argument, value string
	}{
		"no policy":           {without("policy"), 400, "InvalidArgument", strings.Replace(order, "%", "policy", 1), "policy", ""},
		"no algorithm":        {without("x-amz-algorithm"), 400, "InvalidArgument", strings.Replace(order, "%", "x-amz-algorithm", 1), "x-amz-algorithm", ""},
		"no credential":       {without("x-amz-credential"), 400, "InvalidArgument", strings.Replace(order, "%", "x-amz-credential", 1), "x-amz-credential", ""},
		"no date":             {without("x-amz-date"), 400, "InvalidArgument", strings.Replace(order, "%", "x-amz-date", 1), "x-amz-date", ""},
		"no signature":        {without("x-amz-signature"), 400, "InvalidArgument", strings.Replace(order, "%", "x-amz-signature", 1), "x-amz-signature", ""},
		"signature V2":        {map[string]string{"awsaccesskeyid": "a", "signature": "b"}, 400, "InvalidRequest", errMechanism().Message, "", ""},
		"another algorithm":   {change("x-amz-algorithm", "invalid"), 400, "InvalidArgument", "Only AWS4-HMAC-SHA256 is supported", "X-Amz-Algorithm", "invalid"},
		"a date that is none": {change("x-amz-date", "invalid_date"), 400, "InvalidArgument", "X-Amz-Date must be formated via ISO8601 Long format", "X-Amz-Date", "invalid_date"},
		"a malformed scope":   {change("x-amz-credential", "no-slashes"), 400, "InvalidArgument", sayMalformed, "x-amz-credential", "no-slashes"},
		"another region": {change("x-amz-credential", strings.Replace(credential, "us-east-1", "us-west-2", 1)), 400, "InvalidArgument",
			`the region "us-west-2" is wrong; expecting "us-east-1"`, "x-amz-credential", strings.Replace(credential, "us-east-1", "us-west-2", 1)},
		"another access key": {change("x-amz-credential", strings.Replace(credential, "AKIA", "AKIB", 1)), 403, "InvalidAccessKeyId", errAccessKey("").Message, "", ""},
		"a session token":    {change("x-amz-security-token", "x"), 400, "InvalidToken", errToken().Message, "", ""},
		"another signature":  {change("x-amz-signature", "incorrect_signature"), 403, "SignatureDoesNotMatch", mismatch, "", ""},
		"another policy":     {change("policy", signedForm(document(`{"bucket":"c"}`))["policy"]), 403, "SignatureDoesNotMatch", mismatch, "", ""},
		"another day": {change("x-amz-credential", strings.Replace(credential, "20130524", "20130523", 1)), 400, "InvalidArgument",
			"X-Amz-Date and the date of X-Amz-Credential are not the same day", "X-Amz-Date", good["x-amz-date"]},
		"a date to come": {change("x-amz-date", "20130601T000000Z"), 400, "InvalidArgument", "X-Amz-Date lies in the future", "X-Amz-Date", "20130601T000000Z"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifierAt(exampleTime).VerifyPolicy(test.form)
			e := expectRefusal(t, err, test.status, test.code, test.message)
			if e.field("ArgumentName") != test.argument || e.field("ArgumentValue") != test.value {
				t.Errorf("the fields are %q", e.Extra)
			}
		})
	}
	_, err := verifierAt(exampleTime).VerifyPolicy(change("x-amz-signature", "incorrect_signature"))
	e := refusal(t, err)
	if e.field("StringToSign") != good["policy"] || e.field("SignatureProvided") != "incorrect_signature" || e.field("CanonicalRequest") != "" {
		t.Errorf("the fields are %q", e.Extra)
	}
}

func TestPolicyDocumentsThatAreMalformed(t *testing.T) {
	for name, test := range map[string]struct{ document, message string }{
		"empty":                     {"", "Expecting '{' but found End-of-Input"},
		"no JSON":                   {"invalid json", "Invalid JSON."},
		"JSON and more":             {document() + "x", "Invalid JSON."},
		"no expiration":             {`{"conditions":[]}`, "Policy missing expiration."},
		"an expiration of no text":  {`{"expiration":true,"conditions":[]}`, "Invalid JSON."},
		"an expiration of no time":  {`{"expiration":"invalid","conditions":[]}`, "Invalid 'expiration' value: 'invalid'"},
		"no conditions":             {`{` + expiration + `}`, "Policy missing conditions."},
		"conditions that are none":  {`{` + expiration + `,"conditions":true}`, "Invalid 'conditions' value: must be a List."},
		"a condition that is none":  {document("true"), "Invalid condition test: must be a List or Object."},
		"a null condition":          {document("null"), "Invalid condition test: must be a List or Object."},
		"another field":             {`{"extra":"field","expiration":"2001-03-28T09:18:22Z","conditions":[]}`, `Unexpected: "extra"`},
		"no operation":              {document("[]"), "Invalid Condition: missing operation identifier."},
		"another operation":         {document(`["invalid","$key","x"]`), "Invalid Condition: unknown operation 'invalid'."},
		"an operation of no text":   {document(`[1,"$key","x"]`), "Invalid JSON."},
		"too many arguments":        {document(`["eq","$key","x","y"]`), "Invalid eq: wrong number of arguments."},
		"too few arguments":         {document(`["content-length-range",1]`), "Invalid content-length-range: wrong number of arguments."},
		"a field of no text":        {document(`["eq",false,"x"]`), "Invalid JSON."},
		"a value of no text":        {document(`["eq","$key",true]`), "Invalid JSON."},
		"a bound that is none":      {document(`["content-length-range",12,false]`), "Invalid JSON."},
		"a bound of letters":        {document(`["content-length-range","invalid","14"]`), "Invalid JSON."},
		"a bound of a fraction":     {document(`["content-length-range",1.5,14]`), "Invalid JSON."},
		"two fields at once":        {document(`{"expires":"a","cache":"b"}`), "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified."},
		"a simple value of no text": {document(`{"expires":true}`), "Invalid Simple-Condition: value must be a string."},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := verifierAt(exampleTime).VerifyPolicy(signedForm(test.document))
			expectRefusal(t, err, 400, "InvalidPolicyDocument", "Invalid Policy: "+test.message)
		})
	}
	if _, err := decodePolicy("invalid_base64"); err == nil {
		t.Error("what is no base64 was decoded")
	} else {
		expectRefusal(t, err, 400, "InvalidPolicyDocument", "Invalid Policy: invalid Base64 encoding.")
	}
	if _, err := decodePolicy(base64.RawStdEncoding.EncodeToString([]byte("{}"))); err != nil {
		t.Errorf("base64 without padding: %v", err)
	}
	for _, field := range []string{"content-type", "$"} {
		raw := `["eq","` + field + `","binary/octet-stream"]`
		_, err := verifierAt(exampleTime).VerifyPolicy(signedForm(document(raw)))
		expectRefusal(t, err, 403, "AccessDenied", "Invalid according to Policy: Policy Condition failed: "+raw)
	}
}

func TestAPolicyExpires(t *testing.T) {
	form := signedForm(document(`{"bucket":"b"}`))
	for at, ok := range map[time.Duration]bool{0: true, 24*time.Hour - time.Second: true, 24 * time.Hour: false, 48 * time.Hour: false} {
		_, err := verifierAt(exampleTime.Add(at)).VerifyPolicy(form)
		if ok && err != nil {
			t.Errorf("%v later: %v", at, err)
		}
		if !ok {
			expectRefusal(t, err, 403, "AccessDenied", "Invalid according to Policy: Policy expired.")
		}
	}
	v := verifierAt(exampleTime.Add(time.Hour + time.Second))
	v.MaxPolicyAge = time.Hour
	_, err := v.VerifyPolicy(form)
	expectRefusal(t, err, 403, "AccessDenied", "Invalid according to Policy: Policy expired.")
}

func TestConditionsOfAPolicy(t *testing.T) {
	const according = "Invalid according to Policy: "
	for name, test := range map[string]struct {
		conditions []string
		form       map[string]string
		message    string
	}{
		"nothing more":                 {},
		"eq":                           {[]string{`["eq","$content-type","text/plain"]`}, map[string]string{"content-type": "text/plain"}, ""},
		"eq of another case":           {[]string{`["eq","$Content-Type","text/plain"]`}, map[string]string{"content-type": "text/plain"}, ""},
		"eq of a number":               {[]string{`["eq","$success_action_status",201]`}, map[string]string{"success_action_status": "201"}, ""},
		"eq of another value":          {[]string{`["eq","$content-type","text/plain"]`}, map[string]string{"content-type": "image/jpeg"}, `Policy Condition failed: ["eq","$content-type","text/plain"]`},
		"eq of a missing field":        {[]string{`["eq","$acl","private"]`}, nil, `Policy Condition failed: ["eq","$acl","private"]`},
		"starts-with":                  {[]string{`["starts-with","$x-amz-meta-env","prod"]`}, map[string]string{"x-amz-meta-env": "production"}, ""},
		"starts-with anything":         {[]string{`["starts-with","$x-amz-meta-env",""]`}, map[string]string{"x-amz-meta-env": "x"}, ""},
		"starts-with another":          {[]string{`["starts-with","$x-amz-meta-path","allowed/"]`}, map[string]string{"x-amz-meta-path": "forbidden/"}, `Policy Condition failed: ["starts-with","$x-amz-meta-path","allowed/"]`},
		"a list of types":              {[]string{`["starts-with","$content-type","text/"]`}, map[string]string{"content-type": "text/plain, text/html"}, ""},
		"a list of other types":        {[]string{`["starts-with","$content-type","text/"]`}, map[string]string{"content-type": "text/plain, image/jpeg"}, `Policy Condition failed: ["starts-with","$content-type","text/"]`},
		"a simple one":                 {[]string{`{"content-type":"image/png"}`}, map[string]string{"content-type": "image/png"}, ""},
		"a simple one of another":      {[]string{`{"Content-Type":"application/xml"}`}, map[string]string{"content-type": "text/html"}, `Policy Condition failed: ["eq", "$content-type", "application/xml"]`},
		"the key":                      {[]string{`["eq","$key","key"]`}, nil, ""},
		"another key":                  {[]string{`["eq","$key","expected"]`}, nil, `Policy Condition failed: ["eq","$key","expected"]`},
		"the key of the form lies":     {[]string{`["eq","$key","other"]`}, map[string]string{"key": "other"}, `Policy Condition failed: ["eq","$key","other"]`},
		"another bucket":               {[]string{`["eq","$bucket","wrong"]`}, nil, `Policy Condition failed: ["eq","$bucket","wrong"]`},
		"a field to be ignored":        {nil, map[string]string{"x-ignore-custom": "v", "file": "x"}, ""},
		"a field without a condition":  {nil, map[string]string{"x-amz-meta-custom": "v"}, "Extra input fields: x-amz-meta-custom"},
		"fields without a condition":   {nil, map[string]string{"z": "v", "content-type": "text/plain"}, "Extra input fields: content-type"},
		"the key without a condition":  {nil, map[string]string{"key": "key"}, "Extra input fields: key"},
		"the name of a range as field": {[]string{`["content-length-range",0,10]`}, map[string]string{"content-length-range": "1"}, "Extra input fields: content-length-range"},
	} {
		t.Run(name, func(t *testing.T) {
			form := signedForm(document(append([]string{`{"bucket":"b"}`, ofAuth}, test.conditions...)...))
			maps.Copy(form, test.form)
			p, err := verifierAt(exampleTime).VerifyPolicy(form)
			if err != nil || p.AccessKey != exampleCredential.AccessKey {
				t.Fatal(err)
			}
			err = p.Check("b", "key", form)
			if test.message == "" && err != nil {
				t.Error(err)
			}
			if test.message != "" {
				expectRefusal(t, err, 403, "AccessDenied", according+test.message)
			}
		})
	}
	form := signedForm(document(ofAuth))
	p, err := verifierAt(exampleTime).VerifyPolicy(form)
	if err != nil {
		t.Fatal(err)
	}
	expectRefusal(t, p.Check("b", "key", form), 403, "AccessDenied", according+"Extra input fields: bucket")
}

func TestTheRangeOfTheLength(t *testing.T) {
	for name, test := range map[string]struct {
		conditions []string
		size       int64
		code       string
		most       int64
	}{
		"none":                {nil, 1 << 40, "", 0},
		"within":              {[]string{`["content-length-range",1,100]`}, 100, "", 100},
		"within, as text":     {[]string{`["content-length-range","1","100"]`}, 1, "", 100},
		"too large":           {[]string{`["content-length-range",0,5]`}, 10, "EntityTooLarge", 5},
		"too small":           {[]string{`["content-length-range",100,1024]`}, 2, "EntityTooSmall", 1024},
		"the narrower of two": {[]string{`["content-length-range",0,50]`, `["content-length-range",0,5]`}, 10, "EntityTooLarge", 5},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := verifierAt(exampleTime).VerifyPolicy(signedForm(document(test.conditions...)))
			if err != nil {
				t.Fatal(err)
			}
			if most, ok := p.MaxSize(); most != test.most || ok != (test.conditions != nil) {
				t.Errorf("the largest is %d, %v", most, ok)
			}
			err = p.CheckSize(test.size)
			if test.code == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := refusal(t, err); e.Code != test.code || e.field("ProposedSize") == "" {
				t.Errorf("%v, %q", e, e.Extra)
			}
		})
	}
}
