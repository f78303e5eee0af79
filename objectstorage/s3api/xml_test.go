package s3api

import (
	"errors"
	"strings"
	"testing"
)

func TestDecodeXMLIsStrict(t *testing.T) {
	for _, test := range []struct {
		name, document string
		ok             bool
	}{
		{"as S3 has it", `<?xml version="1.0" encoding="UTF-8"?><Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`, true},
		{"without a namespace, with spaces and comments", "\n<Tagging><!-- x --> <TagSet/>\n</Tagging>\n", true},
		{"another root", `<Tags/>`, false},
		{"two roots", `<Tagging/><Tagging/>`, false},
		{"an unknown element", `<Tagging><Set/></Tagging>`, false},
		{"a known one in another place", `<Tagging><Key>a</Key></Tagging>`, false},
		{"text behind the root", `<Tagging/>x`, false},
		{"not ended", `<Tagging><TagSet>`, false},
		{"wrongly ended", `<Tagging><TagSet></Tagging></TagSet>`, false},
		{"a document type", `<!DOCTYPE a [<!ENTITY b "c">]><Tagging/>`, false},
		{"an entity", `<Tagging>&b;</Tagging>`, false},
		{"another encoding", `<?xml version="1.0" encoding="UTF-16"?><Tagging/>`, false},
		{"nothing", ``, false},
		{"JSON", `{}`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := decodeXML([]byte(test.document), &tagSet{}); (err == nil) != test.ok {
				t.Errorf("the error is %v, expected one: %t", err, !test.ok)
			}
		})
	}
}

// FuzzBucketDocuments hands any body to every document that a client may send.
func FuzzBucketDocuments(f *testing.F) {
	f.Add([]byte(`<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><MaxAgeSeconds>3</MaxAgeSeconds></CORSRule></CORSConfiguration>`))
	f.Add([]byte(`<LifecycleConfiguration><Rule><ID>a</ID><Status>Enabled</Status><Filter><And><Prefix>a</Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And></Filter><Expiration><Date>2026-01-01T00:00:00Z</Date></Expiration></Rule></LifecycleConfiguration>`))
	f.Add([]byte(`<AccessControlPolicy><Owner><ID>minicloud</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>`))
	f.Add([]byte(`<CreateBucketConfiguration><Tags><Tag><Key>a</Key><Value>b</Value></Tag></Tags></CreateBucketConfiguration>`))
	f.Add([]byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":["s3:Get*"],"Resource":"arn:aws:s3:::files/*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		blamesClient := func(err error) {
			var e *apiError
			if err != nil && (!errors.As(err, &e) || e.Status == 500) {
				t.Fatalf("%q: the error is %v, expected one that blames the client", body, err)
			}
		}
		var cors corsXML
		if err := decodeXML(body, &cors); err == nil {
			blamesClient(cors.check())
			cors.match("http://a.example", "GET", []string{"x-a"})
		} else {
			blamesClient(err)
		}
		var lifecycle Lifecycle
		if decodeXML(body, &lifecycle) == nil {
			blamesClient(lifecycle.check())
		}
		var acl aclXML
		if decodeXML(body, &acl) == nil {
			blamesClient(acl.check())
		}
		for _, v := range []any{&ownershipXML{}, &blockXML{}, &versioningXML{}, &bucketConfiguration{}, &tagSet{}} {
			blamesClient(decodeXML(body, v))
		}
		p, err := parsePolicy(body, "files", func(string) bool { return false })
		blamesClient(err)
		if err == nil {
			p.decide(&policyQuestion{action: "s3:GetObject", resource: arnPrefix + "files/k", context: func(string) []string { return nil }})
			p.public()
		}
	})
}

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"*", "", true}, {"a*", "a", true}, {"a*c", "abbc", true}, {"a*c", "abb", false}, {"?", "a", true},
		{"?", "", false}, {"a?c*", "abcd", true}, {"*a*b*", "xaybz", true}, {"*ab", "aab", true}, {"a**b", "ab", true},
		{"a", "ab", false}, {"b/*/*", "b/x", false}, {"b/*/*", "b/x/y", true},
		{strings.Repeat("*a", 50) + "b", strings.Repeat("a", 5000), false}, // in no time
	} {
		if got := glob(test.pattern, test.s); got != test.want {
			t.Errorf("glob(%.20q, %.20q) is %t, expected %t", test.pattern, test.s, got, test.want)
		}
	}
}
