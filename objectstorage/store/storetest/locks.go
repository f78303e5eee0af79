package storetest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"minicloud.internal/objectstorage/store"
)

var lockTests = []test{
	{"a lock keeps a version until it ends", locks},
	{"a retention ends by itself", lockEnds},
	{"locks come and go with an update", lockUpdates},
	{"an object of parts is locked as it was begun", lockParts},
	{"of a lock and a deletion at once the first counts", lockRace},
}

// startLocked opens a store whose bucket has object lock.
func startLocked(t *testing.T, h Harness) *tester {
	t.Helper()
	s := start(t, h)
	if err := s.DeleteBucket(t.Context(), bucketName); err != nil {
		t.Fatal(err)
	}
	s.bucket(store.Bucket{Name: bucketName, Versioning: store.Enabled, Documents: map[string][]byte{"object-lock": []byte(
		`<ObjectLockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>`)}})
	return s
}

// soon is far enough away for every test.
func soon() time.Time { return time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond) }

func (s *tester) putLocked(key string, a store.Attributes) store.Info {
	s.Helper()
	info, _, err := store.Put(s.Context(), s.Store, bucketName, key, strings.NewReader("locked"), a, store.Condition{})
	if err != nil {
		s.Fatalf("put %q: %v", key, err)
	}
	return info
}

// wantDelete deletes a version, which has to end with that error.
func (s *tester) wantDelete(what, key, version string, bypass bool, want error) {
	s.Helper()
	_, err := s.Delete(s.Context(), bucketName, key, version, store.Condition{Bypass: bypass})
	s.want(what, err, want)
	switch _, err = s.Head(s.Context(), bucketName, key, version); {
	case want != nil && err != nil:
		s.Errorf("%s: after it was refused the version is not there: %v", what, err)
	case want == nil && !errors.Is(err, store.ErrNoVersion):
		s.Errorf("%s: after it was done the version is there: %v", what, err)
	}
}

func locks(t *testing.T, h Harness) {
	s := startLocked(t, h)
	for _, c := range []struct {
		name         string
		attributes   store.Attributes
		kept, bypass error // of a deletion, and of one that bypasses
	}{
		{"no lock", store.Attributes{}, nil, nil},
		{"a hold that ended", store.Attributes{LegalHold: store.HoldOff}, nil, nil},
		{"a hold", store.Attributes{LegalHold: store.HoldOn}, store.ErrLocked, store.ErrLocked},
		{"governance", store.Attributes{LockMode: store.Governance, RetainUntil: soon()}, store.ErrLocked, nil},
		{"compliance", store.Attributes{LockMode: store.Compliance, RetainUntil: soon()}, store.ErrLocked, store.ErrLocked},
		{"governance and a hold", store.Attributes{LockMode: store.Governance, RetainUntil: soon(), LegalHold: store.HoldOn}, store.ErrLocked, store.ErrLocked},
	} {
		info := s.putLocked(c.name, c.attributes)
		if got := s.head(c.name, info.Version); !sameLock(got.Attributes, c.attributes) || !sameLock(info.Attributes, c.attributes) {
			t.Errorf("%s: put returned %+v and head %+v", c.name, info.Attributes, got.Attributes)
		}
		if o, err := s.Get(t.Context(), bucketName, c.name, info.Version); err != nil || !sameLock(o.Attributes, c.attributes) {
			t.Errorf("%s: get: %v", c.name, err)
		} else {
			_ = o.Body.Close()
		}
		s.wantDelete(c.name+": delete", c.name, info.Version, false, c.kept)
		if c.kept == nil {
			info = s.putLocked(c.name, c.attributes)
		}
		// What hides the version does not remove it.
		later := s.put(c.name, "later")
		marker := s.delete(c.name, "")
		if got := s.get(c.name, info.Version); got != "locked" {
			t.Errorf("%s: behind others the version is %q", c.name, got)
		}
		s.wantDelete(c.name+": delete an older version", c.name, info.Version, false, c.kept)
		if c.kept != nil {
			s.wantDelete(c.name+": bypass", c.name, info.Version, true, c.bypass)
		}
		s.wantDelete(c.name+": delete what is not locked", c.name, later.Version, false, nil)
		if d := s.delete(c.name, marker.Version); !d.DeleteMarker {
			t.Errorf("%s: the marker was deleted as %+v", c.name, d)
		}
	}
	_, err := s.Delete(t.Context(), bucketName, "a hold", s.head("a hold", "").Version, store.Condition{Match: []string{"x"}, Bypass: true})
	s.want("a condition that does not hold", err, store.ErrPrecondition)
}

// sameLock compares the locks alone.
func sameLock(a, b store.Attributes) bool {
	return a.LockMode == b.LockMode && a.RetainUntil.Equal(b.RetainUntil) && a.LegalHold == b.LegalHold
}

func lockEnds(t *testing.T, h Harness) {
	s := startLocked(t, h)
	// The clock is the store's own, and perhaps that of a service behind it. Where the
	// retention has ended before the object was there, a longer one is tried.
	var info store.Info
	var until time.Time
	for retention := time.Second; ; retention *= 2 {
		until = time.Now().Add(retention).UTC().Truncate(time.Millisecond)
		var err error
		info, _, err = store.Put(t.Context(), s.Store, bucketName, "k", strings.NewReader("locked"),
			store.Attributes{LockMode: store.Compliance, RetainUntil: until}, store.Condition{})
		if err == nil {
			break
		}
		if time.Now().Before(until) || retention > time.Minute {
			t.Fatalf("put: %v", err)
		}
	}
	for {
		_, err := s.Delete(t.Context(), bucketName, "k", info.Version, store.Condition{})
		switch now := time.Now(); {
		case err == nil && now.Before(until):
			t.Fatalf("the version was deleted %v too early", until.Sub(now))
		case err == nil:
			return
		case !errors.Is(err, store.ErrLocked), now.After(until.Add(10 * time.Second)):
			t.Fatalf("delete: %v", err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func lockUpdates(t *testing.T, h Harness) {
	s := startLocked(t, h)
	info := s.put("k", "x")
	update := func(change func(*store.Attributes)) store.Info {
		t.Helper()
		info, err := s.Update(t.Context(), bucketName, "k", info.Version, func(a *store.Attributes) error { change(a); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	want := store.Attributes{LockMode: store.Governance, RetainUntil: soon()}
	got := update(func(a *store.Attributes) { a.LockMode, a.RetainUntil = want.LockMode, want.RetainUntil })
	if !sameLock(got.Attributes, want) || got.Version != info.Version || got.ContentType != "text/plain" {
		t.Errorf("after a retention: %+v", got)
	}
	want.LegalHold = store.HoldOn
	got = update(func(a *store.Attributes) { a.LegalHold = want.LegalHold; a.Tags = []store.Tag{{Key: "a", Value: "b"}} })
	if !sameLock(got.Attributes, want) || len(got.Tags) != 1 {
		t.Errorf("after a legal hold and a tag: %+v", got)
	}
	s.wantDelete("delete under a hold", "k", info.Version, true, store.ErrLocked)
	want.LegalHold, want.RetainUntil = store.HoldOff, want.RetainUntil.Add(-time.Minute)
	got = update(func(a *store.Attributes) { a.LegalHold, a.RetainUntil = want.LegalHold, want.RetainUntil })
	if !sameLock(got.Attributes, want) {
		t.Errorf("after the hold: %+v", got)
	}
	s.wantDelete("delete under a retention", "k", info.Version, false, store.ErrLocked)
	if got := update(func(a *store.Attributes) { a.LockMode, a.RetainUntil = "", time.Time{} }); got.LockMode != "" || !got.RetainUntil.IsZero() {
		t.Errorf("after the retention: %+v", got)
	}
	s.wantDelete("delete without a lock", "k", info.Version, false, nil)
}

func lockParts(t *testing.T, h Harness) {
	s := startLocked(t, h)
	a := store.Attributes{LockMode: store.Governance, RetainUntil: soon(), LegalHold: store.HoldOff}
	id, err := s.CreateMultipart(t.Context(), bucketName, store.Multipart{Key: "k", Attributes: a})
	if err != nil {
		t.Fatal(err)
	}
	u, err := s.Stage(t.Context(), strings.NewReader("part"), -1)
	if err != nil {
		t.Fatal(err)
	}
	p, err := u.CommitPart(t.Context(), bucketName, "k", id, 1, store.Checksum{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.CompleteMultipart(t.Context(), bucketName, "k", id, []store.PartID{{Number: 1, ETag: p.ETag}}, a, store.Condition{})
	if err != nil || !sameLock(s.head("k", info.Version).Attributes, a) {
		t.Errorf("completed as %+v, %v", info, err)
	}
	s.wantDelete("delete", "k", info.Version, false, store.ErrLocked)
	s.wantDelete("bypass", "k", info.Version, true, nil)
}

// lockRace wants of every version either that it was deleted, and the lock came too
// late, or that it was locked and stays.
func lockRace(t *testing.T, h Harness) {
	s := startLocked(t, h)
	for range 20 {
		info := s.put("k", "x")
		locked := make(chan error, 1)
		go func() {
			_, err := s.Update(background(), bucketName, "k", info.Version, func(a *store.Attributes) error {
				a.LegalHold = store.HoldOn
				return nil
			})
			locked <- err
		}()
		_, deleted := s.Delete(t.Context(), bucketName, "k", info.Version, store.Condition{})
		_, gone := s.Head(t.Context(), bucketName, "k", info.Version)
		held := <-locked
		switch {
		case deleted == nil && errors.Is(held, store.ErrNoVersion) && errors.Is(gone, store.ErrNoVersion):
		case errors.Is(deleted, store.ErrLocked) && held == nil && gone == nil:
		default:
			t.Fatalf("delete: %v, lock: %v, head: %v", deleted, held, gone)
		}
	}
	if keys := s.keys(); len(keys) > 0 && !slices.Equal(keys, []string{"k"}) {
		t.Errorf("listed %q", keys)
	}
}
