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

// A figure is what the rounds of one proxy under one workload come to: the
// median of each value by itself.
type figure struct {
	proxy  proxy
	failed string

	perSecond float64
	spread    float64 // half the range of perSecond over the rounds, as a share of it
	p50, p99  time.Duration
	cpu       time.Duration // per request, of the proxy's processes
	backend   time.Duration // the same of the backend's
	generator time.Duration // and of the generator's
	inUse     float64       // cores, of all three together
	elsewhere float64       // cores, of everything else on the machine
}

func summarize(r row) figure {
	f := figure{proxy: r.proxy, failed: r.failed}
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
	f.cpu = report.Median(r.rounds, func(l loadResult) time.Duration { return each(l.Proxy, l) })
	f.backend = report.Median(r.rounds, func(l loadResult) time.Duration { return each(l.Backend, l) })
	f.generator = report.Median(r.rounds, func(l loadResult) time.Duration { return each(l.Generator, l) })
	three := func(l loadResult) time.Duration { return l.Proxy + l.Backend + l.Generator }
	f.inUse = report.Median(r.rounds, func(l loadResult) float64 { return three(l).Seconds() / l.Elapsed.Seconds() })
	f.elsewhere = report.Median(r.rounds, func(l loadResult) float64 {
		return max(0, (l.Machine-three(l)).Seconds()/l.Elapsed.Seconds())
	})
	return f
}

// A comparison is the figures of all proxies under one workload.
type comparison struct {
	workload workload
	figures  []figure
	rounds   int // measurements
	noisy    int // those of them beside which something else ran
}

func compare(w workload, rows []row) comparison {
	c := comparison{workload: w}
	for _, r := range rows {
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

// of finds a proxy's figure, where it counts.
func (c comparison) of(name string) (figure, bool) {
	i := slices.IndexFunc(c.figures, func(f figure) bool { return f.proxy.name == name && f.failed == "" })
	if i < 0 {
		return figure{}, false
	}
	return c.figures[i], true
}

// bestPeers are the peer with the most requests per second and the one with the
// least CPU per request; ok is false without a peer that counts.
func (c comparison) bestPeers() (fastest, cheapest figure, ok bool) {
	for _, f := range c.figures {
		if f.proxy.name == ours || f.failed != "" {
			continue
		}
		if !ok || f.perSecond > fastest.perSecond {
			fastest = f
		}
		if !ok || f.cpu < cheapest.cpu {
			cheapest = f
		}
		ok = true
	}
	return fastest, cheapest, ok
}

// print writes the table of one workload.
func (c comparison) print(w io.Writer) {
	fmt.Fprintf(w, "### %s\n\n", c.workload.name)
	fmt.Fprintln(w, "| proxy | requests/s | p50 | p99 | CPU µs/request | CPU to best peer | requests/s to best peer |")
	fmt.Fprintln(w, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
	fastest, cheapest, peers := c.bestPeers()
	for _, f := range c.figures {
		if f.failed != "" {
			fmt.Fprintf(w, "| %s | failed: %s | | | | | |\n", f.proxy.title, report.Cell(f.failed))
			continue
		}
		cpu, perSecond := "", ""
		if peers {
			cpu = report.Ratio(f.cpu.Seconds(), cheapest.cpu.Seconds())
			if f.proxy.name == cheapest.proxy.name {
				cpu = "**best**"
			}
			perSecond = report.Ratio(f.perSecond, fastest.perSecond)
			if f.proxy.name == fastest.proxy.name {
				perSecond = "**best**"
			}
		}
		fmt.Fprintf(w, "| %s | %s ±%.0f %% | %s | %s | %s | %s | %s |\n", f.proxy.title,
			report.Thousands(f.perSecond), 100*f.spread, report.Span(f.p50), report.Span(f.p99), report.Micros(f.cpu), cpu, perSecond)
	}
	fmt.Fprintln(w)
	if others := c.others(); others != "" {
		fmt.Fprintf(w, "CPU µs/request of the backend and of the generator, cores in use by all three, and by everything else: %s.\n\n", others)
	}
}

// others tells what the requests cost beside the proxy, so that a reader sees
// whether the proxy was what limited them.
func (c comparison) others() string {
	var all []string
	for _, f := range c.figures {
		if f.failed == "" {
			all = append(all, fmt.Sprintf("%s %s, %s, %.2f, %.2f", f.proxy.title, report.Micros(f.backend), report.Micros(f.generator), f.inUse, f.elsewhere))
		}
	}
	return strings.Join(all, "; ")
}

// printIdle writes the table of what 10,000 connections hold.
func printIdle(w io.Writer, rows []idleRow) {
	fmt.Fprintf(w, "### %s idle keep-alive connections, each after one request\n\n", report.Thousands(idleConnections))
	fmt.Fprintln(w, "| proxy | resident (Rss) | shared pages once (Pss) | resident before | per connection |")
	fmt.Fprintln(w, "| --- | ---: | ---: | ---: | ---: |")
	for _, r := range rows {
		if r.failed != "" {
			fmt.Fprintf(w, "| %s | failed: %s | | | |\n", r.proxy.title, report.Cell(r.failed))
			continue
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %.1f KB |\n", r.proxy.title, report.Megabytes(r.holding.Resident),
			report.Megabytes(r.holding.Proportional), report.Megabytes(r.before.Resident),
			float64(r.holding.Resident-r.before.Resident)/idleConnections/1e3)
	}
	fmt.Fprintln(w)
}
