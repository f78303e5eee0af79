//go:build linux

// Command lb measures the load balancer beside its peers: HAProxy, nginx and
// Caddy where they are installed, and the standard library's ReverseProxy, all
// in front of the same backend and under the same load. `make bench-lb` runs it
// on the binary that `make build` has made.
//
// Everything runs on the loopback interface of one machine, so backend, proxy
// and generator share its cores: requests per second are those of the three
// together. What a proxy costs by itself is the CPU time of its processes per
// request, which the scheduler counts in nanoseconds; the kernel's work on the
// proxy's sockets is in it, as far as it is done in the proxy's time.
//
// The load is a closed loop: a connection sends its next request when it has the
// whole answer to the last. Latencies are therefore those under the throughput
// that is printed beside them, and do not show what a client that does not wait
// would see. The status and length of every answer are compared with what is
// expected, and the body of all small ones and a share of the large; one error
// fails the row. A round measures all proxies, one after another, each round
// beginning with another one; what is printed is the median of the rounds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"minicloud.internal/bench/internal/proc"
	"minicloud.internal/bench/internal/report"
)

func main() {
	os.Exit(proc.Main("bench-lb", func(ctx context.Context) error { return dispatch(ctx, os.Args[1:]) }))
}

// dispatch runs one of the modes in which this program starts itself, each a
// process of its own so that its CPU time is nobody else's; or the benchmark.
func dispatch(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "load":
		return loadMain(args[1])
	case len(args) == 2 && args[0] == "serve-sink":
		return serve(ctx, args[1], sink())
	case len(args) == 3 && args[0] == "serve-reverseproxy":
		return serve(ctx, args[1], reverseProxy(args[2]))
	}
	b := &bench{ports: proc.FreePorts{Next: 20000}, progress: report.NewProgress()}
	only := flag.String("only", "", "a regular expression: the workloads to run, by their names or \"idle\"")
	names := flag.String("proxies", "", "which proxies, separated by commas; default all")
	flag.StringVar(&b.lb, "lb", "bin/lb", "the load balancer's `binary`")
	flag.IntVar(&b.rounds, "rounds", 5, "how often each workload is measured")
	flag.DurationVar(&b.duration, "duration", 1300*time.Millisecond, "of each measurement")
	flag.StringVar(&b.profiles, "profile", "", "a `directory` for a CPU profile of our load balancer under each workload")
	flag.Parse()
	which, err := regexp.Compile(*only)
	if err == nil {
		err = b.prepare(*names)
	}
	if err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	defer b.stopBackends()
	err = b.run(ctx, which)
	b.progress.Show("")
	return err
}

// prepare finds the programs and makes room for them.
func (b *bench) prepare(names string) (err error) {
	if b.exe, err = os.Executable(); err != nil {
		return err
	}
	if b.lb, err = filepath.Abs(b.lb); err != nil {
		return err
	}
	if b.proxies, err = installed(names, b.lb, b.exe); err != nil {
		return err
	}
	if b.rounds < 1 || b.duration < 50*time.Millisecond {
		return errors.New("-rounds is at least 1, -duration at least 50ms")
	}
	if err := proc.RaiseOpenFiles(); err != nil {
		return err
	}
	b.dir, err = os.MkdirTemp("", "minicloud-bench-lb-")
	return err
}

// installed are the proxies that were asked for and are there; of one that is
// not it says so.
func installed(names, lb, exe string) (found []proxy, err error) {
	var known []string
	for _, p := range proxies {
		known = append(known, p.name)
	}
	chosen, err := proc.Chosen(names, known)
	if err != nil {
		return nil, err
	}
	for _, p := range proxies {
		if !chosen(p.name) {
			continue
		}
		switch p.name {
		case ours:
			if _, err := os.Stat(lb); err != nil {
				return nil, fmt.Errorf("our load balancer (make build makes it): %w", err)
			}
			p.program = lb
		case self:
			p.program = exe
		default:
			if p.program, err = proc.LookUp(p.program); err != nil {
				fmt.Fprintf(os.Stderr, "%s is skipped: not installed\n", p.title)
				continue
			}
		}
		found = append(found, p)
	}
	return found, nil
}

// run measures and prints, each table as soon as it is complete.
func (b *bench) run(ctx context.Context, which *regexp.Regexp) error {
	if err := b.startBackends(ctx); err != nil {
		return err
	}
	all := findings{allocations: -1}
	failed := 0
	for _, w := range workloads {
		if !which.MatchString(w.name) {
			continue
		}
		rows, allocations, err := b.measure(ctx, w)
		if err != nil {
			return err
		}
		c := compare(w, rows)
		c.print(os.Stdout)
		all.comparisons = append(all.comparisons, c)
		all.allocations = max(all.allocations, allocations)
		for _, f := range c.figures {
			if f.failed != "" {
				failed++
			}
		}
	}
	if which.MatchString("idle") {
		rows, err := b.idle(ctx)
		if err != nil {
			return err
		}
		printIdle(os.Stdout, rows)
		all.idle = rows
		for _, r := range rows {
			if r.failed != "" {
				failed++
			}
		}
	}
	if slices.ContainsFunc(b.proxies, func(p proxy) bool { return p.name == ours }) {
		report.PrintBars(os.Stdout, all.bars())
	}
	b.printMachine(ctx, os.Stdout, all)
	if failed > 0 {
		return fmt.Errorf("%d rows failed", failed)
	}
	return nil
}
