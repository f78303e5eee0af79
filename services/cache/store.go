package cache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

// ErrLease is what Set returns for a lease that does not hold any more.
var ErrLease = errors.New("the lease was revoked or has ended")

const (
	// overhead is what an entry weighs beside its bytes: the headers of its
	// strings, and the engine's node and table.
	overhead = 128
	// stripes is the number of locks that the keys share.
	stripes = 64
)

// An entry is a value and its end.
type entry struct {
	value    string
	deadline int64 // the store's time in ns; 0: none
}

// A Store holds entries in memory. Its methods may be called concurrently.
type Store struct {
	engine   *otter.Cache[string, entry]
	metrics  *metrics
	now      func() int64 // ns; never runs backwards
	seed     maphash.Seed
	leaseFor time.Duration
	stripes  [stripes]stripe
}

// A stripe is the lock of some of the keys, and their leases.
type stripe struct {
	mu     sync.Mutex
	leases leases
}

// NewStore returns an empty store, which starts nothing. now is the time in
// nanoseconds from any origin; nil means the monotonic clock's.
func NewStore(cfg Config, logger *slog.Logger, m *metrics, now func() int64) (*Store, error) {
	if now == nil {
		start := time.Now()
		now = func() int64 { return start.UnixNano() + int64(time.Since(start)) }
	}
	s := &Store{metrics: m, now: now, seed: maphash.MakeSeed(), leaseFor: cfg.LeaseTime}
	for i := range s.stripes {
		s.stripes[i].leases = newLeases(cfg.MaxLeases / stripes)
	}
	var err error
	s.engine, err = otter.New(&otter.Options[string, entry]{
		MaximumWeight:    uint64(cfg.MaxMemory),
		Weigher:          func(key string, e entry) uint32 { return weight(key, e.value) },
		ExpiryCalculator: otter.ExpiryWritingFunc(s.timeLeft),
		OnAtomicDeletion: s.deleted,
		// Maintenance on the caller's goroutine: none to own, and the bound on
		// memory holds when a write returns. No callback here calls the engine.
		Executor: func(work func()) { work() },
		Clock:    clock{now},
		Logger:   engineLogger{logger},
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	return s, nil
}

func weight(key, value string) uint32 { return uint32(len(key) + len(value) + overhead) }

// timeLeft tells the engine when it may drop an entry.
func (s *Store) timeLeft(e otter.Entry[string, entry]) time.Duration {
	if e.Value.deadline == 0 {
		return math.MaxInt64
	}
	return max(1, time.Duration(e.Value.deadline-s.now()))
}

// deleted counts what the engine dropped by itself.
func (s *Store) deleted(e otter.DeletionEvent[string, entry]) {
	switch e.Cause {
	case otter.CauseOverflow:
		s.metrics.evictedSize.Inc()
	case otter.CauseExpiration:
		s.metrics.evictedExpired.Inc()
	}
}

// Get returns the value of a key and how long it has to live; ttl 0 means
// without an end.
func (s *Store) Get(key string) (value string, ttl time.Duration, ok bool) {
	value, ttl, ok = s.lookup(key)
	s.count(ok)
	return value, ttl, ok
}

func (s *Store) lookup(key string) (value string, ttl time.Duration, ok bool) {
	e, ok := s.engine.GetIfPresent(key)
	if !ok {
		return "", 0, false
	}
	if e.deadline == 0 {
		return e.value, 0, true
	}
	ttl = time.Duration(e.deadline - s.now())
	if ttl <= 0 {
		return "", 0, false // over since the engine looked; 0 would mean no end
	}
	return e.value, ttl, true
}

func (s *Store) count(hit bool) {
	if hit {
		s.metrics.hits.Inc()
	} else {
		s.metrics.misses.Inc()
	}
}

// GetOrLease is Get, and on a miss gives the lease of the key, which is below
// 2^53, so that it passes unharmed through JSON numbers, and never 0.
func (s *Store) GetOrLease(key string) (value string, ttl time.Duration, lease uint64, ok bool) {
	value, ttl, ok = s.lookup(key)
	if !ok {
		// Once more under the lock: a set that came in between saves a load.
		hash, st := s.stripe(key)
		st.mu.Lock()
		if value, ttl, ok = s.lookup(key); !ok {
			lease = st.leases.give(hash, s.now(), s.leaseFor)
		}
		st.mu.Unlock()
	}
	s.count(ok)
	return value, ttl, lease, ok
}

// Set stores a value for ttl; 0 means without an end. With a lease other than 0
// it stores only if the lease holds, and returns ErrLease otherwise. It revokes
// the leases of the key.
func (s *Store) Set(key, value string, ttl time.Duration, lease uint64) error {
	hash, st := s.stripe(key)
	st.mu.Lock()
	defer st.mu.Unlock()
	now := s.now()
	if lease != 0 && !st.leases.holds(hash, lease, now) {
		s.metrics.leaseRefused.Inc()
		return ErrLease
	}
	st.leases.revoke(hash)
	e := entry{value: value}
	if ttl > 0 {
		e.deadline = now + int64(ttl)
	}
	s.engine.Set(key, e)
	s.metrics.sets.Inc()
	return nil
}

// Delete removes a key, revokes its leases, and reports whether it was there.
func (s *Store) Delete(key string) bool {
	hash, st := s.stripe(key)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.leases.revoke(hash)
	_, ok := s.engine.Invalidate(key)
	s.metrics.deletes.Inc()
	return ok
}

// CleanUp removes what has expired. Correctness does not need it, memory does.
func (s *Store) CleanUp() {
	s.engine.CleanUp()
	for i := range s.stripes {
		st := &s.stripes[i]
		st.mu.Lock()
		st.leases.expire(s.now())
		st.mu.Unlock()
	}
}

// Size returns the number of entries and what they weigh. Both count what has
// expired and is not removed yet.
func (s *Store) Size() (entries int, bytes uint64) {
	return s.engine.EstimatedSize(), s.engine.WeightedSize()
}

// Leases returns the number of leases that are out.
func (s *Store) Leases() (n int) {
	for i := range s.stripes {
		st := &s.stripes[i]
		st.mu.Lock()
		n += st.leases.len()
		st.mu.Unlock()
	}
	return n
}

func (s *Store) stripe(key string) (hash uint64, st *stripe) {
	hash = maphash.String(s.seed, key)
	return hash, &s.stripes[hash%stripes]
}

// clock hands the store's time to the engine. It has no ticks: [Server.Serve]
// cleans up, so that the engine starts no goroutine.
type clock struct{ now func() int64 }

func (c clock) NowNano() int64                      { return c.now() }
func (c clock) Tick(time.Duration) <-chan time.Time { return nil }

type engineLogger struct{ logger *slog.Logger }

func (l engineLogger) Warn(ctx context.Context, msg string, err error) {
	l.logger.WarnContext(ctx, msg, "error", err)
}

func (l engineLogger) Error(ctx context.Context, msg string, err error) {
	l.logger.ErrorContext(ctx, msg, "error", err)
}
