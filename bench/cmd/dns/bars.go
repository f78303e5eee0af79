//go:build linux

package main

import (
	"fmt"
	"time"

	"minicloud.internal/bench/internal/report"
	"minicloud.internal/dns/peers"
)

// What ours are held to.
const (
	mustKnot        = 1.2 // CPU per query, of Knot's
	mustCoreDNS     = 0.5
	aimKnot         = 1.0
	mustUnbound     = 1.0
	aimUnbound      = 0.8
	mustCold        = 3 * time.Millisecond
	mustAuthority   = 20e6
	mustResolver    = 80e6
	allocationsZero = 0.01 // per query: timers and the runtime allocate a little now and then
)

// findings is all that a run has found.
type findings struct {
	comparisons []comparison
	allocations []perQuery
	cold        []coldRow
	memory      []memoryRow
}

// failed is how many rows do not count.
func (f findings) failed() (n int) {
	for _, c := range f.comparisons {
		for _, one := range c.figures {
			if one.failed != "" {
				n++
			}
		}
	}
	for _, r := range f.cold {
		if r.failed != "" {
			n++
		}
	}
	for _, r := range f.memory {
		if r.failed != "" {
			n++
		}
	}
	return n
}

// bars are the lines of the summary for what was run. One that lacks ours or a peer,
// or of which that row failed, is not measured.
func (f findings) bars() (all []report.Bar) {
	for _, c := range f.comparisons {
		if c.workload.resolve {
			all = append(all, c.against(c.workload.name+": CPU per query <= Unbound; aim 0.8x",
				limit{peers.Unbound, mustUnbound, aimUnbound}))
		} else {
			all = append(all, c.against(c.workload.name+": CPU per query <= 1.2x Knot, <= 0.5x CoreDNS; aim Knot",
				limit{peers.Knot, mustKnot, aimKnot}, limit{peers.CoreDNS, mustCoreDNS, 0}))
		}
	}
	for _, a := range f.allocations {
		all = append(all, report.Bar{Text: a.kind.Title() + ": allocations per query on the hot path: 0",
			Measured: fmt.Sprintf("%.5f", a.allocations), Must: report.Judge(a.allocations < allocationsZero)})
	}
	for _, r := range f.cold {
		if r.kind.Ours() {
			b := report.Bar{Text: "cold resolution through three levels: median < 3 ms", Must: report.Unknown}
			if r.failed == "" {
				b.Measured, b.Must = report.Span(r.median()), report.Judge(r.median() < mustCold)
			}
			all = append(all, b)
		}
	}
	for _, r := range f.memory {
		if !r.kind.Ours() {
			continue
		}
		b, must := report.Bar{Text: "resident, authoritative: < 20 MB", Must: report.Unknown}, mustAuthority
		if r.resolver {
			b.Text, must = "resident, resolver with 100,000 names cached: < 80 MB", mustResolver
		}
		if r.failed == "" {
			b.Measured, b.Must = report.Megabytes(r.after), report.Judge(float64(r.after) < must)
		}
		all = append(all, b)
	}
	return all
}

// A limit is what our CPU per query may be, as a multiple of a peer's; an aim of 0
// asks for nothing.
type limit struct {
	of        peers.Kind
	must, aim float64
}

// against judges ours by the limits that were measured; a bar is passed when all of
// them are, and not measured where one is missing that would decide.
func (c comparison) against(text string, limits ...limit) report.Bar {
	b := report.Bar{Text: text, Must: report.Unknown, Aim: report.Unknown}
	mine, ok := c.of(c.workload.ours)
	if !ok {
		return b
	}
	must, measured := true, 0
	for _, l := range limits {
		theirs, ok := c.of(l.of)
		if !ok {
			continue
		}
		measured++
		ratio := float64(mine.cpu) / float64(theirs.cpu)
		if b.Measured != "" {
			b.Measured += ", "
		}
		b.Measured += fmt.Sprintf("%.2fx %s", ratio, l.of.Title())
		must = must && ratio <= l.must
		if l.aim > 0 {
			b.Aim = report.Judge(ratio <= l.aim)
		}
	}
	if measured == len(limits) || !must {
		b.Must = report.Judge(must)
	}
	return b
}
