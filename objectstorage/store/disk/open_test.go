package disk

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"minicloud.internal/objectstorage/store"
)

func TestOpenSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(fs vfs.FS) error
		want    string
	}{
		"a file in its place": {func(fs vfs.FS) error {
			f, err := fs.Create("data", vfs.WriteCategoryUnspecified)
			if err == nil {
				err = f.Close()
			}
			return err
		}, "data"},
		"data of the earlier layout": {func(fs vfs.FS) error { return fs.MkdirAll("data/objects/a", 0o700) }, "an earlier version"},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			if err := c.prepare(fs); err != nil {
				t.Fatal(err)
			}
			if _, err := Open("data", Options{FS: fs}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	t.Run("a directory in use", func(t *testing.T) {
		dir := t.TempDir()
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "another service uses this directory") {
			t.Errorf("got %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(dir, Options{}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a read-only disk", func(t *testing.T) {
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
				return syscall.EROFS
			}
			return nil
		}))
		if _, err := Open("data", Options{FS: fs}); !errors.Is(err, store.ErrReadOnly) {
			t.Errorf("got %v, want ErrReadOnly", err)
		}
	})
	t.Run("a disk that fails while the store opens", func(t *testing.T) {
		for n := range 40 {
			left := atomic.Int32{}
			left.Store(int32(n * 3))
			inner := vfs.NewMem()
			fs := errorfs.Wrap(inner, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && left.Add(-1) < 0 {
					return syscall.EIO
				}
				return nil
			}))
			if s, err := Open("data", Options{FS: fs}); err == nil {
				_ = s.Close()
			}
			s := open(t, inner, Options{})
			if err := put(t, s, "k", fmt.Sprint(n)); err != nil {
				t.Errorf("after %d operations, on a disk that is well: %v", n, err)
			}
			_ = s.Close()
		}
	})
}
