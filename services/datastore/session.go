package datastore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	lib "modernc.org/sqlite/lib"

	"minicloud.internal/services/datastore/internal/sqlite"
)

// A session is one connection of a client. Its goroutine owns everything but
// what mu guards, through which others interrupt it.
type session struct {
	server  *Server
	store   *store
	cfg     Config
	metrics *metrics
	logger  *slog.Logger

	id       uint32
	key      []byte
	admitted bool // guarded by the server's mu

	conn     net.Conn
	wire     *pgproto3.Backend
	buffered int // bytes sent but not flushed

	db    *sqlite.Conn
	cache statementCache

	user            string
	settings        map[string]string
	timeout         time.Duration // statement_timeout of this session
	defaultReadOnly bool

	tx         transaction
	statements map[string]*prepared
	portals    map[string]*portal
	skipping   bool // after an error in the extended protocol, until Sync
	pipeline   bool // between the first extended message and Sync

	mu       sync.Mutex
	running  context.CancelCauseFunc // interrupts the statement that runs now
	idle     bool                    // waits for a message, with nothing open
	stopping bool                    // ends as soon as it is idle
	killed   bool                    // ends now
}

func newSession(s *Server, conn net.Conn, id uint32, key []byte) *session {
	wire := pgproto3.NewBackend(conn, conn)
	wire.SetMaxBodyLen(int(s.cfg.MaxMessage))
	return &session{
		server: s, store: s.store, cfg: s.cfg, metrics: s.metrics,
		logger: s.logger.With("session", id, "client", conn.RemoteAddr().String()),
		id:     id, key: append([]byte{}, key...),
		conn: conn, wire: wire,
		timeout:    s.cfg.StatementTimeout,
		settings:   map[string]string{},
		statements: map[string]*prepared{}, portals: map[string]*portal{},
	}
}

// errGone says that nobody listens any more: there is nothing to answer.
var errGone = errors.New("the client is gone")

// run serves the connection to its end.
func (s *session) run() {
	if tcp, ok := s.conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 15 * time.Second, Count: 4})
	}
	err := s.startup()
	for err == nil {
		var msg pgproto3.FrontendMessage
		if msg, err = s.receive(); err == nil {
			err = s.handle(msg)
		}
	}
	s.logger.Debug("connection ended", "reason", err)
	var fatal *pgError
	if errors.As(err, &fatal) {
		s.metrics.errors.WithLabelValues(fatal.code[:2]).Inc()
		s.send(fatal.response(""))
		_ = s.flush()
	}
}

// close gives back everything that the session holds.
func (s *session) close() {
	if s.db != nil {
		s.closePortals()
		s.cache.close()
		if !s.db.Autocommit() {
			_ = s.db.Exec("ROLLBACK")
		}
		if err := s.db.Close(); err != nil {
			s.logger.Error("the database connection did not close", "error", err)
		}
	}
	s.unlock()
	_ = s.conn.Close()
}

// receive waits for the next message. A client that holds a transaction open
// has only so long; any other may be silent for ever.
func (s *session) receive() (pgproto3.FrontendMessage, error) {
	busy := s.tx.state != txNone || s.tx.locked
	deadline := time.Time{}
	if busy {
		deadline = time.Now().Add(s.cfg.IdleInTransactionTimeout)
	}
	if err := s.wait(!busy && !s.pipeline, deadline); err != nil {
		return nil, err
	}
	msg, err := s.wire.Receive()
	stopped := s.resume()
	var tooLong *pgproto3.ExceededMaxBodyLenErr
	switch {
	case err == nil:
		return msg, nil
	case errors.As(err, &tooLong):
		return nil, fatalf(codeTooLarge, "a message of %d bytes is over the limit of %s", tooLong.ActualBodyLen, s.cfg.MaxMessage)
	case errors.Is(err, os.ErrDeadlineExceeded) && stopped:
		return nil, errShutdown()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fatalf(codeIdleInTransaction, "terminating connection due to idle-in-transaction timeout")
	case isGone(err):
		return nil, errGone
	}
	return nil, fatalf(codeProtocol, "%v", err)
}

func isGone(err error) bool {
	var netErr net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, io.ErrClosedPipe) || errors.As(err, &netErr)
}

func errShutdown() *pgError {
	return fatalf(codeShutdown, "terminating connection due to administrator command")
}

// wait prepares a read: it sets the deadline, and says whether the session may
// be ended meanwhile.
func (s *session) wait(idle bool, deadline time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.killed || s.stopping && idle {
		return errShutdown()
	}
	s.idle = idle
	return s.conn.SetReadDeadline(deadline)
}

// resume is called behind a read, and reports whether the session was stopped.
func (s *session) resume() (stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stopped = s.killed || s.stopping && s.idle
	s.idle = false
	return stopped
}

// stop ends the session as soon as it is idle.
func (s *session) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	if s.idle {
		_ = s.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// kill interrupts whatever the session does, and ends it.
func (s *session) kill() {
	s.mu.Lock()
	s.stopping, s.killed = true, true
	_ = s.conn.SetReadDeadline(time.Unix(1, 0))
	s.mu.Unlock()
	s.interrupt(errShutdown())
}

// cut closes the connection under the session.
func (s *session) cut() { _ = s.conn.Close() }

// interrupt ends the statement that runs now, with this error.
func (s *session) interrupt(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		s.running(cause)
	}
}

// again is how often an interrupt is repeated: SQLite forgets one that arrives
// between two steps.
const again = 10 * time.Millisecond

// guarded runs fn, a statement, so that the statement timeout, a cancel request
// and the end of the service interrupt it, and nothing that comes after it.
func (s *session) guarded(fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	timer := time.AfterFunc(s.timeout, func() {
		cancel(errorf(codeCancelled, "canceling statement due to statement timeout"))
	})
	finished, exited := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(exited)
		for {
			s.db.Interrupt()
			select {
			case <-finished:
				return
			case <-time.After(again):
			}
		}
	})
	s.mu.Lock()
	s.running = cancel
	if s.killed {
		cancel(errShutdown())
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.running = nil
		s.mu.Unlock()
		timer.Stop()
		close(finished)
		if !stop() {
			<-exited
		}
		cancel(nil)
	}()
	err := fn(ctx)
	var failed *sqlite.Error
	if errors.As(err, &failed) && failed.Primary() == lib.SQLITE_INTERRUPT && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// writeTimeout bounds a write to a client that does not read.
const writeTimeout = 30 * time.Second

// flushAt is how many bytes of rows are gathered before they are written.
const flushAt = 64 << 10

// send queues a message for the client.
func (s *session) send(msg pgproto3.BackendMessage) { s.wire.Send(msg) }

// sendRow queues a row, and writes what is queued where that is much.
func (s *session) sendRow(row *pgproto3.DataRow) error {
	s.wire.Send(row)
	for _, v := range row.Values {
		s.buffered += len(v) + 4
	}
	if s.buffered < flushAt {
		return nil
	}
	return s.flush()
}

func (s *session) flush() error {
	s.buffered = 0
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := s.wire.Flush(); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return nil
}

// warn queues a warning.
func (s *session) warn(code, message string) {
	s.send(&pgproto3.NoticeResponse{Severity: "WARNING", SeverityUnlocalized: "WARNING", Code: code, Message: message})
}

// ready ends a query.
func (s *session) ready() error {
	s.send(&pgproto3.ReadyForQuery{TxStatus: s.tx.indicator()})
	return s.flush()
}

// fail answers an error in a statement, and does to the transaction what it
// entails. It returns an error where the connection must end.
func (s *session) fail(err error, st *statement, query string) error {
	if errors.Is(err, errGone) {
		return err
	}
	s.store.report(err) // err is not nil
	abortErr := s.abort()
	if abortErr != nil { // nil would say that a write succeeded
		s.store.report(abortErr)
	}
	e := toPgError(err, st)
	if e.fatal {
		return e
	}
	s.metrics.errors.WithLabelValues(e.code[:2]).Inc()
	level := slog.LevelDebug
	if e.code == codeInternal || e.code == codeIO || e.code == codeCorrupt {
		level = slog.LevelError
	}
	// Neither the statement nor its parameters: both hold what users wrote.
	s.logger.Log(context.Background(), level, "a statement failed", "sqlstate", e.code, "error", e.message)
	s.send(e.response(query))
	if abortErr != nil {
		return fatalf(codeIO, "the transaction could not be undone, the connection ends")
	}
	return nil
}
