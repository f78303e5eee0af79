package queue

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// A queue is one queue's part of the store. What it holds in memory is derived
// from the disk.
type queue struct {
	store *Store
	name  string
	users int // guarded by store.mu: who pins the queue

	// total counts the messages on disk. It changes under mu only.
	total atomic.Int64

	// mu orders everything that changes the queue's index, so that a message is
	// taken once. The lock of a queue may be held while its dead-letter queue's
	// is taken, never the other way round.
	mu     sync.Mutex
	lastID uint64 // the first half of the newest id
	// cursor is a time before which the index has no entry: what was deleted
	// there need not be walked over again.
	cursor int64
	// oldest is an id below which the queue has no state, for the same reason.
	oldest  id
	flights flights
	waiters waiters
	timer   *time.Timer // calls expire; nil until first needed
	armed   int64       // what the timer is set to; 0: not set
	closed  bool
}

func newQueue(s *Store, name string) *queue {
	return &queue{store: s, name: name, flights: newFlights()}
}

// put writes a message, and returns before it is durable: wait does the rest.
func (q *queue) put(payload []byte) (i id, wait func() error, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.total.Load() >= int64(q.store.cfg.MaxMessages) {
		return id{}, nil, ErrQueueFull
	}
	now := q.store.now()
	// Messages of the same nanosecond keep their order too.
	q.lastID = max(uint64(now), q.lastID+1)
	binary.BigEndian.PutUint64(i[:], q.lastID)
	_, _ = rand.Read(i[8:])
	b := q.store.batch()
	q.write(b, i, state{enqueuedAt: now, visibleAt: now}, payload)
	if wait, err = q.store.engine.Apply(b, true); err != nil {
		return id{}, nil, err
	}
	q.added(i, now)
	q.waiters.signal()
	return i, wait, nil
}

// write adds a message that is new to this queue to a batch. Batches grow in
// memory: these calls cannot fail.
func (q *queue) write(b *pebble.Batch, i id, st state, payload []byte) {
	_ = b.Set(messageKey(kindPayload, q.name, i), payload, nil)
	_ = b.Set(messageKey(kindState, q.name, i), st.encode(), nil)
	_ = b.Set(visibleKey(q.name, st.visibleAt, i), nil, nil)
}

// erase adds the deletion of a message to a batch.
func (q *queue) erase(b *pebble.Batch, i id, st state) {
	_ = b.Delete(messageKey(kindPayload, q.name, i), nil)
	_ = b.Delete(messageKey(kindState, q.name, i), nil)
	_ = b.Delete(visibleKey(q.name, st.visibleAt, i), nil)
}

// added accounts for a message that is in the index at this time.
func (q *queue) added(i id, at int64) {
	q.total.Add(1)
	q.cursor = min(q.cursor, at)
	if string(i[:]) < string(q.oldest[:]) {
		q.oldest = i
	}
}

// take delivers up to limit visible messages; more says that there may be
// others. The caller holds mu.
func (q *queue) take(limit int, visibility time.Duration) (taken []Delivery, more bool, err error) {
	now := q.settle()
	room := q.store.cfg.MaxInFlight - q.flights.len()
	if room <= 0 {
		return nil, false, ErrTooManyInFlight
	}
	entries, err := q.visible(min(limit, room), now)
	if err != nil || len(entries) == 0 {
		return nil, false, err
	}
	b := q.store.batch()
	deadline := now + int64(visibility)
	for _, e := range entries {
		st, payload, err := q.read(e.id)
		if err != nil {
			return nil, false, err
		}
		_ = b.Delete(visibleKey(q.name, st.visibleAt, e.id), nil)
		st.visibleAt = deadline
		st.receives++
		_, _ = rand.Read(st.nonce[:])
		_ = b.Set(messageKey(kindState, q.name, e.id), st.encode(), nil)
		_ = b.Set(visibleKey(q.name, deadline, e.id), nil, nil)
		taken = append(taken, q.delivery(e.id, st, payload))
	}
	if _, err := q.store.engine.Apply(b, false); err != nil {
		return nil, false, err
	}
	for n, e := range entries {
		q.flights.add(e.id, deadline, uint32(taken[n].Receives))
		if taken[n].Receives > 1 {
			q.store.metrics.redelivered.Inc()
		}
	}
	q.store.metrics.received.Add(float64(len(taken)))
	q.cursor = min(q.cursor, deadline)
	q.arm()
	return taken, len(taken) == limit, nil
}

func (q *queue) delivery(i id, st state, payload []byte) Delivery {
	d := Delivery{
		ID:         i.String(),
		Receipt:    receipt{q.name, i, st.nonce}.String(),
		Payload:    payload,
		Receives:   int(st.receives),
		EnqueuedAt: time.Unix(0, st.enqueuedAt).UTC(),
	}
	if st.deadSince != 0 {
		d.DeadSince = time.Unix(0, st.deadSince).UTC()
	}
	return d
}

type entry struct {
	at int64
	id id
}

// visible reads the first entries of the index that are due, and moves the
// cursor up to what it leaves.
func (q *queue) visible(limit int, now int64) (entries []entry, err error) {
	var bad error
	err = q.store.engine.Scan(visibleKey(q.name, q.cursor, id{}), visibleKey(q.name, now+1, id{}), func(key, _ []byte) bool {
		var e entry
		if _, _, e.at, e.id, bad = parseKey(key); bad != nil {
			return false
		}
		entries = append(entries, e)
		return len(entries) < limit
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, err
	}
	q.cursor = now + 1
	if len(entries) == limit {
		q.cursor = entries[limit-1].at
	}
	return entries, nil
}

// read returns a message that the index names.
func (q *queue) read(i id) (state, []byte, error) {
	value, ok, err := q.store.engine.Get(messageKey(kindState, q.name, i))
	if err != nil || !ok {
		return state{}, nil, errors.Join(fmt.Errorf("message %s of %s has no state", i, q.name), err)
	}
	st, err := decodeState(value)
	if err != nil {
		return state{}, nil, err
	}
	payload, ok, err := q.store.engine.Get(messageKey(kindPayload, q.name, i))
	if err != nil || !ok {
		return state{}, nil, errors.Join(fmt.Errorf("message %s of %s has no payload", i, q.name), err)
	}
	return st, payload, nil
}

// settle accounts for the deadlines that have passed, moves dead letters, and
// returns the time that it did so for. The caller holds mu.
func (q *queue) settle() (now int64) {
	now = q.store.now()
	var dead []id
	for _, f := range q.flights.expired(now) {
		if f.receives >= uint32(q.store.cfg.MaxReceives) && !isDead(q.name) {
			dead = append(dead, f.id)
		}
	}
	if len(dead) > 0 {
		if err := q.bury(dead, now); err != nil {
			// They stay where they are, visible; a restart finds them again.
			q.store.logger.Error("dead letters not moved", "queue", q.name, "messages", len(dead), "error", err)
		}
	}
	return now
}

// bury moves messages to the dead-letter queue, in steps that keep a batch
// small. The moves need not be durable at once: one that a power cut forgets is
// made again.
func (q *queue) bury(dead []id, now int64) error {
	grave, err := q.store.acquire(q.name+deadSuffix, false)
	if err != nil {
		return err
	}
	defer q.store.release(grave)
	grave.mu.Lock()
	defer grave.mu.Unlock()
	for _, i := range dead {
		st, payload, err := q.read(i)
		if err != nil {
			return err
		}
		b := q.store.batch()
		q.erase(b, i, st)
		st.visibleAt, st.deadSince, st.nonce = now, now, [nonceSize]byte{}
		grave.write(b, i, st, payload)
		if _, err := q.store.engine.Apply(b, false); err != nil {
			return err
		}
		q.total.Add(-1)
		grave.added(i, now)
		grave.waiters.signal()
		q.store.metrics.dead.Inc()
		q.store.logger.Warn("message moved to the dead-letter queue", "queue", q.name, "id", i.String(), "receives", st.receives)
	}
	return nil
}

// ack deletes the message of a receipt, and returns before that is durable.
func (q *queue) ack(r receipt) (wait func() error, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	value, ok, err := q.store.engine.Get(messageKey(kindState, q.name, r.id))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrReceipt
	}
	st, err := decodeState(value)
	if err != nil {
		return nil, err
	}
	// Before its first delivery a message has the zero nonce, which is no receipt's.
	if st.nonce == [nonceSize]byte{} || subtle.ConstantTimeCompare(st.nonce[:], r.nonce[:]) != 1 {
		return nil, ErrReceipt
	}
	b := q.store.batch()
	q.erase(b, r.id, st)
	if wait, err = q.store.engine.Apply(b, true); err != nil {
		return nil, err
	}
	full := q.flights.len() >= q.store.cfg.MaxInFlight
	q.flights.remove(r.id)
	q.total.Add(-1)
	if full {
		q.waiters.signal() // there may be messages that had no room to fly
	}
	if q.flights.len() == 0 {
		q.disarm()
	}
	return wait, nil
}

// arm sets the timer to the next deadline. The caller holds mu.
func (q *queue) arm() {
	at, ok := q.flights.next()
	if !ok || q.closed || q.armed != 0 && q.armed <= at {
		return
	}
	q.armed = at
	d := time.Duration(at - q.store.now())
	if q.timer == nil {
		q.store.timers.Add(1)
		q.timer = time.AfterFunc(d, q.expire)
	} else if !q.timer.Reset(d) {
		q.store.timers.Add(1)
	}
}

// expire is the timer's: messages have become visible, or dead.
func (q *queue) expire() {
	defer q.store.timers.Done()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.store.engine.Failure() != nil {
		return
	}
	q.armed = 0
	q.settle()
	q.waiters.signal()
	q.arm()
}

// disarm stops the timer, so that a queue without messages leaves nothing
// behind when it gives its place to another. The caller holds mu.
func (q *queue) disarm() {
	q.armed = 0
	if q.timer != nil && q.timer.Stop() {
		q.store.timers.Done()
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.disarm()
}

func (q *queue) stats() QueueStats {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.settle()
	st := QueueStats{Name: q.name, InFlight: q.flights.len()}
	st.Ready = int(q.total.Load()) - st.InFlight
	_ = q.store.engine.Scan(messageKey(kindState, q.name, q.oldest), append(prefix(kindState, q.name)[:1+len(q.name)], 1),
		func(key, value []byte) bool {
			if _, _, _, i, err := parseKey(key); err == nil {
				q.oldest = i
			}
			if s, err := decodeState(value); err == nil {
				st.Oldest = time.Unix(0, s.enqueuedAt).UTC()
			}
			return false
		})
	return st
}

// receiveNow takes what is there.
func (q *queue) receiveNow(ctx context.Context, limit int, visibility time.Duration) ([]Delivery, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	taken, _, err := q.take(limit, visibility)
	return taken, err
}
