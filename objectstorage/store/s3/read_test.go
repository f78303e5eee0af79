package s3

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"minicloud.internal/objectstorage/store"
)

func completedParts(etags ...string) (parts []types.CompletedPart) {
	for i, e := range etags {
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: aws.String(quote(e))})
	}
	return parts
}

// ranged answers a GET as S3 does, from a body of that ETag; cut is after how many
// bytes the connection breaks, never if 0.
func ranged(w http.ResponseWriter, r *http.Request, body, tag string, cut int) {
	if m := r.Header.Get("If-Match"); m != "" && m != quote(tag) {
		refuse(w, 412, "PreconditionFailed")
		return
	}
	first, status := 0, 200
	if v := r.Header.Get("Range"); v != "" {
		if _, err := fmt.Sscanf(v, "bytes=%d-", &first); err != nil {
			refuse(w, 416, "InvalidRange")
			return
		}
		status = 206
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, len(body)-1, len(body)))
	}
	w.Header().Set("ETag", quote(tag))
	w.Header().Set("Content-Length", fmt.Sprint(len(body)-first))
	w.WriteHeader(status)
	rest := body[first:]
	if cut > 0 && cut < len(rest) {
		_, _ = io.WriteString(w, rest[:cut])
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(w, rest)
}

func TestABodyIsResumed(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 4096)
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request, n int)
		want   error
	}{
		{"where the connection breaks, until it is whole", func(w http.ResponseWriter, r *http.Request, _ int) { ranged(w, r, body, "a", 9000) }, nil},
		{"but not with another object's bytes", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				ranged(w, r, body, "a", 9000)
			} else {
				ranged(w, r, strings.ToUpper(body), "b", 0)
			}
		}, errReplaced},
		{"nor by a service that ignores If-Match", func(w http.ResponseWriter, r *http.Request, n int) {
			r.Header.Del("If-Match")
			if n == 1 {
				ranged(w, r, body, "a", 9000)
			} else {
				ranged(w, r, strings.ToUpper(body), "b", 0)
			}
		}, errReplaced},
		{"nor by one that ignores Range", func(w http.ResponseWriter, r *http.Request, n int) {
			r.Header.Del("Range")
			ranged(w, r, body, "a", 9000)
		}, errReplaced},
		{"and not for ever", func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				ranged(w, r, body, "a", 9000)
				return
			}
			first := 0
			_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first)
			w.Header().Set("ETag", quote("a"))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, len(body)-1, len(body)))
			w.Header().Set("Content-Length", fmt.Sprint(len(body)-first))
			w.WriteHeader(206)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			_, s := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) { n++; c.answer(w, r, n) })
			o, err := s.Get(t.Context(), "bucket", "key", "")
			if err != nil {
				t.Fatal(err)
			}
			defer o.Body.Close()
			got, err := io.ReadAll(o.Body)
			if !errors.Is(err, c.want) || !strings.HasPrefix(body, string(got)) || c.want == nil && string(got) != body {
				t.Errorf("read %d bytes, %v, want those of the object and %v", len(got), err, c.want)
			}
		})
	}
}

func TestABodySeeks(t *testing.T) {
	const body = "0123456789"
	f, s := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		w.Header().Set("X-Amz-Version-Id", "v7")
		ranged(w, r, body, "a", 0)
	})
	o, err := s.Get(t.Context(), "bucket", "key", "")
	if err != nil {
		t.Fatal(err)
	}
	read := func(n int) string {
		t.Helper()
		b := make([]byte, n)
		m, err := io.ReadFull(o.Body, b)
		if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
			t.Fatal(err)
		}
		return string(b[:m])
	}
	seek := func(offset int64, whence int) int64 {
		t.Helper()
		at, err := o.Body.Seek(offset, whence)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if got := seek(0, io.SeekEnd); got != 10 {
		t.Errorf("the end is at %d", got)
	}
	seek(0, io.SeekStart)
	if got := read(3); got != "012" {
		t.Errorf("read %q", got)
	}
	if n := len(f.sent("GET")); n != 1 {
		t.Errorf("%d requests, want none for seeking to the size and back", n)
	}
	if seek(4, io.SeekCurrent); read(9) != "789" {
		t.Error("wrong bytes after a seek forward")
	}
	if seek(-9, io.SeekEnd); read(2) != "12" {
		t.Error("wrong bytes after a seek from the end")
	}
	if seek(20, io.SeekStart); read(1) != "" {
		t.Error("bytes behind the end")
	}
	if _, err := o.Body.Seek(-1, io.SeekStart); err == nil {
		t.Error("a seek before the beginning was no error")
	}
	gets := f.sent("GET")
	if len(gets) != 3 {
		t.Fatalf("%d requests, want 3", len(gets))
	}
	for _, g := range gets[1:] {
		if g.header.Get("If-Match") != quote("a") || !strings.Contains(g.query, "versionId=v7") {
			t.Errorf("asked for %s with %v, want the version and its ETag", g.query, g.header)
		}
	}
	if err := o.Body.Close(); err != nil {
		t.Error(err)
	}
	if _, err := o.Body.Read(make([]byte, 1)); err == nil {
		t.Error("a closed body was read")
	}
}

func TestADamagedBodyIsAnError(t *testing.T) {
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte("good")))
	_, s := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		w.Header().Set("X-Amz-Checksum-Crc32", base64.StdEncoding.EncodeToString(sum))
		ranged(w, r, "evil", "a", 0)
	})
	o, err := s.Get(t.Context(), "bucket", "key", "")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	// As much as there is and no more, as net/http reads it.
	if _, err := io.CopyN(io.Discard, o.Body, o.Size); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("read a damaged body: %v, want ErrCorrupt", err)
	}
}

func TestAnAbsentObjectIsTold(t *testing.T) {
	marker := func(status int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("versions") {
				_, _ = io.WriteString(w, `<ListVersionsResult><EncodingType>url</EncodingType><Version><Key>key</Key><VersionId>v0</VersionId></Version><DeleteMarker><Key>key</Key><VersionId>m1</VersionId><IsLatest>true</IsLatest><LastModified>2026-10-01T10:00:00.123Z</LastModified></DeleteMarker></ListVersionsResult>`)
				return
			}
			w.Header().Set("X-Amz-Delete-Marker", "true")
			w.Header().Set("X-Amz-Version-Id", "m1")
			w.WriteHeader(status)
		}
	}
	refusal := func(status int, code string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) { refuse(w, status, code) }
	}
	for _, c := range []struct {
		name, version string
		answer        func(http.ResponseWriter, *http.Request)
		want          error
		marker        bool
	}{
		{"no key", "", refusal(404, "NoSuchKey"), store.ErrNotFound, false},
		{"no bucket", "", refusal(404, "NoSuchBucket"), store.ErrNoBucket, false},
		{"no version", "v", refusal(404, "NoSuchVersion"), store.ErrNoVersion, false},
		{"what is no version at all", "v", refusal(400, "InvalidArgument"), store.ErrNoVersion, false},
		{"a marker is the latest", "", marker(404), store.ErrNotFound, true},
		{"a marker was asked for", "m1", marker(405), store.ErrDeleteMarker, true},
		{"too much", "", refusal(503, "SlowDown"), store.ErrBusy, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, s := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) { c.answer(w, r) })
			info, err := s.Head(t.Context(), "bucket", "key", c.version)
			o, getErr := s.Get(t.Context(), "bucket", "key", c.version)
			if !errors.Is(err, c.want) || !errors.Is(getErr, c.want) {
				t.Errorf("head: %v, get: %v, want %v", err, getErr, c.want)
			}
			if (o != nil) != c.marker || info.DeleteMarker != c.marker {
				t.Fatalf("get returned %+v, head %+v, want a marker: %v", o, info, c.marker)
			}
			if c.marker && (info.Version != "m1" || !info.Latest || info.Modified.IsZero() || o.Version != "m1" || o.Body != nil) {
				t.Errorf("the marker is %+v", info)
			}
		})
	}
}
