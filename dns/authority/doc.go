// Package authority is an authoritative DNS server: it answers for the zones
// that it was given as RFC 1035 zone files, and for nothing else.
//
// The path of a zone: load.go reads its file, with those that it includes, record
// by record; build.go refuses what no zone can hold, and finds what hides names
// (delegations, DNAME records); pack.go packs the answer to every name and type
// as it is sent. lint.go finds what is legal and yet wrong, for -check.
//
// The path of a query: package server reads it and calls [Server.AnswerFast]
// (fast.go), which finds the zone (the longest that the name lies in), looks the
// name up in a hash table, by its wire form, and copies what was packed behind
// the question. An answer that was packed for one name serves every name: those
// below a delegation, those that a wildcard stands for, those that do not exist,
// and the target of a CNAME or DNAME record, in this zone or in another of the
// server. Only the compression pointers in it are moved: each leads to the name
// asked for, to an end of it, or to another place in the answer.
//
// What the fast path leaves (long chains, circles, answers that do not fit, ANY)
// comes to [Server.Answer], which says the same by way of lookup.go: slower, out
// of the records themselves, without I/O. Tests compare both with each other, and
// with a third that is as simple as can be.
//
// An answer is one of: the records; a CNAME and what it leads to; a referral to
// the name servers of a delegated zone, with their glue; "no such name" or "no
// such type", with the SOA record that says for how long that may be remembered;
// or REFUSED for a name outside every zone. ANY gets one set of records (RFC
// 8482, section 4.1).
//
// Reload (reload.go): at SIGHUP, and when a zone file or one that it includes has
// changed, the zone is read anew and takes the place of the old one with a single
// store, from one query to the next. One with an error leaves the old one where
// it is. Package transfer is told of each new version.
//
// Invariants: a zone is read and checked as a whole, and never changes
// afterwards, so that lookups need no lock. A zone that contradicts itself (a CNAME
// beside other records, a set with two TTLs) is not loaded but reported with file
// and line. One that is merely of no use (a delegation without glue) is served.
//
// Goroutines: during Serve one that follows the files, those of package transfer
// and those of package server; Serve joins them all.
//
// What it does not do: recursion, DNSSEC signing, being a secondary server,
// dynamic updates, $GENERATE. A change of the configuration file takes a restart.
package authority
