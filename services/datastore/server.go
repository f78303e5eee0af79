package datastore

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
)

// A Server is one data store: one database file, served to PostgreSQL clients.
type Server struct {
	cfg     Config
	logger  *slog.Logger
	health  *kit.Health
	metrics *metrics
	store   *store

	mu       sync.Mutex // guards the rest
	sessions map[uint32]*session
	clients  int // sessions that are past their startup
	stopping bool
}

// New validates cfg and registers the metrics. It opens nothing and starts
// nothing.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	health := kit.NewHealth()
	return &Server{
		cfg: cfg, logger: logger, health: health, metrics: m,
		store:    newStore(cfg, logger, health),
		sessions: map[uint32]*session{},
	}, nil
}

// Health is OK while the database is open and can be written.
func (s *Server) Health() *kit.Health { return s.health }

// closing is how long a connection that ignores the end may take to close.
const closing = time.Second

// lastWait is how long a statement may take to heed its interrupt at the end.
const lastWait = 5 * time.Second

// Serve opens the database and answers on ln until ctx ends. Then it accepts
// nobody, ends idle connections with 57P01, gives statements and transactions
// the drain timeout, and returns nil with the database closed. A statement that
// cannot be interrupted holds it up for 6 seconds more at most. Call it once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer ln.Close()
	if err := s.store.open(); err != nil {
		return err
	}
	var group sync.WaitGroup
	probing, stopProbe := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() { s.store.watch(probing) })
	failed := make(chan error, 1)
	var clients sync.WaitGroup
	group.Go(func() { failed <- s.accept(ln, &clients) })
	s.health.OK()
	s.logger.Info("serving", "address", ln.Addr().String(), "file", s.store.file, "database", s.cfg.Database)

	var err error
	select {
	case <-ctx.Done():
		s.health.Drain()
		_ = ln.Close()
		<-failed
	case err = <-failed:
		s.health.Fail("the listener failed")
	}
	s.drain(&clients)
	stopProbe()
	group.Wait()
	return errors.Join(err, s.store.close())
}

// accept starts a goroutine per connection until ln is closed.
func (s *Server) accept(ln net.Listener, clients *sync.WaitGroup) error {
	for {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// Out of descriptors, most likely: those who leave give some back.
			s.logger.Warn("a connection could not be accepted", "error", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		session := s.register(conn)
		if session == nil {
			_ = conn.Close()
			continue
		}
		clients.Go(func() {
			defer s.unregister(session)
			s.serve(session)
		})
	}
}

// serve runs one session. A panic ends the session and not the service.
func (s *Server) serve(session *session) {
	defer func() {
		if v := recover(); v != nil {
			s.logger.Error("panic in a session", "panic", v, "stack", string(debug.Stack()))
		}
		session.close()
	}()
	session.run()
}

// spare is how many connections beyond the limit may be in their startup: to be
// told that there are too many clients, or to cancel a statement.
const spare = 32

// register makes a session of a connection, or returns nil where there are far
// too many.
func (s *Server) register(conn net.Conn) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping || len(s.sessions) >= s.cfg.MaxConnections+spare {
		s.metrics.refused.WithLabelValues(codeTooManyClients).Inc()
		return nil
	}
	var key [8]byte
	for {
		_, _ = rand.Read(key[:]) // never fails (crypto/rand)
		id := binary.BigEndian.Uint32(key[:4]) >> 1
		if _, taken := s.sessions[id]; id != 0 && !taken {
			session := newSession(s, conn, id, key[4:])
			s.sessions[id] = session
			return session
		}
	}
}

func (s *Server) unregister(session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, session.id)
	if session.admitted {
		s.clients--
		s.metrics.connections.Dec()
	}
}

// admit counts a session as a client, or refuses it.
func (s *Server) admit(session *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients >= s.cfg.MaxConnections {
		return fatalf(codeTooManyClients, "sorry, too many clients already").
			hint(fmt.Sprintf("max_connections is %d.", s.cfg.MaxConnections))
	}
	session.admitted = true
	s.clients++
	s.metrics.connections.Inc()
	return nil
}

// cancel interrupts the statement of the session with this id and key. A wrong
// key changes nothing, and takes the same time.
func (s *Server) cancel(id uint32, key []byte) {
	s.mu.Lock()
	session := s.sessions[id]
	s.mu.Unlock()
	if session != nil && subtle.ConstantTimeCompare(session.key, key) == 1 {
		session.interrupt(errorf(codeCancelled, "canceling statement due to user request"))
	}
}

// drain ends every session: the idle at once, the others when they are done or
// the drain timeout is over. An interrupt is heeded between two steps of a
// statement and not inside one, such as instr() over megabytes: that one is left
// behind after a while, as it would be by a crash, rather than waited for.
func (s *Server) drain(clients *sync.WaitGroup) {
	s.mu.Lock()
	s.stopping = true
	for _, session := range s.sessions {
		session.stop()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	for _, step := range []struct {
		wait time.Duration
		then func(*session)
	}{{s.cfg.DrainTimeout, (*session).kill}, {closing, (*session).cut}} {
		timer := time.NewTimer(step.wait)
		select {
		case <-done:
			timer.Stop()
			return
		case <-timer.C:
		}
		s.mu.Lock()
		if n := len(s.sessions); n > 0 {
			s.logger.Warn("sessions cut off at the end of the drain", "sessions", n)
		}
		for _, session := range s.sessions {
			step.then(session)
		}
		s.mu.Unlock()
	}
	timer := time.NewTimer(lastWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.logger.Error("a statement does not end when it is interrupted; it is left behind, its transaction undone")
	}
}
