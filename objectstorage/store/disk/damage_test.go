package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"minicloud.internal/kit/kittest"
	"minicloud.internal/objectstorage/store"
)

// rewrite changes the content of a file.
func rewrite(t *testing.T, fs vfs.FS, path string, change func([]byte) []byte) {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if f, err = fs.Create(path, vfs.WriteCategoryUnspecified); err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(change(b))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[at] ^= 1
		return b
	}
}

// setRow overwrites a row behind the store's back.
func setRow(t *testing.T, s *Store, row []byte, change func([]byte) []byte) {
	t.Helper()
	value, ok, err := s.engine.Get(row)
	if err != nil || !ok {
		t.Fatalf("the row %q: %v, %v", row, ok, err)
	}
	if err := s.engine.DB().Set(row, change(value), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	s.recent.drop(row)
}

// recordOf reads the record of a key.
func recordOf(t *testing.T, s *Store, key string) (row []byte, r *record) {
	t.Helper()
	b, err := s.find(bucketName)
	if err != nil {
		t.Fatal(err)
	}
	row = latestRow(b.id, key)
	if r, err = s.load(row); err != nil || r == nil {
		t.Fatal(r, err)
	}
	return row, r
}

// Damage is found by a read or a scrub, named, and healed by a put or a delete.
func TestDamage(t *testing.T) {
	large := random(3<<20 + 5)
	for _, c := range []struct {
		name   string
		body   string
		parts  bool
		damage func(t *testing.T, s *Store, fs vfs.FS, row []byte, r *record)
		// scrub: only a scrub finds it; a read of the file gives what is there
		scrub bool
	}{
		{"a bit of an inline body", "inline", false, func(t *testing.T, s *Store, _ vfs.FS, _ []byte, r *record) {
			setRow(t, s, idRow(rowBody, r.body.id), flip(6))
		}, false},
		{"an inline body cut off", "inline", false, func(t *testing.T, s *Store, _ vfs.FS, _ []byte, r *record) {
			setRow(t, s, idRow(rowBody, r.body.id), func(b []byte) []byte { return b[:len(b)-1] })
		}, false},
		{"an inline body lost", "inline", false, func(t *testing.T, s *Store, _ vfs.FS, _ []byte, r *record) {
			if err := s.engine.DB().Delete(idRow(rowBody, r.body.id), pebble.Sync); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"a bit of the record", "inline", false, func(t *testing.T, s *Store, _ vfs.FS, row []byte, _ *record) { setRow(t, s, row, flip(3)) }, false},
		{"a record of a future format", large, false, func(t *testing.T, s *Store, _ vfs.FS, row []byte, _ *record) {
			setRow(t, s, row, func(b []byte) []byte { return seal(row, append([]byte{9}, b[1:len(b)-4]...)) })
		}, false},
		{"a bit of a file", large, false, func(t *testing.T, s *Store, fs vfs.FS, _ []byte, r *record) {
			rewrite(t, fs, s.blobPath(r.body.id), flip(2<<20))
		}, true},
		{"the last bit of a file", large, false, func(t *testing.T, s *Store, fs vfs.FS, _ []byte, r *record) {
			rewrite(t, fs, s.blobPath(r.body.id), flip(len(large)-1))
		}, true},
		{"a file cut off", large, false, func(t *testing.T, s *Store, fs vfs.FS, _ []byte, r *record) {
			rewrite(t, fs, s.blobPath(r.body.id), func(b []byte) []byte { return b[:len(b)-1] })
		}, false},
		{"a file lost", large, false, func(t *testing.T, s *Store, fs vfs.FS, _ []byte, r *record) {
			if err := fs.Remove(s.blobPath(r.body.id)); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"the checksums of a file", large, false, func(t *testing.T, s *Store, _ vfs.FS, _ []byte, r *record) {
			setRow(t, s, idRow(rowSums, r.body.id), flip(1))
		}, true},
		{"a bit of a part", large, true, func(t *testing.T, s *Store, fs vfs.FS, _ []byte, r *record) {
			m, err := s.manifest(r.body.id)
			if err != nil {
				t.Fatal(err)
			}
			rewrite(t, fs, s.blobPath(m[1].body.id), flip(7))
		}, true},
		{"the list of the parts", large, true, func(t *testing.T, s *Store, _ vfs.FS, _ []byte, r *record) {
			setRow(t, s, idRow(rowManifest, r.body.id), flip(7))
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			fs := vfs.NewMem()
			s := open(t, fs, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			make := func() error {
				if c.parts {
					return putParts(t, s, "k", c.body, c.body)
				}
				return put(t, s, "k", c.body)
			}
			if err := errors.Join(make(), put(t, s, "other", "other")); err != nil {
				t.Fatal(err)
			}
			for round := range 2 {
				row, r := recordOf(t, s, "k")
				c.damage(t, s, fs, row, r)
				o, err := s.Get(t.Context(), bucketName, "k", "")
				if !c.scrub && !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("get: %v, want ErrCorrupt", err)
				}
				if err == nil {
					_ = o.Body.Close()
				}
				if err := s.Scrub(t.Context()); err != nil {
					t.Errorf("scrub: %v", err)
				}
				if st := s.Stats(); st.Damaged != 1 || st.Checked < 2 || !strings.Contains(log.String(), "key=k") {
					t.Errorf("%+v, want one damaged; the log: %s", st, &log)
				}
				page, err := s.List(t.Context(), bucketName, store.Query{Limit: 10})
				if err != nil || len(page.Objects) != 2 {
					t.Errorf("the listing is %+v, %v", page, err)
				}
				if round == 0 {
					if err := make(); err != nil {
						t.Errorf("a put over it: %v", err)
					}
					if err := s.Scrub(t.Context()); err != nil || s.Stats().Damaged != 0 {
						t.Errorf("after a put: %+v, %v", s.Stats(), err)
					}
				}
			}
			if err := remove(t, s, "k"); err != nil {
				t.Errorf("a delete: %v", err)
			}
			if got := value(t, s, "k") + value(t, s, "other"); got != "-other" {
				t.Errorf("after a delete: %q", got)
			}
			if st := s.Stats(); st.Damaged != 0 {
				t.Errorf("after a delete: %+v", st)
			}
		})
	}
}

func TestADamagedRecordAmongVersions(t *testing.T) {
	s := open(t, vfs.NewMem(), Options{})
	if err := put(t, s, "k", "null"); err != nil {
		t.Fatal(err)
	}
	if err := s.UpdateBucket(t.Context(), bucketName, func(b *store.Bucket) error { b.Versioning = store.Enabled; return nil }); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := put(t, s, "k", fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
	}
	row, _ := recordOf(t, s, "k")
	setRow(t, s, row, flip(3))
	if _, _, err := store.Put(t.Context(), s, bucketName, "k", strings.NewReader("x"), store.Attributes{}, store.Condition{Absent: true}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a put under a condition: %v, want ErrCorrupt", err)
	}
	if err := put(t, s, "k", "3"); err != nil {
		t.Fatal(err)
	}
	versions := func() (bodies []string) {
		p, err := s.ListVersions(t.Context(), bucketName, store.VersionQuery{Query: store.Query{Limit: 10}})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range p.Versions {
			o, err := s.Get(t.Context(), bucketName, "k", i.Version)
			if err != nil {
				bodies = append(bodies, err.Error())
				continue
			}
			b, _ := io.ReadAll(o.Body)
			bodies = append(bodies, string(b))
		}
		return bodies
	}
	if got := versions(); !slices.Equal(got, []string{"3", "1", "0", "null"}) {
		t.Errorf("after a put over the damaged one the versions are %q", got)
	}
	row, _ = recordOf(t, s, "k")
	setRow(t, s, row, flip(3))
	if _, err := s.Delete(t.Context(), bucketName, "k", store.Null, store.Condition{}); err != nil {
		t.Fatal(err)
	}
	if got := versions(); !slices.Equal(got, []string{"1", "0", "null"}) {
		t.Errorf("after the removal of the damaged one the versions are %q", got)
	}
	if got := value(t, s, "k"); got != "1" {
		t.Errorf("it holds %q", got)
	}
	row, _ = recordOf(t, s, "k")
	_, older := recordOf(t, s, "k")
	p, err := s.ListVersions(t.Context(), bucketName, store.VersionQuery{Query: store.Query{Limit: 10}})
	if err != nil {
		t.Fatal(err)
	}
	setRow(t, s, row, flip(3))
	if d, err := s.Delete(t.Context(), bucketName, "k", p.Versions[1].Version, store.Condition{}); err != nil || d.Version != p.Versions[1].Version {
		t.Errorf("delete of an older version behind a damaged one: %+v, %v", d, err)
	}
	if _, err := s.Get(t.Context(), bucketName, "k", older.formatVersion()); !errors.Is(err, store.ErrNoVersion) && !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("the damaged one by its version: %v", err)
	}
}

// A flipped bit in a file of the database is found by the database's own
// checksum, concerns only what is in that block, and does not stop the store.
func TestDamageInTheDatabase(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs, Options{})
	for n := range 50 {
		if err := put(t, s, fmt.Sprintf("%02d", n), random(8000+n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.engine.DB().Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("data/meta")
	if err != nil {
		t.Fatal(err)
	}
	flipped := false
	for _, name := range names {
		if strings.HasSuffix(name, ".blob") {
			rewrite(t, fs, "data/meta/"+name, func(b []byte) []byte { return flip(len(b) / 2)(b) })
			flipped = true
		}
	}
	if !flipped {
		t.Fatalf("bodies are in none of %q", names)
	}
	s = open(t, fs, Options{})
	if err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := s.Stats().Damaged
	if n < 1 || n > 10 {
		t.Errorf("%d damaged objects, want those of one block", n)
	}
	bad := 0
	for n := range 50 {
		key := fmt.Sprintf("%02d", n)
		o, err := s.Get(t.Context(), bucketName, key, "")
		if errors.Is(err, store.ErrCorrupt) {
			bad++
			if err := put(t, s, key, "healed"); err != nil {
				t.Error(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(o.Body); err != nil || string(b) != random(8000+n) {
			t.Errorf("%s holds other bytes, %v", key, err)
		}
	}
	if int64(bad) != n || s.Stats().Damaged != 0 {
		t.Errorf("%d objects could not be read, and %d are damaged after all were replaced; a scrub found %d", bad, s.Stats().Damaged, n)
	}
}

func TestOrphansAreCollected(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := open(t, disk, Options{})
	if err := put(t, s, "kept", random(100_000)); err != nil {
		t.Fatal(err)
	}
	u, err := s.Stage(t.Context(), strings.NewReader(random(200_000)), -1)
	if err != nil {
		t.Fatal(err)
	}
	crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	u.Discard()
	agree(t, s)
	s = open(t, crashed, Options{})
	if n := len(files(t, s)); n != 2 {
		t.Fatalf("there are %d files, want the one kept and the orphan", n)
	}
	u, err = s.Stage(t.Context(), strings.NewReader(random(300_000)), -1) // is no orphan
	if err != nil {
		t.Fatal(err)
	}
	s.removeOrphans(t.Context())
	if n := len(files(t, s)); n != 2 {
		t.Errorf("there are %d files, want the one kept and the upload under way", n)
	}
	if _, _, err := u.Commit(t.Context(), bucketName, "k", store.Attributes{}, store.Condition{}); err != nil {
		t.Error(err)
	}
	agree(t, s)
}

func TestRunCountsAndCollects(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs, Options{})
	for n := range 20 {
		if err := put(t, s, fmt.Sprint(n), strings.Repeat("x", n*10_000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, fs, Options{ScrubInterval: time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	until := func(what string, holds func(Stats) bool) {
		t.Helper()
		kittest.Eventually(t, what, func() bool { return holds(s.Stats()) })
	}
	until("counted", func(st Stats) bool { return st.Counted && st.Objects == 20 && st.Bytes == 190*10_000 })
	for n := range 10 {
		if err := remove(t, s, fmt.Sprint(2*n)); err != nil {
			t.Fatal(err)
		}
	}
	until("after ten deletions", func(st Stats) bool { return st.Objects == 10 && st.Bytes == 100*10_000 })
	until("scrubbed", func(st Stats) bool { return st.Scrubs > 1 && st.Checked > 20 && st.Scrubbed > 0 })
	until("files collected", func(Stats) bool { return len(files(t, s)) == 7 }) // of 7, 9, … 19
	stop()
	all.Wait()
	agree(t, s)
}

// A body of parts that is being read keeps its parts from the collector.
func TestAnOpenBodyPinsItsParts(t *testing.T) {
	s := open(t, vfs.NewMem(), Options{})
	bodies := []string{random(200_000), random(1000), random(300_000)}
	if err := putParts(t, s, "k", bodies...); err != nil {
		t.Fatal(err)
	}
	o, err := s.Get(t.Context(), bucketName, "k", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := remove(t, s, "k"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.collectOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := io.ReadAll(o.Body); err != nil || string(b) != strings.Join(bodies, "") {
		t.Errorf("read %d bytes, %v", len(b), err)
	}
	if err := o.Body.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.collectOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(files(t, s)); n != 0 {
		t.Errorf("%d files are left", n)
	}
	agree(t, s)
}

// Numbers grow although the wall clock was ahead before.
func TestTheClockNeverGoesBack(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := open(t, disk, Options{})
	s.clock.last = uint64(time.Now().Add(time.Hour).UnixNano())
	if err := put(t, s, "k", "x"); err != nil {
		t.Fatal(err)
	}
	_, before := recordOf(t, s, "k")
	s = open(t, disk.CrashClone(vfs.CrashCloneCfg{}), Options{})
	if err := put(t, s, "k", "y"); err != nil {
		t.Fatal(err)
	}
	_, r := recordOf(t, s, "k")
	if r.seq <= before.seq || r.seq > before.seq+uint64(2*clockAhead) {
		t.Errorf("%d after %d, want a little more", r.seq, before.seq)
	}
}
