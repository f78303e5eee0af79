package objectstorage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"minicloud.internal/objectstorage/store"
	"minicloud.internal/objectstorage/store/disk"
	"minicloud.internal/objectstorage/store/s3"
)

// opened is a store, and what has to run beside it until ctx ends; nil: nothing.
type opened struct {
	store.Store
	run func(ctx context.Context) error
}

// open opens the store that the configuration names.
func (s *Server) open(ctx context.Context) (opened, error) {
	if s.cfg.Driver == driverS3 {
		return s.openS3(ctx)
	}
	return s.openDisk()
}

func (s *Server) openDisk() (opened, error) {
	inline := int64(s.cfg.InlineThreshold)
	if inline == 0 {
		inline = -1 // which the driver reads as none
	}
	d, err := disk.Open(s.cfg.DataDir, disk.Options{
		Logger:          s.logger,
		Now:             s.now,
		OnFail:          s.stopped,
		InlineThreshold: inline,
		CacheSize:       int64(s.cfg.CacheSize),
		ScrubInterval:   s.cfg.ScrubInterval,
		ScrubRate:       int64(s.cfg.ScrubRate),
	})
	if err != nil {
		return opened{}, err
	}
	s.metrics.disk.Store(d)
	s.logger.Info("store open", "data_dir", s.cfg.DataDir)
	return opened{d, func(ctx context.Context) error {
		done := make(chan struct{})
		go func() { defer close(done); s.watchDamage(ctx, d) }()
		defer func() { <-done }()
		return d.Run(ctx)
	}}, nil
}

// openS3 opens the driver of another S3 service. What of a body does not fit into
// memory waits in the data directory until it is sent.
func (s *Server) openS3(ctx context.Context) (opened, error) {
	spool := filepath.Join(s.cfg.DataDir, "spool")
	if err := os.MkdirAll(spool, 0o700); err != nil {
		return opened{}, fmt.Errorf("make the directory for bodies on their way: %w", err)
	}
	up := s.cfg.S3
	o, err := s3.Open(ctx, s3.Options{
		Endpoint: up.Endpoint, Region: up.Region, AccessKey: up.AccessKey, SecretKey: up.SecretKey, PathStyle: up.PathStyle, Dir: spool,
	})
	if err != nil {
		return opened{}, err
	}
	s.logger.Info("store open", "endpoint", up.Endpoint)
	return opened{o, nil}, nil
}

// watchDamage tells health of damaged objects, until ctx ends. The driver logs
// each of them.
func (s *Server) watchDamage(ctx context.Context, d *disk.Store) {
	tick := time.NewTicker(s.look)
	defer tick.Stop()
	for {
		s.reportDamage(d.Stats().Damaged)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Server) reportDamage(objects int64) {
	if objects > 0 {
		s.health.Reduce("objects", fmt.Sprintf("%d damaged, the log names them", objects))
	} else {
		s.health.Restore("objects")
	}
}
