// Command dnsserver answers for DNS zones.
package main

import (
	"context"
	"os"

	"minicloud.internal/dns/authority"
	"minicloud.internal/kit"
)

func main() { os.Exit(kit.Main("dnsserver", run)) }

func run(p *kit.Process) error {
	cfg := authority.DefaultConfig()
	if err := p.Configure(&cfg); err != nil {
		return err
	}
	s, err := authority.New(cfg, p.Logger, p.Registry)
	if err != nil {
		return err
	}
	ln, pc, err := kit.ListenDNS(cfg.Listen)
	if err != nil {
		return err
	}
	return p.Run(s.Health(), func(ctx context.Context) error { return s.Serve(ctx, ln, pc) })
}
