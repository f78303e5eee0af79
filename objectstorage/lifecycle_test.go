package objectstorage

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/objectstorage/s3api"
	"minicloud.internal/objectstorage/store"
	"minicloud.internal/objectstorage/store/disk"
)

// rules is a lifecycle document.
func rules(text string) map[string][]byte {
	return map[string][]byte{s3api.LifecycleDocument: []byte("<LifecycleConfiguration>" + text + "</LifecycleConfiguration>")}
}

const after3days = `<Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix>old/</Prefix></Filter><Expiration><Days>3</Days></Expiration>
<NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays></NoncurrentVersionExpiration>
<AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>`

// aging is a store at a clock of its own, and the worker on it.
type aging struct {
	*lifecycle
	at time.Time
}

func newAging(t *testing.T) *aging {
	t.Helper()
	a := &aging{at: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	d, err := disk.Open(t.TempDir(), disk.Options{Now: func() time.Time { return a.at }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	a.lifecycle = &lifecycle{store: d, logger: slog.New(slog.DiscardHandler), now: func() time.Time { return a.at }, interval: time.Hour, expired: m.expired}
	return a
}

func (a *aging) bucket(t *testing.T, name string, v store.Versioning, text string) {
	t.Helper()
	if err := a.store.CreateBucket(t.Context(), store.Bucket{Name: name, Versioning: v, Documents: rules(text)}); err != nil {
		t.Fatal(err)
	}
}

func (a *aging) put(t *testing.T, bucket, key string, tags ...store.Tag) {
	t.Helper()
	if _, _, err := store.Put(t.Context(), a.store, bucket, key, strings.NewReader("body of "+key), store.Attributes{Tags: tags}, store.Condition{}); err != nil {
		t.Fatal(err)
	}
}

// versions are all of a bucket: the key, "+" for each that is the latest, "-" for a
// delete marker.
func (a *aging) versions(t *testing.T, bucket string) string {
	t.Helper()
	page, err := a.store.ListVersions(t.Context(), bucket, store.VersionQuery{Query: store.Query{Limit: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, v := range page.Versions {
		s := v.Key
		if v.Latest {
			s += "+"
		}
		if v.DeleteMarker {
			s += "-"
		}
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

func (a *aging) pass(t *testing.T, days int) {
	t.Helper()
	a.at = a.at.AddDate(0, 0, days)
	if err := a.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestObjectsExpire(t *testing.T) {
	a := newAging(t)
	a.bucket(t, "plain", store.Off, after3days)
	a.bucket(t, "forever", store.Off, "")
	for _, bucket := range []string{"plain", "forever"} {
		a.put(t, bucket, "old/a")
		a.put(t, bucket, "other/a")
	}
	a.pass(t, 2)
	a.put(t, "plain", "old/b")
	if got := a.versions(t, "plain"); got != "old/a+ old/b+ other/a+" {
		t.Errorf("after two days: %s", got)
	}
	a.pass(t, 2)
	if got := a.versions(t, "plain"); got != "old/b+ other/a+" {
		t.Errorf("after four days: %s", got)
	}
	a.pass(t, 100)
	if got := a.versions(t, "plain"); got != "other/a+" {
		t.Errorf("in the end: %s", got)
	}
	if got := a.versions(t, "forever"); got != "old/a+ other/a+" {
		t.Errorf("without rules: %s", got)
	}
}

func TestVersionsExpire(t *testing.T) {
	a := newAging(t)
	a.bucket(t, "kept", store.Enabled, after3days)
	a.put(t, "kept", "old/a")
	a.put(t, "kept", "old/a")
	a.pass(t, 1)
	if got := a.versions(t, "kept"); got != "old/a+ old/a" {
		t.Errorf("after a day: %s", got)
	}
	a.pass(t, 3)
	// The older version is gone; what was the latest is behind a marker.
	if got := a.versions(t, "kept"); got != "old/a+- old/a" {
		t.Errorf("after four days: %s", got)
	}
	a.pass(t, 4)
	if got := a.versions(t, "kept"); got != "old/a+-" {
		t.Errorf("after eight days: %s", got)
	}
	a.pass(t, 4)
	if got := a.versions(t, "kept"); got != "" {
		t.Errorf("a marker that hides nothing is left: %s", got)
	}
}

func TestTagsAreLookedAt(t *testing.T) {
	a := newAging(t)
	a.bucket(t, "tagged", store.Off, `<Rule><ID>a</ID><Status>Enabled</Status><Filter><Tag><Key>keep</Key><Value>no</Value></Tag></Filter><Expiration><Days>1</Days></Expiration></Rule>`)
	a.put(t, "tagged", "a", store.Tag{Key: "keep", Value: "no"})
	a.put(t, "tagged", "b", store.Tag{Key: "keep", Value: "yes"})
	a.put(t, "tagged", "c")
	a.pass(t, 3)
	if got := a.versions(t, "tagged"); got != "b+ c+" {
		t.Errorf("left is %s", got)
	}
}

func TestUnfinishedUploadsExpire(t *testing.T) {
	a := newAging(t)
	a.bucket(t, "parts", store.Off, after3days)
	begin := func(key string) {
		t.Helper()
		if _, err := a.store.CreateMultipart(t.Context(), "parts", store.Multipart{Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	begin("old/a")
	begin("other")
	a.pass(t, 2)
	begin("old/b")
	a.pass(t, 2)
	page, err := a.store.ListMultiparts(t.Context(), "parts", store.MultipartQuery{Query: store.Query{Limit: 10}})
	if err != nil || len(page.Uploads) != 2 || page.Uploads[0].Key != "old/b" || page.Uploads[1].Key != "other" {
		t.Errorf("%+v, %v", page.Uploads, err)
	}
}

// A key with more versions than a page is decided about as a whole.
func TestVersionsOverSeveralPages(t *testing.T) {
	a := newAging(t)
	a.bucket(t, "many", store.Enabled, after3days)
	for range sweepPage + 3 {
		a.put(t, "many", "old/a")
	}
	a.put(t, "many", "old/b")
	a.pass(t, 5)
	if got := a.versions(t, "many"); got != "old/a+- old/a old/b+- old/b" {
		t.Errorf("left is %.200s", got)
	}
}

// racing replaces a key in the moment before it is deleted.
type racing struct {
	store.Store
	replace func()
}

func (r *racing) Delete(ctx context.Context, bucket, key, version string, c store.Condition) (store.Deleted, error) {
	r.replace()
	return r.Store.Delete(ctx, bucket, key, version, c)
}

func TestWhatChangedIsNotRemoved(t *testing.T) {
	a := newAging(t)
	a.bucket(t, "plain", store.Off, after3days)
	a.put(t, "plain", "old/a")
	inner := a.store
	a.store = &racing{inner, func() {
		if _, _, err := store.Put(t.Context(), inner, "plain", "old/a", strings.NewReader("new"), store.Attributes{}, store.Condition{}); err != nil {
			t.Error(err)
		}
	}}
	a.pass(t, 10)
	if got := a.versions(t, "plain"); got != "old/a+" {
		t.Errorf("what was written since is gone: %q", got)
	}
}

// failing cannot list one of its buckets.
type failing struct {
	store.Store
	swept int
}

func (f *failing) ListBuckets(context.Context) ([]store.Bucket, error) {
	f.swept++
	return []store.Bucket{{Name: "aaa", Documents: rules(after3days)}, {Name: "bbb", Documents: rules("<")}}, nil
}

func (f *failing) ListVersions(context.Context, string, store.VersionQuery) (store.VersionPage, error) {
	return store.VersionPage{}, errors.New("no list today")
}

func TestItGoesOnAfterAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &failing{}
		l := &lifecycle{store: f, logger: slog.New(slog.DiscardHandler), now: time.Now, interval: time.Hour}
		if err := l.sweep(t.Context()); err == nil || !strings.Contains(err.Error(), "bucket aaa: list the versions: no list today") || !strings.Contains(err.Error(), "bucket bbb: ") {
			t.Errorf("sweep: %v", err)
		}
		f.swept = 0
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); l.run(ctx) }()
		time.Sleep(150 * time.Minute) // of the bubble's clock
		synctest.Wait()
		if f.swept != 3 {
			t.Errorf("swept %d times in two and a half hours, expected 3", f.swept)
		}
		cancel()
		<-done
	})
}
