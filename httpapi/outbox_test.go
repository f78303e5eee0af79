package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

func TestCards(t *testing.T) {
	c := newCloud(t)
	r := c.start("one")
	t.Run("the seeds get theirs", func(t *testing.T) {
		c.quietNow(r)
		for id, name := range map[int64]string{1: "Accio", 2: "Lumos"} {
			if svg := c.objects.object(cardKey(id)); !strings.Contains(svg, name) {
				t.Errorf("the card of %s is %q", name, svg)
			}
		}
		c.objects.mu.Lock()
		defer c.objects.mu.Unlock()
		if ct := c.objects.types["spells/1.svg"]; ct != "image/svg+xml" {
			t.Errorf("the content type is %q", ct)
		}
	})
	t.Run("a new spell gets one, a replaced one another", func(t *testing.T) {
		r.call("POST", "/api/spells", `{"name":"Nox"}`)
		kittest.Eventually(t, "the card is there", func() bool { return strings.Contains(c.objects.object("spells/3.svg"), "Nox") })
		r.call("PUT", "/api/spells/3", `{"name":"Finite"}`)
		kittest.Eventually(t, "the card has changed", func() bool { return strings.Contains(c.objects.object("spells/3.svg"), "Finite") })
	})
	t.Run("a deleted spell loses its card", func(t *testing.T) {
		r.call("DELETE", "/api/spells/3", "")
		kittest.Eventually(t, "the card is gone", func() bool { return c.objects.object("spells/3.svg") == "" })
	})
	t.Run("an event that runs twice, and one from long ago, change nothing", func(t *testing.T) {
		c.quietNow(r)
		before := c.objects.object("spells/2.svg")
		for range 2 {
			for _, e := range []event{{Type: spellDeleted, SpellID: 2}, {Type: spellSaved, SpellID: 2, Invalidate: true}, {Type: spellSaved, SpellID: 3}} {
				c.queue.add(must(json.Marshal(e)))
			}
		}
		c.quietNow(r)
		if c.objects.object("spells/2.svg") != before || c.objects.object("spells/3.svg") != "" {
			t.Error("the cards are not what the book says")
		}
	})
	t.Run("an event leaves alone what readers have cached since", func(t *testing.T) {
		r.call("PUT", "/api/spells/2", `{"name":"Lumos Maxima"}`)
		c.quietNow(r)
		r.call("GET", "/api/spells/2", "")
		c.queue.add(must(json.Marshal(event{Type: spellSaved, SpellID: 2, Invalidate: true, At: time.Now()})))
		c.quietNow(r)
		if value, _ := c.cache.value("spell:2"); !strings.Contains(value, "Lumos Maxima") {
			t.Errorf("the cache has %q", value)
		}
	})
	t.Run("an event removes what is not in the book any more", func(t *testing.T) {
		c.cache.put("spell:2", `{"id":2,"name":"Lumos","description":"old"}`)
		c.cache.put("spell:3", `{"id":3,"name":"Nox"}`)
		for id := range int64(2) {
			c.queue.add(must(json.Marshal(event{Type: spellSaved, SpellID: id + 2, Invalidate: true, At: time.Now()})))
		}
		c.quietNow(r)
		for _, key := range []string{"spell:2", "spell:3"} {
			if value, cached := c.cache.value(key); cached {
				t.Errorf("the cache has %q", value)
			}
		}
	})
}

// slowObjects lets a test act while a card is on its way.
type slowObjects struct {
	objectClient
	before func()
}

func (s *slowObjects) Put(ctx context.Context, key, contentType string, body io.Reader) error {
	s.before()
	return s.objectClient.Put(ctx, key, contentType, body)
}

func TestConsumersSideBySide(t *testing.T) {
	c := newCloud(t)
	r := c.start("one")
	c.quietNow(r)
	// A second consumer has read the spell, and is about to write its card,
	// when the spell changes and the first one writes the new card.
	slow := *r.consumer
	slow.objects = &slowObjects{r.consumer.objects, sync.OnceFunc(func() {
		r.call("PUT", "/api/spells/1", `{"name":"Accio Maxima"}`)
		c.quietNow(r)
		if !strings.Contains(c.objects.object("spells/1.svg"), "Accio Maxima") {
			t.Error("the first consumer has not written the card")
		}
	})}
	if err := slow.handle(t.Context(), event{Type: spellSaved, SpellID: 1}); err != nil {
		t.Fatal(err)
	}
	if svg := c.objects.object("spells/1.svg"); !strings.Contains(svg, "Accio Maxima") {
		t.Errorf("the last card is the old one: %s", svg)
	}
}

// recorder is a queue that only takes events.
type recorder struct {
	mu   sync.Mutex
	ids  []int64
	fail error
	hook func()
}

func (q *recorder) Enqueue(_ context.Context, message any) (string, error) {
	var e event
	if err := json.Unmarshal(message.(json.RawMessage), &e); err != nil {
		return "", err
	}
	if q.hook != nil {
		q.hook()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.fail != nil {
		return "", q.fail
	}
	q.ids = append(q.ids, e.SpellID)
	return "id", nil
}

// idle returns a relay that the test runs by hand, over the store of a replica
// whose own relay cannot send.
func idle(r *replica, owner string, queue *recorder) *relay {
	return &relay{store: r.store, queue: queue, part: r.relay.part, metrics: r.metrics, logger: quiet(), owner: owner}
}

func TestRelay(t *testing.T) {
	c := newCloud(t)
	cfg := c.config("one")
	cfg.OutboxInterval = time.Minute
	r := c.replica(cfg)
	<-r.store.schema
	c.quietNow(r)
	// Its own relay is not told of what is written past the API.
	write := func(n int) (ids []int64) {
		for range n {
			sp, err := r.store.create(t.Context(), input{Name: "Nox"})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, sp.ID)
		}
		return ids
	}
	empty := func(t *testing.T) {
		t.Helper()
		if waiting, err := r.store.eventsWait(t.Context()); waiting || err != nil {
			t.Errorf("the outbox is not empty (%v)", err)
		}
	}

	t.Run("events leave in order, over several batches", func(t *testing.T) {
		want, queue := write(2*batch+3), &recorder{}
		if err := idle(r, "a", queue).pass(t.Context()); err != nil || !slices.Equal(queue.ids, want) {
			t.Errorf("sent %v, want %v (%v)", queue.ids, want, err)
		}
		empty(t)
	})
	t.Run("while one relay sends, another finds the outbox claimed", func(t *testing.T) {
		want, other := write(3), &recorder{}
		queue := &recorder{}
		queue.hook = func() {
			if err := idle(r, "b", other).pass(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := idle(r, "a", queue).pass(t.Context()); err != nil || !slices.Equal(queue.ids, want) || len(other.ids) != 0 {
			t.Errorf("a sent %v, b sent %v, want %v and none (%v)", queue.ids, other.ids, want, err)
		}
		empty(t)
	})
	t.Run("an event that is written while a relay sends goes with the same pass", func(t *testing.T) {
		want := write(1)
		queue := &recorder{}
		queue.hook = sync.OnceFunc(func() { want = append(want, write(1)...) })
		if err := idle(r, "a", queue).pass(t.Context()); err != nil || !slices.Equal(queue.ids, want) {
			t.Errorf("sent %v, want %v (%v)", queue.ids, want, err)
		}
	})
	t.Run("what the queue refuses is free for another relay at once, and nothing is lost", func(t *testing.T) {
		want := write(3)
		if err := idle(r, "a", &recorder{fail: errors.New("full")}).pass(t.Context()); err == nil {
			t.Error("no error")
		}
		queue := &recorder{}
		if err := idle(r, "b", queue).pass(t.Context()); err != nil || !slices.Equal(queue.ids, want) {
			t.Errorf("sent %v, want %v (%v)", queue.ids, want, err)
		}
		empty(t)
	})
	t.Run("the claim of a relay that died ends by itself", func(t *testing.T) {
		want := write(2)
		if rows, err := r.store.claimEvents(t.Context(), "dead"); err != nil || len(rows) != 2 {
			t.Fatalf("claimed %v (%v)", rows, err)
		}
		queue := &recorder{}
		if err := idle(r, "b", queue).pass(t.Context()); err != nil || len(queue.ids) != 0 {
			t.Errorf("sent %v under a claim (%v)", queue.ids, err)
		}
		later := *r.store
		later.now = func() time.Time { return time.Now().Add(claim + time.Second) }
		b := idle(r, "b", queue)
		b.store = &later
		if err := b.pass(t.Context()); err != nil || !slices.Equal(queue.ids, want) {
			t.Errorf("sent %v, want %v (%v)", queue.ids, want, err)
		}
	})
}

func TestLastPass(t *testing.T) {
	c := newCloud(t)
	cfg := c.config("one")
	cfg.OutboxInterval = time.Minute
	r := c.replica(cfg)
	<-r.store.schema
	c.quietNow(r)
	if _, err := r.store.create(t.Context(), input{Name: "Nox"}); err != nil { // the relay is not told
		t.Fatal(err)
	}
	r.stop()
	if seen := c.queue.seen(); !slices.Contains(seen, 3) {
		t.Errorf("events of the spells %v", seen)
	}
}

func TestRollback(t *testing.T) {
	c := newCloud(t)
	r := c.start("one")
	c.quietNow(r)
	seen := len(c.queue.seen())
	if err := r.store.write(t.Context(), "fail", func(ctx context.Context, q querier) error {
		if _, err := insertSpell(ctx, q, Spell{Name: "Nox"}, time.Now()); err != nil {
			return err
		}
		return errNotFound
	}); !errors.Is(err, errNotFound) {
		t.Fatal(err)
	}
	if a := r.call("GET", "/api/spells", ""); strings.Contains(a.body, "Nox") {
		t.Errorf("the row stayed: %v", a)
	}
	c.quietNow(r)
	if len(c.queue.seen()) != seen {
		t.Error("the event stayed")
	}
}

func TestEventContinuesTheTrace(t *testing.T) {
	ctx := kit.WithTrace(t.Context(), kit.Trace{RequestID: "r1", TraceID: strings.Repeat("a", 32), SpanID: strings.Repeat("b", 16), Flags: "01"})
	e := newEvent(ctx, spellSaved, 3, true, time.Unix(0, 0))
	back, err := parseEvent(must(json.Marshal(e)))
	if err != nil {
		t.Fatal(err)
	}
	got := kit.TraceFrom(back.trace(t.Context()))
	if got.RequestID != "r1" || got.TraceID != strings.Repeat("a", 32) || got.Flags != "01" {
		t.Errorf("got %+v", got)
	}
}
