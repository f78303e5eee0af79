package iterate

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
	"unsafe"

	"github.com/miekg/dns"
)

// A Delegation is whom to ask about a zone and all below it. It is never changed
// once it is shared.
type Delegation struct {
	// Zone is its name, canonical.
	Zone    string
	Servers []NameServer
	// Source is who said so, for people: a server, or "hints".
	Source string
	// Confirmed says that the zone's own servers were asked for their names and
	// addresses, with or without success.
	Confirmed bool
	// ends is when it is no longer remembered.
	ends time.Time
}

// A NameServer is one name server of a delegation. Without an address its name
// must be resolved first.
type NameServer struct {
	// Name is canonical.
	Name  string
	Addrs []netip.Addr
}

// hasAddress reports whether any server's address came with the delegation.
func (d *Delegation) hasAddress() bool {
	for _, ns := range d.Servers {
		if len(ns.Addrs) > 0 {
			return true
		}
	}
	return false
}

// delegationOf collects the name servers of a zone from NS records, and their
// addresses from glue as far as it lies in the bailiwick: the zone whose server
// sent it. An address from outside would be hearsay, and let a server take over
// names that are not its own. It also returns the smallest TTL of what it used.
func delegationOf(zone, bailiwick string, ns, glue []dns.RR, l *Limits) (*Delegation, uint32) {
	d := &Delegation{Zone: zone}
	ttl := ^uint32(0)
	seen := map[string]int{}
	for _, rr := range ns {
		record, ok := rr.(*dns.NS)
		if !ok || !usable(rr) || dns.CanonicalName(record.Hdr.Name) != zone {
			continue
		}
		name := dns.CanonicalName(record.Ns)
		if _, twice := seen[name]; !twice && len(d.Servers) < l.MaxServers {
			seen[name] = len(d.Servers)
			d.Servers = append(d.Servers, NameServer{Name: name})
			ttl = min(ttl, sane(record.Hdr.Ttl))
		}
	}
	for _, rr := range glue {
		addr, ok := addressOf(rr)
		if !ok {
			continue
		}
		name := dns.CanonicalName(rr.Header().Name)
		i, wanted := seen[name]
		if wanted && dns.IsSubDomain(bailiwick, name) && len(d.Servers[i].Addrs) < l.MaxAddresses {
			d.Servers[i].Addrs = append(d.Servers[i].Addrs, addr)
			ttl = min(ttl, sane(rr.Header().Ttl))
		}
	}
	return d, ttl
}

// addressOf returns the address of an A or AAAA record.
func addressOf(rr dns.RR) (addr netip.Addr, ok bool) {
	switch rr := rr.(type) {
	case *dns.A:
		addr, ok = netip.AddrFromSlice(rr.A)
	case *dns.AAAA:
		addr, ok = netip.AddrFromSlice(rr.AAAA)
	}
	return addr.Unmap(), ok && rr.Header().Class == dns.ClassINET
}

// weight is how many delegations of usual size this one takes the memory of.
func (d *Delegation) weight() int {
	const usual, fixed = 1024, 40 // octets; of a name server beside its name
	octets := len(d.Zone)
	for _, ns := range d.Servers {
		octets += fixed + len(ns.Name) + len(ns.Addrs)*int(unsafe.Sizeof(netip.Addr{}))
	}
	return 1 + octets/usual
}

// delegations remembers at most limit delegations until they expire, and forgets
// the least recently used first. It may be used by many goroutines at once.
type delegations struct {
	limit int

	mu     sync.Mutex
	weight int        // of all that are remembered
	order  *list.List // of *Delegation, the most recently used in front
	zones  map[string]*list.Element
}

func newDelegations(limit int) *delegations {
	return &delegations{limit: limit, order: list.New(), zones: map[string]*list.Element{}}
}

// get returns what is remembered of a zone now, or nil.
func (c *delegations) get(zone string, now time.Time) *Delegation {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.zones[zone]
	if el == nil {
		return nil
	}
	d := el.Value.(*Delegation)
	if !now.Before(d.ends) {
		c.drop(el)
		return nil
	}
	c.order.MoveToFront(el)
	return d
}

// put remembers d until it ends; what has ended already is not kept.
func (c *delegations) put(d *Delegation, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.zones[d.Zone]; el != nil {
		c.drop(el)
	}
	if !now.Before(d.ends) {
		return
	}
	c.weight += d.weight()
	c.zones[d.Zone] = c.order.PushFront(d)
	c.evict()
}

// replace puts better, which nobody else has yet, in the place of old, if that
// still stands there. It ends when old would have: how long a zone is delegated is its parent's to say, or
// else a zone that was taken from its owner could prolong itself for ever (the
// ghost domain names of 2012).
func (c *delegations) replace(old, better *Delegation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	better.ends = old.ends
	if el := c.zones[old.Zone]; el != nil && el.Value.(*Delegation) == old {
		c.weight += better.weight() - old.weight()
		el.Value = better
		c.evict()
	}
}

// discard forgets d, but not what was learnt after it: or else of a thousand
// questions that fail at a zone each would have its parent asked again.
func (c *delegations) discard(d *Delegation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.zones[d.Zone]; el != nil && el.Value.(*Delegation) == d {
		c.drop(el)
	}
}

func (c *delegations) forget(zone string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.zones[zone]; el != nil {
		c.drop(el)
	}
}

func (c *delegations) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.zones)
}

// evict forgets until the rest is within the limit.
func (c *delegations) evict() {
	for c.weight > c.limit {
		c.drop(c.order.Back())
	}
}

func (c *delegations) drop(el *list.Element) {
	d := el.Value.(*Delegation)
	c.weight -= d.weight()
	delete(c.zones, d.Zone)
	c.order.Remove(el)
}
