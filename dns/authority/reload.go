package authority

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"minicloud.internal/dns/transfer"
)

// A source is where a zone comes from.
type source struct {
	config ZoneConfig
	apex   string
	path   string
	used   []watched     // what was read when the zone was last loaded
	last   []fs.FileInfo // of the same, at the last look
	failed string        // why it could not be loaded, or ""
}

// A watched file is known by its place on disk, its mode, its size and the time
// of its last change; nil where it is not there.
type watched struct {
	path string
	info fs.FileInfo
}

// seen returns what is known of a file that was opened, before it is read, or
// could not be. One that is there and could not be opened for want of something
// else than permission (descriptors) counts as missing: it is tried again.
func seen(path string, file *os.File, err error) watched {
	w := watched{path: path}
	switch {
	case file != nil:
		w.info, _ = file.Stat()
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, errIrregular):
		w.info, _ = os.Stat(path)
	}
	return w
}

func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Mode() == b.Mode() && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// load reads the zone, and remembers from which files.
func (src *source) load() (z *Zone, bad *loadError) {
	z, src.used, bad = loadZone(src.apex, src.path, src.config.Records)
	src.last = nil
	return z, bad
}

// look reports whether a file is not what it was when it was read, and whether
// they all are what they were at the last look.
func (src *source) look() (changed, settled bool) {
	now := make([]fs.FileInfo, len(src.used))
	for i, w := range src.used {
		now[i], _ = os.Stat(w.path) // what is not there is a change as well
		changed = changed || !sameFile(w.info, now[i])
	}
	settled = slices.EqualFunc(src.last, now, sameFile)
	src.last = now
	return changed, settled
}

// settle is the time between the two looks that must see the same before files
// are read: an editor may be in the middle of one, and half a file can be valid.
const settle = 50 * time.Millisecond

// follow loads zones again when that is asked for, and when their files have
// changed, until ctx ends.
func (s *Server) follow(ctx context.Context) {
	every := s.config.ReloadInterval
	timer := time.NewTimer(every)
	defer timer.Stop()
	if every == 0 {
		timer.Stop()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.Hangup:
			_ = s.Reload() // it has logged the errors
		case <-timer.C:
			next := every
			if !s.look() {
				next = min(settle, every)
			}
			timer.Reset(next)
		}
	}
}

// manyNames is from how many names on reading zones leaves so much behind that it
// is worth to be given back: several times what the zones take.
const manyNames = 10_000

// giveBack returns to the system what reading zones with so many names needed.
func giveBack(names int) {
	if names >= manyNames {
		debug.FreeOSMemory()
	}
}

// look loads the zones whose files have changed, and reports whether none is
// still being written.
func (s *Server) look() bool {
	s.loading.Lock()
	defer s.loading.Unlock()
	quiet := true
	for _, src := range s.sources {
		changed, settled := src.look()
		switch {
		case changed && settled:
			_ = s.reload(src, false) // it has logged the error
		case changed:
			quiet = false
		}
	}
	return quiet
}

// loaded tells of a version that is served from now on: in the metrics, and in the
// log of what [Lint] finds, in one line.
func (s *Server) loaded(z *Zone) {
	s.metrics.loaded(z)
	if found := Lint(z); len(found) > 0 {
		s.logger.Warn("a zone is served that has what is hardly meant so; -check tells all of it",
			"zone", z.origin, "warnings", len(found), "first", found[0].String())
	}
}

// Reload reads every zone file again and serves what has changed, from one query
// to the next. A zone that cannot be loaded stays as it was; the error, which is
// logged too, says why.
func (s *Server) Reload() error {
	s.loading.Lock()
	defer s.loading.Unlock()
	var errs []error
	for _, src := range s.sources {
		errs = append(errs, s.reload(src, true))
	}
	return errors.Join(errs...)
}

// reload loads one zone again. An error that is the one before is told again only
// to who has asked for it.
func (s *Server) reload(src *source, asked bool) error {
	old := s.zones.Load().zones[src.apex]
	z, bad := src.load()
	if bad != nil {
		s.metrics.failures.WithLabelValues(old.origin).Inc()
		err := fmt.Errorf("reload the zone %s: %s %w", old.origin, bad.key[1:], bad.err)
		level := slog.LevelError
		if src.failed == err.Error() && !asked {
			level = slog.LevelDebug
		}
		src.failed = err.Error()
		s.logger.Log(context.Background(), level, "a zone was not reloaded, the version before stays", "zone", old.origin, "serial", old.Serial(), "error", err)
		return err
	}
	src.failed = ""
	defer giveBack(len(z.order)) // after Publish, which packs both versions
	if z.equal(old) {
		s.metrics.loaded(z)
		s.logger.Debug("a zone was reloaded without a change", "zone", z.origin, "serial", z.Serial())
		return nil
	}
	if !transfer.Older(old.Serial(), z.Serial()) {
		s.logger.Warn("a zone changed without a higher serial number, so that secondary servers keep what they have",
			"zone", z.origin, "serial", z.Serial(), "before", old.Serial())
	}
	zones := slices.Collect(maps.Values(s.zones.Load().zones))
	s.zones.Store(newZoneSet(append(zones, z)...)) // of two with one name the later
	s.loaded(z)
	s.logger.Info("a zone was reloaded", "zone", z.origin, "serial", z.Serial(), "names", z.Names())
	if err := s.transfers.Publish(z, src.config.Policy); err != nil {
		s.logger.Error("a zone cannot be given to secondary servers", "zone", z.origin, "error", err)
	}
	return nil
}
