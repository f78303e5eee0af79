//go:build linux

// Command dns measures our name server beside Knot, NSD, BIND and CoreDNS, and our
// resolver beside Unbound and BIND, as far as they are installed. `make bench-dns`
// runs it on the binaries that `make build` has made.
//
// The load is dnsperf's: a set number of queries on their way at a time, each
// answered or given up. Everything runs on the loopback interface of one machine, so
// server and dnsperf share its cores: with one core each is bound to its own. What a
// server costs by itself is the CPU time of its processes per query, which the
// scheduler counts in nanoseconds; the kernel's work on the server's sockets is in
// it, as far as it is done in the server's time.
//
// All servers have the same zone of 1,000 names; every tenth query is for a name
// that is not there. The resolvers have it all in their cache, and dnsperf's count
// of response codes has to be what was asked for; a lost query or another code fails
// the row. A round measures all servers, one after another, each round beginning
// with another one; what is printed is the median of the rounds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"minicloud.internal/bench/internal/proc"
	"minicloud.internal/bench/internal/report"
	"minicloud.internal/dns/peers"
)

func main() { os.Exit(proc.Main("bench-dns", start)) }

// start reads the flags, and runs.
func start(ctx context.Context) error {
	b := &bench{progress: report.NewProgress(), programs: map[peers.Kind]string{}}
	only := flag.String("only", "", "a regular expression: what to measure, by the workloads' names or \"cold\", \"memory\", \"allocations\"")
	names := flag.String("servers", "", "which servers, by their programs' names, separated by commas; default all")
	programs := map[peers.Kind]*string{}
	for _, k := range kinds {
		value := ""
		if k.Ours() {
			value = "bin/" + string(k)
		}
		programs[k] = flag.String(string(k), value, "the `binary` of "+k.Title())
	}
	flag.IntVar(&b.rounds, "rounds", 5, "how often each workload is measured")
	flag.DurationVar(&b.duration, "duration", 2*time.Second, "of each measurement")
	flag.BoolVar(&b.edns, "edns", false, "queries with EDNS")
	flag.IntVar(&b.cold, "cold", 300, "how many names are resolved cold")
	flag.IntVar(&b.cached, "cached", cachedNames, "how many names the resolvers hold when their memory is read")
	flag.StringVar(&b.profiles, "profile", "", "a `directory` for a CPU profile of ours under each workload")
	flag.Parse()
	which, err := regexp.Compile(*only)
	if err == nil {
		err = b.prepare(*names, programs)
	}
	if err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	err = b.run(ctx, which)
	b.progress.Show("")
	return err
}

// prepare finds the programs and makes room for the queries.
func (b *bench) prepare(names string, programs map[peers.Kind]*string) (err error) {
	if b.rounds < 1 || b.duration < 100*time.Millisecond || b.cold < 1 || b.cached < 1 {
		return errors.New("-rounds, -cold and -cached are at least 1, -duration at least 100ms")
	}
	if b.dnsperf, err = proc.LookUp("dnsperf"); err != nil {
		return fmt.Errorf("dnsperf makes the load: %w", err)
	}
	if b.taskset, err = exec.LookPath("taskset"); err != nil {
		return fmt.Errorf("taskset keeps servers to their cores: %w", err)
	}
	var known []string
	for _, k := range kinds {
		known = append(known, string(k))
	}
	chosen, err := proc.Chosen(names, known)
	if err != nil {
		return err
	}
	for _, k := range kinds {
		if !chosen(string(k)) {
			continue
		}
		path := *programs[k]
		if path == "" {
			path, err = peers.Find(k)
		} else if path, err = proc.LookUp(path); err == nil {
			path, err = filepath.Abs(path)
		}
		switch {
		case err == nil:
			b.programs[k] = path
		case errors.Is(err, peers.ErrNotInstalled):
			fmt.Fprintf(os.Stderr, "%s is skipped: not installed\n", k.Title())
		case k.Ours():
			return fmt.Errorf("%s (make build makes it): %w", k.Title(), err)
		default:
			return err
		}
	}
	if err := proc.RaiseOpenFiles(); err != nil {
		return err
	}
	b.dir, err = os.MkdirTemp("", "minicloud-bench-dns-")
	return err
}

// run measures and prints, each table as soon as it is complete.
func (b *bench) run(ctx context.Context, which *regexp.Regexp) error {
	var all findings
	for _, w := range workloads {
		if !which.MatchString(w.name) {
			continue
		}
		rows, err := b.measure(ctx, w)
		if err != nil {
			return err
		}
		c := compare(w, rows)
		c.print(os.Stdout)
		all.comparisons = append(all.comparisons, c)
	}
	var err error
	if which.MatchString("allocations") {
		if all.allocations, err = b.allocations(ctx); err != nil {
			return err
		}
		printAllocations(os.Stdout, all.allocations)
	}
	if which.MatchString("cold") {
		if all.cold, err = b.resolveCold(ctx); err != nil {
			return err
		}
		printCold(os.Stdout, all.cold)
	}
	if which.MatchString("memory") {
		if all.memory, err = b.memory(ctx); err != nil {
			return err
		}
		printMemory(os.Stdout, all.memory)
	}
	report.PrintBars(os.Stdout, all.bars())
	b.printMachine(ctx, os.Stdout, all)
	if n := all.failed(); n > 0 {
		return fmt.Errorf("%d rows failed", n)
	}
	return nil
}
