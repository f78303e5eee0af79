//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/bench/internal/proc"
	"minicloud.internal/dns/peers"
)

// A perQuery is what one of ours allocates.
type perQuery struct {
	kind        peers.Kind
	allocations float64 // heap objects per query
}

// allocations measures what ours allocate per query in the steady state, from the
// runtime's count in their metrics. What the reading itself allocates is measured
// first, without load, and taken off.
func (b *bench) allocations(ctx context.Context) (all []perQuery, err error) {
	for _, w := range workloads {
		if w.cores != 1 || b.programs[w.ours] == "" {
			continue
		}
		b.progress.Show("allocations of %s", w.ours.Title())
		n, err := b.allocationsOf(ctx, w)
		if err != nil {
			return nil, err
		}
		all = append(all, perQuery{w.ours, n})
	}
	return all, nil
}

func (b *bench) allocationsOf(ctx context.Context, w workload) (perQuery float64, err error) {
	var t *tree
	if w.resolve {
		if t, err = b.grow(ctx, 0); err != nil {
			return 0, err
		}
		defer t.stop()
	}
	running, err := b.startServers(ctx, []peers.Kind{w.ours}, 1, t)
	if err != nil {
		return 0, err
	}
	defer stopAll(running)
	e := running[0]
	file := filepath.Join(b.dir, "queries")
	if err := writeQueries(file); err != nil {
		return 0, err
	}
	spec := b.spec(file, 1)
	spec.duration *= 2 // so long that what the reading of the metrics allocates does not show
	warm := spec
	warm.once = true
	for range 2 {
		if _, err := b.runDnsperf(ctx, e.host, e.port, warm); err != nil {
			return 0, err
		}
	}
	var m [4]float64
	for i := range 3 { // the first grows buffers
		if m[i], err = mallocs(ctx, e.Admin()); err != nil {
			return 0, err
		}
	}
	result, err := b.runDnsperf(ctx, e.host, e.port, spec)
	if err != nil {
		return 0, err
	}
	if text := result.wrong(); text != "" {
		return 0, errors.New("no allocations measured: " + text)
	}
	if m[3], err = mallocs(ctx, e.Admin()); err != nil {
		return 0, err
	}
	return max(0, m[3]-m[2]-(m[2]-m[1])) / float64(result.Completed), nil
}

// mallocs is how many heap objects a program of ours has allocated so far.
func mallocs(ctx context.Context, admin string) (float64, error) {
	text, err := proc.Fetch(ctx, admin, "/metrics")
	if err != nil {
		return 0, fmt.Errorf("the metrics: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "go_memstats_mallocs_total "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, errors.New("the metrics have no go_memstats_mallocs_total")
}

// A coldRow is how long a resolver took for names of which it knew nothing.
type coldRow struct {
	kind   peers.Kind
	took   []time.Duration
	failed string
}

// resolveCold asks each resolver for names that share nothing but the root: three
// servers are asked for each. The resolvers take turns name by name.
func (b *bench) resolveCold(ctx context.Context) (rows []coldRow, err error) {
	b.progress.Show("cold resolution")
	t, err := b.grow(ctx, b.cold)
	if err != nil {
		return nil, err
	}
	defer t.stop()
	running, err := b.startServers(ctx, resolvers, 1, t)
	if err != nil {
		return nil, err
	}
	defer stopAll(running)
	for _, e := range running {
		rows = append(rows, coldRow{kind: e.Kind})
	}
	client := dns.Client{Timeout: 5 * time.Second}
	for i := range b.cold {
		for j := range running {
			r := &rows[(i+j)%len(running)]
			if r.failed != "" {
				continue
			}
			m := new(dns.Msg)
			m.SetQuestion(fmt.Sprintf("www.d.t%d.", i), dns.TypeA)
			answer, took, err := client.ExchangeContext(ctx, m, running[(i+j)%len(running)].Address.String())
			switch {
			case ctx.Err() != nil:
				return nil, ctx.Err()
			case err != nil:
				r.failed = err.Error()
			case len(answer.Answer) != 1:
				r.failed = fmt.Sprintf("%s for %s", dns.RcodeToString[answer.Rcode], m.Question[0].Name)
			}
			r.took = append(r.took, took)
		}
	}
	return rows, nil
}

// A memoryRow is what a server holds.
type memoryRow struct {
	kind          peers.Kind
	resolver      bool
	before, after int64 // resident: after the start, and with everything
	failed        string
}

// cachedNames is for how many the bar is meant.
const cachedNames = 100_000

// settle is how long a server idles before what it holds is read.
const settle = 3 * time.Second

// memory measures what the servers hold: those with the zone after all its names
// were asked for, the resolvers with so many names in their cache.
func (b *bench) memory(ctx context.Context) (rows []memoryRow, err error) {
	queries, many := filepath.Join(b.dir, "queries"), filepath.Join(b.dir, "names")
	if err := writeQueries(queries); err != nil {
		return nil, err
	}
	if err := writeNames(many, b.cached); err != nil {
		return nil, err
	}
	t, err := b.grow(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer t.stop()
	for _, w := range workloads {
		if w.cores != 1 {
			continue
		}
		for _, k := range w.kinds {
			b.progress.Show("memory of %s", k.Title())
			r := memoryRow{kind: k, resolver: w.resolve}
			if b.programs[k] == "" {
				continue
			}
			of, file := (*tree)(nil), queries
			if w.resolve {
				of, file = t, many
			}
			if err := b.memoryOf(ctx, &r, of, file); err != nil {
				return nil, err
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func (b *bench) memoryOf(ctx context.Context, r *memoryRow, t *tree, file string) error {
	running, err := b.startServers(ctx, []peers.Kind{r.kind}, 1, t)
	if err != nil {
		return err
	}
	defer stopAll(running)
	e := running[0]
	if r.before, err = proc.Resident(e.pids); err != nil {
		return err
	}
	result, err := b.runDnsperf(ctx, e.host, e.port, allOf(file))
	if err != nil {
		return err
	}
	if result.Lost > 0 || r.resolver && result.Codes["NOERROR"] != int64(b.cached) {
		r.failed = fmt.Sprintf("%d lost, %v", result.Lost, result.Codes)
		return nil
	}
	if r.resolver {
		if r.failed, err = b.allCached(ctx, e, t, file); r.failed != "" || err != nil {
			return err
		}
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return ctx.Err()
	}
	r.after, err = proc.Resident(e.pids)
	return err
}

// allOf is the load that asks for everything in a file, once.
func allOf(file string) loadSpec { return loadSpec{file: file, once: true, threads: 1, clients: 1} }

// allCached asks for all names again, and tells whether the name server noticed: a
// query costs it some microseconds.
func (b *bench) allCached(ctx context.Context, e endpoint, t *tree, file string) (failed string, err error) {
	pids, err := proc.Tree(t.servers[2].PID())
	if err != nil {
		return "", err
	}
	before, err := proc.CPU(pids)
	if err != nil {
		return "", err
	}
	if _, err := b.runDnsperf(ctx, e.host, e.port, allOf(file)); err != nil {
		return "", err
	}
	after, err := proc.CPU(pids)
	if asked := (after - before) / (4 * time.Microsecond); asked > time.Duration(b.cached/100) {
		failed = fmt.Sprintf("some %d of the names were asked for again", asked)
	}
	return failed, err
}
