package cache

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
)

// Config is what a [Cache] is made of. Zero durations and sizes mean the default
// where one is stated.
type Config struct {
	// MaxBytes is the memory that entries and the table that finds them take at
	// most; default 64 MiB, from [MinBytes] to [MaxBytes]. About 700,000 small
	// entries fit into 64 MiB.
	MaxBytes int64
	// MaxTTL is the longest that anything counts; default 24 h.
	MaxTTL time.Duration
	// MinTTL is the shortest that records count; default 0: as their owner says.
	// A TTL of 0 is then not remembered.
	MinTTL time.Duration
	// MaxNegativeTTL is the longest that "no such name" and "no such type" count;
	// default 15 min (RFC 2308, section 5 allows 1 to 3 h).
	MaxNegativeTTL time.Duration
	// FailureTTL is how long a failure counts, doubled with each further one in a
	// row up to MaxFailureTTL; defaults 1 s and 30 s (RFC 9520, section 3.2: 1 s to
	// 5 min).
	FailureTTL, MaxFailureTTL time.Duration
	// StaleFor is how long what has ended is kept as stale (RFC 8767, section 5: 1
	// to 3 days). Zero: not at all.
	StaleFor time.Duration
	// Prefetch is told, once for each time that it is learnt, of a name and type
	// that clients have asked for twice, in the last tenth of its time. It is called
	// on the path of a query, without a lock of the cache: it must not block. Nil:
	// nobody is.
	Prefetch func(name string, qtype uint16)
	// Now is the clock; nil means [time.Now]. AnswerFast is told the time instead.
	Now func() time.Time
}

// MinBytes and MaxBytes (nearly 32 GiB) are the smallest and the largest cache.
const (
	MinBytes = 1 << 20
	MaxBytes = maxChunks * chunkSize
)

const (
	// shardBytes is the smallest share of a shard, maxShards how many there are
	// at most.
	shardBytes = 1 << 20
	maxShards  = 32
	// slotsPer is how many octets of a shard there are for each slot: small
	// entries take 72, and an eighth of the slots stay empty.
	slotsPer = 80
)

// A Cache remembers. It is safe for concurrent use.
type Cache struct {
	cfg    Config
	seed   maphash.Seed
	shift  int // a name's hash, shifted so, is the index of its shard
	shards []*shard
	chunks atomic.Uint32

	tooLarge, outranked atomic.Uint64
}

// New returns a Cache that knows nothing. It starts no goroutine.
func New(cfg Config) *Cache {
	setDefault(&cfg.MaxBytes, 64<<20)
	setDefault(&cfg.MaxTTL, 24*time.Hour)
	setDefault(&cfg.MaxNegativeTTL, 15*time.Minute)
	setDefault(&cfg.FailureTTL, time.Second)
	setDefault(&cfg.MaxFailureTTL, 30*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.MaxBytes = min(max(cfg.MaxBytes, MinBytes), MaxBytes)
	n := 1
	for n < maxShards && cfg.MaxBytes/int64(2*n) >= shardBytes {
		n *= 2
	}
	share := int(cfg.MaxBytes / int64(n))
	slots := share / slotsPer
	table := slots*slotSize + slots/4*4
	limit := (share - table) / chunkSize

	c := &Cache{cfg: cfg, seed: maphash.MakeSeed(), shift: 64 - bits.Len(uint(n-1))}
	memory := newRegion(n * limit * chunkSize)
	for range n {
		t := newRegion(table)
		c.shards = append(c.shards, &shard{
			seed:     c.seed,
			memory:   memory,
			chunks:   &c.chunks,
			now:      func() int64 { return cfg.Now().UnixNano() },
			staleFor: int64(cfg.StaleFor),
			limit:    limit,
			table:    t,
			slots:    unsafe.Slice((*slot)(unsafe.Pointer(&t.bytes[0])), slots),
			ghosts:   unsafe.Slice((*uint32)(unsafe.Pointer(&t.bytes[slots*slotSize])), slots/4),
			small:    newQueue(limit),
			main:     newQueue(limit),
		})
	}
	return c
}

func setDefault[T int64 | time.Duration](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// shardOf returns the shard of a name, and the name's hash.
func (c *Cache) shardOf(name []byte) (*shard, uint64) {
	h := maphash.Bytes(c.seed, name)
	return c.shards[h>>c.shift], h
}

// keyHash mixes a type into a name's hash.
func keyHash(name uint64, qtype uint16, failure bool) uint32 {
	k := uint64(qtype) << 1
	if failure {
		k |= 1
	}
	h := (name ^ k*0x9E3779B97F4A7C15) * 0xD6E8FEB86659FD93
	return uint32(h >> 32)
}

// Put remembers an entry under its name and type, in canonical form as Get is
// given them; NoName for all types. It keeps neither what counts for no time, nor
// what is larger than 32 KiB, nor what a fresh entry of a higher rank
// contradicts. A failure takes nothing away, and ends with the next thing that is
// learnt of its name and type.
func (c *Cache) Put(name string, qtype uint16, e Entry) {
	wire, err := wireName(name)
	if err != nil {
		return
	}
	r, err := pack(wire, qtype, &e)
	if err != nil {
		c.tooLarge.Add(1)
		return
	}
	now := c.cfg.Now().UnixNano()
	s, h := c.shardOf(wire)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Kind == Failed {
		s.fail(h, r, &c.cfg, now)
		return
	}
	ttl := c.Limit(e.Kind, e.TTL)
	key := keyHash(h, r.qtype(), false)
	if i := s.find(key, wire, r.qtype(), false); i >= 0 {
		old := s.at(s.slots[i].ref)
		if old.rank() > e.Rank && old.counts(now) {
			c.outranked.Add(1)
			return
		}
		if ttl == 0 { // what was known is known to be outdated
			s.remove(i)
		}
	}
	s.forget(h, wire, qtype, true, RankAnswer)
	if e.Kind != NoName {
		s.forget(h, wire, dns.TypeNone, false, e.Rank) // for it exists
	}
	if ttl > 0 {
		r.stamp(now, ttl)
		s.put(key, r)
	}
}

// Limit returns for how many seconds an entry counts that was received with a
// TTL, if it is no failure.
func (c *Cache) Limit(k Kind, ttl uint32) uint32 {
	if k == Records {
		return min(max(ttl, seconds(c.cfg.MinTTL)), seconds(c.cfg.MaxTTL))
	}
	return min(ttl, seconds(c.cfg.MaxNegativeTTL), seconds(c.cfg.MaxTTL))
}

func seconds(d time.Duration) uint32 { return uint32(min(d/time.Second, 1<<31-1)) }

// fail remembers a failure, for longer if it is not the first in a row.
func (s *shard) fail(h uint64, r record, cfg *Config, now int64) {
	key := keyHash(h, r.qtype(), true)
	before := 0
	if i := s.find(key, r.name(), r.qtype(), true); i >= 0 {
		old := s.at(s.slots[i].ref)
		if old.expires()+int64(cfg.MaxFailureTTL) > now {
			before = old.count()
		}
	}
	r.setCount(min(before+1, 16))
	ttl := min(cfg.FailureTTL<<min(before, 16), cfg.MaxFailureTTL)
	r.stamp(now, max(seconds(ttl), 1))
	s.put(key, r)
}

// forget removes what is known of a name and type, or its failure, if its rank is
// not higher. The caller holds mu for writing.
func (s *shard) forget(h uint64, name []byte, qtype uint16, failure bool, rank Rank) {
	if i := s.find(keyHash(h, qtype, failure), name, qtype, failure); i >= 0 && s.at(s.slots[i].ref).rank() <= rank {
		s.remove(i)
	}
}

// Recovered forgets that a question failed, where its answer was learnt under
// other names (of a CNAME).
func (c *Cache) Recovered(name string, qtype uint16) {
	wire, err := wireName(name)
	if err != nil {
		return
	}
	s, h := c.shardOf(wire)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(h, wire, qtype, true, RankAnswer)
}

// Get returns what is known of a name and type, the first that there is of:
//
//  1. fresh data of the name and type;
//  2. that the name does not exist, or one above it, fresh;
//  3. a failure that counts;
//  4. the younger of stale data and of a stale "no such name".
//
// Name is canonical: as miekg/dns prints it, lower case, with the final dot.
func (c *Cache) Get(name string, qtype uint16) (Entry, State) {
	return c.get(name, qtype, true)
}

// GetData is Get without failures: what is stale is found although asking for it
// again has just failed (RFC 8767, section 5).
func (c *Cache) GetData(name string, qtype uint16) (Entry, State) {
	return c.get(name, qtype, false)
}

// Exact returns the data of exactly a name and type: not what follows from a name
// above that does not exist, and no failure. It is Get for who asks about every name
// above one, of which Get looks at all that are above again. Stale data do not count
// where it was learnt later that the name does not exist.
func (c *Cache) Exact(name string, qtype uint16) (Entry, State) {
	wire, err := wireName(name)
	if err != nil {
		return Entry{}, Missing
	}
	now := c.cfg.Now().UnixNano()
	e, state := c.lookup(wire, qtype, false, now)
	if state == Stale {
		if denial, denied := c.lookup(wire, dns.TypeNone, false, now); denied != Missing && denial.Stored.After(e.Stored) {
			return Entry{}, Missing
		}
	}
	return e, state
}

func (c *Cache) get(name string, qtype uint16, failures bool) (Entry, State) {
	wire, err := wireName(name)
	if err != nil {
		return Entry{}, Missing
	}
	now := c.cfg.Now().UnixNano()
	exact, state := c.lookup(wire, qtype, false, now)
	if state == Fresh {
		return exact, Fresh
	}
	denial, denied := c.lookup(wire, dns.TypeNone, false, now)
	if denied == Fresh {
		return denial, Fresh
	}
	for above := wirename.Parent(wire); len(above) > 1; above = wirename.Parent(above) {
		if e, s := c.lookup(above, dns.TypeNone, false, now); s == Fresh {
			return e, Fresh
		}
	}
	if failures {
		if e, s := c.lookup(wire, qtype, true, now); s == Fresh {
			return e, Fresh
		}
	}
	if denied == Stale && (state != Stale || denial.Stored.After(exact.Stored)) {
		return denial, Stale
	}
	return exact, state
}

// lookup returns the entry of exactly a name and type.
func (c *Cache) lookup(name []byte, qtype uint16, failure bool, now int64) (Entry, State) {
	s, h := c.shardOf(name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := s.find(keyHash(h, qtype, failure), name, qtype, failure)
	if i < 0 {
		return Entry{}, Missing
	}
	r := s.at(s.slots[i].ref)
	state := s.state(r, now)
	if state == Missing {
		return Entry{}, Missing
	}
	e, err := r.unpack(now)
	if err != nil {
		return Entry{}, Missing
	}
	s.bump(i, false)
	return e, state
}

func (s *shard) state(r record, now int64) State {
	switch {
	case r.counts(now):
		return Fresh
	case now < r.expires()+s.staleFor && r.kind() != Failed:
		return Stale
	}
	return Missing
}

// Dump returns all that is known of a name, failures too, and the names above it
// that are known not to exist. It is for people: it looks through a shard.
func (c *Cache) Dump(name string) []Item {
	var items []Item
	now := c.cfg.Now().UnixNano()
	c.each(name, func(s *shard, i int) bool {
		r := s.at(s.slots[i].ref)
		state := s.state(r, now)
		if e, err := r.unpack(now); err == nil && state != Missing {
			items = append(items, Item{wirename.Text(r.name()), r.qtype(), state, e})
		}
		return false
	})
	return items
}

// Remove forgets all that is known of a name, and that the names above it do not
// exist, and returns how many entries that were. What is known of names below it
// stays.
func (c *Cache) Remove(name string) int {
	n := 0
	c.each(name, func(*shard, int) bool { n++; return true })
	return n
}

// batch is how many slots are looked through before others get the lock.
const batch = 4096

// each calls f for the slots of a name, and of the denials above it; what f returns
// true for is removed.
func (c *Cache) each(name string, f func(s *shard, i int) bool) {
	wire, err := wireName(name)
	if err != nil {
		return
	}
	s, _ := c.shardOf(wire)
	for start := 0; start < len(s.slots); start += batch {
		s.visit(start, min(start+batch, len(s.slots)), wire, f)
	}
	for above := wire; len(above) > 1; {
		above = wirename.Parent(above)
		s, h := c.shardOf(above)
		func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if i := s.find(keyHash(h, dns.TypeNone, false), above, dns.TypeNone, false); i >= 0 && f(s, i) {
				s.remove(i)
			}
		}()
	}
}

func (s *shard) visit(start, end int, name []byte, f func(s *shard, i int) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := start; i < end; {
		if p := s.slots[i].ref; p != 0 && string(s.at(p).name()) == string(name) && f(s, i) {
			s.remove(i) // and look at what has moved here
			continue
		}
		i++
	}
}

// Stats are figures of a cache.
type Stats struct {
	// Entries is how many are remembered, also those whose time has ended and whose
	// place nobody needed yet.
	Entries int
	// Bytes is what they take, with their tables; MaxBytes what they may.
	Bytes, MaxBytes int64
	// FastHits counts what AnswerFast answered; Evicted what made room for others;
	// TooLarge what Put did not keep because it is larger than 32 KiB, or cannot be
	// packed at all; Outranked what it did not because something better is known.
	FastHits, Evicted, TooLarge, Outranked uint64
}

// Stats returns the figures.
func (c *Cache) Stats() Stats {
	st := Stats{TooLarge: c.tooLarge.Load(), Outranked: c.outranked.Load()}
	for _, s := range c.shards {
		s.mu.RLock()
		st.Entries += s.used
		st.Bytes += int64(s.owned*chunkSize + len(s.table.bytes))
		st.MaxBytes += int64(s.limit*chunkSize + len(s.table.bytes))
		s.mu.RUnlock()
		st.FastHits += s.hits.Load()
		st.Evicted += s.evicted.Load()
	}
	return st
}
