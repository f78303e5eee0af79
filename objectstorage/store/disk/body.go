package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"sort"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"minicloud.internal/objectstorage/store"
)

// open opens the body of a record whose key's lock is held. parts are those of
// the object, if it was completed of parts.
func (s *Store) open(r *record) (body io.ReadSeekCloser, parts []store.Part, err error) {
	if r.body.kind != bodyManifest {
		body, err = s.openLocation(r.body, r.size)
		return body, nil, err
	}
	m, err := s.manifest(r.body.id)
	if err != nil {
		return nil, nil, err
	}
	if len(m) == 1 {
		body, err = s.openLocation(m[0].body, m[0].size)
	} else {
		body, err = s.openSegments(r, m)
	}
	return body, infoOf(m), err
}

func (s *Store) openLocation(l location, size int64) (io.ReadSeekCloser, error) {
	switch l.kind {
	case bodyNone:
		return &memory{}, nil
	case bodyInline:
		return s.openInline(l.id, size)
	case bodyFile:
		f, err := s.openFile(l.id, size)
		if err != nil {
			return nil, err
		}
		if o, ok := f.(osFile); ok {
			return file{o, s}, nil
		}
		return section{io.NewSectionReader(f, 0, size), f}, nil
	}
	return nil, corrupt("a body is of the kind %d", l.kind)
}

// openInline opens a body that is in the database.
func (s *Store) openInline(id uint64, size int64) (io.ReadSeekCloser, error) {
	b := &memory{buffer: s.inlines.Get().(*[]byte), pool: &s.inlines}
	data, err := s.inlineBody((*b.buffer)[:0], id, size)
	if err != nil {
		_ = b.Close()
		return nil, err
	}
	*b.buffer = data[:0]
	b.Reset(data[4:])
	return b, nil
}

// inlineBody reads a body from the database and verifies it. It appends it to dst,
// behind the 4 bytes of its checksum.
func (s *Store) inlineBody(dst []byte, id uint64, size int64) ([]byte, error) {
	var row [9]byte
	value, ok, err := s.engine.Append(dst, appendID(row[:0], rowBody, id))
	switch {
	case err != nil:
		return nil, s.readFailure("read a body", err)
	case !ok:
		return nil, corrupt("the body is missing")
	case int64(len(value)) != 4+size:
		return nil, corrupt("the body has %d bytes, expected %d", len(value)-4, size)
	case binary.LittleEndian.Uint32(value) != crc32.Checksum(value[4:], castagnoli):
		return nil, corrupt("the checksum of the body is wrong")
	}
	return value, nil
}

// openFile opens a body that is a file and checks its length.
func (s *Store) openFile(id uint64, size int64) (vfs.File, error) {
	f, err := s.fs.Open(s.blobPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, corrupt("the file of the body is missing: %s", s.blobPath(id))
	}
	if err != nil {
		return nil, s.readFailure("open a body", err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() != size {
		err = corrupt("the file of the body has %d bytes, expected %d: %s", info.Size(), size, s.blobPath(id))
	}
	if err != nil {
		_ = f.Close()
		return nil, s.readFailure("open a body", err)
	}
	return f, nil
}

// memory is a body that was read at once, into a buffer that Close gives back.
type memory struct {
	bytes.Reader
	buffer *[]byte // nil: there is nothing to give back
	pool   *sync.Pool
}

func (b *memory) Close() error {
	b.Reset(nil)
	if b.buffer != nil {
		b.pool.Put(b.buffer)
		b.buffer = nil
	}
	return nil
}

// file is a body that is one file. Unlike that, it cannot be written to.
type file struct {
	f osFile
	s *Store
}

func (b file) Read(p []byte) (int, error) {
	n, err := b.f.Read(p)
	if err != nil && err != io.EOF {
		err = b.s.readFailure("read a body", err)
	}
	return n, err
}

func (b file) Seek(offset int64, whence int) (int64, error) { return b.f.Seek(offset, whence) }

// SyscallConn lets net send the body with sendfile(2), from the file's offset
// up to its end.
func (b file) SyscallConn() (syscall.RawConn, error) { return b.f.SyscallConn() }

func (b file) Close() error { return b.f.Close() }

// section is a body on a file system that is not the operating system's.
type section struct {
	*io.SectionReader
	f vfs.File
}

func (b section) Close() error { return b.f.Close() }

// segments is a body in several places, one after the other.
type segments struct {
	s    *Store
	id   uint64 // of the manifest, which is pinned
	m    []part
	ends []int64 // where each segment ends in the body
	at   int64
	size int64

	open   int // index of the segment that body is; -1: none
	body   io.ReadSeekCloser
	bodyAt int64 // offset in the whole of what body gives next
	closed bool
}

func (s *Store) openSegments(r *record, m []part) (io.ReadSeekCloser, error) {
	b := &segments{s: s, id: r.body.id, m: m, ends: make([]int64, len(m)), open: -1}
	for i := range m {
		b.size += m[i].size
		b.ends[i] = b.size
	}
	if b.size != r.size {
		return nil, corrupt("the parts have %d bytes, expected %d", b.size, r.size)
	}
	s.pinsMu.Lock()
	s.pins[b.id]++
	s.pinsMu.Unlock()
	return b, nil
}

func (b *segments) Read(p []byte) (int, error) {
	if b.closed {
		return 0, fs.ErrClosed
	}
	for len(p) > 0 {
		if b.at >= b.size {
			return 0, io.EOF
		}
		if err := b.seekBody(); err != nil {
			return 0, err
		}
		n, err := b.body.Read(p[:min(int64(len(p)), b.ends[b.open]-b.at)])
		b.at += int64(n)
		b.bodyAt += int64(n)
		if err == io.EOF {
			if err = nil; n == 0 {
				err = corrupt("a part ends before its end")
			}
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, nil
}

// seekBody opens the segment that has the byte at b.at, and seeks to it.
func (b *segments) seekBody() error {
	i := sort.Search(len(b.ends), func(i int) bool { return b.at < b.ends[i] })
	begin := b.ends[i] - b.m[i].size
	if i != b.open {
		b.closeBody()
		body, err := b.s.openLocation(b.m[i].body, b.m[i].size)
		if err != nil {
			return err
		}
		b.open, b.body, b.bodyAt = i, body, begin
	}
	if b.bodyAt != b.at {
		if _, err := b.body.Seek(b.at-begin, io.SeekStart); err != nil {
			return err
		}
		b.bodyAt = b.at
	}
	return nil
}

func (b *segments) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.at
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d: %w", offset, syscall.EINVAL)
	}
	b.at = offset
	return offset, nil
}

func (b *segments) closeBody() {
	if b.body != nil {
		_ = b.body.Close()
	}
	b.body, b.open = nil, -1
}

// Close lets the parts go, if the object was replaced meanwhile.
func (b *segments) Close() error {
	if b.closed {
		return fs.ErrClosed
	}
	b.closed = true
	b.closeBody()
	b.s.pinsMu.Lock()
	defer b.s.pinsMu.Unlock()
	if b.s.pins[b.id]--; b.s.pins[b.id] == 0 {
		delete(b.s.pins, b.id)
		b.s.wakeCollector()
	}
	return nil
}
