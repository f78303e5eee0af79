// Package engine is Pebble as the services that keep data of their own use it:
// an ordered store of keys and values with group-committed, synced batches, and
// one decision added, namely what to do when the disk fails.
//
// Pebble takes a failed write of its log or manifest for fatal, rightly: nobody
// knows what is on the disk, and after a failed fsync the kernel may have
// dropped the pages that a second one would pretend to write. It calls
// Logger.Fatalf, which is expected to end the process, or panics. Here, where
// other services may live in the same process, the [Engine] is marked failed
// instead and the goroutine that met the failure ends; no later write reaches
// Pebble. Commits run on goroutines of their own for that reason: one that
// ends, or waits for ever on a lock of the broken engine, holds no request.
//
// A shortage is no failure, as long as Pebble can wait: see [Options.MinFree]
// and [Options.Reserve] for a full disk, and fs.go for file descriptors.
package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

var (
	// ErrFailed is what every operation returns once the disk has failed, until
	// the directory is opened anew.
	ErrFailed = errors.New("the disk has failed; nothing is acknowledged any more")
	// ErrDiskFull is what [Engine.Room] returns while the disk has too little space.
	ErrDiskFull = errors.New("the disk is nearly full")
)

// Options are what [Open] can be told. The zero value of a field is its default.
type Options struct {
	// FS is the file system, a seam for tests; default [vfs.Default].
	FS vfs.FS
	// Logger hears of a failure, and at debug what Pebble says; default: nobody.
	Logger *slog.Logger
	// OnFail is called once, with the cause, when the disk fails.
	OnFail func(error)
	// OnCorrupt is called when Pebble reads a block whose checksum is wrong.
	// Default: that is a failure.
	OnCorrupt func(error)
	// MinFree is the free space, in bytes, below which [Engine.Room] refuses;
	// 0 switches it off.
	MinFree uint64
	// Reserve is the size in bytes of a file that holds space back. It is given
	// up where Pebble meets a full disk, so that what is under way can end; Room
	// refuses until it could be made again. 0 switches it off.
	Reserve int64
	// ReadOn lets [View], [Engine.Get], [Engine.Append] and [Engine.Scan] go on
	// after a failure, as far as Pebble can serve them.
	ReadOn bool
	// Pebble are the sizes and formats. Open sets FS, Logger and EventListener.
	Pebble *pebble.Options
}

// An Engine is an open database. Its methods may be called concurrently.
type Engine struct {
	db      *pebble.DB
	fs      vfs.FS
	dir     string
	options Options
	logger  *slog.Logger
	reserve reserve

	failed chan struct{} // closed at the first failure
	once   sync.Once
	cause  error       // why; set before failed is closed
	stuck  atomic.Bool // a read after the failure did not come back

	opened     time.Time
	roomyUntil atomic.Int64 // since opened: how long Room need not look again
}

// Of so much free space beyond Options.MinFree, in bytes, nobody has used up all
// after so long: Room then spares most writes its system call.
const (
	roomy    = 4 << 30
	roomyFor = 10 * time.Millisecond
)

// Open opens or creates the database in dir and locks it.
func Open(dir string, o Options) (*Engine, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{fs: o.FS, dir: dir, options: o, logger: o.Logger, failed: make(chan struct{}), opened: time.Now()}
	e.reserve = reserve{fs: o.FS, path: o.FS.PathJoin(dir, reserveName), size: o.Reserve}
	type result struct {
		db  *pebble.DB
		err error
	}
	opened, ended := make(chan result, 1), make(chan struct{})
	go func() { // Fatalf ends this goroutine, not the caller's
		defer close(ended)
		defer e.caught()
		db, err := pebble.Open(dir, e.pebbleOptions())
		opened <- result{db, err}
	}()
	select {
	case r := <-opened:
		if r.err != nil {
			return nil, openError(dir, r.err)
		}
		e.db = r.db
		e.reserve.restore()
		return e, nil
	case <-e.failed:
		// What began to open gives the directory's lock back on its way out, or
		// the next to open it would meet the lock.
		if e.leave(ended) {
			select {
			case r := <-opened:
				if r.err == nil { // the failure came just after
					e.db = r.db
					_ = e.Close()
				}
			default:
			}
		}
		return nil, openError(dir, e.cause)
	}
}

// leave waits a moment for what a failed database still does, and reports whether it
// came to an end. It may hang on its own locks for ever: then it is left behind for
// the end of the process.
func (e *Engine) leave(ended <-chan struct{}) bool {
	timer := time.NewTimer(2 * time.Second)
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-timer.C:
		e.logger.Warn("left the failed engine open", "dir", e.dir)
		return false
	}
}

// openError says what most often is the matter: two processes on one directory.
func openError(dir string, err error) error {
	if errors.Is(err, syscall.EAGAIN) || strings.Contains(err.Error(), "lock held by current process") {
		return fmt.Errorf("open %s: another service uses this directory; give each its own data_dir", dir)
	}
	return fmt.Errorf("open %s: %w", dir, err)
}

// pebbleOptions are those of the caller, wired to the engine.
func (e *Engine) pebbleOptions() *pebble.Options {
	opts := &pebble.Options{FormatMajorVersion: pebble.FormatNewest}
	if e.options.Pebble != nil {
		opts = e.options.Pebble.Clone()
	}
	opts.FS = vfs.OnDiskFull(patient{e.fs}, e.full)
	opts.Logger = pebbleLogger{e}
	opts.EventListener = &pebble.EventListener{
		BackgroundError: e.background,
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			e.corrupt(fmt.Errorf("corrupt data in %s: %w", info.Path, info.Details))
		},
	}
	return opts
}

// full is called where a write found no space, and is tried again once after it.
// A background job tries again for ever; without the pause it would spin.
func (e *Engine) full() {
	e.logger.Warn("the disk is full", "dir", e.dir)
	if !e.reserve.give() {
		time.Sleep(time.Second)
	}
}

func (e *Engine) corrupt(err error) {
	if e.options.OnCorrupt == nil {
		e.Fail(err)
		return
	}
	e.options.OnCorrupt(err)
}

// background decides on a failed flush or compaction. What is short now may be
// there again later, and Pebble tries again by itself. After anything else it
// would try for ever and at once: ending the goroutine stops it.
func (e *Engine) background(err error) {
	if IsShortage(err) {
		return
	}
	e.Fail(err)
	runtime.Goexit()
}

// Fail marks the engine as failed; the first cause counts. It is for an owner
// who met a failure of the disk on files of its own.
func (e *Engine) Fail(err error) {
	e.once.Do(func() {
		e.cause = err
		e.logger.Error("the disk has failed; restart the service once it is well", "error", err, "dir", e.dir)
		if e.options.OnFail != nil {
			e.options.OnFail(err)
		}
		close(e.failed)
	})
}

// caught, deferred, makes a failure of a panic: Pebble's own way to end.
func (e *Engine) caught() {
	switch v := recover().(type) {
	case nil:
	case error:
		e.Fail(fmt.Errorf("the engine broke off: %w", v))
	default:
		e.Fail(fmt.Errorf("the engine broke off: %v", v))
	}
}

// Failed is closed when the engine fails.
func (e *Engine) Failed() <-chan struct{} { return e.failed }

// Failure returns the error for requests after a failure, or nil.
func (e *Engine) Failure() error {
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

// Cause returns why the engine failed, or nil.
func (e *Engine) Cause() error {
	select {
	case <-e.failed:
		return e.cause
	default:
		return nil
	}
}

// DB is Pebble itself, for batches and metrics. Writes go through [Engine.Apply].
func (e *Engine) DB() *pebble.DB { return e.db }

// Apply makes a batch visible to readers, and returns before it is durable.
// wait blocks until it is, and must be called for a batch with sync. A nil
// error of wait means that the batch, and all before it, survive a power cut.
// After Apply the batch is the engine's.
func (e *Engine) Apply(b *pebble.Batch, sync bool) (wait func() error, err error) {
	if err := e.Failure(); err != nil {
		return nil, err
	}
	applied, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer e.caught()
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
			e.Fail(err)
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
			return e.Failure()
		}
	}
	select {
	case <-applied:
		return wait, nil
	case <-e.failed:
		return nil, e.Failure()
	}
}

// Room returns ErrDiskFull where the disk has less free space than it should,
// and the failure of an engine that has failed.
func (e *Engine) Room() error {
	if err := e.Failure(); err != nil {
		return err
	}
	if now := time.Since(e.opened); now >= time.Duration(e.roomyUntil.Load()) {
		usage, err := e.fs.GetDiskUsage(e.dir)
		switch {
		case err != nil: // a file system that cannot tell is taken for large enough
		case usage.AvailBytes < e.options.MinFree:
			return ErrDiskFull
		case usage.AvailBytes-e.options.MinFree >= roomy:
			e.roomyUntil.Store(int64(now + roomyFor))
		}
	}
	if !e.reserve.restore() {
		return ErrDiskFull
	}
	return nil
}

// Close ends Pebble. A failed one may never come back from its own locks: it is
// given a moment, and then left behind for the end of the process.
func (e *Engine) Close() error {
	if e.Failure() == nil {
		return e.db.Close()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		_ = e.db.Close()
	}()
	e.leave(done)
	return nil
}

// pebbleLogger routes Pebble's chatter to debug, and its end to Fail.
type pebbleLogger struct{ e *Engine }

func (l pebbleLogger) Infof(format string, args ...any) {
	l.e.logger.Debug("engine", "says", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.e.logger.Warn("engine", "says", fmt.Sprintf(format, args...))
}

// Fatalf must not return: what follows in Pebble assumes that it did not.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	for _, arg := range args {
		if cause, ok := arg.(error); ok {
			err = fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), cause)
			break
		}
	}
	l.e.Fail(err)
	runtime.Goexit()
}
