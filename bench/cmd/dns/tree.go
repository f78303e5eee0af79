//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"minicloud.internal/dns/peers"
)

// A tree is what resolvers walk: the root, a server for the zones below it, and one
// for those below these. All three are NSD, since our resolver is not to be measured
// on our own server's speed, nor its peers.
type tree struct {
	hints   string
	routes  string // the key of our resolver without which it asks nobody on this machine
	servers []*peers.Server
}

// grow starts the three servers. Below the root are com and, for the cold
// resolutions, so many others, t0, t1, …, each with one zone d.tN below it.
func (b *bench) grow(ctx context.Context, others int) (*tree, error) {
	t := &tree{}
	var at [3]netip.AddrPort
	var routes []string
	for i := range at {
		var err error
		if at[i], err = peers.FreeAddress(53); err != nil {
			return nil, fmt.Errorf("a resolver asks port 53: %w", err)
		}
		routes = append(routes, fmt.Sprintf("%q = %q", at[i].Addr(), at[i]))
	}
	t.routes = "routes = { " + strings.Join(routes, ", ") + " }"
	t.hints = fmt.Sprintf(". 86400 IN NS ns.\nns. 86400 IN A %s\n", at[0].Addr())
	var root strings.Builder
	root.WriteString(head(".", at[0].Addr().String()) + referral("com.", at[1].Addr().String()))
	second := []peers.Zone{{Origin: "com.", Text: head("com.", at[1].Addr().String()) + referral(origin, at[2].Addr().String())}}
	third := []peers.Zone{zoneOfNames(at[2].Addr().String())}
	for i := range others {
		top, below := fmt.Sprintf("t%d.", i), fmt.Sprintf("d.t%d.", i)
		root.WriteString(referral(top, at[1].Addr().String()))
		second = append(second, peers.Zone{Origin: top, Text: head(top, at[1].Addr().String()) + referral(below, at[2].Addr().String())})
		third = append(third, peers.Zone{Origin: below, Text: head(below, at[2].Addr().String()) + "www IN A 192.0.2.1\n"})
	}
	for i, zones := range [][]peers.Zone{{{Origin: ".", Text: root.String()}}, second, third} {
		s, err := peers.Start(ctx, peers.NSD, peers.Config{Address: at[i], Zones: zones})
		if err != nil {
			t.stop()
			return nil, err
		}
		t.servers = append(t.servers, s)
	}
	return t, nil
}

func (t *tree) stop() {
	for _, s := range t.servers {
		_ = s.Stop()
	}
}
