package disk

import (
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"minicloud.internal/objectstorage/store"
)

const bucketName = "bucket"

// open opens a store on a file system in memory, or the one given, and makes the
// bucket where it is not there.
func open(t testing.TB, fs vfs.FS, o Options) *Store {
	t.Helper()
	o.FS, o.ScrubRate = fs, -1
	s, err := Open("data", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.CreateBucket(t.Context(), store.Bucket{Name: bucketName}); err != nil && !errors.Is(err, store.ErrBucketExists) {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *Store, key, body string) error {
	t.Helper()
	_, _, err := store.Put(t.Context(), s, bucketName, key, strings.NewReader(body), store.Attributes{}, store.Condition{})
	return err
}

func remove(t testing.TB, s *Store, key string) error {
	t.Helper()
	_, err := s.Delete(t.Context(), bucketName, key, "", store.Condition{})
	return err
}

// value reads a key; "-" means that it is absent.
func value(t testing.TB, s *Store, key string) string {
	t.Helper()
	o, err := s.Get(t.Context(), bucketName, key, "")
	if errors.Is(err, store.ErrNotFound) {
		return "-"
	}
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	defer func() { _ = o.Body.Close() }()
	b, err := io.ReadAll(o.Body)
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	return string(b)
}

// random returns n bytes that no compression makes less.
func random(n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b)
	return string(b)
}

// files returns the identifiers of all files below blobs.
func files(t testing.TB, s *Store) (ids []uint64) {
	t.Helper()
	for n := range blobDirs {
		names, err := s.fs.List(s.dirPath(n))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			id, ok := parseID(name)
			if !ok {
				t.Errorf("there is a file %q", name)
			}
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// referenced returns the identifiers of all files that rows refer to.
func referenced(t testing.TB, s *Store) (ids []uint64) {
	t.Helper()
	add := func(l location) {
		if l.kind == bodyFile {
			ids = append(ids, l.id)
		}
	}
	for _, kind := range []byte{rowLatest, rowOlder, rowPart} {
		rows, err := s.rowsFrom([]byte{kind}, []byte{kind + 1}, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if kind == rowPart {
				p, err := decodePart(r.key, r.value)
				if err != nil {
					t.Fatal(err)
				}
				add(p.body)
				continue
			}
			rec, err := decodeRecord(r.key, r.value, true)
			if err != nil {
				t.Fatal(err)
			}
			add(rec.body)
			if rec.body.kind == bodyManifest {
				parts, err := s.manifest(rec.body.id)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range parts {
					add(p.body)
				}
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// agree lets the background work run and checks that listings say of every key
// what Head does, and that files and rows belong to each other.
func agree(t testing.TB, s *Store) {
	t.Helper()
	s.removeOrphans(t.Context())
	for again := true; again; {
		var err error
		if again, err = s.collectOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	page, err := s.List(t.Context(), bucketName, store.Query{Limit: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range page.Objects {
		h, err := s.Head(t.Context(), bucketName, i.Key, "")
		if err != nil || h.ETag != i.ETag || h.Size != i.Size {
			t.Errorf("%q is listed as %+v and found as %+v, %v", i.Key, i, h, err)
		}
	}
	if have, want := files(t, s), referenced(t, s); !slices.Equal(have, want) {
		t.Errorf("there are %d files, want the %d that rows refer to", len(have), len(want))
	}
	for _, kind := range []byte{rowBody, rowSums} {
		rows, err := s.rowsFrom([]byte{kind}, []byte{kind + 1}, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if kind == rowSums && len(rows) != len(referenced(t, s)) {
			t.Errorf("%d rows of checksums, want %d", len(rows), len(referenced(t, s)))
		}
	}
	if err := s.Scrub(t.Context()); err != nil || s.Stats().Damaged > 0 {
		t.Errorf("a scrub found %d damaged objects, %v", s.Stats().Damaged, err)
	}
}

// A fault fails an operation on files of some kind.
type fault struct {
	ops  []errorfs.OpKind
	path string // is in the path
	err  error
}

func (f fault) of(op errorfs.Op) bool {
	return slices.Contains(f.ops, op.Kind) && strings.Contains(op.Path, f.path)
}

var syncs = []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo}

// faulty is a file system in memory with a fault that can be switched on.
func faulty() (fs vfs.FS, inner *vfs.MemFS, set func(*fault)) {
	var now atomic.Pointer[fault]
	inner = vfs.NewMem()
	return errorfs.Wrap(inner, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if f := now.Load(); f != nil && f.of(op) {
			return f.err
		}
		return nil
	})), inner, now.Store
}

func TestFaults(t *testing.T) {
	small, large := "small", random(3*bufferSize)
	create, write := []errorfs.OpKind{errorfs.OpCreate}, []errorfs.OpKind{errorfs.OpFileWrite}
	for _, c := range []struct {
		name  string
		fault fault
		body  string
		want  error
		stops bool // the store takes no write from then on
	}{
		{"a disk that is full at once", fault{create, "blobs", syscall.ENOSPC}, large, store.ErrNoSpace, false},
		{"a disk that fills midway", fault{write, "blobs", syscall.ENOSPC}, large, store.ErrNoSpace, false},
		{"a quota that ends midway", fault{write, "blobs", syscall.EDQUOT}, large, store.ErrNoSpace, false},
		{"a disk that shows at the sync that it is full", fault{syncs, "blobs", syscall.ENOSPC}, large, store.ErrNoSpace, false},
		{"a write error", fault{write, "blobs", syscall.EIO}, large, syscall.EIO, false},
		{"a disk mounted read-only", fault{create, "blobs", syscall.EROFS}, large, store.ErrReadOnly, false},
		{"too many open files", fault{create, "blobs", syscall.EMFILE}, large, store.ErrBusy, false},
		{"too many open files in the system", fault{create, "blobs", syscall.ENFILE}, large, store.ErrBusy, false},
		{"a sync of the file that fails", fault{syncs, "blobs", syscall.EIO}, large, store.ErrStopped, true},
		{"a directory that cannot be opened for its sync", fault{[]errorfs.OpKind{errorfs.OpOpenDir}, "blobs", syscall.EIO}, large, store.ErrStopped, true},
		{"a sync of the log that fails, with a file", fault{syncs, ".log", syscall.EIO}, large, store.ErrStopped, true},
		{"a sync of the log that fails", fault{syncs, ".log", syscall.EIO}, small, store.ErrStopped, true},
		{"a write of the log that fails", fault{write, ".log", syscall.EIO}, small, store.ErrStopped, true},
		{"a log on a disk that became read-only", fault{write, ".log", syscall.EROFS}, small, store.ErrStopped, true},
	} {
		for _, key := range []string{"new", "replaced"} {
			t.Run(c.name+" under a "+key+" key", func(t *testing.T) {
				fs, inner, set := faulty()
				failed := 0
				s := open(t, fs, Options{OnFail: func(error) { failed++ }})
				old := random(100_000)
				if err := errors.Join(put(t, s, "replaced", old), put(t, s, "other", "other")); err != nil {
					t.Fatal(err)
				}
				want := map[string]string{"new": "-", "replaced": old}[key]
				set(&c.fault)
				if err := put(t, s, key, c.body); !errors.Is(err, c.want) {
					t.Errorf("put: %v, want %v", err, c.want)
				}
				set(nil)
				if got := value(t, s, "other"); got != "other" {
					t.Errorf("another key holds %q: reads shall go on", got)
				}
				if page, err := s.List(t.Context(), bucketName, store.Query{Limit: 10}); err != nil || len(page.Objects) < 2 {
					t.Errorf("the listing is %+v, %v: reads shall go on", page, err)
				}
				after, removed := put(t, s, "after", "x"), remove(t, s, "other")
				if c.stops {
					if !errors.Is(after, store.ErrStopped) || !errors.Is(removed, store.ErrStopped) || failed != 1 {
						t.Errorf("a later put: %v, delete: %v, want ErrStopped; %d calls of OnFail", after, removed, failed)
					}
					_, err := s.Head(t.Context(), bucketName, key, "")
					if strings.Contains(c.fault.path, "log") && !errors.Is(err, store.ErrStopped) {
						t.Errorf("head of the key in doubt: %v, want ErrStopped", err)
					}
				} else {
					if after != nil || removed != nil || failed != 0 {
						t.Errorf("a later put: %v, delete: %v, want success; %d calls of OnFail", after, removed, failed)
					}
					if got := value(t, s, key); got != want {
						t.Errorf("afterwards the key holds %d bytes, want %d", len(got), len(want))
					}
					agree(t, s)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, inner, Options{})
				if got := value(t, s, key); got != want && (!c.stops || got != c.body) {
					t.Errorf("after a restart the key holds %d bytes, want %d", len(got), len(want))
				}
				if err := put(t, s, "after", "y"); err != nil {
					t.Errorf("after a restart: %v", err)
				}
				agree(t, s)
			})
		}
	}
}

// A shortFS writes half of what it is given to the files of bodies, and says so.
type shortFS struct{ vfs.FS }

type shortFile struct{ vfs.File }

func (f shortFile) Write(p []byte) (int, error) { return f.File.Write(p[:len(p)/2]) }

func (s shortFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	if err == nil && strings.Contains(name, "blobs") {
		f = shortFile{f}
	}
	return f, err
}

func TestAShortWriteIsAnError(t *testing.T) {
	s := open(t, shortFS{vfs.NewMem()}, Options{})
	if err := put(t, s, "k", random(1<<20)); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("put: %v", err)
	}
	agree(t, s)
}

func TestReadsWithoutDescriptors(t *testing.T) {
	fs, _, set := faulty()
	s := open(t, fs, Options{})
	if err := put(t, s, "k", random(100_000)); err != nil {
		t.Fatal(err)
	}
	set(&fault{[]errorfs.OpKind{errorfs.OpOpen}, "blobs", syscall.EMFILE})
	if _, err := s.Get(t.Context(), bucketName, "k", ""); !errors.Is(err, store.ErrBusy) {
		t.Errorf("get: %v, want ErrBusy", err)
	}
	set(nil)
	if got := value(t, s, "k"); got != random(100_000) {
		t.Errorf("afterwards it holds %d bytes", len(got))
	}
}

// A usageFS says how much space is free.
type usageFS struct {
	vfs.FS
	free atomic.Uint64
}

func (u *usageFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: u.free.Load()}, nil
}

func TestALowDiskRefusesWhatNeedsSpace(t *testing.T) {
	u := &usageFS{FS: vfs.NewMem()}
	u.free.Store(1 << 30)
	s := open(t, u, Options{})
	if err := errors.Join(put(t, s, "a", "1"), put(t, s, "b", random(100_000))); err != nil {
		t.Fatal(err)
	}
	u.free.Store(1 << 20)
	if err := put(t, s, "a", "2"); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("put: %v, want ErrNoSpace", err)
	}
	if _, err := s.CreateMultipart(t.Context(), bucketName, store.Multipart{Key: "k"}); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("an upload in parts: %v, want ErrNoSpace", err)
	}
	if err := remove(t, s, "b"); err != nil {
		t.Errorf("delete, which makes space: %v", err)
	}
	if got := value(t, s, "a"); got != "1" {
		t.Errorf("it holds %q", got)
	}
	u.free.Store(1 << 30)
	if err := put(t, s, "a", "2"); err != nil {
		t.Errorf("with space again: %v", err)
	}
	body := &hungry{left: 10 << 20, at: 5 << 20, then: func() { u.free.Store(1 << 20) }}
	if _, err := s.Stage(t.Context(), body, -1); !errors.Is(err, store.ErrNoSpace) || body.left == 0 {
		t.Errorf("a large body while space runs out: %v, %d bytes left unread", err, body.left)
	}
	agree(t, s)
}

// A hungry body calls then midway.
type hungry struct {
	left, at int
	then     func()
}

func (h *hungry) Read(p []byte) (int, error) {
	if h.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(p), h.left)
	if h.left -= n; h.left < h.at && h.then != nil {
		h.then()
		h.then = nil
	}
	return n, nil
}

// A fullFS has no space for new bytes of the log while it is full, but for what
// the removal of the reserve gives back.
func TestAFullDiskUnderTheLogUsesTheReserve(t *testing.T) {
	inner := vfs.NewMem()
	var full atomic.Bool
	fs := errorfs.Wrap(inner, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !full.Load() {
			return nil
		}
		_, err := inner.Stat(filepath.Join("data", "meta", "RESERVE"))
		reserved := err == nil
		switch {
		case op.Kind == errorfs.OpCreate && strings.Contains(op.Path, "RESERVE"),
			op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, ".log") && reserved:
			return syscall.ENOSPC
		}
		return nil
	}))
	s := open(t, fs, Options{})
	full.Store(true)
	if err := put(t, s, "under way", "x"); err != nil {
		t.Errorf("the put that met the full disk: %v", err)
	}
	if err := put(t, s, "later", "x"); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("a later one: %v, want ErrNoSpace", err)
	}
	if err := remove(t, s, "under way"); err != nil {
		t.Errorf("a delete: %v", err)
	}
	full.Store(false)
	if err := put(t, s, "later", "x"); err != nil {
		t.Errorf("with space again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, inner, Options{})
	if got := value(t, s, "under way") + value(t, s, "later"); got != "-x" {
		t.Errorf("after a restart: %q", got)
	}
}

func TestConcurrentDirectorySyncsAreShared(t *testing.T) {
	var d dirSync
	var begun atomic.Int32
	gate := make(chan struct{})
	fsync := func() error {
		begun.Add(1)
		<-gate
		return nil
	}
	var all sync.WaitGroup
	all.Go(func() { _ = d.wait(fsync) })
	for begun.Load() == 0 {
		runtime.Gosched()
	}
	for range 50 {
		all.Go(func() { _ = d.wait(fsync) })
	}
	for shared := 0; shared < 49; runtime.Gosched() {
		d.mu.Lock()
		if d.next != nil {
			shared = d.next.shared
		}
		d.mu.Unlock()
	}
	close(gate)
	all.Wait()
	if n := begun.Load(); n != 2 {
		t.Errorf("51 waiters needed %d syncs, want the one that had begun and one for the others", n)
	}
	broken := errors.New("no")
	if err := d.wait(func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
