package httpapi

import (
	"context"
	"encoding/json"
	"strconv"
	"time"
)

// What the cache did for a read: the values of the header X-Cache.
const (
	hit    = "hit"
	miss   = "miss"
	bypass = "bypass" // not asked, or it gave no usable answer
)

// A cacheClient is what this service needs of the cache store;
// minicloud.internal/services/cache/client is one.
type cacheClient interface {
	// Get returns a value, or on a miss a lease for Set.
	Get(ctx context.Context, key string) (value string, lease uint64, found bool, err error)
	// Set stores unless the key was set or deleted since the lease was given.
	Set(ctx context.Context, key, value string, ttl time.Duration, lease uint64) (stored bool, err error)
	// Delete removes the key and revokes its leases.
	Delete(ctx context.Context, key string) error
}

// spellCache is the cache of spells. A cache that fails costs a read at most
// timeout, and then nothing for the breaker's pause.
type spellCache struct {
	client  cacheClient
	breaker breaker
	part    *part
	timeout time.Duration
	ttl     time.Duration
}

func cacheKey(id int64) string { return "spell:" + strconv.FormatInt(id, 10) }

// get returns the spell on a hit, and a lease on a miss.
func (c *spellCache) get(ctx context.Context, id int64) (spell Spell, lease uint64, outcome string) {
	if !c.breaker.allow() {
		return Spell{}, 0, bypass
	}
	var value string
	var found bool
	err := c.call(ctx, func(ctx context.Context) (err error) {
		value, lease, found, err = c.client.Get(ctx, cacheKey(id))
		return err
	})
	if err != nil {
		return Spell{}, 0, bypass
	}
	if !found {
		return Spell{}, lease, miss
	}
	if json.Unmarshal([]byte(value), &spell) != nil || spell.ID != id {
		// Somebody else wrote under this key. Without it the next read has a lease.
		_ = c.delete(ctx, id)
		return Spell{}, 0, bypass
	}
	return spell, 0, hit
}

// set stores what was loaded under a lease, and reports whether the cache took
// it, which it does only if nobody invalidated the key since.
func (c *spellCache) set(ctx context.Context, spell Spell, lease uint64) (stored bool) {
	value, _ := json.Marshal(spell) // numbers and strings: cannot fail
	err := c.call(ctx, func(ctx context.Context) (err error) {
		stored, err = c.client.Set(ctx, cacheKey(spell.ID), string(value), c.ttl, lease)
		return err
	})
	return err == nil && stored
}

// delete invalidates a spell. It asks in a pause too: to skip a read costs a
// little time, to skip this would leave a stale spell.
func (c *spellCache) delete(ctx context.Context, id int64) error {
	return c.call(ctx, func(ctx context.Context) error { return c.client.Delete(ctx, cacheKey(id)) })
}

// watch asks a cache that does not answer whether it is back, in each pause once,
// until ctx ends. Without it only the next request would find out, and health
// would call the cache missing for as long as none comes.
func (c *spellCache) watch(ctx context.Context) {
	for sleep(ctx, c.breaker.pause) {
		if c.part.down.Load() && c.breaker.allow() {
			_ = c.delete(ctx, 0) // no spell has this id; how it ends is reported already
		}
	}
}

func (c *spellCache) call(ctx context.Context, f func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err := f(limited)
	switch {
	case err == nil:
		c.breaker.report(true)
		c.part.found()
	case ctx.Err() == nil: // else the caller gave up, which says nothing of the cache
		c.breaker.report(false)
		c.part.lost(err)
	}
	return err
}
