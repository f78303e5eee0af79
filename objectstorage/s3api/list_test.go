package s3api

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"minicloud.internal/objectstorage/store"
)

// listed is an answer of all listings of keys.
type listed struct {
	Name, Prefix, Marker, NextMarker, StartAfter, ContinuationToken, NextContinuationToken  string
	KeyMarker, VersionIdMarker, NextKeyMarker, NextVersionIdMarker, Delimiter, EncodingType string
	KeyCount, MaxKeys                                                                       int
	IsTruncated                                                                             bool
	Contents, Version, DeleteMarker                                                         []listedEntry
	CommonPrefixes                                                                          []struct{ Prefix string }
}

type listedEntry struct {
	Key, VersionId, ETag, LastModified, ChecksumAlgorithm, ChecksumType, StorageClass string
	Size                                                                              int64
	IsLatest                                                                          bool
	Owner                                                                             *struct{ ID, DisplayName string }
}

func (d *objectDoor) list(query string) (l listed) {
	d.t.Helper()
	d.do("GET", "?"+query, "").want(d.t, 200, "").decode(d.t, &l)
	return l
}

// names are the entries of a page: keys, then prefixes.
func (l *listed) names() string {
	var all []string
	for _, c := range l.Contents {
		all = append(all, c.Key)
	}
	for _, p := range l.CommonPrefixes {
		all = append(all, p.Prefix)
	}
	return strings.Join(all, " ")
}

func TestListObjects(t *testing.T) {
	d := newObjectDoor(t)
	for _, key := range []string{"a", "b/1", "b/2", "c/1", "d"} {
		d.put(key, "hello")
	}
	for _, c := range []struct{ query, names string }{
		{"", "a b/1 b/2 c/1 d"},
		{"prefix=b", "b/1 b/2"},
		{"delimiter=/", "a d b/ c/"},
		{"delimiter=/&prefix=b/", "b/1 b/2"},
		{"max-keys=2", "a b/1"},
		{"max-keys=0", ""},
		{"delimiter=/&max-keys=2", "a b/"},
		{"prefix=x", ""},
	} {
		for _, version := range []string{"", "list-type=2&"} {
			l := d.list(version + c.query)
			if got := l.names(); got != c.names {
				t.Errorf("%s%s: %q, expected %q", version, c.query, got, c.names)
			}
		}
	}
	for _, c := range []struct{ query, names string }{
		{"marker=b/1", "b/2 c/1 d"},
		{"marker=b/&delimiter=/", "d c/"},
		{"list-type=2&start-after=b/1", "b/2 c/1 d"},
		{"list-type=2&start-after=zzz", ""},
	} {
		if l := d.list(c.query); l.names() != c.names {
			t.Errorf("%s: %q, expected %q", c.query, l.names(), c.names)
		}
	}
	t.Run("an entry says what it is", func(t *testing.T) {
		l := d.list("list-type=2&max-keys=1&fetch-owner=true")
		c := l.Contents[0]
		if c.ETag != `"5d41402abc4b2a76b9719d911017c592"` || c.Size != 5 || c.StorageClass != "STANDARD" ||
			c.ChecksumAlgorithm != "CRC64NVME" || c.ChecksumType != "FULL_OBJECT" || c.Owner == nil || c.Owner.ID != owner {
			t.Errorf("%+v", c)
		}
		if _, err := time.Parse("2006-01-02T15:04:05.000Z", c.LastModified); err != nil {
			t.Error(err)
		}
		if l.KeyCount != 1 || l.MaxKeys != 1 || !l.IsTruncated || l.Name != "files" {
			t.Errorf("%+v", l)
		}
		if d.list("list-type=2").Contents[0].Owner != nil || d.list("").Contents[0].Owner == nil {
			t.Error("the owner is told when it should not be, or not when it should")
		}
	})
	for _, query := range []string{"max-keys=x", "max-keys=-1", "max-keys=2147483648", "encoding-type=base64",
		"list-type=2&continuation-token=", "list-type=2&continuation-token=YmFy", "list-type=2&continuation-token=%2e%2e"} {
		d.do("GET", "?"+query, "").want(t, 400, "InvalidArgument")
	}
	if l := d.list("max-keys=5000"); l.MaxKeys != 1000 {
		t.Errorf("5000 keys became %d", l.MaxKeys)
	}
}

func TestPagesOfAListingFollowEachOther(t *testing.T) {
	d := newObjectDoor(t)
	for _, key := range []string{"a", "b/1", "b/2", "c/1", "d"} {
		d.put(key, "hello")
	}
	for _, delimiter := range []string{"", "/"} {
		all := d.list("delimiter=" + delimiter)
		var v1, v2 []string
		for l := d.list("max-keys=1&delimiter=" + delimiter); ; {
			v1 = append(v1, l.names())
			if !l.IsTruncated {
				break
			}
			l = d.list("max-keys=1&delimiter=" + delimiter + "&marker=" + url.QueryEscape(l.NextMarker))
		}
		for l := d.list("list-type=2&max-keys=1&delimiter=" + delimiter); ; {
			v2 = append(v2, l.names())
			if !l.IsTruncated {
				break
			}
			l = d.list("list-type=2&max-keys=1&start-after=ignored&delimiter=" + delimiter + "&continuation-token=" + l.NextContinuationToken)
		}
		if !slices.Equal(v1, v2) || len(v1) != len(all.Contents)+len(all.CommonPrefixes) {
			t.Errorf("delimiter %q: %q and %q", delimiter, v1, v2)
		}
	}
}

func TestListEncodesNames(t *testing.T) {
	d := newObjectDoor(t)
	key := "a b/ü+&<%\x01"
	d.put(url.PathEscape(key), "x")
	l := d.list("encoding-type=url&prefix=a%20b&delimiter=%25")
	if l.EncodingType != "url" || l.Prefix != "a%20b" || l.Delimiter != "%25" {
		t.Errorf("%+v", l)
	}
	if got, err := url.PathUnescape(l.CommonPrefixes[0].Prefix); err != nil || got != "a b/ü+&<%" {
		t.Errorf("%q, %v", got, err)
	}
	l = d.list("list-type=2&encoding-type=url")
	if got, err := url.QueryUnescape(l.Contents[0].Key); err != nil || got != key {
		t.Errorf("%q, %v", got, err)
	}
	// Without an encoding, what XML can hold comes through.
	d.do("DELETE", "/"+url.PathEscape(key), "").want(t, 204, "")
	d.put(url.PathEscape("ü+&<%"), "x")
	if l := d.list(""); l.Contents[0].Key != "ü+&<%" {
		t.Errorf("%q", l.Contents[0].Key)
	}
}

func TestListObjectVersions(t *testing.T) {
	d := newObjectDoor(t)
	d.put("old", "x")
	d.versioning(store.Enabled)
	var versions []string
	for i := range 3 {
		versions = append(versions, d.put("k", fmt.Sprint(i)).Header.Get("X-Amz-Version-Id"))
	}
	d.do("DELETE", "/k", "").want(t, 204, "")
	l := d.list("versions")
	if len(l.Version) != 4 || len(l.DeleteMarker) != 1 || l.IsTruncated {
		t.Fatalf("%+v", l)
	}
	if v := l.Version[0]; v.Key != "k" || v.VersionId != versions[2] || v.IsLatest || v.Owner == nil {
		t.Errorf("%+v", v)
	}
	if m := l.DeleteMarker[0]; m.Key != "k" || !m.IsLatest || m.VersionId == "" {
		t.Errorf("%+v", m)
	}
	if v := l.Version[3]; v.Key != "old" || v.VersionId != "null" || !v.IsLatest {
		t.Errorf("%+v", v)
	}
	var seen []string
	for p := d.list("versions&max-keys=1"); ; {
		for _, e := range append(p.Version, p.DeleteMarker...) {
			seen = append(seen, e.Key+" "+e.VersionId)
		}
		if !p.IsTruncated {
			break
		}
		p = d.list("versions&max-keys=1&key-marker=" + p.NextKeyMarker + "&version-id-marker=" + p.NextVersionIdMarker)
	}
	if len(seen) != 5 || len(slices.Compact(slices.Clone(seen))) != 5 {
		t.Errorf("page by page: %q", seen)
	}
	d.do("GET", "?versions&max-keys=-5", "").want(t, 400, "InvalidArgument")
	d.do("GET", "?versions&version-id-marker=x", "").want(t, 400, "InvalidArgument")
}

func TestDocumentsAreWellFormed(t *testing.T) {
	x := newDocument("Root")
	x.text("A", "<&>\"'\x00\xff ü")
	x.optional("B", "")
	var v struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ Root"`
		A       string
		B       *string
	}
	if err := xml.Unmarshal(x.finish(), &v); err != nil || v.A != "<&>\"'\uFFFD\uFFFD ü" || v.B != nil {
		t.Errorf("%+v, %v", v, err)
	}
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{newToken("a"), newToken("ü/b"), "", "YmFy", "!"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if after, err := parseToken(s); err == nil {
			if after == "" || len(after) > store.MaxKey || newToken(after) != s {
				t.Errorf("the token %q is %q, whose token is %q", s, after, newToken(after))
			}
		}
		if s != "" && len(s) <= store.MaxKey {
			if after, err := parseToken(newToken(s)); err != nil || after != s {
				t.Errorf("the token of %q is %q, %v", s, after, err)
			}
		}
		if got, err := url.PathUnescape(percentEncode(s)); err != nil || got != s {
			t.Errorf("%q is encoded as %q", s, percentEncode(s))
		}
	})
}
