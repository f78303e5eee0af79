package storetest

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"minicloud.internal/objectstorage/store"
)

var multipartTests = []test{
	{"an object of parts comes back", partsRoundTrip},
	{"its body is read from any offset", partsSeek},
	{"an unfinished upload is no object, and survives a restart", partsRestart},
	{"a part is replaced by a later one of its number", partsReplaced},
	{"an upload is completed only of what was uploaded", partsRefused},
	{"a condition decides the completion", partsConditions},
	{"an upload that ended is gone", partsGone},
	{"parts are listed in pages", partsListed},
	{"an open body of parts outlives its object", partsOpen},
	{"of many who complete one upload one succeeds", partsRace},
}

// minPart is the least size of a part but the last (Amazon S3, multipart upload
// limits), which a driver over S3 has to keep to.
const minPart = 5 << 20

func (s *tester) create(key string) string {
	s.Helper()
	id, err := s.CreateMultipart(s.Context(), bucketName, store.Multipart{Key: key, Attributes: store.Attributes{ContentType: "text/plain"}})
	if err != nil || id == "" {
		s.Fatalf("create an upload: %q, %v", id, err)
	}
	return id
}

func (s *tester) tryPart(key, id string, number int, body string) (store.Part, error) {
	u, err := s.Stage(s.Context(), strings.NewReader(body), int64(len(body)))
	if err != nil {
		return store.Part{}, err
	}
	return u.CommitPart(s.Context(), bucketName, key, id, number, store.Checksum{})
}

func (s *tester) putPart(key, id string, number int, body string) store.PartID {
	s.Helper()
	p, err := s.tryPart(key, id, number, body)
	if err != nil {
		s.Fatalf("part %d: %v", number, err)
	}
	if p.Number != number || p.Size != int64(len(body)) || p.ETag != etagOf(body) || p.Modified.IsZero() {
		s.Errorf("part %d: %+v", number, p)
	}
	return store.PartID{Number: number, ETag: p.ETag}
}

func (s *tester) complete(key, id string, parts []store.PartID, c store.Condition) (store.Info, error) {
	return s.CompleteMultipart(s.Context(), bucketName, key, id, parts, store.Attributes{ContentType: "text/plain"}, c)
}

// etagOfParts is the ETag of an object of these parts.
func etagOfParts(bodies ...string) string {
	h := md5.New()
	for _, b := range bodies {
		sum := md5.Sum([]byte(b))
		_, _ = h.Write(sum[:])
	}
	return fmt.Sprintf("%s-%d", hex.EncodeToString(h.Sum(nil)), len(bodies))
}

// upload makes an object of parts.
func (s *tester) upload(key string, bodies ...string) store.Info {
	s.Helper()
	id := s.create(key)
	var parts []store.PartID
	for n, body := range bodies {
		parts = append(parts, s.putPart(key, id, 2*n+1, body))
	}
	info, err := s.complete(key, id, parts, store.Condition{})
	if err != nil {
		s.Fatalf("complete: %v", err)
	}
	return info
}

func partsRoundTrip(t *testing.T, h Harness) {
	s := start(t, h)
	for key, bodies := range map[string][]string{
		"small":    {"all there is"},
		"empty":    {""},
		"large":    {random(300_000)},
		"two":      {random(minPart), "the end"},
		"and some": {random(minPart), random(minPart + 1), random(100_000)},
	} {
		body := strings.Join(bodies, "")
		info := s.upload(key, bodies...)
		want := store.Info{Key: key, Version: store.Null, Latest: true, Size: int64(len(body)), ETag: etagOfParts(bodies...),
			Modified: info.Modified, Attributes: store.Attributes{ContentType: "text/plain"}}
		for n, b := range bodies {
			want.Parts = append(want.Parts, store.Part{Number: 2*n + 1, Size: int64(len(b)), ETag: etagOf(b)})
		}
		for what, got := range map[string]store.Info{"complete": info, "head": s.head(key, "")} {
			for n := range got.Parts {
				got.Parts[n].Modified = time.Time{}
			}
			s.same(what+" "+key, got, want)
		}
		if got := s.get(key, ""); got != body {
			t.Errorf("%s came back with %d bytes of %d, or other ones", key, len(got), len(body))
		}
		tagged, err := s.Update(t.Context(), bucketName, key, "", func(a *store.Attributes) error {
			a.Tags = []store.Tag{{Key: "a", Value: "b"}}
			return nil
		})
		if err != nil || tagged.ETag != want.ETag || s.get(key, "") != body {
			t.Errorf("after an update: %+v, %v", tagged, err)
		}
	}
	p, err := s.List(t.Context(), bucketName, store.Query{Limit: 10})
	if err != nil || len(p.Objects) != 5 || p.Objects[0].ETag != s.head("and some", "").ETag {
		t.Errorf("the listing is %+v, %v", p, err)
	}
}

func partsSeek(t *testing.T, h Harness) {
	s := start(t, h)
	bodies := []string{random(minPart), random(minPart + 3), random(1000)}
	s.upload("k", bodies...)
	o, err := s.Get(t.Context(), bucketName, "k", "")
	if err != nil {
		t.Fatal(err)
	}
	checkSeeks(t, o.Body, strings.Join(bodies, ""))
	if err := o.Body.Close(); err != nil {
		t.Error(err)
	}
}

func partsRestart(t *testing.T, h Harness) {
	open := h(t)
	s := &tester{t, open()}
	s.bucket(store.Bucket{Name: bucketName})
	a := store.Attributes{ContentType: "image/png", User: map[string]string{"a": "b"}}
	id, err := s.CreateMultipart(t.Context(), bucketName, store.Multipart{Key: "k", Attributes: a})
	if err != nil {
		t.Fatal(err)
	}
	bodies := []string{random(minPart), "tail"}
	parts := []store.PartID{s.putPart("k", id, 1, bodies[0]), s.putPart("k", id, 9, bodies[1])}
	s.wantAbsent("k")
	if err := s.Store.Close(); err != nil {
		t.Fatal(err)
	}
	s = &tester{t, open()}
	t.Cleanup(func() { _ = s.Store.Close() })
	m, err := s.GetMultipart(t.Context(), bucketName, "k", id)
	if err != nil || m.Key != "k" || m.ID != id || time.Since(m.Initiated) > time.Hour || !sameAttributes(m.Attributes, a) {
		t.Errorf("the upload is %+v, %v", m, err)
	}
	have, more, err := s.ListParts(t.Context(), bucketName, "k", id, 0, 10)
	if err != nil || more || len(have) != 2 || have[1].Number != 9 || have[1].ETag != parts[1].ETag {
		t.Errorf("the parts are %+v, %v, %v", have, more, err)
	}
	if _, err := s.complete("k", id, parts, store.Condition{}); err != nil {
		t.Fatal(err)
	}
	if got := s.get("k", ""); got != strings.Join(bodies, "") {
		t.Errorf("came back with %d bytes, other ones", len(got))
	}
}

func partsReplaced(t *testing.T, h Harness) {
	s := start(t, h)
	id := s.create("k")
	for _, body := range []string{"first", random(200_000), random(300_000), "the last"} {
		s.putPart("k", id, 5, body)
	}
	have, _, err := s.ListParts(t.Context(), bucketName, "k", id, 0, 10)
	if err != nil || len(have) != 1 || have[0].ETag != etagOf("the last") {
		t.Errorf("the parts are %+v, %v", have, err)
	}
	s.putPart("k", id, 9, "not chosen")
	if _, err := s.complete("k", id, []store.PartID{{Number: 5, ETag: etagOf("the last")}}, store.Condition{}); err != nil {
		t.Fatal(err)
	}
	if got := s.get("k", ""); got != "the last" {
		t.Errorf("it holds %d bytes, other ones", len(got))
	}
}

func partsRefused(t *testing.T, h Harness) {
	s := start(t, h)
	id := s.create("k")
	one, two := s.putPart("k", id, 1, random(minPart)), s.putPart("k", id, 2, "two")
	for name, c := range map[string]struct {
		parts  []store.PartID
		number int
	}{
		"none":               {nil, 1},
		"one not uploaded":   {[]store.PartID{one, {Number: 3, ETag: two.ETag}}, 3},
		"one of another":     {[]store.PartID{one, {Number: 2, ETag: one.ETag}}, 2},
		"in another order":   {[]store.PartID{two, one}, 1},
		"one of them twice":  {[]store.PartID{one, two, two}, 2},
		"a number of no use": {[]store.PartID{{Number: 0, ETag: one.ETag}}, 0},
	} {
		var bad *store.PartError
		if _, err := s.complete("k", id, c.parts, store.Condition{}); !errors.As(err, &bad) || bad.Number != c.number {
			t.Errorf("%s: %v, want a PartError of %d", name, err, c.number)
		}
	}
	for _, number := range []int{-1, 0, store.MaxPart + 1} {
		var bad *store.PartError
		if _, err := s.tryPart("k", id, number, "x"); !errors.As(err, &bad) {
			t.Errorf("part %d: %v, want a PartError", number, err)
		}
	}
	s.wantAbsent("k")
	if _, err := s.complete("k", id, []store.PartID{one, two}, store.Condition{}); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func partsConditions(t *testing.T, h Harness) {
	s := start(t, h)
	info := s.put("k", "there")
	id := s.create("k")
	parts := []store.PartID{s.putPart("k", id, 1, "new")}
	_, err := s.complete("k", id, parts, store.Condition{Absent: true})
	s.want("complete that wants nothing there", err, store.ErrPrecondition)
	_, err = s.complete("k", id, parts, store.Condition{Match: []string{"x"}})
	s.want("complete that wants another ETag", err, store.ErrPrecondition)
	if got := s.get("k", ""); got != "there" {
		t.Errorf("it holds %q", got)
	}
	if _, err = s.complete("k", id, parts, store.Condition{Match: []string{info.ETag}}); err != nil {
		t.Errorf("complete that wants its ETag: %v", err)
	}
	if got := s.get("k", ""); got != "new" {
		t.Errorf("it holds %q", got)
	}
}

func partsGone(t *testing.T, h Harness) {
	s := start(t, h)
	ctx := t.Context()
	check := func(what, key, id string) {
		t.Helper()
		_, err := s.tryPart(key, id, 2, "x")
		s.want(what+": a part", err, store.ErrNoUpload)
		_, err = s.GetMultipart(ctx, bucketName, key, id)
		s.want(what+": get", err, store.ErrNoUpload)
		_, _, err = s.ListParts(ctx, bucketName, key, id, 0, 10)
		s.want(what+": parts", err, store.ErrNoUpload)
		_, err = s.complete(key, id, []store.PartID{{Number: 1, ETag: etagOf("x")}}, store.Condition{})
		s.want(what+": complete", err, store.ErrNoUpload)
		s.want(what+": abort", s.AbortMultipart(ctx, bucketName, key, id), store.ErrNoUpload)
	}
	id := s.create("k")
	s.putPart("k", id, 1, random(200_000))
	check("another key", "l", id)
	check("no identifier", "k", "nonsense")
	if err := s.AbortMultipart(ctx, bucketName, "k", id); err != nil {
		t.Fatal(err)
	}
	check("aborted", "k", id)
	s.wantAbsent("k")
	id = s.create("k")
	if _, err := s.complete("k", id, []store.PartID{s.putPart("k", id, 1, "x")}, store.Condition{}); err != nil {
		t.Fatal(err)
	}
	check("completed", "k", id)
	if got := s.get("k", ""); got != "x" {
		t.Errorf("it holds %q", got)
	}
	p, err := s.ListMultiparts(ctx, bucketName, store.MultipartQuery{Query: store.Query{Limit: 10}})
	if err != nil || len(p.Uploads) > 0 {
		t.Errorf("the uploads are %+v, %v", p, err)
	}
}

func partsListed(t *testing.T, h Harness) {
	s := start(t, h)
	id := s.create("k")
	var want []int
	for n := range 10 {
		want = append(want, 1+n*n*100)
		s.putPart("k", id, 1+n*n*100, fmt.Sprint(n))
	}
	s.putPart("k", id, store.MaxPart, "the last")
	want = append(want, store.MaxPart)
	var got []int
	for after := 0; ; {
		parts, more, err := s.ListParts(t.Context(), bucketName, "k", id, after, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			got = append(got, p.Number)
			after = p.Number
		}
		if !more {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the parts are %v, want %v", got, want)
	}
}

func partsOpen(t *testing.T, h Harness) {
	s := start(t, h)
	bodies := []string{random(minPart), random(70_000)}
	for _, how := range []string{"replaced", "deleted"} {
		s.upload("k", bodies...)
		o, err := s.Get(t.Context(), bucketName, "k", "")
		if err != nil {
			t.Fatal(err)
		}
		if how == "replaced" {
			s.put("k", "new")
		} else {
			s.delete("k", "")
		}
		got, err := io.ReadAll(o.Body)
		if err != nil || string(got) != strings.Join(bodies, "") {
			t.Errorf("%s: read %d bytes, %v; want the old object whole", how, len(got), err)
		}
		if err := o.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}

func partsRace(t *testing.T, h Harness) {
	s := start(t, h)
	id := s.create("k")
	parts := make([]store.PartID, 8)
	var wg sync.WaitGroup
	for n := range parts {
		size := 10
		if n < len(parts)-1 {
			size = minPart
		}
		wg.Go(func() {
			u, err := s.Stage(background(), strings.NewReader(random(size)), int64(size))
			if err == nil {
				var p store.Part
				p, err = u.CommitPart(background(), bucketName, "k", id, n+1, store.Checksum{})
				parts[n] = store.PartID{Number: n + 1, ETag: p.ETag}
			}
			if err != nil {
				t.Errorf("part %d: %v", n+1, err)
			}
		})
	}
	wg.Wait()
	errs := make([]error, 8)
	for n := range errs {
		wg.Go(func() {
			_, errs[n] = s.CompleteMultipart(background(), bucketName, "k", id, parts, store.Attributes{}, store.Condition{})
		})
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		} else if !errors.Is(err, store.ErrNoUpload) {
			t.Errorf("complete: %v", err)
		}
	}
	if done != 1 {
		t.Errorf("%d completed it, want 1", done)
	}
	if got := len(s.get("k", "")); got != 7*minPart+10 {
		t.Errorf("it has %d bytes", got)
	}
}
