package datastore

import (
	"database/sql"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib"
)

const spellsTable = `CREATE TABLE spells (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, power REAL,
	known BOOLEAN, card BLOB, cast_at TIMESTAMP, born DATE)`

func TestEveryModeOfPgxReadsWhatItWrote(t *testing.T) {
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			ctx := t.Context()
			c := start(t).connect(t, "&default_query_exec_mode="+mode)
			must(t, c, spellsTable)
			at := time.Date(2026, 2, 3, 4, 5, 6, 789000, time.FixedZone("", 3600))
			card := any([]byte{0, 1, 0xff})
			if mode == "simple_protocol" {
				card = nil // interpolated as a string literal, which SQLite keeps as text
			}
			for range 2 { // the second time from the cache
				tag, err := c.Exec(ctx, `INSERT INTO spells (name, power, known, card, cast_at, born) VALUES ($1, $2, $3, $4, $5, $6)
					ON CONFLICT (name) DO UPDATE SET power = $2, known = $3`, "Accio", 1.5, true, card, at, at)
				if err != nil || tag.String() != "INSERT 0 1" {
					t.Fatal(tag, err)
				}
			}
			var id, n int64
			var name string
			var power float64
			var known bool
			var got []byte
			var when, born time.Time
			row := c.QueryRow(ctx, `SELECT id, name, power, known, card, cast_at, born FROM spells WHERE id = $1 AND name LIKE $2 LIMIT $3`, int64(1), "Acc%", 1)
			if err := row.Scan(&id, &name, &power, &known, &got, &when, &born); err != nil {
				t.Fatal(err)
			}
			if id != 1 || name != "Accio" || power != 1.5 || !known || !when.Equal(at) || born.Format(time.DateOnly) != "2026-02-03" ||
				card != nil && string(got) != "\x00\x01\xff" {
				t.Errorf("got %v %v %v %v %x %v %v", id, name, power, known, got, when, born)
			}
			if err := c.QueryRow(ctx, `SELECT count(*) FROM spells WHERE length(name) > $1 + 0`, 4).Scan(&n); err != nil || n != 1 {
				t.Errorf("count: %d, %v", n, err)
			}
			if err := c.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM spells WHERE id IN ($1, $2))`, 7, 1).Scan(&known); err != nil || !known {
				t.Errorf("exists: %v, %v", known, err)
			}
			if err := c.QueryRow(ctx, `SELECT max(id) + 1 FROM spells`).Scan(&n); err != nil || n != 2 {
				t.Errorf("an expression: %d, %v", n, err)
			}
			if err := c.QueryRow(ctx, `INSERT INTO spells (name) VALUES ($1) RETURNING id`, "Lumos").Scan(&n); err != nil || n != 2 {
				t.Errorf("returning: %d, %v", n, err)
			}
			var none *string
			if err := c.QueryRow(ctx, `UPDATE spells SET power = $2 WHERE id = $1 RETURNING card`, 2, nil).Scan(&none); err != nil || none != nil {
				t.Errorf("null: %v, %v", none, err)
			}
			tag, err := c.Exec(ctx, `DELETE FROM spells WHERE id BETWEEN $1 AND $2`, 1, 9)
			if err != nil || tag.String() != "DELETE 2" {
				t.Errorf("delete: %v, %v", tag, err)
			}
			if err := c.Ping(ctx); err != nil {
				t.Errorf("ping: %v", err)
			}
		})
	}
}

func TestDatabaseSQL(t *testing.T) {
	db, err := sql.Open("pgx", start(t).url(""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(spellsTable); err != nil {
		t.Fatal(err)
	}
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Accio", "Lumos", "007"} {
		if _, err := tx.Exec(`INSERT INTO spells (name) VALUES ($1)`, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	var n int
	var name string
	if err := db.QueryRow(`SELECT count(*), max(name) FROM spells WHERE id >= $1`, 2).Scan(&n, &name); err != nil || n != 2 || name != "Lumos" {
		t.Errorf("got %d %q, %v", n, name, err)
	}
	if err := db.QueryRow(`SELECT name FROM spells ORDER BY id LIMIT $1 OFFSET $2`, 1, 2).Scan(&name); err != nil || name != "007" {
		t.Errorf("a string of digits changed: %q, %v", name, err)
	}
	read, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelSerializable})
	if err != nil {
		t.Fatal(err)
	}
	defer read.Rollback()
	var failed *pgconn.PgError
	if _, err := read.Exec(`DELETE FROM spells`); !errors.As(err, &failed) || failed.Code != "25006" {
		t.Errorf("a write in a read-only transaction: %v", err)
	}
}

func TestABatchIsOneTransaction(t *testing.T) {
	ctx := t.Context()
	c := start(t).connect(t, "")
	must(t, c, spellsTable)
	send := func(names ...string) error {
		b := &pgx.Batch{}
		b.Queue(`SELECT count(*) FROM spells`)
		for _, name := range names {
			b.Queue(`INSERT INTO spells (name) VALUES ($1)`, name)
		}
		return c.SendBatch(ctx, b).Close()
	}
	if err := send("a", "b"); err != nil {
		t.Fatal(err)
	}
	var failed *pgconn.PgError
	if err := send("c", "d", "a"); !errors.As(err, &failed) || failed.Code != "23505" || failed.TableName != "spells" || failed.ColumnName != "name" {
		t.Fatalf("got %#v", err)
	}
	var n int
	if err := c.QueryRow(ctx, `SELECT count(*) FROM spells`).Scan(&n); err != nil || n != 2 {
		t.Errorf("a failed batch left %d rows, %v", n, err)
	}
}

func TestErrorsCarryTheirSQLSTATE(t *testing.T) {
	c := start(t, func(c *Config) { c.StatementTimeout = 300 * time.Millisecond; c.MaxMessage = 64 << 10 }).connect(t, "")
	must(t, c, `CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT NOT NULL UNIQUE, c INTEGER CHECK (c > 0))`,
		`CREATE TABLE child (a INTEGER REFERENCES t (a))`, `INSERT INTO t VALUES (1, 'x', 1)`,
		`CREATE TABLE s (a INTEGER) STRICT`, `CREATE TABLE loose (n INTEGER)`, `INSERT INTO loose VALUES ('word')`)
	long := `WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r`
	for _, test := range []struct{ name, sql, code string }{
		{"a value twice in a unique column", `INSERT INTO t VALUES (2, 'x', 1)`, "23505"},
		{"a primary key twice", `INSERT INTO t VALUES (1, 'y', 1)`, "23505"},
		{"NULL where it cannot be", `INSERT INTO t (a) VALUES (3)`, "23502"},
		{"a check that fails", `INSERT INTO t VALUES (4, 'z', 0)`, "23514"},
		{"a child without its parent", `INSERT INTO child VALUES (99)`, "23503"},
		{"text in a strict integer", `INSERT INTO s VALUES ('x')`, "42804"},
		{"a row that does not fit the column's type", `SELECT n FROM loose`, "42804"},
		{"a syntax error", `SELEC 1`, "42601"},
		{"half a statement", `SELECT`, "42601"},
		{"an unknown table", `SELECT * FROM nowhere`, "42P01"},
		{"an unknown column", `SELECT no_such FROM t`, "42703"},
		{"a string in double quotes", `SELECT "no_such" FROM t`, "42703"},
		{"an unknown function", `SELECT now()`, "42883"},
		{"a table twice", `CREATE TABLE t (a)`, "42P07"},
		{"a parameter in another interface's way", `SELECT ?`, "42601"},
		{"COPY", `COPY t TO STDOUT`, "0A000"},
		{"another file", `ATTACH 'x.db' AS x`, "42501"},
		{"another file by WITH", `EXPLAIN ATTACH 'x.db' AS x`, "42501"},
		{"a copy of the file", `VACUUM INTO 'x.db'`, "42501"},
		{"less durability", `PRAGMA synchronous = OFF`, "42501"},
		{"another journal", `PRAGMA journal_mode = DELETE`, "42501"},
		{"a schema by hand", `PRAGMA writable_schema = 1`, "42501"},
		{"an extension", `SELECT load_extension('x')`, "42501"},
		{"PostgreSQL's catalog", `SELECT relname FROM pg_catalog.pg_class`, "42P01"},
		{"a statement without an end", long, "57014"},
		{"an encoding that is not stored", `SET client_encoding = 'LATIN1'`, "22023"},
		{"an unknown setting", `SHOW nothing`, "42704"},
		{"a savepoint without a transaction", `SAVEPOINT a`, "25P01"},
		{"a value over the limit", `SELECT zeroblob(100000)`, "54000"},
		{"text that is not UTF-8", `SELECT CAST(x'ff' AS TEXT)`, "22021"},
		{"VACUUM inside a transaction", `BEGIN; VACUUM`, "25001"},
	} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheStatement} {
			if mode != pgx.QueryExecModeSimpleProtocol && test.code == "25001" {
				continue // two statements
			}
			t.Run(test.name+" by "+mode.String(), func(t *testing.T) {
				var failed *pgconn.PgError
				if _, err := c.Exec(t.Context(), test.sql, mode); !errors.As(err, &failed) || failed.Code != test.code {
					t.Errorf("got %v, expected %s", err, test.code)
				}
				must(t, c, "ROLLBACK")
			})
		}
	}
}

func TestParametersAreBoundByNumber(t *testing.T) {
	c := start(t).connect(t, "")
	must(t, c, `CREATE TABLE t (a TEXT, b INTEGER)`)
	var a, b string
	var n int64
	if err := c.QueryRow(t.Context(), `SELECT $2, $1, $2 || $1`, "one", "two").Scan(&a, &b, new(string)); err != nil || a != "two" || b != "one" {
		t.Errorf("out of order: %q %q %v", a, b, err)
	}
	if err := c.QueryRow(t.Context(), `INSERT INTO t (b, a) VALUES ($3, $1) RETURNING b`, "x", "unused", 5).Scan(&n); err != nil || n != 5 {
		t.Errorf("with a gap: %d %v", n, err)
	}
	for name, v := range map[string]any{"the smallest": int64(math.MinInt64), "the largest": int64(math.MaxInt64), "a small one": int32(7)} {
		if err := c.QueryRow(t.Context(), `SELECT $1`, v).Scan(&n); err != nil {
			t.Errorf("%s integer without a type: %v", name, err)
		}
	}
	var failed *pgconn.PgError
	if _, err := c.Exec(t.Context(), `SELECT * FROM t WHERE b = $1`, pgx.QueryExecModeExec, "word"); !errors.As(err, &failed) || failed.Code != "22P02" {
		t.Errorf("a word for an integer column: %v", err)
	}
}
