package lb

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"time"

	"minicloud.internal/kit"
)

// Reload makes cfg the configuration, for the requests that come. What did not
// change goes on: targets with their health, their connections, and whoever was
// drained; pools with their queues; routes with their counters and rate limits;
// and every request under way, WebSockets included, also those of a target that
// is no more. An error means that cfg is invalid, and that nothing was changed.
//
// The keys that all services have, and reuse_port, count at a start only; Reload
// keeps the old values, and logs which of them differ. Dial stays as it is.
func (lb *LoadBalancer) Reload(cfg Config) error {
	lb.reloading.Lock()
	defer lb.reloading.Unlock()
	err := lb.apply(cfg)
	if err != nil {
		lb.reloads.failed.Add(1)
		return err
	}
	lb.reloads.good.Add(1)
	return nil
}

func (lb *LoadBalancer) apply(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	old := lb.now.Load()
	for _, key := range cfg.takeOver(&old.cfg) {
		lb.log.Warn("a changed key counts at the next start", "key", key)
	}
	s, err := lb.build(cfg, old.table)
	if err != nil {
		return err
	}
	lb.engine.Use(settings(&s.cfg, s.table))
	lb.use(s)
	return nil
}

// takeOver gives c what only a start changes from the configuration in force, and
// returns the keys that differed.
func (c *Config) takeOver(old *Config) (changed []string) {
	for _, k := range []struct {
		key     string
		changed bool
	}{
		{"listen", c.Listen != old.Listen},
		{"admin", c.Admin != old.Admin},
		{"log_level", c.LogLevel != old.LogLevel},
		{"log_format", c.LogFormat != old.LogFormat},
		{"reuse_port", c.ReusePort != old.ReusePort},
	} {
		if k.changed {
			changed = append(changed, k.key)
		}
	}
	c.Common, c.ReusePort, c.Dial = old.Common, old.ReusePort, old.Dial
	return changed
}

// differs reports whether a reload with cfg would change or say anything.
func (lb *LoadBalancer) differs(cfg Config) bool {
	old := lb.now.Load().cfg
	changed := cfg.takeOver(&old)
	cfg.Dial, old.Dial = nil, nil // cannot be compared, and are the same
	return len(changed) > 0 || !reflect.DeepEqual(cfg, old)
}

// watch reloads the configuration file when that is asked for, and when its
// content has changed, until ctx ends.
func (lb *LoadBalancer) watch(ctx context.Context, file string) {
	w := watchedFile{name: file}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-lb.Hangup:
			asked = true
		case <-timer.C:
		}
		changed, err := w.look()
		if err != nil && w.missing == patienceWithFile {
			lb.log.Warn("the configuration file cannot be read, everything stays as it is", "error", err)
		}
		if asked {
			w.used = w.seen
		}
		if asked || changed {
			if err := lb.reloadFile(w.name, asked); errors.Is(err, fs.ErrNotExist) {
				w = watchedFile{name: w.name} // it is being replaced; what comes is new
			}
		}
		timer.Stop()
		switch every := lb.now.Load().cfg.Watch; {
		case w.seen != w.used:
			timer.Reset(settle)
		case every > 0:
			timer.Reset(every)
		}
	}
}

// reloadFile loads the file again. Unless somebody asked for it, a file that says
// what is in force already is not worth a word.
func (lb *LoadBalancer) reloadFile(file string, asked bool) error {
	cfg := DefaultConfig()
	err := kit.LoadConfig(file, &cfg)
	switch {
	case err != nil:
		lb.reloads.failed.Add(1)
	case !asked && !lb.differs(cfg):
		return nil
	default:
		err = lb.Reload(cfg)
	}
	if err != nil {
		lb.log.Error("configuration not reloaded, the one before stays", "error", err)
		return err
	}
	lb.log.Info("configuration reloaded", "file", file)
	return nil
}

const (
	// settle is the time between the two looks that must see the same before a
	// file is loaded: an editor that writes it in place may be in the middle, and
	// half a file can be a valid one.
	settle = 50 * time.Millisecond
	// patienceWithFile is how many looks in a row may find no file until that is
	// reported: one is the moment in which it is replaced.
	patienceWithFile = 3
)

// A watchedFile is known by its content: names, times and inodes say little where a
// directory is mounted, or a link replaced.
type watchedFile struct {
	name       string
	seen, used [sha256.Size]byte // at the last look, and when it was last loaded
	missing    int               // looks in a row that could not read it
}

// look reports whether the file is to be loaded: it is not what it was when it
// was last loaded, and no longer changing.
func (w *watchedFile) look() (changed bool, err error) {
	text, err := os.ReadFile(w.name)
	if err != nil {
		w.missing++
		w.seen = w.used
		return false, err
	}
	w.missing = 0
	sum := sha256.Sum256(text)
	changed = sum == w.seen && sum != w.used
	w.seen = sum
	if changed {
		w.used = sum
	}
	return changed, nil
}
