// Package httpapi is the book of spells: the application that the cloud
// carries. It answers /api/spells over HTTP and writes a picture of every spell
// to object storage.
//
// # The path of a request
//
// kit.HTTPServer gives a request its id and trace; the chi router (routes.go)
// finds the handler (spells.go).
//
// A read of one spell asks the cache first (reader.go). A miss comes with a
// lease; one load per spell at a time reads the data store (store.go) and stores
// the value under its lease, which the cache refuses where the spell was changed
// in the meantime. Nothing else fills the cache, and absence is not cached.
//
// A write (store.go) puts the row and an event into one transaction, deletes the
// cache key, wakes the relay and answers. The relay (relay.go) moves the events
// from the outbox to the message queue in order. The consumer (consumer.go) takes
// them from there, in whichever replica, and brings the card in object storage
// (card.go) to what the data store says now.
//
// # Invariants
//
//   - A committed change is never without its event: both are one transaction,
//     and the event leaves the outbox only after the queue has acknowledged it.
//   - An event is a hint that a spell changed, never the change itself. The
//     consumer reads the data store, writes, and reads again until both agree, so
//     an event that runs twice, late, or beside another ends in the same state.
//   - A cached spell that was replaced or deleted is gone from the cache when
//     the answer is sent. Where the cache did not answer, the event deletes the
//     key later, and at the latest the entry expires with its TTL.
//   - Two replicas that start together create and seed the schema once, and a
//     seed that was deleted stays deleted.
//
// # Health
//
// /healthz is 503 until the schema is there. After that, a data store that does
// not answer leaves it at 200, "OK, reduced: data-store: …": with both replicas
// at 503 the load balancer would send its own error, and nobody would read the
// problem document that says what to do, nor get the spells that the cache still
// has. A cache, queue or object storage that does not answer reduces it too.
//
// # Goroutines
//
// [API.Serve] owns all of them: the HTTP server, the schema's (ends when the
// schema is there), the relay, the consumer, the watch over a cache that is down,
// the connection pool's, and the loads of spells, which outlive the request that
// began them but not Serve. At the end HTTP drains, the relay runs once more, the
// consumer finishes what it holds, the pool closes.
//
// What it does not do: it authenticates nobody, it does not cache lists, and it
// does not speak TLS; the load balancer stands in front of it.
package httpapi
