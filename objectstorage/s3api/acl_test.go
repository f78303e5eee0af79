package s3api

import (
	"strings"
	"testing"

	"minicloud.internal/objectstorage/store"
)

const (
	aclOwner  = `<Owner><ID>minicloud</ID></Owner>`
	aclPublic = `<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant>`
	aclMine   = `<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>minicloud</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant>`
)

func aclOf(parts string) string {
	return "<AccessControlPolicy" + ns + ">" + parts + "</AccessControlPolicy>"
}

func list(grants string) string { return "<AccessControlList>" + grants + "</AccessControlList>" }

func TestBucketACL(t *testing.T) {
	d := newObjectDoor(t)
	d.put("k", "x")
	d.steps(t, []step{
		{"the default", "GET", "/files?acl", "", nil, 200, `xsi:type="CanonicalUser"><ID>minicloud</ID><DisplayName>minicloud</DisplayName></Grantee><Permission>FULL_CONTROL</Permission>`},
		{"neither header nor body", "PUT", "/files?acl", "", nil, 400, "MissingSecurityHeader"},
		{"an unknown canned one", "PUT", "/files?acl", "", []string{"x-amz-acl", "x"}, 400, "InvalidArgument"},
		{"two kinds of headers", "PUT", "/files?acl", "", []string{"x-amz-acl", "private", "x-amz-grant-read", `id="a"`}, 400, "InvalidRequest"},
		{"a header and a body", "PUT", "/files?acl", aclOf(aclOwner + list(aclPublic)), []string{"x-amz-acl", "private"}, 400, "UnexpectedContent"},
		{"a grantee that is none", "PUT", "/files?acl", "", []string{"x-amz-grant-read", `uri="http://x"`}, 400, "InvalidArgument"},
		{"without an owner", "PUT", "/files?acl", aclOf(list(aclPublic)), nil, 400, "MalformedACLError"},
		{"without a list", "PUT", "/files?acl", aclOf(aclOwner), nil, 400, "MalformedACLError"},
		{"of another owner", "PUT", "/files?acl", aclOf(strings.Replace(aclOwner, "minicloud", "else", 1) + list(aclPublic)), nil, 400, "InvalidArgument"},
		{"a permission that is none", "PUT", "/files?acl", aclOf(aclOwner + list(strings.Replace(aclPublic, "READ", "LOOK", 1))), nil, 400, "MalformedACLError"},
		{"a kind that is none", "PUT", "/files?acl", aclOf(aclOwner + list(strings.Replace(aclPublic, `"Group"`, `"Crowd"`, 1))), nil, 400, "MalformedACLError"},
		{"no XML", "PUT", "/files?acl", "x", nil, 400, "MalformedACLError"},
		{"of no bucket", "PUT", "/b99?acl", "", []string{"x-amz-acl", "private"}, 404, "NoSuchBucket"},
		{"a grant by a header", "PUT", "/files?acl", "", []string{"x-amz-grant-read", `id="a", uri="http://acs.amazonaws.com/groups/global/AllUsers"`}, 200, ""},
		{"is there", "GET", "/files?acl", "", nil, 200, "<ID>a</ID></Grantee><Permission>READ</Permission>"},
	})
	d.anonymous("GET", "/files/k", "").want(t, 200, "")
	d.at("PUT", "/files?acl", "", "x-amz-acl", "private").want(t, 200, "")
	d.anonymous("GET", "/files/k", "").want(t, 403, "AccessDenied")

	d.at("PUT", "/files?acl", aclOf(aclOwner+list(aclMine+aclPublic))).want(t, 200, "")
	d.anonymous("GET", "/files/k", "").want(t, 200, "")
	d.anonymous("GET", "/files", "").want(t, 200, "")
	d.anonymous("PUT", "/files/k", "y").want(t, 403, "AccessDenied")

	d.at("PUT", "/files?acl", "", "x-amz-acl", "public-read-write").want(t, 200, "")
	d.anonymous("PUT", "/files/k", "y").want(t, 200, "")
	d.at("PUT", "/files?policy", policyOf("Deny", `"*"`, `"s3:PutObject"`, `"arn:aws:s3:::files/*"`, "")).want(t, 204, "")
	d.anonymous("PUT", "/files/k", "y").want(t, 403, "AccessDenied")
	d.anonymous("GET", "/files/k", "").want(t, 200, "")

	d.at("PUT", "/files?publicAccessBlock", "<PublicAccessBlockConfiguration><IgnorePublicAcls>true</IgnorePublicAcls></PublicAccessBlockConfiguration>").want(t, 200, "")
	d.anonymous("GET", "/files/k", "").want(t, 403, "AccessDenied")
}

func TestWhereOwnershipIsEnforcedThereAreNoACLs(t *testing.T) {
	d := newObjectDoor(t)
	d.at("PUT", "/b01", "").want(t, 200, "")
	d.at("GET", "/b01?ownershipControls", "").want(t, 200, "")
	d.at("PUT", "/b01?acl", "", "x-amz-acl", "public-read").want(t, 400, "AccessControlListNotSupported")
	d.at("PUT", "/b01?acl", "", "x-amz-acl", "private").want(t, 200, "")
	d.at("PUT", "/b02", "", "x-amz-acl", "public-read").want(t, 200, "")
	d.anonymous("GET", "/b02", "").want(t, 200, "")
	d.at("PUT", "/b02?ownershipControls", "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>").
		want(t, 400, "InvalidBucketAclWithObjectOwnership")
}

func TestObjectACL(t *testing.T) {
	d := newObjectDoor(t)
	d.put("k", "x")
	d.steps(t, []step{
		{"the owner's", "GET", "/files/k?acl", "", nil, 200, "FULL_CONTROL"},
		{"of no object", "GET", "/files/none?acl", "", nil, 404, "NoSuchKey"},
		{"nothing new", "PUT", "/files/k?acl", "", []string{"x-amz-acl", "private"}, 200, ""},
		{"a public one is not kept, and that is said", "PUT", "/files/k?acl", "", []string{"x-amz-acl", "public-read"}, 501, "NotImplemented"},
		{"on no object", "PUT", "/files/none?acl", "", []string{"x-amz-acl", "private"}, 404, "NoSuchKey"},
	})
}

const corsDocumentOf = `<CORSConfiguration` + ns + `>
<CORSRule><ID>a</ID><AllowedOrigin>http://*.example.com</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod><AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>x-amz-id-2</ExposeHeader><MaxAgeSeconds>30</MaxAgeSeconds></CORSRule>
<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod></CORSRule>
</CORSConfiguration>`

func TestCORS(t *testing.T) {
	d := newObjectDoor(t)
	d.put("k", "x")
	rule := func(s string) string { return "<CORSConfiguration><CORSRule>" + s + "</CORSRule></CORSConfiguration>" }
	const origin, method = "<AllowedOrigin>*</AllowedOrigin>", "<AllowedMethod>GET</AllowedMethod>"
	d.steps(t, []step{
		{"none", "GET", "/files?cors", "", nil, 404, "NoSuchCORSConfiguration"},
		{"without rules", "PUT", "/files?cors", "<CORSConfiguration/>", nil, 400, "MalformedXML"},
		{"without an origin", "PUT", "/files?cors", rule(method), nil, 400, "MalformedXML"},
		{"without a method", "PUT", "/files?cors", rule(origin), nil, 400, "MalformedXML"},
		{"with a method that is none", "PUT", "/files?cors", rule(origin + "<AllowedMethod>get</AllowedMethod>"), nil, 400, "InvalidRequest"},
		{"with two wildcards", "PUT", "/files?cors", rule("<AllowedOrigin>*a*</AllowedOrigin>" + method), nil, 400, "InvalidRequest"},
		{"with a header that is none", "PUT", "/files?cors", rule(origin + method + "<AllowedHeader>a b</AllowedHeader>"), nil, 400, "InvalidRequest"},
		{"of no bucket", "PUT", "/b99?cors", corsDocumentOf, nil, 404, "NoSuchBucket"},
		{"as it should be", "PUT", "/files?cors", corsDocumentOf, nil, 200, ""},
		{"is there", "GET", "/files?cors", "", nil, 200, "<MaxAgeSeconds>30</MaxAgeSeconds>"},
	})
	preflight := func(origin, method, headers string) *answer {
		return d.anonymous("OPTIONS", "/files/k", "", "Origin", origin, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", headers)
	}
	a := preflight("http://www.example.com", "PUT", "X-Amz-Date, x-amz-meta-a").want(t, 200, "")
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "http://www.example.com", "Access-Control-Allow-Methods": "GET, PUT",
		"Access-Control-Allow-Headers": "x-amz-date, x-amz-meta-a", "Access-Control-Expose-Headers": "x-amz-id-2, ETag",
		"Access-Control-Max-Age": "30", "Access-Control-Allow-Credentials": "true", "Vary": varyCORS,
	} {
		a.header(t, name, want)
	}
	preflight("http://other.net", "HEAD", "").header(t, "Access-Control-Allow-Origin", "*")
	preflight("http://other.net", "GET", "").want(t, 403, "AccessForbidden")
	preflight("http://www.example.com", "PUT", "content-type").want(t, 403, "AccessForbidden")
	preflight("http://www.example.com", "PATCH", "").want(t, 400, "BadRequest")
	preflight("http://www.example.com", "GET", "a b").want(t, 400, "BadRequest")
	preflight("", "GET", "").want(t, 400, "BadRequest")
	d.anonymous("OPTIONS", "/b99/k", "", "Origin", "http://a").want(t, 404, "NoSuchBucket")
	d.anonymous("OPTIONS", "/", "", "Origin", "http://a").want(t, 405, "MethodNotAllowed")

	d.at("GET", "/files/k", "", "Origin", "http://www.example.com").header(t, "Access-Control-Allow-Origin", "http://www.example.com")
	d.at("GET", "/files/none", "", "Origin", "http://www.example.com").header(t, "Access-Control-Allow-Origin", "http://www.example.com")
	d.anonymous("GET", "/files/k", "", "Origin", "http://www.example.com").want(t, 403, "AccessDenied").header(t, "Access-Control-Allow-Origin", "http://www.example.com")
	d.at("GET", "/files/k", "", "Origin", "http://other.net").header(t, "Access-Control-Allow-Origin", "")

	d.at("DELETE", "/files?cors", "").want(t, 204, "")
	preflight("http://www.example.com", "GET", "").want(t, 403, "AccessForbidden")
}

func TestAPageOfAnotherSiteWritesOnlyWhereCORSAllowsIt(t *testing.T) {
	d := newObjectDoor(t)
	d.set(func(b *store.Bucket) { b.Anonymous = "read-write" })
	d.anonymous("PUT", "/files/k", "x").want(t, 200, "")
	for _, test := range []struct {
		name    string
		headers []string
		status  int
	}{
		{"from another site", []string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"as an older browser says it", []string{"Origin", "http://evil.example"}, 403},
		{"from a sandbox", []string{"Origin", "null"}, 403},
		{"without an Origin, but from a browser", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"from another port of the site", []string{"Origin", "http://localhost:1", "Sec-Fetch-Site", "same-site"}, 403},
		{"from its own pages", []string{"Origin", d.URL, "Sec-Fetch-Site", "same-origin"}, 200},
		{"from its own pages, as an older browser says it", []string{"Origin", d.URL}, 200},
		{"typed into the address bar", []string{"Sec-Fetch-Site", "none"}, 200},
		{"from one that a rule allows", []string{"Origin", "http://www.example.com", "Sec-Fetch-Site", "cross-site"}, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			d.set(func(b *store.Bucket) { setRaw(b, corsDocument, []byte(corsDocumentOf)) })
			if a := d.anonymous("PUT", "/files/k", "x", test.headers...); a.StatusCode != test.status {
				t.Errorf("the answer is %s %s, expected %d", a.Status, a.body, test.status)
			}
			d.anonymous("GET", "/files/k", "", test.headers...).want(t, 200, "")
		})
	}
	t.Run("what is signed is meant", func(t *testing.T) {
		d.at("PUT", "/files/k", "x", "Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site").want(t, 200, "")
	})
}
