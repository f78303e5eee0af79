package resolver

import (
	"github.com/miekg/dns"

	"minicloud.internal/dns/resolver/cache"
	"minicloud.internal/dns/resolver/exchange"
	"minicloud.internal/dns/resolver/iterate"
)

// uncut is the cache without the word that a name does not exist which is a
// forwarded zone's or has one below it: the name servers above do not know the
// zone, and their "no" would deny it with all that is below (RFC 8020). They are
// asked about its own name too, for its DS records.
type uncut struct {
	*cache.Cache
	forwarders map[string]*exchange.Forwarder
}

// Put implements [iterate.Store].
func (u uncut) Put(name string, qtype uint16, e cache.Entry) {
	if e.Kind == cache.NoName {
		for zone := range u.forwarders {
			if dns.IsSubDomain(name, zone) {
				return
			}
		}
	}
	u.Cache.Put(name, qtype, e)
}

// forwarder returns the longest forwarded zone that a canonical name lies in, and
// who is asked for it; nil where it is walked to.
func (r *Resolver) forwarder(name string) (zone string, f iterate.Forwarder) {
	if len(r.forwarders) == 0 {
		return "", nil
	}
	for at := range iterate.Upwards(name) {
		if f, ok := r.forwarders[at]; ok {
			return at, f
		}
	}
	return "", nil
}
