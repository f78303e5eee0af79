package httpapi

import (
	"context"
)

// A reader reads single spells, cache-aside.
type reader struct {
	cache   *spellCache
	store   *store
	flights flights
	metrics *metrics
}

// spell returns a spell, and what the cache did for it. It never returns what a
// write replaced before the call began, as long as the cache answers:
//
//   - the cache has the spell: every write deletes it there before it is answered;
//   - a load of its own begins after the call, and reads what is committed;
//   - a load that others began is good if the cache took it, since it takes
//     nothing that was read before a deletion. Otherwise the reader asks again.
//
// Past a cache that does not answer, a load that others began is taken as it is;
// it may be older than the call by the time of one query.
func (r *reader) spell(ctx context.Context, id int64) (Spell, string, error) {
	const tries = 3 // to join; after that, a load of its own
	for try := 1; ; try++ {
		spell, lease, outcome := r.cache.get(ctx, id)
		if outcome == hit {
			r.metrics.cache.WithLabelValues(hit).Inc()
			return spell, hit, nil
		}
		if try > tries {
			r.flights.forget(id)
		}
		load := func() (Spell, bool, error) { return r.load(context.WithoutCancel(ctx), id, lease) }
		spell, stored, joined, err := r.flights.do(ctx, flightKey{id, outcome == bypass}, load)
		if err != nil || stored || !joined || outcome == bypass {
			r.metrics.cache.WithLabelValues(outcome).Inc()
			return spell, outcome, err
		}
	}
}

// load reads a spell from the data store and caches it under the lease; 0 is
// none. The store and the cache bound it.
func (r *reader) load(ctx context.Context, id int64, lease uint64) (spell Spell, stored bool, err error) {
	r.metrics.loads.Inc()
	spell, err = r.store.get(ctx, id)
	if err != nil || lease == 0 {
		return spell, false, err
	}
	stored = r.cache.set(ctx, spell, lease)
	if !stored {
		r.metrics.refused.Inc()
	}
	return spell, stored, nil
}

// changed makes reads forget a spell that was replaced or deleted. The error
// says that the cache did not answer: the event of the change does it later.
func (r *reader) changed(ctx context.Context, id int64) error {
	// First the cache: a load that began in between is refused by it.
	err := r.cache.delete(ctx, id)
	r.flights.forget(id)
	return err
}
