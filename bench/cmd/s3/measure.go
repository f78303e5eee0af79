//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"minicloud.internal/bench/internal/proc"
	"minicloud.internal/bench/internal/report"
)

// A bench is one run: what was asked for, and the servers, which stay.
type bench struct {
	exe      string // this program
	dir      string // for everything that is written
	rounds   int
	duration time.Duration
	objects  int
	profiles string // directory, or empty
	progress report.Progress
	servers  []server
	ports    proc.FreePorts
	seed     uint64 // of the last round

	running []*endpoint // of each server
}

// An endpoint is a server that runs, and what it has held and written.
type endpoint struct {
	server
	place
	process *proc.Process
	pids    []int

	fresh int64 // resident, without an object
	peak  int64 // resident, over everything so far
}

// up starts a server and waits until it answers a request with 200. It returns the
// time from the start of the process to the end of that answer.
func (e *endpoint) up(ctx context.Context, first func(signer) request) (took time.Duration, err error) {
	began := time.Now()
	if e.process, err = e.server.start(e.place); err != nil {
		return 0, err
	}
	if !e.s3 {
		// A server of files has no request that is always answered with 200.
		first = nil
	}
	if err = e.answers(ctx, first); err == nil {
		took = time.Since(began)
		e.pids, err = e.process.PIDs()
	}
	if err != nil {
		e.process.Stop()
	}
	return took, err
}

// startTime is how long a server may take to its first answer.
const startTime = 6 * proc.Patience

// answers tries a request until it is answered as it should be; without one, until
// a connection is accepted.
func (e *endpoint) answers(ctx context.Context, first func(signer) request) error {
	deadline := time.Now().Add(startTime)
	for {
		c, err := dial(e.Listen, deadline)
		if err == nil {
			if first != nil {
				r := first(signer{e.Listen})
				_, err = c.do(&r)
			}
			_ = c.Close()
		}
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not answer: %w: %s", e.title, err, e.process.Tail())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.process.Ended():
			return fmt.Errorf("%s has ended: %s", e.title, e.process.Tail())
		case <-time.After(time.Millisecond):
		}
	}
}

// startServers starts all of them, and reads what they hold when they have settled.
func (b *bench) startServers(ctx context.Context) error {
	b.progress.Show("starting")
	for _, s := range b.servers {
		listen, err := b.ports.Take()
		if err != nil {
			return err
		}
		admin, err := b.ports.Take()
		if err != nil {
			return err
		}
		at, err := newPlace(b.dir, s.name, listen, admin)
		if err != nil {
			return err
		}
		if err := s.writeConfig(at); err != nil {
			return err
		}
		e := &endpoint{server: s, place: at}
		list := func(s signer) request { return s.request("GET", "/", nil, nil, "") }
		if _, err := e.up(ctx, list); err != nil {
			return err
		}
		b.running = append(b.running, e)
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	for _, e := range b.running {
		// nginx takes connections before it has its workers.
		var err error
		if e.pids, err = e.process.PIDs(); err != nil {
			return err
		}
		if e.fresh, err = proc.Resident(e.pids); err != nil {
			return err
		}
	}
	return nil
}

// settle is how long a server idles before what it holds is read.
const settle = 3 * time.Second

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stopServers ends all.
func (b *bench) stopServers() {
	var all sync.WaitGroup
	for _, e := range b.running {
		all.Go(e.process.Stop)
	}
	all.Wait()
}

// fill gives every server the objects that are read, all at once, since nothing is
// measured but the whole time.
func (b *bench) fill(ctx context.Context, objects, large int) error {
	b.progress.Show("writing %d objects to each server", objects+large)
	errs := make([]error, len(b.running))
	var all sync.WaitGroup
	for i, e := range b.running {
		all.Go(func() {
			if !e.s3 {
				errs[i] = writeFiles(e.place, min(objects, readObjects), large)
				return
			}
			spec := loadSpec{Address: e.Listen, Objects: objects, Large: large}
			if err := proc.Generate(ctx, b.exe, spec, nil, fillTime+proc.Patience, nil); err != nil {
				errs[i] = fmt.Errorf("fill %s: %w", e.title, err)
			}
		})
	}
	all.Wait()
	syscall.Sync()
	return errors.Join(append(errs, b.peaks(nil))...)
}

// peaks notes what the servers have held at most, and begins anew. A row gets
// what was found of its server.
func (b *bench) peaks(rows []row) error {
	for i, e := range b.running {
		peak, err := proc.Peak(e.pids)
		if err != nil {
			return fmt.Errorf("%s: %w", e.title, err)
		}
		if e.peak = max(e.peak, peak); rows != nil {
			rows[i].peak = peak
		}
		if err := proc.ResetPeak(e.pids); err != nil {
			return fmt.Errorf("%s: %w", e.title, err)
		}
	}
	return nil
}

// A row is what was found of one server under one workload.
type row struct {
	server  server
	rounds  []loadResult
	failed  string // why it does not count, or empty
	absent  bool   // it takes no part
	peak    int64  // resident, over all rounds
	stored  int64  // bytes, in all rounds, warm-ups included
	written int64  // bytes to the disk meanwhile
}

// measure runs one workload through all servers, which stand side by side and
// take turns; each round begins with another one.
func (b *bench) measure(ctx context.Context, w workload) (rows []row, err error) {
	defer b.progress.Show("")
	if err := b.peaks(nil); err != nil {
		return nil, err
	}
	for _, e := range b.running {
		r := row{server: e.server, absent: !w.of(e.server)}
		if w.writes() && !r.absent {
			if r.written, err = proc.Written(e.pids); err != nil {
				return nil, err
			}
		}
		rows = append(rows, r)
	}
	for round := range b.rounds {
		for i := range rows {
			at := (i + round) % len(rows)
			if rows[at].failed != "" || rows[at].absent {
				continue
			}
			b.progress.Show("%s, round %d of %d: %s", w.name, round+1, b.rounds, rows[at].server.title)
			if err := b.round(ctx, w, &rows[at], b.running[at]); err != nil {
				return nil, err
			}
		}
	}
	for i, e := range b.running {
		if w.writes() && !rows[i].absent {
			now, err := proc.Written(e.pids)
			if err != nil {
				return nil, err
			}
			rows[i].written = now - rows[i].written
		}
	}
	if err := b.peaks(rows); err != nil {
		return nil, err
	}
	return rows, b.profile(ctx, w)
}

// round measures once.
func (b *bench) round(ctx context.Context, w workload, r *row, e *endpoint) error {
	// The first time a server grows its heap and its pools.
	spec := loadSpec{Warmup: 150 * time.Millisecond, Duration: b.duration, Prepare: 2000}
	if n := len(r.rounds); n > 0 {
		spec.Prepare = int(r.rounds[n-1].Checked * 5 / 4)
	} else {
		spec.Warmup = 600 * time.Millisecond
	}
	if w.kind == multipart && len(r.rounds) > 0 {
		spec.Warmup = 0
	}
	result, err := b.load(ctx, w, e, spec, nil)
	if err != nil {
		return err
	}
	r.rounds = append(r.rounds, result)
	r.stored += result.Stored
	if result.Errors > 0 {
		r.failed = fmt.Sprintf("%d errors, the first: %s", result.Errors, result.FirstError)
	}
	if w.writes() {
		// What one has not written yet would otherwise be written while the
		// next one is measured.
		syscall.Sync()
	}
	return nil
}

// load runs the generator.
func (b *bench) load(ctx context.Context, w workload, e *endpoint, spec loadSpec, ready func() error) (result loadResult, err error) {
	b.seed++
	spec.Workload, spec.Address, spec.ETags, spec.Server = w.name, e.Listen, e.s3, e.pids
	spec.Objects, spec.Large, spec.Seed = b.objects, readLarge, b.seed
	err = proc.Generate(ctx, b.exe, spec, &result, spec.Warmup+spec.Duration+12*proc.Patience, ready)
	return result, err
}

// profile saves a CPU profile of ours under a workload, where that was asked for,
// in a round that is not counted, since a profile costs too.
func (b *bench) profile(ctx context.Context, w workload) error {
	at := slices.IndexFunc(b.running, func(e *endpoint) bool { return e.name == ours })
	if b.profiles == "" || at < 0 {
		return nil
	}
	e := b.running[at]
	b.progress.Show("%s, profile of %s", w.name, e.title)
	seconds := max(2, int(b.duration.Seconds()))
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return err
	}
	file := filepath.Join(b.profiles, report.FileName(w.name)+".pprof")
	spec := loadSpec{Warmup: 200 * time.Millisecond, Duration: time.Duration(seconds)*time.Second + 500*time.Millisecond}
	_, err := b.load(ctx, w, e, spec, func() error {
		text, err := proc.Fetch(ctx, e.Admin, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds))
		if err != nil {
			return fmt.Errorf("a profile: %w", err)
		}
		return os.WriteFile(file, text, 0o644)
	})
	return err
}
