package datastore

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestNoStatementTakesAllTheMemory(t *testing.T) {
	server := start(t, func(c *Config) { c.MaxMemory = 16 << 20 })
	greedy, modest := server.connect(t, ""), server.connect(t, "")
	must(t, modest, `CREATE TABLE t (a TEXT)`)
	const rows = `WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT hex(zeroblob(500000)) || n AS b FROM r`
	for name, sql := range map[string]string{
		"sorting":              `SELECT count(*) FROM (SELECT b FROM (` + rows + `) ORDER BY b)`,
		"an aggregate":         `SELECT count(DISTINCT b) FROM (` + rows + `)`,
		"a temporary table":    `CREATE TEMP TABLE x AS ` + rows,
		"a table with a write": `INSERT INTO t SELECT a FROM (SELECT b AS a FROM (` + rows + `) ORDER BY b)`,
	} {
		t.Run(name+" beyond the limit fails, and the service goes on", func(t *testing.T) {
			_, err := greedy.Exec(t.Context(), sql)
			var failed *pgconn.PgError
			if !errors.As(err, &failed) || failed.Code != codeOutOfMemory || failed.Hint == "" {
				t.Fatalf("got %v", err)
			}
			must(t, modest, `INSERT INTO t VALUES ('one')`)
			must(t, greedy, `INSERT INTO t VALUES ('two')`)
		})
	}
	var n int
	if err := modest.QueryRow(t.Context(), `SELECT count(*) FROM t`).Scan(&n); err != nil || n != 8 {
		t.Errorf("%d rows, expected 8: %v", n, err)
	}
	if status, sentence := server.Health().Status(); status != 200 {
		t.Errorf("health is %d %s", status, sentence)
	}
}
