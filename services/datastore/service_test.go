package datastore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/prometheus/client_golang/prometheus"
	lib "modernc.org/sqlite/lib"

	"minicloud.internal/kit/kittest"
	"minicloud.internal/services/datastore/internal/sqlite"
)

// endless is a statement that only an interrupt ends.
const endless = `WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r`

func TestWritersNeverMeetALockedDatabase(t *testing.T) {
	server := start(t)
	must(t, server.connect(t, ""), `CREATE TABLE counter (n INTEGER)`, `INSERT INTO counter VALUES (0)`)
	const clients, rounds = 8, 15
	var group sync.WaitGroup
	for i := range clients {
		c := server.connect(t, "")
		group.Go(func() {
			ctx := t.Context()
			for range rounds {
				var err error
				switch i % 3 {
				case 0: // one statement
					_, err = c.Exec(ctx, `UPDATE counter SET n = n + $1`, 1)
				case 1: // read, then write what was read: the case that a deferred BEGIN loses
					err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
						var n int64
						if err := tx.QueryRow(ctx, `SELECT n FROM counter`).Scan(&n); err != nil {
							return err
						}
						_, err := tx.Exec(ctx, `UPDATE counter SET n = $1`, n+1)
						return err
					})
				default: // a pipeline that reads before it writes
					b := &pgx.Batch{}
					b.Queue(`SELECT n FROM counter`)
					b.Queue(`UPDATE counter SET n = n + 1`)
					err = c.SendBatch(ctx, b).Close()
				}
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
			}
		})
	}
	group.Wait()
	var n int64
	if err := server.connect(t, "").QueryRow(t.Context(), `SELECT n FROM counter`).Scan(&n); err != nil || n != clients*rounds {
		t.Errorf("counted %d of %d, %v", n, clients*rounds, err)
	}
}

func TestReadersDoNotWait(t *testing.T) {
	server := start(t, func(c *Config) { c.LockTimeout = 50 * time.Millisecond })
	writer, other := server.connect(t, ""), server.connect(t, "")
	must(t, writer, `CREATE TABLE t (a INTEGER)`, `BEGIN`, `INSERT INTO t VALUES (1)`)
	var n int
	if err := other.QueryRow(t.Context(), `SELECT count(*) FROM t`).Scan(&n); err != nil || n != 0 {
		t.Errorf("a reader beside a writer: %d, %v", n, err)
	}
	must(t, other, `BEGIN READ ONLY`, `SELECT * FROM t`, `COMMIT`)
	var failed *pgconn.PgError
	if _, err := other.Exec(t.Context(), `INSERT INTO t VALUES (2)`); !errors.As(err, &failed) || failed.Code != "55P03" || failed.Hint == "" {
		t.Errorf("a writer that waits too long: %v", err)
	}
	if _, err := writer.Exec(t.Context(), `SELECT nope`); err == nil {
		t.Error("expected an error")
	}
	must(t, other, `INSERT INTO t VALUES (3)`) // an aborted transaction holds nobody up
	must(t, writer, `ROLLBACK`)
}

func TestCancel(t *testing.T) {
	server := start(t)
	c := server.raw(t)
	wrong := server.dial(t)
	c.say(&pgproto3.Query{String: endless})
	kittest.Eventually(t, "the statement runs", func() bool { return server.isRunning(c.pid) })
	wrong.say(&pgproto3.CancelRequest{ProcessID: c.pid, SecretKey: []byte{c.key[0] ^ 1, c.key[1], c.key[2], c.key[3]}})
	wrong.until("eof") // it has been looked at
	if !server.isRunning(c.pid) {
		t.Error("a wrong key cancelled the statement")
	}
	right := server.dial(t)
	right.say(&pgproto3.CancelRequest{ProcessID: c.pid, SecretKey: c.key})
	if got := c.until("Z"); got != "T(count(*):20) E(57014) Z(I)" {
		t.Error(got)
	}
	c.say(&pgproto3.Query{String: "SELECT 1"})
	if got := c.until("Z"); got != "T(1:20) D(1) C(SELECT 1) Z(I)" {
		t.Errorf("after it: %s", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	conn := server.connect(t, "")
	if _, err := conn.Exec(ctx, endless); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a context that ends: %v", err)
	}
}

func (r *running) isRunning(pid uint32) bool {
	r.mu.Lock()
	s := r.sessions[pid]
	r.mu.Unlock()
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running != nil
}

func TestASessionCanLowerItsTimeout(t *testing.T) {
	c := start(t).connect(t, "&options=-c%20statement_timeout%3D50ms")
	var failed *pgconn.PgError
	if _, err := c.Exec(t.Context(), endless); !errors.As(err, &failed) || failed.Code != "57014" {
		t.Errorf("got %v", err)
	}
}

func TestWhoFallsSilentInATransactionIsCutOff(t *testing.T) {
	server := start(t, func(c *Config) { c.IdleInTransactionTimeout = 100 * time.Millisecond })
	other := server.connect(t, "")
	must(t, other, `CREATE TABLE t (a)`)
	for name, say := range map[string][]pgproto3.FrontendMessage{
		"inside BEGIN": {&pgproto3.Query{String: "BEGIN; INSERT INTO t VALUES (1)"}},
		"before Sync":  {&pgproto3.Parse{Query: "INSERT INTO t VALUES (1)"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Flush{}},
	} {
		t.Run(name, func(t *testing.T) {
			c := server.raw(t)
			c.say(say...)
			if got := c.until("eof"); !strings.HasSuffix(got, "E(25P03) eof") {
				t.Error(got)
			}
			must(t, other, `INSERT INTO t VALUES (2)`)
		})
	}
	var n int
	if err := other.QueryRow(t.Context(), `SELECT count(*) FROM t WHERE a = 1`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows of transactions that were cut off, %v", n, err)
	}
}

func TestDrain(t *testing.T) {
	server := start(t)
	idle, open := server.raw(t), server.raw(t)
	open.say(&pgproto3.Query{String: "CREATE TABLE t (a); BEGIN; INSERT INTO t VALUES (1)"})
	open.until("Z")
	stopped := make(chan error, 1)
	go func() { stopped <- server.stop() }()
	if got := idle.until("E"); got != "E(57P01)" {
		t.Errorf("who is idle: %s", got)
	}
	if code, why := server.Health().Status(); code != http.StatusServiceUnavailable || why != "draining" {
		t.Errorf("health: %d %s", code, why)
	}
	open.say(&pgproto3.Query{String: "COMMIT"})
	if got := open.until("eof"); got != "C(COMMIT) Z(I) E(57P01) eof" {
		t.Errorf("who is in a transaction: %s", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := os.Stat(filepath.Join(server.dir, "spells.db-wal")); !os.IsNotExist(err) {
		t.Errorf("the log was not folded in: %v", err)
	}
}

func TestDrainCutsOffWhoDoesNotEnd(t *testing.T) {
	server := start(t, func(c *Config) { c.DrainTimeout = 50 * time.Millisecond })
	busy, silent := server.raw(t), server.raw(t)
	silent.say(&pgproto3.Query{String: "BEGIN"})
	silent.until("Z")
	busy.say(&pgproto3.Query{String: endless})
	kittest.Eventually(t, "the statement runs", func() bool { return server.isRunning(busy.pid) })
	if err := server.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if got := busy.until("eof"); got != "T(count(*):20) E(57P01) eof" {
		t.Errorf("who runs a statement: %s", got)
	}
	if got := silent.until("eof"); got != "E(57P01) eof" {
		t.Errorf("who is silent in a transaction: %s", got)
	}
}

// TestKill9 kills a data store in the middle of commits, and looks for every
// row of which a client was told that it is kept.
func TestKill9(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	begin := func() (*process, string) { return startProcess(t, dir) }
	server, addr := begin()
	connect := func(addr string) *pgx.Conn {
		c, err := pgx.Connect(t.Context(), "postgres://u@"+addr+"/spells?sslmode=disable")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	setup := connect(addr)
	must(t, setup, `CREATE TABLE log (client INTEGER, n INTEGER, PRIMARY KEY (client, n))`)
	_ = setup.Close(t.Context())
	const clients = 4
	var acknowledged [clients]int64
	for round := range 3 {
		before := total(&acknowledged)
		var group sync.WaitGroup
		for i := range clients {
			c := connect(addr)
			group.Go(func() {
				defer c.Close(context.Background())
				for {
					n := atomic.LoadInt64(&acknowledged[i]) + 1
					// Two rows in one transaction: both are kept, or neither.
					err := pgx.BeginFunc(t.Context(), c, func(tx pgx.Tx) error {
						for _, m := range []int64{n, -n} {
							if _, err := tx.Exec(t.Context(), `INSERT OR REPLACE INTO log VALUES ($1, $2)`, i, m); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						return // killed
					}
					atomic.StoreInt64(&acknowledged[i], n)
				}
			})
		}
		kittest.Eventually(t, "commits are under way", func() bool { return total(&acknowledged) >= before+40 })
		server.kill(t)
		group.Wait()
		server, addr = begin()
		c := connect(addr)
		for i := range clients {
			var n, pairs int64
			if err := c.QueryRow(t.Context(), `SELECT count(*) FROM log WHERE client = $1 AND n BETWEEN 1 AND $2`, i, acknowledged[i]).Scan(&n); err != nil || n != acknowledged[i] {
				t.Errorf("round %d, client %d: %d of %d acknowledged rows, %v", round, i, n, acknowledged[i], err)
			}
			if err := c.QueryRow(t.Context(), `SELECT count(*) FROM log a LEFT JOIN log b ON b.client = a.client AND b.n = -a.n WHERE a.client = $1 AND b.n IS NULL`, i).Scan(&pairs); err != nil || pairs != 0 {
				t.Errorf("round %d, client %d: %d halves of transactions, %v", round, i, pairs, err)
			}
		}
		var check string
		if err := c.QueryRow(t.Context(), `PRAGMA integrity_check`).Scan(&check); err != nil || check != "ok" {
			t.Errorf("integrity: %s, %v", check, err)
		}
		_ = c.Close(t.Context())
	}
	server.kill(t)
}

func total(counts *[4]int64) (n int64) {
	for i := range counts {
		n += atomic.LoadInt64(&counts[i])
	}
	return n
}

// process is the data store as a process of its own.
type process struct{ cmd *exec.Cmd }

func startProcess(t *testing.T, dir string) (*process, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // both do nothing where kill was called
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return &process{cmd}, strings.TrimSpace(line)
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait()
}

func TestHealthFollowsTheDisk(t *testing.T) {
	server := start(t)
	kittest.Eventually(t, "it serves", func() bool { code, _ := server.Health().Status(); return code == http.StatusOK })
	server.store.report(&sqlite.Error{Code: lib.SQLITE_FULL, Message: "database or disk is full"})
	if code, why := server.Health().Status(); code != http.StatusServiceUnavailable || why != "the disk is full" {
		t.Errorf("after a full disk: %d %s", code, why)
	}
	server.store.report(&sqlite.Error{Code: lib.SQLITE_CONSTRAINT_UNIQUE})
	if code, _ := server.Health().Status(); code == http.StatusOK {
		t.Error("a statement's own fault healed the disk")
	}
	kittest.Eventually(t, "the probe's write succeeds", func() bool { code, _ := server.Health().Status(); return code == http.StatusOK })
	server.store.report(&sqlite.Error{Code: lib.SQLITE_IOERR_WRITE, Message: "disk I/O error"})
	must(t, server.connect(t, ""), `CREATE TABLE t (a)`)
	if code, why := server.Health().Status(); code != http.StatusOK {
		t.Errorf("after a commit: %d %s", code, why)
	}
}

func TestUndoingAFailedWriteHealsNothing(t *testing.T) {
	cfg := DefaultConfig()
	cfg.DataDir = t.TempDir()
	s, err := New(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.store.open(); err != nil { // without Serve there is no probe
		t.Fatal(err)
	}
	near, far := net.Pipe()
	session := s.register(far)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve(session)
	}()
	c := &rawClient{Frontend: pgproto3.NewFrontend(near, near), conn: near, t: t}
	c.startup(map[string]string{"user": "u"})
	c.until("Z")
	c.say(&pgproto3.Query{String: "CREATE TABLE t (a); COMMIT; BEGIN; INSERT INTO t VALUES (1)"})
	c.until("Z")
	s.store.report(&sqlite.Error{Code: lib.SQLITE_FULL})
	for _, sql := range []string{"SELECT nope", "ROLLBACK"} {
		c.say(&pgproto3.Query{String: sql})
		c.until("Z")
	}
	if !s.store.isFailing() {
		t.Error("a rollback was taken for a write that succeeded")
	}
	c.say(&pgproto3.Query{String: "INSERT INTO t VALUES (2)"})
	c.until("Z")
	if s.store.isFailing() {
		t.Error("a commit heals")
	}
	_ = near.Close()
	<-done
	if err := s.store.close(); err != nil {
		t.Error(err)
	}
}

func TestTheFileKeepsItsPromises(t *testing.T) {
	c := start(t).connect(t, "")
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "mmap_size": "0"} {
		var got string
		if err := c.QueryRow(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, expected %s (%v)", pragma, got, want, err)
		}
	}
}

func TestAFileThatIsNoDatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "spells.db"), []byte(strings.Repeat("no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.DataDir = dir
	st := newStore(cfg, nil, nil)
	if err := st.open(); err == nil || !strings.Contains(err.Error(), "not a database") {
		t.Errorf("got %v", err)
	}
}

func TestMetrics(t *testing.T) {
	server := start(t)
	c := server.connect(t, "")
	must(t, c, `CREATE TABLE t (a)`, `INSERT INTO t VALUES (1)`, `SELECT * FROM t`)
	if _, err := c.Exec(t.Context(), `SELECT nope`); err == nil {
		t.Error("expected an error")
	}
	families, err := server.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			label := ""
			for _, l := range m.GetLabel() {
				label += "/" + l.GetValue()
			}
			got[strings.TrimPrefix(f.GetName(), "minicloud_datastore_")+label] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{"connections": 1, "statements_total/ddl": 1, "statements_total/write": 1, "statements_total/read": 1,
		"errors_total/42": 1, "transactions_total/commit": 2, "write_lock_wait_seconds": 2, "statement_duration_seconds/read": 1} {
		if got[name] != want {
			t.Errorf("%s is %v, expected %v in %v", name, got[name], want, fmt.Sprint(got))
		}
	}
}
