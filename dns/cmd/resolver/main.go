// Command resolver answers DNS questions by asking name servers from the root
// down.
package main

import (
	"context"
	"os"

	"minicloud.internal/dns/resolver"
	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

func main() { os.Exit(kit.Main("resolver", run)) }

func run(p *kit.Process) error {
	cfg := resolver.DefaultConfig()
	if err := p.Configure(&cfg); err != nil {
		return err
	}
	r, err := resolver.New(cfg, p.Logger, p.Registry)
	if err != nil {
		return err
	}
	ln, pc, err := server.Listen(cfg.Listen, cfg.Dir, cfg.Limits)
	if err != nil {
		return err
	}
	p.AdminHandlers = r.AdminHandlers()
	return p.Run(r.Health(), func(ctx context.Context) error { return r.Serve(ctx, ln, pc) })
}
