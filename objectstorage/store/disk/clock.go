package disk

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// clockAhead is how far the limit on disk runs ahead of the numbers given out.
const clockAhead = 10 * time.Second

// A clock gives out numbers that grow for ever: nanoseconds since 1970 as far as
// the wall clock grows too. A limit, written before any number reaches it, is
// where the next process begins if its wall clock is behind.
type clock struct {
	mu    sync.Mutex
	last  uint64
	limit uint64
	save  func(limit uint64) error
}

func (c *clock) next() (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := max(c.last+1, uint64(max(time.Now().UnixNano(), 1)))
	if n >= c.limit {
		limit := n + uint64(clockAhead)
		if err := c.save(limit); err != nil {
			return 0, err
		}
		c.limit = limit
	}
	c.last = n
	return n, nil
}

// openClock reads the limit of the process before. Saving need not wait for the
// disk: no batch that is written later is durable before it.
func (s *Store) openClock() error {
	row := metaRow("clock")
	value, ok, err := s.engine.Get(row)
	if err != nil {
		return err
	}
	if ok {
		if value, err = unseal(row, value); err != nil || len(value) != 8 {
			return errors.Join(corrupt("the row of the clock has %d bytes", len(value)), err)
		}
		s.clock.last = binary.BigEndian.Uint64(value)
	}
	s.clock.last = max(s.clock.last, uint64(max(time.Now().UnixNano(), 1)))
	s.started = s.clock.last
	s.clock.save = func(limit uint64) error {
		b := s.engine.DB().NewBatch()
		if err := b.Set(row, seal(row, binary.BigEndian.AppendUint64(nil, limit)), nil); err != nil {
			return err
		}
		_, err := s.engine.Apply(b, false)
		return err
	}
	return nil
}
