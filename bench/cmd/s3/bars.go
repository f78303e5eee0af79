//go:build linux

package main

import (
	"fmt"
	"time"

	"minicloud.internal/bench/internal/report"
)

// A goal is what our requests per second are held to under one workload, each as
// a multiple of a peer's; 0 asks for nothing.
type goal struct {
	workload  string
	must      float64 // of MinIO's
	aim       float64
	aimOf     string // a server's name
	described string
}

var goals = []goal{
	{"PUT 4 KB, 32 clients", 7, 12, minio, "requests/s >= 7x MinIO; aim 12x"},
	{"GET 4 KB, 32 clients", 3, 5, minio, "requests/s >= 3x MinIO; aim 5x"},
	{"GET 1 MB, 8 clients", 1, 0.9, nginx, "requests/s >= MinIO; aim 0.9x nginx"},
	{"PUT 1 MB, 8 clients", 1, 1.5, minio, "requests/s >= MinIO; aim 1.5x"},
	{"LIST 1,000 keys, 4 clients", 10, 0, "", "requests/s >= 10x MinIO"},
}

// Of memory and start.
const (
	mustIdle  = 25e6
	mustPeak  = 120e6
	mustStart = 300 * time.Millisecond
)

// findings is all that a run has found.
type findings struct {
	objects     int
	comparisons []comparison
	starts      []startRow // empty when not measured
}

// bars are the lines of the summary for what was run. One that lacks ours or the
// peer, or of which that row failed, is not measured.
func (f findings) bars() (all []report.Bar) {
	for _, c := range f.comparisons {
		for _, g := range goals {
			if g.workload == c.workload.name {
				all = append(all, g.judge(c))
			}
		}
	}
	for _, r := range f.starts {
		if r.server.name == ours {
			all = append(all, r.bars(f.objects)...)
		}
	}
	return all
}

// judge compares ours with the peers of a goal.
func (g goal) judge(c comparison) report.Bar {
	b := report.Bar{Text: g.workload + ": " + g.described, Must: report.Unknown}
	if g.aim > 0 {
		b.Aim = report.Unknown
	}
	mine, ok := c.of(ours)
	if !ok {
		return b
	}
	if theirs, ok := c.of(minio); ok {
		b.Measured = report.Ratio(mine.perSecond, theirs.perSecond) + " " + theirs.server.title
		b.Must = report.Judge(mine.perSecond >= g.must*theirs.perSecond)
	}
	if theirs, ok := c.of(g.aimOf); ok {
		if g.aimOf != minio {
			if b.Measured != "" {
				b.Measured += ", "
			}
			b.Measured += report.Ratio(mine.perSecond, theirs.perSecond) + " " + theirs.server.title
		}
		b.Aim = report.Judge(mine.perSecond >= g.aim*theirs.perSecond)
	}
	return b
}

func (r startRow) bars(objects int) []report.Bar {
	memory := report.Bar{Text: "resident, idle with all objects < 25 MB, and under load < 120 MB", Must: report.Unknown}
	start := report.Bar{Text: fmt.Sprintf("start with %s objects to the first answer < 300 ms", report.Thousands(float64(objects))), Must: report.Unknown}
	if r.failed == "" {
		memory.Measured = report.Megabytes(r.idle) + ", " + report.Megabytes(r.peak)
		memory.Must = report.Judge(r.idle < mustIdle && r.peak < mustPeak)
		start.Measured = report.Span(median(r.starts))
		start.Must = report.Judge(median(r.starts) < mustStart)
	}
	return []report.Bar{memory, start}
}
