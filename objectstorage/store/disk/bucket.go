package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"minicloud.internal/objectstorage/store"
)

// maxBucketName is in bytes; doors allow far fewer names than the driver.
const maxBucketName = 255

// A bucket is one of the few that there are, all of them in memory.
type bucket struct {
	id   uint32
	info atomic.Pointer[store.Bucket]

	// mu is held for reading by whoever writes into the bucket, until that is
	// durable, and for writing by whoever changes or removes it. It is taken
	// before any lock of a key or an upload.
	mu   sync.RWMutex
	gone bool
}

func (b *bucket) versioning() store.Versioning { return b.info.Load().Versioning }

const bucketFormat = 1

// encodeBucket: format (1 byte) | id (4 bytes) | created | versioning | anonymous |
// name and content of each document | CRC-32C.
func encodeBucket(row []byte, id uint32, b *store.Bucket) []byte {
	v := binary.BigEndian.AppendUint32([]byte{bucketFormat}, id)
	v = binary.AppendVarint(v, b.Created.UnixNano())
	v = appendString(appendString(v, string(b.Versioning)), b.Anonymous)
	v = binary.AppendUvarint(v, uint64(len(b.Documents)))
	for _, name := range slices.Sorted(maps.Keys(b.Documents)) {
		v = appendString(appendString(v, name), string(b.Documents[name]))
	}
	return seal(row, v)
}

func decodeBucket(row, value []byte) (id uint32, b *store.Bucket, err error) {
	if value, err = unseal(row, value); err != nil {
		return 0, nil, err
	}
	d := decoder{b: value}
	if format := d.byte(); format != bucketFormat {
		return 0, nil, corrupt("a bucket is of the format %d, expected %d", format, bucketFormat)
	}
	if raw := d.bytes(4); raw != nil {
		id = binary.BigEndian.Uint32(raw)
	}
	b = &store.Bucket{Name: string(row[1:]), Created: time.Unix(0, d.varint()).UTC()}
	b.Versioning, b.Anonymous = store.Versioning(d.string()), d.string()
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		if b.Documents == nil {
			b.Documents = map[string][]byte{}
		}
		name := d.string()
		b.Documents[name] = []byte(d.string())
	}
	return id, b, d.end()
}

// openBuckets reads all buckets.
func (s *Store) openBuckets() error {
	var bad error
	err := s.engine.Scan([]byte{rowBucket}, []byte{rowBucket + 1}, func(row, value []byte) bool {
		id, info, err := decodeBucket(row, value)
		if err != nil {
			bad = fmt.Errorf("the bucket %q: %w", row[1:], err)
			return false
		}
		b := &bucket{id: id}
		b.info.Store(info)
		s.buckets[info.Name] = b
		return true
	})
	return errors.Join(err, bad)
}

// find returns a bucket, for reading.
func (s *Store) find(name string) (*bucket, error) {
	s.bucketsMu.RLock()
	defer s.bucketsMu.RUnlock()
	if b := s.buckets[name]; b != nil {
		return b, nil
	}
	return nil, store.ErrNoBucket
}

// enter returns a bucket, for writing into it until leave.
func (s *Store) enter(name string) (b *bucket, leave func(), err error) {
	if b, err = s.find(name); err != nil {
		return nil, nil, err
	}
	b.mu.RLock()
	if b.gone {
		b.mu.RUnlock()
		return nil, nil, store.ErrNoBucket
	}
	return b, b.mu.RUnlock, nil
}

// CreateBucket implements [store.Store].
func (s *Store) CreateBucket(ctx context.Context, info store.Bucket) error {
	if info.Name == "" || len(info.Name) > maxBucketName {
		return fmt.Errorf("create a bucket: its name has %d bytes, expected 1 to %d", len(info.Name), maxBucketName)
	}
	if err := checkVersioning(store.Off, info.Versioning); err != nil {
		return err
	}
	s.bucketsMu.Lock()
	defer s.bucketsMu.Unlock()
	if s.buckets[info.Name] != nil {
		return store.ErrBucketExists
	}
	if err := s.engine.Room(); err != nil {
		return s.classify("create a bucket", err)
	}
	counter := metaRow("buckets")
	value, ok, err := s.engine.Get(counter)
	if err != nil {
		return s.classify("create a bucket", err)
	}
	b := &bucket{id: 1}
	if ok {
		if value, err = unseal(counter, value); err != nil || len(value) != 4 {
			return errors.Join(corrupt("the row of the bucket counter has %d bytes", len(value)), err)
		}
		b.id = binary.BigEndian.Uint32(value) + 1
	}
	info.Created, info.Documents = s.o.Now().UTC().Round(0), cloneDocuments(info.Documents)
	b.info.Store(&info)
	row := bucketRow(info.Name)
	t := s.begin()
	defer t.end()
	t.set(counter, seal(counter, binary.BigEndian.AppendUint32(nil, b.id)))
	t.set(row, encodeBucket(row, b.id, &info))
	if err := t.commit("create a bucket"); err != nil {
		return err
	}
	s.buckets[info.Name] = b
	return nil
}

// checkVersioning refuses what is none of the three states, and the way back.
func checkVersioning(from, to store.Versioning) error {
	switch {
	case to != store.Off && to != store.Enabled && to != store.Suspended:
		return fmt.Errorf("the versioning is %q, expected %q, %q or none", to, store.Enabled, store.Suspended)
	case to == store.Off && from != store.Off:
		return errors.New("the versioning cannot be off again; it can be suspended")
	}
	return nil
}

func cloneDocuments(m map[string][]byte) map[string][]byte {
	c := maps.Clone(m)
	for name, doc := range c {
		c[name] = slices.Clone(doc)
	}
	return c
}

// GetBucket implements [store.Store].
func (s *Store) GetBucket(ctx context.Context, name string) (store.Bucket, error) {
	b, err := s.find(name)
	if err != nil {
		return store.Bucket{}, err
	}
	return *b.info.Load(), nil
}

// ListBuckets implements [store.Store].
func (s *Store) ListBuckets(ctx context.Context) ([]store.Bucket, error) {
	s.bucketsMu.RLock()
	defer s.bucketsMu.RUnlock()
	all := make([]store.Bucket, 0, len(s.buckets))
	for _, b := range s.buckets {
		all = append(all, *b.info.Load())
	}
	slices.SortFunc(all, func(a, b store.Bucket) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// UpdateBucket implements [store.Store].
func (s *Store) UpdateBucket(ctx context.Context, name string, change func(*store.Bucket) error) error {
	b, err := s.find(name)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return store.ErrNoBucket
	}
	old := b.info.Load()
	info := *old
	info.Documents = cloneDocuments(old.Documents)
	if err := change(&info); err != nil {
		return err
	}
	info.Name, info.Created, info.Documents = old.Name, old.Created, cloneDocuments(info.Documents)
	if err := checkVersioning(old.Versioning, info.Versioning); err != nil {
		return err
	}
	if err := s.engine.Room(); err != nil {
		return s.classify("update a bucket", err)
	}
	row := bucketRow(name)
	t := s.begin()
	defer t.end()
	t.set(row, encodeBucket(row, b.id, &info))
	if err := t.commit("update a bucket"); err != nil {
		return err
	}
	b.info.Store(&info)
	return nil
}

// DeleteBucket implements [store.Store].
func (s *Store) DeleteBucket(ctx context.Context, name string) error {
	b, err := s.find(name)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return store.ErrNoBucket
	}
	first, err := s.first(bucketRows(rowLatest, b.id, 0))
	if err != nil {
		return s.classify("delete a bucket", err)
	}
	if first.key != nil {
		return store.ErrBucketNotEmpty
	}
	if err := s.abortAll(b); err != nil {
		return err
	}
	t := s.begin()
	defer t.end()
	t.delete(bucketRow(name))
	if err := t.commit("delete a bucket"); err != nil {
		return err
	}
	b.gone = true
	s.bucketsMu.Lock()
	defer s.bucketsMu.Unlock()
	delete(s.buckets, name)
	return nil
}
