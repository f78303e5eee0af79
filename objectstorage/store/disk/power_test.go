package disk

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"minicloud.internal/objectstorage/store"
)

// A history is what clients know of their keys: what was acknowledged, and what
// is under way.
type history struct {
	mu    sync.Mutex
	acked map[string]string
	doing map[string]string
	steps int
	moved *sync.Cond // steps did; with mu
	// pause is held for reading during a step, and for writing while the load
	// would only take the time of a check.
	pause sync.RWMutex
}

// do notes a change of a key around its doing. "-" is its absence.
func (h *history) do(key, value string, change func() error) error {
	h.pause.RLock()
	defer h.pause.RUnlock()
	h.mu.Lock()
	h.doing[key] = value
	h.mu.Unlock()
	err := change()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.doing, key)
	h.steps++
	h.moved.Broadcast()
	if err == nil {
		h.acked[key] = value
	}
	return err
}

// client changes keys of its own until stop.
func (h *history) client(t *testing.T, s *Store, n int, stop <-chan struct{}) {
	r := rand.New(rand.NewPCG(uint64(n), 9))
	for round := 0; ; round++ {
		select {
		case <-stop:
			return
		default:
		}
		key := fmt.Sprintf("%d/%d", n, r.IntN(12))
		body := fmt.Sprint(round, key, strings.Repeat("x", []int{0, 3000, 40_000, 90_000}[r.IntN(4)]))
		var err error
		switch r.IntN(8) {
		case 0, 1:
			err = h.do(key, "-", func() error { return remove(t, s, key) })
		case 2:
			err = h.do(key, body+body, func() error { return putParts(t, s, key, body, body) })
		default:
			err = h.do(key, body, func() error { return put(t, s, key, body) })
		}
		if err != nil {
			t.Errorf("%s: %v", key, err)
			return
		}
	}
}

// putParts puts an object in parts.
func putParts(t testing.TB, s *Store, key string, bodies ...string) error {
	t.Helper()
	ctx := t.Context()
	id, err := s.CreateMultipart(ctx, bucketName, store.Multipart{Key: key})
	if err != nil {
		return err
	}
	var parts []store.PartID
	for n, body := range bodies {
		u, err := s.Stage(ctx, strings.NewReader(body), -1)
		if err != nil {
			return err
		}
		p, err := u.CommitPart(ctx, bucketName, key, id, n+1, store.Checksum{})
		if err != nil {
			return err
		}
		parts = append(parts, store.PartID{Number: p.Number, ETag: p.ETag})
	}
	_, err = s.CompleteMultipart(ctx, bucketName, key, id, parts, store.Attributes{}, store.Condition{})
	return err
}

// TestPowerCuts cuts the power at many moments of a mixed load. What was not
// synced is lost, or half of it, or nothing; what was acknowledged is there, what
// was under way is there whole or not at all, and listings and files agree.
func TestPowerCuts(t *testing.T) {
	for _, versioning := range []store.Versioning{store.Off, store.Enabled} {
		disk := vfs.NewCrashableMem()
		s := open(t, disk, Options{})
		if versioning != store.Off {
			if err := s.UpdateBucket(t.Context(), bucketName, func(b *store.Bucket) error { b.Versioning = versioning; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		h := &history{acked: map[string]string{}, doing: map[string]string{}}
		h.moved = sync.NewCond(&h.mu)
		stop := make(chan struct{})
		var all sync.WaitGroup
		for n := range 6 {
			all.Go(func() { h.client(t, s, n, stop) })
		}
		all.Go(func() { // the collector removes files meanwhile
			for {
				select {
				case <-stop:
					return
				case <-s.garbage:
					if _, err := s.collectOnce(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
		r := rand.New(rand.NewPCG(7, 7))
		for cut := range 24 {
			h.mu.Lock()
			for enough := h.steps + 20 + r.IntN(40); h.steps < enough; {
				h.moved.Wait()
			}
			// With the lock held, what the maps say is what was acknowledged before.
			crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 50, 100}[cut%3], RNG: r})
			acked, doing := maps.Clone(h.acked), maps.Clone(h.doing)
			h.mu.Unlock()
			h.pause.Lock()
			checkHistory(t, crashed, fmt.Sprintf("versioning %q, cut %d", versioning, cut), acked, doing)
			h.pause.Unlock()
		}
		close(stop)
		all.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func checkHistory(t *testing.T, disk vfs.FS, what string, acked, doing map[string]string) {
	t.Helper()
	s := open(t, disk, Options{})
	for key, value := range doing {
		if _, ok := acked[key]; !ok {
			acked[key] = "-"
		}
		_ = value
	}
	for key, want := range acked {
		got := "-"
		o, err := s.Get(t.Context(), bucketName, key, "")
		if err == nil {
			var b []byte
			b, err = io.ReadAll(o.Body)
			_ = o.Body.Close()
			got = string(b)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %q: %v", what, key, err)
		} else if also, under := doing[key]; got != want && (!under || got != also) {
			t.Errorf("%s: %q holds %.30q of %d bytes, want %.30q of %d, or what was under way", what, key, got, len(got), want, len(want))
		}
	}
	agree(t, s)
	if err := put(t, s, "after", "x"); err != nil {
		t.Errorf("%s: a put afterwards: %v", what, err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("%s: close: %v", what, err)
	}
}

// TestTornLog cuts bytes off the end of the log: what is left is a beginning of
// the history.
func TestTornLog(t *testing.T) {
	for cut := 1; cut < 30_000; cut = cut*2 + 7 {
		disk := vfs.NewCrashableMem()
		s := open(t, disk, Options{})
		const n = 20
		for i := range n {
			if err := put(t, s, fmt.Sprintf("%02d", i), strings.Repeat("x", 1000)); err != nil {
				t.Fatal(err)
			}
		}
		torn := disk.CrashClone(vfs.CrashCloneCfg{})
		truncateLog(t, torn, cut)
		s = open(t, torn, Options{})
		gone := false
		for i := range n {
			switch got := value(t, s, fmt.Sprintf("%02d", i)); {
			case got == "-":
				gone = true
			case gone || got != strings.Repeat("x", 1000):
				t.Errorf("%d bytes cut off: object %d is there with %d bytes, but not all before it", cut, i, len(got))
			}
		}
		agree(t, s)
	}
}

// truncateLog cuts bytes off the newest log that has any.
func truncateLog(t *testing.T, fs vfs.FS, cut int) {
	t.Helper()
	names, err := fs.List("data/meta")
	if err != nil {
		t.Fatal(err)
	}
	newest := ""
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			newest = max(newest, name)
		}
	}
	path := fs.PathJoin("data/meta", newest)
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if f, err = fs.Create(path, vfs.WriteCategoryUnspecified); err != nil {
		t.Fatal(err)
	}
	if _, err = f.Write(b[:max(len(b)-cut, 0)]); err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}
