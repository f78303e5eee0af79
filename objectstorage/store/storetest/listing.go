package storetest

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"minicloud.internal/objectstorage/store"
)

// listing puts random keys of a small alphabet and compares every page of many
// queries with what sorting and filtering everything gives.
func listing(t *testing.T, h Harness) {
	s := start(t, h)
	r := rand.New(rand.NewPCG(1, 2))
	word := func(most int) string {
		var b strings.Builder
		for range r.IntN(most + 1) {
			b.WriteString([]string{"a", "b", "/", "-", "é", "\x00", "😀"}[r.IntN(7)])
		}
		return b.String()
	}
	model := map[string]store.Info{}
	for range 300 {
		if key := word(5); key != "" {
			model[key] = put(t, s, key, key)
		}
	}
	for key := range model {
		if r.IntN(4) == 0 {
			if err := s.Delete(t.Context(), key, store.Condition{}); err != nil {
				t.Fatal(err)
			}
			delete(model, key)
		}
	}
	for range 3000 {
		q := store.Query{Prefix: word(2), Delimiter: []string{"", "/", "/", "a", "-/", "é"}[r.IntN(6)], Limit: 1 + r.IntN(9)}
		if r.IntN(2) == 0 {
			q.After = q.Prefix + word(3)
		}
		got, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		want := naive(model, q)
		if !slices.Equal(got.Objects, want.Objects) || !slices.Equal(got.Prefixes, want.Prefixes) || got.Next != want.Next {
			t.Fatalf("list(%+v)\n got %+v\nwant %+v", q, got, want)
		}
	}
	if _, err := s.List(t.Context(), store.Query{}); err == nil {
		t.Error("a listing with limit 0 succeeded")
	}
}

func naive(model map[string]store.Info, q store.Query) (p store.Page) {
	entries := map[string]bool{} // entry -> it is a common prefix
	for key := range model {
		rest, ok := strings.CutPrefix(key, q.Prefix)
		if !ok {
			continue
		}
		entry, rolled := key, false
		if q.Delimiter != "" {
			if before, _, found := strings.Cut(rest, q.Delimiter); found {
				entry, rolled = q.Prefix+before+q.Delimiter, true
			}
		}
		if entry > q.After {
			entries[entry] = rolled
		}
	}
	for n, entry := range slices.Sorted(maps.Keys(entries)) {
		if n == q.Limit {
			break
		}
		if p.Next = entry; entries[entry] {
			p.Prefixes = append(p.Prefixes, entry)
		} else {
			i := model[entry]
			p.Objects = append(p.Objects, i)
		}
	}
	if len(entries) <= q.Limit {
		p.Next = ""
	}
	return p
}
