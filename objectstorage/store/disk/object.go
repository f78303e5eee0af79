package disk

import (
	"context"
	"encoding/binary"
	"errors"

	"minicloud.internal/objectstorage/store"
)

// load reads a record; nil where there is none. The lock of its key is held.
func (s *Store) load(row []byte) (*record, error) {
	latest := row[0] == rowLatest
	var buffer [256]byte
	if latest && s.engine.Failure() == nil {
		if value, ok := s.recent.get(buffer[:0], row); ok {
			return decodeRecord(row, value, false)
		}
	}
	value, ok, err := s.engine.Append(buffer[:0], row)
	switch {
	case err != nil:
		return nil, s.readFailure("read an object", err)
	case latest && s.engine.Failure() != nil && s.inDoubt(row):
		return nil, s.classify("read an object whose last write did not end", s.engine.Failure())
	case !ok:
		return nil, nil
	}
	r, err := decodeRecord(row, value, false)
	if latest && err == nil {
		s.recent.put(row, value)
	}
	return r, err
}

func (s *Store) inDoubt(row []byte) bool {
	_, doubt := s.doubt.Load(string(row))
	return doubt
}

// A found version is a record with the place where it is.
type found struct {
	*record
	row    []byte
	latest bool
}

// version finds a version of a key whose lock is held: the latest where version
// is empty. The record is nil with [store.ErrNotFound] and [store.ErrNoVersion].
// A delete marker is not an error here.
func (s *Store) version(b *bucket, key, version string) (found, error) {
	row := latestRow(b.id, key)
	latest, err := s.load(row)
	if version == "" {
		if err == nil && latest == nil {
			err = store.ErrNotFound
		}
		return found{latest, row, true}, err
	}
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return found{}, err
	}
	if latest == nil && err == nil {
		return found{}, store.ErrNoVersion
	}
	if latest != nil && latest.formatVersion() == version {
		return found{latest, row, true}, nil
	}
	seq, ok := parseID(version)
	if version == store.Null {
		if latest == nil {
			return found{}, err // of a damaged latest version, nobody knows which it is
		}
		seq, ok = latest.nullSeq, latest.nullSeq != 0
	}
	if !ok {
		return found{}, store.ErrNoVersion
	}
	row = olderRow(b.id, key, seq)
	older, err := s.load(row)
	if err == nil && (older == nil || older.formatVersion() != version) {
		return found{}, store.ErrNoVersion
	}
	return found{older, row, false}, err
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, bucket, key, version string) (*store.Object, error) {
	o := &store.Object{}
	err := s.look(bucket, key, version, &o.Info, func(f found) (err error) {
		o.Body, o.Parts, err = s.open(f.record)
		return err
	})
	if err != nil && !o.DeleteMarker {
		return nil, err
	}
	return o, err
}

// Head implements [store.Store].
func (s *Store) Head(ctx context.Context, bucket, key, version string) (store.Info, error) {
	var i store.Info
	err := s.look(bucket, key, version, &i, func(f found) (err error) {
		i.Parts, err = s.partsOf(f.record)
		return err
	})
	return i, err
}

// look finds a version, and calls then while nobody can remove it.
func (s *Store) look(bucket, key, version string, info *store.Info, then func(found) error) error {
	if err := store.CheckKey(key); err != nil {
		return err
	}
	b, err := s.find(bucket)
	if err != nil {
		return err
	}
	lock := s.lock(latestRow(b.id, key))
	lock.RLock()
	defer lock.RUnlock()
	f, err := s.version(b, key, version)
	if err != nil {
		s.note(b, key, f.row, err)
		return err
	}
	*info = f.info(key, f.latest)
	if f.marker {
		return markerError(version)
	}
	if err = then(f); err != nil {
		*info = store.Info{}
		s.note(b, key, f.row, err)
	}
	return err
}

func markerError(version string) error {
	if version == "" {
		return store.ErrNotFound
	}
	return store.ErrDeleteMarker
}

// Update implements [store.Store].
func (s *Store) Update(ctx context.Context, bucket, key, version string, change func(*store.Attributes) error) (store.Info, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Info{}, err
	}
	if err := s.engine.Room(); err != nil {
		return store.Info{}, s.classify("update an object", err)
	}
	b, leave, err := s.enter(bucket)
	if err != nil {
		return store.Info{}, err
	}
	defer leave()
	lock := s.lock(latestRow(b.id, key))
	lock.Lock()
	defer lock.Unlock()
	f, err := s.version(b, key, version)
	if err != nil {
		return store.Info{}, err
	}
	if f.marker {
		return f.info(key, f.latest), markerError(version)
	}
	a := clone(f.attributes)
	if err := change(&a); err != nil {
		return store.Info{}, err
	}
	if err := a.Check(); err != nil {
		return store.Info{}, err
	}
	f.attributes = clone(a)
	info := f.info(key, f.latest)
	if info.Parts, err = s.partsOf(f.record); err != nil {
		return store.Info{}, err
	}
	t := s.begin()
	defer t.end()
	t.set(f.row, f.encode(f.row))
	if err := t.commit("update an object"); err != nil {
		return store.Info{}, err
	}
	return info, nil
}

// check decides c for the latest version of a key.
func check(c store.Condition, key string, latest *record) error {
	if latest == nil {
		return c.Check(nil)
	}
	i := latest.info(key, true)
	return c.Check(&i)
}

// publish makes r the latest version of key in the batch of t, and commits. The
// caller has entered the bucket. created says that the key had no object.
func (s *Store) publish(t *tx, b *bucket, key string, r *record, c store.Condition) (created bool, err error) {
	row := latestRow(b.id, key)
	lock := s.lock(row)
	lock.Lock()
	defer lock.Unlock()
	latest, err := s.load(row)
	damaged := errors.Is(err, store.ErrCorrupt)
	if err != nil && !(damaged && c.IsZero()) {
		return false, err
	}
	if !damaged {
		if err := check(c, key, latest); err != nil {
			return false, err
		}
	}
	if r.seq, err = s.clock.next(); err != nil {
		return false, s.classify("commit an object", err)
	}
	r.null = b.versioning() != store.Enabled
	if damaged {
		err = s.supersedeDamaged(t, b, key, r)
	} else {
		err = s.supersede(t, b, key, latest, r)
	}
	if err != nil {
		return false, err
	}
	t.set(row, r.encode(row))
	t.count(r, 1)
	if err := t.commit("commit an object"); err != nil {
		return false, err
	}
	s.damaged.clear(row)
	return !damaged && (latest == nil || latest.marker), nil
}

// supersede does to the latest version of a key what a newer one asks for: it
// becomes an older one, or is dropped where both are Null.
func (s *Store) supersede(t *tx, b *bucket, key string, latest, r *record) error {
	if latest == nil {
		return nil
	}
	r.older = latest.older
	if latest.null && r.null {
		t.drop(latest)
		return nil
	}
	if r.null && latest.nullSeq != 0 {
		if err := t.dropOlder(b, key, latest.nullSeq); err != nil {
			return err
		}
	}
	if !r.null {
		if r.nullSeq = latest.nullSeq; latest.null {
			r.nullSeq = latest.seq
		}
	}
	r.older = true
	older := *latest
	older.older, older.nullSeq = false, 0
	row := olderRow(b.id, key, older.seq)
	t.set(row, older.encode(row))
	return nil
}

// supersedeDamaged takes the place of a record that cannot be read. What it said
// of older versions is found again by looking.
func (s *Store) supersedeDamaged(t *tx, b *bucket, key string, r *record) error {
	s.counts.uncertain.Store(true)
	return s.eachOlder(b, key, func(row []byte, seq uint64, older *record) error {
		r.older = true
		if older == nil || !older.null {
			return nil
		}
		if !r.null {
			r.nullSeq = seq
			return nil
		}
		t.delete(row)
		t.drop(older)
		return nil
	})
}

// eachOlder visits the older versions of a key, the newest first; the record is
// nil where it is damaged.
func (s *Store) eachOlder(b *bucket, key string, visit func(row []byte, seq uint64, r *record) error) error {
	prefix := olderRows(b.id, key)
	var rows []row
	err := s.engine.Scan(prefix, after(prefix), func(k, v []byte) bool {
		rows = append(rows, row{append([]byte(nil), k...), append([]byte(nil), v...)})
		return true
	})
	if err != nil {
		return s.classify("read the versions of an object", err)
	}
	for _, r := range rows {
		if len(r.key) != len(prefix)+8 {
			continue
		}
		decoded, err := decodeRecord(r.key, r.value, false)
		if err != nil {
			decoded = nil
		}
		if err := visit(r.key, ^binary.BigEndian.Uint64(r.key[len(prefix):]), decoded); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, bucket, key, version string, c store.Condition) (store.Deleted, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Deleted{}, err
	}
	if err := s.writable(); err != nil {
		return store.Deleted{}, err
	}
	b, leave, err := s.enter(bucket)
	if err != nil {
		return store.Deleted{}, err
	}
	defer leave()
	if version == "" && b.versioning() != store.Off {
		t := s.begin()
		defer t.end()
		r := &record{marker: true, modified: s.o.Now().UnixNano()}
		if _, err := s.publish(t, b, key, r, c); err != nil {
			return store.Deleted{}, err
		}
		return store.Deleted{Version: r.formatVersion(), DeleteMarker: true}, nil
	}
	return s.remove(b, key, version, c)
}

// remove removes a version for good.
func (s *Store) remove(b *bucket, key, version string, c store.Condition) (store.Deleted, error) {
	lock := s.lock(latestRow(b.id, key))
	lock.Lock()
	defer lock.Unlock()
	f, err := s.version(b, key, version)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrNoVersion):
		return store.Deleted{}, c.Check(nil)
	case errors.Is(err, store.ErrCorrupt) && c.IsZero():
		return s.removeDamaged(b, key, version, f)
	case err != nil:
		return store.Deleted{}, err
	}
	if err := check(c, key, f.record); err != nil {
		return store.Deleted{}, err
	}
	t := s.begin()
	defer t.end()
	t.bypass = c.Bypass
	t.delete(f.row)
	t.drop(f.record)
	switch {
	case f.latest && f.older:
		err = s.promote(t, b, key, f.record)
	case !f.latest && f.null:
		err = s.forgetNull(t, b, key)
	}
	if err != nil {
		return store.Deleted{}, err
	}
	if err := t.commit("delete an object"); err != nil {
		return store.Deleted{}, err
	}
	s.damaged.clear(f.row)
	return store.Deleted{Version: f.formatVersion(), DeleteMarker: f.marker}, nil
}

// removeDamaged removes a version whose record cannot be read. Its body, if it
// has one, is not known any more.
func (s *Store) removeDamaged(b *bucket, key, version string, f found) (store.Deleted, error) {
	if f.row == nil { // Null, and which version that is cannot be read
		f.row, f.latest = latestRow(b.id, key), true
	}
	s.counts.uncertain.Store(true)
	t := s.begin()
	defer t.end()
	t.delete(f.row)
	if f.latest {
		lost := &record{}
		err := s.eachOlder(b, key, func(_ []byte, seq uint64, older *record) error {
			if older != nil && older.null {
				lost.nullSeq = seq
			}
			return nil
		})
		if err == nil {
			err = s.promote(t, b, key, lost)
		}
		if err != nil {
			return store.Deleted{}, err
		}
	}
	if err := t.commit("delete a damaged object"); err != nil {
		return store.Deleted{}, err
	}
	s.damaged.clear(f.row)
	if version == "" {
		version = store.Null
	}
	return store.Deleted{Version: version}, nil
}

// promote makes the newest older version the latest, in place of one that goes.
func (s *Store) promote(t *tx, b *bucket, key string, gone *record) error {
	prefix := olderRows(b.id, key)
	next, err := s.first(prefix)
	if err != nil {
		return s.classify("read the versions of an object", err)
	}
	if next.key == nil {
		return nil
	}
	row := latestRow(b.id, key)
	t.delete(next.key)
	r, err := decodeRecord(next.key, next.value, false)
	if err != nil { // damaged it stays, where it can be deleted
		t.set(row, next.value)
		return nil
	}
	r.older = true // perhaps; whoever looks will see
	if r.nullSeq = gone.nullSeq; r.null {
		r.nullSeq = 0
	}
	t.set(row, r.encode(row))
	return nil
}

// forgetNull tells the latest version that no older one is Null any more.
func (s *Store) forgetNull(t *tx, b *bucket, key string) error {
	row := latestRow(b.id, key)
	r, err := s.load(row)
	if errors.Is(err, store.ErrCorrupt) {
		return nil // what takes its place looks for older versions by itself
	}
	if err != nil || r == nil {
		return err
	}
	r.nullSeq = 0
	t.set(row, r.encode(row))
	return nil
}

// count adds the version n times to the counts.
func (t *tx) count(r *record, n int64) {
	if !r.marker {
		t.objects += n
		t.bytes += n * r.size
	}
}

// drop removes the body of a record that goes. Every one that goes passes here, and
// the batch fails where one must not.
func (t *tx) drop(r *record) {
	if r.Locked(t.s.o.Now(), t.bypass) {
		t.err = errors.Join(t.err, store.ErrLocked)
	}
	t.count(r, -1)
	t.release(r.body)
}

// release removes a body that nothing refers to any more. What is in files is
// left to the collector: a reader may have it open, and unlinking takes time.
func (t *tx) release(l location) {
	switch l.kind {
	case bodyInline:
		t.delete(idRow(rowBody, l.id))
	case bodyFile, bodyManifest:
		t.set(idRow(rowGarbage, l.id), []byte{l.kind})
		t.garbage = true
	}
}

// dropOlder removes the older version that has this seq.
func (t *tx) dropOlder(b *bucket, key string, seq uint64) error {
	row := olderRow(b.id, key, seq)
	r, err := t.s.load(row)
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	t.delete(row)
	t.s.damaged.clear(row)
	if r != nil {
		t.drop(r)
	} else {
		t.s.counts.uncertain.Store(true)
	}
	return nil
}
