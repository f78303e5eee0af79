package httpapi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// A migration is one step of the schema, in the dialect of SQLite.
type migration struct {
	version int64
	apply   func(context.Context, querier, time.Time) error
}

// migrations returns the steps in order. A step that was released is never
// changed; another one follows it.
func migrations() []migration {
	return []migration{{1, createBook}}
}

// createBook makes the tables, and the two spells that every book begins with.
func createBook(ctx context.Context, q querier, now time.Time) error {
	for _, sql := range []string{
		// AUTOINCREMENT: the id of a deleted spell is never another's, whose
		// card and cache entry would be taken for it.
		`CREATE TABLE spells (
			id INTEGER PRIMARY KEY AUTOINCREMENT,
			name TEXT NOT NULL,
			description TEXT NOT NULL,
			created_at TEXT NOT NULL,
			updated_at TEXT NOT NULL
		)`,
		// claimed_until is in milliseconds since 1970.
		`CREATE TABLE outbox (
			id INTEGER PRIMARY KEY AUTOINCREMENT,
			event TEXT NOT NULL,
			created_at TEXT NOT NULL,
			claimed_by TEXT NOT NULL DEFAULT '',
			claimed_until INTEGER NOT NULL DEFAULT 0
		)`,
	} {
		if _, err := q.Exec(ctx, sql); err != nil {
			return err
		}
	}
	for _, seed := range []Spell{
		{Name: "Accio", Description: "Summons an object"},
		{Name: "Lumos", Description: "Creates light"},
	} {
		if _, err := insertSpell(ctx, q, seed, now); err != nil {
			return err
		}
	}
	return nil
}

// migrate brings the schema to the newest version in one transaction. The data
// store gives one transaction at a time the right to write, from its BEGIN on,
// so that of two replicas the second finds the work of the first.
func (s *store) migrate(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err := s.transact(limited, func(ctx context.Context, q querier) error {
		_, err := q.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)`)
		if err != nil {
			return err
		}
		var version int64
		err = q.QueryRow(ctx, `SELECT version FROM schema_migrations ORDER BY version DESC LIMIT 1`).Scan(&version)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		for _, m := range migrations() {
			if m.version <= version {
				continue
			}
			now := s.now()
			if err := m.apply(ctx, q, now); err != nil {
				return fmt.Errorf("migration %d: %w", m.version, err)
			}
			if _, err := q.Exec(ctx, `INSERT INTO schema_migrations (version, applied_at) VALUES ($1, $2)`, m.version, timestamp(now)); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// awaitSchema migrates, again and again until it succeeds or ctx ends, and says
// on health what it waits for.
func (a *API) awaitSchema(ctx context.Context) {
	wait := backoff{first: 50 * time.Millisecond, most: time.Second}
	for {
		err := a.store.migrate(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		a.health.Fail("waiting for the data store: it does not answer, or refuses the schema")
		a.store.part.lost(err)
		if !sleep(ctx, wait.next()) {
			return
		}
	}
	a.store.part.found()
	close(a.store.schema)
	a.health.OK()
}
