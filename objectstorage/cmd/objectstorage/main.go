// Command objectstorage runs the object store.
package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"

	"minicloud.internal/kit"
	"minicloud.internal/objectstorage"
)

func main() { os.Exit(kit.Main("objectstorage", run)) }

func run(p *kit.Process) error {
	cfg := objectstorage.DefaultConfig()
	if err := p.Configure(&cfg); err != nil {
		return err
	}
	tune()
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

// tune sets what suits this program better than most, unless the environment says
// otherwise (GOGC, GOMAXPROCS).
func tune() {
	// Most of the heap is the database's, of which the collector has nothing to look
	// at: to run twice as often takes no CPU that can be measured, and the process
	// holds 20 MB less under load.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	// The goroutine that syncs the log, for all who wait, comes back from the system
	// to find every processor taken, and would queue behind requests. With as many
	// again the system's scheduler, which prefers who has slept, lets it go on at once.
	// The price is that the runtime does not follow when the process's share of the
	// processors changes later.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
}
