package disk

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
)

const (
	// recentShare of [Options.CacheSize] is for recent, on top of it.
	recentShare = 5
	// recentShards share it, each with a lock of its own.
	recentShards = 16
	// recentLongest is the longest row, key and value, that is kept.
	recentLongest = 4 << 10
)

// recent keeps the rows of latest versions that were read or written last, some
// 25,000 of the usual size in 4 MiB. Every GET and PUT needs one, and in the
// database's cache their blocks give way to those of bodies, which are 30 times as
// large.
//
// Who reads a row and puts it here holds the key's lock, and so does who changes it,
// alone and until the change is durable: [tx.commit] drops the row before, and puts
// the new one after. Whoever did not get it from here reads the database.
type recent struct {
	seed   maphash.Seed
	size   int // bytes of a generation
	shards [recentShards]struct {
		mu        sync.Mutex
		now, last generation
	}
}

// A generation is a buffer of rows, one after the other: both lengths, 2 bytes each,
// key and value. When it is full it becomes the last one, whose rows are forgotten
// but for those that are asked for meanwhile.
type generation struct {
	at   map[uint64]uint32 // where the row of a hash begins
	rows []byte
}

func newRecent(bytes int64) recent {
	return recent{seed: maphash.MakeSeed(), size: int(bytes / recentShards / 2)}
}

// get returns the value of the row of hash, if it is that of key.
func (g *generation) get(hash uint64, key []byte) ([]byte, bool) {
	at, ok := g.at[hash]
	if !ok {
		return nil, false
	}
	row := g.rows[at:]
	begin := 4 + int(binary.LittleEndian.Uint16(row))
	if string(row[4:begin]) != string(key) {
		return nil, false
	}
	return row[begin : begin+int(binary.LittleEndian.Uint16(row[2:]))], true
}

// get appends the value of a row to dst, and reports whether it was there.
func (r *recent) get(dst, key []byte) ([]byte, bool) {
	hash := maphash.Bytes(r.seed, key)
	s := &r.shards[hash%recentShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if value, ok := s.now.get(hash, key); ok {
		return append(dst, value...), true
	}
	value, ok := s.last.get(hash, key)
	if ok {
		begin := len(dst)
		dst = append(dst, value...)
		r.add(hash, key, dst[begin:])
	}
	return dst, ok
}

// put keeps a row in place of what was kept under its key.
func (r *recent) put(key, value []byte) {
	hash := maphash.Bytes(r.seed, key)
	s := &r.shards[hash%recentShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.now.at, hash)
	delete(s.last.at, hash)
	if len(key)+len(value) <= min(recentLongest, r.size-4) {
		r.add(hash, key, value)
	}
}

// drop forgets a row.
func (r *recent) drop(key []byte) {
	hash := maphash.Bytes(r.seed, key)
	s := &r.shards[hash%recentShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.now.at, hash)
	delete(s.last.at, hash)
}

// add appends a row to the shard of its hash, whose lock is held.
func (r *recent) add(hash uint64, key, value []byte) {
	s := &r.shards[hash%recentShards]
	if s.now.at == nil {
		s.now.at, s.last.at = map[uint64]uint32{}, map[uint64]uint32{}
	}
	if len(s.now.rows)+4+len(key)+len(value) > r.size {
		s.now, s.last = s.last, s.now
		clear(s.now.at)
		s.now.rows = s.now.rows[:0]
	}
	g := &s.now
	g.at[hash] = uint32(len(g.rows))
	g.rows = binary.LittleEndian.AppendUint16(g.rows, uint16(len(key)))
	g.rows = binary.LittleEndian.AppendUint16(g.rows, uint16(len(value)))
	g.rows = append(append(g.rows, key...), value...)
}
