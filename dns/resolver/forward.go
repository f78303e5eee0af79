package resolver

import (
	"github.com/miekg/dns"

	"minicloud.internal/dns/resolver/cache"
	"minicloud.internal/dns/resolver/exchange"
	"minicloud.internal/dns/resolver/iterate"
)

// uncut is the cache without the word that a name does not exist which has a
// forwarded zone below it: the world's name servers do not know it, and
// their "no" would deny it with all that is below (RFC 8020).
type uncut struct {
	*cache.Cache
	forwards map[string][]exchange.Target
}

// Put implements [iterate.Store].
func (u uncut) Put(name string, qtype uint16, e cache.Entry) {
	if e.Kind == cache.NoName {
		for zone := range u.forwards {
			if zone != name && dns.IsSubDomain(name, zone) {
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
	for at := name; ; {
		if f, ok := r.forwarders[at]; ok {
			return at, f
		}
		if at == "." {
			return "", nil
		}
		i, end := dns.NextLabel(at, 0)
		if at = at[i:]; end {
			at = "."
		}
	}
}
