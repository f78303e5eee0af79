package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// stuckAfter is how long a read of a failed engine may take.
const stuckAfter = 5 * time.Second

// View lets f read the database of e. Before a failure it runs at once. After one,
// if [Options.ReadOn], it runs on a goroutine of its own: the failure may have left
// a lock of Pebble's held for ever, and then this read, and every later one,
// returns [ErrFailed]. So f shares no variable with its caller.
func View[T any](e *Engine, f func(db *pebble.DB) (T, error)) (T, error) {
	failure := e.Failure()
	if failure == nil {
		return f(e.db)
	}
	var zero T
	if !e.options.ReadOn || e.stuck.Load() {
		return zero, failure
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		r := result{err: failure}
		defer func() {
			if v := recover(); v != nil {
				r.err = fmt.Errorf("%w: the engine broke off: %v", failure, v)
			}
			done <- r
		}()
		r.value, r.err = f(e.db)
	}()
	timer := time.NewTimer(stuckAfter)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
		e.stuck.Store(true)
		return zero, failure
	}
}

// Get returns a copy of a value; ok is false where the key is absent.
func (e *Engine) Get(key []byte) (value []byte, ok bool, err error) {
	value, err = View(e, func(db *pebble.DB) ([]byte, error) {
		value, ok, err := appendValue(db, nil, key)
		if ok && value == nil {
			value = []byte{} // it is there, and empty
		}
		return value, err
	})
	return value, value != nil, err
}

// Append is Get into the memory of dst, behind what it has. After a failure it
// takes memory of its own.
func (e *Engine) Append(dst, key []byte) (value []byte, ok bool, err error) {
	if e.Failure() == nil {
		return appendValue(e.db, dst, key)
	}
	value, ok, err = e.Get(key)
	return append(dst, value...), ok, err
}

func appendValue(db *pebble.DB, dst, key []byte) ([]byte, bool, error) {
	v, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, false, nil
	}
	if err != nil {
		return dst, false, fmt.Errorf("read a key: %w", err)
	}
	return append(dst, v...), true, closer.Close()
}

// Scan calls visit with each key from lower to before upper, and its value,
// until visit returns false. Both are valid during the call only.
func (e *Engine) Scan(lower, upper []byte, visit func(key, value []byte) bool) error {
	_, err := View(e, func(db *pebble.DB) (struct{}, error) {
		it, err := db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			return struct{}{}, fmt.Errorf("read keys: %w", err)
		}
		for ok := it.First(); ok; ok = it.Next() {
			value, err := it.ValueAndErr()
			if err != nil || !visit(it.Key(), value) {
				break
			}
		}
		return struct{}{}, errors.Join(it.Error(), it.Close())
	})
	return err
}
