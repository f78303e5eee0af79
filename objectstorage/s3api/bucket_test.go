package s3api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"minicloud.internal/objectstorage/sigv4"
	"minicloud.internal/objectstorage/store"
)

// at sends a signed request to a path of the whole door.
func (d *objectDoor) at(method, target, body string, headers ...string) *answer {
	d.t.Helper()
	req := d.request(method, target, body, headers...)
	sigv4.Sign(req, testCredential, "us-east-1", time.Now(), sigv4.UnsignedPayload)
	return d.send(req)
}

// anonymous sends a request without a signature.
func (d *objectDoor) anonymous(method, target, body string, headers ...string) *answer {
	d.t.Helper()
	return d.send(d.request(method, target, body, headers...))
}

func (d *objectDoor) request(method, target, body string, headers ...string) *http.Request {
	d.t.Helper()
	req, err := http.NewRequest(method, d.URL+target, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	return req
}

// set changes the settings of the bucket files.
func (d *objectDoor) set(change func(*store.Bucket)) {
	d.t.Helper()
	err := d.store.UpdateBucket(d.t.Context(), "files", func(b *store.Bucket) error { change(b); return nil })
	if err != nil {
		d.t.Fatal(err)
	}
}

// A step is a request and what answers it.
type step struct {
	name                 string
	method, target, body string
	headers              []string
	status               int
	want                 string // the error's code, or a part of the body
}

func (d *objectDoor) steps(t *testing.T, steps []step) {
	t.Helper()
	for _, s := range steps {
		a := d.at(s.method, s.target, s.body, s.headers...)
		if a.StatusCode != s.status || !strings.Contains(a.body, s.want) {
			t.Errorf("%s: %s %s is %s\n%s\nexpected %d %s", s.name, s.method, s.target, a.Status, a.body, s.status, s.want)
		}
	}
}

const ns = ` xmlns="http://s3.amazonaws.com/doc/2006-03-01/"`

func TestBuckets(t *testing.T) {
	d := newObjectDoor(t, func(c *Config) { c.Region = "us-east-1" })
	long := strings.Repeat("k", 129)
	tags := func(kv ...string) string {
		s := ""
		for i := 0; i < len(kv); i += 2 {
			s += "<Tag><Key>" + kv[i] + "</Key><Value>" + kv[i+1] + "</Value></Tag>"
		}
		return s
	}
	conf := func(inner string) string {
		return "<CreateBucketConfiguration" + ns + ">" + inner + "</CreateBucketConfiguration>"
	}
	d.steps(t, []step{
		{"created", "PUT", "/b01", "", nil, 200, ""},
		{"created twice", "PUT", "/b01", "", nil, 409, "BucketAlreadyOwnedByYou"},
		{"with an invalid name", "PUT", "/b_1", "", nil, 400, "InvalidBucketName"},
		{"with a body without a region", "PUT", "/b02", conf(""), nil, 200, ""},
		{"with tags", "PUT", "/b03", conf("<Tags>" + tags("a", "1") + "</Tags>"), nil, 200, ""},
		{"which are there", "GET", "/b03?tagging", "", nil, 200, "<Key>a</Key><Value>1</Value>"},
		{"with a tag that is too long", "PUT", "/b04", conf("<Tags>" + tags(long, "1") + "</Tags>"), nil, 400, "InvalidTag"},
		{"with a tag twice", "PUT", "/b04", conf("<Tags>" + tags("a", "1", "a", "2") + "</Tags>"), nil, 400, "InvalidTag"},
		{"in another region", "PUT", "/b04", conf("<LocationConstraint>eu-west-1</LocationConstraint>"), nil, 400, "InvalidLocationConstraint"},
		{"in the one that has no constraint", "PUT", "/b04", conf("<LocationConstraint>us-east-1</LocationConstraint>"), nil, 400, "InvalidLocationConstraint"},
		{"a directory bucket", "PUT", "/b04", conf("<Bucket><Type>Directory</Type></Bucket>"), nil, 501, "NotImplemented"},
		{"with a body that is no XML", "PUT", "/b04", "{}", nil, 400, "MalformedXML"},
		{"with another document", "PUT", "/b04", "<Tagging/>", nil, 400, "MalformedXML"},
		{"with an unknown ownership", "PUT", "/b04", "", []string{"x-amz-object-ownership", "x"}, 400, "InvalidArgument"},
		{"with an unknown ACL", "PUT", "/b04", "", []string{"x-amz-acl", "x"}, 400, "InvalidArgument"},
		{"public without ACLs", "PUT", "/b04", "", []string{"x-amz-acl", "public-read", "x-amz-object-ownership", "BucketOwnerEnforced"}, 400, "InvalidBucketAclWithObjectOwnership"},
		{"none of those made it", "HEAD", "/b04", "", nil, 404, ""},
		{"one is there", "HEAD", "/b01", "", nil, 200, ""},
		{"and is whose the client takes it for", "HEAD", "/b01", "", []string{"x-amz-expected-bucket-owner", "minicloud"}, 200, ""},
		{"or not", "HEAD", "/b01", "", []string{"x-amz-expected-bucket-owner", "else"}, 403, ""},
		{"the location", "GET", "/b01?location", "", nil, 200, "<LocationConstraint" + ns + "></LocationConstraint>"},
		{"the location of none", "GET", "/b99?location", "", nil, 404, "NoSuchBucket"},
		{"an object in it", "PUT", "/b01/k", "x", nil, 200, ""},
		{"deleted with an object", "DELETE", "/b01", "", nil, 409, "BucketNotEmpty"},
		{"without", "DELETE", "/b01/k", "", nil, 204, ""},
		{"deleted by who takes it for another's", "DELETE", "/b01", "", []string{"x-amz-expected-bucket-owner", "else"}, 403, "AccessDenied"},
		{"deleted", "DELETE", "/b01", "", nil, 204, ""},
		{"deleted twice", "DELETE", "/b01", "", nil, 404, "NoSuchBucket"},
		{"with versions", "PUT", "/b05", "", nil, 200, ""},
		{"versions on", "PUT", "/b05?versioning", "<VersioningConfiguration" + ns + "><Status>Enabled</Status></VersioningConfiguration>", nil, 200, ""},
		{"a version", "PUT", "/b05/k", "x", nil, 200, ""},
		{"and its marker", "DELETE", "/b05/k", "", nil, 204, ""},
		{"deleted with versions", "DELETE", "/b05", "", nil, 409, "You must delete all versions"},
	})
}

func TestABucketLiesWhereItWasCreatedIfAnyRegionWillDo(t *testing.T) {
	d := newObjectDoor(t)
	d.at("PUT", "/b01", "<CreateBucketConfiguration"+ns+"><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>").want(t, 200, "")
	if a := d.at("GET", "/b01?location", ""); !strings.Contains(a.body, ">eu-west-1<") {
		t.Errorf("the location is %s, expected eu-west-1", a.body)
	}
	d.at("HEAD", "/b01", "").header(t, "X-Amz-Bucket-Region", "eu-west-1")
	d.at("HEAD", "/files", "").header(t, "X-Amz-Bucket-Region", "us-east-1")
	d.at("PUT", "/b02", "<CreateBucketConfiguration><LocationConstraint>&lt;x&gt;</LocationConstraint></CreateBucketConfiguration>").want(t, 400, "InvalidLocationConstraint")
}

func TestListBucketsInPages(t *testing.T) {
	d := newObjectDoor(t)
	for _, name := range []string{"a01", "a02", "a03"} {
		d.at("PUT", "/"+name, "").want(t, 200, "")
	}
	type list struct {
		Owner             account
		Names             []string `xml:"Buckets>Bucket>Name"`
		ContinuationToken string
		Prefix            string
	}
	for _, test := range []struct{ query, names, token string }{
		{"", "a01 a02 a03 files", ""},
		{"?prefix=a0", "a01 a02 a03", ""},
		{"?max-buckets=2", "a01 a02", "a02"},
		{"?max-buckets=2&continuation-token=a02", "a03 files", ""},
		{"?max-buckets=3&prefix=a", "a01 a02 a03", ""},
		{"?bucket-region=eu-west-1", "", ""},
	} {
		var l list
		d.at("GET", "/"+test.query, "").want(t, 200, "").decode(t, &l)
		if got := strings.Join(l.Names, " "); got != test.names || l.ContinuationToken != test.token || l.Owner.ID != "minicloud" {
			t.Errorf("GET /%s lists %q and goes on at %q, expected %q and %q", test.query, got, l.ContinuationToken, test.names, test.token)
		}
	}
	for _, v := range []string{"0", "-1", "10001", "x", ""} {
		d.at("GET", "/?max-buckets="+v, "").want(t, 400, "InvalidArgument")
	}
	d.anonymous("GET", "/", "").want(t, 403, "AccessDenied")
}

func TestSettingsOfABucket(t *testing.T) {
	d := newObjectDoor(t)
	tagging := func(n int) string {
		s := "<Tagging" + ns + "><TagSet>"
		for i := range n {
			s += "<Tag><Key>k" + strings.Repeat("x", i) + "</Key><Value>v</Value></Tag>"
		}
		return s + "</TagSet></Tagging>"
	}
	own := func(v string) string {
		return "<OwnershipControls" + ns + "><Rule><ObjectOwnership>" + v + "</ObjectOwnership></Rule></OwnershipControls>"
	}
	block := "<PublicAccessBlockConfiguration" + ns + "><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>"
	d.steps(t, []step{
		{"no tags", "GET", "/files?tagging", "", nil, 404, "NoSuchTagSet"},
		{"50 tags", "PUT", "/files?tagging", tagging(50), nil, 204, ""},
		{"51 tags", "PUT", "/files?tagging", tagging(51), nil, 400, "BadRequest"},
		{"an element too many", "PUT", "/files?tagging", strings.Replace(tagging(1), "<Key>", "<Kind/><Key>", 1), nil, 400, "MalformedXML"},
		{"a body that is empty", "PUT", "/files?tagging", "", nil, 400, "MissingRequestBodyError"},
		{"tags", "PUT", "/files?tagging", tagging(1), nil, 204, ""},
		{"come back", "GET", "/files?tagging", "", nil, 200, "<Tagging" + ns + "><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"},
		{"tags of no bucket", "PUT", "/b99?tagging", tagging(1), nil, 404, "NoSuchBucket"},
		{"no tags any more", "DELETE", "/files?tagging", "", nil, 204, ""},
		{"that is so", "GET", "/files?tagging", "", nil, 404, "NoSuchTagSet"},

		{"no versioning", "GET", "/files?versioning", "", nil, 200, "<VersioningConfiguration" + ns + "></VersioningConfiguration>"},
		{"versioning off is no state to go to", "PUT", "/files?versioning", "<VersioningConfiguration" + ns + "><Status>Off</Status></VersioningConfiguration>", nil, 400, "IllegalVersioningConfigurationException"},
		{"MFA delete", "PUT", "/files?versioning", "<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>", nil, 501, "NotImplemented"},
		{"suspended", "PUT", "/files?versioning", "<VersioningConfiguration" + ns + "><Status>Suspended</Status></VersioningConfiguration>", nil, 200, ""},
		{"that is so", "GET", "/files?versioning", "", nil, 200, "<Status>Suspended</Status>"},

		{"no ownership", "GET", "/files?ownershipControls", "", nil, 404, "OwnershipControlsNotFoundError"},
		{"an unknown one", "PUT", "/files?ownershipControls", own("x"), nil, 400, "MalformedXML"},
		{"none given", "PUT", "/files?ownershipControls", "<OwnershipControls" + ns + "/>", nil, 400, "MalformedXML"},
		{"the owner's", "PUT", "/files?ownershipControls", own("BucketOwnerPreferred"), nil, 200, ""},
		{"that is so", "GET", "/files?ownershipControls", "", nil, 200, own("BucketOwnerPreferred")},
		{"no ownership any more", "DELETE", "/files?ownershipControls", "", nil, 204, ""},

		{"no access block", "GET", "/files?publicAccessBlock", "", nil, 404, "NoSuchPublicAccessBlockConfiguration"},
		{"an access block", "PUT", "/files?publicAccessBlock", block, nil, 200, ""},
		{"that is so", "GET", "/files?publicAccessBlock", "", nil, 200, "<BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>false</IgnorePublicAcls>"},
		{"which refuses a public ACL", "PUT", "/files?acl", "", []string{"x-amz-acl", "public-read"}, 403, "AccessDenied"},
		{"no access block any more", "DELETE", "/files?publicAccessBlock", "", nil, 204, ""},

		{"no encryption", "GET", "/files?encryption", "", nil, 404, "ServerSideEncryptionConfigurationNotFoundError"},
		{"which cannot be had", "PUT", "/files?encryption", "<ServerSideEncryptionConfiguration/>", nil, 501, "NotImplemented"},
		{"an unknown subresource does not delete the bucket", "DELETE", "/files?unheard-of", "", nil, 501, "NotImplemented"},
		{"nor does it exist with a GET", "GET", "/files?website", "", nil, 501, "NotImplemented"},
		{"the bucket is there", "HEAD", "/files", "", nil, 200, ""},
	})
}

func TestTheBodyOfADocumentIsVerified(t *testing.T) {
	d := newObjectDoor(t)
	body := "<Tagging" + ns + "><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
	for _, test := range []struct {
		name, header, value string
		status              int
		code                string
	}{
		{"an MD5 that is none", "Content-MD5", "x", 400, "InvalidDigest"},
		{"another's MD5", "Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==", 400, "BadDigest"},
		{"another's checksum", "x-amz-checksum-crc32", "AAAAAA==", 400, "BadDigest"},
		{"a checksum that is none", "x-amz-checksum-crc32", "x", 400, "InvalidRequest"},
		{"an algorithm that is none", "x-amz-checksum-crc31", "AAAAAA==", 400, "InvalidRequest"},
		{"an algorithm without a value", "x-amz-sdk-checksum-algorithm", "CRC32", 400, "InvalidRequest"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d.at("PUT", "/files?tagging", body, test.header, test.value).want(t, test.status, test.code)
		})
	}
	t.Run("a body that is too long", func(t *testing.T) {
		d.at("PUT", "/files?tagging", strings.Repeat(" ", maxDocument+1)).want(t, 400, "MaxMessageLengthExceeded")
	})
	t.Run("a hash of another body", func(t *testing.T) {
		req := d.request("PUT", "/files?tagging", body)
		sigv4.Sign(req, testCredential, "us-east-1", time.Now(), strings.Repeat("0", 64))
		d.send(req).want(t, 400, "XAmzContentSHA256Mismatch")
	})
	d.at("GET", "/files?tagging", "").want(t, 404, "NoSuchTagSet")
}

func TestErrors(t *testing.T) {
	d := newObjectDoor(t, func(c *Config) { c.Hosts = []string{"s3.example.com"} })
	t.Run("a document says which resource and which request", func(t *testing.T) {
		a := d.at("GET", "/nothing/a%20b", "").want(t, 404, "NoSuchBucket")
		var e struct{ Resource, RequestId, HostId, BucketName string }
		a.decode(t, &e)
		if e.Resource != "/nothing/a%20b" || e.BucketName != "nothing" || e.RequestId != a.Header.Get("X-Amz-Request-Id") || len(e.RequestId) != 16 {
			t.Errorf("the error is %+v", e)
		}
		a.header(t, "Content-Type", "application/xml")
	})
	t.Run("HEAD has no body", func(t *testing.T) {
		if a := d.at("HEAD", "/nothing/a", "").want(t, 404, ""); a.body != "" {
			t.Errorf("the body is %q", a.body)
		}
	})
	t.Run("the signature is checked before the bucket", func(t *testing.T) {
		req := d.request("GET", "/nothing/a", "")
		sigv4.Sign(req, sigv4.Credential{AccessKey: "minicloud", SecretKey: "wrong"}, "us-east-1", time.Now(), sigv4.UnsignedPayload)
		a := d.send(req).want(t, 403, "SignatureDoesNotMatch")
		if !strings.Contains(a.body, "<StringToSign>") || strings.Contains(a.body, "minicloud-secret") {
			t.Errorf("the error is %s", a.body)
		}
	})
	t.Run("virtual-host style", func(t *testing.T) {
		d.at("PUT", "/k", "x", "Host", "files.s3.example.com:80").want(t, 200, "")
		if a := d.at("GET", "/files/k", "", "Host", "s3.example.com"); a.body != "x" {
			t.Errorf("path style has %s", a.body)
		}
	})
	t.Run("headers of more than 8 KiB", func(t *testing.T) {
		d.at("GET", "/files", "", "X-Long", strings.Repeat("x", 9000)).want(t, 400, "RequestHeaderSectionTooLarge")
	})
	t.Run("a key that is too long", func(t *testing.T) {
		d.at("GET", "/files/"+strings.Repeat("k", 1025), "").want(t, 400, "KeyTooLongError")
	})
}

func TestObserve(t *testing.T) {
	type seen struct {
		operation string
		status    int
	}
	answers := make(chan seen, 10)
	d := newObjectDoor(t, func(c *Config) { c.Observe = func(op string, status int) { answers <- seen{op, status} } })
	d.at("HEAD", "/files", "")
	d.at("GET", "/files/none", "")
	d.at("POST", "/", "")
	for _, want := range []seen{{"HeadBucket", 200}, {"GetObject", 404}, {"Unknown", 405}} {
		if got := <-answers; got != want {
			t.Errorf("observed %v, expected %v", got, want)
		}
	}
}
