package disk

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"minicloud.internal/objectstorage/store"
)

var errPower = errors.New("the power is off")

// powerFS is a file system whose power goes before or amid its nth operation.
// Everything that was not synced by then may be lost: cut decides of each file
// whether its unsynced bytes are there, and of each directory how many of its
// unsynced changes, in order, survived. Real syncs are left out: they would
// only take time.
type powerFS struct {
	OS
	left    int // operations before the cut
	off     bool
	rand    *rand.Rand
	saved   string // a directory for what a change would destroy
	pending []change
	files   map[string]*powerFile // by path, of those with unsynced bytes
}

// change is a change to a directory that was not synced, and how to undo it.
type change struct {
	dir  string
	undo func() error
}

// step reports whether an operation still happens.
func (f *powerFS) step() bool {
	if f.off {
		return false
	}
	f.left--
	f.off = f.left < 0
	return !f.off
}

// save keeps what is at path and returns how to bring it back.
func (f *powerFS) save(path string) func() error {
	keep := filepath.Join(f.saved, fmt.Sprint(len(f.pending), f.rand.Uint64()))
	if err := os.Link(path, keep); err != nil {
		return func() error { return nil }
	}
	return func() error { return os.Rename(keep, path) }
}

func (f *powerFS) Create(path string) (File, error) {
	if !f.step() {
		return nil, errPower
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	p := &powerFile{fs: f, f: file, path: path}
	f.files[path] = p
	return p, nil
}

func (f *powerFS) Rename(from, to string) error {
	if !f.step() {
		return errPower
	}
	bringBack := f.save(to)
	f.pending = append(f.pending, change{filepath.Dir(to), func() error {
		if err := os.Rename(to, from); err != nil {
			return err
		}
		return bringBack()
	}})
	if p := f.files[from]; p != nil {
		delete(f.files, from)
		f.files[to], p.path = p, to
	}
	return os.Rename(from, to)
}

func (f *powerFS) Remove(path string) error {
	if !f.step() {
		return errPower
	}
	f.pending = append(f.pending, change{filepath.Dir(path), f.save(path)})
	delete(f.files, path)
	return os.Remove(path)
}

func (f *powerFS) SyncDir(dir string) error {
	if !f.step() {
		return errPower
	}
	f.forget(dir)
	return nil
}

// forget drops the undo of a directory's changes: they are durable.
func (f *powerFS) forget(dir string) {
	kept := f.pending[:0]
	for _, c := range f.pending {
		if c.dir != dir {
			kept = append(kept, c)
		}
	}
	f.pending = kept
}

// cut loses what may be lost.
func (f *powerFS) cut(t *testing.T) {
	t.Helper()
	for _, p := range f.files {
		if err := p.lose(); err != nil {
			t.Fatal(err)
		}
	}
	lost := map[string]bool{} // directories that lose all from here on back
	keep := map[string]int{}
	for _, c := range f.pending {
		keep[c.dir]++
	}
	for dir, n := range keep {
		keep[dir] = f.rand.IntN(n + 1) // so many survive
	}
	for i := len(f.pending) - 1; i >= 0; i-- {
		c := f.pending[i]
		n := 0
		for _, before := range f.pending[:i] {
			if before.dir == c.dir {
				n++
			}
		}
		if lost[c.dir] = n >= keep[c.dir]; lost[c.dir] {
			if err := c.undo(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

type powerFile struct {
	fs     *powerFS
	f      *os.File
	path   string
	synced int64 // bytes of the file that are durable
	header bool  // something was overwritten since the last sync
}

// tear passes an operation on; the one amid which the power goes happens in
// part.
func (p *powerFile) tear(b []byte, write func([]byte) (int, error)) (int, error) {
	if was := p.fs.off; p.fs.step() {
		return write(b)
	} else if !was {
		n, _ := write(b[:p.fs.rand.IntN(len(b)+1)])
		return n, errPower
	}
	return 0, errPower
}

func (p *powerFile) Write(b []byte) (int, error) { return p.tear(b, p.f.Write) }

func (p *powerFile) WriteAt(b []byte, off int64) (int, error) {
	p.header = true
	return p.tear(b, func(b []byte) (int, error) { return p.f.WriteAt(b, off) })
}

func (p *powerFile) Sync() error {
	if !p.fs.step() {
		return errPower
	}
	stat, err := p.f.Stat()
	if err != nil {
		return err
	}
	p.synced, p.header = stat.Size(), false
	delete(p.fs.files, p.path)
	return nil
}

func (p *powerFile) Close() error {
	_ = p.f.Close()
	if !p.fs.step() {
		return errPower
	}
	return nil
}

// lose makes of the file one of the things that a power cut can leave: all that
// was written, what was synced, or the length without the bytes.
func (p *powerFile) lose() error {
	stat, err := os.Stat(p.path)
	if err != nil {
		return nil // it is gone already
	}
	choice := p.fs.rand.IntN(3)
	if choice == 0 {
		return nil
	}
	if p.header {
		f, err := os.OpenFile(p.path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.WriteAt(make([]byte, min(headerSize, stat.Size())), 0); err != nil {
			return err
		}
	}
	if err := os.Truncate(p.path, p.synced); err != nil {
		return err
	}
	if choice == 2 {
		return os.Truncate(p.path, stat.Size())
	}
	return nil
}

// TestPowerCuts cuts the power at every operation of a short history, several
// times each with other losses, and checks what a restart finds: everything
// that was acknowledged, and of the write under way the old or the new.
func TestPowerCuts(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 2*bufferSize/16)
	history := []struct{ key, body string }{ // "-" deletes
		{"a", "1"}, {"b", "1"}, {"a", "2"}, {"b", "-"}, {"a", long}, {"b", "2"}, {"a", "-"}, {"a", "3"}, {"c", ""},
	}
	for seed := range uint64(4) {
		for n := 0; ; n++ {
			dir := t.TempDir()
			s, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			fs := &powerFS{left: n, rand: rand.New(rand.NewPCG(seed, uint64(n))), saved: t.TempDir(), files: map[string]*powerFile{}}
			s.fs = fs
			durable := map[string]string{"a": "-", "b": "-", "c": "-"}
			var underWay struct{ key, body string }
			done := true
			for _, step := range history {
				if step.body == "-" {
					err = s.Delete(t.Context(), step.key, store.Condition{})
				} else {
					err = put(t, s, step.key, step.body)
				}
				if err != nil {
					done, underWay = false, step
					break
				}
				durable[step.key] = step.body
			}
			if !done && !errors.Is(err, errPower) {
				t.Fatalf("cut %d: %v", n, err)
			}
			fs.cut(t)
			if err := s.lock.release(false); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, Options{FS: noSync{}})
			if s.Damaged() > 0 {
				t.Errorf("seed %d, cut %d: %d damaged files", seed, n, s.Damaged())
			}
			for key, want := range durable {
				got := value(t, s, key)
				if got != want && (key != underWay.key || got != underWay.body) {
					t.Errorf("seed %d, cut %d: %q holds %.10q…, want %.10q…, or of the write under way %.10q…", seed, n, key, got, want, underWay.body)
				}
				if info, err := s.Head(t.Context(), key); err == nil {
					if sum := md5.Sum([]byte(got)); info.ETag != hex.EncodeToString(sum[:]) {
						t.Errorf("seed %d, cut %d: the ETag of %q is not of its body", seed, n, key)
					}
				}
			}
			agree(t, s, "a", "b", "c")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if done {
				if n < 50 {
					t.Errorf("the history took only %d operations", n)
				}
				break
			}
		}
	}
}

// noSync leaves out the syncs after a simulated crash.
type noSync struct{ OS }

func (noSync) SyncDir(string) error { return nil }
