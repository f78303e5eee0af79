package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"minicloud.internal/kit/engine"
	"minicloud.internal/objectstorage/store"
)

// scrubRows is how many rows a scrub reads at once. It holds no iterator while it
// reads bodies: that would keep old files of the database from being removed.
const scrubRows = 256

type scrubbed struct{ objects, bytes, scrubs atomic.Int64 }

// firstScrub is when the first scrub begins at the latest: a store that is
// started every day would otherwise never see one.
const firstScrub = 10 * time.Minute

// scrub runs a scrub every interval.
func (s *Store) scrub(ctx context.Context) {
	if s.o.ScrubInterval <= 0 {
		return
	}
	for d := min(s.o.ScrubInterval, firstScrub); pause(ctx, d); d = s.o.ScrubInterval {
		if err := s.Scrub(ctx); err != nil && ctx.Err() == nil {
			s.logger.Warn("a scrub broke off", "error", err)
		}
	}
}

// Scrub reads every body once, at [Options.ScrubRate], compares it with its
// checksums, and logs and counts those that are damaged.
func (s *Store) Scrub(ctx context.Context) error {
	pace := &pacer{rate: s.o.ScrubRate, begin: time.Now()}
	for _, kind := range []byte{rowLatest, rowOlder} {
		for at := []byte{kind}; at != nil; {
			rows, err := s.rowsFrom(at, []byte{kind + 1}, scrubRows)
			if err != nil {
				return s.classify("scrub", err)
			}
			at = nil
			for _, r := range rows {
				if err := s.scrubRow(ctx, r, pace); err != nil {
					return err
				}
				at = append(append(at[:0], r.key...), 0)
			}
		}
	}
	s.scrubbed.scrubs.Add(1)
	return nil
}

// rowsFrom returns up to limit rows from lower to before upper.
func (s *Store) rowsFrom(lower, upper []byte, limit int) ([]row, error) {
	return engine.View(s.engine, func(db *pebble.DB) (rows []row, err error) {
		it, err := db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
		for ok := it.First(); ok && len(rows) < limit; ok = it.Next() {
			rows = append(rows, row{append([]byte(nil), it.Key()...), append([]byte(nil), it.Value()...)})
		}
		return rows, nil
	})
}

// scrubRow verifies one version. An error ends the scrub.
func (s *Store) scrubRow(ctx context.Context, r row, pace *pacer) error {
	err := s.verify(ctx, r, pace)
	s.scrubbed.objects.Add(1)
	if err == nil || !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	// It may have been replaced or removed while it was read.
	now, ok, again := s.engine.Get(r.key)
	if again != nil {
		return s.classify("scrub", again)
	}
	if !ok || string(now) != string(r.value) {
		return nil
	}
	if s.damaged.add(r.key) {
		bucket, key := s.nameOf(r.key)
		s.logger.Error("an object is damaged", "bucket", bucket, "key", key, "reason", err)
	}
	return nil
}

// nameOf returns the bucket and the key of a row.
func (s *Store) nameOf(key []byte) (bucket, name string) {
	name = string(key[bucketPrefix:])
	if key[0] == rowOlder {
		name, _, _ = splitID(key)
	}
	id := binary.BigEndian.Uint32(key[1:])
	s.bucketsMu.RLock()
	defer s.bucketsMu.RUnlock()
	for bucket, b := range s.buckets {
		if b.id == id {
			return bucket, name
		}
	}
	return "", name
}

// verify reads the body of a version.
func (s *Store) verify(ctx context.Context, r row, pace *pacer) error {
	rec, err := decodeRecord(r.key, r.value, true)
	if err != nil || rec.marker {
		return err
	}
	parts := []part{{size: rec.size, body: rec.body}}
	if rec.body.kind == bodyManifest {
		if parts, err = s.manifest(rec.body.id); err != nil {
			return err
		}
	}
	for _, p := range parts {
		switch p.body.kind {
		case bodyInline:
			_, err = s.inlineBody(nil, p.body.id, p.size)
			pace.read(p.size)
			s.scrubbed.bytes.Add(p.size)
		case bodyFile:
			err = s.verifyFile(ctx, p.body.id, p.size, pace)
		}
		if err == nil {
			err = pace.wait(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// verifyFile compares a file with the checksums of its blocks.
func (s *Store) verifyFile(ctx context.Context, id uint64, size int64, pace *pacer) error {
	row := idRow(rowSums, id)
	sums, ok, err := s.engine.Get(row)
	switch {
	case err != nil:
		return s.classify("scrub", err)
	case !ok:
		return corrupt("the checksums of the body are missing")
	}
	if sums, err = unseal(row, sums); err != nil {
		return err
	}
	if int64(len(sums)) != (size+blockSize-1)/blockSize*4 {
		return corrupt("the body has %d bytes of checksums", len(sums))
	}
	f, err := s.openFile(id, size)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	buffer := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buffer)
	crc := uint32(0)
	for at := int64(0); at < size; {
		p := (*buffer)[:min(bufferSize, size-at)]
		if n, err := f.ReadAt(p, at); err != nil && (err != io.EOF || n < len(p)) {
			return s.readFailure("scrub", err)
		}
		crc = crc32.Update(crc, castagnoli, p)
		at += int64(len(p))
		if at%blockSize == 0 || at == size {
			block := (at - 1) / blockSize
			if crc != binary.LittleEndian.Uint32(sums[4*block:]) {
				return corrupt("the checksum of the block at %d is wrong: %s", block*blockSize, s.blobPath(id))
			}
			crc = 0
		}
		pace.read(int64(len(p)))
		s.scrubbed.bytes.Add(int64(len(p)))
		if err := pace.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A pacer holds a reader to a rate.
type pacer struct {
	rate  int64 // bytes a second; 0: any
	begin time.Time
	bytes int64
}

func (p *pacer) read(n int64) { p.bytes += n }

// wait returns when so many bytes may have been read, or with ctx's error.
func (p *pacer) wait(ctx context.Context) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	due := time.Duration(float64(p.bytes) / float64(p.rate) * float64(time.Second))
	if ahead := due - time.Since(p.begin); ahead > 10*time.Millisecond && !pause(ctx, ahead) {
		return ctx.Err()
	}
	return ctx.Err()
}
