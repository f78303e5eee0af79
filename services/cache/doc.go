// Package cache is the cloud's cache: strings by key, bounded in bytes, with a
// time to live for each entry and leases against stale writes, behind an HTTP
// door.
//
// # The path of a request
//
// GET /get/{key} ([door]) becomes [Store.GetOrLease]: a hit takes no lock. A
// miss takes the lock of the key's stripe and hands out a lease. POST /set
// becomes [Store.Set] and DELETE /delete/{key} [Store.Delete]; both take the
// stripe's lock around the check of the lease, the change, and the revocation of
// the key's leases.
//
// # Leases
//
// A cache beside a database has a race: a reader misses, reads the old row, and
// stores it after a writer has changed the row and deleted the key. Leases close
// it, after Nishtala et al., "Scaling Memcache at Facebook" (NSDI 2013), section
// 3.2.1: a miss gives a token, a set with the token is refused once a delete or
// set of the key came in between, and so nothing stale is stored.
//
// Concurrent misses of a key share its lease: the first set wins, and the
// others' are refused, which costs nothing, since theirs is no newer. A lease is
// valid for lease_time, and there are at most max_leases; one that has ended or
// had to give way refuses its set, so that forgetting is always safe. Leases are
// filed under a hash of the key: two keys that collide revoke each other's,
// which is safe as well. What is not closed: a writer that changes the row and
// dies before its delete. Time to live bounds that.
//
// # Invariants
//
//   - An entry is never returned at or after its deadline, evicted or not.
//   - A set with a lease stores only if no set and no delete of the key came
//     since the miss that gave it, whatever runs concurrently.
//   - The weight of all entries (key, value and a fixed overhead) is at most
//     max_memory, but for a moment during a write. Which entry goes is W-TinyLFU's
//     choice: one that is used rarely and not lately.
//   - Time to live runs on the monotonic clock.
//
// # Who owns each goroutine
//
// [Server.Serve] owns one, which removes what has expired once a second. The
// engine's maintenance runs on the goroutine of the request that makes it due.
//
// # What it does not do
//
// It persists nothing and replicates nothing: a restart starts empty, and leases
// from before it are refused. Values are strings. The Redis protocol is a second
// door on [Store].
package cache
