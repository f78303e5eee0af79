//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"minicloud.internal/dns/peers"
)

// origin is the zone that is asked about.
const origin = "example.com."

const (
	names       = 1000   // of the zone
	queryLines  = 20_000 // of a file of queries, which dnsperf repeats
	absentShare = 10     // one query in so many is for a name that is not there
)

// head is the beginning of a zone whose name server is ns below it, at an address.
func head(origin, address string) string {
	return fmt.Sprintf("$ORIGIN %s\n$TTL 86400\n@ IN SOA ns hostmaster 1 1800 900 604800 3600\n@ IN NS ns\nns IN A %s\n", origin, address)
}

// zoneOfNames is the zone of 1,000 names, with one address each.
func zoneOfNames(address string) peers.Zone {
	var b strings.Builder
	b.WriteString(head(origin, address))
	for i := range names {
		fmt.Fprintf(&b, "host-%04d IN A 192.0.2.%d\n", i, i%250+1)
	}
	// For the memory of a resolver: any number of names.
	b.WriteString("*.many IN A 192.0.2.251\n")
	return peers.Zone{Origin: origin, Text: b.String()}
}

// writeQueries writes a file of queries for dnsperf, in an order of chance that is
// the same in each run.
func writeQueries(file string) error {
	rng := rand.New(rand.NewPCG(5, 5))
	var b strings.Builder
	for i := range queryLines {
		if i%absentShare == 0 {
			fmt.Fprintf(&b, "absent-%04d.%s A\n", rng.IntN(names), origin)
		} else {
			fmt.Fprintf(&b, "host-%04d.%s A\n", rng.IntN(names), origin)
		}
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

// writeNames writes queries for so many different names.
func writeNames(file string, n int) error {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "host-%06d.many.%s A\n", i, origin)
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

// referral delegates a zone to a name server below it, with its address.
func referral(child, address string) string {
	return fmt.Sprintf("%s 86400 IN NS ns.%s\nns.%s 86400 IN A %s\n", child, child, child, address)
}
