package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func newMem() *vfs.MemFS { return vfs.NewMem() }

// A model is the queue as one would write it without thinking of disks: a list.
type model struct {
	maxReceives int
	live, dead  []*modelMessage
}

type modelMessage struct {
	payload   string
	visibleAt time.Time
	seq       int // breaks ties as the enqueue did
	receives  int
	receipt   string
}

func (m *model) bury(now time.Time) {
	m.live = slices.DeleteFunc(m.live, func(x *modelMessage) bool {
		gone := x.receives >= m.maxReceives && !x.visibleAt.After(now)
		if gone {
			m.dead = append(m.dead, x)
		}
		return gone
	})
}

// due returns what a receive must give, in its order.
func (m *model) due(now time.Time, limit int) []*modelMessage {
	m.bury(now)
	var due []*modelMessage
	for _, x := range m.live {
		if !x.visibleAt.After(now) {
			due = append(due, x)
		}
	}
	slices.SortFunc(due, func(a, b *modelMessage) int {
		if c := a.visibleAt.Compare(b.visibleAt); c != 0 {
			return c
		}
		return a.seq - b.seq
	})
	return due[:min(limit, len(due))]
}

func TestStoreBehavesAsTheModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("random operations and restarts, seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runModel(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func runModel(t *testing.T, rng *rand.Rand) {
	disk := newMem()
	m := &model{maxReceives: 1 + rng.IntN(4)}
	change := func(c *Config) { c.MaxReceives = m.maxReceives }
	s := openStore(t, disk, change)
	defer func() { closeStore(t, s) }()
	var receipts []string // all that ever were
	for step := range 400 {
		switch op := rng.IntN(100); {
		case op < 35:
			payload := fmt.Sprint(step)
			enqueue(t, s, "q", payload)
			m.live = append(m.live, &modelMessage{payload: payload, visibleAt: time.Now(), seq: step})
		case op < 65:
			limit, visibility := 1+rng.IntN(10), time.Duration(rng.IntN(20))*time.Second
			due := m.due(time.Now(), limit)
			got := receive(t, s, "q", limit, visibility)
			if len(got) != len(due) {
				t.Fatalf("step %d: got %s, expected %d messages", step, payloads(got), len(due))
			}
			for n, x := range due {
				x.receives++
				x.visibleAt, x.receipt = time.Now().Add(visibility), got[n].Receipt
				receipts = append(receipts, x.receipt)
				if string(got[n].Payload) != x.payload || got[n].Receives != x.receives {
					t.Fatalf("step %d: message %d is %s (%d), expected %s (%d)",
						step, n, got[n].Payload, got[n].Receives, x.payload, x.receives)
				}
			}
		case op < 85 && len(receipts) > 0:
			m.bury(time.Now())
			receipt := receipts[rng.IntN(len(receipts))]
			at := slices.IndexFunc(m.live, func(x *modelMessage) bool { return x.receipt == receipt })
			synctest.Wait() // dead letters are moved by a timer
			if err := s.Ack(receipt); (err == nil) != (at >= 0) {
				t.Fatalf("step %d: ack: %v, though the model says %v", step, err, at >= 0)
			}
			if at >= 0 {
				m.live = slices.Delete(m.live, at, at+1)
			}
		case op < 97:
			time.Sleep(time.Duration(rng.IntN(5000)) * time.Millisecond)
		default:
			closeStore(t, s)
			s = openStore(t, disk, change)
		}
		checkModel(t, s, m)
	}
}

func checkModel(t *testing.T, s *Store, m *model) {
	t.Helper()
	synctest.Wait()
	now := time.Now()
	m.bury(now)
	inFlight := 0
	for _, x := range m.live {
		if x.visibleAt.After(now) {
			inFlight++
		}
	}
	for _, q := range s.Stats() {
		switch {
		case q.Name == "q" && (q.InFlight != inFlight || q.Ready != len(m.live)-inFlight):
			t.Fatalf("%+v, expected %d ready, %d in flight", q, len(m.live)-inFlight, inFlight)
		case q.Name == "q.dead" && q.Ready != len(m.dead):
			t.Fatalf("%+v, expected %d dead", q, len(m.dead))
		}
	}
}

// TestConcurrent lets producers and consumers race, on the real clock and a real
// disk, with a restart in the middle.
func TestConcurrent(t *testing.T) {
	t.Run("every message is acknowledged exactly once and none is lost", func(t *testing.T) {
		dir := t.TempDir()
		acked := map[string]int{}
		var mu sync.Mutex
		const rounds, producers, each = 2, 4, 50
		for round := range rounds {
			s := openStore(t, vfs.Default, func(c *Config) { c.DataDir = dir })
			var all sync.WaitGroup
			for p := range producers {
				all.Go(func() {
					for n := range each {
						if _, err := s.Enqueue("q", fmt.Appendf(nil, "%d-%d-%d", round, p, n)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			for range 4 {
				all.Go(func() {
					for empty := false; !empty; {
						// The first round stops early and leaves work behind.
						got, err := s.Receive(t.Context(), "q", 7, 200*time.Millisecond, time.Hour)
						if err != nil {
							t.Error(err)
						}
						for _, d := range got {
							if err := s.Ack(d.Receipt); err != nil {
								t.Errorf("ack: %v", err)
							}
							mu.Lock()
							acked[string(d.Payload)]++
							mu.Unlock()
						}
						mu.Lock()
						empty = len(got) == 0 || round == 0 && len(acked) > producers*each/2
						mu.Unlock()
					}
				})
			}
			all.Wait()
			closeStore(t, s)
		}
		if len(acked) != rounds*producers*each {
			t.Errorf("%d messages, expected %d", len(acked), rounds*producers*each)
		}
		for payload, n := range acked {
			if n != 1 {
				t.Errorf("%s was acknowledged %d times", payload, n)
			}
		}
	})
}
