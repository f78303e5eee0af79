package queue

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrFailed is what every operation returns once the disk has failed, until the
// service is started again.
var ErrFailed = errors.New("the disk has failed; nothing is acknowledged any more")

// ErrDiskFull is what Enqueue returns while the disk has too little space.
var ErrDiskFull = errors.New("the disk is nearly full")

// An engine is Pebble with one decision added: what to do when it fails.
//
// Pebble takes a failed write of its log or manifest for fatal, rightly: nobody
// knows what is on the disk, and after a failed fsync the kernel may have
// dropped the pages that a second one would pretend to write. It calls
// Logger.Fatalf, which is expected to end the process, or panics. Here, where
// other services may live in the same process, the engine is marked failed
// instead and the goroutine that met the failure ends; no later operation
// reaches Pebble. Commits run on goroutines of their own for that reason: one
// that ends, or waits for ever on a lock of the broken engine, holds no request.
type engine struct {
	db      *pebble.DB
	fs      vfs.FS
	dir     string
	minFree uint64
	logger  *slog.Logger

	failed chan struct{} // closed at the first failure
	once   sync.Once
	cause  error // why; set before failed is closed
	onFail func(error)
}

// openEngine opens or creates the database in dir and locks it.
func openEngine(fs vfs.FS, dir string, minFree uint64, logger *slog.Logger, onFail func(error)) (*engine, error) {
	e := &engine{fs: fs, dir: dir, minFree: minFree, logger: logger, failed: make(chan struct{}), onFail: onFail}
	type result struct {
		db  *pebble.DB
		err error
	}
	opened := make(chan result, 1)
	go func() { // Fatalf ends this goroutine, not the caller's
		db, err := pebble.Open(dir, e.options())
		opened <- result{db, err}
	}()
	select {
	case r := <-opened:
		if r.err != nil {
			return nil, openError(dir, r.err)
		}
		e.db = r.db
		return e, nil
	case <-e.failed:
		return nil, openError(dir, e.cause)
	}
}

// openError says what most often is the matter: two services on one directory.
func openError(dir string, err error) error {
	if errors.Is(err, syscall.EAGAIN) || strings.Contains(err.Error(), "lock held by current process") {
		return fmt.Errorf("open %s: another queue uses this directory; give each its own data_dir", dir)
	}
	return fmt.Errorf("open %s: %w", dir, err)
}

// options are for a small footprint: a queue's working set is its head and its
// tail, and most messages die in the memtable.
func (e *engine) options() *pebble.Options {
	opts := &pebble.Options{
		// A background job that finds no space tries again after a pause, and
		// so does a write of the log, once; without the pause it would spin.
		FS: vfs.OnDiskFull(e.fs, func() {
			e.logger.Warn("the disk is full", "dir", e.dir)
			time.Sleep(time.Second)
		}),
		Logger:                      engineLogger{e},
		FormatMajorVersion:          pebble.FormatNewest,
		CacheSize:                   4 << 20,
		MemTableSize:                4 << 20,
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                256,
		MaxManifestFileSize:         1 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		EventListener: &pebble.EventListener{
			BackgroundError: e.background,
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				e.fail(fmt.Errorf("corrupt data in %s: %w", info.Path, info.Details))
			},
		},
	}
	return opts
}

// background decides on a failed flush or compaction. A full disk may be
// emptied, and Pebble tries again by itself. After anything else it would try
// for ever and at once: ending the goroutine stops it.
func (e *engine) background(err error) {
	if errors.Is(err, syscall.ENOSPC) {
		return
	}
	e.fail(err)
	runtime.Goexit()
}

// fail marks the engine as failed; the first cause counts.
func (e *engine) fail(err error) {
	e.once.Do(func() {
		e.cause = err
		e.logger.Error("the queue's disk has failed; restart the service once it is well", "error", err, "dir", e.dir)
		if e.onFail != nil {
			e.onFail(err)
		}
		close(e.failed)
	})
}

// failure returns the error for requests after a failure, or nil.
func (e *engine) failure() error {
	select {
	case <-e.failed:
		if errors.Is(e.cause, syscall.ENOSPC) {
			return fmt.Errorf("%w: %w", ErrFailed, ErrDiskFull)
		}
		return ErrFailed
	default:
		return nil
	}
}

// apply makes a batch visible to readers, and returns before it is durable.
// wait blocks until it is, and must be called for a batch with sync. A nil
// error of wait means that the batch, and all before it, survive a power cut.
func (e *engine) apply(b *pebble.Batch, sync bool) (wait func() error, err error) {
	if err := e.failure(); err != nil {
		return nil, err
	}
	applied, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer func() {
			if v := recover(); v != nil {
				e.fail(fmt.Errorf("the engine broke off: %v", v))
			}
		}()
		var err error
		if sync {
			if err = e.db.ApplyNoSyncWait(b, pebble.Sync); err == nil {
				close(applied)
				err = b.SyncWait()
			}
		} else if err = e.db.Apply(b, pebble.NoSync); err == nil {
			close(applied)
		}
		if err != nil {
			e.fail(err)
			return
		}
		_ = b.Close()
		close(done)
	}()
	wait = func() error {
		select {
		case <-done:
			return nil
		case <-e.failed:
			return e.failure()
		}
	}
	select {
	case <-applied:
		return wait, nil
	case <-e.failed:
		return nil, e.failure()
	}
}

// get returns a copy of a value; ok is false where the key is absent.
func (e *engine) get(key []byte) (value []byte, ok bool, err error) {
	if err := e.failure(); err != nil {
		return nil, false, err
	}
	value, closer, err := e.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read a message: %w", err)
	}
	value = bytes.Clone(value)
	return value, true, closer.Close()
}

// scan calls visit with each key from lower to before upper, and its value,
// until visit returns false. Both are valid during the call only.
func (e *engine) scan(lower, upper []byte, visit func(key, value []byte) bool) error {
	if err := e.failure(); err != nil {
		return err
	}
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("read the queue: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil || !visit(it.Key(), value) {
			break
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// room returns ErrDiskFull where the disk has less free space than it should.
func (e *engine) room() error {
	if err := e.failure(); err != nil {
		return err
	}
	usage, err := e.fs.GetDiskUsage(e.dir)
	if err == nil && usage.AvailBytes < e.minFree {
		return ErrDiskFull
	}
	return nil // a file system that cannot tell is taken for large enough
}

// close ends Pebble. A failed one may never come back from its own locks: it is
// given a moment, and then left behind for the end of the process.
func (e *engine) close() error {
	if e.failure() == nil {
		return e.db.Close()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		_ = e.db.Close()
	}()
	timer := time.NewTimer(2 * time.Second)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		e.logger.Warn("left the failed engine open", "dir", e.dir)
	}
	return nil
}

// engineLogger routes Pebble's chatter to debug, and its end to fail.
type engineLogger struct{ e *engine }

func (l engineLogger) Infof(format string, args ...any) {
	l.e.logger.Debug("engine", "says", fmt.Sprintf(format, args...))
}

func (l engineLogger) Errorf(format string, args ...any) {
	l.e.logger.Warn("engine", "says", fmt.Sprintf(format, args...))
}

// Fatalf must not return: what follows in Pebble assumes that it did not.
func (l engineLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, arg := range args {
		if cause, ok := arg.(error); ok {
			err = fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), cause)
			break
		}
	}
	l.e.fail(err)
	runtime.Goexit()
}
