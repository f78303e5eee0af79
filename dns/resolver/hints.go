package resolver

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/miekg/dns"
)

// A delegation is whom to ask about a zone and all below it.
type delegation struct {
	zone    string // canonical
	servers []nameserver
}

// A nameserver is one name server of a delegation. Without addresses its name
// must be resolved first.
type nameserver struct {
	name  string // canonical
	addrs []netip.Addr
}

// internetHints are the root servers of the Internet, as IANA lists them
// (https://www.internic.net/domain/named.root).
const internetHints = `
. 3600000 NS a.root-servers.net.
. 3600000 NS b.root-servers.net.
. 3600000 NS c.root-servers.net.
. 3600000 NS d.root-servers.net.
. 3600000 NS e.root-servers.net.
. 3600000 NS f.root-servers.net.
. 3600000 NS g.root-servers.net.
. 3600000 NS h.root-servers.net.
. 3600000 NS i.root-servers.net.
. 3600000 NS j.root-servers.net.
. 3600000 NS k.root-servers.net.
. 3600000 NS l.root-servers.net.
. 3600000 NS m.root-servers.net.
a.root-servers.net. 3600000 A 198.41.0.4
b.root-servers.net. 3600000 A 170.247.170.2
c.root-servers.net. 3600000 A 192.33.4.12
d.root-servers.net. 3600000 A 199.7.91.13
e.root-servers.net. 3600000 A 192.203.230.10
f.root-servers.net. 3600000 A 192.5.5.241
g.root-servers.net. 3600000 A 192.112.36.4
h.root-servers.net. 3600000 A 198.97.190.53
i.root-servers.net. 3600000 A 192.36.148.17
j.root-servers.net. 3600000 A 192.58.128.30
k.root-servers.net. 3600000 A 193.0.14.129
l.root-servers.net. 3600000 A 199.7.83.42
m.root-servers.net. 3600000 A 202.12.27.33
`

func readHintsFile(path string) (*delegation, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return readHints(string(text), path)
}

// readHints reads the root's NS records and the addresses of their targets.
func readHints(text, name string) (*delegation, error) {
	parser := dns.NewZoneParser(strings.NewReader(text), ".", name)
	var rrs []dns.RR
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		rrs = append(rrs, rr)
	}
	if err := parser.Err(); err != nil {
		return nil, fmt.Errorf("%s", strings.Replace(err.Error(), ": dns: ", ": ", 1))
	}
	d := delegationOf(".", ".", rrs, rrs)
	usable := &delegation{zone: "."}
	for _, ns := range d.servers {
		if len(ns.addrs) > 0 { // another could only be found with the hints themselves
			usable.servers = append(usable.servers, ns)
		}
	}
	if len(usable.servers) == 0 {
		return nil, fmt.Errorf("%s: no name server of the root with an address, expected lines such as \". 86400 IN NS a.root.\" and \"a.root. 86400 IN A 192.0.2.53\"", name)
	}
	return usable, nil
}

// delegationOf collects the name servers of a zone from NS records, and their
// addresses from glue as far as it lies in the bailiwick: the zone whose server
// sent it. An address from outside would be hearsay, and let a server take over
// names that are not its own.
func delegationOf(zone, bailiwick string, ns, glue []dns.RR) *delegation {
	d := &delegation{zone: zone}
	seen := map[string]int{}
	for _, rr := range ns {
		record, ok := rr.(*dns.NS)
		if !ok || dns.CanonicalName(rr.Header().Name) != zone {
			continue
		}
		name := dns.CanonicalName(record.Ns)
		if _, twice := seen[name]; !twice && len(d.servers) < maxServers {
			seen[name] = len(d.servers)
			d.servers = append(d.servers, nameserver{name: name})
		}
	}
	for _, rr := range glue {
		name := dns.CanonicalName(rr.Header().Name)
		i, wanted := seen[name]
		addr, ok := addressOf(rr)
		if wanted && ok && dns.IsSubDomain(bailiwick, name) && len(d.servers[i].addrs) < maxAddresses {
			d.servers[i].addrs = append(d.servers[i].addrs, addr)
		}
	}
	return d
}

// Enough for every delegation in earnest; without a bound one referral could
// send the resolver to hundreds of addresses.
const (
	maxServers   = 16
	maxAddresses = 8
)

// addressOf returns the address of an A or AAAA record.
func addressOf(rr dns.RR) (addr netip.Addr, ok bool) {
	switch rr := rr.(type) {
	case *dns.A:
		addr, ok = netip.AddrFromSlice(rr.A)
	case *dns.AAAA:
		addr, ok = netip.AddrFromSlice(rr.AAAA)
	}
	return addr.Unmap(), ok
}
