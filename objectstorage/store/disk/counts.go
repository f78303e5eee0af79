package disk

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	"minicloud.internal/objectstorage/store"
)

// counts are of all versions that are no delete markers.
type counts struct {
	// mu is held for reading by whoever changes what is counted together with
	// the count, and for writing by whoever begins to count.
	mu       sync.RWMutex
	objects  atomic.Int64
	bytes    atomic.Int64
	complete atomic.Bool // what was there at the start is in
	// uncertain: a record that could not be read was replaced or removed, and
	// nobody knows what it had been counted for. The next start counts anew.
	uncertain atomic.Bool
}

// countsRow has the counts of a store that was closed in order: objects and bytes,
// 8 bytes each, CRC-32C. It is there only while nothing has changed since.
func countsRow() []byte { return metaRow("counts") }

// openCounts takes the counts over from the process before, and removes their row:
// what this one changes is not durable before that is.
func (s *Store) openCounts() error {
	row := countsRow()
	value, ok, err := s.engine.Get(row)
	if err != nil || !ok {
		return err
	}
	b := s.engine.DB().NewBatch()
	if err := b.Delete(row, nil); err != nil {
		return err
	}
	if _, err := s.engine.Apply(b, false); err != nil {
		return err
	}
	if value, err = unseal(row, value); err == nil && len(value) == 16 {
		s.counts.objects.Store(int64(binary.BigEndian.Uint64(value)))
		s.counts.bytes.Store(int64(binary.BigEndian.Uint64(value[8:])))
		s.counts.complete.Store(true)
	} // else it is damaged: the objects are counted
	return nil
}

// saveCounts keeps the counts for the next process. Without them it counts.
func (s *Store) saveCounts() {
	if !s.counts.complete.Load() || s.counts.uncertain.Load() {
		return
	}
	row := countsRow()
	value := binary.BigEndian.AppendUint64(nil, uint64(s.counts.objects.Load()))
	value = binary.BigEndian.AppendUint64(value, uint64(s.counts.bytes.Load()))
	b := s.engine.DB().NewBatch()
	if b.Set(row, seal(row, value), nil) == nil {
		_, _ = s.engine.Apply(b, false)
	}
}

// maxDamaged bounds how many damaged objects are remembered.
const maxDamaged = 10_000

// damaged is the set of rows whose object was found damaged.
type damaged struct {
	mu   sync.Mutex
	rows map[string]struct{}
}

// add reports whether the row is new.
func (d *damaged) add(row []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.rows[string(row)]; known || len(d.rows) >= maxDamaged {
		return false
	}
	if d.rows == nil {
		d.rows = map[string]struct{}{}
	}
	d.rows[string(row)] = struct{}{}
	return true
}

func (d *damaged) clear(row []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.rows, string(row))
}

func (d *damaged) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.rows)
}

// Stats are numbers of a store.
type Stats struct {
	// Objects are the versions that are no delete markers, and Bytes their
	// size. Counting those that were there at the start takes until Counted.
	Objects, Bytes int64
	Counted        bool
	// Damaged is how many objects were found damaged, by a read or a scrub, and
	// not replaced or deleted since; at most 10,000.
	Damaged int64
	// Checked is how many bodies were scrubbed since the start, Scrubbed their
	// bytes, and Scrubs how many scrubs went to the end.
	Checked, Scrubbed, Scrubs int64
	// DiskBytes is the size of the database, without the files of large bodies.
	DiskBytes int64
}

// Stats returns the numbers of now.
func (s *Store) Stats() Stats {
	st := Stats{
		Objects: s.counts.objects.Load(), Bytes: s.counts.bytes.Load(), Counted: s.counts.complete.Load(),
		Damaged: int64(s.damaged.len()),
		Checked: s.scrubbed.objects.Load(), Scrubbed: s.scrubbed.bytes.Load(), Scrubs: s.scrubbed.scrubs.Load(),
	}
	if s.engine.Failure() == nil {
		m := s.engine.DB().Metrics()
		// What Pebble sums up leaves out the separated values of before the start.
		st.DiskBytes = int64(m.DiskSpaceUsage() - m.BlobFiles.Local.LiveSize + m.BlobFiles.LiveSize)
	}
	return st
}

// note reports a version that a read found damaged. Without a row it is the latest.
func (s *Store) note(b *bucket, key string, row []byte, err error) {
	if !errors.Is(err, store.ErrCorrupt) {
		return
	}
	if row == nil {
		row = latestRow(b.id, key)
	}
	if s.damaged.add(row) {
		s.logger.Error("an object is damaged", "bucket", b.info.Load().Name, "key", key, "reason", err)
	}
}

// onCorrupt hears of what the database found. What it belongs to shows when it
// is read for somebody.
func (s *Store) onCorrupt(err error) {
	s.logger.Error("the database has a damaged block", "reason", err)
}
