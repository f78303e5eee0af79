package disk

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"minicloud.internal/kit/engine"
	"minicloud.internal/objectstorage/store"
)

const (
	// stripes are the locks; each guards the keys that share its hash.
	stripes = 4096
	// uploadStripes are those of uploads in parts.
	uploadStripes = 256
)

// Options are what [Open] can be told. The zero value of a field is its default.
type Options struct {
	Logger *slog.Logger     // hears of damage; default: nobody
	FS     vfs.FS           // a seam for tests, under everything; default [vfs.Default]
	Now    func() time.Time // the clock of Modified; default [time.Now]
	// OnFail is called once, with the cause, when the store stops.
	OnFail func(error)
	// InlineThreshold is the longest body, in bytes, that is kept in the
	// database; default 64 KiB, below 0 none.
	InlineThreshold int64
	// CacheSize is the memory, in bytes, for blocks of the database, what was written
	// and is not in tables yet among it; default 20 MiB. The cache of the latest
	// versions' rows has a fifth more.
	CacheSize int64
	// MinFree is the free space, in bytes, below which nothing is taken in;
	// default 64 MiB, below 0 switched off.
	MinFree int64
	// ScrubInterval is the time from the end of one scrub to the next; 0: none.
	// ScrubRate is how many bytes one reads a second; default 16 MiB.
	ScrubInterval time.Duration
	ScrubRate     int64
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, d := range []struct {
		field *int64
		value int64
	}{{&o.InlineThreshold, 64 << 10}, {&o.CacheSize, 20 << 20}, {&o.MinFree, 64 << 20}, {&o.ScrubRate, 16 << 20}} {
		if *d.field == 0 {
			*d.field = d.value
		}
		*d.field = max(*d.field, 0)
	}
}

// Store is the driver; see the package comment.
type Store struct {
	o      Options
	dir    string
	blobs  string
	fs     vfs.FS
	logger *slog.Logger
	engine *engine.Engine
	cache  interface{ Reserve(int) func() } // the database's, for as long as it is open
	clock  clock
	// started is the number that the clock began with: what was made before is
	// older.
	started uint64
	dirs    [blobDirs]dirSync
	buffers sync.Pool // of *[]byte, bufferSize each
	inlines sync.Pool // of *[]byte, for bodies up to Options.InlineThreshold
	counts  counts
	damaged damaged
	recent  recent
	garbage chan struct{} // wakes the collector; holds 1

	// A commit holds its key's lock from the decision until it is durable, a
	// reader while it opens the object.
	seed  maphash.Seed
	locks [stripes]sync.RWMutex
	// A commit of a part holds its upload's lock for reading; what ends the
	// upload, for writing. It is taken before that of a key.
	uploads [uploadStripes]sync.RWMutex

	bucketsMu sync.RWMutex
	buckets   map[string]*bucket

	// pins counts the open bodies of each manifest.
	pinsMu sync.Mutex
	pins   map[uint64]int

	// doubt has the rows whose last commit may or may not be durable, since the
	// store stopped in it.
	doubt    sync.Map // string -> struct{}
	closing  sync.Once
	closed   error
	scrubbed scrubbed
}

var _ store.Store = (*Store)(nil)

// Open opens the data directory dir, and creates it where it is absent. It
// waits for nothing: a directory that another store has open is an error. What
// has to look at every object runs in [Store.Run].
func Open(dir string, o Options) (*Store, error) {
	o.setDefaults()
	s := &Store{
		o: o, dir: dir, blobs: o.FS.PathJoin(dir, "blobs"), fs: o.FS, logger: o.Logger, seed: maphash.MakeSeed(),
		buffers: sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }},
		inlines: sync.Pool{New: func() any { return new([]byte) }},
		recent:  newRecent(o.CacheSize / recentShare),
		buckets: map[string]*bucket{}, pins: map[uint64]int{}, garbage: make(chan struct{}, 1),
	}
	if err := s.prepare(); err != nil {
		return nil, classify("open the data directory "+dir, err)
	}
	var err error
	pebbled := pebbleOptions(o)
	s.cache = pebbled.Cache
	defer pebbled.Cache.Unref() // the database has a reference of its own
	s.engine, err = engine.Open(o.FS.PathJoin(dir, "meta"), engine.Options{
		FS: o.FS, Logger: o.Logger, OnFail: o.OnFail, OnCorrupt: s.onCorrupt, MinFree: uint64(o.MinFree), Reserve: reserveSize(o.MinFree),
		ReadOn: true, Pebble: pebbled,
	})
	if err != nil {
		return nil, classify("open the store", err)
	}
	if err = s.openClock(); err == nil {
		err = s.openBuckets()
	}
	if err == nil {
		err = s.openCounts()
	}
	if err != nil {
		return nil, errors.Join(classify("read the data directory "+dir, err), s.engine.Close())
	}
	return s, nil
}

// prepare makes the directories, durably, so that no write has to.
func (s *Store) prepare() error {
	if _, err := s.fs.Stat(s.fs.PathJoin(s.dir, "objects")); err == nil {
		return errors.New("it holds files of an earlier version of the object store (objects/), which this one does not read; " +
			"choose another data_dir, or remove what is there")
	}
	made, err := s.makeDir(s.dir)
	if err != nil {
		return err
	}
	if _, err = s.makeDir(s.fs.PathJoin(s.dir, "meta")); err != nil {
		return err
	}
	fresh, err := s.makeDir(s.blobs)
	if err != nil {
		return err
	}
	if made || fresh {
		if err := s.syncPath(s.dir); err != nil {
			return err
		}
	}
	return s.makeBlobDirs()
}

// makeDir creates dir and what is missing above it, durably but for its own
// entry where its parent was there.
func (s *Store) makeDir(dir string) (made bool, err error) {
	info, err := s.fs.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return false, &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	parent := s.fs.PathDir(dir)
	if parent != dir && parent != "." {
		if made, err := s.makeDir(parent); err != nil {
			return false, err
		} else if made {
			if err := s.syncPath(s.fs.PathDir(parent)); err != nil {
				return false, err
			}
		}
	}
	if err := s.fs.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	return true, s.syncPath(parent)
}

// Close implements [store.Store]. It must come after every other call, and after
// [Store.Run] has returned. Closing twice is no error.
func (s *Store) Close() error {
	s.closing.Do(func() {
		if s.engine.Failure() == nil {
			s.saveCounts()
			s.clock.settle()
		}
		s.closed = s.engine.Close()
	})
	return s.closed
}

// settle lowers the limit to what was given out, as nobody will need more.
func (c *clock) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit > 0 {
		_ = c.save(c.last + 1) // without it the next process only begins later
	}
}

// lock returns the lock of a row of a latest version.
func (s *Store) lock(row []byte) *sync.RWMutex {
	return &s.locks[maphash.Bytes(s.seed, row)%stripes]
}

// writable says why nothing can be written: the store has stopped.
func (s *Store) writable() error {
	return s.classify("write", s.engine.Failure())
}

// classify is the function of that name, and adds the cause of a stop.
func (s *Store) classify(action string, err error) error {
	if errors.Is(err, engine.ErrFailed) {
		return fmt.Errorf("%s: %w: %w", action, store.ErrStopped, s.engine.Cause())
	}
	return classify(action, err)
}

// classify adds the store's own error to a file system's or the database's, for
// what was tried.
func classify(action string, err error) error {
	kind := error(nil)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrCorrupt):
		return fmt.Errorf("%s: %w", action, err)
	case pebble.IsCorruptionError(err):
		kind = store.ErrCorrupt
	case errors.Is(err, engine.ErrDiskFull), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind = store.ErrNoSpace
	case errors.Is(err, syscall.EROFS):
		kind = store.ErrReadOnly
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		kind = store.ErrBusy
	default:
		return fmt.Errorf("%s: %w", action, err)
	}
	return fmt.Errorf("%s: %w: %w", action, kind, err)
}

// readFailure is classify for what reads: a disk that cannot read a body, or the
// record of one, has damaged it.
func (s *Store) readFailure(action string, err error) error {
	if errors.Is(err, syscall.EIO) && !errors.Is(err, engine.ErrFailed) {
		return fmt.Errorf("%s: %w: %w", action, store.ErrCorrupt, err)
	}
	return s.classify(action, err)
}
