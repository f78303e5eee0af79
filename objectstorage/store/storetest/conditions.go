package storetest

import (
	"context"
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

func conditions(t *testing.T, h Harness) {
	s := start(t, h)
	hour := time.Hour
	for _, c := range []struct {
		name            string
		of              func(i store.Info) store.Condition
		present, absent bool // whether it holds
	}{
		{"no condition", func(store.Info) store.Condition { return store.Condition{} }, true, true},
		{"absent", func(store.Info) store.Condition { return store.Condition{Absent: true} }, false, true},
		{"any", func(store.Info) store.Condition { return store.Condition{Match: []string{"*"}} }, true, false},
		{"its ETag", func(i store.Info) store.Condition { return store.Condition{Match: []string{"x", i.ETag}} }, true, false},
		{"another ETag", func(store.Info) store.Condition { return store.Condition{Match: []string{"x"}} }, false, false},
		{"unmodified since its second", func(i store.Info) store.Condition {
			return store.Condition{UnmodifiedSince: i.Modified.Truncate(time.Second)}
		}, true, true},
		{"unmodified since before", func(store.Info) store.Condition {
			return store.Condition{UnmodifiedSince: time.Now().Add(-hour)}
		}, false, true},
	} {
		want := map[bool]error{true: nil, false: store.ErrPrecondition}
		info := put(t, s, "present", "old")
		_, _, err := store.Put(t.Context(), s, "present", strings.NewReader("new"), store.Meta{}, c.of(info))
		if !errors.Is(err, want[c.present]) {
			t.Errorf("%s: put over an object: %v", c.name, err)
		}
		if got := get(t, s, "present"); (got == "new") != c.present {
			t.Errorf("%s: after put the object holds %q", c.name, got)
		}
		info = put(t, s, "present", "old")
		if err := s.Delete(t.Context(), "present", c.of(info)); !errors.Is(err, want[c.present]) {
			t.Errorf("%s: delete an object: %v", c.name, err)
		}
		if _, err := s.Head(t.Context(), "present"); errors.Is(err, store.ErrNotFound) != c.present {
			t.Errorf("%s: after delete: %v", c.name, err)
		}
		if err := s.Delete(t.Context(), "absent", c.of(info)); !errors.Is(err, want[c.absent]) {
			t.Errorf("%s: delete nothing: %v", c.name, err)
		}
		if _, _, err = store.Put(t.Context(), s, "absent", strings.NewReader("new"), store.Meta{}, c.of(info)); !errors.Is(err, want[c.absent]) {
			t.Errorf("%s: put where nothing is: %v", c.name, err)
		}
		if err := s.Delete(t.Context(), "absent", store.Condition{}); err != nil {
			t.Error(err)
		}
	}
}

func race(t *testing.T, h Harness) {
	s := start(t, h)
	const writers = 64
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for n := range writers {
		wg.Go(func() {
			_, _, errs[n] = store.Put(context.Background(), s, "k", strings.NewReader(fmt.Sprint(n)), store.Meta{}, store.Condition{Absent: true})
		})
	}
	wg.Wait()
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
	if got := get(t, s, "k"); got != fmt.Sprint(winner) {
		t.Errorf("writer %d succeeded, but the object is of %q", winner, got)
	}
}

func lastWins(t *testing.T, h Harness) {
	s := start(t, h)
	var wg sync.WaitGroup
	for n := range 8 {
		body := strings.Repeat(fmt.Sprint(n), 10_000+n)
		wg.Go(func() {
			for range 10 {
				if _, _, err := store.Put(context.Background(), s, "k", strings.NewReader(body), store.Meta{}, store.Condition{}); err != nil {
					t.Error(err)
				}
				o, err := s.Get(context.Background(), "k")
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
	head, err := s.Head(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.List(t.Context(), store.Query{Limit: 10})
	if err != nil || len(p.Objects) != 1 || p.Objects[0].ETag != head.ETag || p.Objects[0].Size != head.Size {
		t.Errorf("the listing has %+v, %v; the object is %+v", p.Objects, err, head)
	}
}
