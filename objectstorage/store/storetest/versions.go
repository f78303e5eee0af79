package storetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"minicloud.internal/objectstorage/store"
)

var versionTests = []test{
	{"without versioning a key has one version, Null", unversioned},
	{"enabled, every put keeps the one before", enabled},
	{"suspended, the version Null is replaced and the others stay", suspended},
	{"a delete marker hides an object and is none", markers},
	{"removing the latest version makes the one before the latest", removeLatest},
	{"an update changes one version", updateVersion},
	{"versions agree with a naive model, also after a restart", versionModelTest},
}

func unversioned(t *testing.T, h Harness) {
	s := start(t, h)
	if i := s.put("k", "1"); i.Version != store.Null || !i.Latest {
		t.Errorf("put: %+v", i)
	}
	s.put("k", "2")
	if got := s.get("k", store.Null); got != "2" {
		t.Errorf("the version Null holds %q", got)
	}
	_, err := s.Get(t.Context(), bucketName, "k", "0000000000001")
	s.want("another version", err, store.ErrNoVersion)
	_, err = s.Head(t.Context(), bucketName, "k", "not a version at all")
	s.want("no version", err, store.ErrNoVersion)
	_, err = s.Get(t.Context(), bucketName, "absent", store.Null)
	s.want("a version of nothing", err, store.ErrNoVersion)
	s.delete("k", "0000000000001")
	if got := s.get("k", ""); got != "2" {
		t.Errorf("after the deletion of another version it holds %q", got)
	}
	s.delete("k", store.Null)
	s.wantAbsent("k")
}

func enabled(t *testing.T, h Harness) {
	s := start(t, h)
	s.put("k", "before")
	s.versioning(store.Enabled)
	first, second := s.put("k", "first"), s.put("k", random(100_000))
	if first.Version == second.Version || first.Version == store.Null || first.Version == "" {
		t.Fatalf("the versions are %q and %q", first.Version, second.Version)
	}
	for version, want := range map[string]string{"": random(100_000), second.Version: random(100_000), first.Version: "first", store.Null: "before"} {
		if got := s.get("k", version); got != want {
			t.Errorf("version %q holds %d bytes, want %d", version, len(got), len(want))
		}
	}
	if i := s.head("k", first.Version); i.Latest || i.Version != first.Version {
		t.Errorf("head of the first: %+v", i)
	}
	if got := s.keys(); !slices.Equal(got, []string{"k"}) {
		t.Errorf("the listing is %q", got)
	}
}

func suspended(t *testing.T, h Harness) {
	s := start(t, h)
	s.put("k", "null 1")
	s.versioning(store.Enabled)
	v := s.put("k", "kept")
	s.versioning(store.Suspended)
	for n := 2; n < 5; n++ {
		if i := s.put("k", fmt.Sprint("null ", n)); i.Version != store.Null {
			t.Errorf("put: %+v", i)
		}
		if got := s.get("k", store.Null) + ", " + s.get("k", v.Version); got != fmt.Sprintf("null %d, kept", n) {
			t.Errorf("got %q", got)
		}
	}
	if d := s.delete("k", ""); d.Version != store.Null || !d.DeleteMarker {
		t.Errorf("delete: %+v", d)
	}
	s.wantAbsent("k")
	_, err := s.Get(t.Context(), bucketName, "k", store.Null)
	s.want("the marker", err, store.ErrDeleteMarker)
	p, err := s.ListVersions(t.Context(), bucketName, store.VersionQuery{Query: store.Query{Limit: 10}})
	if err != nil || len(p.Versions) != 2 {
		t.Errorf("the versions are %+v, %v", p.Versions, err)
	}
}

func markers(t *testing.T, h Harness) {
	s := start(t, h)
	s.versioning(store.Enabled)
	v := s.put("k", "x")
	d := s.delete("k", "")
	if !d.DeleteMarker || d.Version == "" || d.Version == v.Version {
		t.Fatalf("delete: %+v", d)
	}
	s.wantAbsent("k")
	want := store.Info{Key: "k", Version: d.Version, Latest: true, DeleteMarker: true}
	for version, wantErr := range map[string]error{"": store.ErrNotFound, d.Version: store.ErrDeleteMarker} {
		i, err := s.Head(t.Context(), bucketName, "k", version)
		s.want("head of version "+version, err, wantErr)
		want.Modified = i.Modified
		s.same("head", i, want)
		o, err := s.Get(t.Context(), bucketName, "k", version)
		s.want("get of version "+version, err, wantErr)
		if o == nil || o.Body != nil || !o.DeleteMarker || o.Version != d.Version {
			t.Errorf("get beside the error: %+v", o)
		}
		_, err = s.Update(t.Context(), bucketName, "k", version, func(*store.Attributes) error { return nil })
		s.want("update of version "+version, err, wantErr)
	}
	if got := s.get("k", v.Version); got != "x" {
		t.Errorf("the version before holds %q", got)
	}
	absent := s.delete("never there", "")
	if !absent.DeleteMarker || absent.Version == "" {
		t.Errorf("delete of nothing: %+v", absent)
	}
	if got := s.delete("k", d.Version); got != (store.Deleted{Version: d.Version, DeleteMarker: true}) {
		t.Errorf("delete of the marker: %+v", got)
	}
	if got := s.get("k", ""); got != "x" {
		t.Errorf("without the marker the key holds %q", got)
	}
	if got := s.delete("k", d.Version); got.DeleteMarker {
		t.Errorf("delete of the marker again: %+v", got)
	}
}

func removeLatest(t *testing.T, h Harness) {
	s := start(t, h)
	s.put("k", "null")
	s.versioning(store.Enabled)
	var versions []string
	for n := range 5 {
		versions = append(versions, s.put("k", fmt.Sprint(n)).Version)
	}
	s.delete("k", versions[2])
	for _, c := range []struct{ remove, left string }{{versions[4], "3"}, {versions[3], "1"}, {versions[1], "0"}, {versions[0], "null"}} {
		if d := s.delete("k", c.remove); d != (store.Deleted{Version: c.remove}) {
			t.Errorf("delete: %+v", d)
		}
		if got := s.get("k", ""); got != c.left {
			t.Errorf("it holds %q, want %q", got, c.left)
		}
		if !s.head("k", "").Latest {
			t.Error("it is not the latest")
		}
	}
	s.delete("k", store.Null)
	s.wantAbsent("k")
	p, err := s.ListVersions(t.Context(), bucketName, store.VersionQuery{Query: store.Query{Limit: 10}})
	if err != nil || len(p.Versions) > 0 {
		t.Errorf("the versions are %+v, %v", p.Versions, err)
	}
}

func updateVersion(t *testing.T, h Harness) {
	s := start(t, h)
	s.versioning(store.Enabled)
	first, second := s.put("k", "1"), s.put("k", "2")
	tag := func(version, value string) {
		_, err := s.Update(t.Context(), bucketName, "k", version, func(a *store.Attributes) error {
			a.Tags = []store.Tag{{Key: "k", Value: value}}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	tag(first.Version, "one")
	tag("", "two")
	for _, i := range []store.Info{first, second} {
		i.Tags = []store.Tag{{Key: "k", Value: map[string]string{first.Version: "one", second.Version: "two"}[i.Version]}}
		i.Latest = i.Version == second.Version
		s.same("head", s.head("k", i.Version), i)
	}
	_, err := s.Update(t.Context(), bucketName, "k", store.Null, func(*store.Attributes) error { return nil })
	s.want("update of no version", err, store.ErrNoVersion)
}

// A versionModel does to lists of versions what a store does, and checks what
// the store says of each step.
type versionModel struct {
	*tester
	state  store.Versioning
	keys   map[string][]store.Info // the latest first
	bodies map[string]string       // by key, version
}

func newVersionModel(s *tester) *versionModel {
	b, err := s.GetBucket(s.Context(), bucketName)
	if err != nil {
		s.Fatal(err)
	}
	return &versionModel{tester: s, state: b.Versioning, keys: map[string][]store.Info{}, bodies: map[string]string{}}
}

func (m *versionModel) versioning(v store.Versioning) {
	m.tester.versioning(v)
	m.state = v
}

// add makes i the latest version of its key.
func (m *versionModel) add(i store.Info) {
	if (i.Version == store.Null) == (m.state == store.Enabled) {
		m.Fatalf("%+v while versioning is %q", i, m.state)
	}
	if i.Version == store.Null {
		m.remove(i.Key, store.Null)
	}
	m.keys[i.Key] = append([]store.Info{i}, m.keys[i.Key]...)
}

func (m *versionModel) remove(key, version string) (was store.Info, ok bool) {
	at := slices.IndexFunc(m.keys[key], func(i store.Info) bool { return i.Version == version })
	if at < 0 {
		return was, false
	}
	was = m.keys[key][at]
	if m.keys[key] = slices.Delete(m.keys[key], at, at+1); len(m.keys[key]) == 0 {
		delete(m.keys, key)
	}
	return was, true
}

func (m *versionModel) put(key, body string) {
	m.Helper()
	had := len(m.keys[key]) > 0 && !m.keys[key][0].DeleteMarker
	i, created, err := m.tryPut(key, body, store.Condition{})
	if err != nil || created == had {
		m.Fatalf("put %q: created %v, %v", key, created, err)
	}
	m.add(i)
	m.bodies[key+i.Version] = body
}

func (m *versionModel) delete(key, version string) {
	m.Helper()
	d := m.tester.delete(key, version)
	switch {
	case version != "":
		was, ok := m.remove(key, version)
		if ok && d != (store.Deleted{Version: version, DeleteMarker: was.DeleteMarker}) {
			m.Fatalf("delete %q, version %q: %+v; it was %+v", key, version, d, was)
		}
	case m.state == store.Off:
		m.remove(key, store.Null)
	default:
		if !d.DeleteMarker {
			m.Fatalf("delete %q: %+v", key, d)
		}
		i, err := m.Head(m.Context(), bucketName, key, d.Version)
		m.want("head of a delete marker", err, store.ErrDeleteMarker)
		m.add(i)
	}
}

// all returns all versions in the order of a listing.
func (m *versionModel) all() (all []store.Info) {
	for _, key := range slices.Sorted(maps.Keys(m.keys)) {
		for n, i := range m.keys[key] {
			i.Latest = n == 0
			all = append(all, i)
		}
	}
	return all
}

// check compares everything with the store.
func (m *versionModel) check() {
	m.Helper()
	var got []store.Info
	q := store.VersionQuery{Query: store.Query{Limit: 7}}
	for {
		p, err := m.ListVersions(m.Context(), bucketName, q)
		if err != nil {
			m.Fatal(err)
		}
		got = append(got, p.Versions...)
		if q.After, q.AfterVersion = p.Next, p.NextVersion; p.Next == "" {
			break
		}
	}
	want := m.all()
	if !slices.EqualFunc(got, want, sameEntry) {
		m.Fatalf("the versions are\n%+v\nwant\n%+v", got, want)
	}
	for _, i := range want {
		if i.DeleteMarker {
			continue
		}
		if body := m.get(i.Key, i.Version); body != m.bodies[i.Key+i.Version] {
			m.Fatalf("version %q of %q holds %q", i.Version, i.Key, body)
		}
		if i.Latest {
			m.same("head", m.head(i.Key, ""), i)
		} else {
			m.same("head", m.head(i.Key, i.Version), i)
		}
	}
}

func versionModelTest(t *testing.T, h Harness) {
	for seed := range uint64(3) {
		open := h(t)
		s := &tester{t, open()}
		s.bucket(store.Bucket{Name: bucketName})
		r := rand.New(rand.NewPCG(seed, 1))
		m := newVersionModel(s)
		for n := range 160 {
			key := []string{"a", "b", "b\x00", "c/d"}[r.IntN(4)]
			switch r.IntN(10) {
			case 0:
				if m.state != store.Off || n > 30 {
					m.versioning([]store.Versioning{store.Enabled, store.Enabled, store.Suspended}[r.IntN(3)])
				}
			case 1, 2:
				m.delete(key, "")
			case 3, 4:
				if have := m.keys[key]; len(have) > 0 {
					m.delete(key, have[r.IntN(len(have))].Version)
				} else {
					m.delete(key, store.Null)
				}
			default:
				m.put(key, strings.Repeat(fmt.Sprint(n), 1+r.IntN(3)*r.IntN(20_000)))
			}
			if n%20 == 19 {
				m.check()
			}
			if n == 100 {
				if err := s.Store.Close(); err != nil {
					t.Fatal(err)
				}
				s.Store = open()
				m.check()
			}
		}
		for _, i := range m.all() { // and away with all of it
			m.delete(i.Key, i.Version)
		}
		m.check()
		if err := s.DeleteBucket(t.Context(), bucketName); err != nil {
			t.Error(err)
		}
		if err := s.Store.Close(); err != nil && !errors.Is(err, store.ErrStopped) {
			t.Error(err)
		}
	}
}
