package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"minicloud.internal/kit/engine"
	"minicloud.internal/objectstorage/store"
)

const (
	// collectBatch is how many bodies the collector removes in one batch.
	collectBatch = 128
	// retryPause is after a failure in the background, before the next try.
	retryPause = 10 * time.Second
)

// Run does what needs nobody to wait for it, until ctx ends: it counts the
// objects, removes files that no object has any more, looks for orphans of the
// process before, and scrubs. It returns nil.
func (s *Store) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, work := range []func(context.Context){s.countAndSettle, s.collect, s.removeOrphans, s.scrub} {
		all.Go(func() { work(ctx) })
	}
	all.Wait()
	return nil
}

// countAndSettle counts, and gives the memory back that the start needed, for the
// log's replay and the count: by itself that would take minutes, and the cache would
// keep blocks that nobody has asked for. It waits a moment before: where the counts
// are those that the process before has left, count returns at once, while the
// database is still at what its start began.
func (s *Store) countAndSettle(ctx context.Context) {
	s.count(ctx)
	if !pause(ctx, time.Second) {
		return
	}
	s.cache.Reserve(int(s.o.CacheSize))()
	debug.FreeOSMemory()
}

// pause waits for d, and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (s *Store) wakeCollector() {
	select {
	case s.garbage <- struct{}{}:
	default:
	}
}

// collect removes the bodies of the rows 'g': at the start, and whenever some
// were added.
func (s *Store) collect(ctx context.Context) {
	for {
		again, err := s.collectOnce(ctx)
		if err != nil && ctx.Err() == nil {
			s.logger.Warn("the files of removed objects cannot be removed yet", "error", err)
			if !pause(ctx, retryPause) {
				return
			}
			continue
		}
		if again {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-s.garbage:
		}
	}
}

// collectOnce removes one batch of bodies, and reports whether there may be more.
// The files go first: a row that stays is tried again, a file without one would
// stay for ever.
func (s *Store) collectOnce(ctx context.Context) (again bool, err error) {
	if err := s.writable(); err != nil {
		return false, nil // for good
	}
	rows, err := s.garbageRows(collectBatch)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	if err := s.barrier(); err != nil {
		return false, nil
	}
	t := s.begin()
	defer t.end()
	for _, r := range rows {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		id := binary.BigEndian.Uint64(r.key[1:])
		switch r.value[0] {
		case bodyFile:
			err = s.collectFile(t, id)
		case bodyManifest:
			err = s.collectManifest(t, id)
		}
		if err != nil {
			return false, err
		}
		t.delete(r.key)
	}
	b := t.b
	t.b = nil
	if _, err := s.engine.Apply(b, false); err != nil {
		return false, nil
	}
	return true, nil
}

// barrier returns when everything that could be read before it is durable: a row
// 'g' is visible before, and a file that was removed too early would be missed by
// the object that a power cut brings back.
func (s *Store) barrier() error {
	b := s.engine.DB().NewBatch()
	if err := b.LogData([]byte{0}, nil); err != nil {
		return err
	}
	wait, err := s.engine.Apply(b, true)
	if err == nil {
		err = wait()
	}
	return err
}

// garbageRows returns up to limit rows whose bodies nobody reads.
func (s *Store) garbageRows(limit int) ([]row, error) {
	return engine.View(s.engine, func(db *pebble.DB) (rows []row, err error) {
		it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{rowGarbage}, UpperBound: []byte{rowGarbage + 1}})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
		s.pinsMu.Lock()
		defer s.pinsMu.Unlock()
		for ok := it.First(); ok && len(rows) < limit; ok = it.Next() {
			key, value := it.Key(), it.Value()
			if len(key) != 9 || len(value) != 1 || s.pins[binary.BigEndian.Uint64(key[1:])] > 0 {
				continue
			}
			rows = append(rows, row{append([]byte(nil), key...), append([]byte(nil), value...)})
		}
		return rows, nil
	})
}

func (s *Store) collectFile(t *tx, id uint64) error {
	if err := s.fs.Remove(s.blobPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t.delete(idRow(rowSums, id))
	return nil
}

// collectManifest removes the parts of an object. Of one whose list is damaged
// the files stay.
func (s *Store) collectManifest(t *tx, id uint64) error {
	parts, err := s.manifest(id)
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	for _, p := range parts {
		switch p.body.kind {
		case bodyInline:
			t.delete(idRow(rowBody, p.body.id))
		case bodyFile:
			if err := s.collectFile(t, p.body.id); err != nil {
				return err
			}
		}
	}
	t.delete(idRow(rowManifest, id))
	return nil
}

// removeOrphans removes the files that a process before this one left without a
// row: it was ended before their commit.
func (s *Store) removeOrphans(ctx context.Context) {
	removed := 0
	for n := range blobDirs {
		names, err := s.fs.List(s.dirPath(n))
		if err != nil {
			s.logger.Warn("a directory cannot be searched for orphans", "error", err)
			continue
		}
		for _, name := range names {
			if ctx.Err() != nil {
				return
			}
			id, ok := parseID(name)
			if !ok || id >= s.started || blobDir(id) != n {
				continue
			}
			if _, known, err := s.engine.Get(idRow(rowSums, id)); err != nil || known {
				continue
			}
			if s.fs.Remove(s.blobPath(id)) == nil {
				removed++
			}
		}
	}
	if removed > 0 {
		s.logger.Info("removed files of uploads that were cut off", "files", removed)
	}
}

// count adds the objects that were there at the start to those of since.
func (s *Store) count(ctx context.Context) {
	if s.counts.complete.Load() {
		return
	}
	s.counts.mu.Lock()
	snapshot := s.engine.DB().NewSnapshot()
	s.counts.objects.Store(0)
	s.counts.bytes.Store(0)
	s.counts.mu.Unlock()
	defer func() { _ = snapshot.Close() }()
	var objects, bytes int64
	for _, kind := range []byte{rowLatest, rowOlder} {
		it, err := snapshot.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
		if err != nil {
			return
		}
		for ok := it.First(); ok && ctx.Err() == nil; ok = it.Next() {
			if size, marker, err := decodeSize(it.Key(), it.Value()); err == nil && !marker {
				objects++
				bytes += size
			}
		}
		if err := errors.Join(it.Error(), it.Close()); err != nil || ctx.Err() != nil {
			return
		}
	}
	s.counts.objects.Add(objects)
	s.counts.bytes.Add(bytes)
	s.counts.complete.Store(true)
}
