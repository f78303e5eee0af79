package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
)

// A Server is the queue as a service.
type Server struct {
	cfg    Config
	logger *slog.Logger
	health *kit.Health
	store  *Store

	mu   sync.RWMutex // held for writing while the store opens and closes
	open bool
}

// New validates cfg and registers the metrics. It opens nothing: [Server.Serve]
// does.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, logger: logger, health: kit.NewHealth()}
	m := newMetrics()
	s.store = NewStore(cfg, logger, m, func(error) { s.health.Fail(failedSentence) })
	if err := m.register(reg, s); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return s, nil
}

const failedSentence = "the queue's disk has failed: restart the service once it is well"

// Health is what /healthz answers.
func (s *Server) Health() *kit.Health { return s.health }

// Serve opens the store, answers on ln until ctx ends, and closes the store. An
// error of opening is returned before anything is answered. It may be called
// once.
//
// No balancer stands before the queue, so that the drain does not wait to be
// noticed: long polls are answered at once, with no message.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if err := s.openStore(); err != nil {
		_ = ln.Close()
		return err
	}
	defer context.AfterFunc(ctx, s.store.Drain)()
	server := &kit.HTTPServer{
		Handler:      &door{store: s.store, cfg: s.cfg, health: s.health},
		Logger:       s.logger,
		Health:       s.health,
		DrainTimeout: s.cfg.DrainTimeout,
	}
	// Once it returns, no handler is in the store, unless one outlives its cut-off
	// by 5 seconds. That one waits for the disk, as closing the store then does.
	err := server.Serve(ctx, ln)
	s.store.Drain()
	return errors.Join(err, s.closeStore())
}

func (s *Server) openStore() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.store.Open(); err != nil {
		return err
	}
	s.open = true
	messages := 0
	for _, q := range s.store.Stats() {
		messages += q.Ready + q.InFlight
	}
	s.logger.Info("opened the queues", "dir", s.cfg.DataDir, "messages", messages)
	return nil
}

func (s *Server) closeStore() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = false
	return s.store.Close()
}
