//go:build linux

// Command s3 measures the object store beside its peers: MinIO and versitygw where
// they are installed, and nginx, which serves the same objects as static files, for
// what reads. All have their data on the same file system and are under the same
// load. `make bench-s3` runs it on the binary that `make build` has made.
//
// Everything runs on the loopback interface of one machine, so server and generator
// share its cores: requests per second are those of both together. What a server
// costs by itself is the CPU time of its processes per request.
//
// Every request carries a Signature V4 over its head and the hash of its body. The
// requests of a round are signed before it begins, so that a client takes little
// time from the server. The load is a closed loop: a client sends its next request
// when it has the whole answer to the last. The status, length and ETag of every
// answer are compared with what is expected, and the body of all small ones and a
// share of the large, of a listing the number of keys with the first and the last;
// one error fails the row. A round measures all servers, one after another, each
// round beginning with another one, and what one has written is on the disk before
// the next is measured; what is printed is the median of the rounds.
//
// What the servers promise differs, see servers.go: ours alone has an object on the
// disk before it acknowledges it.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"minicloud.internal/bench/internal/proc"
	"minicloud.internal/bench/internal/report"
)

func main() {
	os.Exit(proc.Main("bench-s3", func(ctx context.Context) error { return dispatch(ctx, os.Args[1:]) }))
}

// dispatch runs the generator, which this program starts as a process of its own
// so that its CPU time is nobody else's; or the benchmark.
func dispatch(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == "load" {
		return loadMain(args[1])
	}
	b := &bench{ports: proc.FreePorts{Next: 21000}, seed: rand.Uint64(), progress: report.NewProgress()}
	only := flag.String("only", "", "a regular expression: the workloads to run, by their names or \"start\"")
	names := flag.String("servers", "", "which servers, separated by commas; default all")
	programs := map[string]*string{ours: flag.String(ours, "bin/objectstorage", "the object store's `binary`")}
	for _, s := range servers {
		if s.name != ours {
			programs[s.name] = flag.String(s.name, s.program, "the `binary` of "+s.name)
		}
	}
	dir := flag.String("dir", os.TempDir(), "a `directory` on the disk to measure; it needs some 20 GB")
	flag.IntVar(&b.rounds, "rounds", 5, "how often each workload is measured")
	flag.DurationVar(&b.duration, "duration", time.Second, "of each measurement")
	flag.IntVar(&b.objects, "objects", allObjects, "how many objects are listed, and there at the start")
	flag.StringVar(&b.profiles, "profile", "", "a `directory` for a CPU profile of our object store under each workload")
	flag.Parse()
	which, err := regexp.Compile(*only)
	if err == nil {
		err = b.prepare(*names, programs, *dir)
	}
	if err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	defer b.stopServers()
	err = b.run(ctx, which)
	b.progress.Show("")
	return err
}

// prepare finds the programs and makes room for them.
func (b *bench) prepare(names string, programs map[string]*string, dir string) (err error) {
	if b.exe, err = os.Executable(); err != nil {
		return err
	}
	if b.servers, err = installed(names, programs); err != nil {
		return err
	}
	if b.rounds < 1 || b.duration < 50*time.Millisecond || b.objects < 2*pageSize {
		return fmt.Errorf("-rounds is at least 1, -duration at least 50ms, -objects at least %d", 2*pageSize)
	}
	if err := proc.RaiseOpenFiles(); err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	b.dir, err = os.MkdirTemp(dir, "minicloud-bench-s3-")
	return err
}

// installed are the servers that were asked for and are there, with their programs;
// of one that is not it says so.
func installed(names string, programs map[string]*string) (found []server, err error) {
	var known []string
	for _, s := range servers {
		known = append(known, s.name)
	}
	chosen, err := proc.Chosen(names, known)
	if err != nil {
		return nil, err
	}
	for _, s := range servers {
		if !chosen(s.name) {
			continue
		}
		path, err := proc.LookUp(*programs[s.name])
		if err == nil {
			path, err = filepath.Abs(path)
		}
		switch {
		case err == nil:
			s.program = path
			found = append(found, s)
		case s.name == ours:
			return nil, fmt.Errorf("our object store (make build makes it): %w", err)
		case !strings.Contains(*programs[s.name], "/"):
			fmt.Fprintf(os.Stderr, "%s is skipped: not installed\n", s.title)
		default:
			return nil, err
		}
	}
	return found, nil
}

// run measures and prints, each table as soon as it is complete.
func (b *bench) run(ctx context.Context, which *regexp.Regexp) error {
	if err := b.startServers(ctx); err != nil {
		return err
	}
	objects, large := b.needed(which)
	if err := b.fill(ctx, objects, large); err != nil {
		return err
	}
	all := findings{objects: b.objects}
	failed := 0
	for _, w := range workloads {
		if !which.MatchString(w.name) {
			continue
		}
		rows, err := b.measure(ctx, w)
		if err != nil {
			return err
		}
		c := compare(w, rows)
		c.print(os.Stdout, b.objects)
		all.comparisons = append(all.comparisons, c)
		for _, f := range c.figures {
			if f.failed != "" {
				failed++
			}
		}
	}
	printWritten(os.Stdout, all.comparisons)
	if which.MatchString(startWork) {
		rows, err := b.starts(ctx)
		if err != nil {
			return err
		}
		printStarts(os.Stdout, rows, b.objects)
		all.starts = rows
		for _, r := range rows {
			if r.failed != "" {
				failed++
			}
		}
	}
	if slices.ContainsFunc(b.servers, func(s server) bool { return s.name == ours }) {
		report.PrintBars(os.Stdout, all.bars())
	}
	b.printMachine(ctx, os.Stdout, all)
	if failed > 0 {
		return fmt.Errorf("%d rows failed", failed)
	}
	return nil
}

// needed is how many objects of each size the workloads read.
func (b *bench) needed(which *regexp.Regexp) (objects, large int) {
	for _, w := range workloads {
		switch n := w.stored(b.objects); {
		case !which.MatchString(w.name):
		case w.bucket() == bucketLarge:
			large = n
		default:
			objects = max(objects, n)
		}
	}
	if which.MatchString(startWork) {
		objects = b.objects
	}
	return objects, large
}
