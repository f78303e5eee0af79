package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"minicloud.internal/objectstorage/store"
)

var listingTests = []test{
	{"a listing agrees with a naive model", listing},
	{"a listing of versions agrees with a naive model", versionListing},
	{"a listing of uploads agrees with a naive model", uploadListing},
}

// words makes random words of a small alphabet, so that many share a beginning.
type words struct{ *rand.Rand }

func (w words) word(most int) string {
	var b strings.Builder
	for range w.IntN(most + 1) {
		b.WriteString([]string{"a", "b", "/", "-", "é", "\x00", "😀"}[w.IntN(7)])
	}
	return b.String()
}

func (w words) query() store.Query {
	q := store.Query{Prefix: w.word(2), Delimiter: []string{"", "/", "/", "a", "-/", "é"}[w.IntN(6)], Limit: 1 + w.IntN(9)}
	if w.IntN(2) == 0 {
		q.After = q.Prefix + w.word(3)
	}
	return q
}

// An entry is one of a listing: a common prefix, or key and ID of something.
type entry struct {
	name, id string
	prefix   bool
}

// naive picks the page that q asks for out of all there is, which is sorted.
// Without afterID all of q.After is behind.
func naive(all []entry, q store.Query, afterID string) (page []entry, more bool) {
	passed := false // all[..] has been up to q.After and afterID
	for _, e := range all {
		rest, ok := strings.CutPrefix(e.name, q.Prefix)
		if e.name == q.After && afterID != "" && !passed {
			passed = e.id == afterID
			continue
		}
		if !ok || e.name < q.After || e.name == q.After && !passed {
			continue
		}
		if q.Delimiter != "" {
			if before, _, found := strings.Cut(rest, q.Delimiter); found {
				e = entry{q.Prefix + before + q.Delimiter, "", true}
				if e.name <= q.After || len(page) > 0 && page[len(page)-1] == e {
					continue
				}
			}
		}
		if len(page) == q.Limit {
			return page, true
		}
		page = append(page, e)
	}
	return page, false
}

// checkPage compares a page with the model's. got are its entries in their order.
func checkPage(t *testing.T, q any, got, want []entry, next, nextID string, more bool) {
	t.Helper()
	// What a driver returns is in two lists, one of prefixes.
	split := func(all []entry) (keys, prefixes []entry) {
		for _, e := range all {
			if e.prefix {
				prefixes = append(prefixes, e)
			} else {
				keys = append(keys, e)
			}
		}
		return keys, prefixes
	}
	gotKeys, gotPrefixes := split(got)
	wantKeys, wantPrefixes := split(want)
	wantNext := entry{}
	if more {
		wantNext = want[len(want)-1]
	}
	if !slices.Equal(gotKeys, wantKeys) || !slices.Equal(gotPrefixes, wantPrefixes) || next != wantNext.name || nextID != wantNext.id {
		t.Fatalf("list(%+v)\n got %v, next %q %q\nwant %v, more %v", q, got, next, nextID, want, more)
	}
}

func prefixEntries(prefixes []string) (all []entry) {
	for _, p := range prefixes {
		all = append(all, entry{p, "", true})
	}
	return all
}

func listing(t *testing.T, h Harness) {
	s := start(t, h)
	r := words{rand.New(rand.NewPCG(1, 2))}
	model := map[string]store.Info{}
	for range 250 {
		if key := r.word(5); key != "" {
			model[key] = s.put(key, key)
		}
	}
	s.versioning(store.Enabled) // from here on deletions leave markers, which no listing shows
	for key := range model {
		if r.IntN(4) == 0 {
			s.delete(key, "")
			delete(model, key)
		}
	}
	var all []entry
	for key := range model {
		all = append(all, entry{name: key})
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for range 1500 {
		q := r.query()
		got, err := s.List(t.Context(), bucketName, q)
		if err != nil {
			t.Fatal(err)
		}
		entries := prefixEntries(got.Prefixes)
		for _, i := range got.Objects {
			entries = append(entries, entry{name: i.Key})
			if !sameEntry(i, model[i.Key]) {
				t.Fatalf("the listing has %+v, want %+v", i, model[i.Key])
			}
		}
		want, more := naive(all, q, "")
		checkPage(t, q, entries, want, got.Next, "", more)
	}
	if _, err := s.List(t.Context(), bucketName, store.Query{}); err == nil {
		t.Error("a listing with limit 0 succeeded")
	}
}

func versionListing(t *testing.T, h Harness) {
	s := start(t, h)
	r := words{rand.New(rand.NewPCG(3, 4))}
	s.versioning(store.Enabled)
	model := newVersionModel(s)
	for n := range 250 {
		if key := r.word(2); key != "" {
			if r.IntN(4) == 0 {
				model.delete(key, "")
			} else {
				model.put(key, fmt.Sprint(n))
			}
		}
		if n == 150 {
			model.versioning(store.Suspended)
		}
	}
	var all []entry
	for _, i := range model.all() {
		all = append(all, entry{name: i.Key, id: i.Version})
	}
	for range 1000 {
		q := store.VersionQuery{Query: r.query()}
		if e := all[r.IntN(len(all))]; r.IntN(2) == 0 {
			q.After, q.AfterVersion = e.name, e.id
		}
		got, err := s.ListVersions(t.Context(), bucketName, q)
		if err != nil {
			t.Fatal(err)
		}
		entries := prefixEntries(got.Prefixes)
		for _, i := range got.Versions {
			entries = append(entries, entry{name: i.Key, id: i.Version})
		}
		want, more := naive(all, q.Query, q.AfterVersion)
		checkPage(t, q, entries, want, got.Next, got.NextVersion, more)
	}
	if _, err := s.ListVersions(t.Context(), bucketName, store.VersionQuery{}); err == nil {
		t.Error("a listing with limit 0 succeeded")
	}
}

func uploadListing(t *testing.T, h Harness) {
	s := start(t, h)
	r := words{rand.New(rand.NewPCG(5, 6))}
	var all []entry
	for range 150 {
		key := r.word(2)
		if key == "" {
			continue
		}
		id, err := s.CreateMultipart(t.Context(), bucketName, store.Multipart{Key: key, Attributes: store.Attributes{StorageClass: "STANDARD_IA"}})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{name: key, id: id})
		if r.IntN(4) == 0 {
			if err := s.AbortMultipart(t.Context(), bucketName, key, id); err != nil {
				t.Fatal(err)
			}
			all = all[:len(all)-1]
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for range 1000 {
		q := store.MultipartQuery{Query: r.query()}
		if e := all[r.IntN(len(all))]; r.IntN(2) == 0 {
			q.After, q.AfterID = e.name, e.id
		}
		got, err := s.ListMultiparts(t.Context(), bucketName, q)
		if err != nil {
			t.Fatal(err)
		}
		entries := prefixEntries(got.Prefixes)
		for _, m := range got.Uploads {
			entries = append(entries, entry{name: m.Key, id: m.ID})
			if m.Initiated.IsZero() || m.Attributes.StorageClass != "STANDARD_IA" {
				t.Fatalf("the listing has %+v", m)
			}
		}
		want, more := naive(all, q.Query, q.AfterID)
		checkPage(t, q, entries, want, got.Next, got.NextID, more)
	}
	if _, err := s.ListMultiparts(t.Context(), bucketName, store.MultipartQuery{}); err == nil {
		t.Error("a listing with limit 0 succeeded")
	}
}
