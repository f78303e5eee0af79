package datastore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	lib "modernc.org/sqlite/lib"

	"minicloud.internal/kit"
	"minicloud.internal/services/datastore/internal/sqlite"
)

// A store is the database file and the lock of its writers.
//
// The file itself must only ever be opened through SQLite: closing any other
// descriptor of it would drop SQLite's POSIX locks.
type store struct {
	file       string
	maxMessage int
	maxMemory  int64
	logger     *slog.Logger
	health     *kit.Health

	// writer holds one token: who has it is the one writer. Go wakes those who
	// wait to send in the order in which they came, so the lock is fair.
	writer chan struct{}

	// broken holds a token when something failed: probe.
	broken chan struct{}
	// keeper is set by open, used by the probe alone, and closed after it ended.
	keeper *sqlite.Conn

	mu      sync.Mutex // guards failing
	failing bool
}

// busyTimeout is how long a lock of another process, such as the sqlite3
// command, is waited for; writers of this process wait for each other in order.
const busyTimeout = 5 * time.Second

// setup makes a new connection keep what it acknowledges (WAL, and an fsync per
// commit), and small: 64 of them are to fit beside the rest of the cloud.
// Temporary data stays in memory, because a container has no writable /tmp.
var setup = []string{
	"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON",
	"PRAGMA cache_size = -512", "PRAGMA mmap_size = 0", "PRAGMA temp_store = MEMORY",
	"PRAGMA journal_size_limit = 16777216", "PRAGMA trusted_schema = OFF",
}

func newStore(cfg Config, logger *slog.Logger, health *kit.Health) *store {
	return &store{
		file:       filepath.Join(cfg.DataDir, cfg.Database+".db"),
		maxMessage: int(cfg.MaxMessage),
		maxMemory:  int64(cfg.MaxMemory),
		logger:     logger,
		health:     health,
		writer:     make(chan struct{}, 1),
		broken:     make(chan struct{}, 1),
	}
}

// open creates what is missing, makes the new names durable, and opens the
// keeper: a connection for the probe, which also keeps the log of the WAL from
// being folded in and deleted each time that the last client leaves.
func (st *store) open() error {
	dir := filepath.Dir(st.file)
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := sqlite.LimitMemory(st.maxMemory); err != nil {
		return err
	}
	_, statErr := os.Stat(st.file)
	keeper, err := st.connect()
	if err != nil {
		return fmt.Errorf("open the database %s: %w", st.file, err)
	}
	st.keeper = keeper
	// Reads the schema, so that a file that is no database is found now. SQLite
	// has by then replayed the log that a crash left behind; a full check
	// would read the whole file, and can be asked for: PRAGMA integrity_check.
	if _, err := keeper.Int("SELECT count(*) FROM sqlite_schema"); err != nil {
		return errors.Join(fmt.Errorf("open the database %s: %w", st.file, err), st.close())
	}
	if os.IsNotExist(statErr) {
		if err := syncDir(dir); err != nil {
			return errors.Join(fmt.Errorf("data directory: %w", err), st.close())
		}
	}
	return nil
}

// connect opens a connection, for one client or for the keeper.
func (st *store) connect() (*sqlite.Conn, error) {
	c, err := sqlite.Open(st.file)
	if err != nil {
		return nil, err
	}
	c.BusyTimeout(busyTimeout)
	for _, sql := range setup {
		if err := c.Exec(sql); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	c.LimitLength(st.maxMessage)
	c.Restrict()
	return c, nil
}

// close closes the keeper. As the last connection it folds the WAL in.
func (st *store) close() error {
	return st.keeper.Close()
}

// lock waits for the right to write until ctx ends, at most for timeout.
func (st *store) lock(ctx context.Context, timeout time.Duration) error {
	select {
	case st.writer <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case st.writer <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return errorf(codeLockNotAvailable, "other writers held the lock for %s", timeout).
			hint("A transaction may be open for long; one that only reads takes no lock: BEGIN READ ONLY.")
	}
}

func (st *store) unlock() { <-st.writer }

// report looks at the result of a write for what concerns the whole service,
// and turns health to 503 and back.
func (st *store) report(err error) {
	reason := ""
	var failed *sqlite.Error
	if errors.As(err, &failed) && failed.Code != lib.SQLITE_CORRUPT_VTAB {
		switch failed.Primary() {
		case lib.SQLITE_FULL:
			reason = "the disk is full"
		case lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN, lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_READONLY:
			reason = fmt.Sprintf("the database file failed: %s (code %d)", failed.Message, failed.Code)
		default:
			return // the statement's own fault, which says nothing of the disk
		}
	} else if err != nil {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case reason != "":
		if !st.failing {
			st.logger.Error("the database cannot be written", "reason", reason, "file", st.file)
		}
		st.failing = true
		st.health.Fail(reason)
		select {
		case st.broken <- struct{}{}:
		default:
		}
	case st.failing:
		st.failing = false
		st.logger.Info("the database can be written again", "file", st.file)
		st.health.OK()
	}
}

// probeEvery is the pause between two attempts to write after a failure.
const probeEvery = time.Second

// watch probes after a failure until a write succeeds; it ends with ctx.
func (st *store) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-st.broken:
		}
		for st.isFailing() {
			timer := time.NewTimer(probeEvery)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			st.report(st.probe(ctx))
		}
	}
}

func (st *store) isFailing() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.failing
}

// probe commits a change that changes nothing: it writes the file's user
// version as it is, through the log and with an fsync like every commit.
func (st *store) probe(ctx context.Context) error {
	keeper := st.keeper
	if err := st.lock(ctx, time.Hour); err != nil {
		return err
	}
	defer st.unlock()
	err := keeper.Exec("BEGIN IMMEDIATE")
	if err == nil {
		var version int64
		if version, err = keeper.Int("PRAGMA user_version"); err == nil {
			err = keeper.Exec("PRAGMA user_version = " + itoa(version))
		}
		if err == nil {
			err = keeper.Exec("COMMIT")
		}
	}
	if !keeper.Autocommit() {
		err = errors.Join(err, keeper.Exec("ROLLBACK"))
	}
	return err
}

// makeDir creates a directory and syncs the one that it is in, so that a power
// cut cannot take the new name away.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !os.IsExist(err) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
