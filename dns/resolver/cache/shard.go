package cache

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"unsafe"
)

// A slot finds a record. Slots form a hash table with linear probing.
type slot struct {
	hash uint32
	ref  ref    // 0: empty
	meta uint32 // see below; read and written atomically under the lock for reading
}

const slotSize = int(unsafe.Sizeof(slot{}))

// What meta holds.
const (
	// freqMask: how often the entry was asked for, up to 3, for eviction.
	freqMask = 3
	// promoteAfter is how often that must be to get from the small queue to the
	// main one. The answer for which it was learnt does not count.
	promoteAfter = 2
	// askedOne and askedMask: how often clients asked for it since it was learnt,
	// up to 3, for prefetching.
	askedOne, askedMask = 1 << 2, 3 << 2
	// reported: it was reported as due for prefetching.
	reported = 1 << 4
)

// A shard is a part of the cache, for the names whose hash says so.
type shard struct {
	seed     maphash.Seed
	memory   *region        // of all chunks
	chunks   *atomic.Uint32 // how many of them are owned by shards
	now      func() int64
	staleFor int64 // ns
	limit    int   // chunks

	evicted, hits atomic.Uint64

	mu          sync.RWMutex
	table       *region
	slots       []slot // in table
	used        int
	ghosts      []uint32 // in table
	small, main queue
	free        []uint32
	owned       int
}

// reduce maps a hash to 0…n-1 without a division (Lemire, 2016).
func reduce(hash uint32, n int) int { return int(uint64(hash) * uint64(n) >> 32) }

// find returns the index of the slot for a name and type, or -1. The caller holds
// mu.
func (s *shard) find(hash uint32, name []byte, qtype uint16, failure bool) int {
	for i := reduce(hash, len(s.slots)); s.slots[i].ref != 0; {
		if s.slots[i].hash == hash && s.at(s.slots[i].ref).is(name, qtype, failure) {
			return i
		}
		if i++; i == len(s.slots) {
			i = 0
		}
	}
	return -1
}

// indexOf returns the index of the slot of a record, which is not dead.
func (s *shard) indexOf(p ref, r record) int {
	i := reduce(keyHash(maphash.Bytes(s.seed, r.name()), r.qtype(), r.kind() == Failed), len(s.slots))
	for s.slots[i].ref != p {
		if i++; i == len(s.slots) {
			i = 0
		}
	}
	return i
}

// put stores a record, in the place of an older one about the same. The caller
// holds mu for writing.
func (s *shard) put(hash uint32, r record) {
	need := roundUp(r.used())
	failure := r.kind() == Failed
	i := s.find(hash, r.name(), r.qtype(), failure)
	freq := uint32(0)
	if i >= 0 {
		old := s.at(s.slots[i].ref)
		freq = s.slots[i].meta & freqMask
		if size := old.size(); need <= size && size <= 2*need {
			s.write(s.slots[i].ref, r, size)
			s.slots[i].meta = freq
			return
		}
		s.remove(i)
	}
	q := &s.small
	if freq > 0 || s.returned(hash) {
		q = &s.main
	}
	s.makeRoom(func() bool { return s.used < len(s.slots)/8*7 })
	p := s.alloc(q, need)
	s.appendTo(p, r, need)
	i = reduce(hash, len(s.slots))
	for s.slots[i].ref != 0 {
		if i++; i == len(s.slots) {
			i = 0
		}
	}
	s.slots[i] = slot{hash, p, freq}
	s.used++
}

// remove forgets the record of a slot.
func (s *shard) remove(i int) {
	s.at(s.slots[i].ref).kill()
	s.removeSlot(i)
}

// removeSlot empties a slot, and moves those behind it that were not at their
// place because of it.
func (s *shard) removeSlot(i int) {
	n := len(s.slots)
	s.used--
	for j := i; ; {
		if j++; j == n {
			j = 0
		}
		if s.slots[j].ref == 0 {
			break
		}
		home := reduce(s.slots[j].hash, n)
		// It may move to i if its home is not behind i, going round.
		if (j-home+n)%n >= (j-i+n)%n {
			s.slots[i] = s.slots[j]
			i = j
		}
	}
	s.slots[i] = slot{}
}

// bump counts that an entry was asked for, by a client or not, and returns how
// often clients did since it was learnt (up to 3). The caller holds mu.
func (s *shard) bump(i int, client bool) int {
	meta := &s.slots[i].meta
	for {
		old := atomic.LoadUint32(meta)
		now := old
		if now&freqMask < freqMask {
			now++
		}
		if client && now&askedMask < askedMask {
			now += askedOne
		}
		// Mostly nothing is written: who is popular has reached both.
		if now == old || atomic.CompareAndSwapUint32(meta, old, now) {
			return int(now & askedMask / askedOne)
		}
	}
}

// report marks an entry as due for prefetching, and reports whether it was not
// before. The caller holds mu.
func (s *shard) report(i int) bool {
	meta := &s.slots[i].meta
	for {
		old := atomic.LoadUint32(meta)
		if old&reported != 0 {
			return false
		}
		if atomic.CompareAndSwapUint32(meta, old, old|reported) {
			return true
		}
	}
}
