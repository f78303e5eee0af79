package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// batch is how many events a relay claims at once.
	batch = 32
	// claim is how long a relay may take for them before another one may send
	// them too; send is how long it does take at most.
	claim = 10 * time.Second
	send  = 8 * time.Second
	// lastPass bounds the relay's work at the end of the service.
	lastPass = 2 * time.Second
)

// A queueClient is what this service needs of the message queue to write to it.
type queueClient interface {
	// Enqueue returns nil once the message is durable.
	Enqueue(ctx context.Context, message any) (id string, err error)
}

// A relay moves events from the outbox to the message queue, in order. All
// relays but one find the outbox claimed, so that two replicas neither send
// everything twice nor out of order. After a crash between an acknowledgement
// and the deletion the next relay sends the event again: at least once.
type relay struct {
	store    *store
	queue    queueClient
	part     *part
	metrics  *metrics
	logger   *slog.Logger
	owner    string        // of the claims; unique among all replicas' lives
	interval time.Duration // between looks at an outbox that others fill too
	wake     chan struct{} // of capacity 1: this replica wrote an event
}

// nudge tells the relay that there is an event. It never blocks.
func (r *relay) nudge() {
	select {
	case r.wake <- struct{}{}:
	default: // it is told already
	}
}

// run relays until ctx ends, and then once more.
func (r *relay) run(ctx context.Context) {
	select {
	case <-r.store.schema:
	case <-ctx.Done():
		return
	}
	wait := backoff{first: r.interval, most: max(5*time.Second, r.interval)}
	for {
		delay, wake := r.interval, r.wake
		if err := r.pass(ctx); err != nil && ctx.Err() == nil {
			r.logger.Debug("outbox not relayed", "error", err)
			// Each write would have the queue asked again: only time does.
			delay, wake = wait.next(), nil
		} else {
			wait.reset()
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-wake:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPass)
			defer cancel()
			if err := r.pass(last); err != nil {
				r.logger.Debug("outbox not relayed at the end", "error", err)
			}
			return
		}
	}
}

// pass relays until the outbox is empty, or another relay has it.
func (r *relay) pass(ctx context.Context) error {
	for {
		// Nearly always there is nothing, and to know that takes no lock.
		if waiting, err := r.store.eventsWait(ctx); err != nil || !waiting {
			return err
		}
		rows, err := r.store.claimEvents(ctx, r.owner)
		if err != nil || len(rows) == 0 {
			return err
		}
		sent, sendErr := r.send(ctx, rows)
		// What is acknowledged leaves the outbox, and what is not is free for
		// the next pass of any relay, whatever became of ctx.
		after := context.WithoutCancel(ctx)
		rest := sent != rows[len(rows)-1].id
		if err := errors.Join(sendErr, r.store.settleEvents(after, r.owner, sent, rest)); err != nil {
			return err
		}
	}
}

// send enqueues events in order until one fails. It returns the id of the last
// one that the queue acknowledged, or 0.
func (r *relay) send(ctx context.Context, rows []outboxRow) (sent int64, err error) {
	limited, cancel := context.WithTimeout(ctx, send)
	defer cancel()
	for _, row := range rows {
		var e event
		if err := json.Unmarshal([]byte(row.event), &e); err != nil {
			r.logger.Error("unreadable event in the outbox dropped", "id", row.id, "error", err)
			sent = row.id
			continue
		}
		if _, err := r.queue.Enqueue(e.trace(limited), json.RawMessage(row.event)); err != nil {
			if ctx.Err() == nil {
				r.part.lost(err)
			}
			return sent, err
		}
		r.part.found()
		r.metrics.relayed.Inc()
		sent = row.id
	}
	return sent, nil
}

// outboxRow is an event that waits.
type outboxRow struct {
	id    int64
	event string
}

// eventsWait reports whether the outbox holds anything.
func (s *store) eventsWait(ctx context.Context) (waiting bool, err error) {
	err = s.query(ctx, "look into the outbox", func(ctx context.Context, q querier) error {
		var id int64
		err := q.QueryRow(ctx, `SELECT id FROM outbox LIMIT 1`).Scan(&id)
		waiting = err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return waiting, err
}

// claimEvents gives owner the oldest events for the time of a claim, in order,
// unless another owner has any.
func (s *store) claimEvents(ctx context.Context, owner string) (rows []outboxRow, err error) {
	now := s.now()
	err = s.query(ctx, "claim events", func(ctx context.Context, q querier) error {
		found, err := q.Query(ctx, `UPDATE outbox SET claimed_by = $1, claimed_until = $2
			WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT $3)
			AND NOT EXISTS (SELECT 1 FROM outbox WHERE claimed_until > $4 AND claimed_by <> $5)
			RETURNING id, event`, owner, now.Add(claim).UnixMilli(), batch, now.UnixMilli(), owner)
		if err != nil {
			return err
		}
		rows, err = pgx.CollectRows(found, func(row pgx.CollectableRow) (o outboxRow, err error) {
			err = row.Scan(&o.id, &o.event)
			return o, err
		})
		return err
	})
	// RETURNING promises no order.
	slices.SortFunc(rows, func(a, b outboxRow) int { return cmp.Compare(a.id, b.id) })
	return rows, err
}

// settleEvents deletes what owner claimed up to an id, and gives a rest of its
// claim back.
func (s *store) settleEvents(ctx context.Context, owner string, sent int64, rest bool) error {
	return s.query(ctx, "settle events", func(ctx context.Context, q querier) error {
		if _, err := q.Exec(ctx, `DELETE FROM outbox WHERE claimed_by = $1 AND id <= $2`, owner, sent); err != nil || !rest {
			return err
		}
		_, err := q.Exec(ctx, `UPDATE outbox SET claimed_by = '', claimed_until = 0 WHERE claimed_by = $1`, owner)
		return err
	})
}
