// Command cache is the cache as a program of its own.
package main

import (
	"context"
	"os"

	"minicloud.internal/kit"
	"minicloud.internal/services/cache"
)

func main() { os.Exit(kit.Main("cache", run)) }

func run(p *kit.Process) error {
	cfg := cache.DefaultConfig()
	if err := p.Configure(&cfg); err != nil {
		return err
	}
	s, err := cache.New(cfg, p.Logger, p.Registry)
	if err != nil {
		return err
	}
	ln, err := kit.Listen(cfg.Listen)
	if err != nil {
		return err
	}
	p.Logger.Info("listening", "address", ln.Addr().String())
	return p.Run(s.Health(), func(ctx context.Context) error { return s.Serve(ctx, ln) })
}
