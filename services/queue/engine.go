package queue

import (
	"github.com/cockroachdb/pebble/v2"

	"minicloud.internal/kit/engine"
)

var (
	// ErrFailed is what every operation returns once the disk has failed, until
	// the service is started again.
	ErrFailed = engine.ErrFailed
	// ErrDiskFull is what Enqueue returns while the disk has too little space.
	ErrDiskFull = engine.ErrDiskFull
)

// openEngine opens or creates the database. Its sizes are for a small footprint:
// a queue's working set is its head and its tail, and most messages die in the
// memtable.
func (s *Store) openEngine() (*engine.Engine, error) {
	return engine.Open(s.cfg.DataDir, engine.Options{
		FS: s.fs, Logger: s.logger, OnFail: s.onFail, MinFree: uint64(s.cfg.MinFree),
		Pebble: &pebble.Options{
			FormatMajorVersion:          pebble.FormatNewest,
			CacheSize:                   4 << 20,
			MemTableSize:                4 << 20,
			MemTableStopWritesThreshold: 4,
			MaxOpenFiles:                256,
			MaxManifestFileSize:         1 << 20,
			CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		},
	})
}
