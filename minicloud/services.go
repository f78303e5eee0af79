package minicloud

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/dns/authority"
	"minicloud.internal/dns/resolver"
	"minicloud.internal/dns/server"
	"minicloud.internal/httpapi"
	"minicloud.internal/kit"
	"minicloud.internal/lb"
	"minicloud.internal/objectstorage"
	"minicloud.internal/services/cache"
	"minicloud.internal/services/datastore"
	"minicloud.internal/services/queue"
)

// sockets are what a part listens on; udp is nil where it speaks TCP only.
type sockets struct {
	tcp   net.Listener
	udp   net.PacketConn
	admin net.Listener
}

// A service is a part that has been built and not yet started.
type service struct {
	logger   *slog.Logger
	registry *prometheus.Registry
	health   *kit.Health
	admin    map[string]http.Handler // beside kit's own; nil for most
	serve    func(context.Context) error
}

// The two shapes of what a part is: a server of streams, and one of DNS.
type (
	streamServer interface {
		Health() *kit.Health
		Serve(context.Context, net.Listener) error
	}
	dnsServer interface {
		Health() *kit.Health
		Serve(context.Context, net.Listener, net.PacketConn) error
	}
)

func (svc *service) stream(s streamServer, on sockets) {
	svc.health, svc.serve = s.Health(), func(ctx context.Context) error { return s.Serve(ctx, on.tcp) }
}

// dns adds the sockets for DNS over TLS and HTTPS, where the file asks for them.
func (svc *service) dns(s dnsServer, on sockets, dir string, limits server.Limits) error {
	ln, err := server.Extend(on.tcp, dir, limits)
	if err != nil {
		return err
	}
	svc.health, svc.serve = s.Health(), func(ctx context.Context) error { return s.Serve(ctx, ln, on.udp) }
	return nil
}

// configured is any service's configuration, by the keys that all share.
type configured interface{ Base() *kit.Common }

// A kind is how parts of one kind are configured and built. build changes what
// the file says where one process differs from a container.
type kind struct {
	load  func(file string) (configured, error)
	build func(c *Cloud, p *Part, cfg configured, svc *service, on sockets) error
}

func kindOf[C any, P interface {
	*C
	configured
}](defaults func() C, build func(*Cloud, *Part, C, *service, sockets) error) kind {
	return kind{
		load: func(file string) (configured, error) {
			cfg := defaults()
			err := kit.LoadConfig(file, P(&cfg))
			return P(&cfg), err
		},
		build: func(c *Cloud, p *Part, cfg configured, svc *service, on sockets) error {
			return build(c, p, *cfg.(P), svc, on)
		},
	}
}

// load reads a part's file.
func (c *Cloud) load(p *Part) (configured, error) {
	return p.kind.load(filepath.Join(c.options.Configs, p.Config))
}

// build builds a part on its sockets.
func (c *Cloud) build(p *Part, cfg configured, on sockets) (*service, error) {
	common := cfg.Base()
	svc := &service{
		logger:   kit.NewLogger(c.options.Log, common.LogLevel, common.LogFormat, p.Name),
		registry: kit.NewRegistry(),
	}
	if err := p.kind.build(c, p, cfg, svc, on); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	return svc, nil
}

// dataDir is where a part keeps its data.
func (c *Cloud) dataDir(p *Part) string { return filepath.Join(c.options.Data, p.Name) }

func authorityKind() kind {
	return kindOf(authority.DefaultConfig, func(c *Cloud, p *Part, cfg authority.Config, svc *service, on sockets) error {
		// The load balancer's port is known only now, so it is published in
		// records beside the zone file.
		for i := range cfg.Zones {
			if cfg.Zones[i].Name == siteName+"." {
				port := c.port(loadBalancer)
				cfg.Zones[i].Records = []string{
					fmt.Sprintf("_http._tcp.%s. 30 IN SRV 0 0 %d %s.", siteName, port, siteName),
					fmt.Sprintf("_http._tcp.www.%s. 30 IN SRV 0 0 %d %s.", siteName, port, siteName),
					fmt.Sprintf("*.s3.%s. 30 IN SRV 0 0 %d s3.%s.", siteName, port, siteName),
				}
			}
		}
		s, err := authority.New(cfg, svc.logger, svc.registry)
		if err != nil {
			return err
		}
		return svc.dns(s, on, cfg.Dir, cfg.Limits)
	})
}

func resolverKind() kind {
	return kindOf(resolver.DefaultConfig, func(c *Cloud, p *Part, cfg resolver.Config, svc *service, on sockets) error {
		cfg.Dial = c.hosts.Dial
		s, err := resolver.New(cfg, svc.logger, svc.registry)
		if err != nil {
			return err
		}
		svc.admin = s.AdminHandlers()
		return svc.dns(s, on, cfg.Dir, cfg.Limits)
	})
}

func datastoreKind() kind {
	return kindOf(datastore.DefaultConfig, func(c *Cloud, p *Part, cfg datastore.Config, svc *service, on sockets) error {
		cfg.DataDir = c.dataDir(p)
		s, err := datastore.New(cfg, svc.logger, svc.registry)
		if err == nil {
			svc.stream(s, on)
		}
		return err
	})
}

func cacheKind() kind {
	return kindOf(cache.DefaultConfig, func(c *Cloud, p *Part, cfg cache.Config, svc *service, on sockets) error {
		s, err := cache.New(cfg, svc.logger, svc.registry)
		if err == nil {
			svc.stream(s, on)
		}
		return err
	})
}

func queueKind() kind {
	return kindOf(queue.DefaultConfig, func(c *Cloud, p *Part, cfg queue.Config, svc *service, on sockets) error {
		cfg.DataDir = c.dataDir(p)
		s, err := queue.New(cfg, svc.logger, svc.registry)
		if err == nil {
			svc.stream(s, on)
		}
		return err
	})
}

func objectStorageKind() kind {
	return kindOf(objectstorage.DefaultConfig, func(c *Cloud, p *Part, cfg objectstorage.Config, svc *service, on sockets) error {
		cfg.DataDir = c.dataDir(p)
		// The file cannot know the port here, and a presigned URL may be made
		// for it.
		cfg.Aliases = append(cfg.Aliases, c.Address(p.Name), fmt.Sprintf("localhost:%d", c.port(p.Name)))
		s, err := objectstorage.New(cfg, svc.logger, svc.registry)
		if err != nil {
			return err
		}
		var secure net.Listener
		if cfg.ListenTLS != "" {
			if secure, err = kit.Listen(cfg.ListenTLS); err != nil {
				return err
			}
		}
		svc.health, svc.serve = s.Health(), func(ctx context.Context) error { return s.ServeBoth(ctx, on.tcp, secure) }
		return nil
	})
}

func httpAPIKind() kind {
	return kindOf(httpapi.DefaultConfig, func(c *Cloud, p *Part, cfg httpapi.Config, svc *service, on sockets) error {
		cfg.Name, cfg.Dial = p.Name, c.hosts.Dial
		s, err := httpapi.New(cfg, svc.logger, svc.registry)
		if err == nil {
			svc.stream(s, on)
		}
		return err
	})
}

func loadBalancerKind() kind {
	return kindOf(lb.DefaultConfig, func(c *Cloud, p *Part, cfg lb.Config, svc *service, on sockets) error {
		cfg.Dial = c.hosts.Dial
		s, err := lb.New(cfg, svc.logger, svc.registry)
		if err == nil {
			svc.stream(s, on)
			svc.admin = s.AdminHandlers()
		}
		return err
	})
}

// Check validates every part's file in a directory of configurations, and
// returns the first error of each.
func Check(configs string) (errs []error) {
	checked := map[string]bool{}
	for _, p := range Parts() {
		if !checked[p.Config] {
			if _, err := p.kind.load(filepath.Join(configs, p.Config)); err != nil {
				errs = append(errs, err)
			}
		}
		checked[p.Config] = true
	}
	return errs
}
