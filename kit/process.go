package kit

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// A Process is one service as a program of its own.
type Process struct {
	Name     string
	Logger   *slog.Logger
	Registry *prometheus.Registry
	// AdminHandlers adds patterns to the admin listener; set before Run.
	AdminHandlers map[string]http.Handler

	admin string
	flags *flag.FlagSet
	file  *string
	check *bool
}

var errDone = errors.New("done")

// Main runs a program: it parses the flags -config, -check and -version, calls
// run, and returns the exit code: 0 after an orderly end, 1 with one line on
// standard error for an error, 2 for a wrong flag.
func Main(name string, run func(*Process) error) int {
	p := &Process{Name: name, Registry: NewRegistry(), flags: flag.NewFlagSet(name, flag.ContinueOnError)}
	p.file = p.flags.String("config", "", "read the configuration from this TOML `file`; without it, defaults")
	p.check = p.flags.Bool("check", false, "validate the configuration and exit")
	version := p.flags.Bool("version", false, "print the version and exit")
	switch err := p.flags.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case p.flags.NArg() > 0:
		fmt.Fprintf(os.Stderr, "%s: unexpected argument %q; the configuration goes behind -config\n", name, p.flags.Arg(0))
		return 2
	case *version:
		fmt.Println(name, Version())
		return 0
	}
	if err := run(p); err != nil && !errors.Is(err, errDone) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

// Version returns the module version and revision that the binary was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision := ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = " " + s.Value
		}
	}
	return info.Main.Version + revision + " " + info.GoVersion
}

// Configure loads the file of -config over the defaults in cfg, a pointer to a
// struct that embeds [Common], and sets up the logger. With -check it says what
// it found and ends the program: errors, and the warnings of cfg's own
// Diagnose() []string, which are no errors.
func (p *Process) Configure(cfg interface{ Base() *Common }) error {
	if err := LoadConfig(*p.file, cfg); err != nil {
		return err
	}
	if *p.check {
		if d, ok := cfg.(interface{ Diagnose() []string }); ok {
			for _, warning := range d.Diagnose() {
				fmt.Printf("%s: warning: %s\n", p.Name, warning)
			}
		}
		fmt.Printf("%s: the configuration is valid\n", p.Name)
		return errDone
	}
	c := cfg.Base()
	p.Logger = NewLogger(os.Stderr, c.LogLevel, c.LogFormat, p.Name)
	p.admin = c.Admin
	return nil
}

// Run serves the admin listener and the service until SIGTERM or SIGINT ends
// the context that serve gets, and waits for both. A second signal ends the
// process at once, with exit code 1.
func (p *Process) Run(h *Health, serve func(context.Context) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer p.onSignal(cancel)()
	group, ctx := errgroup.WithContext(ctx)
	// The admin listener answers for as long as the service drains.
	adminCtx, stopAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAdmin()
	if p.admin != "" {
		ln, err := Listen(p.admin)
		if err != nil {
			return fmt.Errorf("admin: %w", err)
		}
		p.Logger.Info("admin listener", "address", ln.Addr().String())
		group.Go(func() error {
			return ServeAdmin(adminCtx, ln, p.Logger, Admin(h, p.Registry, p.AdminHandlers))
		})
	}
	group.Go(func() error {
		defer stopAdmin()
		return serve(ctx)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	p.Logger.Info("stopped")
	return nil
}

// onSignal calls cancel at the first SIGTERM or SIGINT, and ends the process
// at the second. The function that it returns ends the watch, and joins it.
func (p *Process) onSignal(cancel func()) (stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	done, joined := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(joined)
		for first := true; ; first = false {
			select {
			case s := <-signals:
				if !first {
					p.Logger.Warn("ended at once by a second signal", "signal", s.String())
					os.Exit(1)
				}
				p.Logger.Info("stopping", "signal", s.String())
				cancel()
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
		<-joined
	}
}
