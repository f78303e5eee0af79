//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"minicloud.internal/bench/internal/proc"
	"minicloud.internal/bench/internal/report"
)

// A bench is one run: what was asked for, and the backends, which stay.
type bench struct {
	exe      string // this program
	lb       string // the load balancer's
	dir      string // for everything that is written
	rounds   int
	duration time.Duration
	profiles string // directory, or empty
	progress report.Progress
	proxies  []proxy
	ports    proc.FreePorts

	backend, sink endpoint
}

// An endpoint is a process that answers at an address.
type endpoint struct {
	*proc.Process
	address string
	admin   string
	pids    []int
}

// startBackends starts nginx, and the sink for uploads.
func (b *bench) startBackends(ctx context.Context) (err error) {
	address, err := b.ports.Take()
	if err != nil {
		return err
	}
	program, err := proc.LookUp("nginx")
	if err != nil {
		return fmt.Errorf("nginx is the backend of all: %w", err)
	}
	at, err := newPlace(b.dir, "backend", address, "", "")
	if err != nil {
		return err
	}
	for _, w := range workloads {
		if w.upload == 0 && w.path != "/small" {
			if err := os.WriteFile(filepath.Join(at.Dir, w.path), w.answer(false), 0o644); err != nil {
				return err
			}
		}
	}
	file, err := writeConfig(at, "nginx.conf", backendConfig)
	if err != nil {
		return err
	}
	if b.backend, err = b.start(ctx, at, "nginx", "/healthz", program, nil, nginxArgs(at.Dir, file)...); err != nil {
		return err
	}
	address, err = b.ports.Take()
	if err != nil {
		return err
	}
	at, err = newPlace(b.dir, "sink", address, "", "")
	if err != nil {
		return err
	}
	b.sink, err = b.start(ctx, at, "sink", "/healthz", b.exe, nil, "serve-sink", address)
	return err
}

func (b *bench) stopBackends() {
	for _, e := range []endpoint{b.backend, b.sink} {
		if e.Process != nil {
			e.Stop()
		}
	}
}

// start starts a program and waits until it answers a GET of the path with 200.
func (b *bench) start(ctx context.Context, at place, name, path, program string, env []string, args ...string) (endpoint, error) {
	p, err := proc.Start(at.Dir, name, program, env, args...)
	if err != nil {
		return endpoint{}, err
	}
	err = p.Answers(ctx, at.Listen, path)
	pids, err2 := p.PIDs()
	if err = errors.Join(err, err2); err != nil {
		p.Stop()
		return endpoint{}, err
	}
	return endpoint{Process: p, address: at.Listen, admin: at.Admin, pids: pids}, nil
}

// target is the backend of a workload.
func (b *bench) target(w workload) endpoint {
	if w.upload > 0 {
		return b.sink
	}
	return b.backend
}

// startProxy starts one in front of the workload's backend.
func (b *bench) startProxy(ctx context.Context, p proxy, w workload) (e endpoint, err error) {
	listen, err := b.ports.Take()
	if err != nil {
		return e, err
	}
	admin, err := b.ports.Take()
	if err != nil {
		return e, err
	}
	at, err := newPlace(b.dir, p.name, listen, admin, b.target(w).address)
	if err != nil {
		return e, err
	}
	file := ""
	if p.config != "" {
		if file, err = writeConfig(at, p.file, p.config); err != nil {
			return e, err
		}
	}
	// Caddy looks for its directories below these.
	env := []string{"HOME=" + at.Dir, "XDG_CONFIG_HOME=" + at.Dir, "XDG_DATA_HOME=" + at.Dir}
	path := w.path
	if w.upload > 0 {
		path = "/healthz"
	}
	return b.start(ctx, at, p.name, path, p.program, env, p.args(at, file)...)
}

// A row is what was found of one proxy under one workload.
type row struct {
	proxy  proxy
	rounds []loadResult
	failed string // why it does not count, or empty
}

// measure runs one workload through all proxies, which stand side by side and
// take turns; each round begins with another one. Of ours it measures the
// allocations per request, under one workload; they are negative elsewhere.
func (b *bench) measure(ctx context.Context, w workload) (rows []row, allocations float64, err error) {
	var running []endpoint
	defer func() {
		for _, e := range running {
			e.Stop()
		}
	}()
	for _, p := range b.proxies {
		e, err := b.startProxy(ctx, p, w)
		if err != nil {
			return nil, 0, err
		}
		running = append(running, e)
		rows = append(rows, row{proxy: p})
	}
	defer b.progress.Show("")
	for round := range b.rounds {
		for i := range rows {
			at := (i + round) % len(rows)
			if rows[at].failed != "" {
				continue
			}
			b.progress.Show("%s, round %d of %d: %s", w.name, round+1, b.rounds, rows[at].proxy.title)
			if err := b.round(ctx, w, &rows[at], running[at]); err != nil {
				return nil, 0, err
			}
		}
	}
	allocations, err = b.extra(ctx, w, rows, running)
	return rows, allocations, err
}

// round measures once.
func (b *bench) round(ctx context.Context, w workload, r *row, e endpoint) error {
	// The first time a proxy grows its heap and its pools.
	warmup := 200 * time.Millisecond
	if len(r.rounds) == 0 {
		warmup = time.Second
	}
	result, err := b.load(ctx, w, e, loadSpec{Warmup: warmup, Duration: b.duration}, nil)
	if err != nil {
		return err
	}
	r.rounds = append(r.rounds, result)
	if result.Errors > 0 {
		r.failed = fmt.Sprintf("%d errors, the first: %s", result.Errors, result.FirstError)
	}
	return nil
}

// extra runs the rounds of ours that are not counted.
func (b *bench) extra(ctx context.Context, w workload, rows []row, running []endpoint) (allocations float64, err error) {
	at := slices.IndexFunc(rows, func(r row) bool { return r.proxy.name == ours && r.failed == "" })
	if at < 0 {
		return -1, nil
	}
	allocations = -1
	if w.name == steadyWorkload {
		b.progress.Show("allocations of %s", rows[at].proxy.title)
		if allocations, err = b.allocations(ctx, w, running[at]); err != nil {
			return -1, err
		}
	}
	if b.profiles != "" {
		b.progress.Show("profile of %s", rows[at].proxy.title)
		err = b.profile(ctx, w, running[at])
	}
	return allocations, err
}

// load runs the generator. Where ready is given it is called when the warm-up
// is over, while the load goes on.
func (b *bench) load(ctx context.Context, w workload, e endpoint, spec loadSpec, ready func() error) (result loadResult, err error) {
	spec.Workload, spec.Proxy, spec.Backend = w.name, e.pids, b.target(w).pids
	if spec.Address, err = netip.ParseAddrPort(e.address); err != nil {
		return result, err
	}
	err = proc.Generate(ctx, b.exe, spec, &result, spec.Warmup+spec.Duration+3*proc.Patience, ready)
	return result, err
}

// profile saves a CPU profile of ours under a workload, in a round that is not
// counted, since a profile costs too.
func (b *bench) profile(ctx context.Context, w workload, e endpoint) error {
	seconds := max(2, int(b.duration.Seconds()))
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return err
	}
	file := filepath.Join(b.profiles, report.FileName(w.name)+".pprof")
	spec := loadSpec{Warmup: 200 * time.Millisecond, Duration: time.Duration(seconds)*time.Second + 500*time.Millisecond}
	_, err := b.load(ctx, w, e, spec, func() error {
		text, err := proc.Fetch(ctx, e.admin, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds))
		if err != nil {
			return fmt.Errorf("a profile: %w", err)
		}
		return os.WriteFile(file, text, 0o644)
	})
	return err
}

// An idleRow is what a proxy holds.
type idleRow struct {
	proxy           proxy
	before, holding proc.Memory
	failed          string
}

const (
	idleConnections = 10_000
	// settle is how long the connections have been idle when memory is read.
	settle = 4 * time.Second
)

// idle measures what each proxy holds with 10,000 idle connections.
func (b *bench) idle(ctx context.Context) (rows []idleRow, err error) {
	defer b.progress.Show("")
	for _, p := range b.proxies {
		b.progress.Show("%s idle connections: %s", report.Thousands(idleConnections), p.title)
		r, err := b.idleOf(ctx, p)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (b *bench) idleOf(ctx context.Context, p proxy) (r idleRow, err error) {
	w := workloads[0]
	r.proxy = p
	e, err := b.startProxy(ctx, p, w)
	if err != nil {
		return r, err
	}
	defer e.Stop()
	if r.before, err = proc.MemoryOf(e.pids); err != nil {
		return r, err
	}
	result, err := b.load(ctx, w, e, loadSpec{Idle: idleConnections}, func() error {
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return ctx.Err()
		}
		r.holding, err = proc.MemoryOf(e.pids)
		return err
	})
	if err == nil && result.Errors > 0 {
		r.failed = fmt.Sprintf("%d errors, the first: %s", result.Errors, result.FirstError)
	}
	return r, err
}
