// Package resolver is a recursive DNS resolver: it gives any client the answer
// that the name servers of the world have, by asking them from the root down.
//
// The path of a query: package server reads it, checks it and calls
// [Resolver.Answer] (resolver.go), which decides in this order:
//
//  1. a client outside of the allowed networks is REFUSED;
//  2. names that must not leave the machine (localhost., invalid.) are answered
//     here (local.go);
//  3. what the cache knows is answered from it, its TTL counted down (cache.go);
//  4. a query without the RD bit is REFUSED: it asked for no more than that;
//  5. otherwise one resolution runs for all who ask the same (flight.go).
//
// A resolution (iterate.go) begins at the closest delegation that is known, at
// worst at the root hints, asks one of its name servers (exchange.go), and does
// what the response turns out to be (response.go, without I/O): an answer, a
// CNAME to go on with, a referral further down, or "no". Servers that are dead,
// lame or broken are passed over for the next.
//
// Invariants: of a response only that counts which its sender may speak of (the
// zone it was asked for: its bailiwick). Glue leads to name servers and is never
// given to a client. A resolution ends: referrals only go down, and CNAMEs,
// queries, nested resolutions and time are counted. The cache has a bound.
//
// Goroutines: those of package server, and one per resolution, all joined by
// [Resolver.Serve]. A client that gives up ends only its own wait.
//
// What it does not do: DNSSEC validation, serving stale data, prefetching,
// query name minimisation, forwarding, encrypted transports.
package resolver
