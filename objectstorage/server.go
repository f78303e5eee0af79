package objectstorage

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"minicloud.internal/kit"
	"minicloud.internal/objectstorage/gather"
	"minicloud.internal/objectstorage/s3api"
	"minicloud.internal/objectstorage/sigv4"
	"minicloud.internal/objectstorage/store"
)

// Server is the object store as a service.
type Server struct {
	cfg     Config
	logger  *slog.Logger
	health  *kit.Health
	metrics *metrics
	now     func() time.Time
	look    time.Duration // from one look at what was found damaged to the next
	retry   time.Duration // from one attempt at the buckets to the next
	tls     *tls.Config   // nil without Config.ListenTLS
}

// New validates cfg, loads the certificate and registers the metrics. It opens
// nothing else and starts nothing.
func New(cfg Config, logger *slog.Logger, reg prometheus.Registerer) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, logger: logger, health: kit.NewHealth(), now: time.Now, look: 5 * time.Second, retry: 2 * time.Second}
	if cfg.ListenTLS != "" {
		cert, err := tls.LoadX509KeyPair(cfg.Path(cfg.TLSCert), cfg.Path(cfg.TLSKey))
		if err != nil {
			return nil, fmt.Errorf("load tls_cert and tls_key: %w", err)
		}
		s.tls = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, err
	}
	s.metrics = m
	return s, nil
}

// Health is 200 while the store is open, has the buckets of the configuration,
// and takes writes.
func (s *Server) Health() *kit.Health { return s.health }

// Listeners opens the addresses of the configuration. secure is nil without
// Config.ListenTLS.
func (c *Config) Listeners() (plain, secure net.Listener, err error) {
	if plain, err = kit.Listen(c.Listen); err != nil || c.ListenTLS == "" {
		return plain, nil, err
	}
	if secure, err = kit.Listen(c.ListenTLS); err != nil {
		_ = plain.Close()
		return nil, nil, err
	}
	return plain, secure, nil
}

// Serve is [Server.ServeBoth] without HTTPS.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error { return s.ServeBoth(ctx, ln, nil) }

// ServeBoth opens the store, answers HTTP on plain and, unless it is nil, HTTPS on
// secure until ctx ends, drains, closes the store and returns nil. It closes the
// listeners. That the data directory cannot be opened, or is in use by another
// store, is an error at once.
func (s *Server) ServeBoth(ctx context.Context, plain, secure net.Listener) error {
	objects, err := s.open(ctx)
	if err != nil {
		_ = plain.Close()
		if secure != nil {
			_ = secure.Close()
		}
		return err
	}
	err = s.serve(ctx, plain, secure, objects)
	s.metrics.disk.Store(nil)
	if closed := objects.Close(); err == nil && closed != nil {
		err = fmt.Errorf("close the store: %w", closed)
	}
	return err
}

// serve answers from any store.
func (s *Server) serve(ctx context.Context, plain, secure net.Listener, objects opened) error {
	if slices.Contains(s.cfg.Credentials, DefaultCredential()) {
		s.logger.Warn("the credential of development is in use; anybody knows it", "access_key", DefaultCredential().AccessKey)
	}
	behind := &watched{Store: objects, stored: func(d time.Duration) { s.metrics.put.Observe(d.Seconds()) }, stopped: s.stopped}
	group, ctx := errgroup.WithContext(ctx)
	if objects.run != nil {
		group.Go(func() error { return objects.run(ctx) })
	}
	if err := s.makeBuckets(ctx, behind); err != nil {
		s.waits(err)
		group.Go(func() error { s.makeBucketsUntil(ctx, behind); return nil })
	}
	if s.cfg.LifecycleInterval > 0 {
		worker := &lifecycle{store: behind, logger: s.logger, now: s.now, interval: s.cfg.LifecycleInterval, expired: s.metrics.expired}
		group.Go(func() error { worker.run(ctx); return nil })
	}
	handler := s.handler(behind)
	answer := func(ln net.Listener) {
		server := &kit.HTTPServer{
			Handler:      handler,
			Logger:       s.logger,
			Health:       s.health,
			BodyIdle:     s.cfg.BodyIdleTimeout,
			DrainDelay:   s.cfg.DrainDelay,
			DrainTimeout: s.cfg.DrainTimeout,
			AccessLog:    true,
		}
		group.Go(func() error { return server.Serve(ctx, ln) })
	}
	answer(gather.Listener(plain))
	if secure != nil {
		answer(tls.NewListener(gather.Listener(secure), s.tls))
	}
	return group.Wait()
}

// handler is both doors.
func (s *Server) handler(objects store.Store) http.Handler {
	s3 := s3api.New(objects, s3api.Config{
		Verifier:      &sigv4.Verifier{Credentials: s.cfg.secret, Region: s.cfg.Region, Now: s.now, Hosts: s.cfg.aliases},
		Region:        s.cfg.Region,
		Hosts:         s.cfg.Hosts,
		Known:         s.cfg.known,
		MaxObjectSize: int64(s.cfg.MaxObjectSize),
		Logger:        s.logger,
		Now:           s.now,
		Observe:       func(operation string, status int) { s.metrics.count(doorS3, operation, status) },
	})
	files := &door{store: objects, max: int64(s.cfg.MaxObjectSize), permit: s3.PermitAnonymous, now: s.now, logger: s.logger, metrics: s.metrics}
	return s.metrics.measured(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s3.Claims(r) {
			s3.ServeHTTP(w, r)
		} else {
			files.ServeHTTP(w, r)
		}
	}))
}

// stopped tells health that the store takes no more writes.
func (s *Server) stopped(err error) {
	s.logger.Error("a write could not be made durable; the store takes no more writes", "error", err)
	s.health.Fail("a write could not be made durable; the store takes no more writes until it is restarted: check the disk")
}

// waits tells health that the buckets of the configuration are not there yet.
func (s *Server) waits(err error) {
	s.logger.Warn("the buckets of the configuration cannot be made yet", "error", err)
	s.health.Fail("it waits for the buckets of its configuration: the log says why")
}

// makeBuckets makes the buckets of the configuration, and sets what anybody may
// do in them.
func (s *Server) makeBuckets(ctx context.Context, objects store.Store) error {
	for _, name := range s.cfg.Buckets {
		access := s.cfg.anonymous(name)
		err := objects.CreateBucket(ctx, store.Bucket{Name: name, Anonymous: access})
		if errors.Is(err, store.ErrBucketExists) {
			var b store.Bucket
			if b, err = objects.GetBucket(ctx, name); err == nil && b.Anonymous != access {
				err = objects.UpdateBucket(ctx, name, func(b *store.Bucket) error { b.Anonymous = access; return nil })
			}
		}
		if err != nil {
			return fmt.Errorf("make the bucket %s: %w", name, err)
		}
	}
	return nil
}

// makeBucketsUntil tries again until they are there or ctx ends.
func (s *Server) makeBucketsUntil(ctx context.Context, objects store.Store) {
	tick := time.NewTicker(s.retry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.makeBuckets(ctx, objects)
		if err == nil {
			s.health.OK()
			return
		}
		if !errors.Is(err, store.ErrStopped) && ctx.Err() == nil {
			s.waits(err)
		}
	}
}
