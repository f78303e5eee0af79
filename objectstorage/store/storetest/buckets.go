package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"minicloud.internal/objectstorage/store"
)

var bucketTests = []test{
	{"a bucket comes back as it was made", bucketRoundTrip},
	{"a bucket is made once", bucketOnce},
	{"buckets are apart", bucketsApart},
	{"where there is no bucket every method says so", noBucket},
	{"a bucket is removed only when it is empty", deleteBucket},
	{"an update of a bucket is one step", updateBucket},
	{"versioning is never off again", versioningOff},
	{"buckets are there after a restart", bucketRestart},
}

func bucketRoundTrip(t *testing.T, h Harness) {
	s := start(t, h)
	want := store.Bucket{Name: "zebra", Versioning: store.Enabled, Anonymous: "read",
		Documents: map[string][]byte{"cors": []byte("<x/>"), "tagging": {}}}
	before := time.Now().Add(-2 * time.Second)
	s.bucket(want)
	want.Documents["cors"][0] = '!' // is the caller's again
	got, err := s.GetBucket(t.Context(), "zebra")
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "zebra" || got.Versioning != store.Enabled || got.Anonymous != "read" ||
		string(got.Documents["cors"]) != "<x/>" || len(got.Documents) != 2 {
		t.Errorf("got %+v", got)
	}
	if got.Created.Before(before) || got.Created.Location() != time.UTC {
		t.Errorf("created %v, want now in UTC", got.Created)
	}
	s.bucket(store.Bucket{Name: "aardvark"})
	var names []string
	all, err := s.ListBuckets(t.Context())
	for _, b := range all {
		names = append(names, b.Name)
	}
	if err != nil || !slices.Equal(names, []string{"aardvark", bucketName, "zebra"}) {
		t.Errorf("the buckets are %q, %v", names, err)
	}
}

func bucketOnce(t *testing.T, h Harness) {
	s := start(t, h)
	s.want("again", s.CreateBucket(t.Context(), store.Bucket{Name: bucketName}), store.ErrBucketExists)
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for n := range errs {
		wg.Go(func() { errs[n] = s.CreateBucket(background(), store.Bucket{Name: "raced"}) })
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		} else if !errors.Is(err, store.ErrBucketExists) {
			t.Errorf("create: %v", err)
		}
	}
	if made != 1 {
		t.Errorf("%d of %d made the bucket, want 1", made, len(errs))
	}
}

func bucketsApart(t *testing.T, h Harness) {
	s := start(t, h)
	s.bucket(store.Bucket{Name: "other"})
	s.put("k", "in the one")
	if _, err := s.Head(t.Context(), "other", "k", ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("head in the other: %v", err)
	}
	if p, err := s.List(t.Context(), "other", store.Query{Limit: 10}); err != nil || len(p.Objects) > 0 {
		t.Errorf("the other lists %+v, %v", p, err)
	}
	if _, err := s.Delete(t.Context(), "other", "k", "", store.Condition{}); err != nil {
		t.Error(err)
	}
	if got := s.get("k", ""); got != "in the one" {
		t.Errorf("got %q", got)
	}
}

func noBucket(t *testing.T, h Harness) {
	s := start(t, h)
	ctx, none := t.Context(), "none"
	id, err := s.CreateMultipart(ctx, bucketName, store.Multipart{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"GetBucket":    func() error { _, err := s.GetBucket(ctx, none); return err },
		"UpdateBucket": func() error { return s.UpdateBucket(ctx, none, func(*store.Bucket) error { return nil }) },
		"DeleteBucket": func() error { return s.DeleteBucket(ctx, none) },
		"Get":          func() error { _, err := s.Get(ctx, none, "k", ""); return err },
		"Head":         func() error { _, err := s.Head(ctx, none, "k", ""); return err },
		"Update": func() error {
			_, err := s.Update(ctx, none, "k", "", func(*store.Attributes) error { return nil })
			return err
		},
		"Delete": func() error { _, err := s.Delete(ctx, none, "k", "", store.Condition{}); return err },
		"List":   func() error { _, err := s.List(ctx, none, store.Query{Limit: 1}); return err },
		"ListVersions": func() error {
			_, err := s.ListVersions(ctx, none, store.VersionQuery{Query: store.Query{Limit: 1}})
			return err
		},
		"Commit": func() error {
			_, _, err := store.Put(ctx, s.Store, none, "k", strings.NewReader("x"), store.Attributes{}, store.Condition{})
			return err
		},
		"CommitPart": func() error {
			u, err := s.Stage(ctx, strings.NewReader("x"), 1)
			if err != nil {
				return err
			}
			_, err = u.CommitPart(ctx, none, "k", id, 1, store.Checksum{})
			return err
		},
		"CreateMultipart": func() error { _, err := s.CreateMultipart(ctx, none, store.Multipart{Key: "k"}); return err },
		"GetMultipart":    func() error { _, err := s.GetMultipart(ctx, none, "k", id); return err },
		"ListParts":       func() error { _, _, err := s.ListParts(ctx, none, "k", id, 0, 1); return err },
		"ListMultiparts": func() error {
			_, err := s.ListMultiparts(ctx, none, store.MultipartQuery{Query: store.Query{Limit: 1}})
			return err
		},
		"CompleteMultipart": func() error {
			_, err := s.CompleteMultipart(ctx, none, "k", id, []store.PartID{{Number: 1}}, store.Attributes{}, store.Condition{})
			return err
		},
		"AbortMultipart": func() error { return s.AbortMultipart(ctx, none, "k", id) },
	} {
		s.want(name, call(), store.ErrNoBucket)
	}
}

func deleteBucket(t *testing.T, h Harness) {
	s := start(t, h)
	ctx := t.Context()
	s.versioning(store.Enabled)
	info := s.put("k", "x")
	s.want("with an object", s.DeleteBucket(ctx, bucketName), store.ErrBucketNotEmpty)
	marker := s.delete("k", "")
	s.want("with a delete marker before a version", s.DeleteBucket(ctx, bucketName), store.ErrBucketNotEmpty)
	s.delete("k", info.Version)
	s.want("with a delete marker alone", s.DeleteBucket(ctx, bucketName), store.ErrBucketNotEmpty)
	s.delete("k", marker.Version)
	id, err := s.CreateMultipart(ctx, bucketName, store.Multipart{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	s.putPart("k", id, 1, "of an unfinished upload")
	s.want("with nothing but an unfinished upload", s.DeleteBucket(ctx, bucketName), nil)
	_, err = s.GetBucket(ctx, bucketName)
	s.want("afterwards", err, store.ErrNoBucket)
	s.bucket(store.Bucket{Name: bucketName})
	if b, err := s.GetBucket(ctx, bucketName); err != nil || b.Versioning != store.Off {
		t.Errorf("made anew it is %+v, %v", b, err)
	}
	if got := s.keys(); len(got) > 0 {
		t.Errorf("made anew it has %q", got)
	}
	_, err = s.GetMultipart(ctx, bucketName, "k", id)
	s.want("the upload of before", err, store.ErrNoUpload)
}

func updateBucket(t *testing.T, h Harness) {
	s := start(t, h)
	broken := errors.New("no")
	err := s.UpdateBucket(t.Context(), bucketName, func(b *store.Bucket) error {
		b.Anonymous, b.Documents = "write", map[string][]byte{"x": nil}
		return broken
	})
	s.want("an update that fails", err, broken)
	if b, err := s.GetBucket(t.Context(), bucketName); err != nil || b.Anonymous != "" || len(b.Documents) > 0 {
		t.Errorf("after an update that failed: %+v, %v", b, err)
	}
	created, err := s.GetBucket(t.Context(), bucketName)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			err := s.UpdateBucket(background(), bucketName, func(b *store.Bucket) error {
				if b.Documents == nil {
					b.Documents = map[string][]byte{}
				}
				b.Documents[fmt.Sprint("doc", n)] = []byte("x")
				b.Name, b.Created = "changed", time.Time{}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b, err := s.GetBucket(t.Context(), bucketName)
	if err != nil || len(b.Documents) != 8 || b.Name != bucketName || !sameTime(b.Created, created.Created) {
		t.Errorf("after 8 updates: %+v, %v", b, err)
	}
}

func versioningOff(t *testing.T, h Harness) {
	s := start(t, h)
	for _, v := range []store.Versioning{store.Enabled, store.Suspended, store.Enabled} {
		s.versioning(v)
		if b, err := s.GetBucket(t.Context(), bucketName); err != nil || b.Versioning != v {
			t.Errorf("versioning is %q, %v, want %q", b.Versioning, err, v)
		}
		err := s.UpdateBucket(t.Context(), bucketName, func(b *store.Bucket) error { b.Versioning = store.Off; return nil })
		if err == nil {
			t.Errorf("from %q it went off", v)
		}
	}
}

func bucketRestart(t *testing.T, h Harness) {
	open := h(t)
	s := &tester{t, open()}
	want := map[string]store.Bucket{}
	for n := range 5 {
		b := store.Bucket{Name: fmt.Sprint("bucket-", n), Anonymous: "read-write", Documents: map[string][]byte{"cors": []byte(fmt.Sprint(n))}}
		s.bucket(b)
		want[b.Name] = b
	}
	if err := s.DeleteBucket(t.Context(), "bucket-3"); err != nil {
		t.Fatal(err)
	}
	delete(want, "bucket-3")
	if _, _, err := store.Put(t.Context(), s.Store, "bucket-4", "k", strings.NewReader("x"), store.Attributes{}, store.Condition{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Store.Close(); err != nil {
		t.Fatal(err)
	}
	s = &tester{t, open()}
	t.Cleanup(func() { _ = s.Store.Close() })
	s.bucket(store.Bucket{Name: "after"})
	all, err := s.ListBuckets(context.Background())
	if err != nil || len(all) != len(want)+1 {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, b := range all[1:] {
		w := want[b.Name]
		if b.Anonymous != w.Anonymous || string(b.Documents["cors"]) != string(w.Documents["cors"]) {
			t.Errorf("%+v, want %+v", b, w)
		}
	}
	for _, b := range all {
		p, err := s.List(t.Context(), b.Name, store.Query{Limit: 5})
		if n := len(p.Objects); err != nil || (n == 1) != (b.Name == "bucket-4") {
			t.Errorf("%s has %d objects, %v", b.Name, n, err)
		}
	}
}
