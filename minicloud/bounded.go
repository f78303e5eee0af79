package minicloud

import (
	"io"
	"os"
	"sync"
)

// maxLog bounds the log file of a background process, in bytes; as much again
// of what came before is kept beside it.
const maxLog = 32 << 20

// boundedLog is a log file that does not fill the disk: when it is full, its
// content moves to a second file. The content, not the file: the process's own
// standard error is open on it too, and appends to whatever is there.
type boundedLog struct {
	name  string
	limit int64

	mu   sync.Mutex
	file *os.File // appending
	size int64
}

// boundLog returns a bounded writer where stderr is the log file itself, as in
// a process of [command.spawn], and otherwise stderr, which is the user's.
func boundLog(stderr io.Writer, logFile string, limit int64) io.Writer {
	f, ok := stderr.(*os.File)
	if !ok {
		return stderr
	}
	own, err := f.Stat()
	if err != nil {
		return stderr
	}
	if named, err := os.Stat(logFile); err != nil || !os.SameFile(own, named) {
		return stderr
	}
	return &boundedLog{name: logFile, limit: limit, file: f, size: own.Size()}
}

func (l *boundedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > 0 && l.size+int64(len(p)) > l.limit {
		// A log that cannot be moved, as on a full disk, is given up: the
		// services go on.
		_ = l.move()
		if err := l.file.Truncate(0); err == nil {
			l.size = 0
		}
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, err
}

func (l *boundedLog) move() error {
	from, err := os.Open(l.name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(l.name+".1", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	if closeErr := to.Close(); err == nil {
		err = closeErr
	}
	return err
}
