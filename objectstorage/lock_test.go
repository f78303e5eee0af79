package objectstorage

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"minicloud.internal/objectstorage/store"
)

func TestALockedVersionDoesNotExpire(t *testing.T) {
	a := newAging(t)
	a.bucket(t, "locked", store.Enabled, after3days)
	lock := store.Attributes{LockMode: store.Governance, RetainUntil: a.at.AddDate(0, 0, 20)}
	if _, _, err := store.Put(t.Context(), a.store, "locked", "old/a", strings.NewReader("x"), lock, store.Condition{}); err != nil {
		t.Fatal(err)
	}
	a.put(t, "locked", "old/a")
	a.put(t, "locked", "old/b")
	a.pass(t, 4) // hides both objects
	a.pass(t, 6) // and removes what may be
	if got := a.versions(t, "locked"); got != "old/a+- old/a old/b+-" {
		t.Errorf("under the lock: %s", got)
	}
	a.pass(t, 11)
	a.pass(t, 4)
	if got := a.versions(t, "locked"); got != "" {
		t.Errorf("after the lock: %s", got)
	}
}

func TestWhatComesThroughThisDoorIsRetainedToo(t *testing.T) {
	r := run(t, nil, nil)
	rule := `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>`
	for _, c := range []struct{ query, body string }{
		{"?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"}, {"?object-lock", rule},
	} {
		if got := r.signed(t, http.MethodPut, "/files"+c.query, c.body); got.status != 200 {
			t.Fatalf("%s: %d %s", c.query, got.status, got.body)
		}
	}
	r.do(t, http.MethodPut, "/files/k", strings.NewReader("hello"))
	got := r.signed(t, http.MethodHead, "/files/k", "")
	until, err := time.Parse(time.RFC3339, got.header.Get("X-Amz-Object-Lock-Retain-Until-Date"))
	if left := time.Until(until); err != nil || left < 23*time.Hour || left > 24*time.Hour || got.header.Get("X-Amz-Object-Lock-Mode") != "GOVERNANCE" {
		t.Errorf("the object has the header %v", got.header)
	}
	version := got.header.Get("X-Amz-Version-Id")
	if got := r.do(t, http.MethodDelete, "/files/k", nil); got.status != 204 {
		t.Errorf("DELETE, which makes a marker: %d %s", got.status, got.body)
	}
	if got := r.signed(t, http.MethodDelete, "/files/k?versionId="+version, ""); got.status != 403 {
		t.Errorf("DELETE of the version: %d %s", got.status, got.body)
	}
}
