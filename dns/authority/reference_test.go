package authority

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// A reference answers out of a list of records, as slowly and as obviously as
// that can be: RFC 1034, section 4.3.2, with RFC 4592 and RFC 6672. It shares
// nothing with what it is compared with.
type reference map[string][]dns.RR // by the zone's name

func (ref reference) lookup(asked string, qtype uint16) (r Result) {
	r.Authoritative = true
	for visited := map[string]bool{}; ; {
		name := dns.CanonicalName(asked)
		zone := ref.zoneOf(name, qtype)
		if zone == "" || visited[name] || len(visited) == maxChain {
			return r
		}
		visited[name] = true
		z := ref[zone]
		if cut, target := covered(z, zone, name, qtype); cut != "" && target == "" {
			r.Authoritative = len(r.Answer) > 0
			r.Authority = records(z, cut, dns.TypeNS, cut)
			r.Additional = hosts(z, zone, r.Authority, cut)
			return r
		} else if cut != "" {
			dname := records(z, cut, dns.TypeDNAME, cut)[0]
			if !slices.ContainsFunc(r.Answer, func(other dns.RR) bool { return dns.IsDuplicate(dname, other) }) {
				r.Answer = append(r.Answer, dname)
			}
			next := strings.TrimSuffix(name, cut) + strings.TrimPrefix(target, ".")
			if len(next) > 254 { // these tests have no escapes
				r.Rcode = dns.RcodeYXDomain
				return r
			}
			r.Answer = append(r.Answer, &dns.CNAME{
				Hdr:    dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: dname.Header().Ttl},
				Target: next,
			})
			if qtype == dns.TypeCNAME || qtype == dns.TypeANY {
				return r
			}
			asked = next
			continue
		}
		source := name
		if !exists(z, name) {
			above := name
			for !exists(z, above) {
				above = above[strings.Index(above, ".")+1:]
			}
			if source = "*." + above; !exists(z, source) {
				r.Rcode = dns.RcodeNameError
				r.Authority = denial(z, zone)
				return r
			}
		}
		if found := records(z, source, qtype, name); len(found) > 0 {
			r.Answer = append(r.Answer, found...)
			r.Additional = hosts(z, zone, found, source)
			return r
		}
		alias := records(z, source, dns.TypeCNAME, name)
		if len(alias) == 0 {
			r.Authority = denial(z, zone)
			return r
		}
		r.Answer = append(r.Answer, alias...)
		asked = alias[0].(*dns.CNAME).Target
	}
}

// zoneOf returns the longest zone that the name lies in, at DS the one above.
func (ref reference) zoneOf(name string, qtype uint16) (best string) {
	for zone := range ref {
		if qtype == dns.TypeDS && zone == name {
			continue
		}
		if dns.IsSubDomain(zone, name) && len(zone) > len(best) {
			best = zone
		}
	}
	if _, own := ref[name]; best == "" && own {
		return name
	}
	return best
}

// covered returns the highest delegation or DNAME record that the name lies in
// or below, and the target of the latter.
func covered(z []dns.RR, zone, name string, qtype uint16) (cut, target string) {
	labels := dns.SplitDomainName(name)
	for i := len(labels) - dns.CountLabel(zone); i >= 0; i-- {
		here := strings.Join(labels[i:], ".") + "."
		for _, rr := range records(z, here, dns.TypeDNAME, here) {
			if here != name {
				return here, rr.(*dns.DNAME).Target
			}
		}
		if here != zone && len(records(z, here, dns.TypeNS, here)) > 0 && (here != name || qtype != dns.TypeDS) {
			return here, ""
		}
	}
	return "", ""
}

// exists reports whether the name, or one below it, has a record.
func exists(z []dns.RR, name string) bool {
	return slices.ContainsFunc(z, func(rr dns.RR) bool { return dns.IsSubDomain(name, rr.Header().Name) })
}

// records returns the records of a name and type, under an owner.
func records(z []dns.RR, name string, qtype uint16, owner string) (found []dns.RR) {
	for _, rr := range z {
		if dns.CanonicalName(rr.Header().Name) == dns.CanonicalName(name) && rr.Header().Rrtype == qtype {
			rr = dns.Copy(rr)
			rr.Header().Name = owner
			found = append(found, rr)
		}
	}
	return found
}

func denial(z []dns.RR, zone string) []dns.RR {
	soa := records(z, zone, dns.TypeSOA, zone)
	soa[0].Header().Ttl = min(soa[0].Header().Ttl, soa[0].(*dns.SOA).Minttl)
	return soa
}

// hosts returns the addresses of the hosts that records name.
func hosts(z []dns.RR, zone string, named []dns.RR, source string) (found []dns.RR) {
	add := func(host, owner string, more ...uint16) {
		for _, qtype := range append(more, dns.TypeA, dns.TypeAAAA) {
			for _, rr := range records(z, host, qtype, owner) {
				same := func(other dns.RR) bool { return dns.IsDuplicate(rr, other) }
				if !slices.ContainsFunc(found, same) && !slices.ContainsFunc(named, same) {
					found = append(found, rr)
				}
			}
		}
	}
	for _, rr := range named {
		visible := func(host string) bool {
			cut, _ := covered(z, zone, dns.CanonicalName(host), dns.TypeA)
			return dns.IsSubDomain(zone, host) && cut == ""
		}
		switch rr := rr.(type) {
		case *dns.NS:
			cut, target := covered(z, zone, dns.CanonicalName(rr.Ns), dns.TypeA)
			if dns.IsSubDomain(zone, rr.Ns) && (cut == "" || target == "") {
				add(rr.Ns, rr.Ns)
			}
		case *dns.MX:
			if visible(rr.Mx) {
				add(rr.Mx, rr.Mx)
			}
		case *dns.SRV:
			if visible(rr.Target) {
				add(rr.Target, rr.Target)
			}
		case *dns.HTTPS:
			if rr.Target == "." && rr.Priority > 0 {
				add(source, rr.Hdr.Name)
			} else if visible(rr.Target) && rr.Priority == 0 {
				add(rr.Target, rr.Target, dns.TypeHTTPS)
			} else if visible(rr.Target) {
				add(rr.Target, rr.Target)
			}
		}
	}
	return found
}
