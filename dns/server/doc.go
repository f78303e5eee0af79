// Package server is the outside of a DNS server: what the authoritative servers
// and the resolver share. It reads messages from UDP, TCP, TLS and HTTPS,
// refuses what is no proper query before anybody else sees it, asks a [Handler]
// for the rest, and packs the answer into what the asker can take.
//
// There are two ways for a query. The first is the fast path, for what the
// handler knows out of memory ([Fast]): parsed, answered and completed in place,
// without an allocation (wire.go, fastpath.go). Over UDP that happens on the
// loop that has read it, one loop and socket for each core, a batch of datagrams
// in one system call (udp_linux.go). Whatever is out of the ordinary, and what
// the handler leaves, goes the general way: unpacked by the library (query.go),
// checked, given to the Handler in a goroutine of its own, packed, signed
// (server.go, tsig.go, transfer.go). Both say the same; a fuzz target holds
// them to it.
//
// Around both stand the rate limit (ratelimit.go), which keeps the server from
// being a lever against others, cookies (cookie.go), by which clients prove
// where they live, and the bounds on connections (tcp.go). DNS over TLS and over
// HTTPS are further listeners (listen.go, doh.go) with the same inside.
//
// Invariants: every message that comes in is answered at most once; a message
// that is itself a response is never answered (two servers would otherwise talk
// for ever); a handler sees only queries of class IN with one question, and
// transfers only where it says that it takes them; a signed query is answered only
// if the signature is right; every wait has a deadline and every queue a bound.
//
// Goroutines: Serve owns one reader for each UDP socket, one acceptor for each
// listener, one reader for each connection and one goroutine for each query that
// goes the general way, and joins them all.
//
// Of class CHAOS it answers id.server and version.bind, with what the
// configuration says, and refuses the rest. What it does not do: NOTIFY and UPDATE,
// DNSSEC signing and validation, DNS over QUIC.
package server
