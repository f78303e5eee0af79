// Package transfer gives zones away: to the secondary servers that ask for them,
// whole (AXFR, RFC 5936) or as what changed (IXFR, RFC 1995), and it tells the
// secondaries that there is something to fetch (NOTIFY, RFC 1996).
//
// The path of a version: the authoritative server reads a zone and calls
// [Transfers.Publish]. Where a version was there before, the difference of the
// two goes into the zone's journal (journal.go, diff.go), and each secondary
// that the policy names is notified (notify.go).
//
// The path of a transfer: [Transfers.Transfer] finds the zone, asks its policy
// (policy.go), takes the version and the journal of that moment, decides what to
// send ([version.plan], a function without I/O) and streams it in messages of up
// to 16 KiB (stream.go).
//
// Invariants: a version and the journal that leads to it never change once they
// are published, so a transfer that has begun ends with the version that it
// began with, whatever is loaded meanwhile. Journal, retries and transfers at a
// time are bounded. A zone without a policy is given to nobody. Secrets are in
// no log and no error.
//
// Goroutines: those of [Transfers.Run], which joins them; one for each secondary
// that is being notified. Transfers run on their caller's.
//
// What it does not do: fetch zones from others (it is the primary), keep the
// journal over a restart (the first IXFR after one is answered with the whole
// zone), sign or verify transfers, which package server does.
package transfer
