//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"minicloud.internal/bench/internal/proc"
)

// printMachine writes what the figures depend on.
func (b *bench) printMachine(ctx context.Context, w io.Writer, all findings) {
	fmt.Fprintf(w, "### The machine\n\n- %s\n", proc.Machine())
	for _, p := range b.proxies {
		fmt.Fprintf(w, "- %s: %s\n", p.title, versionOf(ctx, p))
	}
	fmt.Fprintf(w, "- median of %d rounds of %v; CPU time from the processes' CPU clocks (clock_gettime, nanoseconds), which is what /proc/<pid>/stat has in steps of 10 ms\n", b.rounds, b.duration)
	noisy, rounds := 0, 0
	for _, c := range all.comparisons {
		noisy += c.noisy
		rounds += c.rounds
	}
	fmt.Fprintf(w, "- in %d of %d measurements something else on the machine took more than %.1f cores\n", noisy, rounds, noise)
}

// noise is what the kernel's own threads and this program may take, in cores,
// before a measurement counts as disturbed.
const noise = 0.2

// disturbed tells whether something else ran beside a measurement.
func disturbed(l loadResult) bool {
	return (l.Machine - l.Proxy - l.Backend - l.Generator).Seconds() > noise*l.Elapsed.Seconds()
}

// versionOf is what a proxy says of itself.
func versionOf(ctx context.Context, p proxy) string {
	if p.version == "" {
		return "net/http/httputil of " + runtime.Version()
	}
	return proc.Version(ctx, p.program, p.version)
}
