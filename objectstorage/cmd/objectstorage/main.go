// Command objectstorage runs the object store.
package main

import (
	"context"
	"os"

	"minicloud.internal/kit"
	"minicloud.internal/objectstorage"
)

func main() { os.Exit(kit.Main("objectstorage", run)) }

func run(p *kit.Process) error {
	cfg := objectstorage.DefaultConfig()
	if err := p.Configure(&cfg); err != nil {
		return err
	}
	s, err := objectstorage.New(cfg, p.Logger, p.Registry)
	if err != nil {
		return err
	}
	plain, secure, err := cfg.Listeners()
	if err != nil {
		return err
	}
	p.Logger.Info("listening", "address", plain.Addr().String())
	if secure != nil {
		p.Logger.Info("listening for HTTPS", "address", secure.Addr().String())
	}
	return p.Run(s.Health(), func(ctx context.Context) error { return s.ServeBoth(ctx, plain, secure) })
}
