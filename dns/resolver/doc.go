// Package resolver is a recursive DNS resolver: it gives any client the answer
// that the name servers of the world have, by asking them from the root down.
//
// The path of a query: package server reads it, checks it and calls
// [Resolver.AnswerFast] on the loop that received it. What the cache holds fresh
// is answered there and then. Everything else goes to [Resolver.Answer]
// (resolver.go), which decides in this order:
//
//  1. a client outside of the allowed networks is REFUSED;
//  2. special-use names (localhost., invalid., the reverse of private networks)
//     are answered here (local.go);
//  3. what the cache knows is answered from it, its TTL counted down;
//  4. a query without the RD bit is REFUSED: it asked for no more than that;
//  5. otherwise one resolution runs for all who ask the same (flight.go): it
//     walks from the root (package iterate), or asks the servers that the zone is
//     forwarded to (forward.go);
//  6. what the cache held before it went stale is the answer where the resolution
//     fails, or takes longer than a client waits (RFC 8767).
//
// Names that are asked for often are resolved anew shortly before their time is
// over (prefetch), so that nobody waits for them.
//
// Invariants: a resolution is bounded in queries and time, and how many run at
// once is; glue is never given to a client; a client that gives up ends only its
// own wait; the cache is bounded in bytes.
//
// Goroutines: those of package server, of [iterate.Iterator.Run], and one per
// resolution, all joined by [Resolver.Serve].
//
// What it does not do: DNSSEC validation.
package resolver
