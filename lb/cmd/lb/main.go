// Command lb runs the load balancer.
package main

import (
	"context"
	"os"

	"minicloud.internal/kit"
	"minicloud.internal/lb"
)

func main() { os.Exit(kit.Main("lb", run)) }

func run(p *kit.Process) error {
	cfg := lb.DefaultConfig()
	if err := p.Configure(&cfg); err != nil {
		return err
	}
	balancer, err := lb.New(cfg, p.Logger, p.Registry)
	if err != nil {
		return err
	}
	ln, err := kit.Listen(cfg.Listen)
	if err != nil {
		return err
	}
	p.Logger.Info("listening", "address", ln.Addr().String())
	p.AdminHandlers = balancer.AdminHandlers()
	return p.Run(balancer.Health(), func(ctx context.Context) error { return balancer.Serve(ctx, ln) })
}
