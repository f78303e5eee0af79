//go:build linux

package main

import (
	"fmt"
	"strings"

	"minicloud.internal/bench/internal/report"
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

// findings is all that a run has found.
type findings struct {
	comparisons []comparison
	idle        []idleRow // empty when not measured
	allocations float64   // per request; negative when not measured
}

// bars are the lines of the summary for what was run. One that lacks ours or
// the peer, or of which that row failed, is not measured.
func (f findings) bars() []report.Bar {
	var all []report.Bar
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

func (c comparison) costs() report.Bar {
	b := report.Bar{Text: c.workload.name + ": CPU per request <= HAProxy's and nginx's; aim 0.8x", Must: report.Unknown, Aim: report.Unknown}
	if ratios, text, ok := c.against([]string{"haproxy", "nginx"}, cpuRatio); ok {
		b.Measured = text
		b.Must = report.Judge(all(ratios, func(r float64) bool { return r <= 1 }))
		b.Aim = report.Judge(all(ratios, func(r float64) bool { return r <= aimCPU }))
	}
	return b
}

func (c comparison) throughput() report.Bar {
	b := report.Bar{Text: c.workload.name + ": requests/s >= HAProxy's and nginx's", Must: report.Unknown}
	if ratios, text, ok := c.against([]string{"haproxy", "nginx"}, speedRatio); ok {
		b.Measured = text
		b.Must = report.Judge(all(ratios, func(r float64) bool { return r >= 1 }))
	}
	return b
}

func (c comparison) beforeReverseProxy() report.Bar {
	b := report.Bar{Text: c.workload.name + ": CPU per request of ReverseProxy >= 5x ours", Must: report.Unknown}
	inverse := func(mine, theirs figure) float64 { return 1 / cpuRatio(mine, theirs) }
	if ratios, _, ok := c.against([]string{self}, inverse); ok {
		b.Measured = fmt.Sprintf("%.2fx", ratios[0])
		b.Must = report.Judge(ratios[0] >= mustReverse)
	}
	return b
}

func (c comparison) bodies() report.Bar {
	b := report.Bar{Text: c.workload.name + ": requests/s >= 0.9x the best peer's; aim ahead", Must: report.Unknown, Aim: report.Unknown}
	if best, _, ok := c.bestPeers(); ok {
		if ratios, text, ok := c.against([]string{best.proxy.name}, speedRatio); ok {
			b.Measured, b.Must, b.Aim = text, report.Judge(ratios[0] >= mustBodies), report.Judge(ratios[0] > 1)
		}
	}
	return b
}

func (c comparison) newConnections() report.Bar {
	b := report.Bar{Text: c.workload.name + ": requests/s >= nginx's; aim ahead of the best peer", Must: report.Unknown, Aim: report.Unknown}
	if ratios, text, ok := c.against([]string{"nginx"}, speedRatio); ok {
		b.Measured, b.Must = text, report.Judge(ratios[0] >= 1)
	}
	if best, _, ok := c.bestPeers(); ok {
		if ratios, text, ok := c.against([]string{best.proxy.name}, speedRatio); ok {
			if b.Aim = report.Judge(ratios[0] > 1); best.proxy.name != "nginx" {
				b.Measured += ", " + text
			}
		}
	}
	b.Measured = strings.TrimPrefix(b.Measured, ", ")
	return b
}

func (f findings) allocationBar() report.Bar {
	return report.Bar{
		Text:     "allocations per request in the steady state: 0",
		Measured: fmt.Sprintf("%.4f", f.allocations),
		Must:     report.Judge(f.allocations < allocationsZero),
	}
}

func (f findings) idleBar() report.Bar {
	b := report.Bar{Text: report.Thousands(idleConnections) + " idle connections: < 100 MB resident; aim < 60 MB", Must: report.Unknown, Aim: report.Unknown}
	for _, r := range f.idle {
		if r.proxy.name == ours && r.failed == "" {
			held := float64(r.holding.Resident)
			b.Measured, b.Must, b.Aim = report.Megabytes(r.holding.Resident), report.Judge(held < mustIdle), report.Judge(held < aimIdle)
		}
	}
	return b
}
