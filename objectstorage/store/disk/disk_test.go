package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"minicloud.internal/objectstorage/store"
	"minicloud.internal/objectstorage/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() store.Store {
		dir := t.TempDir()
		return func() store.Store {
			s, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	})
}

func TestASecondStoreOnOneDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), dir+" is in use by another object store") {
		t.Errorf("a second open: %v, want an error that says what is in use", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Options{})
}

func TestOpenRemovesOrphans(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	if _, err := s.Stage(t.Context(), strings.NewReader("never committed")); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(s.tmp); len(left) != 1 {
		t.Fatalf("tmp holds %d files, want the upload", len(left))
	}
	if err := s.lock.release(false); err != nil {
		t.Fatal(err)
	}
	agree(t, open(t, dir, Options{}))
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"a file": file, "below a file": filepath.Join(file, "data")} {
		if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, want an error with its name", name, err)
		}
	}
}

// Damage to a stored file is found, named, and repaired by a put or a delete.
func TestDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, path string)
	}{
		{"a bit of the header flipped", func(t *testing.T, path string) { overwrite(t, path, 30, "X") }},
		{"the magic overwritten", func(t *testing.T, path string) { overwrite(t, path, 0, "X") }},
		{"a version of the future", func(t *testing.T, path string) { overwrite(t, path, 8, "\x02") }},
		{"the file cut off in the header", func(t *testing.T, path string) { truncate(t, path, 100) }},
		{"the file cut off in the body", func(t *testing.T, path string) { truncate(t, path, headerSize+2) }},
		{"the body longer than it was", func(t *testing.T, path string) { truncate(t, path, headerSize+9) }},
		{"the file empty", func(t *testing.T, path string) { truncate(t, path, 0) }},
		{"the file of another key", func(t *testing.T, path string) {
			other, _ := (&Store{objects: filepath.Dir(filepath.Dir(path))}).locate("other")
			b, err := os.ReadFile(other)
			if err == nil {
				err = os.WriteFile(path, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{})
			if err := errors.Join(put(t, s, "k", "value"), put(t, s, "other", "other")); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			path, _ := s.locate("k")
			c.damage(t, path)
			var log bytes.Buffer
			s = open(t, dir, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if s.Damaged() != 1 || s.Len() != 1 || !strings.Contains(log.String(), path) {
				t.Errorf("%d damaged, %d sound, want 1 and 1; the log: %s", s.Damaged(), s.Len(), &log)
			}
			for range 2 {
				if _, err := s.Get(t.Context(), "k"); !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("get: %v, want ErrCorrupt", err)
				}
				if err := s.Delete(t.Context(), "k", store.Condition{Match: []string{"*"}}); !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("delete under a condition: %v, want ErrCorrupt", err)
				}
				if err := put(t, s, "k", "value"); err != nil {
					t.Fatal(err)
				}
				if got := value(t, s, "k"); got != "value" {
					t.Errorf("after a put it holds %q", got)
				}
				c.damage(t, path)
			}
			if err := s.Delete(t.Context(), "k", store.Condition{}); err != nil {
				t.Fatal(err)
			}
			if got := value(t, s, "k") + value(t, s, "other"); got != "-other" {
				t.Errorf("after a delete, %q", got)
			}
		})
	}
}

func overwrite(t *testing.T, path string, at int64, b string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(b), at); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func FuzzDecodeHeader(f *testing.F) {
	for _, i := range []store.Info{
		{Key: "k"},
		{Key: "spells/3.svg", Size: 1 << 40, ETag: "5d41402abc4b2a76b9719d911017c592", Modified: time.Unix(1, 2).UTC(),
			Meta: store.Meta{ContentType: "image/svg+xml", CacheControl: "no-cache"}},
		{Key: strings.Repeat("k", store.MaxKey), Meta: store.Meta{ContentDisposition: strings.Repeat("m", store.MaxMeta)}},
	} {
		h, err := encodeHeader(i)
		if err != nil {
			f.Fatal(err)
		}
		n := binary.LittleEndian.Uint32(h[12:])
		f.Add(h[fieldsStart:fieldsStart+n], true)
		f.Add(h, false)
	}
	f.Add([]byte{}, false)
	f.Add([]byte{0x80}, true)
	f.Fuzz(func(t *testing.T, b []byte, fields bool) {
		if fields && len(b) <= headerSize-fieldsStart {
			// A fuzzer finds no checksum: give it the right one.
			h := make([]byte, headerSize)
			copy(h, magic)
			binary.LittleEndian.PutUint32(h[8:], version)
			binary.LittleEndian.PutUint32(h[12:], uint32(len(b)))
			copy(h[fieldsStart:], b)
			binary.LittleEndian.PutUint32(h[16:], checksum(h, b))
			b = h
		}
		i, err := decodeHeader(b)
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("%v, want ErrCorrupt", err)
			}
			return
		}
		if err := store.CheckKey(i.Key); err != nil || i.Size < 0 {
			t.Fatalf("decoded %+v: %v", i, err)
		}
		h, err := encodeHeader(i)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeHeader(h); err != nil || again != i {
			t.Fatalf("%+v became %+v, %v", i, again, err)
		}
	})
}
