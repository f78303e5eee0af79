package objectstorage

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
	"minicloud.internal/objectstorage/store"
	"minicloud.internal/objectstorage/store/disk"
)

// Server is the object store as a service.
type Server struct {
	cfg     Config
	logger  *slog.Logger
	health  *kit.Health
	metrics *metrics
}

// New validates cfg and registers the metrics. It opens nothing and starts
// nothing.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	return &Server{cfg: cfg, logger: logger, health: kit.NewHealth(), metrics: m}, nil
}

// Health is 200 while the store is open and takes writes.
func (s *Server) Health() *kit.Health { return s.health }

// Serve opens the data directory, answers on ln until ctx ends, drains, closes
// the data directory and returns nil. It closes ln. That the directory cannot be
// opened, or is in use by another store, is an error at once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	d, err := disk.Open(s.cfg.DataDir, disk.Options{Logger: s.logger})
	if err != nil {
		_ = ln.Close()
		return err
	}
	s.metrics.watch(d)
	defer s.metrics.watch(nil)
	s.logger.Info("store open", "data_dir", s.cfg.DataDir, "objects", d.Len(), "damaged", d.Damaged())
	if n := d.Damaged(); n > 0 {
		s.health.Reduce("objects", fmt.Sprintf("%d damaged, the log names the files", n))
	}
	err = s.serve(ctx, ln, d)
	if closed := d.Close(); err == nil && closed != nil {
		err = fmt.Errorf("close the store: %w", closed)
	}
	return err
}

// serve answers on ln from any store.
func (s *Server) serve(ctx context.Context, ln net.Listener, objects store.Store) error {
	server := &kit.HTTPServer{
		Handler:      &door{store: objects, max: int64(s.cfg.MaxObjectSize), logger: s.logger, health: s.health, metrics: s.metrics},
		Logger:       s.logger,
		Health:       s.health,
		BodyIdle:     s.cfg.BodyIdleTimeout,
		DrainDelay:   s.cfg.DrainDelay,
		DrainTimeout: s.cfg.DrainTimeout,
		AccessLog:    true,
	}
	return server.Serve(ctx, ln)
}
