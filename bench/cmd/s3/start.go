//go:build linux

package main

import (
	"context"
	"time"

	"minicloud.internal/bench/internal/proc"
)

// A startRow is how one server starts with all objects there, and what it holds.
type startRow struct {
	server server
	starts []time.Duration // from the start of the process to the first answer
	fresh  int64           // resident after the first start, without an object
	idle   int64           // and after the last, with all of them
	peak   int64           // resident, over the whole run; 0 where nothing was
	failed string
}

// starts stops every server that speaks S3 and starts it again, several times, and
// takes the time to the first right answer to a signed request, a GET of one of
// the objects. The page cache keeps what it knows meanwhile.
func (b *bench) starts(ctx context.Context) (rows []startRow, err error) {
	defer b.progress.Show("")
	object := newBodies(objectSize).of(0)
	first := func(s signer) request { return s.get(bucketObjects, key(0), object, true) }
	for _, e := range b.running {
		if !e.s3 {
			continue
		}
		r := startRow{server: e.server, fresh: e.fresh, peak: e.peak}
		for i := range b.rounds {
			b.progress.Show("start %d of %d: %s", i+1, b.rounds, e.title)
			e.process.Stop()
			took, err := e.up(ctx, first)
			if err != nil && ctx.Err() == nil {
				r.failed = err.Error()
				break
			}
			if err != nil {
				return nil, err
			}
			r.starts = append(r.starts, took)
		}
		if r.failed == "" {
			if err := pause(ctx, settle); err != nil {
				return nil, err
			}
			if r.idle, err = proc.Resident(e.pids); err != nil {
				return nil, err
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}
