package resolver

import (
	"container/list"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// A kind is what an entry says of its name and type.
type kind int

const (
	hasRecords kind = iota
	noType          // the name exists, without records of the type (NODATA)
	noName          // the name does not exist (NXDOMAIN)
	failed          // nobody could be asked
)

// An entry is one thing that is known. It is never changed once it was shared.
type entry struct {
	kind    kind
	records []dns.RR  // of hasRecords: one set, all with the same TTL
	soa     *dns.SOA  // of noType and noName, where the server sent it
	failure *failure  // of failed
	ttl     uint32    // in seconds, as it was received
	expires time.Time // when it is forgotten; also what the TTL counts down to
}

// A key is what an entry is about. That a name does not exist goes for all
// types and stands under type 0.
type key struct {
	name  string // canonical
	qtype uint16
}

// left returns the seconds that an entry may still be remembered by whoever
// gets it now; a second that has begun counts.
func (e *entry) left(now time.Time) uint32 {
	return uint32((max(e.expires.Sub(now), 0) + time.Second - 1) / time.Second)
}

// An lru remembers at most limit values until they expire, and forgets the least
// recently used first. It may be used by many goroutines at once.
type lru[K comparable, V any] struct {
	mu    sync.Mutex
	limit int
	order *list.List // of *slot[K, V], the most recently used in front
	slots map[K]*list.Element
}

type slot[K comparable, V any] struct {
	key     K
	value   V
	expires time.Time
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	return &lru[K, V]{limit: limit, order: list.New(), slots: map[K]*list.Element{}}
}

// get returns what is remembered now.
func (c *lru[K, V]) get(k K, now time.Time) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.slots[k]
	if !ok {
		return v, false
	}
	s := el.Value.(*slot[K, V])
	if !now.Before(s.expires) {
		c.drop(el)
		return v, false
	}
	c.order.MoveToFront(el)
	return s.value, true
}

// put remembers v until expires; what has expired already is not kept.
func (c *lru[K, V]) put(k K, v V, expires, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.slots[k]; ok {
		c.drop(el)
	}
	if !now.Before(expires) {
		return
	}
	for len(c.slots) >= c.limit {
		c.drop(c.order.Back())
	}
	c.slots[k] = c.order.PushFront(&slot[K, V]{k, v, expires})
}

func (c *lru[K, V]) forget(k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.slots[k]; ok {
		c.drop(el)
	}
}

func (c *lru[K, V]) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.slots)
}

func (c *lru[K, V]) drop(el *list.Element) {
	delete(c.slots, el.Value.(*slot[K, V]).key)
	c.order.Remove(el)
}

// maxChain is how many CNAME records one answer may follow.
const maxChain = 8

// follow puts an answer together from what get knows: the sets from the question
// through its CNAMEs to the end, which may also be a "no" or a failure. Where
// the knowledge ends before, open is the name that must be asked for.
func follow(get func(key) *entry, name string, qtype uint16) (chain []*entry, open string, err *failure) {
	for range maxChain + 1 {
		e := get(key{name, qtype})
		if e == nil {
			if e = get(key{name, dns.TypeNone}); e == nil && qtype != dns.TypeCNAME && qtype != dns.TypeANY {
				alias := get(key{name, dns.TypeCNAME})
				if alias != nil && alias.kind == hasRecords {
					chain = append(chain, alias)
					name = dns.CanonicalName(alias.records[0].(*dns.CNAME).Target)
					continue
				}
			}
		}
		if e == nil {
			return chain, name, nil
		}
		return append(chain, e), "", nil
	}
	return nil, "", failuref(dns.ExtendedErrorCodeOther, "The chain of CNAME records is longer than %d, or a loop", maxChain)
}
