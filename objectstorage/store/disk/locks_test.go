package disk

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"minicloud.internal/objectstorage/store"
)

// A bucket that replaces what it has is none that S3 would lock in. The driver does
// not know of buckets that it may and may not, and keeps every locked version.
func TestALockedVersionIsNotReplaced(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	s := open(t, vfs.NewMem(), Options{Now: func() time.Time { return now }})
	until := now.Add(time.Hour)
	write := func(key, body string, a store.Attributes) error {
		_, _, err := store.Put(t.Context(), s, bucketName, key, strings.NewReader(body), a, store.Condition{})
		return err
	}
	set := func(v store.Versioning) {
		t.Helper()
		if err := s.UpdateBucket(t.Context(), bucketName, func(b *store.Bucket) error { b.Versioning = v; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	steps := []struct {
		name string
		do   func(key string) error
	}{
		{"put", func(key string) error { return write(key, "new", store.Attributes{}) }},
		{"delete", func(key string) error {
			_, err := s.Delete(t.Context(), bucketName, key, "", store.Condition{})
			return err
		}},
		{"complete", func(key string) error {
			id, err := s.CreateMultipart(t.Context(), bucketName, store.Multipart{Key: key})
			if err != nil {
				return err
			}
			u, err := s.Stage(t.Context(), strings.NewReader("part"), -1)
			if err != nil {
				return err
			}
			p, err := u.CommitPart(t.Context(), bucketName, key, id, 1, store.Checksum{})
			if err != nil {
				return err
			}
			_, err = s.CompleteMultipart(t.Context(), bucketName, key, id, []store.PartID{{Number: 1, ETag: p.ETag}}, store.Attributes{}, store.Condition{})
			return err
		}},
	}
	lock := store.Attributes{LockMode: store.Compliance, RetainUntil: until}
	for _, place := range []string{"the latest", "behind a newer one"} {
		for _, step := range steps {
			key := place + " " + step.name
			if err := write(key, "kept", lock); err != nil {
				t.Fatal(err)
			}
			if place != "the latest" {
				set(store.Enabled)
				if err := write(key, "newer", store.Attributes{}); err != nil {
					t.Fatal(err)
				}
				set(store.Suspended)
			}
			if err := step.do(key); !errors.Is(err, store.ErrLocked) {
				t.Errorf("%s over a locked version that is %s: %v", step.name, place, err)
			}
			if o, err := s.Get(t.Context(), bucketName, key, store.Null); err != nil || o.Size != 4 || !o.RetainUntil.Equal(until) {
				t.Errorf("%s: the version is %+v, %v", key, o, err)
			} else {
				_ = o.Body.Close()
			}
		}
	}
	agree(t, s)
	now = until // at which it has ended
	for _, place := range []string{"the latest", "behind a newer one"} {
		for _, step := range steps {
			if err := step.do(place + " " + step.name); err != nil {
				t.Errorf("%s after the lock, %s: %v", step.name, place, err)
			}
		}
	}
	agree(t, s)
}

func TestLocksInARow(t *testing.T) {
	until := time.UnixMilli(time.Now().UnixMilli()).UTC()
	for _, a := range []attributes{
		{},
		{LockMode: store.Governance, RetainUntil: until},
		{LockMode: store.Compliance, RetainUntil: time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC), LegalHold: store.HoldOff},
		{LegalHold: store.HoldOn, ContentType: "text/plain", Tags: []store.Tag{{Key: "k"}}},
	} {
		row := []byte("row")
		r := &record{seq: 1, attributes: a}
		got, err := decodeRecord(row, r.encode(row), false)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v came back as %+v, %v", r, got, err)
		}
		if _, err := decodeRecord(row, r.encode(row), true); err != nil {
			t.Errorf("%+v in a listing: %v", r, err)
		}
	}
}
