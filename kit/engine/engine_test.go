package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.uber.org/goleak"
)

// Where Pebble fails to open, it leaves a goroutine behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/v2.(*ConcurrencyLimitScheduler).periodicGranter"))
}

func open(t *testing.T, o Options) *Engine {
	t.Helper()
	e, err := Open("data", o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func set(e *Engine, key, value string, sync bool) error {
	b := e.DB().NewBatch()
	if err := b.Set([]byte(key), []byte(value), nil); err != nil {
		return err
	}
	wait, err := e.Apply(b, sync)
	if err == nil {
		err = wait()
	}
	return err
}

func wantValue(t *testing.T, e *Engine, key, want string) {
	t.Helper()
	got, ok, err := e.Get([]byte(key))
	if err != nil || !ok || string(got) != want {
		t.Errorf("%s is %q, %v, %v, want %q", key, got, ok, err, want)
	}
}

// failing is a file system whose operations of these kinds on paths with a
// part fail once the switch is on.
func failing(inner vfs.FS, path string, cause error, kinds ...errorfs.OpKind) (vfs.FS, *atomic.Bool) {
	var on atomic.Bool
	return errorfs.Wrap(inner, errorfs.InjectorFunc(func(op errorfs.Op) error {
		for _, k := range kinds {
			if on.Load() && op.Kind == k && strings.Contains(op.Path, path) {
				return cause
			}
		}
		return nil
	})), &on
}

func TestBatchesAndReads(t *testing.T) {
	fs := vfs.NewCrashableMem()
	e := open(t, Options{FS: fs})
	defer e.Close()
	if err := set(e, "a", "", true); err != nil {
		t.Fatal(err)
	}
	wantValue(t, e, "a", "")
	if _, ok, err := e.Get([]byte("b")); ok || err != nil {
		t.Errorf("an absent key: %v, %v", ok, err)
	}
	if err := set(e, "b", "synced", true); err != nil {
		t.Fatal(err)
	}
	if err := set(e, "c", "not synced", false); err != nil {
		t.Fatal(err)
	}
	wantValue(t, e, "c", "not synced")
	var keys []string
	if err := e.Scan([]byte("a"), []byte("c"), func(k, _ []byte) bool { keys = append(keys, string(k)); return true }); err != nil || fmt.Sprint(keys) != "[a b]" {
		t.Errorf("the keys are %q, %v", keys, err)
	}
	after := open(t, Options{FS: fs.CrashClone(vfs.CrashCloneCfg{})})
	defer after.Close()
	wantValue(t, after, "b", "synced")
}

func TestFailure(t *testing.T) {
	for _, readOn := range []bool{false, true} {
		t.Run(fmt.Sprintf("after a failed sync nothing is written, and read on: %v", readOn), func(t *testing.T) {
			inner := vfs.NewMem()
			fs, broken := failing(inner, ".log", syscall.EIO, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo)
			var causes []error
			e := open(t, Options{FS: fs, ReadOn: readOn, OnFail: func(err error) { causes = append(causes, err) }})
			if err := set(e, "a", "1", true); err != nil {
				t.Fatal(err)
			}
			broken.Store(true)
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					if err := set(e, "a", "2", true); !errors.Is(err, ErrFailed) {
						t.Errorf("set: %v", err)
					}
				})
			}
			all.Wait()
			<-e.Failed()
			broken.Store(false) // a disk that recovers must not be believed
			if err := set(e, "b", "2", true); !errors.Is(err, ErrFailed) {
				t.Errorf("a later set: %v", err)
			}
			if err := e.Room(); !errors.Is(err, ErrFailed) {
				t.Errorf("room: %v", err)
			}
			if len(causes) != 1 || !errors.Is(causes[0], syscall.EIO) || !errors.Is(e.Cause(), syscall.EIO) {
				t.Errorf("the causes are %v and %v", causes, e.Cause())
			}
			_, ok, err := e.Get([]byte("a"))
			if readOn && (!ok || err != nil) || !readOn && !errors.Is(err, ErrFailed) {
				t.Errorf("get: %v, %v", ok, err)
			}
			n := 0
			err = e.Scan([]byte("a"), []byte("z"), func(_, _ []byte) bool { n++; return true })
			if readOn && (n == 0 || err != nil) || !readOn && !errors.Is(err, ErrFailed) {
				t.Errorf("scan: %d keys, %v", n, err)
			}
			if err := e.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			e = open(t, Options{FS: inner})
			defer e.Close()
			if v, ok, err := e.Get([]byte("a")); err != nil || !ok || string(v) != "1" && string(v) != "2" {
				t.Errorf("after a restart: %q, %v, %v", v, ok, err)
			}
		})
	}
	t.Run("a read that does not come back is given up, and later ones with it", func(t *testing.T) {
		e := open(t, Options{FS: vfs.NewMem(), ReadOn: true})
		e.Fail(errors.New("broken"))
		e.stuck.Store(true)
		if _, _, err := e.Get([]byte("a")); !errors.Is(err, ErrFailed) {
			t.Errorf("get: %v", err)
		}
		e.stuck.Store(false)
		_, err := View(e, func(*pebble.DB) (int, error) { panic("a lock that is held for ever") })
		if !errors.Is(err, ErrFailed) {
			t.Errorf("a read that panics: %v", err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("a corrupt block is the owner's to judge, if he wants to", func(t *testing.T) {
		e := open(t, Options{FS: vfs.NewMem()})
		e.corrupt(errors.New("a block"))
		if err := e.Failure(); !errors.Is(err, ErrFailed) {
			t.Errorf("without OnCorrupt: %v", err)
		}
		_ = e.Close()
		heard := 0
		e = open(t, Options{FS: vfs.NewMem(), OnCorrupt: func(error) { heard++ }})
		e.corrupt(errors.New("a block"))
		if err := e.Failure(); err != nil || heard != 1 {
			t.Errorf("with OnCorrupt: %v, heard %d times", err, heard)
		}
		_ = e.Close()
	})
}

func TestReserve(t *testing.T) {
	inner := vfs.NewMem()
	var full atomic.Bool
	fs := errorfs.Wrap(inner, errorfs.InjectorFunc(func(op errorfs.Op) error {
		_, err := inner.Stat("data/" + reserveName)
		if full.Load() && (op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, reserveName) ||
			op.Kind == errorfs.OpFileWrite && err == nil) {
			return syscall.ENOSPC
		}
		return nil
	}))
	e := open(t, Options{FS: fs, Reserve: 1 << 20})
	defer e.Close()
	if err := e.Room(); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	if err := set(e, "a", "1", true); err != nil {
		t.Errorf("the write that met the full disk: %v", err)
	}
	if err := e.Room(); !errors.Is(err, ErrDiskFull) {
		t.Errorf("room without the reserve: %v", err)
	}
	full.Store(false)
	if err := e.Room(); err != nil {
		t.Errorf("room with space again: %v", err)
	}
	if _, err := inner.Stat("data/" + reserveName); err != nil {
		t.Errorf("the reserve: %v", err)
	}
}

// A freeFS says how much space is free.
type freeFS struct {
	vfs.FS
	free uint64
}

func (f *freeFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: f.free}, nil
}

func TestRoomLooksSeldomWhereThereIsMuch(t *testing.T) {
	const minFree = 1 << 20
	for _, c := range []struct {
		name  string
		free  uint64
		later time.Duration
		want  error // when the space is gone
	}{
		{"little is looked at every time", minFree + roomy - 1, 0, ErrDiskFull},
		{"much is not, for a moment", minFree + roomy, 0, nil},
		{"and then it is", minFree + roomy, roomyFor, ErrDiskFull},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := &freeFS{FS: vfs.NewMem(), free: c.free}
				e := &Engine{fs: fs, options: Options{MinFree: minFree}, opened: time.Now()} // it needs no database
				if err := e.Room(); err != nil {
					t.Fatal(err)
				}
				fs.free = 0
				time.Sleep(c.later)
				if err := e.Room(); !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
			})
		})
	}
}

func TestAppend(t *testing.T) {
	e := open(t, Options{FS: vfs.NewMem(), ReadOn: true})
	defer e.Close()
	if err := errors.Join(set(e, "a", "value", true), set(e, "empty", "", true)); err != nil {
		t.Fatal(err)
	}
	for _, failed := range []bool{false, true} {
		if failed {
			e.Fail(errors.New("broken"))
		}
		for key, want := range map[string]string{"a": "before value", "empty": "before ", "absent": "before "} {
			got, ok, err := e.Append([]byte("before "), []byte(key))
			if err != nil || string(got) != want || ok != (key != "absent") {
				t.Errorf("%s, failed %v: %q, %v, %v", key, failed, got, ok, err)
			}
			if _, ok, err := e.Get([]byte(key)); err != nil || ok != (key != "absent") {
				t.Errorf("get %s, failed %v: %v, %v", key, failed, ok, err)
			}
		}
	}
}

// Descriptors that come back soon are waited for; an error that does not pass is not.
func TestPatience(t *testing.T) {
	var short atomic.Int32
	p := patient{errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch n := short.Add(-1); {
		case n >= 0:
			return syscall.EMFILE
		case n < -100:
			return syscall.EIO
		}
		return nil
	}))}
	short.Store(3)
	f, err := p.Create("a", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	_ = f.Close()
	short.Store(1000)
	if _, err := p.Open("a"); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("open: %v", err)
	}
	short.Store(-1000)
	begin := time.Now()
	if _, err := p.OpenDir("/"); !errors.Is(err, syscall.EIO) || time.Since(begin) > 5*time.Second {
		t.Errorf("open a directory: %v after %v", err, time.Since(begin))
	}
}

func TestOpen(t *testing.T) {
	t.Run("a directory in use is refused with the reason", func(t *testing.T) {
		dir := t.TempDir()
		e, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "another service uses this directory") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a disk that fails meanwhile is a returned error", func(t *testing.T) {
		for n := range int32(25) {
			var left atomic.Int32
			left.Store(n * 3)
			fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && left.Add(-1) < 0 {
					return syscall.EIO
				}
				return nil
			}))
			e, err := Open("data", Options{FS: fs})
			if err == nil {
				_ = e.Close()
			} else if !errors.Is(err, syscall.EIO) {
				t.Errorf("after %d operations: %v", n*3, err)
			}
		}
	})
}
