package datastore

import (
	"context"
	"errors"
	"slices"
	"time"
)

// The states of a transaction, as a client knows them.
type txState int

const (
	txNone     txState = iota
	txImplicit         // opened for a client that did not ask: it ends with the query or the Sync
	txOpen             // from BEGIN on
	txFailed           // after an error: everything but its end is refused
)

// A transaction is the state of a session's transaction.
//
// SQLite has one writer. One that begins as a reader and then writes fails at
// once where somebody else wrote in between, and no waiting helps. So BEGIN is
// BEGIN IMMEDIATE under the store's fair lock: whoever began can finish, and all
// transactions are serializable. BEGIN READ ONLY is a snapshot without a lock. A
// statement outside of a transaction opens an implicit one if it writes.
type transaction struct {
	state    txState
	readOnly bool
	// locked says that this session holds the store's lock.
	locked bool
	// savepoints says that there was a SAVEPOINT to return to.
	savepoints bool
}

// indicator is the status byte of ReadyForQuery.
func (t *transaction) indicator() byte {
	switch t.state {
	case txOpen:
		return 'T'
	case txFailed:
		return 'E'
	}
	return 'I'
}

// begin opens a transaction in SQLite.
func (s *session) begin(ctx context.Context, state txState, readOnly bool) error {
	sql := "BEGIN"
	if !readOnly {
		if err := s.lock(ctx); err != nil {
			return err
		}
		sql = "BEGIN IMMEDIATE"
	}
	if err := s.exec(sql); err != nil {
		s.unlock()
		return err
	}
	s.tx.state, s.tx.readOnly, s.tx.savepoints = state, readOnly, false
	return nil
}

// lock takes the store's lock, unless this session has it.
func (s *session) lock(ctx context.Context) error {
	if s.tx.locked {
		return nil
	}
	start := time.Now()
	err := s.store.lock(ctx, s.cfg.LockTimeout)
	s.metrics.lockWait.Observe(time.Since(start).Seconds())
	s.tx.locked = err == nil
	return err
}

func (s *session) unlock() {
	if s.tx.locked {
		s.tx.locked = false
		s.store.unlock()
	}
}

// commit makes the transaction durable. Where that fails the transaction is
// rolled back, and the error says why.
func (s *session) commit() error {
	s.closePortals()
	err := s.exec("COMMIT")
	if err != nil {
		return errors.Join(err, s.end("failed"))
	}
	if s.tx.locked {
		s.store.report(nil)
	}
	return s.end("commit")
}

// rollback undoes the transaction.
func (s *session) rollback() error {
	s.closePortals()
	return s.end("rollback")
}

// end leaves the transaction, and undoes what is still open of it.
func (s *session) end(outcome string) (err error) {
	if !s.db.Autocommit() {
		err = s.exec("ROLLBACK")
	}
	s.unlock()
	s.tx = transaction{}
	s.metrics.transactions.WithLabelValues(outcome).Inc()
	return err
}

// abort is what an error does to the transaction.
func (s *session) abort() error {
	switch s.tx.state {
	case txNone:
		s.closePortals()
		s.unlock()
	case txImplicit:
		return s.rollback()
	case txOpen:
		s.closePortals()
		s.tx.state = txFailed
		// Without a savepoint to return to, there is nothing that others should
		// wait for. SQLite itself undoes everything after a full disk, an I/O
		// error or an interrupted write.
		if s.tx.savepoints && !s.db.Autocommit() {
			return nil
		}
		var err error
		if !s.db.Autocommit() {
			err = s.exec("ROLLBACK")
		}
		s.unlock()
		return err
	}
	return nil
}

// isTransaction reports whether a statement controls transactions.
func (s *statement) isTransaction() bool { return s.class() == "transaction" }

// control runs a statement that controls transactions, and returns its tag.
func (s *session) control(ctx context.Context, st *statement) (string, error) {
	switch st.verb {
	case "BEGIN", "START":
		return "BEGIN", s.controlBegin(ctx, st)
	case "COMMIT", "END":
		return s.controlEnd(st, true)
	case "ABORT":
		return s.controlEnd(st, false)
	case "ROLLBACK":
		if st.has("TO") {
			return "ROLLBACK", s.controlSavepoint(st)
		}
		return s.controlEnd(st, false)
	}
	return st.verb, s.controlSavepoint(st)
}

// beginWords are the words that BEGIN and SET TRANSACTION understand. Every
// isolation level is served by the strictest; SQLite's own modes are one here.
var beginWords = []string{"BEGIN", "START", "TRANSACTION", "WORK", "ISOLATION", "LEVEL", "SERIALIZABLE", "REPEATABLE",
	"READ", "COMMITTED", "UNCOMMITTED", "WRITE", "ONLY", "NOT", "DEFERRABLE", ",", "DEFERRED", "IMMEDIATE", "EXCLUSIVE"}

// accessMode reads READ ONLY or READ WRITE from a statement; fallback is
// returned where it has neither.
func (s *statement) accessMode(fallback bool) bool {
	switch {
	case s.has("READ", "ONLY"):
		return true
	case s.has("READ", "WRITE"):
		return false
	}
	return fallback
}

func (s *session) controlBegin(ctx context.Context, st *statement) error {
	for _, t := range st.tokens {
		if !slices.ContainsFunc(beginWords, func(w string) bool { return t.is(w) }) {
			return errorAt(codeSyntax, st.offset+t.at, "near %q: syntax error", t.text)
		}
	}
	readOnly := st.accessMode(s.defaultReadOnly)
	switch s.tx.state {
	case txFailed:
		return errFailedTransaction()
	case txOpen:
		s.warn(codeActiveTransaction, "there is already a transaction in progress")
		return nil
	case txImplicit: // what ran before in this query becomes a part of it
		s.tx.state, s.tx.readOnly = txOpen, readOnly
		return nil
	}
	return s.begin(ctx, txOpen, readOnly)
}

// controlEnd is COMMIT and ROLLBACK.
func (s *session) controlEnd(st *statement, commit bool) (string, error) {
	if st.has("CHAIN") && !st.has("NO", "CHAIN") || st.has("PREPARED") {
		return "", errorf(codeUnsupported, "%s is not supported", st.sql)
	}
	if s.tx.state == txNone || s.tx.state == txImplicit {
		s.warn(codeNoTransaction, "there is no transaction in progress")
	}
	failed := s.tx.state == txFailed
	switch {
	case s.tx.state == txNone && commit:
		return "COMMIT", nil
	case s.tx.state == txNone:
		return "ROLLBACK", nil
	case commit && !failed:
		return "COMMIT", s.commit()
	}
	return "ROLLBACK", s.rollback()
}

// controlSavepoint is SAVEPOINT, RELEASE and ROLLBACK TO.
func (s *session) controlSavepoint(st *statement) error {
	name := st.tokens[len(st.tokens)-1]
	switch {
	case s.tx.state == txNone || s.tx.state == txImplicit:
		return errorf(codeNoTransaction, "%s can only be used in transaction blocks", st.verb)
	case s.tx.state == txFailed && st.verb != "ROLLBACK":
		return errFailedTransaction()
	case len(st.tokens) < 2 || !name.name():
		return errorAt(codeSyntax, st.offset+name.at, "expected the name of a savepoint")
	case s.tx.state == txFailed && s.db.Autocommit():
		return errorf(codeNoSavepoint, "no such savepoint: %s", name.text).hint("The whole transaction was undone; ROLLBACK ends it.")
	}
	if st.verb == "ROLLBACK" {
		s.closePortals()
	}
	if err := s.exec(st.sql); err != nil {
		return err
	}
	switch st.verb {
	case "SAVEPOINT":
		s.tx.savepoints = true
	case "ROLLBACK":
		s.tx.state = txOpen
	}
	return nil
}

func errFailedTransaction() error {
	return errorf(codeFailedTransaction, "current transaction is aborted, commands ignored until end of transaction block")
}
