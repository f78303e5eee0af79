//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"minicloud.internal/bench/internal/report"
)

// A figure is what the rounds of one server under one workload come to: the
// median of each value by itself.
type figure struct {
	server server
	failed string

	perSecond float64
	spread    float64 // half the range of perSecond over the rounds, as a share of it
	p50, p99  time.Duration
	cpu       time.Duration // per request, of the server's processes
	generator time.Duration // the same of the generator's
	inUse     float64       // cores, of both together
	elsewhere float64       // cores, of everything else on the machine
	peak      int64
	written   float64 // bytes per byte stored; 0 where nothing is
}

func summarize(r row) figure {
	f := figure{server: r.server, failed: r.failed, peak: r.peak}
	for _, round := range r.rounds {
		if round.Requests == 0 && f.failed == "" {
			f.failed = "a round without an answer"
		}
	}
	if f.failed != "" {
		return f
	}
	perSecond := func(l loadResult) float64 { return float64(l.Requests) / l.Elapsed.Seconds() }
	each := func(cpu time.Duration, l loadResult) time.Duration { return cpu / time.Duration(l.Requests) }
	f.perSecond, f.spread = report.MedianAndSpread(r.rounds, perSecond)
	f.p50 = report.Median(r.rounds, func(l loadResult) time.Duration { return l.P50 })
	f.p99 = report.Median(r.rounds, func(l loadResult) time.Duration { return l.P99 })
	f.cpu = report.Median(r.rounds, func(l loadResult) time.Duration { return each(l.Server, l) })
	f.generator = report.Median(r.rounds, func(l loadResult) time.Duration { return each(l.Generator, l) })
	both := func(l loadResult) time.Duration { return l.Server + l.Generator }
	f.inUse = report.Median(r.rounds, func(l loadResult) float64 { return both(l).Seconds() / l.Elapsed.Seconds() })
	f.elsewhere = report.Median(r.rounds, func(l loadResult) float64 {
		return max(0, (l.Machine-both(l)).Seconds()/l.Elapsed.Seconds())
	})
	if r.stored > 0 {
		f.written = float64(r.written) / float64(r.stored)
	}
	return f
}

// A comparison is the figures of all servers under one workload.
type comparison struct {
	workload workload
	figures  []figure
	rounds   int // measurements
	noisy    int // those of them beside which something else ran
}

func compare(w workload, rows []row) comparison {
	c := comparison{workload: w}
	for _, r := range rows {
		if r.absent {
			continue
		}
		c.figures = append(c.figures, summarize(r))
		for _, round := range r.rounds {
			c.rounds++
			if disturbed(round) {
				c.noisy++
			}
		}
	}
	return c
}

// of finds a server's figure, where it counts.
func (c comparison) of(name string) (figure, bool) {
	i := slices.IndexFunc(c.figures, func(f figure) bool { return f.server.name == name && f.failed == "" })
	if i < 0 {
		return figure{}, false
	}
	return c.figures[i], true
}

// bestPeer is the one with the most requests per second.
func (c comparison) bestPeer() (best figure, ok bool) {
	for _, f := range c.figures {
		if f.server.name != ours && f.failed == "" && (!ok || f.perSecond > best.perSecond) {
			best, ok = f, true
		}
	}
	return best, ok
}

// print writes the table of one workload.
func (c comparison) print(w io.Writer, objects int) {
	fmt.Fprintf(w, "### %s\n\n", c.workload.title(objects))
	fmt.Fprintln(w, "| server | requests/s | p50 | p99 | CPU µs/request | peak resident | requests/s to MinIO | to best peer |")
	fmt.Fprintln(w, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	base, _ := c.of(minio)
	best, peers := c.bestPeer()
	for _, f := range c.figures {
		if f.failed != "" {
			fmt.Fprintf(w, "| %s | failed: %s | | | | | | |\n", f.server.title, report.Cell(f.failed))
			continue
		}
		toBest := ""
		switch {
		case peers && f.server.name == best.server.name:
			toBest = "**best**"
		case peers:
			toBest = report.Ratio(f.perSecond, best.perSecond)
		}
		fmt.Fprintf(w, "| %s | %s%s ±%.0f %% | %s | %s | %s | %s | %s | %s |\n", f.server.title, rate(f.perSecond),
			c.workload.throughput(f.perSecond), 100*f.spread, report.Span(f.p50), report.Span(f.p99), report.Micros(f.cpu),
			report.Megabytes(f.peak), report.Ratio(f.perSecond, base.perSecond), toBest)
	}
	fmt.Fprintln(w)
	if others := c.others(); others != "" {
		fmt.Fprintf(w, "CPU µs/request of the generator, cores in use by both, and by everything else: %s.\n\n", others)
	}
}

// title is the workload's name and what it stands for in this run.
func (w workload) title(objects int) string {
	switch w.kind {
	case list:
		return fmt.Sprintf("%s, of %s", w.name, report.Thousands(float64(objects)))
	case get:
		return fmt.Sprintf("%s, any of %s objects", w.name, report.Thousands(float64(w.stored(objects))))
	}
	return w.name
}

// throughput is what large objects come to.
func (w workload) throughput(perSecond float64) string {
	if w.size < megabyte {
		return ""
	}
	return fmt.Sprintf(" (%.0f MB/s)", perSecond*float64(w.size)/1e6)
}

// others tells what the requests cost beside the server, so that a reader sees
// whether the server was what limited them.
func (c comparison) others() string {
	var all []string
	for _, f := range c.figures {
		if f.failed == "" {
			all = append(all, fmt.Sprintf("%s %s, %.2f, %.2f", f.server.title, report.Micros(f.generator), f.inUse, f.elsewhere))
		}
	}
	return strings.Join(all, "; ")
}

// rate prints a number with three digits or more.
func rate(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return report.Thousands(v)
}

// printWritten writes the table of what is written for what is stored, unless it is
// empty.
func printWritten(w io.Writer, all []comparison) {
	all = slices.DeleteFunc(slices.Clone(all), func(c comparison) bool { return !c.workload.writes() })
	if len(all) == 0 {
		return
	}
	fmt.Fprint(w, "### Bytes written per byte stored\n\n| server |")
	for _, c := range all {
		fmt.Fprintf(w, " %s |", c.workload.name)
	}
	fmt.Fprintf(w, "\n| --- |%s\n", strings.Repeat(" ---: |", len(all)))
	for i := range all[0].figures {
		fmt.Fprintf(w, "| %s |", all[0].figures[i].server.title)
		for _, c := range all {
			if f := c.figures[i]; f.failed == "" {
				fmt.Fprintf(w, " %.2f |", f.written)
			} else {
				fmt.Fprint(w, " failed |")
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "\nFrom /proc/<pid>/io: pages made dirty, which the file system's own journal and inodes are not.\n\n")
}

// printStarts writes the table of memory and start, unless it is empty.
func printStarts(w io.Writer, rows []startRow, objects int) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "### Memory, and start with %s objects\n\n", report.Thousands(float64(objects)))
	fmt.Fprintln(w, "| server | start to first answer | slowest | resident without objects | with all, idle | peak of this run |")
	fmt.Fprintln(w, "| --- | ---: | ---: | ---: | ---: | ---: |")
	for _, r := range rows {
		if r.failed != "" {
			fmt.Fprintf(w, "| %s | failed: %s | | | | |\n", r.server.title, report.Cell(r.failed))
			continue
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", r.server.title, report.Span(median(r.starts)), report.Span(slices.Max(r.starts)),
			report.Megabytes(r.fresh), report.Megabytes(r.idle), report.Megabytes(r.peak))
	}
	fmt.Fprintln(w)
}

func median(all []time.Duration) time.Duration {
	return report.Median(all, func(d time.Duration) time.Duration { return d })
}
