//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"minicloud.internal/bench/internal/proc"
	"minicloud.internal/bench/internal/report"
	"minicloud.internal/dns/peers"
)

// kinds are the servers, in the order of the tables.
var kinds = []peers.Kind{peers.DNSServer, peers.Resolver, peers.Knot, peers.NSD, peers.BIND, peers.Unbound, peers.CoreDNS}

// A workload is a load on a set of servers with so many threads.
type workload struct {
	name    string
	resolve bool // resolvers, from their cache
	cores   int
	kinds   []peers.Kind
	ours    peers.Kind
	base    peers.Kind // what the bars compare with
}

var (
	authoritative = []peers.Kind{peers.DNSServer, peers.Knot, peers.NSD, peers.BIND, peers.CoreDNS}
	resolvers     = []peers.Kind{peers.Resolver, peers.Unbound, peers.BIND}

	workloads = []workload{
		{name: "authoritative, one core", cores: 1, kinds: authoritative, ours: peers.DNSServer, base: peers.Knot},
		{name: "authoritative, two cores", cores: 2, kinds: authoritative, ours: peers.DNSServer, base: peers.Knot},
		{name: "resolver from its cache, one core", cores: 1, resolve: true, kinds: resolvers, ours: peers.Resolver, base: peers.Unbound},
		{name: "resolver from its cache, two cores", cores: 2, resolve: true, kinds: resolvers, ours: peers.Resolver, base: peers.Unbound},
	}
)

// A bench is one run.
type bench struct {
	dir, dnsperf, taskset string
	programs              map[peers.Kind]string
	rounds                int
	duration              time.Duration
	edns                  bool
	cold, cached          int
	profiles              string // directory, or empty
	progress              report.Progress
	versions              []string // of what was started
}

// An endpoint is a server that runs.
type endpoint struct {
	*peers.Server
	host, port string
	pids       []int
}

// begin starts a server with what all have in common.
func (b *bench) begin(ctx context.Context, k peers.Kind, c peers.Config) (e endpoint, err error) {
	c.Program = b.programs[k]
	if c.Threads == 1 {
		c.Prefix = []string{b.taskset, "-c", serverCore}
	}
	if e.Server, err = peers.Start(ctx, k, c); err != nil {
		return e, err
	}
	if version := k.Title() + ": " + peers.Version(ctx, k, e.Program); !slices.Contains(b.versions, version) {
		b.versions = append(b.versions, version)
	}
	if e.host, e.port, err = net.SplitHostPort(e.Address.String()); err == nil {
		e.pids, err = proc.Tree(e.PID())
	}
	if err != nil {
		_ = e.Stop()
	}
	return e, err
}

// With one core the server has this one, and dnsperf the other.
const serverCore, generatorCore = "0", "1"

// startServers starts those of a workload that are there. With a tree it is
// resolvers.
func (b *bench) startServers(ctx context.Context, of []peers.Kind, threads int, t *tree) (all []endpoint, err error) {
	for _, k := range of {
		if b.programs[k] == "" {
			continue
		}
		c := peers.Config{Threads: threads}
		if t == nil {
			c.Zones = []peers.Zone{zoneOfNames("192.0.2.53")}
		} else if c.Hints = t.hints; k.Ours() {
			c.Extra = t.routes
		}
		e, err := b.begin(ctx, k, c)
		if err != nil {
			stopAll(all)
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

func stopAll(all []endpoint) {
	for _, e := range all {
		_ = e.Stop()
	}
}

// A row is what was found of one server under one workload.
type row struct {
	kind   peers.Kind
	rounds []loadResult
	failed string // why it does not count, or empty
	held   int64  // resident, at the end
}

// measure runs one workload through all servers, which stand side by side and take
// turns; each round begins with another one.
func (b *bench) measure(ctx context.Context, w workload) (rows []row, err error) {
	b.progress.Show("%s: starting", w.name)
	var t *tree
	if w.resolve {
		if t, err = b.grow(ctx, 0); err != nil {
			return nil, err
		}
		defer t.stop()
	}
	running, err := b.startServers(ctx, w.kinds, w.cores, t)
	if err != nil {
		return nil, err
	}
	defer stopAll(running)
	file := filepath.Join(b.dir, "queries")
	if err := writeQueries(file); err != nil {
		return nil, err
	}
	spec := b.spec(file, w.cores)
	for _, e := range running {
		// Fills the caches, of the resolvers too, and grows pools.
		warm := spec
		warm.once = true
		if _, err := b.runDnsperf(ctx, e.host, e.port, warm); err != nil {
			return nil, err
		}
		rows = append(rows, row{kind: e.Kind})
	}
	for round := range b.rounds {
		for i := range rows {
			at := (i + round) % len(rows)
			if rows[at].failed != "" {
				continue
			}
			b.progress.Show("%s, round %d of %d: %s", w.name, round+1, b.rounds, rows[at].kind.Title())
			result, err := b.load(ctx, running[at], spec)
			if err != nil {
				return nil, err
			}
			rows[at].rounds = append(rows[at].rounds, result)
			rows[at].failed = result.wrong()
		}
	}
	for i, e := range running {
		if rows[i].held, err = proc.Resident(e.pids); err != nil {
			return nil, err
		}
	}
	return rows, b.profile(ctx, w, running, spec)
}

// spec is the load on servers with so many cores.
func (b *bench) spec(file string, cores int) loadSpec {
	s := loadSpec{file: file, duration: b.duration, threads: cores, clients: 20, edns: b.edns}
	if cores == 1 && runtime.NumCPU() > 1 {
		s.pinned = generatorCore
	}
	return s
}

// load measures once. Only CPU time between the two readings counts; dnsperf's own
// start is in the machine's.
func (b *bench) load(ctx context.Context, e endpoint, spec loadSpec) (result loadResult, err error) {
	server, err := proc.CPU(e.pids)
	if err != nil {
		return result, err
	}
	machine, err := proc.MachineCPU()
	if err != nil {
		return result, err
	}
	if result, err = b.runDnsperf(ctx, e.host, e.port, spec); err != nil {
		return result, err
	}
	after, err := proc.CPU(e.pids)
	if err != nil {
		return result, err
	}
	result.Server = after - server
	if after, err = proc.MachineCPU(); err != nil {
		return result, err
	}
	result.Machine = after - machine
	return result, nil
}

// profile saves a CPU profile of ours under a workload, where that was asked for, in
// a round that is not counted, since a profile costs too.
func (b *bench) profile(ctx context.Context, w workload, running []endpoint, spec loadSpec) error {
	at := slices.IndexFunc(running, func(e endpoint) bool { return e.Kind == w.ours })
	if b.profiles == "" || at < 0 {
		return nil
	}
	b.progress.Show("%s, profile of %s", w.name, w.ours.Title())
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return err
	}
	spec.duration = max(b.duration, 3*time.Second)
	done := make(chan error, 1)
	go func() {
		_, err := b.runDnsperf(ctx, running[at].host, running[at].port, spec)
		done <- err
	}()
	text, err := proc.Fetch(ctx, running[at].Admin(), fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(spec.duration.Seconds())-1))
	if loadErr := <-done; err == nil {
		err = loadErr
	}
	if err != nil {
		return fmt.Errorf("a profile: %w", err)
	}
	return os.WriteFile(filepath.Join(b.profiles, report.FileName(w.name)+".pprof"), text, 0o644)
}
