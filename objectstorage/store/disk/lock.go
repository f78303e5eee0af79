package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile is the file LOCK of a data directory. flock(2) ends with the process,
// however that ends; what the file says is how: it holds the word "open" from
// Open to Close and "shut" after it, of one length, so that a full disk has room
// for either. It is not synced, because after a power cut everything that is
// there is durable.
type lockFile struct{ f *os.File }

const (
	wordOpen = "open\n"
	wordShut = "shut\n"
)

// takeLock takes the lock or says that another has it. unclean reports that the
// last holder did not release it.
func takeLock(path string) (l *lockFile, unclean bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, classify("lock the data directory", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, false, fmt.Errorf("the data directory %s is in use by another object store; stop that one, or choose another data_dir",
			filepath.Dir(path))
	} else if err != nil {
		return nil, false, fmt.Errorf("lock the data directory: %w", err)
	}
	word := make([]byte, len(wordOpen))
	if _, err := f.ReadAt(word, 0); err != nil && err != io.EOF {
		return nil, false, fmt.Errorf("lock the data directory: %w", err)
	}
	if _, err := f.WriteAt([]byte(wordOpen), 0); err != nil {
		return nil, false, classify("lock the data directory", err)
	}
	return &lockFile{f}, string(word) == wordOpen, nil
}

// release gives the lock up; clean says that nothing is left half-done.
func (l *lockFile) release(clean bool) error {
	var err error
	if clean {
		_, err = l.f.WriteAt([]byte(wordShut), 0)
	}
	if closed := l.f.Close(); err == nil {
		err = closed
	}
	return err
}
