// Package storetest is the conformance suite of package store: every driver
// runs it in its own tests, and what it checks is what doors may rely on.
//
// It compares times to the second, since a driver over S3 knows them no better,
// and expects of a listing no more attributes than [store.Store] promises.
package storetest

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"minicloud.internal/objectstorage/store"
)

// Harness prepares an empty place for a store and returns a function that opens
// it: the first call an empty store, a later one, after the store before was
// closed, the same store again.
type Harness func(t *testing.T) (open func() store.Store)

// Run runs the suite, but what a driver is excepted from: by the name of a test,
// why it cannot pass.
func Run(t *testing.T, h Harness, except ...map[string]string) {
	known := map[string]bool{}
	for _, group := range [][]test{bucketTests, objectTests, conditionTests, listingTests, versionTests, multipartTests, lockTests} {
		for _, c := range group {
			known[c.name] = true
			t.Run(c.name, func(t *testing.T) {
				for _, e := range except {
					if reason, ok := e[c.name]; ok {
						t.Skip(reason)
					}
				}
				c.run(t, h)
			})
		}
	}
	for _, e := range except {
		for name := range e {
			if !known[name] {
				t.Errorf("the exception %q is of no test", name)
			}
		}
	}
}

type test struct {
	name string
	run  func(*testing.T, Harness)
}

// bucketName is the bucket of most tests.
const bucketName = "bucket"

// A tester is a store with a bucket in which a test works.
type tester struct {
	*testing.T
	store.Store
}

// start opens an empty store with a bucket.
func start(t *testing.T, h Harness) *tester {
	t.Helper()
	s := &tester{t, h(t)()}
	t.Cleanup(func() { _ = s.Store.Close() })
	s.bucket(store.Bucket{Name: bucketName})
	return s
}

func (s *tester) bucket(b store.Bucket) {
	s.Helper()
	if err := s.CreateBucket(s.Context(), b); err != nil {
		s.Fatalf("create the bucket %s: %v", b.Name, err)
	}
}

func (s *tester) versioning(v store.Versioning) {
	s.Helper()
	if err := s.UpdateBucket(s.Context(), bucketName, func(b *store.Bucket) error { b.Versioning = v; return nil }); err != nil {
		s.Fatal(err)
	}
}

// put puts an object that has to be taken.
func (s *tester) put(key, body string) store.Info {
	s.Helper()
	info, _, err := s.tryPut(key, body, store.Condition{})
	if err != nil {
		s.Fatalf("put %q: %v", key, err)
	}
	return info
}

func (s *tester) tryPut(key, body string, c store.Condition) (store.Info, bool, error) {
	return store.Put(s.Context(), s.Store, bucketName, key, strings.NewReader(body), store.Attributes{ContentType: "text/plain"}, c)
}

// get returns the body of a version; empty: the latest.
func (s *tester) get(key, version string) string {
	s.Helper()
	o, err := s.Get(s.Context(), bucketName, key, version)
	if err != nil {
		s.Fatalf("get %q, version %q: %v", key, version, err)
	}
	defer func() { _ = o.Body.Close() }()
	b, err := io.ReadAll(o.Body)
	if err != nil {
		s.Fatalf("read %q, version %q: %v", key, version, err)
	}
	return string(b)
}

func (s *tester) head(key, version string) store.Info {
	s.Helper()
	i, err := s.Head(s.Context(), bucketName, key, version)
	if err != nil {
		s.Fatalf("head %q, version %q: %v", key, version, err)
	}
	return i
}

// delete deletes what has to be taken.
func (s *tester) delete(key, version string) store.Deleted {
	s.Helper()
	d, err := s.Delete(s.Context(), bucketName, key, version, store.Condition{})
	if err != nil {
		s.Fatalf("delete %q, version %q: %v", key, version, err)
	}
	return d
}

// want checks an error.
func (s *tester) want(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: %v, want %v", what, err, want)
	}
}

// wantAbsent checks that a key has no object and is in no listing.
func (s *tester) wantAbsent(key string) {
	s.Helper()
	_, err := s.Head(s.Context(), bucketName, key, "")
	s.want("head "+key, err, store.ErrNotFound)
	_, err = s.Get(s.Context(), bucketName, key, "")
	s.want("get "+key, err, store.ErrNotFound)
	if slices.Contains(s.keys(), key) {
		s.Errorf("the listing has %q, want it absent", key)
	}
}

// keys lists every key, page by page.
func (s *tester) keys() (keys []string) {
	s.Helper()
	q := store.Query{Limit: 100}
	for {
		p, err := s.List(s.Context(), bucketName, q)
		if err != nil {
			s.Fatal(err)
		}
		for _, i := range p.Objects {
			keys = append(keys, i.Key)
		}
		if q.After = p.Next; p.Next == "" {
			return keys
		}
	}
}

// same compares what a store says of a version.
func (s *tester) same(what string, got, want store.Info) {
	s.Helper()
	if !sameInfo(got, want) {
		s.Errorf("%s\n got %+v\nwant %+v", what, got, want)
	}
}

func sameInfo(a, b store.Info) bool {
	return sameEntry(a, b) && slices.EqualFunc(a.Parts, b.Parts, func(a, b store.Part) bool {
		ok := sameTime(a.Modified, b.Modified)
		a.Modified, b.Modified = time.Time{}, time.Time{}
		return ok && a == b
	}) && sameAttributes(a.Attributes, b.Attributes)
}

func sameAttributes(a, b store.Attributes) bool {
	return maps.Equal(a.User, b.User) && slices.Equal(a.Tags, b.Tags) && a.Checksum == b.Checksum &&
		a.ContentType == b.ContentType && a.ContentEncoding == b.ContentEncoding && a.ContentLanguage == b.ContentLanguage &&
		a.ContentDisposition == b.ContentDisposition && a.CacheControl == b.CacheControl && a.Expires == b.Expires &&
		a.StorageClass == b.StorageClass && a.Redirect == b.Redirect && sameLock(a, b)
}

// sameEntry compares what a listing says of a version.
func sameEntry(a, b store.Info) bool {
	return a.Key == b.Key && a.Version == b.Version && a.Latest == b.Latest && a.DeleteMarker == b.DeleteMarker &&
		a.Size == b.Size && a.ETag == b.ETag && sameTime(a.Modified, b.Modified)
}

func sameTime(a, b time.Time) bool {
	return a.Truncate(time.Second).Equal(b.Truncate(time.Second)) && a.Location() == b.Location()
}

func etagOf(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}

// random returns n bytes that no compression makes less.
func random(n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b)
	return string(b)
}

// background is for goroutines that may outlive the test's own context.
func background() context.Context { return context.Background() }
