package queue

import (
	"container/list"
	"context"
	"time"
)

// waiters are the long polls of one queue, in the order in which they came. They
// are woken one at a time: whoever leaves with messages, or leaves without using
// its call, wakes the next. So whenever a message is visible and somebody waits,
// one of them has been called and will look. Guarded by the queue's lock.
type waiters struct {
	list list.List // of *waiter
}

type waiter struct {
	wake   chan struct{} // holds one call
	called bool
}

// signal calls the first who has not been called yet.
func (w *waiters) signal() {
	for e := w.list.Front(); e != nil; e = e.Next() {
		if x := e.Value.(*waiter); !x.called {
			x.called = true
			x.wake <- struct{}{}
			return
		}
	}
}

// receive is a long poll. It takes its turn behind those who wait already, and
// takes no message once ctx is done: nobody would get it before its timeout.
func (q *queue) receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]Delivery, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiters.list.Len() >= q.store.cfg.MaxWaiters {
		return nil, ErrTooManyWaiters
	}
	me := &waiter{wake: make(chan struct{}, 1)}
	if q.waiters.list.Len() == 0 {
		me.called = true
		me.wake <- struct{}{}
	}
	place := q.waiters.list.PushBack(me)
	q.store.metrics.waiting.Inc()
	defer func() {
		q.store.metrics.waiting.Dec()
		q.waiters.list.Remove(place)
		if me.called {
			q.waiters.signal()
		}
	}()
	for {
		over, err := q.sleep(ctx, me, timer)
		if err != nil || over {
			return nil, err
		}
		me.called = false
		taken, more, err := q.take(limit, visibility)
		if err != nil || len(taken) > 0 {
			me.called = more || err != nil
			return taken, err
		}
	}
}

// sleep gives up the lock until there is something to do. over says that the
// wait has ended with nothing.
func (q *queue) sleep(ctx context.Context, me *waiter, timer *time.Timer) (over bool, err error) {
	q.mu.Unlock()
	defer q.mu.Lock()
	select {
	case <-ctx.Done():
		return true, ctx.Err()
	case <-me.wake:
		return false, ctx.Err() // the two may come together: ctx wins
	case <-timer.C:
	case <-q.store.draining:
	case <-q.store.engine.Failed():
		return true, q.store.engine.Failure()
	}
	return true, nil
}
