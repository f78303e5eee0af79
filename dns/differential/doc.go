// Package differential holds our name servers against Knot, NSD and BIND, and our
// resolver against Unbound and BIND: all of them get the same zones and the same
// questions, and what they answer is compared. It consists of tests alone.
//
// A run goes like this. A seed makes a zone (zone_test.go) that has every corner
// which the standards speak of, some of them once and by design, most of them by
// chance and in each other's way; the same seed makes questions about it
// (query_test.go). Every server is asked all of them over UDP and TCP
// (ask_test.go). An answer is brought into a normal form (answer_test.go): the
// order of records, compression, the case of names, the options of EDNS and what a
// server may add or leave out do not count. Then the forms are compared
// (differential_test.go): ours has to be that of the peers where these agree, and that
// of one of them where they do not. A difference that is meant is covered by a rule
// (rules_test.go), which names the standard's section, and is counted.
//
// The resolvers walk a tree of such zones (resolver_test.go), and both are asked with
// the programs that people use, too (clients_test.go). Zonemaster, where it is
// installed, checks a tree of ours (zonemaster_test.go).
//
// `go test` runs a few seeds where the peers are installed and says so where they
// are not; `make compare-dns` runs many, and prints which rules were hit.
package differential
