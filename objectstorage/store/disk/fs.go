package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"minicloud.internal/objectstorage/store"
)

// FS is what the driver asks of a file system: the seam at which tests let a
// disk fill, a sync fail, or the power go. [OS] is the real one.
type FS interface {
	// Mkdir creates a directory; that it exists is no error.
	Mkdir(name string) error
	// Create creates a file for writing; that it exists is an error.
	Create(name string) (File, error)
	Open(name string) (*os.File, error)
	// ReadDir returns the names in a directory.
	ReadDir(name string) ([]string, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes creations, renames and removals in a directory durable.
	SyncDir(name string) error
}

// File is a file being written; [os.File] is one.
type File interface {
	Write(p []byte) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Sync() error
	Close() error
}

// OS is the operating system's file system.
type OS struct{}

func (OS) Mkdir(name string) error {
	if err := os.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func (OS) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err // not f: a nil *os.File in an interface is not nil
	}
	return f, nil
}

func (OS) Open(name string) (*os.File, error) { return os.Open(name) }

func (OS) ReadDir(name string) ([]string, error) {
	d, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

func (OS) Rename(from, to string) error { return os.Rename(from, to) }

func (OS) Remove(name string) error { return os.Remove(name) }

func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closed := d.Close(); err == nil {
		err = closed
	}
	return err
}

// classify adds the store's own error to a file system's, for what was tried.
func classify(action string, err error) error {
	kind := error(nil)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
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
