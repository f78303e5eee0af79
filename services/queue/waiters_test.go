package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A poll is a long poll on a goroutine of its own.
type poll struct {
	got   []Delivery
	err   error
	after time.Duration
	done  chan struct{}
}

func startPoll(ctx context.Context, s *Store, limit int, wait time.Duration) *poll {
	p := &poll{done: make(chan struct{})}
	start := time.Now()
	go func() {
		defer close(p.done)
		p.got, p.err = s.Receive(ctx, "q", limit, wait, time.Minute)
		p.after = time.Since(start)
	}()
	synctest.Wait() // it stands in line, or has answered
	return p
}

func (p *poll) is(t *testing.T, want string, after time.Duration) {
	t.Helper()
	<-p.done
	if payloads(p.got) != want || p.err != nil || p.after != after {
		t.Errorf("after %v: %q, %v; expected %q after %v", p.after, payloads(p.got), p.err, want, after)
	}
}

func TestLongPoll(t *testing.T) {
	virtual(t, "it answers at once where there is a message", nil, func(t *testing.T, s *Store) {
		enqueue(t, s, "q", "1")
		startPoll(t.Context(), s, 10, 20*time.Second).is(t, "1", 0)
	})
	virtual(t, "it answers with nothing when its time is over", nil, func(t *testing.T, s *Store) {
		startPoll(t.Context(), s, 10, 20*time.Second).is(t, "", 20*time.Second)
	})
	virtual(t, "an enqueue wakes it", nil, func(t *testing.T, s *Store) {
		p := startPoll(t.Context(), s, 10, 20*time.Second)
		time.Sleep(3 * time.Second)
		enqueue(t, s, "q", "1")
		p.is(t, "1", 3*time.Second)
	})
	virtual(t, "the end of a visibility timeout wakes it", nil, func(t *testing.T, s *Store) {
		enqueue(t, s, "q", "1")
		receive(t, s, "q", 1, 7*time.Second)
		startPoll(t.Context(), s, 10, 20*time.Second).is(t, "1", 7*time.Second)
	})
	virtual(t, "a deadline earlier than those before it wakes it in time", nil, func(t *testing.T, s *Store) {
		enqueue(t, s, "q", "1")
		enqueue(t, s, "q", "2")
		receive(t, s, "q", 1, 15*time.Second)
		receive(t, s, "q", 1, 5*time.Second)
		p := startPoll(t.Context(), s, 10, 20*time.Second)
		p2 := startPoll(t.Context(), s, 10, 20*time.Second)
		p.is(t, "2", 5*time.Second)
		p2.is(t, "1", 15*time.Second)
	})
	virtual(t, "those who wait are served in their order", nil, func(t *testing.T, s *Store) {
		var polls []*poll
		for range 5 {
			polls = append(polls, startPoll(t.Context(), s, 1, 20*time.Second))
		}
		for i, p := range polls {
			time.Sleep(time.Second)
			enqueue(t, s, "q", fmt.Sprint(i))
			p.is(t, fmt.Sprint(i), time.Duration(i+1)*time.Second)
		}
	})
	virtual(t, "messages that come together reach all who wait", nil, func(t *testing.T, s *Store) {
		var polls []*poll
		for range 3 {
			polls = append(polls, startPoll(t.Context(), s, 1, 20*time.Second))
		}
		time.Sleep(time.Second)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { enqueue(t, s, "q", "m") })
		}
		all.Wait()
		for _, p := range polls {
			p.is(t, "m", time.Second)
		}
	})
	virtual(t, "several that become visible at once reach all who wait", nil, func(t *testing.T, s *Store) {
		for range 3 {
			enqueue(t, s, "q", "m")
		}
		receive(t, s, "q", 3, 10*time.Second)
		for _, p := range []*poll{
			startPoll(t.Context(), s, 1, 20*time.Second),
			startPoll(t.Context(), s, 1, 20*time.Second),
			startPoll(t.Context(), s, 1, 20*time.Second),
		} {
			p.is(t, "m", 10*time.Second)
		}
	})
	virtual(t, "one that is cancelled takes no message, and leaves it to the next", nil, func(t *testing.T, s *Store) {
		ctx, cancel := context.WithCancel(t.Context())
		first := startPoll(ctx, s, 1, 20*time.Second)
		second := startPoll(t.Context(), s, 1, 20*time.Second)
		cancel()
		enqueue(t, s, "q", "1")
		<-first.done
		if !errors.Is(first.err, context.Canceled) || len(first.got) != 0 {
			t.Errorf("first: %v, %v", first.got, first.err)
		}
		second.is(t, "1", 0)
		if second.got[0].Receives != 1 {
			t.Errorf("receives = %d", second.got[0].Receives)
		}
	})
	virtual(t, "an acknowledgement that makes room in flight wakes it", func(c *Config) { c.MaxInFlight = 1 }, func(t *testing.T, s *Store) {
		first := startPoll(t.Context(), s, 10, 20*time.Second)
		second := startPoll(t.Context(), s, 10, 20*time.Second)
		b := s.batch() // two messages that become visible with one call
		q := s.find("q")
		defer s.release(q)
		q.mu.Lock()
		for n := range 2 {
			i, st := id{0: 1, 15: byte(n)}, state{enqueuedAt: s.now(), visibleAt: s.now()}
			q.write(b, i, st, fmt.Appendf(nil, "%d", n))
			q.added(i, st.visibleAt)
		}
		if _, err := s.engine.Apply(b, false); err != nil {
			t.Fatal(err)
		}
		q.waiters.signal()
		q.mu.Unlock()
		first.is(t, "0", 0)
		time.Sleep(time.Second)
		if err := s.Ack(first.got[0].Receipt); err != nil {
			t.Fatal(err)
		}
		second.is(t, "1", time.Second)
	})
	virtual(t, "above max_waiters another is refused", func(c *Config) { c.MaxWaiters = 1 }, func(t *testing.T, s *Store) {
		p := startPoll(t.Context(), s, 1, 20*time.Second)
		if _, err := s.Receive(t.Context(), "q", 1, time.Second, time.Second); !errors.Is(err, ErrTooManyWaiters) {
			t.Errorf("got %v", err)
		}
		p.is(t, "", 20*time.Second)
	})
	virtual(t, "a drain answers all at once, and from then on", nil, func(t *testing.T, s *Store) {
		p := startPoll(t.Context(), s, 1, 20*time.Second)
		time.Sleep(time.Second)
		s.Drain()
		p.is(t, "", time.Second)
		startPoll(t.Context(), s, 1, 20*time.Second).is(t, "", 0)
	})
	virtual(t, "waiting holds a queue's place, and gives it back", func(c *Config) { c.MaxQueues = 1 }, func(t *testing.T, s *Store) {
		p := startPoll(t.Context(), s, 1, 5*time.Second)
		if _, err := s.Enqueue("other", []byte("1")); !errors.Is(err, ErrTooManyQueues) {
			t.Errorf("got %v", err)
		}
		p.is(t, "", 5*time.Second)
		enqueue(t, s, "other", "1")
	})
}

func TestWaitersAreNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, newMem(), nil)
		defer closeStore(t, s)
		// Impatient and patient pollers, short ones that steal, and a message at
		// a time: whatever the order, no message may lie about while one waits.
		var all sync.WaitGroup
		var mu sync.Mutex
		seen := map[string]bool{}
		for i := range 20 {
			all.Go(func() {
				for n := range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+(i*7+n*3)%11)*time.Second)
					got, err := s.Receive(ctx, "q", 1+i%3, time.Duration((i+n)%6)*time.Second, time.Hour)
					cancel()
					if err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					mu.Lock()
					for _, d := range got {
						if seen[d.ID] {
							t.Errorf("%s came twice", d.ID)
						}
						seen[d.ID] = true
					}
					mu.Unlock()
				}
			})
		}
		for n := range 60 {
			time.Sleep(300 * time.Millisecond)
			enqueue(t, s, "q", fmt.Sprint(n))
			synctest.Wait()
			q := s.find("q")
			q.mu.Lock()
			if ready := int(q.total.Load()) - q.flights.len(); ready > 0 && q.waiters.list.Len() > 0 {
				t.Errorf("%d ready while %d wait", ready, q.waiters.list.Len())
			}
			q.mu.Unlock()
			s.release(q)
		}
		all.Wait()
		for len(receive(t, s, "q", 10, time.Hour)) > 0 {
		}
		if len(seen) < 50 {
			t.Errorf("only %d of 60 were received while others waited", len(seen))
		}
	})
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"default": true, "a.b-c_D9": true, strings.Repeat("x", 80): true, strings.Repeat("x", 80) + ".dead": true,
		"": false, ".dead": false, strings.Repeat("x", 81): false, "a/b": false, "a b": false, "é": false, "a\x00": false,
	} {
		if validName(name) != ok {
			t.Errorf("validName(%q) = %v", name, !ok)
		}
	}
}
