package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	queue "minicloud.internal/services/queue/client"

	"minicloud.internal/kit"
)

// A receiver is what this service needs of the message queue to read from it;
// minicloud.internal/services/queue/client is one.
type receiver interface {
	// Receive waits for messages, and hides them from others for visibility.
	Receive(ctx context.Context, max int, wait, visibility time.Duration) ([]queue.Message, error)
	// Ack removes a message for good.
	Ack(ctx context.Context, receipt string) error
}

// An objectClient is what this service needs of the object storage;
// minicloud.internal/objectstorage/client is one.
type objectClient interface {
	// Put returns nil once the object is durable.
	Put(ctx context.Context, key, contentType string, body io.Reader) error
	// Delete returns nil for an absent key too.
	Delete(ctx context.Context, key string) error
}

const (
	// receiveMax is how many events one receive takes.
	receiveMax = 10
	// agreeTries bounds how often a card is written again because the spell
	// changed meanwhile; then the event comes back.
	agreeTries = 5
	// lastEvents is how long the events in hand may take once ctx has ended.
	lastEvents = 2 * time.Second
	// probeKey is deleted to learn whether the object storage answers. It
	// cannot be a spell's.
	probeKey = "spells/probe.svg"
)

func cardKey(id int64) string { return "spells/" + strconv.FormatInt(id, 10) + ".svg" }

// A consumer takes events from the queue and brings the cards, and the cache
// where it missed an invalidation, to what the data store says.
//
// While the data store or the object storage does not answer it takes nothing,
// and keeps trying what it holds: each receive counts, and an outage must not
// send good events to the dead letters. An event that it cannot read is left
// alone, which is how it gets there.
type consumer struct {
	queue      receiver
	store      *store
	objects    objectClient
	cache      *spellCache
	metrics    *metrics
	logger     *slog.Logger
	now        func() time.Time
	wait       time.Duration
	visibility time.Duration

	queuePart, objectsPart *part
}

// errOutage marks an error of a service that does not answer.
var errOutage = errors.New("a service that the card needs does not answer")

// run consumes until ctx ends.
func (c *consumer) run(ctx context.Context) {
	select {
	case <-c.store.schema:
	case <-ctx.Done():
		return
	}
	failed := backoff{first: 100 * time.Millisecond, most: 5 * time.Second}
	for ctx.Err() == nil {
		if c.store.part.down.Load() || c.objectsPart.down.Load() {
			if wait := newWait(); !c.recovered(ctx, &wait) {
				return
			}
		}
		messages, err := c.queue.Receive(ctx, receiveMax, c.wait, c.visibility)
		if err != nil {
			if ctx.Err() == nil {
				c.queuePart.lost(err)
				sleep(ctx, failed.next())
			}
			continue
		}
		failed.reset()
		c.queuePart.found()
		c.batch(ctx, messages)
	}
}

// batch handles messages while they are this consumer's. The end of ctx leaves
// them a little time, since they would come back only after the visibility
// timeout.
func (c *consumer) batch(ctx context.Context, messages []queue.Message) {
	if len(messages) == 0 {
		return
	}
	// The margin leaves room for the acknowledgement.
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.visibility*9/10)
	defer cancel()
	patience, hurry := context.WithCancel(work)
	defer hurry()
	stop := context.AfterFunc(ctx, func() {
		hurry()
		time.AfterFunc(lastEvents, cancel)
	})
	defer stop()
	for _, m := range messages {
		c.deliver(patience, work, m)
		if work.Err() != nil {
			return // the rest comes back
		}
	}
}

// deliver handles one message within work, and acknowledges it if that went well.
// In an outage it tries again until patience ends.
func (c *consumer) deliver(patience, work context.Context, m queue.Message) {
	e, err := parseEvent(m.Message)
	if err != nil {
		c.metrics.consumed.WithLabelValues("poison").Inc()
		c.logger.Error("event left to the dead letters", "id", m.ID, "receives", m.Receives, "error", err)
		return
	}
	work = e.trace(work)
	err = c.handle(work, e)
	wait := newWait()
	for errors.Is(err, errOutage) && c.recovered(patience, &wait) {
		err = c.handle(work, e)
	}
	if err == nil {
		err = c.queue.Ack(work, m.Receipt)
	}
	if err != nil {
		c.metrics.consumed.WithLabelValues("failed").Inc()
		c.logger.Warn("event comes back", "id", m.ID, "type", e.Type, "spell_id", e.SpellID,
			"receives", m.Receives, "request_id", e.RequestID, "error", err)
		return
	}
	c.metrics.consumed.WithLabelValues("done").Inc()
	c.logger.Debug("event done", "id", m.ID, "type", e.Type, "spell_id", e.SpellID, "request_id", e.RequestID)
}

// handle makes the card of the event's spell, and the cache, agree with the data
// store.
func (c *consumer) handle(ctx context.Context, e event) error {
	now, exists, err := c.agree(ctx, e.SpellID)
	if err != nil || !e.Invalidate {
		return err
	}
	// Nearly always the write has invalidated, and a reader may have cached
	// the new spell: that stays. Where there is nothing the deletion is due all
	// the same, since it revokes the lease of a load that read the old one.
	if cached, _, outcome := c.cache.get(ctx, e.SpellID); outcome == hit && exists && cached == now {
		return nil
	}
	// An entry from before the change has expired after its TTL; the rest is
	// for a load that was under way. Until then an invalidation is owed.
	if err := c.cache.delete(ctx, e.SpellID); err != nil && c.now().Before(e.At.Add(c.cache.ttl+10*time.Second)) {
		return fmt.Errorf("invalidate the cache: %w", err)
	}
	return nil
}

// agree writes the card that the data store asks for until the spell has not
// changed while it wrote, and returns the spell. Consumers that do this side by
// side for one spell end with its last state, whoever writes last.
func (c *consumer) agree(ctx context.Context, id int64) (now Spell, exists bool, err error) {
	now, exists, err = c.current(ctx, id)
	for range agreeTries {
		if err != nil {
			return Spell{}, false, err
		}
		if err := c.putCard(ctx, id, now, exists); err != nil {
			return Spell{}, false, err
		}
		written, existed := now, exists
		now, exists, err = c.current(ctx, id)
		if err == nil && now == written && exists == existed {
			return now, exists, nil
		}
	}
	return Spell{}, false, errors.Join(err, errors.New("the spell changes faster than its card is written"))
}

func (c *consumer) current(ctx context.Context, id int64) (sp Spell, exists bool, err error) {
	sp, err = c.store.get(ctx, id)
	switch {
	case errors.Is(err, errNotFound):
		return Spell{}, false, nil
	case errors.Is(err, errStoreDown):
		return Spell{}, false, fmt.Errorf("%w: %w", errOutage, err)
	}
	return sp, err == nil, err
}

func (c *consumer) putCard(ctx context.Context, id int64, sp Spell, exists bool) error {
	return c.call(ctx, func() error {
		if !exists {
			return c.objects.Delete(ctx, cardKey(id))
		}
		return c.objects.Put(ctx, cardKey(id), "image/svg+xml", bytes.NewReader(card(sp)))
	})
}

// call judges an answer of the object storage: no answer, or one that asks to
// come again later, is an outage.
func (c *consumer) call(ctx context.Context, f func() error) error {
	err := f()
	if err == nil {
		c.objectsPart.found()
		return nil
	}
	var refused *kit.Problem
	if errors.As(err, &refused) && !comeAgain(refused.Status) || ctx.Err() != nil {
		return fmt.Errorf("write the card: %w", err)
	}
	c.objectsPart.lost(err)
	return fmt.Errorf("write the card: %w: %w", errOutage, err)
}

// comeAgain reports whether a status is that of a service that is not there, or too busy. A
// plain 500 is not among them: it may well be about this one object.
func comeAgain(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func newWait() backoff { return backoff{first: 100 * time.Millisecond, most: 2 * time.Second} }

// recovered waits until data store and object storage answer; false means that
// ctx ended first.
func (c *consumer) recovered(ctx context.Context, wait *backoff) bool {
	for sleep(ctx, wait.next()) {
		if _, err := c.store.eventsWait(ctx); err != nil {
			continue
		}
		if err := c.call(ctx, func() error { return c.objects.Delete(ctx, probeKey) }); !errors.Is(err, errOutage) && ctx.Err() == nil {
			return true
		}
	}
	return false
}
