package cache

import "encoding/binary"

const (
	// chunkSize is how much memory is forgotten at once: some 450 small entries,
	// which takes some 40 µs, and the shard waits meanwhile.
	chunkSize = 32 << 10
	// A reference to a record is the number of its chunk, from 1, and its place in
	// the chunk in units of 8 octets.
	placeBits = 12
	maxChunks = 1<<(32-placeBits) - 1
)

// A ref says where a record is. 0 is nowhere.
type ref uint32

func refTo(chunk uint32, offset int) ref { return ref(chunk<<placeBits | uint32(offset/8)) }
func (p ref) chunk() uint32              { return uint32(p) >> placeBits }
func (p ref) offset() int                { return int(p&(1<<placeBits-1)) * 8 }

// A queue is a log of records in chunks: the newest is appended to the last chunk,
// and the first chunk goes as a whole.
type queue struct {
	chunks []uint32 // a ring
	first  int
	n      int
	fill   int // octets in use of the last chunk
}

func newQueue(limit int) queue { return queue{chunks: make([]uint32, limit)} }

func (q *queue) push(chunk uint32) {
	q.chunks[(q.first+q.n)%len(q.chunks)] = chunk
	q.n++
	q.fill = 0
}

func (q *queue) pop() uint32 {
	chunk := q.chunks[q.first]
	q.first = (q.first + 1) % len(q.chunks)
	q.n--
	return chunk
}

// take returns room for a record of size octets, or 0 where the last chunk has
// none left.
func (q *queue) take(size int) ref {
	if q.n == 0 || q.fill+size > chunkSize {
		return 0
	}
	p := refTo(q.chunks[(q.first+q.n-1)%len(q.chunks)], q.fill)
	q.fill += size
	return p
}

// at returns the record at a reference, and whatever stands behind it.
func (s *shard) at(p ref) record {
	start := int(p.chunk()-1) * chunkSize
	return record(s.memory.bytes[start+p.offset() : start+chunkSize])
}

// write puts a record at a reference, where size octets are its own.
func (s *shard) write(p ref, r record, size int) record {
	to := s.at(p)
	copy(to, r[:r.used()])
	to.setSize(size)
	return to
}

// appendTo puts a record at the end of a queue, whose chunk ends behind it.
func (s *shard) appendTo(p ref, r record, size int) {
	if to := s.write(p, r, size); size < len(to) {
		binary.LittleEndian.PutUint16(to[size:], 0)
	}
}

// alloc returns room for a record in a queue, and forgets what must go for it.
func (s *shard) alloc(q *queue, size int) ref {
	p := q.take(size)
	if p == 0 {
		// One chunk more than is taken: eviction needs it for what stays.
		s.makeRoom(func() bool { return s.available() >= 2 })
		if p = q.take(size); p == 0 { // the eviction may have made room
			q.push(s.chunk())
			p = q.take(size)
		}
	}
	return p
}

// available is how many chunks are not in use.
func (s *shard) available() int { return len(s.free) + s.limit - s.owned }

func (s *shard) chunk() uint32 {
	if n := len(s.free); n > 0 {
		chunk := s.free[n-1]
		s.free = s.free[:n-1]
		return chunk
	}
	s.owned++
	return s.chunks.Add(1)
}

// maxRounds is how many chunks are looked through for what may go before a chunk
// goes with all that is in it: however popular everything is, a place is found in
// bounded time.
const maxRounds = 4

func (s *shard) makeRoom(enough func() bool) {
	for round := 0; !enough() && s.small.n+s.main.n > 0; round++ {
		s.evict(round >= maxRounds)
	}
}

// evict forgets the oldest chunk of one queue, but what S3-FIFO lets stay; that
// moves to the main queue. With all, nothing stays.
func (s *shard) evict(all bool) {
	now := s.now()
	fromSmall := s.main.n == 0 || s.small.n > max(1, s.limit/10)
	q := &s.main
	if fromSmall {
		q = &s.small
	}
	chunk := q.pop()
	for offset := 0; offset+headerSize <= chunkSize; {
		p := refTo(chunk, offset)
		r := s.at(p)
		size := r.size()
		if size == 0 {
			break
		}
		offset += size
		if r.dead() {
			continue
		}
		r = r[:size]
		i := s.indexOf(p, r)
		asked := s.slots[i].meta & freqMask
		if stays := asked > 0; all || r.expires()+s.staleFor <= now || !stays || fromSmall && asked < promoteAfter {
			if fromSmall {
				s.remember(s.slots[i].hash)
			}
			s.removeSlot(i)
			s.evicted.Add(1)
			continue
		}
		if fromSmall {
			s.slots[i].meta &^= freqMask
		} else {
			s.slots[i].meta--
		}
		need := roundUp(r.used())
		to := s.main.take(need)
		if to == 0 {
			s.main.push(s.chunk())
			to = s.main.take(need)
		}
		s.appendTo(to, r, need)
		s.slots[i].ref = to
	}
	s.free = append(s.free, chunk)
}

func roundUp(n int) int { return (n + 7) &^ 7 }

// remember takes down that a name left the small queue. Another one may take its
// place at any time: that forgets the oldest about as well as a queue would.
func (s *shard) remember(hash uint32) {
	s.ghosts[reduce(hash*0x9E3779B1, len(s.ghosts))] = hash
}

// returned reports, once, whether a name lately left the small queue.
func (s *shard) returned(hash uint32) bool {
	g := &s.ghosts[reduce(hash*0x9E3779B1, len(s.ghosts))]
	if *g != hash {
		return false
	}
	*g = 0
	return true
}
