package engine

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// IsShortage reports an error that may pass without anybody's repair.
func IsShortage(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || noDescriptor(err)
}

func noDescriptor(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

const (
	// descriptorPause is between two tries to open a file.
	descriptorPause = 50 * time.Millisecond
	// createTries bounds how long the making of a file waits for a descriptor.
	createTries = 200
	// openTries bounds it for a file to be read, for which a request waits.
	openTries = 2
)

// patient waits where the process has no file descriptor left: for Pebble the
// log that cannot be made is fatal, while whoever holds the descriptors, such as
// the clients of a busy server, gives some back soon.
type patient struct{ vfs.FS }

func (p patient) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return insist(createTries, func() (vfs.File, error) { return p.FS.Create(name, c) })
}

func (p patient) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return insist(createTries, func() (vfs.File, error) { return p.FS.OpenReadWrite(name, c, o...) })
}

func (p patient) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return insist(createTries, func() (vfs.File, error) { return p.FS.ReuseForWrite(from, to, c) })
}

func (p patient) OpenDir(name string) (vfs.File, error) {
	return insist(createTries, func() (vfs.File, error) { return p.FS.OpenDir(name) })
}

func (p patient) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	return insist(openTries, func() (vfs.File, error) { return p.FS.Open(name, o...) })
}

// Unwrap is how Pebble finds the file system below.
func (p patient) Unwrap() vfs.FS { return p.FS }

func insist(tries int, open func() (vfs.File, error)) (f vfs.File, err error) {
	for range tries {
		if f, err = open(); err == nil || !noDescriptor(err) {
			return f, err
		}
		time.Sleep(descriptorPause)
	}
	return nil, err
}

const reserveName = "RESERVE"

// reserve is a file that holds space back for Pebble.
type reserve struct {
	fs   vfs.FS
	path string
	size int64

	mu   sync.Mutex
	held bool
}

// give removes the file and reports that there was one.
func (r *reserve) give() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.held {
		return false
	}
	r.held = false
	return r.fs.Remove(r.path) == nil
}

// restore makes the file where it is not there, and reports that it is.
func (r *reserve) restore() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.size <= 0 || r.held {
		return true
	}
	f, err := r.fs.Create(r.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return false
	}
	if err = f.Preallocate(0, r.size); errors.Is(err, syscall.EOPNOTSUPP) {
		err = fill(f, r.size)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if r.held = err == nil; !r.held {
		_ = r.fs.Remove(r.path)
	}
	return r.held
}

// fill writes zeros where space cannot be had without.
func fill(f vfs.File, size int64) error {
	zeros := make([]byte, 64<<10)
	for ; size > 0; size -= int64(len(zeros)) {
		if _, err := f.Write(zeros[:min(size, int64(len(zeros)))]); err != nil {
			return err
		}
	}
	return nil
}
