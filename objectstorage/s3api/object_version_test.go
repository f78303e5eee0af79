package s3api

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"minicloud.internal/objectstorage/store"
)

func TestVersionsAndDeleteMarkers(t *testing.T) {
	d := newObjectDoor(t)
	d.versioning(store.Enabled)
	first := d.put("k", "one").Header.Get("X-Amz-Version-Id")
	second := d.put("k", "two").Header.Get("X-Amz-Version-Id")
	if first == "" || first == second {
		t.Fatalf("the versions are %q and %q", first, second)
	}
	got := d.do("GET", "/k?versionId="+url.QueryEscape(first), "").want(t, 200, "")
	got.header(t, "X-Amz-Version-Id", first)
	if got.body != "one" {
		t.Errorf("the first version is %q", got.body)
	}
	deleted := d.do("DELETE", "/k", "").want(t, 204, "")
	deleted.header(t, "X-Amz-Delete-Marker", "true")
	marker := deleted.Header.Get("X-Amz-Version-Id")

	gone := d.do("GET", "/k", "").want(t, 404, "NoSuchKey")
	gone.header(t, "X-Amz-Delete-Marker", "true")
	gone.header(t, "X-Amz-Version-Id", marker)
	d.do("HEAD", "/k", "").want(t, 404, "").header(t, "X-Amz-Delete-Marker", "true")
	asked := d.do("GET", "/k?versionId="+marker, "").want(t, 405, "MethodNotAllowed")
	asked.header(t, "X-Amz-Delete-Marker", "true")
	asked.header(t, "Allow", "DELETE")
	d.do("GET", "/k?tagging&versionId="+marker, "").want(t, 405, "MethodNotAllowed")
	d.do("PUT", "/copy", "", "x-amz-copy-source", "/files/k?versionId="+marker).want(t, 400, "InvalidRequest")
	d.do("PUT", "/copy", "", "x-amz-copy-source", "/files/k").want(t, 404, "NoSuchKey")

	t.Run("an older version is restored by a copy onto itself", func(t *testing.T) {
		d.do("PUT", "/k", "", "x-amz-copy-source", "/files/k?versionId="+first).want(t, 200, "").
			header(t, "X-Amz-Copy-Source-Version-Id", first)
		if got := d.do("GET", "/k", ""); got.body != "one" {
			t.Errorf("it is %q", got.body)
		}
	})
	t.Run("a version is removed for good", func(t *testing.T) {
		d.do("DELETE", "/k?versionId="+first, "").want(t, 204, "").header(t, "X-Amz-Version-Id", first)
		d.do("GET", "/k?versionId="+first, "").want(t, 404, "NoSuchVersion")
		d.do("DELETE", "/k?versionId="+first, "").want(t, 204, "")
		d.do("DELETE", "/k?versionId="+marker, "").want(t, 204, "").header(t, "X-Amz-Delete-Marker", "true")
	})
	t.Run("what cannot be a version is an error", func(t *testing.T) {
		for _, method := range []string{"GET", "DELETE"} {
			d.do(method, "/k?versionId=../etc", "").want(t, 400, "InvalidArgument")
			d.do(method, "/k?versionId=", "").want(t, 400, "InvalidArgument")
		}
		d.do("PUT", "/copy", "", "x-amz-copy-source", "files/k?versionId=no_such").want(t, 400, "InvalidArgument")
	})
}

func TestSuspendedVersioning(t *testing.T) {
	d := newObjectDoor(t)
	d.versioning(store.Enabled)
	old := d.put("k", "one").Header.Get("X-Amz-Version-Id")
	d.versioning(store.Suspended)
	d.put("k", "two").header(t, "X-Amz-Version-Id", "")
	d.do("GET", "/k", "").header(t, "X-Amz-Version-Id", "null")
	d.do("DELETE", "/k", "").want(t, 204, "").header(t, "X-Amz-Version-Id", "null")
	d.do("GET", "/k", "").want(t, 404, "NoSuchKey")
	if got := d.do("GET", "/k?versionId="+old, "").want(t, 200, ""); got.body != "one" {
		t.Errorf("the old version is %q", got.body)
	}
}

func TestDeletionsAreIdempotentAndConditional(t *testing.T) {
	d := newObjectDoor(t)
	d.do("DELETE", "/absent", "").want(t, 204, "").header(t, "X-Amz-Version-Id", "")
	etag := d.put("k", "hello").Header.Get("ETag")
	modified := d.do("HEAD", "/k", "").Header.Get("Last-Modified")
	d.do("DELETE", "/k", "", "If-Match", `"other"`).want(t, 412, "PreconditionFailed")
	d.do("DELETE", "/k", "", "x-amz-if-match-size", "4").want(t, 412, "PreconditionFailed")
	d.do("DELETE", "/k", "", "x-amz-if-match-size", "x").want(t, 400, "InvalidArgument")
	d.do("DELETE", "/k", "", "x-amz-if-match-last-modified-time", "Thu, 01 Dec 1994 16:00:00 GMT").want(t, 412, "PreconditionFailed")
	d.do("DELETE", "/k", "", "If-Match", etag, "x-amz-if-match-size", "5", "x-amz-if-match-last-modified-time", modified).want(t, 204, "")
	d.do("GET", "/k", "").want(t, 404, "NoSuchKey")
	d.do("DELETE", "/k", "", "If-Match", etag).want(t, 412, "PreconditionFailed")
}

func TestDeleteObjects(t *testing.T) {
	d := newObjectDoor(t)
	remove := func(body string, headers ...string) *answer {
		return d.do("POST", "?delete", body, append([]string{"Content-MD5", md5Of(body)}, headers...)...)
	}
	for i := range 50 {
		d.put(fmt.Sprintf("k%02d", i), "x")
	}
	t.Run("all are deleted, absent ones too", func(t *testing.T) {
		var b strings.Builder
		b.WriteString(`<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
		for i := range 60 {
			fmt.Fprintf(&b, "<Object><Key>k%02d</Key></Object>", i)
		}
		b.WriteString("</Delete>")
		var result deleteResult
		remove(b.String()).want(t, 200, "").decode(t, &result)
		if len(result.Deleted) != 60 || len(result.Error) != 0 || result.Deleted[7].Key != "k07" {
			t.Errorf("%+v", result)
		}
		d.do("GET", "/k07", "").want(t, 404, "NoSuchKey")
	})
	t.Run("an error is of one key alone, and told when quiet", func(t *testing.T) {
		d.put("a", "x")
		d.put("b", "x")
		var result deleteResult
		remove(`<Delete><Quiet>true</Quiet><Object><Key>a</Key><ETag>other</ETag></Object><Object><Key>b</Key></Object></Delete>`).
			want(t, 200, "").decode(t, &result)
		if len(result.Deleted) != 0 || len(result.Error) != 1 || result.Error[0].Key != "a" || result.Error[0].Code != "PreconditionFailed" {
			t.Errorf("%+v", result)
		}
		d.do("HEAD", "/a", "").want(t, 200, "")
		d.do("HEAD", "/b", "").want(t, 404, "")
	})
	t.Run("versions and markers", func(t *testing.T) {
		d.versioning(store.Enabled)
		version := d.put("v", "x").Header.Get("X-Amz-Version-Id")
		var result deleteResult
		remove(`<Delete><Object><Key>v</Key></Object></Delete>`).decode(t, &result)
		if len(result.Deleted) != 1 || result.Deleted[0].DeleteMarkerVersionId == "" || !*result.Deleted[0].DeleteMarker {
			t.Fatalf("%+v", result)
		}
		marker := result.Deleted[0].DeleteMarkerVersionId
		result = deleteResult{}
		remove(`<Delete><Object><Key>v</Key><VersionId>`+version+`</VersionId></Object><Object><Key>v</Key><VersionId>`+marker+`</VersionId></Object></Delete>`).decode(t, &result)
		if len(result.Deleted) != 2 || *result.Deleted[0].DeleteMarker || result.Deleted[1].DeleteMarkerVersionId != marker {
			t.Errorf("%+v", result)
		}
	})
	t.Run("what is not a list of keys is refused", func(t *testing.T) {
		d.do("POST", "?delete", "<Delete/>").want(t, 400, "InvalidRequest") // neither Content-MD5 nor checksum
		remove("<Delete><Object><Key>a</Key></Object>").want(t, 400, "MalformedXML")
		remove("<Deletes></Deletes>").want(t, 400, "MalformedXML")
		remove("<Delete>"+strings.Repeat("<Object><Key>a</Key></Object>", 1001)+"</Delete>").want(t, 400, "MalformedXML")
	})
}

func TestReadConditions(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 600e6, time.UTC)
	info := &store.Info{ETag: "e", Modified: now}
	before, after := now.Add(-time.Hour), now.Add(time.Hour)
	for _, c := range []struct {
		name   string
		c      readCondition
		status int
	}{
		{"none", readCondition{}, 0},
		{"If-Match holds", readCondition{match: []string{"e"}}, 0},
		{"If-Match of any", readCondition{match: []string{"*"}}, 0},
		{"If-Match fails", readCondition{match: []string{"x"}}, 412},
		{"If-Match overrules If-Unmodified-Since", readCondition{match: []string{"e"}, unmodifiedSince: before}, 0},
		{"If-Unmodified-Since fails", readCondition{unmodifiedSince: before}, 412},
		{"If-Unmodified-Since in the second of the change", readCondition{unmodifiedSince: now.Truncate(time.Second)}, 0},
		{"If-None-Match fails", readCondition{noneMatch: []string{"e"}}, 304},
		{"If-None-Match overrules If-Modified-Since", readCondition{noneMatch: []string{"x"}, modifiedSince: after}, 0},
		{"If-Modified-Since fails", readCondition{modifiedSince: now.Truncate(time.Second)}, 304},
		{"412 before 304", readCondition{match: []string{"x"}, noneMatch: []string{"e"}}, 412},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.c.noneMatchStatus, c.c.modifiedStatus = 304, 304
			if status, _ := c.c.check(info); status != c.status {
				t.Errorf("%d, expected %d", status, c.status)
			}
		})
	}
	d := newObjectDoor(t)
	etag := d.put("k", "x").Header.Get("ETag")
	got := d.do("GET", "/k", "", "If-None-Match", etag).want(t, 304, "")
	got.header(t, "ETag", etag)
	if got.body != "" {
		t.Errorf("304 with the body %q", got.body)
	}
	d.do("GET", "/k", "", "If-Match", "W/\"x\", "+etag).want(t, 200, "")
	d.do("GET", "/k", "", "If-Match", `"x"`).want(t, 412, "PreconditionFailed")
}
