package datastore

import (
	"regexp"
	"time"

	"minicloud.internal/kit"
)

// Config is the configuration of a data store. [DefaultConfig] has the defaults.
type Config struct {
	kit.Common

	// DataDir is the directory of the database file; default "data/datastore",
	// in the working directory. It is created where it is missing.
	DataDir string `toml:"data_dir"`
	// Database is the name that clients connect to, and that of the file,
	// <data_dir>/<database>.db; default "spells". Letters, digits, _ and -.
	Database string `toml:"database"`
	// MaxConnections bounds the clients at one time; default 64. The next one
	// is refused with SQLSTATE 53300.
	MaxConnections int `toml:"max_connections"`
	// MaxMessage bounds a message of a client, and a statement, a value and a
	// row too; default 16 MiB, from 64 KiB to 1 GiB.
	MaxMessage kit.Bytes `toml:"max_message"`
	// MaxMemory bounds what the engine takes for the statements of all clients:
	// their pages, sorting and temporary tables; default 256 MiB, at least 16
	// MiB. A statement that needs more fails (53200). There is one engine in a
	// process, so that of several data stores in one the last opened decides.
	MaxMemory kit.Bytes `toml:"max_memory"`
	// StatementTimeout ends a statement that runs or waits longer (57014);
	// default 30 s. A client can lower it with SET statement_timeout.
	StatementTimeout time.Duration `toml:"statement_timeout"`
	// LockTimeout is how long a writer waits for the writers before it
	// (55P03); default 10 s.
	LockTimeout time.Duration `toml:"lock_timeout"`
	// IdleInTransactionTimeout ends the connection of a client that leaves a
	// transaction open and says nothing (25P03): others wait behind it;
	// default 30 s.
	IdleInTransactionTimeout time.Duration `toml:"idle_in_transaction_timeout"`
	// StartupTimeout bounds the time from connecting to the startup message;
	// default 10 s.
	StartupTimeout time.Duration `toml:"startup_timeout"`
	// DrainTimeout is how long statements and transactions may take to finish
	// after the end was asked for; default 5 s.
	DrainTimeout time.Duration `toml:"drain_timeout"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Common:                   kit.DefaultCommon("127.0.0.1:8004"),
		DataDir:                  "data/datastore",
		Database:                 "spells",
		MaxConnections:           64,
		MaxMessage:               16 << 20,
		MaxMemory:                256 << 20,
		StatementTimeout:         30 * time.Second,
		LockTimeout:              10 * time.Second,
		IdleInTransactionTimeout: 30 * time.Second,
		StartupTimeout:           10 * time.Second,
		DrainTimeout:             5 * time.Second,
	}
}

var databaseName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)

// Validate reports the first bad value as a [kit.KeyError].
func (c Config) Validate() error {
	if c.DataDir == "" {
		return kit.KeyErrorf("data_dir", `is empty, expected a directory, as in "data/datastore"`)
	}
	if !databaseName.MatchString(c.Database) {
		return kit.KeyErrorf("database", "is %q, expected 1 to 63 letters, digits, _ or -", c.Database)
	}
	if c.MaxConnections < 1 || c.MaxConnections > 1000 {
		return kit.KeyErrorf("max_connections", "is %d, expected 1 to 1000", c.MaxConnections)
	}
	if c.MaxMessage < 64<<10 || c.MaxMessage > 1<<30 {
		return kit.KeyErrorf("max_message", "is %s, expected 64KiB to 1GiB", c.MaxMessage)
	}
	if c.MaxMemory < 16<<20 || c.MaxMemory > 1<<40 {
		return kit.KeyErrorf("max_memory", "is %s, expected 16MiB to 1024GiB", c.MaxMemory)
	}
	for key, d := range map[string]time.Duration{
		"statement_timeout": c.StatementTimeout, "lock_timeout": c.LockTimeout,
		"idle_in_transaction_timeout": c.IdleInTransactionTimeout, "startup_timeout": c.StartupTimeout,
		"drain_timeout": c.DrainTimeout,
	} {
		if d <= 0 || d > 24*time.Hour {
			return kit.KeyErrorf(key, `is %s, expected more than 0 and at most 24 hours, as in "30s"`, d)
		}
	}
	return nil
}
