package disk

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"slices"

	"minicloud.internal/objectstorage/store"
)

// An upload is a body in memory, or in a file. It implements [store.Upload].
type upload struct {
	s    *Store
	data *[]byte // of the store's, given back when the upload is done
	blob *blob   // nil: data is the body
	size int64
	sum  [md5.Size]byte
	done bool // committed or discarded
}

// Stage implements [store.Store].
func (s *Store) Stage(ctx context.Context, body io.Reader, size int64) (store.Upload, error) {
	if err := s.engine.Room(); err != nil {
		return nil, s.classify("take a body", err)
	}
	if size >= 0 && size <= s.o.InlineThreshold {
		data := s.inlines.Get().(*[]byte)
		*data = slices.Grow((*data)[:0], int(size)+1)[:size+1]
		n, err := readFull(body, *data)
		if err == io.EOF {
			*data = (*data)[:n]
			return s.inline(data), nil
		}
		defer s.inlines.Put(data)
		if err != nil {
			return nil, &store.BodyError{Err: err}
		}
		body = io.MultiReader(bytes.NewReader(*data), body) // it is longer than that
	}
	buffer := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buffer)
	n, err := readFull(body, *buffer)
	if err != nil && err != io.EOF {
		return nil, &store.BodyError{Err: err}
	}
	if err == io.EOF && int64(n) <= s.o.InlineThreshold {
		data := s.inlines.Get().(*[]byte)
		*data = append((*data)[:0], (*buffer)[:n]...)
		return s.inline(data), nil
	}
	u := &upload{s: s}
	if u.blob, err = s.createBlob(); err != nil {
		return nil, err
	}
	if err := u.fill(ctx, body, *buffer, n); err != nil {
		u.Discard()
		return nil, err
	}
	return u, nil
}

func (s *Store) inline(data *[]byte) *upload {
	return &upload{s: s, data: data, size: int64(len(*data)), sum: md5.Sum(*data)}
}

// readFull fills p; an error says that the body ended before. io.ReadFull would
// make one error of a body's end and its being cut off.
func readFull(body io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = body.Read(p[n:])
		n += k
	}
	if n == len(p) && err == io.EOF {
		err = nil // the next read says so again
	}
	return n, err
}

// fill writes the n bytes that are in the buffer, and the rest of the body.
func (u *upload) fill(ctx context.Context, body io.Reader, buffer []byte, n int) error {
	hash := md5.New()
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return &store.BodyError{Err: err}
		}
		_, _ = hash.Write(buffer[:n]) // never fails (hash.Hash)
		if err := u.blob.write(buffer[:n]); err != nil {
			return err
		}
		if n < len(buffer) {
			break
		}
		var err error
		if n, err = readFull(body, buffer); err != nil && err != io.EOF {
			return &store.BodyError{Err: err}
		}
	}
	u.size = u.blob.size
	hash.Sum(u.sum[:0])
	return nil
}

func (u *upload) Size() int64 { return u.size }

func (u *upload) ETag() string { return hex.EncodeToString(u.sum[:]) }

// Commit implements [store.Upload].
func (u *upload) Commit(ctx context.Context, bucket, key string, a store.Attributes, c store.Condition) (store.Info, bool, error) {
	defer u.Discard()
	if err := errors.Join(store.CheckKey(key), a.Check()); err != nil {
		return store.Info{}, false, err
	}
	if _, err := u.s.find(bucket); err != nil {
		return store.Info{}, false, err
	}
	if err := u.finish(); err != nil {
		return store.Info{}, false, err
	}
	b, leave, err := u.s.enter(bucket)
	if err != nil {
		return store.Info{}, false, err
	}
	defer leave()
	t := u.s.begin()
	defer t.end()
	r := &record{modified: u.s.o.Now().UnixNano(), size: u.size, sum: u.sum, attributes: clone(a)}
	if r.body, err = u.place(t); err != nil {
		return store.Info{}, false, err
	}
	created, err := u.s.publish(t, b, key, r, c)
	u.published(err)
	if err != nil {
		return store.Info{}, false, err
	}
	return r.info(key, true), created, nil
}

// finish makes a body in a file durable.
func (u *upload) finish() error {
	if u.done {
		return errors.New("commit an upload: it was committed or discarded before")
	}
	if err := u.s.writable(); err != nil || u.blob == nil {
		return err
	}
	return u.blob.finish()
}

// place enters the body into a batch.
func (u *upload) place(t *tx) (location, error) {
	switch {
	case u.size == 0:
		return location{}, nil
	case u.blob != nil:
		row := idRow(rowSums, u.blob.id)
		t.set(row, seal(row, u.blob.sums))
		return location{bodyFile, u.blob.id}, nil
	}
	id, err := u.s.clock.next()
	if err != nil {
		return location{}, u.s.classify("commit an object", err)
	}
	data := *u.data
	op := t.b.SetDeferred(9, 4+len(data))
	appendID(op.Key[:0], rowBody, id)
	binary.LittleEndian.PutUint32(op.Value, crc32.Checksum(data, castagnoli))
	copy(op.Value[4:], data)
	t.err = errors.Join(t.err, op.Finish())
	return location{bodyInline, id}, nil
}

// published is told how the commit ended. After a stop the rows may be on disk,
// and the next start decides.
func (u *upload) published(err error) {
	if err == nil || errors.Is(err, store.ErrStopped) {
		u.done = true
	}
}

// Discard implements [store.Upload].
func (u *upload) Discard() {
	if !u.done && u.blob != nil {
		u.blob.remove()
	}
	if u.data != nil {
		u.s.inlines.Put(u.data)
	}
	u.done, u.data = true, nil
}
