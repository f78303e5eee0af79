package storetest

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"minicloud.internal/objectstorage/store"
)

var conditionTests = []test{
	{"a condition decides every write", conditions},
	{"a delete marker is no object for a condition", conditionsOnMarkers},
	{"of many who want a key absent exactly one succeeds", race},
	{"of many who want the ETag that they saw exactly one succeeds", raceOnMatch},
	{"concurrent writers of one key leave one of their objects whole", lastWins},
}

func conditions(t *testing.T, h Harness) {
	s := start(t, h)
	type condition = store.Condition
	for _, c := range []struct {
		name            string
		of              func(i store.Info) condition
		present, absent bool // whether it holds
	}{
		{"no condition", func(store.Info) condition { return condition{} }, true, true},
		{"absent", func(store.Info) condition { return condition{Absent: true} }, false, true},
		{"any", func(store.Info) condition { return condition{Match: []string{"*"}} }, true, false},
		{"its ETag", func(i store.Info) condition { return condition{Match: []string{"x", i.ETag}} }, true, false},
		{"another ETag", func(store.Info) condition { return condition{Match: []string{"x"}} }, false, false},
		{"not its ETag", func(i store.Info) condition { return condition{NoneMatch: []string{i.ETag}} }, false, true},
		{"not another ETag", func(store.Info) condition { return condition{NoneMatch: []string{"x"}} }, true, true},
		{"unmodified since its second", func(i store.Info) condition {
			return condition{UnmodifiedSince: i.Modified.Truncate(time.Second)}
		}, true, true},
		{"unmodified since before", func(store.Info) condition {
			return condition{UnmodifiedSince: time.Now().Add(-time.Hour)}
		}, false, true},
		{"modified in its second", func(i store.Info) condition { return condition{Modified: i.Modified.Truncate(time.Second)} }, true, false},
		{"modified in another", func(i store.Info) condition { return condition{Modified: i.Modified.Add(-time.Hour)} }, false, false},
		{"of its size", func(i store.Info) condition { return condition{HasSize: true, Size: i.Size} }, true, false},
		{"of another size", func(i store.Info) condition { return condition{HasSize: true, Size: i.Size + 1} }, false, false},
		{"its ETag and another size", func(i store.Info) condition {
			return condition{Match: []string{i.ETag}, HasSize: true, Size: i.Size + 1}
		}, false, false},
	} {
		want := map[bool]error{true: nil, false: store.ErrPrecondition}
		info := s.put("present", "old")
		_, _, err := s.tryPut("present", "new!", c.of(info))
		s.want(c.name+": put over an object", err, want[c.present])
		if got := s.get("present", ""); (got == "new!") != c.present {
			t.Errorf("%s: after put the object holds %q", c.name, got)
		}
		info = s.put("present", "old")
		_, err = s.Delete(t.Context(), bucketName, "present", "", c.of(info))
		s.want(c.name+": delete an object", err, want[c.present])
		if _, err := s.Head(t.Context(), bucketName, "present", ""); errors.Is(err, store.ErrNotFound) != c.present {
			t.Errorf("%s: after delete: %v", c.name, err)
		}
		_, err = s.Delete(t.Context(), bucketName, "absent", "", c.of(info))
		s.want(c.name+": delete nothing", err, want[c.absent])
		_, _, err = s.tryPut("absent", "new!", c.of(info))
		s.want(c.name+": put where nothing is", err, want[c.absent])
		s.delete("absent", "")
	}
}

func conditionsOnMarkers(t *testing.T, h Harness) {
	s := start(t, h)
	s.versioning(store.Enabled)
	info := s.put("k", "x")
	s.delete("k", "")
	_, _, err := s.tryPut("k", "y", store.Condition{Match: []string{"*"}})
	s.want("put that wants an object", err, store.ErrPrecondition)
	_, err = s.Delete(t.Context(), bucketName, "k", "", store.Condition{Match: []string{info.ETag}})
	s.want("delete that wants an object", err, store.ErrPrecondition)
	_, created, err := s.tryPut("k", "y", store.Condition{Absent: true})
	if err != nil || !created {
		t.Errorf("put that wants none: created %v, %v", created, err)
	}
	_, _, err = s.tryPut("k", "z", store.Condition{Absent: true})
	s.want("a second one", err, store.ErrPrecondition)
}

func race(t *testing.T, h Harness) {
	s := start(t, h)
	for _, size := range []int{3, 100_000} {
		const writers = 32
		key, pad := fmt.Sprint("k", size), strings.Repeat(" ", size)
		var wg sync.WaitGroup
		errs := make([]error, writers)
		for n := range writers {
			wg.Go(func() {
				_, _, errs[n] = store.Put(background(), s.Store, bucketName, key, strings.NewReader(fmt.Sprint(n, pad)),
					store.Attributes{}, store.Condition{Absent: true})
			})
		}
		wg.Wait()
		winner := winnerOf(t, errs)
		if got := s.get(key, ""); got != fmt.Sprint(winner, pad) {
			t.Errorf("writer %d succeeded, but the object is another's", winner)
		}
	}
}

// winnerOf returns who got through, and checks that nobody else did.
func winnerOf(t *testing.T, errs []error) int {
	t.Helper()
	winner := -1
	for n, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("writers %d and %d both succeeded", winner, n)
		case err == nil:
			winner = n
		case !errors.Is(err, store.ErrPrecondition):
			t.Errorf("writer %d: %v, want ErrPrecondition", n, err)
		}
	}
	if winner < 0 {
		t.Error("nobody succeeded")
	}
	return winner
}

func raceOnMatch(t *testing.T, h Harness) {
	s := start(t, h)
	info := s.put("k", "seen")
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for n := range errs {
		wg.Go(func() {
			c := store.Condition{Match: []string{info.ETag}}
			if n%2 == 0 {
				_, errs[n] = s.Delete(background(), bucketName, "k", "", c)
				return
			}
			_, _, errs[n] = store.Put(background(), s.Store, bucketName, "k", strings.NewReader(fmt.Sprint(n)), store.Attributes{}, c)
		})
	}
	wg.Wait()
	if winner := winnerOf(t, errs); winner%2 == 0 {
		s.wantAbsent("k")
	} else if got := s.get("k", ""); got != fmt.Sprint(winner) {
		t.Errorf("writer %d succeeded, but the object is %q", winner, got)
	}
}

func lastWins(t *testing.T, h Harness) {
	s := start(t, h)
	var wg sync.WaitGroup
	for n := range 8 {
		size := 10_000 + n
		if n%2 == 0 {
			size = 100_000 + n // in a file, for some drivers
		}
		body := strings.Repeat(fmt.Sprint(n), size)
		wg.Go(func() {
			for range 10 {
				if _, _, err := store.Put(background(), s.Store, bucketName, "k", strings.NewReader(body), store.Attributes{}, store.Condition{}); err != nil {
					t.Error(err)
				}
				o, err := s.Get(background(), bucketName, "k", "")
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(o.Body)
				_ = o.Body.Close()
				sum := md5.Sum(b)
				if err != nil || hex.EncodeToString(sum[:]) != o.ETag || int64(len(b)) != o.Size {
					t.Errorf("read %d bytes, %v, that are not the object of size %d and ETag %s", len(b), err, o.Size, o.ETag)
				}
			}
		})
	}
	wg.Wait()
	head := s.head("k", "")
	p, err := s.List(t.Context(), bucketName, store.Query{Limit: 10})
	if err != nil || len(p.Objects) != 1 || !sameEntry(p.Objects[0], head) {
		t.Errorf("the listing has %+v, %v; the object is %+v", p.Objects, err, head)
	}
}
