//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"minicloud.internal/bench/internal/proc"
)

// counters are the two of our metrics that allocations per request come from.
type counters struct {
	mallocs  float64 // heap objects allocated so far
	requests float64 // answered so far
}

// parseCounters reads an exposition of metrics.
func parseCounters(text string) (c counters, err error) {
	mallocs, requests := false, false
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if labels := strings.LastIndexByte(line, '}'); labels > 0 {
			// A label may contain a space.
			name, value, ok = line[:labels+1], strings.TrimSpace(line[labels+1:]), true
		}
		plain, _, _ := strings.Cut(name, "{")
		if !ok || plain != "go_memstats_mallocs_total" && plain != "minicloud_lb_requests_total" {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return c, fmt.Errorf("the metric %s: %w", name, err)
		}
		if plain == "go_memstats_mallocs_total" {
			mallocs, c.mallocs = true, v
		} else {
			requests, c.requests = true, c.requests+v
		}
	}
	if !mallocs || !requests {
		return c, errors.New("the metrics have no go_memstats_mallocs_total or no minicloud_lb_requests_total")
	}
	return c, nil
}

// allocations measures what our load balancer allocates per request in the
// steady state, from its own metrics, in a round that is not counted. What the
// reading of the metrics allocates is measured first, without load, and taken off.
func (b *bench) allocations(ctx context.Context, w workload, e endpoint) (perRequest float64, err error) {
	read := func() (counters, error) {
		text, err := proc.Fetch(ctx, e.admin, "/metrics")
		if err != nil {
			return counters{}, fmt.Errorf("the metrics: %w", err)
		}
		return parseCounters(string(text))
	}
	var c [5]counters
	for i := range 3 { // the first grows buffers
		if c[i], err = read(); err != nil {
			return 0, err
		}
	}
	spec := loadSpec{Warmup: 500 * time.Millisecond, Duration: b.duration + 500*time.Millisecond}
	result, err := b.load(ctx, w, e, spec, func() error {
		if c[3], err = read(); err != nil {
			return err
		}
		select {
		case <-time.After(b.duration):
		case <-ctx.Done():
			return ctx.Err()
		}
		c[4], err = read()
		return err
	})
	if err == nil && (result.Errors > 0 || c[4].requests <= c[3].requests) {
		err = fmt.Errorf("no allocations measured: %d errors in %d answers", result.Errors, result.Checked)
	}
	if err != nil {
		return 0, err
	}
	reading := c[2].mallocs - c[1].mallocs
	return max(0, c[4].mallocs-c[3].mallocs-reading) / (c[4].requests - c[3].requests), nil
}
