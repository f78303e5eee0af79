package minicloud

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// takeLock takes the lock of dir for the life of this process. While another
// process holds it, the error is a [RunningError].
//
// It is a POSIX record lock: the kernel drops it with the process, however that
// ends, and names its holder, so that no stale pid file can ever lead to a
// signal for the wrong process. Two things follow from its rules. The kernel
// also drops it when its process closes any other descriptor of the file, so
// the holder must never call [lockHolder] on dir (it would learn nothing: a
// process does not see its own locks). And it is no lock between goroutines:
// one process runs one `up` of a directory.
func takeLock(dir string) (*os.File, error) {
	name := filepath.Join(dir, "lock")
	for {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("%w; another directory is chosen by -state", err)
		}
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("%w; another directory is chosen by -state", err)
		}
		lock := syscall.Flock_t{Type: syscall.F_WRLCK}
		if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock); err != nil {
			_ = f.Close()
			if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EACCES) {
				return nil, fmt.Errorf("lock %s: %w", name, err)
			}
			pid, err := lockHolder(dir)
			if err != nil {
				return nil, err
			}
			if pid == 0 {
				continue // it has ended just now
			}
			return nil, &RunningError{Dir: dir, PID: pid}
		}
		held, err := f.Stat()
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		// `clean` removes the file. A lock on a file that nobody else can
		// find any more keeps nobody out.
		if named, err := os.Stat(name); err == nil && os.SameFile(held, named) {
			return f, nil
		}
		_ = f.Close()
	}
}

// A RunningError says that another process runs the cloud of a directory.
type RunningError struct {
	Dir string
	PID int
}

func (e *RunningError) Error() string {
	return fmt.Sprintf("process %d runs the cloud of %s already; `minicloud down` stops it", e.PID, e.Dir)
}

// lockHolder returns the process that holds the lock of dir, or 0 where none does.
func lockHolder(dir string) (pid int, err error) {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lock := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &lock); err != nil {
		return 0, fmt.Errorf("ask for the lock %s: %w", f.Name(), err)
	}
	if lock.Type == syscall.F_UNLCK {
		return 0, nil
	}
	// To signal 0 or -1 would reach a whole group, or everybody.
	if lock.Pid <= 0 {
		return 0, fmt.Errorf("%s is held by a process that cannot be seen from here, in another container or on another machine", f.Name())
	}
	return int(lock.Pid), nil
}
