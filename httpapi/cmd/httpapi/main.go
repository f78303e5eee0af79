// Command httpapi runs one replica of the book of spells.
package main

import (
	"context"
	"os"

	"minicloud.internal/httpapi"
	"minicloud.internal/kit"
)

func main() { os.Exit(kit.Main("httpapi", run)) }

func run(p *kit.Process) error {
	cfg := httpapi.DefaultConfig()
	if err := p.Configure(&cfg); err != nil {
		return err
	}
	a, err := httpapi.New(cfg, p.Logger, p.Registry)
	if err != nil {
		return err
	}
	ln, err := kit.Listen(cfg.Listen)
	if err != nil {
		return err
	}
	p.Logger.Info("listening", "address", ln.Addr().String())
	return p.Run(a.Health(), func(ctx context.Context) error { return a.Serve(ctx, ln) })
}
