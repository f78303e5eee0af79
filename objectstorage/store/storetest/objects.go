package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"minicloud.internal/objectstorage/store"
)

var objectTests = []test{
	{"an object comes back as it was put", roundTrip},
	{"bodies of all sizes come back", sizes},
	{"a body is read from any offset", seeks},
	{"a key is a name and nothing else", keyNames},
	{"what is not a key is refused everywhere", badKeys},
	{"the last put of a key replaces the one before", replace},
	{"an open body stays what it was when its key is replaced or deleted", openBody},
	{"an upload is invisible until it is committed", staged},
	{"a discarded upload leaves nothing", discarded},
	{"the length that is named beforehand is a hint", sizeHint},
	{"a body that fails stores nothing and is told apart", brokenBody},
	{"deleting twice is no error", deleteTwice},
	{"attributes over the limit are refused", attributeLimit},
	{"an update changes attributes and nothing else", update},
	{"everything is there after a restart", restart},
}

// fullAttributes has every attribute set.
func fullAttributes() store.Attributes {
	return store.Attributes{ContentType: "text/plain; charset=utf-8", ContentEncoding: "gzip", ContentLanguage: "de",
		ContentDisposition: `attachment; filename="é.txt"`, CacheControl: "no-cache", Expires: "Thu, 01 Dec 2039 16:00:00 GMT",
		User: map[string]string{"a": "1", "b-c": "zwei"}, Tags: []store.Tag{{Key: "k", Value: "v"}, {Key: "l", Value: ""}},
		Checksum:     store.Checksum{Algorithm: "CRC32C", Type: "FULL_OBJECT", Value: "yZRlqg=="},
		StorageClass: "STANDARD_IA", Redirect: "/elsewhere"}
}

func roundTrip(t *testing.T, h Harness) {
	s := start(t, h)
	for i, body := range []string{"hello world", random(1 << 20)} {
		key, a := fmt.Sprint("object-", i), fullAttributes()
		if i == 1 {
			a.Checksum = store.Checksum{} // this one's is of the other body
		}
		before := time.Now().Add(-2 * time.Second)
		info, created, err := store.Put(t.Context(), s.Store, bucketName, key, strings.NewReader(body), a, store.Condition{})
		if err != nil || !created {
			t.Fatalf("put: created %v, %v", created, err)
		}
		want := store.Info{Key: key, Version: store.Null, Latest: true, Size: int64(len(body)), ETag: etagOf(body), Modified: info.Modified}
		want.Attributes = fullAttributes()
		want.Checksum = a.Checksum
		a.User["a"], a.Tags[0].Value = "changed", "changed" // are the caller's again
		s.same("put", info, want)
		if info.Modified.Before(before) || info.Modified.After(time.Now().Add(2*time.Second)) {
			t.Errorf("modified %v, want now", info.Modified)
		}
		s.same("head", s.head(key, ""), want)
		s.same("head of the version", s.head(key, store.Null), want)
		o, err := s.Get(t.Context(), bucketName, key, "")
		if err != nil {
			t.Fatal(err)
		}
		_ = o.Body.Close()
		s.same("get", o.Info, want)
	}
}

func sizes(t *testing.T, h Harness) {
	s := start(t, h)
	bodies := map[string]string{}
	for _, n := range []int{0, 1, 4096, 65535, 65536, 65537, 262143, 262144, 262145, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3<<20 + 17} {
		key := fmt.Sprint("size-", n)
		bodies[key] = random(n)
		if info := s.put(key, bodies[key]); info.Size != int64(n) || info.ETag != etagOf(bodies[key]) {
			t.Errorf("put of %d bytes returned %+v", n, info)
		}
	}
	for key, body := range bodies {
		if got := s.get(key, ""); got != body {
			t.Errorf("%s came back with %d bytes, other ones", key, len(got))
		}
	}
}

func seeks(t *testing.T, h Harness) {
	s := start(t, h)
	for _, n := range []int{0, 1, 5000, 66_000, 1<<20 + 100} {
		key, body := fmt.Sprint("seek-", n), random(n)
		s.put(key, body)
		o, err := s.Get(t.Context(), bucketName, key, "")
		if err != nil {
			t.Fatal(err)
		}
		checkSeeks(t, o.Body, body)
		if err := o.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}

// checkSeeks reads a body from many offsets.
func checkSeeks(t *testing.T, r io.ReadSeeker, body string) {
	t.Helper()
	if len(body) <= 100_000 { // it reads single bytes
		if err := iotest.TestReader(io.LimitReader(r, int64(len(body))+1), []byte(body)); err != nil {
			t.Errorf("read: %v", err)
		}
	} else if got, err := io.ReadAll(r); err != nil || string(got) != body {
		t.Errorf("read %d bytes, %v, want the body", len(got), err)
	}
	for _, c := range []struct {
		offset int64
		whence int
		want   int64
	}{
		{0, io.SeekEnd, int64(len(body))},
		{0, io.SeekStart, 0},
		{int64(len(body) / 2), io.SeekCurrent, int64(len(body) / 2)},
		{-int64(len(body) / 4), io.SeekEnd, int64(len(body) - len(body)/4)},
	} {
		n, err := r.Seek(c.offset, c.whence)
		if err != nil || n != c.want {
			t.Errorf("seek(%d, %d) = %d, %v, want %d", c.offset, c.whence, n, err, c.want)
		}
	}
	if rest, err := io.ReadAll(r); err != nil || string(rest) != body[len(body)-len(body)/4:] {
		t.Errorf("after seeking, %d bytes and %v, want the last quarter", len(rest), err)
	}
	for _, whence := range []int{io.SeekStart, io.SeekEnd} {
		if n, err := r.Seek(-int64(len(body))-1, whence); err == nil {
			t.Errorf("seek before the body returned %d, want an error", n)
		}
	}
	for at := 0; at < len(body); at += len(body)/7 + 1 {
		part := make([]byte, min(1000, len(body)-at))
		if _, err := r.Seek(int64(at), io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, part); err != nil || string(part) != body[at:at+len(part)] {
			t.Errorf("read at %d: other bytes, %v", at, err)
		}
	}
}

// Keys are names that would mean something to a file system or a URL.
var Keys = []string{
	"a", "a/b", "a/b/", "/", "//", "/a", "a//b", ".", "..", "../..", "../../etc/passwd", "a/../b", "a/./b", "..\\..",
	"\x00", "a\x00b", "\x00\x01", "a\x00", "\x01", "%2e%2e%2f", "%00", "a b", "a+b", "a?b#c", "\n", "\u0085", "é", "e\u0301", "日本", "😀",
	"CON", "LOCK", "tmp", "objects", "meta", "-rf", "~", "\U0010ffff",
	strings.Repeat("k", store.MaxKey), strings.Repeat("/", store.MaxKey), strings.Repeat("€", 341), strings.Repeat("\x00", store.MaxKey),
}

func keyNames(t *testing.T, h Harness) {
	s := start(t, h)
	for _, key := range Keys {
		s.put(key, "body of "+key)
	}
	for _, key := range Keys {
		if got := s.get(key, ""); got != "body of "+key {
			t.Errorf("%q holds %q", key, got)
		}
	}
	if got, want := s.keys(), slices.Sorted(slices.Values(Keys)); !slices.Equal(got, want) {
		t.Errorf("the listing is %q, want %q", got, want)
	}
	for _, key := range Keys {
		s.delete(key, "")
		s.wantAbsent(key)
	}
}

func badKeys(t *testing.T, h Harness) {
	s := start(t, h)
	ctx := t.Context()
	for name, key := range map[string]string{
		"empty": "", "too long": strings.Repeat("k", store.MaxKey+1), "not UTF-8": "a\xffb", "half a rune": "a\xc3",
	} {
		_, _, putErr := s.tryPut(key, "x", store.Condition{})
		_, getErr := s.Get(ctx, bucketName, key, "")
		_, headErr := s.Head(ctx, bucketName, key, "")
		_, updateErr := s.Update(ctx, bucketName, key, "", func(*store.Attributes) error { return nil })
		_, deleteErr := s.Delete(ctx, bucketName, key, "", store.Condition{})
		_, createErr := s.CreateMultipart(ctx, bucketName, store.Multipart{Key: key})
		for _, err := range []error{putErr, getErr, headErr, updateErr, deleteErr, createErr} {
			if bad := (*store.KeyError)(nil); !errors.As(err, &bad) {
				t.Errorf("%s: %v, want a KeyError", name, err)
			}
		}
	}
	if got := s.keys(); len(got) > 0 {
		t.Errorf("the store has %q, want nothing", got)
	}
}

func replace(t *testing.T, h Harness) {
	s := start(t, h)
	for _, big := range []bool{false, true} {
		key, first, second := fmt.Sprint("k", big), "first", "the second"
		if big {
			first, second = random(200_000), random(300_000)
		}
		s.put(key, first)
		info, created, err := s.tryPut(key, second, store.Condition{})
		if err != nil || created {
			t.Fatalf("replace: created %v, %v", created, err)
		}
		s.same("head", s.head(key, ""), info)
		if got := s.get(key, ""); got != second {
			t.Errorf("get returned %d bytes, other ones", len(got))
		}
	}
	if got := s.keys(); !slices.Equal(got, []string{"kfalse", "ktrue"}) {
		t.Errorf("the listing is %q", got)
	}
}

func openBody(t *testing.T, h Harness) {
	s := start(t, h)
	for _, size := range []int{10, 2 << 20} {
		old := random(size)
		for _, key := range []string{"replaced", "deleted"} {
			s.put(key, old)
			o, err := s.Get(t.Context(), bucketName, key, "")
			if err != nil {
				t.Fatal(err)
			}
			begin := make([]byte, 5)
			if _, err := io.ReadFull(o.Body, begin); err != nil {
				t.Fatal(err)
			}
			if key == "replaced" {
				s.put(key, "new")
			} else {
				s.delete(key, "")
			}
			rest, err := io.ReadAll(o.Body)
			if err != nil || string(begin)+string(rest) != old {
				t.Errorf("%s: read %d bytes, %v; want the old version whole", key, len(begin)+len(rest), err)
			}
			_ = o.Body.Close()
		}
	}
}

func staged(t *testing.T, h Harness) {
	s := start(t, h)
	for _, body := range []string{"hello", random(500_000)} {
		key := fmt.Sprint("k", len(body))
		u, err := s.Stage(t.Context(), strings.NewReader(body), -1)
		if err != nil {
			t.Fatal(err)
		}
		if u.Size() != int64(len(body)) || u.ETag() != etagOf(body) {
			t.Errorf("size %d, ETag %s", u.Size(), u.ETag())
		}
		s.wantAbsent(key)
		if _, created, err := u.Commit(t.Context(), bucketName, key, store.Attributes{}, store.Condition{}); err != nil || !created {
			t.Fatalf("commit: created %v, %v", created, err)
		}
		u.Discard()
		if got := s.get(key, ""); got != body {
			t.Errorf("after commit and discard, %d bytes", len(got))
		}
		if _, _, err := u.Commit(t.Context(), bucketName, "l", store.Attributes{}, store.Condition{}); err == nil {
			t.Error("a second commit of one upload succeeded")
		}
		s.wantAbsent("l")
	}
}

func discarded(t *testing.T, h Harness) {
	s := start(t, h)
	for _, body := range []string{"hello", random(500_000)} {
		u, err := s.Stage(t.Context(), strings.NewReader(body), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		u.Discard()
		u.Discard()
		if _, _, err := u.Commit(t.Context(), bucketName, "k", store.Attributes{}, store.Condition{}); err == nil {
			t.Error("a commit after discard succeeded")
		}
		s.wantAbsent("k")
	}
}

func sizeHint(t *testing.T, h Harness) {
	s := start(t, h)
	for _, size := range []int{0, 10, 70_000, 600_000} {
		for _, hint := range []int64{-1, 0, 1, 100, 65_536, 65_537, 1 << 40} {
			body := random(size)
			u, err := s.Stage(t.Context(), strings.NewReader(body), hint)
			if err != nil {
				t.Fatalf("%d bytes, said to be %d: %v", size, hint, err)
			}
			if _, _, err = u.Commit(t.Context(), bucketName, "k", store.Attributes{}, store.Condition{}); err != nil {
				t.Fatal(err)
			}
			if got := s.get("k", ""); got != body {
				t.Errorf("%d bytes, said to be %d, came back as %d", size, hint, len(got))
			}
		}
	}
}

func brokenBody(t *testing.T, h Harness) {
	s := start(t, h)
	s.put("k", "old")
	broken := errors.New("the line went dead")
	for name, body := range map[string]io.Reader{
		"at once":                     iotest.ErrReader(broken),
		"after some bytes":            io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)),
		"after many":                  io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), iotest.ErrReader(broken)),
		"cut off, as HTTP says it":    io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF)),
		"with its last bytes at hand": iotest.DataErrReader(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken))),
	} {
		for _, hint := range []int64{-1, 4, 100} {
			_, err := s.Stage(t.Context(), body, hint)
			var source *store.BodyError
			if !errors.As(err, &source) || !errors.Is(err, broken) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %v, want a BodyError that wraps the body's own", name, err)
			}
			body = iotest.ErrReader(broken) // it gave all that it had
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	u, err := s.Stage(ctx, bytes.NewReader(make([]byte, 1<<20)), -1)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if u != nil {
		u.Discard()
	}
	if got := s.get("k", ""); got != "old" {
		t.Errorf("the key holds %q, want the old object", got)
	}
}

func deleteTwice(t *testing.T, h Harness) {
	s := start(t, h)
	s.put("k", "x")
	if d := s.delete("k", ""); d.DeleteMarker {
		t.Errorf("delete: %+v", d)
	}
	s.wantAbsent("k")
	for _, version := range []string{"", store.Null} {
		if d := s.delete("k", version); d.DeleteMarker {
			t.Errorf("again: %+v", d)
		}
	}
	s.wantAbsent("k")
}

func attributeLimit(t *testing.T, h Harness) {
	s := start(t, h)
	key := strings.Repeat("k", 512)
	// S3 has its own limit of 2 KiB for user metadata; what counts here is the sum.
	a := store.Attributes{ContentType: strings.Repeat("a", store.MaxAttributes-11), User: map[string]string{"name": "value"}}
	a.Tags = []store.Tag{{Key: "not", Value: "counted"}}
	a.ContentLanguage = "xx"
	if _, _, err := store.Put(t.Context(), s.Store, bucketName, key, strings.NewReader("x"), a, store.Condition{}); err != nil {
		t.Errorf("a long key with the most attributes: %v", err)
	}
	s.same("head", s.head(key, ""), store.Info{Key: key, Version: store.Null, Latest: true, Size: 1, ETag: etagOf("x"),
		Modified: s.head(key, "").Modified, Attributes: a})
	a.ContentLanguage = "xxx"
	_, _, err := store.Put(t.Context(), s.Store, bucketName, "k", strings.NewReader("x"), a, store.Condition{})
	s.want("one byte more", err, store.ErrAttributes)
	_, err = s.Update(t.Context(), bucketName, key, "", func(b *store.Attributes) error { *b = a; return nil })
	s.want("an update to one byte more", err, store.ErrAttributes)
	_, err = s.CreateMultipart(t.Context(), bucketName, store.Multipart{Key: key, Attributes: a})
	s.want("an upload in parts with one byte more", err, store.ErrAttributes)
	s.wantAbsent("k")
}

func update(t *testing.T, h Harness) {
	s := start(t, h)
	_, err := s.Update(t.Context(), bucketName, "k", "", func(*store.Attributes) error { return nil })
	s.want("update of nothing", err, store.ErrNotFound)
	before := s.put("k", "body")
	broken := errors.New("no")
	_, err = s.Update(t.Context(), bucketName, "k", "", func(a *store.Attributes) error { a.CacheControl = "no"; return broken })
	s.want("an update that fails", err, broken)
	s.same("after it", s.head("k", ""), before)
	_, err = s.Update(t.Context(), bucketName, "k", "0000000000001", func(*store.Attributes) error { return nil })
	s.want("update of no version", err, store.ErrNoVersion)
	for n := range 3 {
		want := before
		want.Tags = []store.Tag{{Key: "n", Value: fmt.Sprint(n)}}
		want.User = map[string]string{"n": fmt.Sprint(n)}
		got, err := s.Update(t.Context(), bucketName, "k", "", func(a *store.Attributes) error {
			if a.ContentType != before.ContentType {
				t.Errorf("the content type is %q", a.ContentType)
			}
			a.Tags, a.User = slices.Clone(want.Tags), maps.Clone(want.User)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		s.same("update", got, want)
		s.same("head", s.head("k", ""), want)
	}
	if got := s.get("k", ""); got != "body" {
		t.Errorf("the body is %q", got)
	}
}

func restart(t *testing.T, h Harness) {
	open := h(t)
	s := &tester{t, open()}
	s.bucket(store.Bucket{Name: bucketName})
	want := map[string]store.Info{}
	for n, key := range Keys {
		want[key] = s.put(key, strings.Repeat(key, n*n))
	}
	s.put("deleted", "x")
	s.delete("deleted", "")
	s.put("replaced", "old")
	want["replaced"] = s.put("replaced", "new")
	lost, err := s.Stage(t.Context(), strings.NewReader("never committed"), -1)
	if err != nil {
		t.Fatal(err)
	}
	lost.Discard()
	if err := s.Store.Close(); err != nil {
		t.Fatal(err)
	}
	s = &tester{t, open()}
	t.Cleanup(func() { _ = s.Store.Close() })
	for key, info := range want {
		s.same("after the restart", s.head(key, ""), info)
	}
	for n, key := range Keys {
		if got := s.get(key, ""); got != strings.Repeat(key, n*n) {
			t.Errorf("%q holds %d bytes, other ones", key, len(got))
		}
	}
	s.wantAbsent("deleted")
	page, err := s.List(t.Context(), bucketName, store.Query{Limit: 1000})
	if err != nil || len(page.Objects) != len(want) {
		t.Fatalf("the listing has %d objects, %v, want %d", len(page.Objects), err, len(want))
	}
	for _, i := range page.Objects {
		if !sameEntry(i, want[i.Key]) {
			t.Errorf("the listing has %+v, want %+v", i, want[i.Key])
		}
	}
}
