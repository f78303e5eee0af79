// Command dnsserver answers for DNS zones.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"minicloud.internal/dns/authority"
	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

func main() { os.Exit(kit.Main("dnsserver", run)) }

func run(p *kit.Process) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP) // before the zones are read: without it the signal ends the process
	cfg := authority.DefaultConfig()
	if err := p.Configure(&cfg); err != nil {
		return err
	}
	s, err := authority.New(cfg, p.Logger, p.Registry)
	if err != nil {
		return err
	}
	ln, pc, err := server.Listen(cfg.Listen, cfg.Dir, cfg.Limits)
	if err != nil {
		return err
	}
	s.Hangup = hangup
	return p.Run(s.Health(), func(ctx context.Context) error { return s.Serve(ctx, ln, pc) })
}
