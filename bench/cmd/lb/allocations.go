//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
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

// windows is in how many spans of time allocations are counted. The least counts:
// what is read after a garbage collection has to be built anew, by the thousand, which
// no request is to blame for; what each request allocates is in all of them.
const windows = 3

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
	var idle [3]counters
	for i := range idle { // the first grows buffers
		if idle[i], err = read(); err != nil {
			return 0, err
		}
	}
	reading := idle[2].mallocs - idle[1].mallocs
	var loaded [windows + 1]counters
	// Longer than for other rounds, until each loop has as many connections to the
	// target as its share of these clients takes.
	spec := loadSpec{Warmup: 2 * time.Second, Duration: windows*b.duration + 500*time.Millisecond}
	result, err := b.load(ctx, w, e, spec, func() error {
		for i := range loaded {
			if i > 0 {
				select {
				case <-time.After(b.duration):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			if loaded[i], err = read(); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && (result.Errors > 0 || loaded[windows].requests <= loaded[0].requests) {
		err = fmt.Errorf("no allocations measured: %d errors in %d answers", result.Errors, result.Checked)
	}
	if err != nil {
		return 0, err
	}
	return leastPerRequest(loaded[:], reading), nil
}

// leastPerRequest returns the least number of allocations per request between two
// readings, each of which allocates so much itself.
func leastPerRequest(readings []counters, each float64) float64 {
	least := math.Inf(1)
	for i := 1; i < len(readings); i++ {
		before, after := readings[i-1], readings[i]
		if requests := after.requests - before.requests; requests > 0 {
			least = min(least, max(0, after.mallocs-before.mallocs-each)/requests)
		}
	}
	return least
}
