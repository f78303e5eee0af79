// Command datastore serves one SQLite database over the PostgreSQL wire protocol.
package main

import (
	"context"
	"os"

	"minicloud.internal/kit"
	"minicloud.internal/services/datastore"
)

func main() { os.Exit(kit.Main("datastore", run)) }

func run(p *kit.Process) error {
	cfg := datastore.DefaultConfig()
	if err := p.Configure(&cfg); err != nil {
		return err
	}
	s, err := datastore.New(cfg, p.Logger, p.Registry)
	if err != nil {
		return err
	}
	ln, err := kit.Listen(cfg.Listen)
	if err != nil {
		return err
	}
	return p.Run(s.Health(), func(ctx context.Context) error { return s.Serve(ctx, ln) })
}
