package cache

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
)

// A Server is the cache as a service.
type Server struct {
	cfg    Config
	logger *slog.Logger
	health *kit.Health
	store  *Store
	door   *door
}

// New validates cfg and registers the metrics. It starts nothing.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := newMetrics()
	store, err := NewStore(cfg, logger, m, nil)
	if err != nil {
		return nil, err
	}
	if err := m.register(reg, store, cfg); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return &Server{
		cfg: cfg, logger: logger, health: kit.NewHealth(), store: store,
		door: &door{store: store, metrics: m, cfg: cfg},
	}, nil
}

// Health is what /healthz answers.
func (s *Server) Health() *kit.Health { return s.health }

// Serve answers on ln until ctx ends, and then drains; the entries are gone with
// the Server. No balancer stands before the cache, so that the drain does not
// wait to be noticed.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var cleaner sync.WaitGroup
	cleaner.Go(func() { s.cleanUp(ctx) })
	defer cleaner.Wait()
	defer cancel(nil)
	server := &kit.HTTPServer{Handler: s.door, Logger: s.logger, Health: s.health, DrainTimeout: s.cfg.DrainTimeout}
	return server.Serve(ctx, ln)
}

func (s *Server) cleanUp(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.store.CleanUp()
		}
	}
}
