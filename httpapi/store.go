package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	errNotFound  = errors.New("no such spell")
	errStoreDown = errors.New("the data store does not answer")
)

// A store is the book in the data store: the spells and the outbox. Its methods
// may be called concurrently. Their errors are errNotFound, errStoreDown (try
// again later; a write may have happened), the caller's own context error, or a
// bug.
type store struct {
	pool    *pgxpool.Pool // set by Serve before anything else runs
	timeout time.Duration // of one method
	now     func() time.Time
	part    *part

	schema chan struct{} // closed once the schema is there
}

// querier is a connection or a transaction.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// list returns up to limit spells with an id over after, in the order of ids.
func (s *store) list(ctx context.Context, after int64, limit int) (spells []Spell, err error) {
	err = s.query(ctx, "list spells", func(ctx context.Context, q querier) error {
		rows, err := q.Query(ctx, `SELECT id, name, description FROM spells WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
		if err != nil {
			return err
		}
		spells, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (sp Spell, err error) {
			err = row.Scan(&sp.ID, &sp.Name, &sp.Description)
			return sp, err
		})
		return err
	})
	return spells, err
}

// get returns one spell.
func (s *store) get(ctx context.Context, id int64) (sp Spell, err error) {
	err = s.query(ctx, "get a spell", func(ctx context.Context, q querier) error {
		return q.QueryRow(ctx, `SELECT id, name, description FROM spells WHERE id = $1`, id).Scan(&sp.ID, &sp.Name, &sp.Description)
	})
	return sp, err
}

// create adds a spell under a new id.
func (s *store) create(ctx context.Context, in input) (sp Spell, err error) {
	err = s.write(ctx, "create a spell", func(ctx context.Context, q querier) error {
		sp = Spell{Name: in.Name, Description: in.Description}
		sp.ID, err = insertSpell(ctx, q, sp, s.now())
		return err
	})
	return sp, err
}

// insertSpell adds the row and its event.
func insertSpell(ctx context.Context, q querier, sp Spell, now time.Time) (id int64, err error) {
	at := timestamp(now)
	err = q.QueryRow(ctx, `INSERT INTO spells (name, description, created_at, updated_at) VALUES ($1, $2, $3, $4) RETURNING id`,
		sp.Name, sp.Description, at, at).Scan(&id)
	if err != nil {
		return 0, err
	}
	return id, addEvent(ctx, q, newEvent(ctx, spellSaved, id, false, now))
}

// replace gives a spell another name and description.
func (s *store) replace(ctx context.Context, id int64, in input) (Spell, error) {
	now := s.now()
	err := s.change(ctx, "replace a spell", newEvent(ctx, spellSaved, id, true, now),
		`UPDATE spells SET name = $1, description = $2, updated_at = $3 WHERE id = $4`, in.Name, in.Description, timestamp(now), id)
	return Spell{ID: id, Name: in.Name, Description: in.Description}, err
}

// delete removes a spell. Its id is not given again.
func (s *store) delete(ctx context.Context, id int64) error {
	return s.change(ctx, "delete a spell", newEvent(ctx, spellDeleted, id, true, s.now()), `DELETE FROM spells WHERE id = $1`, id)
}

// change runs a statement that must touch one row, and adds the event.
func (s *store) change(ctx context.Context, what string, e event, sql string, args ...any) error {
	return s.write(ctx, what, func(ctx context.Context, q querier) error {
		tag, err := q.Exec(ctx, sql, args...)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return errNotFound
		}
		return addEvent(ctx, q, e)
	})
}

func addEvent(ctx context.Context, q querier, e event) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = q.Exec(ctx, `INSERT INTO outbox (event, created_at) VALUES ($1, $2)`, string(text), timestamp(e.At))
	return err
}

// timestamp is a time as the tables have it: text that sorts.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// query runs f, which may safely run twice, on a connection.
func (s *store) query(ctx context.Context, what string, f func(context.Context, querier) error) error {
	return s.run(ctx, what, func(ctx context.Context) (bool, error) { return true, f(ctx, s.pool) })
}

// write runs f in a transaction.
func (s *store) write(ctx context.Context, what string, f func(context.Context, querier) error) error {
	return s.run(ctx, what, func(ctx context.Context) (again bool, err error) { return s.transact(ctx, f) })
}

// transact reports beside the error whether nothing can have happened.
func (s *store) transact(ctx context.Context, f func(context.Context, querier) error) (again bool, err error) {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return true, err
	}
	if err := f(ctx, tx); err != nil {
		_ = tx.Rollback(ctx) // where it fails, the pool closes the connection
		return false, err
	}
	return false, tx.Commit(ctx)
}

// run calls f once the schema is there, within the timeout, and tells health and
// caller what an error means. Connections that the data store closed, as it does
// when it restarts, are found out only by using them: where f may run again, it
// does, once, on a new one.
func (s *store) run(ctx context.Context, what string, f func(context.Context) (again bool, err error)) error {
	select {
	case <-s.schema:
	default:
		return fmt.Errorf("%s: %w: the schema is not there yet", what, errStoreDown)
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	again, err := f(limited)
	if err != nil && again && lostConnection(err) && limited.Err() == nil {
		s.pool.Reset()
		_, err = f(limited)
	}
	switch {
	case err == nil:
		s.part.found()
		return nil
	case errors.Is(err, errNotFound), errors.Is(err, pgx.ErrNoRows):
		s.part.found()
		return errNotFound
	case ctx.Err() != nil: // the caller gave up, which says nothing of the data store
		return ctx.Err()
	case !transient(err):
		return fmt.Errorf("%s: %w", what, err)
	}
	s.part.lost(err)
	return fmt.Errorf("%s: %w: %w", what, errStoreDown, err)
}

// lostConnection reports that a connection that stood before was of no use: no
// answer came, or only that the server is going down (57P01 to 57P03).
func lostConnection(err error) bool {
	var answered *pgconn.PgError
	var connect *pgconn.ConnectError
	if errors.As(err, &answered) {
		return strings.HasPrefix(answered.Code, "57P0")
	}
	return !errors.As(err, &connect) && !errors.Is(err, errNotFound) && !errors.Is(err, pgx.ErrNoRows)
}

// transient reports whether the same call may succeed later: no answer came, or
// one of the SQLSTATE classes for connections (08), conflicts (40), resources
// (53), objects in use (55), the operator (57) and the system (58).
func transient(err error) bool {
	var answered *pgconn.PgError
	if !errors.As(err, &answered) {
		return true
	}
	switch answered.Code[:min(2, len(answered.Code))] {
	case "08", "40", "53", "55", "57", "58":
		return true
	}
	return false
}
