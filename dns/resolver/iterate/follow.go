package iterate

import (
	"iter"
	"strings"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/dns/resolver/cache"
)

// A key is what a piece of knowledge is about. That a name does not exist goes
// for all types and stands under [dns.TypeNone].
type key struct {
	name  string // canonical
	qtype uint16
}

// Known is what an answer is put together from. Names are canonical; what is not
// known is no entry.
type Known struct {
	// Get returns what there is to say of a name and type: records, a "no" that may
	// be about a name above, or a failure; of ANY several sets.
	Get func(name string, qtype uint16) []cache.Entry
	// Exact returns the records of exactly a name and type, or that there are none.
	// It is asked about every name above one: there Get, which looks at all that are
	// above each, would take the square of the time.
	Exact func(name string, qtype uint16) []cache.Entry
}

// Follow puts an answer together from what is known of a canonical name and a
// type, through at most limit aliases: the sets to the end, which may also be a
// "no". Of a DNAME both it and the CNAME that it makes are given (RFC 6672, section
// 3.1). Where knowledge ends before, open is the name that must be asked for.
func Follow(known Known, name string, qtype uint16, limit int) (chain []cache.Entry, open string, err *Failure) {
	asked, seen := name, map[string]bool{}
	for range limit + 1 {
		if seen[name] {
			return nil, "", failuref(dns.ExtendedErrorCodeOther, "%s is an alias in a circle: %s leads back to itself", asked, name)
		}
		seen[name] = true
		if end := known.Get(name, qtype); len(end) > 0 {
			if end[0].Kind == cache.Failed {
				return nil, "", failuref(end[0].Code, "%s", end[0].Sentence)
			}
			return append(chain, end...), "", nil
		}
		set, target, err := alias(known, name, qtype)
		if err != nil { // the DNAME that makes no name is a part of the answer
			return append(chain, set...), "", err
		}
		if len(set) == 0 {
			return chain, name, nil
		}
		chain = append(chain, set...)
		if qtype == dns.TypeCNAME { // made by a DNAME
			return chain, "", nil
		}
		name = target
	}
	err = failuref(dns.ExtendedErrorCodeOther, "%s leads through more than %d aliases (CNAME, DNAME)", asked, limit)
	err.limit = "max_aliases"
	return nil, "", err
}

// alias returns the sets that make a name another name for target, if it is
// known to be.
func alias(known Known, name string, qtype uint16) (set []cache.Entry, target string, err *Failure) {
	if qtype == dns.TypeANY {
		return nil, "", nil
	}
	if qtype != dns.TypeCNAME {
		if e, ok := recordsOf(known.Exact(name, dns.TypeCNAME)); ok {
			return []cache.Entry{e}, dns.CanonicalName(e.Records[0].(*dns.CNAME).Target), nil
		}
	}
	for owner := range Upwards(name) {
		if owner == name { // which a DNAME of its own does not change
			continue
		}
		e, ok := recordsOf(known.Exact(owner, dns.TypeDNAME))
		if !ok {
			continue
		}
		dname := e.Records[0].(*dns.DNAME)
		target, ok := substitute(name, owner, dns.CanonicalName(dname.Target))
		if !ok {
			return []cache.Entry{e}, "", &Failure{Rcode: dns.RcodeYXDomain, Code: dns.ExtendedErrorCodeOther,
				Sentence: "The DNAME of " + owner + " makes a name of more than 255 octets"}
		}
		made := e
		made.Records = []dns.RR{&dns.CNAME{
			Hdr:    dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: dname.Hdr.Ttl},
			Target: target,
		}}
		return []cache.Entry{e, made}, target, nil
	}
	return nil, "", nil
}

func recordsOf(entries []cache.Entry) (cache.Entry, bool) {
	if len(entries) == 1 && entries[0].Kind == cache.Records && len(entries[0].Records) > 0 {
		return entries[0], true
	}
	return cache.Entry{}, false
}

// substitute puts a DNAME's target in the place of its owner at the end of a
// name (RFC 6672, section 2.2). It is not ok when the result is no valid name:
// longer than 255 octets.
func substitute(name, owner, target string) (string, bool) {
	made := strings.TrimSuffix(name, owner)
	if owner == "." {
		made = name
	}
	if target != "." {
		made += target
	}
	_, err := wirename.Pack(made)
	return made, err == nil
}

// Upwards yields a canonical name and those above it, the root last.
func Upwards(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for ; yield(name) && name != "."; name = parent(name) {
		}
	}
}

func parent(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}
