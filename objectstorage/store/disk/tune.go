package disk

import (
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// reserveSize is the space held back for the database: enough for the log of
// what is under way when the disk turns out to be full. None where the free
// space is not looked at.
func reserveSize(minFree int64) int64 { return min(minFree/4, 16<<20) }

// pebbleOptions keep the memory small: the cache, and at most four memtables.
// Bodies are separated from the tables when a memtable is flushed, so that a
// compaction moves references: for 100,000 objects of 4 KiB, 2.1 bytes were
// written for each byte stored, log included, and 4.0 without.
//
// The cache is made here, and not by Pebble, for [Store.countAndSettle].
func pebbleOptions(o Options) *pebble.Options {
	opts := &pebble.Options{
		Cache:                       pebble.NewCache(o.CacheSize),
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                8 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		MaxOpenFiles:                512,
		MaxManifestFileSize:         4 << 20,
		// A flush makes one table and one file of bodies, and not one for each 2 MiB:
		// at 100,000 objects of 4 KiB that is a third of the files to make, to sync and
		// to know of.
		TargetFileSizes:            [7]int64{8 << 20, 4 << 20},
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
	}
	opts.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled:               true,
			MinimumSize:           1 << 10,
			MaxBlobReferenceDepth: 10,
			RewriteMinimumAge:     5 * time.Minute,
			TargetGarbageRatio:    0.3,
		}
	}
	opts.Experimental.SpanPolicyFunc = spanPolicy
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return opts
}

// spanPolicy keeps the values of all rows but bodies in the tables, where a
// listing reads them in passing.
func spanPolicy(start []byte) (policy pebble.SpanPolicy, end []byte, err error) {
	records := pebble.SpanPolicy{ValueStoragePolicy: pebble.ValueStorageLowReadLatency}
	switch {
	case len(start) == 0 || start[0] < rowBody:
		return records, []byte{rowBody}, nil
	case start[0] == rowBody:
		return pebble.SpanPolicy{}, []byte{rowBody + 1}, nil
	}
	return records, nil, nil
}
