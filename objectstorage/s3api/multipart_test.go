package s3api

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"

	"minicloud.internal/objectstorage/checksum"
)

func md5Of(s string) string {
	sum := md5.Sum([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// begin begins an upload of "k" and returns the query that names it.
func (d *objectDoor) begin(headers ...string) string {
	d.t.Helper()
	var v struct{ UploadId, Bucket, Key string }
	d.do("POST", "/k?uploads", "", headers...).want(d.t, 200, "").decode(d.t, &v)
	if v.UploadId == "" || v.Bucket != "files" || v.Key != "k" {
		d.t.Fatalf("%+v", v)
	}
	return "uploadId=" + v.UploadId
}

// part uploads a part and returns its ETag.
func (d *objectDoor) part(upload string, number int, body string, headers ...string) string {
	d.t.Helper()
	return d.do("PUT", fmt.Sprintf("/k?partNumber=%d&%s", number, upload), body, headers...).want(d.t, 200, "").Header.Get("ETag")
}

// complete completes an upload of parts, each "number etag" and what else stands in
// its element.
func (d *objectDoor) complete(upload string, parts [][3]string, headers ...string) *answer {
	d.t.Helper()
	var b strings.Builder
	b.WriteString(`<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	for _, p := range parts {
		fmt.Fprintf(&b, "<Part><PartNumber>%s</PartNumber><ETag>%s</ETag>%s</Part>", p[0], p[1], p[2])
	}
	b.WriteString("</CompleteMultipartUpload>")
	return d.do("POST", "/k?"+upload, b.String(), headers...)
}

var (
	bigPart   = strings.Repeat("0123456789abcdef", minPart/16)
	smallPart = "the end"
)

func TestMultipartUpload(t *testing.T) {
	d := newObjectDoor(t)
	up := d.begin("Content-Type", "text/plain", "x-amz-meta-a", "b", "x-amz-tagging", "t=1")
	one := d.part(up, 1, bigPart)
	d.part(up, 2, "to be replaced")
	two := d.part(up, 2, smallPart)

	var parts struct {
		ChecksumAlgorithm string
		Part              []struct {
			PartNumber int
			ETag       string
			Size       int64
		}
		IsTruncated          bool
		NextPartNumberMarker int
	}
	d.do("GET", "/k?max-parts=1&"+up, "").want(t, 200, "").decode(t, &parts)
	if len(parts.Part) != 1 || parts.Part[0].ETag != one || !parts.IsTruncated || parts.NextPartNumberMarker != 1 {
		t.Errorf("%+v", parts)
	}
	var uploads struct {
		Upload []struct{ Key, UploadId string }
	}
	d.do("GET", "?uploads", "").want(t, 200, "").decode(t, &uploads)
	if len(uploads.Upload) != 1 || "uploadId="+uploads.Upload[0].UploadId != up {
		t.Errorf("%+v", uploads)
	}
	d.do("HEAD", "/k", "").want(t, 404, "")

	done := d.complete(up, [][3]string{{"1", one}, {"2", two}}, "If-None-Match", "*").want(t, 200, "")
	var result completedXML
	done.decode(t, &result)
	want := checksum.Of(checksum.CRC64NVME, []byte(bigPart+smallPart))
	if !strings.HasSuffix(result.ETag, `-2"`) || result.Location != d.URL+"/files/k" || result.ChecksumCRC64NVME != want || result.ChecksumType != "FULL_OBJECT" {
		t.Errorf("%s", done.body)
	}
	got := d.do("GET", "/k", "", "x-amz-checksum-mode", "ENABLED").want(t, 200, "")
	got.header(t, "ETag", result.ETag)
	got.header(t, "Content-Type", "text/plain")
	got.header(t, "X-Amz-Meta-A", "b")
	got.header(t, "X-Amz-Tagging-Count", "1")
	got.header(t, "X-Amz-Checksum-Crc64nvme", want)
	if got.body != bigPart+smallPart {
		t.Error("the body is another one")
	}
	last := d.do("GET", "/k?partNumber=2", "", "x-amz-checksum-mode", "ENABLED").want(t, 206, "")
	last.header(t, "X-Amz-Checksum-Crc64nvme", "")
	last.header(t, "X-Amz-Mp-Parts-Count", "2")
	last.header(t, "Content-Range", fmt.Sprintf("bytes %d-%d/%d", minPart, minPart+len(smallPart)-1, minPart+len(smallPart)))
	if last.body != smallPart {
		t.Errorf("part 2 is %q", last.body)
	}
	d.do("GET", "/k?partNumber=3", "").want(t, 416, "InvalidPartNumber")

	t.Run("a completion that was not heard of is repeated", func(t *testing.T) {
		var again completedXML
		d.complete(up, [][3]string{{"1", one}, {"2", two}}).want(t, 200, "").decode(t, &again)
		if again.ETag != result.ETag {
			t.Errorf("%+v", again)
		}
		d.complete(up, [][3]string{{"1", one}}).want(t, 404, "NoSuchUpload")
	})
	t.Run("an upload that ended takes no parts", func(t *testing.T) {
		d.do("PUT", "/k?partNumber=1&"+up, "x").want(t, 404, "NoSuchUpload")
		d.do("GET", "/k?"+up, "").want(t, 404, "NoSuchUpload")
		d.do("DELETE", "/k?"+up, "").want(t, 404, "NoSuchUpload")
	})
}

func TestCompletionsThatAreRefusedLeaveTheUpload(t *testing.T) {
	d := newObjectDoor(t)
	up := d.begin()
	one, two := d.part(up, 1, bigPart), d.part(up, 2, smallPart)
	for _, c := range []struct {
		name, code string
		parts      [][3]string
		headers    []string
	}{
		{"no parts", "MalformedXML", nil, nil},
		{"a part that was not uploaded", "InvalidPart", [][3]string{{"1", one}, {"3", two}}, nil},
		{"a part with another tag", "InvalidPart", [][3]string{{"1", two}, {"2", two}}, nil},
		{"parts out of order", "InvalidPartOrder", [][3]string{{"2", two}, {"1", one}}, nil},
		{"a part twice", "InvalidPartOrder", [][3]string{{"1", one}, {"1", one}}, nil},
		{"part 0", "InvalidArgument", [][3]string{{"0", one}}, nil},
		{"a part of an unknown element", "MalformedXML", [][3]string{{"1", one, "<Size>5</Size>"}}, nil},
		{"another size", "InvalidRequest", [][3]string{{"1", one}, {"2", two}}, []string{"x-amz-mp-object-size", "5"}},
		{"a size that is none", "InvalidRequest", [][3]string{{"1", one}, {"2", two}}, []string{"x-amz-mp-object-size", "-5"}},
		{"a type that is none", "InvalidRequest", [][3]string{{"1", one}, {"2", two}}, []string{"x-amz-checksum-type", "HALF"}},
		{"a condition that S3 has not", "NotImplemented", [][3]string{{"1", one}, {"2", two}}, []string{"If-None-Match", "x"}},
		{"a key that must exist", "NoSuchKey", [][3]string{{"1", one}, {"2", two}}, []string{"If-Match", "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := d.complete(up, c.parts, c.headers...); got.error(t).Code != c.code {
				t.Errorf("%s %s, expected %s", got.Status, got.body, c.code)
			}
		})
	}

	d.do("POST", "/k?"+up, "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>").want(t, 400, "MalformedXML")
	d.do("POST", "/k?"+up, "<CompleteMultipartUpload><Part><ETag>x</ETag></Part></CompleteMultipartUpload>").want(t, 400, "MalformedXML")
	d.complete(up, [][3]string{{"1", one}, {"2", two}}).want(t, 200, "")
}

func TestMultipartChecksums(t *testing.T) {
	d := newObjectDoor(t)
	for _, a := range checksum.Algorithms() {
		for _, kind := range []string{checksum.FullObject, checksum.OfParts} {
			if !a.Supports(kind) {
				continue
			}
			t.Run(string(a)+" "+kind, func(t *testing.T) {
				up := d.begin("x-amz-checksum-algorithm", string(a), "x-amz-checksum-type", kind)
				sums := []string{checksum.Of(a, []byte(bigPart)), checksum.Of(a, []byte(smallPart))}
				one := d.part(up, 1, bigPart, a.Field(), sums[0])
				two := d.part(up, 2, smallPart, a.Field(), sums[1])
				element := func(sum string) string { return fmt.Sprintf("<Checksum%s>%s</Checksum%[1]s>", a, sum) }
				parts := [][3]string{{"1", one, element(sums[0])}, {"2", two, element(sums[1])}}
				swapped := [][3]string{{"1", one, element(sums[1])}, {"2", two, element(sums[1])}}
				bare := [][3]string{{"1", one}, {"2", two}}

				d.complete(up, swapped).want(t, 400, "InvalidPart")
				d.complete(up, parts, a.Field(), sums[1]).want(t, 400, "BadDigest")
				d.complete(up, parts, a.Field(), "x").want(t, 400, "InvalidRequest")
				want := checksum.Of(a, []byte(bigPart+smallPart))
				if kind == checksum.OfParts {
					d.complete(up, bare).want(t, 400, "InvalidRequest")
					want, _ = checksum.Composite(a, sums)
					want += "-2"
				}
				d.complete(up, parts, a.Field(), want, "x-amz-checksum-type", kind).want(t, 200, "")
				got := d.do("HEAD", "/k", "", "x-amz-checksum-mode", "ENABLED")
				got.header(t, a.Field(), want)
				got.header(t, "X-Amz-Checksum-Type", kind)

				var v attributesXML
				d.do("GET", "/k?attributes", "", "x-amz-object-attributes", "Checksum,ObjectParts,ObjectSize,ETag,StorageClass").want(t, 200, "").decode(t, &v)
				if v.Checksum == nil || *v.Checksum.element(a) != want || v.ObjectParts == nil || v.ObjectParts.PartsCount != 2 ||
					*v.ObjectParts.Part[1].element(a) != sums[1] || *v.ObjectSize != int64(len(bigPart)+len(smallPart)) || strings.Contains(v.ETag, `"`) {
					t.Errorf("%+v", v)
				}
			})
		}
	}
	t.Run("parts of another algorithm are refused", func(t *testing.T) {
		up := d.begin("x-amz-checksum-algorithm", "SHA256")
		target := "/k?partNumber=1&" + up
		d.do("PUT", target, "x").want(t, 400, "InvalidRequest")
		d.do("PUT", target, "x", "x-amz-checksum-crc32", checksum.Of(checksum.CRC32, []byte("x"))).want(t, 400, "InvalidRequest")
		d.do("PUT", target, "x", "x-amz-checksum-sha256", checksum.Of(checksum.SHA256, []byte("y"))).want(t, 400, "BadDigest")
	})
	t.Run("the sum of all is computed where the upload named none", func(t *testing.T) {
		up := d.begin()
		one := d.part(up, 1, "x", "x-amz-checksum-sha1", checksum.Of(checksum.SHA1, []byte("x")))
		d.complete(up, [][3]string{{"1", one, "<ChecksumSHA1>" + checksum.Of(checksum.SHA1, []byte("x")) + "</ChecksumSHA1>"}}).want(t, 200, "")
		d.do("HEAD", "/k", "", "x-amz-checksum-mode", "ENABLED").header(t, "X-Amz-Checksum-Crc64nvme", checksum.Of(checksum.CRC64NVME, []byte("x")))
	})
	d.do("POST", "/k?uploads", "", "x-amz-checksum-algorithm", "CRC64NVME", "x-amz-checksum-type", "COMPOSITE").want(t, 400, "InvalidRequest")
}

func TestAPartIsReadWithItsOwnChecksum(t *testing.T) {
	d := newObjectDoor(t)
	up := d.begin("x-amz-checksum-algorithm", "CRC32C", "x-amz-checksum-type", "FULL_OBJECT")
	one, two := d.part(up, 1, bigPart), d.part(up, 2, smallPart)
	d.complete(up, [][3]string{{"1", one}, {"2", two}}).want(t, 200, "")
	for number, part := range []string{bigPart, smallPart} {
		got := d.do("GET", fmt.Sprintf("/k?partNumber=%d", number+1), "", "x-amz-checksum-mode", "ENABLED").want(t, 206, "")
		got.header(t, "X-Amz-Checksum-Crc32c", checksum.Of(checksum.CRC32C, []byte(part)))
	}
}

func TestSmallPartsAreRefused(t *testing.T) {
	d := newObjectDoor(t)
	up := d.begin()
	one, two := d.part(up, 1, "small"), d.part(up, 9, "parts")
	d.complete(up, [][3]string{{"1", one}, {"9", two}}).want(t, 400, "EntityTooSmall")
	d.complete(up, [][3]string{{"9", two}}).want(t, 200, "")
	if got := d.do("GET", "/k", ""); got.body != "parts" {
		t.Errorf("%q", got.body)
	}
}

func TestAbortedUploadsAreGone(t *testing.T) {
	d := newObjectDoor(t)
	up := d.begin()
	d.part(up, 1, "x")
	d.do("DELETE", "/k?"+up, "", "x-amz-if-match-initiated-time", "Thu, 01 Dec 1994 16:00:00 GMT").want(t, 412, "PreconditionFailed")
	d.do("DELETE", "/k?"+up, "", "x-amz-if-match-initiated-time", "soon").want(t, 400, "InvalidArgument")
	d.do("DELETE", "/other?"+up, "").want(t, 404, "NoSuchUpload")
	d.do("DELETE", "/k?"+up, "").want(t, 204, "")
	d.do("GET", "/k?"+up, "").want(t, 404, "NoSuchUpload")
	for _, target := range []string{"/k?partNumber=0&" + up, "/k?partNumber=10001&" + up, "/k?partNumber=x&" + up} {
		d.do("PUT", target, "x").want(t, 400, "InvalidArgument")
	}
}

func TestAnUploadIsCompletedOnce(t *testing.T) {
	d := newObjectDoor(t)
	up := d.begin()
	one := d.part(up, 1, "x")
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if got := d.complete(up, [][3]string{{"1", one}}); got.StatusCode != 200 {
				t.Errorf("%s %s", got.Status, got.body)
			}
		})
	}
	wait.Wait()
}

func TestListMultipartUploadsPages(t *testing.T) {
	d := newObjectDoor(t)
	for range 3 {
		d.begin()
	}
	type page struct {
		Upload                            []struct{ UploadId string }
		NextKeyMarker, NextUploadIdMarker string
		IsTruncated                       bool
	}
	seen := map[string]bool{}
	query := "?uploads&max-uploads=1"
	for {
		var p page
		d.do("GET", query, "").want(t, 200, "").decode(t, &p)
		for _, u := range p.Upload {
			seen[u.UploadId] = true
			// Whoever clears up aborts what a page shows before asking for the next.
			d.do("DELETE", "/k?uploadId="+u.UploadId, "").want(t, 204, "")
		}
		if !p.IsTruncated {
			break
		}
		query = "?uploads&max-uploads=1&key-marker=" + p.NextKeyMarker + "&upload-id-marker=" + p.NextUploadIdMarker
	}
	if len(seen) != 3 {
		t.Errorf("%d uploads were listed", len(seen))
	}
	d.do("GET", "?uploads&max-uploads=-1", "").want(t, 400, "InvalidArgument")
}
