// Package storetest is the conformance suite of package store: every driver
// runs it in its own tests, and what it checks is what doors may rely on.
package storetest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"minicloud.internal/objectstorage/store"
)

// Harness prepares an empty place for a store and returns a function that opens
// it: the first call an empty store, a later one, after the store before was
// closed, the same store again.
type Harness func(t *testing.T) (open func() store.Store)

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Harness)
	}{
		{"an object comes back as it was put", roundTrip},
		{"a key is a name and nothing else", keys},
		{"what is not a key is refused everywhere", badKeys},
		{"the last put of a key replaces the one before", replace},
		{"an open body stays what it was when its key is replaced or deleted", openBody},
		{"an upload is invisible until it is committed", staged},
		{"a discarded upload leaves nothing", discarded},
		{"a body that fails stores nothing and is told apart", brokenBody},
		{"a condition decides every write", conditions},
		{"of many who want a key absent exactly one succeeds", race},
		{"concurrent writers of one key leave one of their objects whole", lastWins},
		{"deleting twice is no error", deleteTwice},
		{"metadata over the limit is refused", metaLimit},
		{"a listing agrees with a naive model", listing},
		{"everything is there after a restart", restart},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, h) })
	}
}

func start(t *testing.T, h Harness) store.Store {
	t.Helper()
	s := h(t)()
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t *testing.T, s store.Store, key, body string) store.Info {
	t.Helper()
	info, _, err := store.Put(t.Context(), s, key, strings.NewReader(body), store.Meta{ContentType: "text/plain"}, store.Condition{})
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return info
}

func get(t *testing.T, s store.Store, key string) string {
	t.Helper()
	o, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	defer o.Body.Close()
	b, err := io.ReadAll(o.Body)
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	return string(b)
}

func wantAbsent(t *testing.T, s store.Store, key string) {
	t.Helper()
	if _, err := s.Head(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("head %q: %v, want ErrNotFound", key, err)
	}
	if _, err := s.Get(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get %q: %v, want ErrNotFound", key, err)
	}
	if slices.Contains(all(t, s), key) {
		t.Errorf("the listing has %q, want it absent", key)
	}
}

// all lists every key.
func all(t *testing.T, s store.Store) (keys []string) {
	t.Helper()
	q := store.Query{Limit: 100}
	for {
		p, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range p.Objects {
			keys = append(keys, i.Key)
		}
		if q.After = p.Next; p.Next == "" {
			return keys
		}
	}
}

func roundTrip(t *testing.T, h Harness) {
	s := start(t, h)
	big := make([]byte, 3<<20+17)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(big)
	for i, body := range []string{"", "x", strings.Repeat("0123456789abcdef", 256), string(big)} {
		key := fmt.Sprintf("object-%d", i)
		meta := store.Meta{ContentType: "text/plain; charset=utf-8", ContentEncoding: "gzip", ContentLanguage: "de",
			ContentDisposition: `attachment; filename="é.txt"`, CacheControl: "no-cache"}
		before := time.Now().Add(-time.Minute)
		info, created, err := store.Put(t.Context(), s, key, strings.NewReader(body), meta, store.Condition{})
		if err != nil || !created {
			t.Fatalf("put: created %v, %v", created, err)
		}
		sum := md5.Sum([]byte(body))
		want := store.Info{Key: key, Size: int64(len(body)), ETag: hex.EncodeToString(sum[:]), Modified: info.Modified, Meta: meta}
		if info != want {
			t.Errorf("put returned %+v, want %+v", info, want)
		}
		if info.Modified.Before(before) || info.Modified.Location() != time.UTC {
			t.Errorf("modified %v, want now in UTC", info.Modified)
		}
		if head, err := s.Head(t.Context(), key); err != nil || head != want {
			t.Errorf("head returned %+v, %v, want %+v", head, err, want)
		}
		if got := get(t, s, key); got != body {
			t.Errorf("get returned %d bytes, want the %d that were put", len(got), len(body))
		}
		seek(t, s, key, body)
	}
}

// seek reads a body from several offsets.
func seek(t *testing.T, s store.Store, key, body string) {
	t.Helper()
	o, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	if err := iotest.TestReader(io.LimitReader(o.Body, int64(len(body))+1), []byte(body)); err != nil {
		t.Errorf("read %q: %v", key, err)
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
		n, err := o.Body.Seek(c.offset, c.whence)
		if err != nil || n != c.want {
			t.Errorf("seek(%d, %d) = %d, %v, want %d", c.offset, c.whence, n, err, c.want)
		}
	}
	if rest, err := io.ReadAll(o.Body); err != nil || string(rest) != body[len(body)-len(body)/4:] {
		t.Errorf("after seeking, %d bytes and %v, want the last quarter", len(rest), err)
	}
	for _, whence := range []int{io.SeekStart, io.SeekEnd} {
		if n, err := o.Body.Seek(-int64(len(body))-1, whence); err == nil {
			t.Errorf("seek before the body returned %d, want an error", n)
		}
	}
}

// Keys are names that would mean something to a file system or a URL.
var Keys = []string{
	"a", "a/b", "a/b/", "/", "//", "/a", "a//b", ".", "..", "../..", "../../etc/passwd", "a/../b", "a/./b", "..\\..",
	"\x00", "a\x00b", "%2e%2e%2f", "%00", "a b", "a+b", "a?b#c", "\n", "\u0085", "é", "e\u0301", "日本", "😀",
	"CON", "LOCK", "tmp", "objects", "-rf", "~", strings.Repeat("k", store.MaxKey), strings.Repeat("/", store.MaxKey), strings.Repeat("€", 341),
}

func keys(t *testing.T, h Harness) {
	s := start(t, h)
	for _, key := range Keys {
		put(t, s, key, "body of "+key)
	}
	for _, key := range Keys {
		if got := get(t, s, key); got != "body of "+key {
			t.Errorf("%q holds %q", key, got)
		}
	}
	if got, want := all(t, s), slices.Sorted(slices.Values(Keys)); !slices.Equal(got, want) {
		t.Errorf("the listing is %q, want %q", got, want)
	}
	for _, key := range Keys {
		if err := s.Delete(t.Context(), key, store.Condition{}); err != nil {
			t.Errorf("delete %q: %v", key, err)
		}
		wantAbsent(t, s, key)
	}
}

func badKeys(t *testing.T, h Harness) {
	s := start(t, h)
	for name, key := range map[string]string{
		"empty": "", "too long": strings.Repeat("k", store.MaxKey+1), "not UTF-8": "a\xffb", "half a rune": "a\xc3",
	} {
		_, _, putErr := store.Put(t.Context(), s, key, strings.NewReader("x"), store.Meta{}, store.Condition{})
		_, getErr := s.Get(t.Context(), key)
		_, headErr := s.Head(t.Context(), key)
		for _, err := range []error{putErr, getErr, headErr, s.Delete(t.Context(), key, store.Condition{})} {
			if bad := (*store.KeyError)(nil); !errors.As(err, &bad) {
				t.Errorf("%s: %v, want a KeyError", name, err)
			}
		}
	}
	if got := all(t, s); len(got) > 0 {
		t.Errorf("the store has %q, want nothing", got)
	}
}

func replace(t *testing.T, h Harness) {
	s := start(t, h)
	first := put(t, s, "k", "first")
	second, created, err := store.Put(t.Context(), s, "k", strings.NewReader("the second"), store.Meta{}, store.Condition{})
	if err != nil || created {
		t.Fatalf("replace: created %v, %v", created, err)
	}
	if first.ETag == second.ETag {
		t.Error("both have one ETag")
	}
	if head, err := s.Head(t.Context(), "k"); err != nil || head != second {
		t.Errorf("head is %+v, %v, want %+v", head, err, second)
	}
	if got := get(t, s, "k"); got != "the second" {
		t.Errorf("get returned %q", got)
	}
	if got := all(t, s); !slices.Equal(got, []string{"k"}) {
		t.Errorf("the listing is %q", got)
	}
}

func openBody(t *testing.T, h Harness) {
	s := start(t, h)
	old := strings.Repeat("old ", 1<<18)
	put(t, s, "replaced", old)
	put(t, s, "deleted", old)
	for _, key := range []string{"replaced", "deleted"} {
		o, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Body.Close()
		begin := make([]byte, 1000)
		if _, err := io.ReadFull(o.Body, begin); err != nil {
			t.Fatal(err)
		}
		if key == "replaced" {
			put(t, s, key, "new")
		} else if err := s.Delete(t.Context(), key, store.Condition{}); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(o.Body)
		if err != nil || string(begin)+string(rest) != old {
			t.Errorf("%s: read %d bytes, %v; want the old version whole", key, len(begin)+len(rest), err)
		}
	}
}

func staged(t *testing.T, h Harness) {
	s := start(t, h)
	u, err := s.Stage(t.Context(), strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if u.Size() != 5 || u.ETag() != "5d41402abc4b2a76b9719d911017c592" {
		t.Errorf("size %d, ETag %s", u.Size(), u.ETag())
	}
	wantAbsent(t, s, "k")
	if _, created, err := u.Commit(t.Context(), "k", store.Meta{}, store.Condition{}); err != nil || !created {
		t.Fatalf("commit: created %v, %v", created, err)
	}
	u.Discard()
	if got := get(t, s, "k"); got != "hello" {
		t.Errorf("after commit and discard, %q", got)
	}
	if _, _, err := u.Commit(t.Context(), "l", store.Meta{}, store.Condition{}); err == nil {
		t.Error("a second commit of one upload succeeded")
	}
}

func discarded(t *testing.T, h Harness) {
	s := start(t, h)
	u, err := s.Stage(t.Context(), strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	u.Discard()
	u.Discard()
	if _, _, err := u.Commit(t.Context(), "k", store.Meta{}, store.Condition{}); err == nil {
		t.Error("a commit after discard succeeded")
	}
	wantAbsent(t, s, "k")
}

func brokenBody(t *testing.T, h Harness) {
	s := start(t, h)
	put(t, s, "k", "old")
	broken := errors.New("the line went dead")
	for name, body := range map[string]io.Reader{
		"at once":                     iotest.ErrReader(broken),
		"after some bytes":            io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)),
		"after many":                  io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), iotest.ErrReader(broken)),
		"cut off, as HTTP says it":    io.MultiReader(strings.NewReader("half"), iotest.ErrReader(io.ErrUnexpectedEOF)),
		"with its last bytes at hand": iotest.DataErrReader(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken))),
	} {
		_, _, err := store.Put(t.Context(), s, "k", body, store.Meta{}, store.Condition{})
		var source *store.BodyError
		if !errors.As(err, &source) || !errors.Is(err, broken) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v, want a BodyError that wraps the body's own", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := store.Put(ctx, s, "k", strings.NewReader("new"), store.Meta{}, store.Condition{}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if got := get(t, s, "k"); got != "old" {
		t.Errorf("the key holds %q, want the old object", got)
	}
}

func deleteTwice(t *testing.T, h Harness) {
	s := start(t, h)
	put(t, s, "k", "x")
	for range 2 {
		if err := s.Delete(t.Context(), "k", store.Condition{}); err != nil {
			t.Fatal(err)
		}
		wantAbsent(t, s, "k")
	}
}

func metaLimit(t *testing.T, h Harness) {
	s := start(t, h)
	key := strings.Repeat("k", store.MaxKey)
	fits := store.Meta{ContentType: strings.Repeat("a", store.MaxMeta-3), CacheControl: "abc"}
	if _, _, err := store.Put(t.Context(), s, key, strings.NewReader("x"), fits, store.Condition{}); err != nil {
		t.Errorf("the longest key with the longest metadata: %v", err)
	}
	fits.ContentLanguage = "x"
	if _, _, err := store.Put(t.Context(), s, "k", strings.NewReader("x"), fits, store.Condition{}); !errors.Is(err, store.ErrMeta) {
		t.Errorf("one byte more: %v, want ErrMeta", err)
	}
	wantAbsent(t, s, "k")
}

func restart(t *testing.T, h Harness) {
	open := h(t)
	s := open()
	want := map[string]store.Info{}
	for n, key := range Keys {
		want[key] = put(t, s, key, strings.Repeat(key, n))
	}
	put(t, s, "deleted", "x")
	if err := s.Delete(t.Context(), "deleted", store.Condition{}); err != nil {
		t.Fatal(err)
	}
	put(t, s, "replaced", "old")
	want["replaced"] = put(t, s, "replaced", "new")
	lost, err := s.Stage(t.Context(), strings.NewReader("never committed"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	lost.Discard()
	s = open()
	t.Cleanup(func() { _ = s.Close() })
	for key, info := range want {
		if got, err := s.Head(t.Context(), key); err != nil || got != info {
			t.Errorf("%q is %+v, %v, want %+v", key, got, err, info)
		}
	}
	for n, key := range Keys {
		if got := get(t, s, key); got != strings.Repeat(key, n) {
			t.Errorf("%q holds %q", key, got)
		}
	}
	wantAbsent(t, s, "deleted")
	page, err := s.List(t.Context(), store.Query{Limit: 1000})
	if err != nil || len(page.Objects) != len(want) {
		t.Fatalf("the listing has %d objects, %v, want %d", len(page.Objects), err, len(want))
	}
	for _, i := range page.Objects {
		if i != want[i.Key] {
			t.Errorf("the listing has %+v, want %+v", i, want[i.Key])
		}
	}
}
