// Package iterate finds the answer to a question by asking name servers, from
// the root down.
//
// [Iterator.Resolve] turns in one small circle (resolution.go) until the
// question is answered:
//
//  1. what is known is put together, through aliases (CNAME, DNAME) to the end
//     (follow.go); where knowledge ends, a name is open;
//  2. the closest delegation at or above that name is taken, at worst the root
//     hints (delegation.go, hints.go);
//  3. its servers are asked for no more of the name than they need to know
//     (minimise.go), one after the other (servers.go), through package exchange;
//  4. what comes back is an answer, a referral further down, or no use
//     (response.go, without I/O). What may be believed of it is learnt.
//
// Invariants: of a response only that counts which its sender may speak of, the
// zone that it was asked for: its bailiwick. Glue leads to name servers and is
// never given to a client; once the zone's own servers have said what their
// addresses are, that counts instead (confirm.go). A resolution ends: referrals
// only go down, and queries, referrals, aliases, name servers without glue,
// nesting and time are counted (config.go).
//
// A [Trace] records every step for people: what was asked, of whom and why, what
// came back, what was believed and what was not.
//
// Goroutines: [Iterator.Run] is one. Resolve runs in its caller's.
//
// A name in a forwarded zone is asked of that zone's resolvers instead (forward.go).
//
// What it does not do: joining equal questions, serving stale answers, answering
// for special-use names, which are package resolver's; DNSSEC validation, which
// is nobody's.
package iterate
