//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
)

// What the load balancer is held to. A bar of several comparisons is passed
// when all of them are.
const (
	aimCPU          = 0.8 // of HAProxy's and of nginx's
	mustReverse     = 5.0 // ReverseProxy's CPU, in ours
	mustBodies      = 0.9 // of the best peer's requests per second
	mustIdle        = 100e6
	aimIdle         = 60e6
	allocationsZero = 0.01 // per request: health checks and timers allocate a little now and then
)

// A bar is one line of the summary.
type bar struct {
	text     string
	measured string
	must     verdict
	aim      verdict
}

// A verdict is how a bar came out; empty where it asks for nothing.
type verdict string

const (
	pass    verdict = "pass"
	miss    verdict = "MISS"
	unknown verdict = "not measured"
)

func judge(ok bool) verdict {
	if ok {
		return pass
	}
	return miss
}

// findings is all that a run has found.
type findings struct {
	comparisons []comparison
	idle        []idleRow // empty when not measured
	allocations float64   // per request; negative when not measured
}

// bars are the lines of the summary for what was run. One that lacks ours or
// the peer, or of which that row failed, is not measured.
func (f findings) bars() []bar {
	var all []bar
	for _, c := range f.comparisons {
		w := c.workload
		switch {
		case w.fresh:
			all = append(all, c.newConnections())
		case w.path != "/small":
			all = append(all, c.bodies())
		case w.connections > 1:
			all = append(all, c.costs(), c.throughput(), c.beforeReverseProxy())
		}
	}
	if f.allocations >= 0 {
		all = append(all, f.allocationBar())
	}
	if len(f.idle) > 0 {
		all = append(all, f.idleBar())
	}
	return all
}

// against compares ours with each of the named peers that was measured; ok is
// false where nothing can be compared.
func (c comparison) against(names []string, ratio func(mine, theirs figure) float64) (ratios []float64, text string, ok bool) {
	mine, measured := c.of(ours)
	if !measured {
		return nil, "", false
	}
	var parts []string
	for _, name := range names {
		if theirs, ok := c.of(name); ok {
			r := ratio(mine, theirs)
			ratios = append(ratios, r)
			parts = append(parts, fmt.Sprintf("%.2fx %s", r, theirs.proxy.title))
		}
	}
	return ratios, strings.Join(parts, ", "), len(ratios) > 0
}

func cpuRatio(mine, theirs figure) float64   { return float64(mine.cpu) / float64(theirs.cpu) }
func speedRatio(mine, theirs figure) float64 { return mine.perSecond / theirs.perSecond }

func all(ratios []float64, ok func(float64) bool) bool {
	for _, r := range ratios {
		if !ok(r) {
			return false
		}
	}
	return true
}

func (c comparison) costs() bar {
	b := bar{text: c.workload.name + ": CPU per request <= HAProxy's and nginx's; aim 0.8x", must: unknown, aim: unknown}
	if ratios, text, ok := c.against([]string{"haproxy", "nginx"}, cpuRatio); ok {
		b.measured = text
		b.must = judge(all(ratios, func(r float64) bool { return r <= 1 }))
		b.aim = judge(all(ratios, func(r float64) bool { return r <= aimCPU }))
	}
	return b
}

func (c comparison) throughput() bar {
	b := bar{text: c.workload.name + ": requests/s >= HAProxy's and nginx's", must: unknown}
	if ratios, text, ok := c.against([]string{"haproxy", "nginx"}, speedRatio); ok {
		b.measured = text
		b.must = judge(all(ratios, func(r float64) bool { return r >= 1 }))
	}
	return b
}

func (c comparison) beforeReverseProxy() bar {
	b := bar{text: c.workload.name + ": CPU per request of ReverseProxy >= 5x ours", must: unknown}
	inverse := func(mine, theirs figure) float64 { return 1 / cpuRatio(mine, theirs) }
	if ratios, _, ok := c.against([]string{self}, inverse); ok {
		b.measured = fmt.Sprintf("%.2fx", ratios[0])
		b.must = judge(ratios[0] >= mustReverse)
	}
	return b
}

func (c comparison) bodies() bar {
	b := bar{text: c.workload.name + ": requests/s >= 0.9x the best peer's; aim ahead", must: unknown, aim: unknown}
	if best, _, ok := c.bestPeers(); ok {
		if ratios, text, ok := c.against([]string{best.proxy.name}, speedRatio); ok {
			b.measured, b.must, b.aim = text, judge(ratios[0] >= mustBodies), judge(ratios[0] > 1)
		}
	}
	return b
}

func (c comparison) newConnections() bar {
	b := bar{text: c.workload.name + ": requests/s >= nginx's; aim ahead of the best peer", must: unknown, aim: unknown}
	if ratios, text, ok := c.against([]string{"nginx"}, speedRatio); ok {
		b.measured, b.must = text, judge(ratios[0] >= 1)
	}
	if best, _, ok := c.bestPeers(); ok {
		if ratios, text, ok := c.against([]string{best.proxy.name}, speedRatio); ok {
			if b.aim = judge(ratios[0] > 1); best.proxy.name != "nginx" {
				b.measured += ", " + text
			}
		}
	}
	b.measured = strings.TrimPrefix(b.measured, ", ")
	return b
}

func (f findings) allocationBar() bar {
	return bar{
		text:     "allocations per request in the steady state: 0",
		measured: fmt.Sprintf("%.4f", f.allocations),
		must:     judge(f.allocations < allocationsZero),
	}
}

func (f findings) idleBar() bar {
	b := bar{text: thousands(idleConnections) + " idle connections: < 100 MB resident; aim < 60 MB", must: unknown, aim: unknown}
	for _, r := range f.idle {
		if r.proxy.name == ours && r.failed == "" {
			held := float64(r.holding.resident)
			b.measured, b.must, b.aim = megabytes(r.holding.resident), judge(held < mustIdle), judge(held < aimIdle)
		}
	}
	return b
}

// printBars writes the summary, unless it is empty.
func printBars(w io.Writer, bars []bar) {
	if len(bars) == 0 {
		return
	}
	fmt.Fprint(w, "### Against the bars\n\n| bar | measured | must | aim |\n| --- | --- | --- | --- |\n")
	for _, b := range bars {
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", b.text, b.measured, b.must, b.aim)
	}
	fmt.Fprintln(w)
}
