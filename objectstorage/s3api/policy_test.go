package s3api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"minicloud.internal/objectstorage/store"
)

// policyOf is a policy with one statement.
func policyOf(effect, principal, action, resource, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Principal":%s,"Action":%s,"Resource":%s%s}]}`, effect, principal, action, resource, condition)
}

func TestParsePolicy(t *testing.T) {
	const bucket, objects, both = `"arn:aws:s3:::files"`, `"arn:aws:s3:::files/*"`, `["arn:aws:s3:::files","arn:aws:s3:::files/*"]`
	condition := func(c string) string { return policyOf("Allow", `"*"`, `"s3:GetObject"`, objects, c) }
	for _, test := range []struct{ name, policy, code, message string }{
		{"for everybody", policyOf("Allow", `"*"`, `"s3:GetObject"`, objects, ""), "", ""},
		{"in the other form", policyOf("Allow", `{"AWS":["*"]}`, `["s3:getobject","s3:Put*"]`, `["arn:aws:s3:::files/a/*"]`, ""), "", ""},
		{"one statement that is no list", `{"Statement":{"Effect":"Deny","Principal":"minicloud","Action":"*","Resource":"arn:aws:s3:::files"}}`, "", ""},
		{"by the account's ARN", policyOf("Deny", `{"AWS":"arn:aws:iam::minicloud:root"}`, `"s3:*"`, both, ""), "", ""},
		{"a resource with a wildcard in the bucket's name", policyOf("Allow", `"*"`, `"s3:GetObject"`, `"arn:aws:s3:::fil*"`, ""), "", ""},
		{"with conditions", condition(`{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","::1"]},"StringLikeIfExists":{"aws:Referer":"http://a/*"},"Bool":{"aws:SecureTransport":true}}`), "", ""},
		{"that is no object", `[]`, "MalformedPolicy", "first byte"},
		{"that is no JSON", `{x}`, "MalformedPolicy", "invalid Json"},
		{"with something behind", `{"Statement":[]} {}`, "MalformedPolicy", "invalid Json"},
		{"with an unknown element", `{"Statments":[]}`, "MalformedPolicy", "invalid Json"},
		{"without a statement", `{}`, "MalformedPolicy", "Missing required field Statement"},
		{"with no statements", `{"Statement":[]}`, "MalformedPolicy", "Statement is empty"},
		{"of another version", `{"Version":"2020-01-01","Statement":[]}`, "MalformedPolicy", "valid version string"},
		{"with another effect", policyOf("allow", `"*"`, `"s3:*"`, bucket, ""), "MalformedPolicy", "Invalid effect: allow"},
		{"without a principal", `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::files"}]}`, "MalformedPolicy", "Invalid principal"},
		{"for nobody", policyOf("Allow", `[]`, `"s3:*"`, bucket, ""), "MalformedPolicy", "Invalid principal"},
		{"for somebody unknown", policyOf("Allow", `"nobody"`, `"s3:*"`, bucket, ""), "MalformedPolicy", "Invalid principal"},
		{"for everybody and one more", policyOf("Allow", `["*","minicloud"]`, `"s3:*"`, bucket, ""), "MalformedPolicy", "Invalid principal"},
		{"with an action that is none", policyOf("Allow", `"*"`, `"s3:Fetch"`, bucket, ""), "MalformedPolicy", "invalid action"},
		{"with one of another service", policyOf("Allow", `"*"`, `"ec2:*"`, bucket, ""), "MalformedPolicy", "invalid action"},
		{"for another bucket", policyOf("Allow", `"*"`, `"s3:*"`, `"arn:aws:s3:::files2"`, ""), "MalformedPolicy", "invalid resource"},
		{"for something else", policyOf("Allow", `"*"`, `"s3:*"`, `"arn:aws:iam:::files"`, ""), "MalformedPolicy", "invalid resource"},
		{"with an object's action on the bucket", policyOf("Allow", `"*"`, `"s3:GetObject"`, bucket, ""), "MalformedPolicy", "does not apply"},
		{"with a bucket's action on objects", policyOf("Allow", `"*"`, `"s3:ListBucket"`, objects, ""), "MalformedPolicy", "does not apply"},
		{"with an operator that is none", condition(`{"StringIs":{"aws:Referer":"x"}}`), "MalformedPolicy", "Invalid Condition type : StringIs"},
		{"with a qualifier that is none", condition(`{"ForMost:StringLike":{"aws:Referer":"x"}}`), "MalformedPolicy", "ForMost:StringLike"},
		{"with a key that is none", condition(`{"StringLike":{"aws:Reference":"x"}}`), "MalformedPolicy", "invalid condition key"},
		{"with a key of another action", condition(`{"StringLike":{"s3:prefix":"x"}}`), "MalformedPolicy", "Conditions do not apply"},
		{"with an address that is none", condition(`{"IpAddress":{"aws:SourceIp":"10.0.0.300"}}`), "MalformedPolicy", "Invalid IP address"},
		{"with a key that nothing here has", condition(`{"StringEquals":{"s3:ExistingObjectTag/a":"b"}}`), "NotImplemented", ""},
		{"with a variable", policyOf("Allow", `"*"`, `"s3:GetObject"`, `"arn:aws:s3:::files/${aws:username}/*"`, ""), "NotImplemented", ""},
		{"that turns the principal round", `{"Statement":[{"Effect":"Deny","NotPrincipal":"*","Action":"s3:*","Resource":"arn:aws:s3:::files"}]}`, "NotImplemented", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parsePolicy([]byte(test.policy), "files", func(p string) bool { return p == owner || p == ownerARN })
			var e *apiError
			if !errors.As(err, &e) && test.code == "" && err == nil {
				return
			}
			if e == nil || e.Code != test.code || !strings.Contains(e.Message, test.message) {
				t.Errorf("the error is %v, expected %s: %s", err, test.code, test.message)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	for _, test := range []struct {
		operator   string
		have, want []string
		holds      bool
	}{
		{"StringEquals", []string{"a"}, []string{"b", "a"}, true},
		{"StringEquals", []string{"A"}, []string{"a"}, false},
		{"StringEquals", nil, []string{"a"}, false},
		{"StringEqualsIfExists", nil, []string{"a"}, true},
		{"StringEqualsIgnoreCase", []string{"A"}, []string{"a"}, true},
		{"StringNotEquals", []string{"a"}, []string{"b", "a"}, false},
		{"StringNotEquals", nil, []string{"a"}, true},
		{"StringLike", []string{"http://a/b"}, []string{"http://?/*"}, true},
		{"StringNotLike", []string{"http://a/b"}, []string{"http://?/*"}, false},
		{"IpAddress", []string{"10.1.2.3"}, []string{"10.0.0.0/8"}, true},
		{"IpAddress", []string{"11.1.2.3"}, []string{"10.0.0.0/8"}, false},
		{"IpAddress", []string{"::ffff:10.1.2.3"}, []string{"10.0.0.0/8"}, true},
		{"NotIpAddress", []string{"10.1.2.3"}, []string{"10.0.0.0/8"}, false},
		{"Bool", []string{"true"}, []string{"true"}, true},
		{"NumericLessThanEquals", []string{"10"}, []string{"10"}, true},
		{"NumericGreaterThan", []string{"10"}, []string{"9"}, true},
		{"NumericEquals", []string{"x"}, []string{"0"}, false},
		{"DateLessThan", []string{"2026-01-01T00:00:00Z"}, []string{"2026-01-02T00:00:00Z"}, true},
		{"DateGreaterThanEquals", []string{"2026-01-01T00:00:00Z"}, []string{"1767225600"}, true},
		{"Null", nil, []string{"true"}, true},
		{"Null", []string{"a"}, []string{"true"}, false},
		{"ForAllValues:StringEquals", []string{"a", "b"}, []string{"a"}, false},
		{"ForAnyValue:StringEquals", []string{"a", "b"}, []string{"a"}, true},
		{"ForAllValues:StringEquals", nil, []string{"a"}, true},
	} {
		if got := holds(test.operator, test.have, test.want); got != test.holds {
			t.Errorf("%s of %q and %q is %t, expected %t", test.operator, test.have, test.want, got, test.holds)
		}
	}
}

func TestABucketsPolicy(t *testing.T) {
	d := newObjectDoor(t)
	d.put("a/1", "one")
	d.put("b/1", "one")
	put := func(policy string) { d.at("PUT", "/files?policy", policy).want(t, 204, "") }

	d.at("GET", "/files?policy", "").want(t, 404, "NoSuchBucketPolicy")
	d.at("GET", "/files?policyStatus", "").want(t, 404, "NoSuchBucketPolicy")
	d.anonymous("GET", "/files/a/1", "").want(t, 403, "AccessDenied")

	t.Run("what it allows, everybody may", func(t *testing.T) {
		policy := policyOf("Allow", `"*"`, `["s3:GetObject","s3:PutObject"]`, `"arn:aws:s3:::files/a/*"`, "")
		put(policy)
		if a := d.at("GET", "/files?policy", ""); a.body != policy {
			t.Errorf("it comes back as %s", a.body)
		}
		if a := d.at("GET", "/files?policyStatus", ""); !strings.Contains(a.body, "<IsPublic>true</IsPublic>") {
			t.Errorf("the status is %s", a.body)
		}
		d.anonymous("GET", "/files/a/1", "").want(t, 200, "")
		d.anonymous("HEAD", "/files/a/1", "").want(t, 200, "")
		d.anonymous("PUT", "/files/a/2", "two").want(t, 200, "")
		d.anonymous("GET", "/files/b/1", "").want(t, 403, "AccessDenied")
		d.anonymous("GET", "/files", "").want(t, 403, "AccessDenied")
		d.anonymous("DELETE", "/files/a/1", "").want(t, 403, "AccessDenied")
		d.anonymous("POST", "/files/a/3?uploads", "").want(t, 403, "AccessDenied")
		d.anonymous("PUT", "/files?policy", policy).want(t, 403, "AccessDenied")
	})
	t.Run("unless the access block restricts it", func(t *testing.T) {
		d.at("PUT", "/files?publicAccessBlock", "<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets><BlockPublicPolicy>true</BlockPublicPolicy></PublicAccessBlockConfiguration>").want(t, 200, "")
		d.anonymous("GET", "/files/a/1", "").want(t, 403, "AccessDenied")
		d.at("PUT", "/files?policy", policyOf("Allow", `"*"`, `"s3:GetObject"`, `"arn:aws:s3:::files/*"`, "")).want(t, 403, "AccessDenied")
		d.at("DELETE", "/files?publicAccessBlock", "").want(t, 204, "")
	})
	t.Run("a version is another action", func(t *testing.T) {
		d.anonymous("GET", "/files/a/1?versionId=null", "").want(t, 403, "AccessDenied")
	})
	t.Run("what it denies, nobody may", func(t *testing.T) {
		put(policyOf("Deny", `"*"`, `"s3:*"`, `["arn:aws:s3:::files","arn:aws:s3:::files/b/*"]`, ""))
		a := d.at("GET", "/files/b/1", "").want(t, 403, "AccessDenied")
		if !strings.Contains(a.error(t).Message, "explicit deny") {
			t.Errorf("the error is %s", a.body)
		}
		d.at("GET", "/files/a/1", "").want(t, 200, "")
		d.at("GET", "/files", "").want(t, 403, "AccessDenied")
		x := `<Delete><Object><Key>a/2</Key></Object><Object><Key>b/1</Key></Object></Delete>`
		b := d.at("POST", "/files?delete", x, "Content-MD5", md5Of(x)).want(t, 200, "")
		if !strings.Contains(b.body, "<Deleted><Key>a/2</Key>") || !strings.Contains(b.body, "<Error><Key>b/1</Key><Code>AccessDenied</Code>") {
			t.Errorf("DeleteObjects is %s", b.body)
		}
	})
	t.Run("but the owner can always take it back", func(t *testing.T) {
		d.at("GET", "/files?policy", "").want(t, 200, "")
		d.at("DELETE", "/files?policy", "").want(t, 204, "")
		d.at("GET", "/files/b/1", "").want(t, 200, "")
	})
	t.Run("on conditions of the request", func(t *testing.T) {
		put(policyOf("Allow", `"*"`, `"s3:GetObject"`, `"arn:aws:s3:::files/*"`, `{"StringLike":{"aws:Referer":"http://good.example/*"},"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}`))
		d.anonymous("GET", "/files/a/1", "", "Referer", "http://good.example/page").want(t, 200, "")
		d.anonymous("GET", "/files/a/1", "", "Referer", "http://bad.example/page").want(t, 403, "AccessDenied")
		d.anonymous("GET", "/files/a/1", "").want(t, 403, "AccessDenied")
		if a := d.at("GET", "/files?policyStatus", ""); !strings.Contains(a.body, "<IsPublic>false</IsPublic>") {
			t.Errorf("the status is %s", a.body)
		}
	})
	t.Run("it is at most 20 KiB", func(t *testing.T) {
		d.at("PUT", "/files?policy", "{"+strings.Repeat(" ", maxPolicy)+"}").want(t, 400, "MalformedPolicy")
	})
}

func TestAnonymousRequests(t *testing.T) {
	d := newObjectDoor(t)
	d.put("k", "x")
	for _, test := range []struct {
		mode                      string
		get, list, put, forbidden int
	}{
		{"", 403, 403, 403, 403},
		{"read", 200, 200, 403, 403},
		{"write", 403, 403, 200, 403},
		{"read-write", 200, 200, 200, 403},
	} {
		d.set(func(b *store.Bucket) { b.Anonymous = test.mode })
		for _, r := range []struct {
			method, target string
			want           int
		}{
			{"GET", "/files/k", test.get},
			{"HEAD", "/files/k", test.get},
			{"HEAD", "/files", test.list},
			{"GET", "/files?list-type=2", test.list},
			{"GET", "/files?versions", test.list},
			{"PUT", "/files/new", test.put},
			{"PUT", "/files?policy", test.forbidden},
			{"GET", "/files?policy", test.forbidden},
			{"GET", "/files?acl", test.forbidden},
			{"PUT", "/files?acl", test.forbidden},
			{"GET", "/files/k?tagging", test.forbidden},
			{"DELETE", "/files?tagging", test.forbidden},
			{"DELETE", "/files", test.forbidden},
			{"POST", "/files?delete", test.forbidden},
			{"POST", "/files/k?uploads", test.forbidden},
			{"DELETE", "/files?unheard-of", test.forbidden},
			{"PUT", "/b02", test.forbidden},
		} {
			if a := d.anonymous(r.method, r.target, ""); a.StatusCode != r.want {
				t.Errorf("%q: %s %s is %s, expected %d", test.mode, r.method, r.target, a.Status, r.want)
			}
		}
	}
	d.anonymous("GET", "/nothing", "").want(t, http.StatusNotFound, "NoSuchBucket")
	d.anonymous("HEAD", "/b99", "").want(t, http.StatusNotFound, "")
	d.set(func(b *store.Bucket) { b.Anonymous = "" })
	d.anonymous("HEAD", "/files", "").header(t, "X-Amz-Bucket-Region", "us-east-1")
}
