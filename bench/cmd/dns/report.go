//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"minicloud.internal/bench/internal/proc"
	"minicloud.internal/bench/internal/report"
	"minicloud.internal/dns/peers"
)

// A figure is what the rounds of one server under one workload come to: the median
// of each value by itself.
type figure struct {
	kind   peers.Kind
	failed string

	perSecond float64
	spread    float64       // half the range of perSecond over the rounds, as a share of it
	cpu       time.Duration // per query, of the server's processes
	cpuSpread float64       // the same of the CPU time
	average   time.Duration // latency
	generator time.Duration // CPU per query, of dnsperf
	inUse     float64       // cores, of both together
	elsewhere float64       // cores, of everything else on the machine
	held      int64
}

func summarize(r row) figure {
	f := figure{kind: r.kind, failed: r.failed, held: r.held}
	if f.failed == "" && len(r.rounds) == 0 {
		f.failed = "not measured"
	}
	if f.failed != "" {
		return f
	}
	perSecond := func(l loadResult) float64 { return float64(l.Completed) / l.Elapsed.Seconds() }
	cpu := func(l loadResult) time.Duration { return l.Server / time.Duration(l.Completed) }
	both := func(l loadResult) time.Duration { return l.Server + l.Generator }
	f.perSecond, f.spread = report.MedianAndSpread(r.rounds, perSecond)
	nanoseconds, spread := report.MedianAndSpread(r.rounds, func(l loadResult) float64 { return float64(cpu(l)) })
	f.cpu, f.cpuSpread = time.Duration(nanoseconds), spread
	f.average = report.Median(r.rounds, func(l loadResult) time.Duration { return l.Average })
	f.generator = report.Median(r.rounds, func(l loadResult) time.Duration { return l.Generator / time.Duration(l.Completed) })
	f.inUse = report.Median(r.rounds, func(l loadResult) float64 { return both(l).Seconds() / l.Elapsed.Seconds() })
	f.elsewhere = report.Median(r.rounds, func(l loadResult) float64 {
		return max(0, (l.Machine-both(l)).Seconds()/l.Elapsed.Seconds())
	})
	return f
}

// A comparison is the figures of all servers under one workload.
type comparison struct {
	workload workload
	figures  []figure
	rounds   int // measurements
	noisy    int // those of them beside which something else ran
}

// noise is what the kernel's own threads and this program may take, in cores, before
// a measurement counts as disturbed.
const noise = 0.2

func compare(w workload, rows []row) comparison {
	c := comparison{workload: w}
	for _, r := range rows {
		c.figures = append(c.figures, summarize(r))
		for _, l := range r.rounds {
			c.rounds++
			if (l.Machine - l.Server - l.Generator).Seconds() > noise*l.Elapsed.Seconds() {
				c.noisy++
			}
		}
	}
	return c
}

// of finds a server's figure, where it counts.
func (c comparison) of(k peers.Kind) (figure, bool) {
	i := slices.IndexFunc(c.figures, func(f figure) bool { return f.kind == k && f.failed == "" })
	if i < 0 {
		return figure{}, false
	}
	return c.figures[i], true
}

// print writes the table of one workload.
func (c comparison) print(w io.Writer) {
	base := c.workload.base.Title()
	fmt.Fprintf(w, "### %s\n\n", c.workload.name)
	fmt.Fprintf(w, "| server | queries/s | CPU µs/query | average latency | resident | CPU to %s | queries/s to %s |\n", base, base)
	fmt.Fprintln(w, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
	to, _ := c.of(c.workload.base)
	var others []string
	for _, f := range c.figures {
		if f.failed != "" {
			fmt.Fprintf(w, "| %s | failed: %s | | | | | |\n", f.kind.Title(), report.Cell(f.failed))
			continue
		}
		fmt.Fprintf(w, "| %s | %s ±%.0f %% | %.2f ±%.0f %% | %s | %s | %s | %s |\n", f.kind.Title(), report.Thousands(f.perSecond), 100*f.spread,
			micros(f.cpu), 100*f.cpuSpread, report.Span(f.average), report.Megabytes(f.held),
			report.Ratio(f.cpu.Seconds(), to.cpu.Seconds()), report.Ratio(f.perSecond, to.perSecond))
		others = append(others, fmt.Sprintf("%s %.2f, %.2f, %.2f", f.kind.Title(), micros(f.generator), f.inUse, f.elsewhere))
	}
	fmt.Fprintf(w, "\nCPU µs/query of dnsperf, cores in use by both, and by everything else: %s.\n\n", strings.Join(others, "; "))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func printAllocations(w io.Writer, all []perQuery) {
	fmt.Fprint(w, "### Allocations\n\n| server | heap objects per query |\n| --- | ---: |\n")
	for _, a := range all {
		fmt.Fprintf(w, "| %s | %.5f |\n", a.kind.Title(), a.allocations)
	}
	fmt.Fprintln(w)
}

func printCold(w io.Writer, rows []coldRow) {
	fmt.Fprint(w, "### Cold resolution through three levels\n\n| server | median | p90 | slowest | names |\n| --- | ---: | ---: | ---: | ---: |\n")
	for _, r := range rows {
		if r.failed != "" {
			fmt.Fprintf(w, "| %s | failed: %s | | | |\n", r.kind.Title(), report.Cell(r.failed))
			continue
		}
		sorted := slices.Sorted(slices.Values(r.took))
		fmt.Fprintf(w, "| %s | %s | %s | %s | %d |\n", r.kind.Title(), report.Span(r.median()), report.Span(sorted[len(sorted)*9/10]),
			report.Span(sorted[len(sorted)-1]), len(sorted))
	}
	fmt.Fprintln(w)
}

func (r coldRow) median() time.Duration {
	return report.Median(r.took, func(d time.Duration) time.Duration { return d })
}

func printMemory(w io.Writer, rows []memoryRow) {
	fmt.Fprint(w, "### Resident memory\n\n| server | holds | after the start | with everything |\n| --- | --- | ---: | ---: |\n")
	for _, r := range rows {
		holds := fmt.Sprintf("a zone of %s names", report.Thousands(names))
		if r.resolver {
			holds = "names in its cache"
		}
		if r.failed != "" {
			fmt.Fprintf(w, "| %s | %s | failed: %s | |\n", r.kind.Title(), holds, report.Cell(r.failed))
			continue
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", r.kind.Title(), holds, report.Megabytes(r.before), report.Megabytes(r.after))
	}
	fmt.Fprintln(w)
}

// printMachine writes what the figures depend on.
func (b *bench) printMachine(ctx context.Context, w io.Writer, all findings) {
	fmt.Fprintf(w, "### The machine\n\n- %s\n", proc.Machine())
	for _, version := range b.versions {
		fmt.Fprintf(w, "- %s\n", version)
	}
	fmt.Fprintf(w, "- dnsperf %s, %d queries on their way at a time\n", b.dnsperfVersion(ctx), outstanding)
	fmt.Fprintf(w, "- median of %d rounds of %v, ± half of the range; CPU time from the processes' CPU clocks (clock_gettime, nanoseconds)\n", b.rounds, b.duration)
	if b.edns {
		fmt.Fprintln(w, "- queries with EDNS")
	}
	if b.cached != cachedNames && len(all.memory) > 0 {
		fmt.Fprintf(w, "- %s names in the caches INSTEAD OF %s, for which the bar of memory is meant\n", report.Thousands(float64(b.cached)), report.Thousands(cachedNames))
	}
	noisy, rounds := 0, 0
	for _, c := range all.comparisons {
		noisy += c.noisy
		rounds += c.rounds
	}
	if rounds == 0 {
		return
	}
	fmt.Fprintf(w, "- in %d of %d measurements something else on the machine took more than %.1f cores\n", noisy, rounds, noise)
}
