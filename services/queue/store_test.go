package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// virtual runs a test of a store in virtual time.
func virtual(t *testing.T, name string, change func(*Config), test func(t *testing.T, s *Store)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := openStore(t, vfs.NewMem(), change)
			defer closeStore(t, s)
			test(t, s)
		})
	})
}

func TestDelivery(t *testing.T) {
	virtual(t, "messages come in the order of their enqueue, in the same nanosecond too", nil, func(t *testing.T, s *Store) {
		for i := range 25 {
			enqueue(t, s, "q", fmt.Sprint(i))
		}
		got := payloads(receive(t, s, "q", 10, time.Minute)) + " " + payloads(receive(t, s, "q", 10, time.Minute)) +
			" " + payloads(receive(t, s, "q", 10, time.Minute))
		want := "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24"
		if got != want {
			t.Errorf("got %s", got)
		}
	})
	virtual(t, "a received message is invisible until its timeout, and then comes again with another receipt", nil, func(t *testing.T, s *Store) {
		sent := enqueue(t, s, "q", "1")
		first := receive(t, s, "q", 1, 30*time.Second)
		time.Sleep(30*time.Second - 1)
		if got := receive(t, s, "q", 1, time.Second); len(got) != 0 {
			t.Fatal("visible a nanosecond early")
		}
		time.Sleep(time.Nanosecond)
		second := receive(t, s, "q", 1, time.Second)
		if len(second) != 1 || second[0].ID != sent || second[0].Receives != 2 || second[0].Receipt == first[0].Receipt {
			t.Fatalf("got %+v", second)
		}
		if !second[0].EnqueuedAt.Equal(first[0].EnqueuedAt) {
			t.Error("enqueued_at changed")
		}
		if err := s.Ack(first[0].Receipt); !errors.Is(err, ErrReceipt) {
			t.Errorf("the old receipt: %v", err)
		}
		if err := s.Ack(second[0].Receipt); err != nil {
			t.Errorf("the new receipt: %v", err)
		}
		if err := s.Ack(second[0].Receipt); !errors.Is(err, ErrReceipt) {
			t.Errorf("the new receipt, again: %v", err)
		}
	})
	virtual(t, "an expired receipt acknowledges until the message is received again", nil, func(t *testing.T, s *Store) {
		enqueue(t, s, "q", "1")
		got := receive(t, s, "q", 1, time.Second)
		time.Sleep(time.Hour)
		if err := s.Ack(got[0].Receipt); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, s, "q", 1, time.Second); len(got) != 0 {
			t.Errorf("it came back: %+v", got)
		}
	})
	virtual(t, "a visibility timeout of 0 leaves the message visible", nil, func(t *testing.T, s *Store) {
		enqueue(t, s, "q", "1")
		for n := 1; n <= 3; n++ {
			if got := receive(t, s, "q", 10, 0); len(got) != 1 || got[0].Receives != n {
				t.Fatalf("receive %d: %+v", n, got)
			}
		}
	})
	virtual(t, "queues do not see each other's messages, nor the receipts of another", nil, func(t *testing.T, s *Store) {
		enqueue(t, s, "a", "1")
		enqueue(t, s, "a.b", "2")
		enqueue(t, s, "a-", "3")
		got := receive(t, s, "a", 10, time.Minute)
		if payloads(got) != "1" {
			t.Errorf("a has %s", payloads(got))
		}
		r, _ := parseReceipt(got[0].Receipt)
		r.queue = "a.b"
		if err := s.Ack(r.String()); !errors.Is(err, ErrReceipt) {
			t.Errorf("a receipt with another queue's name: %v", err)
		}
	})
	virtual(t, "a message that was never received cannot be acknowledged", nil, func(t *testing.T, s *Store) {
		enqueue(t, s, "q", "1")
		q := s.find("q")
		defer s.release(q)
		var first id
		_ = s.engine.Scan(prefix(kindState, "q"), []byte{kindState + 1}, func(key, _ []byte) bool {
			_, _, _, first, _ = parseKey(key)
			return false
		})
		if err := s.Ack(receipt{queue: "q", id: first}.String()); !errors.Is(err, ErrReceipt) {
			t.Errorf("got %v", err)
		}
	})
	virtual(t, "a context that has ended takes no message", nil, func(t *testing.T, s *Store) {
		enqueue(t, s, "q", "1")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, wait := range []time.Duration{0, time.Second} {
			if got, err := s.Receive(ctx, "q", 1, wait, time.Minute); !errors.Is(err, context.Canceled) || len(got) != 0 {
				t.Errorf("wait %v: %v, %v", wait, got, err)
			}
		}
		if got := receive(t, s, "q", 1, time.Minute); len(got) != 1 || got[0].Receives != 1 {
			t.Errorf("afterwards: %+v", got)
		}
	})
}

func TestDeadLetters(t *testing.T) {
	virtual(t, "a message moves after max_receives, with its id, receives and the time", func(c *Config) { c.MaxReceives = 3 }, func(t *testing.T, s *Store) {
		sent := enqueue(t, s, "q", "1")
		for range 3 {
			if got := receive(t, s, "q", 1, time.Second); len(got) != 1 {
				t.Fatalf("got %v", got)
			}
			time.Sleep(time.Second)
		}
		if got := receive(t, s, "q", 1, time.Second); len(got) != 0 {
			t.Fatalf("a fourth delivery: %+v", got)
		}
		dead := receive(t, s, "q.dead", 1, time.Second)
		if len(dead) != 1 || dead[0].ID != sent || dead[0].Receives != 4 || string(dead[0].Payload) != "1" {
			t.Fatalf("dead letter: %+v", dead)
		}
		if at := dead[0].DeadSince; at.Sub(dead[0].EnqueuedAt) != 3*time.Second {
			t.Errorf("dead since %v after %v", at, dead[0].EnqueuedAt)
		}
		if err := s.Ack(dead[0].Receipt); err != nil {
			t.Errorf("ack of a dead letter: %v", err)
		}
	})
	virtual(t, "it moves when the time is over, without another receive, and wakes who waits there", func(c *Config) { c.MaxReceives = 1 }, func(t *testing.T, s *Store) {
		enqueue(t, s, "q", "1")
		receive(t, s, "q", 1, 5*time.Second)
		start := time.Now()
		dead, err := s.Receive(t.Context(), "q.dead", 1, 20*time.Second, time.Second)
		if err != nil || len(dead) != 1 || time.Since(start) != 5*time.Second {
			t.Errorf("after %v: %+v, %v", time.Since(start), dead, err)
		}
	})
	virtual(t, "nothing moves out of a dead-letter queue", func(c *Config) { c.MaxReceives = 1 }, func(t *testing.T, s *Store) {
		enqueue(t, s, "q", "1")
		receive(t, s, "q", 1, 0)
		synctest.Wait() // for the queue's timer
		for n := range 5 {
			if got := receive(t, s, "q.dead", 1, 0); len(got) != 1 {
				t.Fatalf("receive %d: %v", n, got)
			}
		}
		for _, q := range s.Stats() {
			if q.Name == "q.dead.dead" {
				t.Error("there is a queue for dead dead letters")
			}
		}
	})
	virtual(t, "an acknowledged message is not buried", func(c *Config) { c.MaxReceives = 1 }, func(t *testing.T, s *Store) {
		enqueue(t, s, "q", "1")
		if err := s.Ack(receive(t, s, "q", 1, time.Second)[0].Receipt); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := receive(t, s, "q.dead", 1, 0); len(got) != 0 {
			t.Errorf("got %v", got)
		}
	})
}

func TestLimits(t *testing.T) {
	virtual(t, "a full queue refuses, and takes again after an acknowledgement", func(c *Config) { c.MaxMessages = 2 }, func(t *testing.T, s *Store) {
		enqueue(t, s, "q", "1")
		enqueue(t, s, "q", "2")
		if _, err := s.Enqueue("q", []byte("3")); !errors.Is(err, ErrQueueFull) {
			t.Fatalf("got %v", err)
		}
		enqueue(t, s, "other", "1")
		if err := s.Ack(receive(t, s, "q", 1, time.Second)[0].Receipt); err != nil {
			t.Fatal(err)
		}
		enqueue(t, s, "q", "3")
	})
	virtual(t, "with max_queues in use another is refused; an empty one gives its place", func(c *Config) { c.MaxQueues = 2 }, func(t *testing.T, s *Store) {
		enqueue(t, s, "a", "1")
		enqueue(t, s, "b", "1")
		if _, err := s.Enqueue("c", []byte("1")); !errors.Is(err, ErrTooManyQueues) {
			t.Fatalf("got %v", err)
		}
		if err := s.Ack(receive(t, s, "a", 1, time.Hour)[0].Receipt); err != nil {
			t.Fatal(err)
		}
		enqueue(t, s, "c", "1")
		if got := payloads(receive(t, s, "b", 1, 0)); got != "1" {
			t.Errorf("b has %q", got)
		}
	})
	virtual(t, "with max_in_flight received, no more are until one is acknowledged or its time is over", func(c *Config) { c.MaxInFlight = 2 }, func(t *testing.T, s *Store) {
		for i := range 4 {
			enqueue(t, s, "q", fmt.Sprint(i))
		}
		if got := payloads(receive(t, s, "q", 10, time.Minute)); got != "0 1" {
			t.Fatalf("got %s", got)
		}
		if _, err := s.Receive(t.Context(), "q", 1, 0, time.Minute); !errors.Is(err, ErrTooManyInFlight) {
			t.Fatalf("got %v", err)
		}
		time.Sleep(time.Minute)
		if got := payloads(receive(t, s, "q", 1, time.Minute)); got != "2" {
			t.Errorf("got %s: what became visible first comes first", got)
		}
	})
	virtual(t, "below min_free an enqueue is refused, while receive and ack go on", nil, func(t *testing.T, s *Store) {
		enqueue(t, s, "q", "1")
		disk := s.fs.(*vfs.MemFS)
		disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 64<<20 - 1, TotalBytes: 1 << 30})
		if _, err := s.Enqueue("q", []byte("2")); !errors.Is(err, ErrDiskFull) {
			t.Fatalf("got %v", err)
		}
		if err := s.Ack(receive(t, s, "q", 1, time.Second)[0].Receipt); err != nil {
			t.Fatal(err)
		}
		disk.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 64 << 20, TotalBytes: 1 << 30})
		enqueue(t, s, "q", "2")
	})
}

func TestClose(t *testing.T) {
	virtual(t, "it waits for no deadline, not even one of a queue that gave its place away", func(c *Config) { c.MaxQueues = 1 }, func(t *testing.T, s *Store) {
		start := time.Now()
		for _, name := range []string{"a", "b"} {
			enqueue(t, s, name, "1")
			if err := s.Ack(receive(t, s, name, 1, time.Hour)[0].Receipt); err != nil {
				t.Fatal(err)
			}
		}
		enqueue(t, s, "c", "1")
		receive(t, s, "c", 1, time.Hour)
		for _, q := range s.list() {
			q.close()
		}
		s.timers.Wait()
		if d := time.Since(start); d >= time.Hour {
			t.Errorf("it took %v", d)
		}
	})
}

func TestStats(t *testing.T) {
	virtual(t, "each queue is counted as it stands now", func(c *Config) { c.MaxReceives = 1 }, func(t *testing.T, s *Store) {
		start := time.Now().UTC()
		for range 3 {
			enqueue(t, s, "b", "1")
		}
		time.Sleep(time.Second)
		enqueue(t, s, "a", "1")
		receive(t, s, "b", 1, time.Minute)
		check := func(want ...string) {
			t.Helper()
			var got []string
			for _, q := range s.Stats() {
				age := "-"
				if !q.Oldest.IsZero() {
					age = q.Oldest.Sub(start).String()
				}
				got = append(got, fmt.Sprint(q.Name, " ", q.Ready, " ", q.InFlight, " ", age))
			}
			if strings.Join(got, ", ") != strings.Join(want, ", ") {
				t.Errorf("got %q, expected %q", got, want)
			}
		}
		check("a 1 0 1s", "b 2 1 0s")
		time.Sleep(time.Minute)
		synctest.Wait() // for the queue's timer
		check("a 1 0 1s", "b 2 0 0s", "b.dead 1 0 0s")
		if err := s.Ack(receive(t, s, "a", 1, time.Minute)[0].Receipt); err != nil {
			t.Fatal(err)
		}
		check("a 0 0 -", "b 2 0 0s", "b.dead 1 0 0s")
	})
}

func TestRestart(t *testing.T) {
	t.Run("a restart keeps messages, deadlines, receipts and dead letters", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			disk := vfs.NewMem()
			change := func(c *Config) { c.MaxReceives = 1 }
			s := openStore(t, disk, change)
			enqueue(t, s, "q", "dying")
			receive(t, s, "q", 1, 10*time.Second)
			enqueue(t, s, "q", "flying")
			flying := receive(t, s, "q", 1, time.Minute)
			enqueue(t, s, "q", "ready")
			enqueue(t, s, "q", "gone")
			closeStore(t, s)

			time.Sleep(30 * time.Second)
			s = openStore(t, disk, change)
			defer closeStore(t, s)
			if got := payloads(receive(t, s, "q.dead", 10, time.Minute)); got != "dying" {
				t.Errorf("dead letters: %s", got)
			}
			if got := payloads(receive(t, s, "q", 10, time.Hour)); got != "ready gone" {
				t.Errorf("ready: %s", got)
			}
			if err := s.Ack(flying[0].Receipt); err != nil {
				t.Errorf("a receipt from before: %v", err)
			}
		})
	})
	t.Run("a clock that was set back hides nothing", func(t *testing.T) {
		disk := vfs.NewMem()
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(1000 * time.Hour)
			s := openStore(t, disk, nil)
			enqueue(t, s, "q", "1")
			closeStore(t, s)
		})
		synctest.Test(t, func(t *testing.T) { // a new bubble begins in 2000 again
			s := openStore(t, disk, nil)
			defer closeStore(t, s)
			if got := payloads(receive(t, s, "q", 1, time.Minute)); got != "1" {
				t.Errorf("got %q", got)
			}
		})
	})
	t.Run("a directory in use is refused with the reason", func(t *testing.T) {
		dir := t.TempDir()
		s := openStore(t, vfs.Default, func(c *Config) { c.DataDir = dir })
		defer closeStore(t, s)
		cfg := DefaultConfig()
		cfg.DataDir = dir
		err := NewStore(cfg, discard(), newMetrics(), nil).Open()
		if err == nil || !strings.Contains(err.Error(), "another service uses this directory") {
			t.Errorf("got %v", err)
		}
	})
}
