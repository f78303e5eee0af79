package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"minicloud.internal/kit/engine"
	"minicloud.internal/objectstorage/store"
)

const (
	// blobDirs are the directories below blobs, 00 to 1f: few enough to be made at
	// the first start, and enough for a million files.
	blobDirs = 32
	// blobDirTime is for how long the files that are begun go to one directory,
	// as a power of two of nanoseconds: 0.27 s. Those that are begun together
	// share an fsync of it.
	blobDirTime = 28
	// blockSize is the unit of the checksums of a file.
	blockSize = 1 << 20
	// bufferSize is the unit in which bodies are read, hashed and written; a
	// block is a multiple of it.
	bufferSize = 256 << 10
	// syncEvery bounds what the kernel holds back of one body, and with it
	// how long the last sync takes.
	syncEvery = 64 << 20
)

func blobDir(id uint64) int { return int(id>>blobDirTime) % blobDirs }

func (s *Store) dirPath(n int) string {
	return s.fs.PathJoin(s.blobs, strconv.FormatInt(int64(n)+256, 16)[1:])
}

func (s *Store) blobPath(id uint64) string {
	return s.fs.PathJoin(s.dirPath(blobDir(id)), formatID(id))
}

// makeBlobDirs makes the directories that are missing, durably.
func (s *Store) makeBlobDirs() error {
	have, err := s.fs.List(s.blobs)
	if err != nil || len(have) >= blobDirs {
		return err
	}
	for n := range blobDirs {
		if err := s.fs.MkdirAll(s.dirPath(n), 0o700); err != nil {
			return err
		}
	}
	return s.syncPath(s.blobs)
}

// syncPath makes what was created in a directory durable.
func (s *Store) syncPath(dir string) error {
	d, err := s.fs.OpenDir(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closed := d.Close(); err == nil {
		err = closed
	}
	return err
}

// A dirSync lets all who wait for a directory's fsync share the next one that
// begins.
type dirSync struct {
	turn sync.Mutex // held during an fsync
	mu   sync.Mutex
	next *round // has not begun yet
}

type round struct {
	done   chan struct{}
	err    error
	shared int // how many wait besides who began it
}

func (d *dirSync) wait(fsync func() error) error {
	d.mu.Lock()
	r := d.next
	if r != nil {
		r.shared++
		d.mu.Unlock()
		<-r.done
		return r.err
	}
	r = &round{done: make(chan struct{})}
	d.next = r
	d.mu.Unlock()

	d.turn.Lock()
	defer d.turn.Unlock()
	d.mu.Lock()
	d.next = nil // who comes now may have made something after this fsync began
	d.mu.Unlock()
	r.err = fsync()
	close(r.done)
	return r.err
}

// A blob is a file being written. It has its final name from the beginning: the
// rows of the database make it a body, and until then it is an orphan.
type blob struct {
	s        *Store
	id       uint64
	f        vfs.File
	size     int64
	unsynced int64
	crc      uint32 // of the block under way
	sums     []byte // of the blocks before
}

func (s *Store) createBlob() (*blob, error) {
	id, err := s.clock.next()
	if err != nil {
		return nil, s.classify("create a file", err)
	}
	f, err := s.fs.Create(s.blobPath(id), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, s.classify("create a file", err)
	}
	return &blob{s: s, id: id, f: f}, nil
}

// write appends p, at most [bufferSize] bytes, and as many unless it is the last.
func (b *blob) write(p []byte) error {
	b.crc = crc32.Update(b.crc, castagnoli, p)
	n, err := b.f.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return b.s.classify("write a body", err)
	}
	b.size += int64(len(p))
	if b.unsynced += int64(len(p)); b.unsynced >= syncEvery {
		if err := b.sync(); err != nil {
			return err
		}
	}
	if b.size%blockSize != 0 {
		return nil
	}
	b.endBlock()
	if err := b.s.engine.Room(); err != nil {
		return b.s.classify("write a body", err)
	}
	return nil
}

func (b *blob) endBlock() {
	b.sums = binary.LittleEndian.AppendUint32(b.sums, b.crc)
	b.crc = 0
}

// sync makes the file's bytes durable. A full disk may show only here; that
// condemns this upload and no other, so writing goes on. After any other
// failure the store stops: the kernel may have dropped the pages and called
// them clean, so a retry would succeed and lie.
func (b *blob) sync() error {
	b.unsynced = 0
	err := b.f.SyncData()
	if err == nil {
		return nil
	}
	if engine.IsShortage(err) {
		return b.s.classify("sync a body", err)
	}
	return b.s.stop(fmt.Errorf("sync a body: %w", err))
}

// finish makes the file durable, and its name.
func (b *blob) finish() error {
	if b.size%blockSize != 0 {
		b.endBlock()
	}
	if err := b.sync(); err != nil {
		return err
	}
	f := b.f
	b.f = nil
	if err := f.Close(); err != nil {
		return b.s.classify("close a file", err)
	}
	dir := blobDir(b.id)
	err := b.s.dirs[dir].wait(func() error { return b.s.syncPath(b.s.dirPath(dir)) })
	switch {
	case err == nil:
		return nil
	case engine.IsShortage(err):
		return b.s.classify("sync a directory", err)
	}
	return b.s.stop(fmt.Errorf("sync a directory: %w", err))
}

// remove gives the file up. What cannot be removed now is an orphan.
func (b *blob) remove() {
	if b.f != nil {
		_ = b.f.Close()
		b.f = nil
	}
	_ = b.s.fs.Remove(b.s.blobPath(b.id))
}

// stop ends all writing because of a failed sync.
func (s *Store) stop(cause error) error {
	s.engine.Fail(cause)
	return fmt.Errorf("%w: %w", store.ErrStopped, cause)
}

// An osFile is what [vfs.Default] opens.
type osFile interface {
	io.ReadSeekCloser
	syscall.Conn
}
