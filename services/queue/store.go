package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"minicloud.internal/kit/engine"
)

// Errors of the store; a door turns each into its protocol's own.
var (
	// ErrReceipt: the receipt is none, or not that of the latest delivery.
	ErrReceipt = errors.New("the receipt is unknown, or no longer valid")
	// ErrQueueFull: the queue holds max_messages.
	ErrQueueFull = errors.New("the queue is full")
	// ErrTooManyQueues: there are max_queues, and none is empty.
	ErrTooManyQueues = errors.New("there are too many queues")
	// ErrTooManyWaiters: max_waiters long polls wait on the queue.
	ErrTooManyWaiters = errors.New("too many receivers wait on the queue")
	// ErrTooManyInFlight: max_in_flight messages await their acknowledgement.
	ErrTooManyInFlight = errors.New("too many messages are in flight")
)

// A Delivery is one message as one receiver gets it.
type Delivery struct {
	ID         string
	Receipt    string
	Payload    []byte
	Receives   int
	EnqueuedAt time.Time
	DeadSince  time.Time // zero: not a dead letter
}

// QueueStats are the numbers of one queue.
type QueueStats struct {
	Name            string
	Ready, InFlight int
	// Oldest is when the oldest message was enqueued; zero: there is none.
	Oldest time.Time
}

// A Store holds queues of messages, durably. Its methods may be called
// concurrently, between Open and Close.
type Store struct {
	cfg     Config
	logger  *slog.Logger
	metrics *metrics
	fs      vfs.FS // a seam for tests
	onFail  func(error)

	engine *engine.Engine
	start  time.Time // reads the monotonic clock
	base   int64     // the store's time at start, in ns since 1970

	draining chan struct{}
	drain    sync.Once
	timers   sync.WaitGroup // the queues' timers that are set or run

	// mu is a leaf: no queue's lock is taken under it.
	mu     sync.Mutex
	queues map[string]*queue
}

// NewStore returns a store that is not open yet. onFail, which may be nil, is
// called once if the disk fails.
func NewStore(cfg Config, logger *slog.Logger, m *metrics, onFail func(error)) *Store {
	return &Store{
		cfg: cfg, logger: logger, metrics: m, fs: vfs.Default, onFail: onFail,
		draining: make(chan struct{}), queues: map[string]*queue{},
	}
}

// Open opens the data directory, or makes it, and reads the state of every
// message, at about a million per second.
func (s *Store) Open() error {
	if err := s.fs.MkdirAll(s.cfg.DataDir, 0o750); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	var err error
	if s.engine, err = s.openEngine(); err != nil {
		return err
	}
	s.start = time.Now()
	s.base = s.start.UnixNano()
	if err := s.load(); err != nil {
		return errors.Join(fmt.Errorf("read %s: %w", s.cfg.DataDir, err), s.engine.Close())
	}
	return nil
}

// load counts the messages of each queue, and sets the deadlines of those that
// were received: some passed while nobody watched.
func (s *Store) load() error {
	var bad error
	err := s.engine.Scan([]byte{kindState}, []byte{kindState + 1}, func(key, value []byte) bool {
		_, name, _, i, err := parseKey(key)
		st, err2 := decodeState(value)
		if bad = errors.Join(err, err2); bad != nil {
			return false
		}
		q := s.queues[name]
		if q == nil {
			q = newQueue(s, name)
			s.queues[name] = q
		}
		q.total.Add(1)
		q.lastID = max(q.lastID, binary.BigEndian.Uint64(i[:]))
		if st.receives > 0 && st.deadSince == 0 || st.visibleAt > st.deadSince && st.deadSince > 0 {
			q.flights.add(i, st.visibleAt, st.receives)
		}
		// A clock that was set back must not hide what is on disk.
		s.base = max(s.base, st.enqueuedAt, st.deadSince)
		return true
	})
	if err = errors.Join(err, bad); err != nil {
		return err
	}
	for _, q := range s.list() {
		q.mu.Lock()
		q.settle()
		q.arm()
		q.mu.Unlock()
	}
	return s.engine.Failure()
}

// now is the store's time in ns since 1970: the wall clock's at the start, and
// the monotonic clock's steps from there.
func (s *Store) now() int64 { return s.base + int64(time.Since(s.start)) }

// Drain answers long polls at once, now and from here on.
func (s *Store) Drain() { s.drain.Do(func() { close(s.draining) }) }

// Close ends the store; nobody may use it any more, nor open it again.
func (s *Store) Close() error {
	s.Drain()
	for _, q := range s.list() {
		q.close()
	}
	s.timers.Wait()
	if err := s.engine.Close(); err != nil {
		return fmt.Errorf("close %s: %w", s.cfg.DataDir, err)
	}
	return nil
}

// list returns the queues in the order of their names.
func (s *Store) list() []*queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*queue, 0, len(s.queues))
	for _, q := range s.queues {
		all = append(all, q)
	}
	slices.SortFunc(all, func(a, b *queue) int { return strings.Compare(a.name, b.name) })
	return all
}

// acquire pins a queue, and makes it where it is absent: an unpinned queue
// without messages may give its place to another. limited says that max_queues
// holds.
func (s *Store) acquire(name string, limited bool) (*queue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[name]
	if q == nil {
		if limited && len(s.queues) >= s.cfg.MaxQueues && !s.evict() {
			return nil, ErrTooManyQueues
		}
		q = newQueue(s, name)
		s.queues[name] = q
	}
	q.users++
	return q, nil
}

// find pins a queue if it is there.
func (s *Store) find(name string) *queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[name]
	if q != nil {
		q.users++
	}
	return q
}

func (s *Store) release(q *queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q.users--
}

// evict drops one queue that nobody uses and that holds nothing.
func (s *Store) evict() bool {
	for name, q := range s.queues {
		if q.users == 0 && q.total.Load() == 0 {
			delete(s.queues, name)
			return true
		}
	}
	return false
}

// Enqueue adds a message to a queue, which comes into being with its first. It
// returns when the message is on stable storage; after an error the message may
// be there all the same, unless the error is one of this package's refusals.
func (s *Store) Enqueue(name string, payload []byte) (messageID string, err error) {
	if err := s.engine.Room(); err != nil {
		return "", err
	}
	q, err := s.acquire(name, true)
	if err != nil {
		return "", err
	}
	defer s.release(q)
	i, wait, err := q.put(payload)
	if err != nil {
		return "", err
	}
	if err := wait(); err != nil {
		return "", err
	}
	s.metrics.enqueued.Inc()
	return i.String(), nil
}

// Receive takes up to limit messages of a queue and makes them invisible for
// visibility. Where there is none it waits up to wait for the first; it returns
// none, without an error, when that time is over or the store drains, and the
// context's error when ctx ends first.
func (s *Store) Receive(ctx context.Context, name string, limit int, wait, visibility time.Duration) ([]Delivery, error) {
	if err := s.engine.Failure(); err != nil {
		return nil, err
	}
	if wait <= 0 {
		q := s.find(name)
		if q == nil {
			return nil, ctx.Err()
		}
		defer s.release(q)
		return q.receiveNow(ctx, limit, visibility)
	}
	q, err := s.acquire(name, true)
	if err != nil {
		return nil, err
	}
	defer s.release(q)
	return q.receive(ctx, limit, wait, visibility)
}

// Ack deletes the message of a receipt, durably, or returns ErrReceipt.
func (s *Store) Ack(text string) error {
	if err := s.engine.Failure(); err != nil {
		return err
	}
	r, ok := parseReceipt(text)
	if !ok {
		return ErrReceipt
	}
	q := s.find(r.queue)
	if q == nil {
		return ErrReceipt
	}
	defer s.release(q)
	wait, err := q.ack(r)
	if err != nil {
		return err
	}
	if err := wait(); err != nil {
		return err
	}
	s.metrics.acked.Inc()
	return nil
}

// Stats returns the numbers of every queue, in the order of their names.
func (s *Store) Stats() []QueueStats {
	all := s.list()
	stats := make([]QueueStats, 0, len(all))
	for _, q := range all {
		stats = append(stats, q.stats())
	}
	return stats
}

// batch returns an empty batch of the engine.
func (s *Store) batch() *pebble.Batch { return s.engine.DB().NewBatch() }
