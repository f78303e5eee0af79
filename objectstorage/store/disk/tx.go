package disk

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"minicloud.internal/kit/engine"
)

// A row is one of the database; without a key it is none.
type row struct{ key, value []byte }

// first returns the first row that begins with prefix.
func (s *Store) first(prefix []byte) (row, error) {
	return engine.View(s.engine, func(db *pebble.DB) (row, error) {
		it, err := db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			return row{}, err
		}
		var r row
		if it.First() {
			value, err := it.ValueAndErr()
			if err == nil {
				r = row{bytes.Clone(it.Key()), bytes.Clone(value)}
			}
		}
		return r, errors.Join(it.Error(), it.Close())
	})
}

// A tx is a batch of rows, committed as one, with what it does to the counts.
type tx struct {
	s       *Store
	b       *pebble.Batch
	err     error // the first of the batch's own
	objects int64
	bytes   int64
	garbage bool
	bypass  bool  // see [store.Condition]
	rows    []row // the latest versions that it sets, or deletes: those without a value
}

func (s *Store) begin() *tx { return &tx{s: s, b: s.engine.DB().NewBatch()} }

func (t *tx) set(row, value []byte) {
	t.keep(row, value)
	t.err = errors.Join(t.err, t.b.Set(row, value, nil))
}

func (t *tx) delete(row []byte) {
	t.keep(row, nil)
	t.err = errors.Join(t.err, t.b.Delete(row, nil))
}

func (t *tx) keep(key, value []byte) {
	if key[0] == rowLatest {
		t.rows = append(t.rows, row{key, value})
	}
}

// end gives up a batch that was not committed.
func (t *tx) end() {
	if t.b != nil {
		_ = t.b.Close()
		t.b = nil
	}
}

// commit returns when the batch is durable. After [store.ErrStopped] nobody
// knows whether it is.
func (t *tx) commit(action string) error {
	if t.err != nil {
		return fmt.Errorf("%s: %w", action, t.err)
	}
	for _, r := range t.rows {
		t.s.recent.drop(r.key)
	}
	wait, err := t.apply()
	if err == nil {
		err = wait()
	}
	if err != nil {
		for _, r := range t.rows {
			t.s.doubt.Store(string(r.key), struct{}{})
		}
		return t.s.classify(action, err)
	}
	for _, r := range t.rows {
		if r.value != nil {
			t.s.recent.put(r.key, r.value)
		}
	}
	if t.garbage {
		t.s.wakeCollector()
	}
	return nil
}

// apply makes the batch and the counts change together, as far as whoever
// begins to count can see.
func (t *tx) apply() (wait func() error, err error) {
	t.s.counts.mu.RLock()
	defer t.s.counts.mu.RUnlock()
	b := t.b
	t.b = nil // it is the engine's now
	if wait, err = t.s.engine.Apply(b, true); err == nil {
		t.s.counts.objects.Add(t.objects)
		t.s.counts.bytes.Add(t.bytes)
	}
	return wait, err
}
