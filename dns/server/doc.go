// Package server is the outside of a DNS server: what the authoritative servers
// and the resolver share. It reads messages from UDP and TCP, refuses what is no
// proper query before anybody else sees it, asks a [Handler] for the rest, and
// packs the answer into what the asker can take.
//
// The path of a query: [Server.Serve] reads a datagram (udp.go) or a
// length-prefixed message (tcp.go), takes a slot, and calls [Server.Respond],
// which goes from bytes to bytes: parse (query.go), Handler, EDNS, truncation.
// Nothing in Respond knows the transport but by name, so that a batched or
// allocation-free loop can take the place of the one here.
//
// Invariants: every message that comes in is answered at most once; a message
// that is itself a response is never answered (two servers would otherwise talk
// for ever); a handler sees only queries of class IN with one question; every
// wait has a deadline and every queue a bound.
//
// Goroutines: Serve owns one reader of datagrams, one acceptor, one reader per
// TCP connection and one per query that is being answered, and joins them all.
//
// What it does not do: zone transfer, NOTIFY, UPDATE, TSIG, cookies, TLS.
package server
