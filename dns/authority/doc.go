// Package authority is an authoritative DNS server: it answers for the zones
// that it was given as RFC 1035 zone files, and for nothing else.
//
// The path of a query: package server reads it, checks it and calls
// [Server.Answer], which finds the zone (the longest that the name lies in,
// authority.go) and looks the name up in it ([Zone.Lookup], lookup.go, without
// I/O). The answer is one of: the records; a CNAME and what it leads to in the
// zone; a referral to the name servers of a delegated zone, with their glue; "no
// such name" or "no such type", with the SOA record that says for how long that
// may be remembered; or REFUSED for a name outside every zone.
//
// Invariants: zones are read and checked in New, as a whole, and never change
// afterwards, so that lookups need no lock. A zone that would give wrong answers
// (a delegation that nobody can follow, a CNAME beside other records) is not
// loaded but reported with file and line.
//
// Goroutines: none of its own; those of package server, during Serve.
//
// What it does not do: recursion, DNSSEC signing, zone transfer, dynamic
// updates, DNAME. A change of a zone file takes a restart.
package authority
