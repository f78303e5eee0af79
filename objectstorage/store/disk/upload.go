package disk

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"syscall"

	"minicloud.internal/objectstorage/store"
)

const (
	// bufferSize is the unit in which bodies are read, hashed and written.
	bufferSize = 256 << 10
	// syncEvery bounds what the kernel holds back of one body, and with it
	// how long the last sync takes.
	syncEvery = 64 << 20
)

// upload is a file in tmp. It implements [store.Upload].
type upload struct {
	s      *Store
	path   string
	f      File // nil once closed
	hash   hash.Hash
	etag   string
	size   int64
	staged bool // the file exists in tmp
}

// Stage implements [store.Store].
func (s *Store) Stage(ctx context.Context, body io.Reader) (store.Upload, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	u := &upload{s: s, path: filepath.Join(s.tmp, hex.EncodeToString(random)), hash: md5.New()}
	f, err := s.fs.Create(u.path)
	if err != nil {
		return nil, classify("create a temporary file", err)
	}
	u.f, u.staged = f, true
	if err := u.fill(ctx, body); err != nil {
		u.Discard()
		return nil, err
	}
	u.etag = hex.EncodeToString(u.hash.Sum(nil))
	return u, nil
}

// fill writes zeros in the place of the header, and the body.
func (u *upload) fill(ctx context.Context, body io.Reader) error {
	buffer := u.s.buffers.Get().(*[]byte)
	defer u.s.buffers.Put(buffer)
	clear((*buffer)[:headerSize])
	// start is where the body begins in the buffer, and n where it ends.
	start, n, unsynced := headerSize, headerSize, 0
	for end := error(nil); end == nil; {
		var k int
		// io.ReadFull would make one error of a body's end and its being cut off.
		for n < bufferSize && end == nil {
			k, end = body.Read((*buffer)[n:])
			n += k
		}
		if end != nil && end != io.EOF {
			return &store.BodyError{Err: end}
		}
		if err := ctx.Err(); err != nil {
			return &store.BodyError{Err: err}
		}
		if _, err := u.f.Write((*buffer)[:n]); err != nil {
			return classify("write a body", err)
		}
		_, _ = u.hash.Write((*buffer)[start:n]) // never fails (hash.Hash)
		u.size += int64(n - start)
		if unsynced += n; unsynced >= syncEvery {
			if err := u.sync(); err != nil {
				return err
			}
			unsynced = 0
		}
		start, n = 0, 0
	}
	return nil
}

// sync makes the file's bytes durable. A full disk may show only here; that
// condemns this upload and no other, so writing goes on.
func (u *upload) sync() error {
	err := u.f.Sync()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return classify("sync a body", err)
	}
	return u.s.stop(fmt.Errorf("sync a body: %w", err))
}

func (u *upload) Size() int64 { return u.size }

func (u *upload) ETag() string { return u.etag }

// Commit implements [store.Upload].
func (u *upload) Commit(ctx context.Context, key string, m store.Meta, c store.Condition) (store.Info, bool, error) {
	defer u.Discard()
	if err := errors.Join(store.CheckKey(key), m.Check()); err != nil {
		return store.Info{}, false, err
	}
	info := store.Info{Key: key, Size: u.size, ETag: u.etag, Modified: u.s.now().UTC().Round(0), Meta: m}
	if err := u.finish(info); err != nil {
		return store.Info{}, false, err
	}
	created, err := u.publish(info, c)
	if err != nil {
		return store.Info{}, false, err
	}
	return info, created, nil
}

// finish makes the file complete and durable, still in tmp.
func (u *upload) finish(info store.Info) error {
	if u.f == nil {
		return errors.New("commit an upload: it was committed or discarded before")
	}
	header, err := encodeHeader(info)
	if err != nil {
		return err
	}
	if _, err := u.f.WriteAt(header, 0); err != nil {
		return classify("write a header", err)
	}
	if err := u.sync(); err != nil {
		return err
	}
	f := u.f
	u.f = nil
	return classify("close a file", f.Close())
}

// publish decides c and gives the file its name, as one step for everybody who
// uses the key.
func (u *upload) publish(info store.Info, c store.Condition) (created bool, err error) {
	s := u.s
	path, lock := s.locate(info.Key)
	lock.Lock()
	defer lock.Unlock()
	if err := s.writable(); err != nil {
		return false, err
	}
	exists, err := s.check(info.Key, path, c)
	if err != nil {
		return false, err
	}
	if err := s.fs.Rename(u.path, path); err != nil {
		return false, classify("publish an object", err)
	}
	u.staged = false
	err = s.syncDir(filepath.Dir(path))
	// Of a new key that is not durable nothing shall be seen. An old version
	// cannot be had back: the index then says what the disk does.
	if err != nil && !exists && s.fs.Remove(path) == nil {
		return false, err
	}
	s.index.set(info)
	return !exists, err
}

// Discard implements [store.Upload].
func (u *upload) Discard() {
	if u.f != nil {
		_ = u.f.Close()
		u.f = nil
	}
	if u.staged {
		// What cannot be removed now is removed at the next start.
		_ = u.s.fs.Remove(u.path)
		u.staged = false
	}
}
