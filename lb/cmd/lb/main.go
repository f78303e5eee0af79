// Command lb runs the load balancer.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

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
	listen := kit.ListenHTTP
	if cfg.ReusePort {
		listen = kit.ListenShared
	}
	ln, err := listen(cfg.Listen)
	if err != nil {
		return err
	}
	p.Logger.Info("listening", "address", ln.Addr().String())
	signal.Notify(balancer.Hangup, syscall.SIGHUP)
	p.AdminHandlers = balancer.AdminHandlers()
	return p.Run(balancer.Health(), func(ctx context.Context) error { return balancer.Serve(ctx, ln) })
}
