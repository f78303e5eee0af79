// Command queue is the message queue as a program of its own.
package main

import (
	"context"
	"os"

	"minicloud.internal/kit"
	"minicloud.internal/services/queue"
)

func main() { os.Exit(kit.Main("queue", run)) }

func run(p *kit.Process) error {
	cfg := queue.DefaultConfig()
	if err := p.Configure(&cfg); err != nil {
		return err
	}
	s, err := queue.New(cfg, p.Logger, p.Registry)
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
