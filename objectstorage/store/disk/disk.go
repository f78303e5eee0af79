package disk

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"minicloud.internal/objectstorage/store"
)

const (
	shards  = 16   // directories below objects, by the first digit of the hash
	stripes = 1024 // locks; each guards the keys that share its hash bits
)

// Options are what [Open] can be told. The zero value of a field is its default.
type Options struct {
	Logger *slog.Logger     // hears of damaged files; default: nobody
	FS     FS               // default [OS]
	Now    func() time.Time // the clock of Modified; default [time.Now]
}

// Store is the driver; see the package comment.
type Store struct {
	objects, tmp string
	lock         *lockFile
	fs           FS
	now          func() time.Time
	index        index
	damaged      atomic.Int64
	buffers      sync.Pool // of *[]byte, for bodies and headers

	// A commit holds its key's lock from the decision to the index, a reader
	// while it opens the file.
	locks [stripes]sync.RWMutex
	// stopped holds the failed sync that ended all writing.
	stopped atomic.Pointer[error]
}

var _ store.Store = (*Store)(nil)

// Open opens the data directory dir, and creates it where it is absent. It
// waits for nothing: a directory that another store has open is an error. Every
// file that is not a sound object is logged, counted by [Store.Damaged] and
// left where it is.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{objects: filepath.Join(dir, "objects"), tmp: filepath.Join(dir, "tmp"), fs: o.FS, now: o.Now,
		buffers: sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}}
	if s.fs == nil {
		s.fs = OS{}
	}
	if s.now == nil {
		s.now = time.Now
	}
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if err := s.makeDir(dir); err != nil {
		return nil, classify("create the data directory", err)
	}
	lock, unclean, err := takeLock(filepath.Join(dir, "LOCK"))
	if err != nil {
		return nil, err
	}
	s.lock = lock
	err = s.prepare(unclean)
	if err == nil {
		err = s.scan(logger)
	}
	if err != nil {
		lock.release(!unclean)
		return nil, classify("open the data directory "+dir, err)
	}
	return s, nil
}

// makeDir creates dir and what is missing above it, durably.
func (s *Store) makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := s.makeDir(parent); err != nil {
		return err
	}
	if err := s.fs.Mkdir(dir); err != nil {
		return err
	}
	return s.fs.SyncDir(parent)
}

// prepare makes the directories, so that no write has to, and empties tmp.
func (s *Store) prepare(unclean bool) error {
	for _, dir := range []string{s.tmp, s.objects} {
		if err := s.fs.Mkdir(dir); err != nil {
			return err
		}
	}
	have, err := s.fs.ReadDir(s.objects)
	if err != nil {
		return err
	}
	if len(have) < shards || unclean {
		for n := range shards {
			if err := s.fs.Mkdir(s.shard(n)); err != nil {
				return err
			}
		}
		for _, dir := range []string{s.objects, filepath.Dir(s.objects)} {
			if err := s.fs.SyncDir(dir); err != nil {
				return err
			}
		}
	}
	for n := 0; unclean && n < shards; n++ {
		if err := s.fs.SyncDir(s.shard(n)); err != nil {
			return err
		}
	}
	orphans, err := s.fs.ReadDir(s.tmp)
	if err != nil {
		return err
	}
	for _, name := range orphans {
		if err := s.fs.Remove(filepath.Join(s.tmp, name)); err != nil {
			return err
		}
	}
	return nil
}

// scan builds the index from the header of every file.
func (s *Store) scan(logger *slog.Logger) error {
	var group errgroup.Group
	group.SetLimit(8) // mostly waits for the disk
	for n := range shards {
		group.Go(func() error { return s.scanShard(s.shard(n), logger) })
	}
	return group.Wait()
}

func (s *Store) scanShard(dir string, logger *slog.Logger) error {
	names, err := s.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		f, info, err := s.openFile(path)
		if err == nil {
			_ = f.Close()
			if want, _ := s.locate(info.Key); want != path {
				err = corrupt("it belongs to another key than its name says")
			}
		}
		switch {
		case errors.Is(err, store.ErrCorrupt):
			s.damaged.Add(1)
			logger.Error("a file of the store is damaged", "file", path, "reason", err)
		case err != nil:
			return err
		default:
			s.index.set(info)
		}
	}
	return nil
}

// Close implements [store.Store]. It must come after every other call.
func (s *Store) Close() error { return s.lock.release(true) }

// Len returns the number of objects.
func (s *Store) Len() int { return s.index.len() }

// Damaged returns how many files were found damaged at start.
func (s *Store) Damaged() int { return int(s.damaged.Load()) }

func (s *Store) shard(n int) string {
	return filepath.Join(s.objects, strconv.FormatInt(int64(n), shards))
}

// locate returns the file of a key and the lock that guards it.
func (s *Store) locate(key string) (path string, lock *sync.RWMutex) {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(s.shard(int(sum[0]>>4)), hex.EncodeToString(sum[:])), &s.locks[binary.BigEndian.Uint16(sum[1:])%stripes]
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string) (*store.Object, error) {
	f, info, err := s.read(key)
	if err != nil {
		return nil, err
	}
	b := &body{f}
	if _, err := b.Seek(0, io.SeekStart); err != nil {
		_ = f.Close()
		return nil, classify("open an object", err)
	}
	return &store.Object{Info: info, Body: b}, nil
}

// Head implements [store.Store].
func (s *Store) Head(ctx context.Context, key string) (store.Info, error) {
	f, info, err := s.read(key)
	if err == nil {
		_ = f.Close()
	}
	return info, err
}

func (s *Store) read(key string) (*os.File, store.Info, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, store.Info{}, err
	}
	path, lock := s.locate(key)
	lock.RLock()
	defer lock.RUnlock()
	return s.readLocked(key, path)
}

// readLocked opens the object of a key whose lock is held.
func (s *Store) readLocked(key, path string) (*os.File, store.Info, error) {
	f, info, err := s.openFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, store.Info{}, store.ErrNotFound
	case err == nil && info.Key != key:
		_ = f.Close()
		err = corrupt("it belongs to another key")
	}
	if err != nil {
		return nil, store.Info{}, classify("open an object", err)
	}
	return f, info, nil
}

// openFile opens a file and reads its header.
func (s *Store) openFile(path string) (f *os.File, info store.Info, err error) {
	if f, err = s.fs.Open(path); err != nil {
		return nil, store.Info{}, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	buffer := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buffer)
	header := (*buffer)[:headerSize]
	switch n, err := f.ReadAt(header, 0); {
	case err == io.EOF:
		return nil, store.Info{}, corrupt("the file ends after %d bytes", n)
	case errors.Is(err, syscall.EIO):
		return nil, store.Info{}, corrupt("the disk cannot read it")
	case err != nil:
		return nil, store.Info{}, err
	}
	if info, err = decodeHeader(header); err != nil {
		return nil, store.Info{}, err
	}
	stat, err := f.Stat()
	if err != nil {
		return nil, store.Info{}, err
	}
	if stat.Size()-headerSize != info.Size {
		return nil, store.Info{}, corrupt("the body has %d bytes, expected %d", stat.Size()-headerSize, info.Size)
	}
	return f, info, nil
}

// check decides c for a key whose lock is held, on what the disk holds.
func (s *Store) check(key, path string, c store.Condition) (exists bool, err error) {
	f, info, err := s.readLocked(key, path)
	switch {
	case err == nil:
		_ = f.Close()
		return true, c.Check(&info)
	case errors.Is(err, store.ErrNotFound):
		return false, c.Check(nil)
	case errors.Is(err, store.ErrCorrupt) && c.IsZero():
		return true, nil
	}
	return false, err
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string, c store.Condition) error {
	if err := store.CheckKey(key); err != nil {
		return err
	}
	path, lock := s.locate(key)
	lock.Lock()
	defer lock.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	if exists, err := s.check(key, path, c); err != nil || !exists {
		return err
	}
	if err := s.fs.Remove(path); err != nil {
		return classify("remove an object", err)
	}
	err := s.syncDir(filepath.Dir(path))
	s.index.delete(key)
	return err
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, q store.Query) (store.Page, error) {
	if q.Limit < 1 {
		return store.Page{}, fmt.Errorf("list: the limit is %d, expected 1 or more", q.Limit)
	}
	return s.index.list(q), nil
}

// writable returns ErrStopped once a sync has failed.
func (s *Store) writable() error {
	if cause := s.stopped.Load(); cause != nil {
		return fmt.Errorf("%w: %w", store.ErrStopped, *cause)
	}
	return nil
}

// stop ends all writing because of a failed sync.
func (s *Store) stop(cause error) error {
	s.stopped.CompareAndSwap(nil, &cause)
	return fmt.Errorf("%w: %w", store.ErrStopped, cause)
}

func (s *Store) syncDir(dir string) error {
	if err := s.fs.SyncDir(dir); err != nil {
		return s.stop(fmt.Errorf("sync a directory: %w", err))
	}
	return nil
}

// body is the part of a file behind its header. It has exactly the methods
// that are right for that part: those of the file that count from its
// beginning would not be.
type body struct{ f *os.File }

func (b *body) Read(p []byte) (int, error) { return b.f.Read(p) }

func (b *body) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekStart {
		if offset < 0 {
			return 0, fmt.Errorf("seek to %d: %w", offset, syscall.EINVAL)
		}
		offset += headerSize
	}
	n, err := b.f.Seek(offset, whence)
	if err == nil && n < headerSize {
		_, _ = b.f.Seek(headerSize, io.SeekStart)
		return 0, fmt.Errorf("seek to %d: %w", n-headerSize, syscall.EINVAL)
	}
	return n - headerSize, err
}

// SyscallConn lets net send the body with sendfile(2), from the file's offset
// up to its end.
func (b *body) SyscallConn() (syscall.RawConn, error) { return b.f.SyscallConn() }

func (b *body) Close() error { return b.f.Close() }
