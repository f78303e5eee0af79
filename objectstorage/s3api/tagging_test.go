package s3api

import (
	"strings"
	"testing"

	"minicloud.internal/objectstorage/store"
)

func TestObjectTagging(t *testing.T) {
	d := newObjectDoor(t)
	d.put("k", "x", "x-amz-tagging", "old=1")
	put := func(body string) *answer { return d.do("PUT", "/k?tagging", body) }
	put(`<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet><Tag><Key>b</Key><Value>2</Value></Tag><Tag><Key>a</Key><Value/></Tag></TagSet></Tagging>`).want(t, 200, "")
	var got tagSet
	d.do("GET", "/k?tagging", "").want(t, 200, "").decode(t, &got)
	if len(got.Tags) != 2 || got.Tags[0] != (tagXML{"a", ""}) || got.Tags[1] != (tagXML{"b", "2"}) {
		t.Errorf("%+v", got.Tags)
	}
	d.do("HEAD", "/k", "").header(t, "X-Amz-Tagging-Count", "2")
	for _, c := range []struct{ name, tags, code string }{
		{"a key twice", "<Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>a</Key><Value>2</Value></Tag>", "InvalidTag"},
		{"an empty key", "<Tag><Key></Key><Value>1</Value></Tag>", "InvalidTag"},
		{"a key of the system", "<Tag><Key>aws:x</Key><Value>1</Value></Tag>", "InvalidTag"},
		{"a long key", "<Tag><Key>" + strings.Repeat("k", 129) + "</Key><Value>1</Value></Tag>", "InvalidTag"},
		{"a long value", "<Tag><Key>k</Key><Value>" + strings.Repeat("v", 257) + "</Value></Tag>", "InvalidTag"},
		{"an odd character", "<Tag><Key>k</Key><Value>a;b</Value></Tag>", "InvalidTag"},
		{"eleven tags", strings.Repeat("<Tag><Key>k</Key><Value>1</Value></Tag>", 11), "BadRequest"},
		{"another element", "<Tab/>", "MalformedXML"},
	} {
		t.Run(c.name, func(t *testing.T) {
			put("<Tagging><TagSet>"+c.tags+"</TagSet></Tagging>").want(t, 400, c.code)
		})
	}
	d.do("DELETE", "/k?tagging", "").want(t, 204, "")
	got = tagSet{}
	d.do("GET", "/k?tagging", "").want(t, 200, "").decode(t, &got)
	if len(got.Tags) != 0 {
		t.Errorf("%+v", got.Tags)
	}
	for _, method := range []string{"GET", "DELETE"} {
		d.do(method, "/absent?tagging", "").want(t, 404, "NoSuchKey")
	}
}

func TestTaggingHeader(t *testing.T) {
	for _, c := range []struct {
		header string
		tags   []store.Tag
		ok     bool
	}{
		{"", nil, true},
		{"&&", nil, true},
		{"b=2&a", []store.Tag{{Key: "a"}, {Key: "b", Value: "2"}}, true},
		{"k%2E+x=v%2Fw", []store.Tag{{Key: "k. x", Value: "v/w"}}, true},
		{"=v", nil, false},
		{"k%", nil, false},
		{"k=1&k=2", nil, false},
		{"k=%ff", nil, false},
		{"k?=1", nil, false},
	} {
		got, err := parseTagging(c.header)
		if (err == nil) != c.ok || c.ok && len(got) != len(c.tags) {
			t.Errorf("%q: %v, %v", c.header, got, err)
			continue
		}
		for i := range c.tags {
			if got[i] != c.tags[i] {
				t.Errorf("%q: %v", c.header, got)
			}
		}
	}
}

func FuzzDocuments(f *testing.F) {
	for _, s := range []string{
		`<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Part><PartNumber>1</PartNumber><ETag>"x"</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part></CompleteMultipartUpload>`,
		`<Delete><Quiet>true</Quiet><Object><Key>a</Key><VersionId>v</VersionId><Size>1</Size></Object></Delete>`,
		`<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`,
		`<!DOCTYPE x [<!ENTITY a "b">]><Delete>&a;</Delete>`, `<Delete><Delete/></Delete>`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var complete completeXML
		if decodeXML(body, &complete) == nil && complete.XMLName.Local != "CompleteMultipartUpload" {
			t.Errorf("%q is a %s", body, complete.XMLName.Local)
		}
		for _, p := range complete.Part {
			if len(p.given()) > 10 {
				t.Errorf("%q has %d checksums", body, len(p.given()))
			}
		}
		var remove deleteXML
		if decodeXML(body, &remove) == nil && remove.XMLName.Local != "Delete" {
			t.Errorf("%q is a %s", body, remove.XMLName.Local)
		}
		var tags tagSet
		if decodeXML(body, &tags) == nil {
			list := make([]store.Tag, len(tags.Tags))
			for i, tag := range tags.Tags {
				list[i] = store.Tag(tag)
			}
			if checkTags(list) == nil && len(list) > maxObjectTags {
				t.Errorf("%q passes with %d tags", body, len(list))
			}
		}
	})
}
