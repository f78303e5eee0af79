package disk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"minicloud.internal/objectstorage/store"
)

// faultFS asks fault before every operation on a file system, and fails with
// what it returns.
type faultFS struct {
	OS
	mu    sync.Mutex
	fault func(op, path string) error
	ops   []string // "op path", of all that were asked
}

func (f *faultFS) ask(op, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops = append(f.ops, op+" "+path)
	if f.fault == nil {
		return nil
	}
	return f.fault(op, path)
}

// set changes the fault and returns the operations since the last time.
func (f *faultFS) set(fault func(op, path string) error) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	ops := f.ops
	f.fault, f.ops = fault, nil
	return ops
}

func (f *faultFS) Create(path string) (File, error) {
	if err := f.ask("create", path); err != nil {
		return nil, err
	}
	file, err := f.OS.Create(path)
	if err != nil {
		return nil, err
	}
	return &faultFile{file, f, path}, nil
}

func (f *faultFS) Open(path string) (*os.File, error) {
	if err := f.ask("open", path); err != nil {
		return nil, err
	}
	return f.OS.Open(path)
}

func (f *faultFS) Rename(from, to string) error {
	if err := f.ask("rename", to); err != nil {
		return err
	}
	return f.OS.Rename(from, to)
}

func (f *faultFS) Remove(path string) error {
	if err := f.ask("remove", path); err != nil {
		return err
	}
	return f.OS.Remove(path)
}

func (f *faultFS) SyncDir(path string) error {
	if err := f.ask("syncdir", path); err != nil {
		return err
	}
	return f.OS.SyncDir(path)
}

type faultFile struct {
	File
	fs   *faultFS
	path string
}

func (f *faultFile) Write(p []byte) (int, error) {
	if err := f.fs.ask("write", f.path); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.ask("writeat", f.path); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], off)
		return n, err
	}
	return f.File.WriteAt(p, off)
}

func (f *faultFile) Sync() error {
	if err := f.fs.ask("sync", f.path); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultFile) Close() error {
	err := f.fs.ask("close", f.path)
	return errors.Join(f.File.Close(), err)
}

// nth is a fault of the nth operation of this name; the first is 1.
type nth struct {
	op  string
	n   int
	err error
}

func (f nth) fault() func(op, path string) error {
	return func(op, path string) error {
		if op == f.op {
			if f.n--; f.n == 0 {
				return f.err
			}
		}
		return nil
	}
}

func put(t *testing.T, s *Store, key, body string) error {
	t.Helper()
	_, _, err := store.Put(t.Context(), s, key, strings.NewReader(body), store.Meta{}, store.Condition{})
	return err
}

// value reads a key; "-" means that it is absent.
func value(t *testing.T, s *Store, key string) string {
	t.Helper()
	o, err := s.Get(t.Context(), key)
	if errors.Is(err, store.ErrNotFound) {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	defer o.Body.Close()
	b, err := io.ReadAll(o.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// agree checks that the index says of every key what the disk does, and that
// nothing is left in tmp.
func agree(t *testing.T, s *Store, keys ...string) {
	t.Helper()
	page, err := s.List(t.Context(), store.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, i := range page.Objects {
		listed[i.Key] = i.ETag
	}
	for _, key := range keys {
		info, err := s.Head(t.Context(), key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		if listed[key] != info.ETag {
			t.Errorf("%q has the ETag %q in the index and %q on disk", key, listed[key], info.ETag)
		}
	}
	if left, err := os.ReadDir(s.tmp); err != nil || len(left) > 0 {
		t.Errorf("tmp holds %d files, %v, want none", len(left), err)
	}
}

func TestFaults(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 3*bufferSize/16)
	for _, c := range []struct {
		name  string
		fault nth
		want  error
		// stops: the store takes no write from then on
		stops bool
		// replaced: what the key that had an object holds afterwards
		replaced string
	}{
		{"a disk that is full at once", nth{"create", 1, syscall.ENOSPC}, store.ErrNoSpace, false, "old"},
		{"a disk that fills midway", nth{"write", 2, syscall.ENOSPC}, store.ErrNoSpace, false, "old"},
		{"a quota that ends midway", nth{"write", 3, syscall.EDQUOT}, store.ErrNoSpace, false, "old"},
		{"a disk that fills under the header", nth{"writeat", 1, syscall.ENOSPC}, store.ErrNoSpace, false, "old"},
		{"a disk that shows at the sync that it is full", nth{"sync", 1, syscall.ENOSPC}, store.ErrNoSpace, false, "old"},
		{"a directory without room", nth{"rename", 1, syscall.ENOSPC}, store.ErrNoSpace, false, "old"},
		{"a short write", nth{"write", 2, io.ErrShortWrite}, io.ErrShortWrite, false, "old"},
		{"a write error", nth{"write", 1, syscall.EIO}, syscall.EIO, false, "old"},
		{"a close error", nth{"close", 1, syscall.EIO}, syscall.EIO, false, "old"},
		{"a disk mounted read-only", nth{"create", 1, syscall.EROFS}, store.ErrReadOnly, false, "old"},
		{"too many open files", nth{"create", 1, syscall.EMFILE}, store.ErrBusy, false, "old"},
		{"a sync of the file that fails", nth{"sync", 1, syscall.EIO}, store.ErrStopped, true, "old"},
		{"a sync of the directory that fails", nth{"syncdir", 1, syscall.EIO}, store.ErrStopped, true, long},
	} {
		for _, key := range []string{"new", "replaced"} {
			t.Run(c.name+" under a "+key+" key", func(t *testing.T) {
				fs := &faultFS{}
				dir := t.TempDir()
				s := open(t, dir, Options{FS: fs})
				if err := errors.Join(put(t, s, "replaced", "old"), put(t, s, "other", "other")); err != nil {
					t.Fatal(err)
				}
				want := map[string]string{"new": "-", "replaced": c.replaced}[key]
				fs.set(c.fault.fault())
				if err := put(t, s, key, long); !errors.Is(err, c.want) {
					t.Errorf("put: %v, want %v", err, c.want)
				}
				fs.set(nil)
				if got := value(t, s, key); got != want {
					t.Errorf("afterwards the key holds %.10q…, want %.10q…", got, want)
				}
				agree(t, s, "new", "replaced", "other")
				after, removed := put(t, s, "after", "x"), s.Delete(t.Context(), "other", store.Condition{})
				if c.stops {
					if !errors.Is(after, store.ErrStopped) || !errors.Is(removed, store.ErrStopped) {
						t.Errorf("a later put: %v, delete: %v, want ErrStopped", after, removed)
					}
					if got := value(t, s, "other"); got != "other" {
						t.Errorf("another key holds %q: reads shall go on", got)
					}
				} else if after != nil || removed != nil {
					t.Errorf("a later put: %v, delete: %v, want success", after, removed)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, dir, Options{})
				if got := value(t, s, key); got != want {
					t.Errorf("after a restart the key holds %.10q…, want %.10q…", got, want)
				}
				if err := put(t, s, "after", "y"); err != nil {
					t.Errorf("after a restart: %v", err)
				}
			})
		}
	}
}

func TestFaultsOfDelete(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault nth
		want  error
		left  string
	}{
		{"an object that cannot be removed stays", nth{"remove", 1, syscall.EROFS}, store.ErrReadOnly, "x"},
		{"a removal that cannot be synced is not acknowledged and stops writing", nth{"syncdir", 1, syscall.EIO}, store.ErrStopped, "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := &faultFS{}
			s := open(t, t.TempDir(), Options{FS: fs})
			if err := put(t, s, "k", "x"); err != nil {
				t.Fatal(err)
			}
			fs.set(c.fault.fault())
			if err := s.Delete(t.Context(), "k", store.Condition{}); !errors.Is(err, c.want) {
				t.Errorf("delete: %v, want %v", err, c.want)
			}
			if got := value(t, s, "k"); got != c.left {
				t.Errorf("the key holds %q, want %q", got, c.left)
			}
			agree(t, s, "k")
			if err := put(t, s, "l", "x"); errors.Is(err, store.ErrStopped) != errors.Is(c.want, store.ErrStopped) {
				t.Errorf("a later put: %v", err)
			}
		})
	}
}

func TestAPutSyncsBeforeItAcknowledges(t *testing.T) {
	fs := &faultFS{}
	s := open(t, t.TempDir(), Options{FS: fs})
	fs.set(nil)
	body := io.LimitReader(zeros{}, syncEvery+1)
	if _, _, err := store.Put(t.Context(), s, "k", body, store.Meta{}, store.Condition{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, op := range fs.set(nil) {
		verb, _, _ := strings.Cut(op, " ")
		if len(got) == 0 || got[len(got)-1] != verb {
			got = append(got, verb)
		}
	}
	want := "create write sync write writeat sync close open rename syncdir"
	if strings.Join(got, " ") != want {
		t.Errorf("a put of more than %d bytes did %v, want %v", syncEvery, got, want)
	}
}

func TestOpenSyncsWhatACrashLeftUnsynced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "data")
	shardSyncs := func(crash bool) (n int) {
		fs := &faultFS{}
		s, err := Open(dir, Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range fs.set(nil) {
			if strings.HasPrefix(op, "syncdir "+s.objects+"/") {
				n++
			}
		}
		if err := s.lock.release(!crash); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, c := range []struct {
		name  string
		crash bool
		want  int
	}{
		{"the first start has nothing to sync", false, 0},
		{"after a clean stop nothing is synced", true, 0},
		{"after a crash every directory is synced", false, shards},
		{"and not once more after the clean stop that follows", false, 0},
	} {
		if got := shardSyncs(c.crash); got != c.want {
			t.Errorf("%s: %d directories synced, want %d", c.name, got, c.want)
		}
	}
}

func TestOpenMakesItsDirectoriesDurable(t *testing.T) {
	root := t.TempDir()
	fs := &faultFS{}
	s := open(t, filepath.Join(root, "deep", "data"), Options{FS: fs})
	ops := strings.Join(fs.set(nil), "\n") + "\n"
	for _, dir := range []string{root, filepath.Join(root, "deep"), filepath.Join(root, "deep", "data"), s.objects} {
		if !strings.Contains(ops, "syncdir "+dir+"\n") {
			t.Errorf("%s was not synced", dir)
		}
	}
	fs = &faultFS{fault: nth{"syncdir", 3, syscall.EIO}.fault()}
	if _, err := Open(filepath.Join(root, "other"), Options{FS: fs}); !errors.Is(err, syscall.EIO) {
		t.Errorf("a sync that fails while opening: %v", err)
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestAKeyIsLockedWhileItChanges(t *testing.T) {
	fs := &faultFS{}
	s := open(t, t.TempDir(), Options{FS: fs})
	path, lock := s.locate("k")
	seen := map[string]bool{}
	fs.set(func(op, at string) error {
		// Nobody else may look at the key between the decision on a condition
		// and the directory's sync.
		if change := op == "rename" || op == "remove" && at == path || op == "syncdir"; change || op == "open" {
			seen[op] = true
			if lock.TryLock() {
				lock.Unlock()
				t.Errorf("at %s a writer could come between", op)
			}
			if change && lock.TryRLock() {
				lock.RUnlock()
				t.Errorf("at %s a reader could see what is not durable", op)
			}
		}
		return nil
	})
	if _, _, err := store.Put(t.Context(), s, "k", strings.NewReader("x"), store.Meta{}, store.Condition{Absent: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "k", store.Condition{}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 4 {
		t.Errorf("saw only %v", seen)
	}
}
