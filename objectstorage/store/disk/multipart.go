package disk

import (
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"minicloud.internal/kit/engine"
	"minicloud.internal/objectstorage/store"
)

const (
	uploadFormat = 1
	partFormat   = 1
)

// encodeUpload: format (1 byte) | when it began | attributes | CRC-32C.
func encodeUpload(row []byte, m *store.Multipart) []byte {
	b := binary.AppendVarint([]byte{uploadFormat}, m.Initiated.UnixNano())
	return seal(row, appendAttributes(b, &m.Attributes))
}

func decodeUpload(row, value []byte, key string, id uint64) (store.Multipart, error) {
	value, err := unseal(row, value)
	if err != nil {
		return store.Multipart{}, err
	}
	d := decoder{b: value}
	if format := d.byte(); format != uploadFormat {
		return store.Multipart{}, corrupt("an upload is of the format %d, expected %d", format, uploadFormat)
	}
	m := store.Multipart{Key: key, ID: formatID(id), Initiated: time.Unix(0, d.varint()).UTC()}
	d.attributes(&m.Attributes, false)
	return m, d.end()
}

// A part is one of an upload, or of the object that became of it.
type part struct {
	number   int
	size     int64
	sum      [md5.Size]byte
	modified int64
	checksum store.Checksum
	body     location
}

// append writes the part: number | size | MD5 (16 bytes) | modified | the three
// strings of its checksum | body.
func (p *part) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(p.number))
	b = binary.AppendUvarint(b, uint64(p.size))
	b = append(b, p.sum[:]...)
	b = binary.AppendVarint(b, p.modified)
	b = appendString(appendString(appendString(b, p.checksum.Algorithm), p.checksum.Type), p.checksum.Value)
	return p.body.append(b)
}

func (d *decoder) part() part {
	p := part{number: int(min(d.uvarint(), store.MaxPart+1)), size: d.size()}
	copy(p.sum[:], d.bytes(md5.Size))
	p.modified = d.varint()
	p.checksum = store.Checksum{Algorithm: d.string(), Type: d.string(), Value: d.string()}
	p.body = d.location()
	if p.number < 1 || p.number > store.MaxPart || p.body.kind == bodyManifest {
		d.bad = true
	}
	return p
}

func encodePart(row []byte, p *part) []byte { return seal(row, p.append([]byte{partFormat})) }

// encodeManifest: format (1 byte) | the parts | CRC-32C.
func encodeManifest(row []byte, parts []part) []byte {
	b := []byte{partFormat}
	for i := range parts {
		b = parts[i].append(b)
	}
	return seal(row, b)
}

func decodeManifest(row, value []byte) ([]part, error) {
	value, err := unseal(row, value)
	if err != nil {
		return nil, err
	}
	d := decoder{b: value}
	if format := d.byte(); format != partFormat {
		return nil, corrupt("parts are of the format %d, expected %d", format, partFormat)
	}
	var parts []part
	for len(d.b) > 0 && !d.bad {
		parts = append(parts, d.part())
	}
	return parts, d.end()
}

func decodePart(row, value []byte) (part, error) {
	parts, err := decodeManifest(row, value)
	if err == nil && len(parts) != 1 {
		err = corrupt("a row has %d parts, expected 1", len(parts))
	}
	if err != nil {
		return part{}, err
	}
	return parts[0], nil
}

func (p *part) etag() string { return hex.EncodeToString(p.sum[:]) }

func (p *part) info() store.Part {
	return store.Part{Number: p.number, Size: p.size, ETag: p.etag(), Modified: time.Unix(0, p.modified).UTC(), Checksum: p.checksum}
}

func infoOf(parts []part) []store.Part {
	all := make([]store.Part, len(parts))
	for i := range parts {
		all[i] = parts[i].info()
	}
	return all
}

// manifest reads the parts of an object.
func (s *Store) manifest(id uint64) ([]part, error) {
	row := idRow(rowManifest, id)
	value, ok, err := s.engine.Get(row)
	if err != nil {
		return nil, s.readFailure("read the parts of an object", err)
	}
	if !ok {
		return nil, corrupt("the list of the parts is missing")
	}
	return decodeManifest(row, value)
}

func (s *Store) partsOf(r *record) ([]store.Part, error) {
	if r.body.kind != bodyManifest {
		return nil, nil
	}
	m, err := s.manifest(r.body.id)
	if err != nil {
		return nil, err
	}
	return infoOf(m), nil
}

// CreateMultipart implements [store.Store].
func (s *Store) CreateMultipart(ctx context.Context, bucket string, m store.Multipart) (string, error) {
	if err := errors.Join(store.CheckKey(m.Key), m.Attributes.Check()); err != nil {
		return "", err
	}
	if err := s.engine.Room(); err != nil {
		return "", s.classify("begin an upload", err)
	}
	b, leave, err := s.enter(bucket)
	if err != nil {
		return "", err
	}
	defer leave()
	id, err := s.clock.next()
	if err != nil {
		return "", s.classify("begin an upload", err)
	}
	m.Initiated = s.o.Now()
	row := uploadRow(b.id, m.Key, id)
	t := s.begin()
	defer t.end()
	t.set(row, encodeUpload(row, &m))
	return formatID(id), t.commit("begin an upload")
}

// upload finds an unfinished upload.
func (s *Store) upload(b *bucket, key, id string) (m store.Multipart, n uint64, row []byte, err error) {
	n, ok := parseID(id)
	if !ok {
		return m, 0, nil, store.ErrNoUpload
	}
	row = uploadRow(b.id, key, n)
	value, ok, err := s.engine.Get(row)
	if err != nil {
		return m, 0, nil, s.classify("read an upload", err)
	}
	if !ok {
		return m, 0, nil, store.ErrNoUpload
	}
	m, err = decodeUpload(row, value, key, n)
	return m, n, row, err
}

func (s *Store) uploadLock(id string) *sync.RWMutex {
	return &s.uploads[maphash.String(s.seed, id)%uploadStripes]
}

// GetMultipart implements [store.Store].
func (s *Store) GetMultipart(ctx context.Context, bucket, key, id string) (store.Multipart, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Multipart{}, err
	}
	b, err := s.find(bucket)
	if err != nil {
		return store.Multipart{}, err
	}
	m, _, _, err := s.upload(b, key, id)
	return m, err
}

// CommitPart implements [store.Upload].
func (u *upload) CommitPart(ctx context.Context, bucket, key, id string, number int, checksum store.Checksum) (store.Part, error) {
	defer u.Discard()
	if err := store.CheckKey(key); err != nil {
		return store.Part{}, err
	}
	if number < 1 || number > store.MaxPart {
		return store.Part{}, &store.PartError{Number: number, Reason: fmt.Sprintf("is not between 1 and %d", store.MaxPart)}
	}
	if b, err := u.s.find(bucket); err != nil {
		return store.Part{}, err
	} else if _, _, _, err := u.s.upload(b, key, id); err != nil {
		return store.Part{}, err // before the disk has work with it
	}
	if err := u.finish(); err != nil {
		return store.Part{}, err
	}
	b, leave, err := u.s.enter(bucket)
	if err != nil {
		return store.Part{}, err
	}
	defer leave()
	p := part{number: number, size: u.size, sum: u.sum, modified: u.s.o.Now().UnixNano(), checksum: checksum}
	err = u.publishPart(b, key, id, &p)
	u.published(err)
	if err != nil {
		return store.Part{}, err
	}
	return p.info(), nil
}

// publishPart makes the upload a part, in place of an earlier one.
func (u *upload) publishPart(b *bucket, key, id string, p *part) error {
	s := u.s
	whole := s.uploadLock(id)
	whole.RLock()
	defer whole.RUnlock()
	_, n, _, err := s.upload(b, key, id)
	if err != nil {
		return err
	}
	row := partRow(n, p.number)
	lock := s.lock(row)
	lock.Lock()
	defer lock.Unlock()
	before, ok, err := s.engine.Get(row)
	if err != nil {
		return s.classify("commit a part", err)
	}
	t := s.begin()
	defer t.end()
	if ok {
		if old, err := decodePart(row, before); err == nil { // a damaged one leaves its body behind
			t.release(old.body)
		}
	}
	if p.body, err = u.place(t); err != nil {
		return err
	}
	t.set(row, encodePart(row, p))
	return t.commit("commit a part")
}

// ListParts implements [store.Store].
func (s *Store) ListParts(ctx context.Context, bucket, key, id string, after, limit int) ([]store.Part, bool, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, false, err
	}
	if limit < 1 {
		return nil, false, fmt.Errorf("list parts: the limit is %d, expected 1 or more", limit)
	}
	b, err := s.find(bucket)
	if err != nil {
		return nil, false, err
	}
	_, n, _, err := s.upload(b, key, id)
	if err != nil {
		return nil, false, err
	}
	parts, err := s.readParts(n, after, limit+1)
	if err != nil {
		return nil, false, err
	}
	more := len(parts) > limit
	return infoOf(parts[:min(limit, len(parts))]), more, nil
}

// readParts returns up to limit parts of an upload with numbers above after.
func (s *Store) readParts(id uint64, after, limit int) ([]part, error) {
	after = max(after, 0)
	if after >= store.MaxPart {
		return nil, nil
	}
	parts, err := engine.View(s.engine, func(db *pebble.DB) (parts []part, err error) {
		it, err := db.NewIter(&pebble.IterOptions{LowerBound: partRow(id, after+1), UpperBound: partRow(id, store.MaxPart+1)})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
		for ok := it.First(); ok && len(parts) < limit; ok = it.Next() {
			p, err := decodePart(it.Key(), it.Value())
			if err != nil {
				return nil, err
			}
			parts = append(parts, p)
		}
		return parts, nil
	})
	return parts, s.classify("read the parts of an upload", err)
}

// choose returns the parts that an upload is to be completed of, and those that
// it has besides.
func choose(have []part, want []store.PartID) (chosen, rest []part, err error) {
	if len(want) == 0 {
		return nil, nil, &store.PartError{Number: 1, Reason: "was not named: there has to be one part"}
	}
	for _, w := range want {
		for len(have) > 0 && have[0].number < w.Number {
			rest, have = append(rest, have[0]), have[1:]
		}
		switch {
		case len(chosen) > 0 && chosen[len(chosen)-1].number >= w.Number:
			return nil, nil, &store.PartError{Number: w.Number, Reason: "is not in the order of the numbers"}
		case len(have) == 0 || have[0].number != w.Number:
			return nil, nil, &store.PartError{Number: w.Number, Reason: "was not uploaded"}
		case have[0].etag() != w.ETag:
			return nil, nil, &store.PartError{Number: w.Number, Reason: "has another ETag"}
		}
		chosen, have = append(chosen, have[0]), have[1:]
	}
	return chosen, append(rest, have...), nil
}

// CompleteMultipart implements [store.Store].
func (s *Store) CompleteMultipart(ctx context.Context, bucket, key, id string, parts []store.PartID, a store.Attributes, c store.Condition) (store.Info, error) {
	if err := errors.Join(store.CheckKey(key), a.Check()); err != nil {
		return store.Info{}, err
	}
	if err := s.writable(); err != nil {
		return store.Info{}, err
	}
	b, leave, err := s.enter(bucket)
	if err != nil {
		return store.Info{}, err
	}
	defer leave()
	lock := s.uploadLock(id)
	lock.Lock()
	defer lock.Unlock()
	_, n, row, err := s.upload(b, key, id)
	if err != nil {
		return store.Info{}, err
	}
	have, err := s.readParts(n, 0, store.MaxPart)
	if err != nil {
		return store.Info{}, err
	}
	chosen, rest, err := choose(have, parts)
	if err != nil {
		return store.Info{}, err
	}
	t := s.begin()
	defer t.end()
	t.endUpload(row, n)
	for i := range rest {
		t.release(rest[i].body)
	}
	r := &record{modified: s.o.Now().UnixNano(), parts: uint32(len(chosen)), attributes: clone(a)}
	sums := md5.New()
	for i := range chosen {
		r.size += chosen[i].size
		_, _ = sums.Write(chosen[i].sum[:]) // never fails (hash.Hash)
	}
	sums.Sum(r.sum[:0])
	if r.body.id, err = s.clock.next(); err != nil {
		return store.Info{}, s.classify("complete an upload", err)
	}
	r.body.kind = bodyManifest
	manifest := idRow(rowManifest, r.body.id)
	t.set(manifest, encodeManifest(manifest, chosen))
	if _, err := s.publish(t, b, key, r, c); err != nil {
		return store.Info{}, err
	}
	info := r.info(key, true)
	info.Parts = infoOf(chosen)
	return info, nil
}

// endUpload removes the rows of an upload, but not the bodies of its parts.
func (t *tx) endUpload(row []byte, id uint64) {
	t.delete(row)
	t.err = errors.Join(t.err, t.b.DeleteRange(partRow(id, 0), partRow(id, store.MaxPart+1), nil))
}

// AbortMultipart implements [store.Store].
func (s *Store) AbortMultipart(ctx context.Context, bucket, key, id string) error {
	if err := store.CheckKey(key); err != nil {
		return err
	}
	if err := s.writable(); err != nil {
		return err
	}
	b, leave, err := s.enter(bucket)
	if err != nil {
		return err
	}
	defer leave()
	return s.abort(b, key, id)
}

func (s *Store) abort(b *bucket, key, id string) error {
	lock := s.uploadLock(id)
	lock.Lock()
	defer lock.Unlock()
	_, n, row, err := s.upload(b, key, id)
	if errors.Is(err, store.ErrCorrupt) {
		n, _ = parseID(id)
		row, err = uploadRow(b.id, key, n), nil
	}
	if err != nil {
		return err
	}
	parts, err := s.readParts(n, 0, store.MaxPart)
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	t := s.begin()
	defer t.end()
	t.endUpload(row, n)
	for i := range parts {
		t.release(parts[i].body)
	}
	return t.commit("end an upload")
}

// abortAll ends every upload of a bucket that the caller has for itself.
func (s *Store) abortAll(b *bucket) error {
	for {
		next, err := s.first(bucketRows(rowUpload, b.id, 0))
		if err != nil {
			return s.classify("end the uploads of a bucket", err)
		}
		if next.key == nil {
			return nil
		}
		key, id, ok := splitID(next.key)
		if !ok {
			return corrupt("the row of an upload is not of its form")
		}
		if err := s.abort(b, key, formatID(id)); err != nil {
			return err
		}
	}
}
