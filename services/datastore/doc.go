// Package datastore is the data store of the cloud: SQL over TCP. Any
// PostgreSQL client connects; the engine and the dialect are SQLite's. A
// committed transaction survives a power cut.
//
// # The path of a query
//
// [Server.Serve] accepts a connection and starts its session. The session
// answers the startup messages (startup.go), opens a connection to the database
// file of its own, and then handles one message after the other (query.go). The
// text of a query is cut into statements (token.go), and a statement goes one of
// three ways by its first word (statement.go): what controls transactions goes
// to transaction.go; SET, SHOW and the like, and SELECT version(), are answered
// in settings.go; everything else is SQLite's (portal.go). Parameters are decoded
// in decode.go, results encoded in encode.go, and every error becomes a SQLSTATE
// in one function, toPgError.
//
// # Types
//
// PostgreSQL types columns, SQLite types values. A result column has the type
// that the table declares: INTEGER is int8, REAL, NUMERIC and DECIMAL float8,
// BLOB bytea, BOOLEAN bool, DATE date, TIMESTAMP and DATETIME timestamptz in
// UTC, and anything with TEXT or CHAR, JSON and UUID is text. A value that does
// not fit its column is converted where nothing is lost, and is otherwise an
// error (42804). An expression has the type that its text shows (count(*), EXISTS,
// CAST, a literal), and otherwise none: OID 0, in text, which clients read as
// whatever they scan it into.
//
// A parameter has the type that the client gives, or that of the column beside
// it (infer.go), or none; then text that is a canonical number is bound as a
// number. CAST($1 AS REAL) says what cannot be seen. Times are stored in UTC as
// text, as CURRENT_TIMESTAMP writes them.
//
// # Transactions
//
// SQLite has one writer at a time. BEGIN is BEGIN IMMEDIATE under a fair lock
// with a bounded wait, so that who has begun can finish and nobody meets "database
// is locked"; every transaction is serializable. BEGIN READ ONLY is a snapshot
// that takes no lock, and neither does a read outside of a transaction. Several
// statements of one query, and those between two Syncs, are one transaction from
// the first write on. An error aborts a transaction as PostgreSQL does: only
// ROLLBACK, or ROLLBACK TO, goes on; where there is no savepoint the lock is
// given back at once.
//
// # Invariants
//
//   - A client is told of a commit (ReadyForQuery, or the CommandComplete of a
//     COMMIT or of a simple query's last statement) after the log was synced to
//     disk: journal_mode WAL, synchronous FULL. No SQL can weaken either.
//   - The database file is opened through SQLite alone. Closing any other
//     descriptor of it would drop SQLite's locks.
//   - The lock of the writers is held only by a session with an open transaction,
//     or a running statement, and each of these is bounded in time.
//   - No SQL reaches another file of the host.
//   - Neither statements nor parameters are logged.
//
// # Goroutines
//
// Serve owns all of them, and returns when they have ended: one accepts, one
// probes the disk after a failure, and one runs per connection. A session's
// state belongs to its goroutine; a timer, a CancelRequest and the drain reach it
// through its mutex. A running statement may have one more, which interrupts it.
//
// # What it does not do
//
// It does not check passwords: who reaches the port is trusted, so it belongs
// inside the cloud and on loopback. It does not translate PostgreSQL's dialect,
// has no pg_catalog, no COPY, no LISTEN, and no encryption. It runs no full
// integrity check when it starts, which would read the whole file: SQLite's log
// has checksums and is replayed on opening, and PRAGMA integrity_check is there.
package datastore
