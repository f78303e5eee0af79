package s3

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"minicloud.internal/objectstorage/s3api"
	"minicloud.internal/objectstorage/sigv4"
	"minicloud.internal/objectstorage/store"
	"minicloud.internal/objectstorage/store/disk"
)

// openDoor opens the driver on our own S3 door, over a store on disk in dir.
func openDoor(t *testing.T, dir string) (s *Store, shut func()) {
	t.Helper()
	kept, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	verifier := &sigv4.Verifier{Credentials: func(key string) (string, bool) { return "secret", key == "key" }}
	door := httptest.NewServer(s3api.New(kept, s3api.Config{Verifier: verifier}))
	shut = func() {
		door.Close()
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	}
	s, err = Open(t.Context(), Options{Endpoint: door.URL, AccessKey: "key", SecretKey: "secret", PathStyle: true, Dir: t.TempDir(), Fresh: -1})
	if err != nil {
		shut()
		t.Fatal(err)
	}
	return s, shut
}

func newDoor(t *testing.T) *Store {
	t.Helper()
	s, shut := openDoor(t, t.TempDir())
	t.Cleanup(func() { _ = s.Close(); shut() })
	if err := s.CreateBucket(t.Context(), store.Bucket{Name: "bucket"}); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAgainstTheDoorAnObjectComesBack(t *testing.T) {
	s := newDoor(t)
	big := make([]byte, 3<<20+5)
	_, _ = rand.NewChaCha8([32]byte{}).Read(big)
	a := store.Attributes{ContentType: "text/plain", ContentEncoding: "x", ContentLanguage: "de", ContentDisposition: "attachment", CacheControl: "no-cache",
		Expires: "Thu, 01 Oct 2026 10:00:00 GMT", User: map[string]string{"a": "b c"}, Tags: []store.Tag{{Key: "k", Value: "v w"}, {Key: "l", Value: ""}}}
	for _, key := range []string{"a", "/", "//a//", "a b+c%2f?#&=;", "\x00\x01\n", "é\U0001F600", strings.Repeat("k", 1024), " ", "a/./b"} {
		for _, body := range [][]byte{nil, []byte("x"), big} {
			info, created, err := store.Put(t.Context(), s, "bucket", key, bytes.NewReader(body), a, store.Condition{})
			if err != nil {
				t.Errorf("put %q: %v", key, err)
				break
			}
			if created != (body == nil) {
				t.Errorf("put %q, %d bytes: created %v", key, len(body), created)
			}
			want := a
			want.Checksum = info.Checksum // the door adds one
			head, err := s.Head(t.Context(), "bucket", key, "")
			if err != nil || !reflect.DeepEqual(head, info) || !reflect.DeepEqual(head.Attributes, want) || head.Version != store.Null || !head.Latest {
				t.Errorf("head %q: %+v, %v, want %+v", key, head, err, info)
			}
			o, err := s.Get(t.Context(), "bucket", key, "")
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(o.Body)
			if err != nil || !bytes.Equal(got, body) || !reflect.DeepEqual(o.Info, info) {
				t.Errorf("get %q: %d bytes, %+v, %v, want %d bytes, %+v", key, len(got), o.Info, err, len(body), info)
			}
			_ = o.Body.Close()
		}
		p, err := s.List(t.Context(), "bucket", store.Query{Prefix: key, Limit: 1})
		if err != nil || len(p.Objects) != 1 || p.Objects[0].Key != key {
			t.Errorf("list %q: %+v, %v", key, p, err)
		}
		if _, err := s.Delete(t.Context(), "bucket", key, "", store.Condition{}); err != nil {
			t.Errorf("delete %q: %v", key, err)
		}
	}
}

func TestAgainstTheDoorOneOfManyCreates(t *testing.T) {
	s := newDoor(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 8 {
		wg.Go(func() {
			_, created, err := store.Put(t.Context(), s, "bucket", "key", strings.NewReader(fmt.Sprint(i)), store.Attributes{}, store.Condition{Absent: true})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && created:
				won++
			case !errors.Is(err, store.ErrPrecondition):
				t.Errorf("put: created %v, %v", created, err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d created the key, want one", won)
	}
}

func TestAgainstTheDoorVersions(t *testing.T) {
	s := newDoor(t)
	if err := s.UpdateBucket(t.Context(), "bucket", func(b *store.Bucket) error { b.Versioning = store.Enabled; return nil }); err != nil {
		t.Fatal(err)
	}
	one, _, err := store.Put(t.Context(), s, "bucket", "key", strings.NewReader("one"), store.Attributes{}, store.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	two, created, err := store.Put(t.Context(), s, "bucket", "key", strings.NewReader("two"), store.Attributes{}, store.Condition{})
	if err != nil || created || one.Version == two.Version {
		t.Fatalf("%+v and %+v, created %v, %v", one, two, created, err)
	}
	if head, err := s.Head(t.Context(), "bucket", "key", one.Version); err != nil || head.Latest || head.ETag != one.ETag {
		t.Errorf("head of the first: %+v, %v", head, err)
	}
	if head, err := s.Head(t.Context(), "bucket", "key", two.Version); err != nil || !head.Latest {
		t.Errorf("head of the second: %+v, %v", head, err)
	}
	d, err := s.Delete(t.Context(), "bucket", "key", "", store.Condition{Match: []string{two.ETag}})
	if err != nil || !d.DeleteMarker || d.Version == "" {
		t.Fatalf("delete: %+v, %v", d, err)
	}
	info, err := s.Head(t.Context(), "bucket", "key", "")
	if !errors.Is(err, store.ErrNotFound) || !info.DeleteMarker || info.Version != d.Version || info.Modified.IsZero() || !info.Latest {
		t.Errorf("head of a deleted key: %+v, %v", info, err)
	}
	if o, err := s.Get(t.Context(), "bucket", "key", d.Version); !errors.Is(err, store.ErrDeleteMarker) || o == nil || o.Version != d.Version {
		t.Errorf("get the marker: %+v, %v", o, err)
	}
	p, err := s.ListVersions(t.Context(), "bucket", store.VersionQuery{Query: store.Query{Limit: 2}})
	if err != nil || len(p.Versions) != 2 || !p.Versions[0].DeleteMarker || p.Versions[1].Version != two.Version || p.NextVersion != two.Version {
		t.Fatalf("versions: %+v, %v", p, err)
	}
	p, err = s.ListVersions(t.Context(), "bucket", store.VersionQuery{Query: store.Query{Limit: 2, After: p.Next}, AfterVersion: p.NextVersion})
	if err != nil || len(p.Versions) != 1 || p.Versions[0].Version != one.Version || p.Next != "" {
		t.Errorf("versions: %+v, %v", p, err)
	}
	if _, err := s.Head(t.Context(), "bucket", "key", "nonsense"); !errors.Is(err, store.ErrNoVersion) {
		t.Errorf("head of nonsense: %v", err)
	}
	if err := s.DeleteBucket(t.Context(), "bucket"); !errors.Is(err, store.ErrBucketNotEmpty) {
		t.Errorf("delete the bucket: %v", err)
	}
	for _, v := range []string{d.Version, one.Version, two.Version, two.Version} {
		if _, err := s.Delete(t.Context(), "bucket", "key", v, store.Condition{}); err != nil {
			t.Errorf("delete %s: %v", v, err)
		}
	}
	if err := s.DeleteBucket(t.Context(), "bucket"); err != nil {
		t.Errorf("delete the bucket: %v", err)
	}
	if _, err := s.Head(t.Context(), "bucket", "key", ""); !errors.Is(err, store.ErrNoBucket) {
		t.Errorf("head without a bucket: %v", err)
	}
}

func TestAgainstTheDoorParts(t *testing.T) {
	s := newDoor(t)
	a := store.Attributes{ContentType: "text/plain", Tags: []store.Tag{{Key: "k", Value: "v"}}}
	id, err := s.CreateMultipart(t.Context(), "bucket", store.Multipart{Key: "key", Attributes: a})
	if err != nil {
		t.Fatal(err)
	}
	var ids []store.PartID
	for i, size := range []int{5 << 20, 3} {
		u, err := s.Stage(t.Context(), bytes.NewReader(make([]byte, size)), -1)
		if err != nil {
			t.Fatal(err)
		}
		p, err := u.CommitPart(t.Context(), "bucket", "key", id, i+1, store.Checksum{})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, store.PartID{Number: p.Number, ETag: p.ETag})
	}
	if m, err := s.GetMultipart(t.Context(), "bucket", "key", id); err != nil || m.Initiated.IsZero() {
		t.Errorf("get the upload: %+v, %v", m, err)
	}
	var bad *store.PartError
	if _, err := s.CompleteMultipart(t.Context(), "bucket", "key", id, []store.PartID{ids[0], {Number: 7, ETag: "x"}}, a, store.Condition{}); !errors.As(err, &bad) || bad.Number != 7 {
		t.Errorf("complete with a part that is not: %v", err)
	}
	info, err := s.CompleteMultipart(t.Context(), "bucket", "key", id, ids, a, store.Condition{Absent: true})
	if err != nil || info.Size != 5<<20+3 || !strings.HasSuffix(info.ETag, "-2") || len(info.Parts) != 2 || info.ContentType != a.ContentType || !reflect.DeepEqual(info.Tags, a.Tags) {
		t.Fatalf("complete: %+v, %v", info, err)
	}
	head, err := s.Head(t.Context(), "bucket", "key", "")
	if err != nil || len(head.Parts) != 2 || head.Parts[0].Size != 5<<20 || head.Parts[1].Size != 3 {
		t.Errorf("head: %+v, %v", head, err)
	}
	if _, err := s.GetMultipart(t.Context(), "bucket", "key", id); !errors.Is(err, store.ErrNoUpload) {
		t.Errorf("get the ended upload: %v", err)
	}
	if id, err = s.CreateMultipart(t.Context(), "bucket", store.Multipart{Key: "other"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Delete(t.Context(), "bucket", "key", "", store.Condition{}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBucket(t.Context(), "bucket"); err != nil {
		t.Errorf("delete a bucket with the upload %s: %v", id, err)
	}
}

func TestAgainstTheDoorUpdate(t *testing.T) {
	s := newDoor(t)
	before, _, err := store.Put(t.Context(), s, "bucket", "key", strings.NewReader("body"), store.Attributes{ContentType: "text/plain", User: map[string]string{"a": "b"}}, store.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Update(t.Context(), "bucket", "key", "", func(a *store.Attributes) error {
		a.Tags = []store.Tag{{Key: "k", Value: "v"}}
		return nil
	})
	if err != nil || len(info.Tags) != 1 || !info.Modified.Equal(before.Modified) {
		t.Errorf("tags: %+v, %v", info, err)
	}
	info, err = s.Update(t.Context(), "bucket", "key", "", func(a *store.Attributes) error {
		a.ContentType, a.User = "text/html", map[string]string{"c": "d"}
		return nil
	})
	if err != nil || info.ContentType != "text/html" || info.User["c"] != "d" || info.User["a"] != "" || len(info.Tags) != 1 || info.ETag != before.ETag {
		t.Errorf("attributes: %+v, %v", info, err)
	}
	info, err = s.Update(t.Context(), "bucket", "key", "", func(a *store.Attributes) error { a.Tags = nil; return nil })
	if err != nil || len(info.Tags) != 0 || info.ContentType != "text/html" {
		t.Errorf("no tags: %+v, %v", info, err)
	}
}

func TestAgainstTheDoorSettings(t *testing.T) {
	s := newDoor(t)
	want := store.Bucket{Name: "second", Versioning: store.Enabled, Anonymous: "read", Documents: map[string][]byte{
		"cors": []byte(`<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>`)}}
	if err := s.CreateBucket(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateBucket(t.Context(), want); !errors.Is(err, store.ErrBucketExists) {
		t.Errorf("create again: %v", err)
	}
	b, err := s.GetBucket(t.Context(), "second")
	if err != nil || b.Created.IsZero() || b.Versioning != want.Versioning || b.Anonymous != "read" || b.Documents["tagging"] != nil || !strings.Contains(string(b.Documents["cors"]), "<AllowedMethod>GET</AllowedMethod>") || strings.Contains(string(b.Documents["cors"]), "<?xml") {
		t.Errorf("got %+v, %q, %v", b, b.Documents, err)
	}
	all, err := s.ListBuckets(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != "bucket" || !reflect.DeepEqual(all[1], b) {
		t.Errorf("listed %+v, %v", all, err)
	}
}

func TestAgainstTheDoorUpdatesTakeTurns(t *testing.T) {
	s := newDoor(t)
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			err := s.UpdateBucket(t.Context(), "bucket", func(b *store.Bucket) error {
				tags, err := parseTags([]byte(cmp.Or(string(b.Documents["tagging"]), "<Tagging/>")))
				if err != nil {
					return err
				}
				tags.Tags = append(tags.Tags, tag{fmt.Sprint("k", n), "v"})
				b.Documents["tagging"], err = xml.Marshal(tags)
				b.Name = "changed"
				return err
			})
			if err != nil {
				t.Error(err)
			}
			_, _, err = store.Put(t.Context(), s, "bucket", fmt.Sprint("o", n), strings.NewReader("x"), store.Attributes{}, store.Condition{})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b, err := s.GetBucket(t.Context(), "bucket")
	if err != nil {
		t.Fatal(err)
	}
	tags, err := parseTags(b.Documents["tagging"])
	if err != nil || len(tags.Tags) != 6 || b.Name != "bucket" {
		t.Errorf("after 6 updates: %+v, %v", tags, err)
	}
}

func TestAgainstTheDoorLocks(t *testing.T) {
	s := newDoor(t)
	b := store.Bucket{Name: "locked", Versioning: store.Enabled, Documents: map[string][]byte{
		"object-lock": []byte("<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>")}}
	if err := s.CreateBucket(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if got, err := s.GetBucket(t.Context(), "locked"); err != nil || got.Versioning != store.Enabled || got.Documents["object-lock"] == nil {
		t.Fatalf("got %+v, %v", got, err)
	}
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	info, _, err := store.Put(t.Context(), s, "locked", "key", strings.NewReader("x"), store.Attributes{LockMode: store.Governance, RetainUntil: until}, store.Condition{})
	if err != nil || info.LockMode != store.Governance || !info.RetainUntil.Equal(until) {
		t.Fatalf("put: %+v, %v", info, err)
	}
	if _, err := s.Delete(t.Context(), "locked", "key", info.Version, store.Condition{}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("delete: %v, want ErrLocked", err)
	}
	hold := func(status string) {
		t.Helper()
		got, err := s.Update(t.Context(), "locked", "key", info.Version, func(a *store.Attributes) error { a.LegalHold = status; return nil })
		if err != nil || got.LegalHold != status || !got.RetainUntil.Equal(until) {
			t.Errorf("legal hold %s: %+v, %v", status, got, err)
		}
	}
	hold(store.HoldOn)
	if _, err := s.Delete(t.Context(), "locked", "key", info.Version, store.Condition{Bypass: true}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("delete under a legal hold: %v, want ErrLocked", err)
	}
	hold(store.HoldOff)
	if d, err := s.Delete(t.Context(), "locked", "key", info.Version, store.Condition{Bypass: true}); err != nil || d.Version != info.Version {
		t.Errorf("delete past the retention: %+v, %v", d, err)
	}
	if err := s.UpdateBucket(t.Context(), "locked", func(b *store.Bucket) error { delete(b.Documents, "object-lock"); return nil }); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("object lock was taken away: %v", err)
	}
}
