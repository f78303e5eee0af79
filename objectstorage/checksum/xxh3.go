package checksum

import (
	"encoding/binary"
	"math/bits"
)

// This is XXH3 without a seed, of 64 and 128 bits. (xxHash specification, "XXH3
// algorithm overview".) Bodies of up to 240 bytes are hashed at once at the end, in
// one of several ways, in xxh3short.go; longer ones in blocks.

const (
	prime32a uint64 = 0x9E3779B1
	prime32b uint64 = 0x85EBCA77
	prime32c uint64 = 0xC2B2AE3D
	prime64a uint64 = 0x9E3779B185EBCA87
	prime64b uint64 = 0xC2B2AE3D27D4EB4F
	prime64c uint64 = 0x165667B19E3779F9
	prime64d uint64 = 0x85EBCA77C2B2AE63
	prime64e uint64 = 0x27D4EB2F165667C5
	mixerA   uint64 = 0x165667919E3779F9
	mixerB   uint64 = 0x9FB21C651E98DF25

	stripe = 64
	block  = 1024 // 16 stripes, each with the secret 8 bytes further on
)

// xxhSecret is the default secret of XXH3: arbitrary bytes, a part of its definition.
const xxhSecret = "\xb8\xfe\x6c\x39\x23\xa4\x4b\xbe\x7c\x01\x81\x2c\xf7\x21\xad\x1c\xde\xd4\x6d\xe9\x83\x90\x97\xdb\x72\x40\xa4\xa4\xb7\xb3\x67\x1f" +
	"\xcb\x79\xe6\x4e\xcc\xc0\xe5\x78\x82\x5a\xd0\x7d\xcc\xff\x72\x21\xb8\x08\x46\x74\xf7\x43\x24\x8e\xe0\x35\x90\xe6\x81\x3a\x26\x4c" +
	"\x3c\x28\x52\xbb\x91\xc3\x00\xcb\x88\xd0\x65\x8b\x1b\x53\x2e\xa3\x71\x64\x48\x97\xa2\x0d\xf9\x4e\x38\x19\xef\x46\xa9\xde\xac\xd8\xa8" +
	"\xfa\x76\x3f\xe3\x9c\x34\x3f\xf9\xdc\xbb\xc7\xc7\x0b\x4f\x1d\x8a\x51\xe0\x4b\xcd\xb4\x59\x31\xc8\x9f\x7e\xc9\xd9\x78\x73\x64\xea" +
	"\xc5\xac\x83\x34\xd3\xeb\xc3\xc5\x81\xa0\xff\xfa\x13\x63\xeb\x17\x0d\xdd\x51\xb7\xf0\xda\x49\xd3\x16\x55\x26\x29\xd4\x68\x9e\x2b" +
	"\x16\xbe\x58\x7d\x47\xa1\xfc\x8f\xf8\xb8\xd1\x7a\xd0\x31\xce\x45\xcb\x3a\x8f\x95\x16\x04\x28\xaf\xd7\xfb\xca\xbb\x4b\x40\x7e"

// secret reads 8 bytes of xxhSecret.
func secret(i int) uint64 {
	s := xxhSecret[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func u64(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }
func u32(b []byte, i int) uint64 { return uint64(binary.LittleEndian.Uint32(b[i:])) }

// fold multiplies to 128 bits and folds them to 64.
func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

func avalanche(h uint64) uint64 {
	h = (h ^ h>>37) * mixerA
	return h ^ h>>32
}

// avalanche64 is the one of XXH64.
func avalanche64(h uint64) uint64 {
	h = (h ^ h>>33) * prime64b
	h = (h ^ h>>29) * prime64c
	return h ^ h>>32
}

// xxh3 is the hash. Its buffer has the last stripe of the block before, which the
// end of the body may need, and then what is not hashed yet: up to a block, which
// stays there until more follows, for the last block is hashed in another way.
type xxh3 struct {
	size     int // of the sum: 8 or 16 bytes
	lanes    [8]uint64
	buffer   [stripe + block]byte
	buffered int
	total    uint64
}

func newXXH3(size int) *xxh3 {
	x := &xxh3{size: size}
	x.Reset()
	return x
}

func (x *xxh3) Size() int      { return x.size }
func (x *xxh3) BlockSize() int { return stripe }

func (x *xxh3) Reset() {
	x.lanes = [8]uint64{prime32c, prime64a, prime64b, prime64c, prime64d, prime32b, prime64e, prime32a}
	x.buffered, x.total = 0, 0
}

func (x *xxh3) Write(p []byte) (int, error) {
	n := len(p)
	x.total += uint64(n)
	for len(p) > 0 {
		if x.buffered == block {
			accumulate(&x.lanes, x.buffer[stripe:], block/stripe)
			scramble(&x.lanes)
			copy(x.buffer[:stripe], x.buffer[block:])
			x.buffered = 0
		}
		k := copy(x.buffer[stripe+x.buffered:], p)
		x.buffered += k
		p = p[k:]
	}
	return n, nil
}

// accumulate hashes whole stripes from the beginning of a block.
func accumulate(lanes *[8]uint64, data []byte, stripes int) {
	for s := range stripes {
		addStripe(lanes, data[s*stripe:], 8*s)
	}
}

func addStripe(lanes *[8]uint64, data []byte, at int) {
	data = data[:stripe]
	for i := range lanes {
		value := u64(data, 8*i)
		keyed := value ^ secret(at+8*i)
		lanes[i^1] += value
		lanes[i] += (keyed & 0xffffffff) * (keyed >> 32)
	}
}

func scramble(lanes *[8]uint64) {
	for i, lane := range lanes {
		lanes[i] = (lane ^ lane>>47 ^ secret(len(xxhSecret)-stripe+8*i)) * prime32a
	}
}

func merge(lanes *[8]uint64, at int, start uint64) uint64 {
	for i := 0; i < 8; i += 2 {
		start += fold(lanes[i]^secret(at+8*i), lanes[i+1]^secret(at+8*i+8))
	}
	return avalanche(start)
}

func (x *xxh3) Sum(b []byte) []byte {
	data := x.buffer[stripe : stripe+x.buffered]
	var high, low uint64
	switch {
	case x.total <= 240 && x.size == 8:
		low = short64(data)
	case x.total <= 240:
		high, low = short128(data)
	default:
		lanes := x.lanes
		accumulate(&lanes, data, (len(data)-1)/stripe)
		addStripe(&lanes, x.buffer[x.buffered:], len(xxhSecret)-stripe-7)
		low = merge(&lanes, 11, x.total*prime64a)
		high = merge(&lanes, len(xxhSecret)-stripe-11, ^(x.total * prime64b))
	}
	if x.size == 16 {
		b = binary.BigEndian.AppendUint64(b, high)
	}
	return binary.BigEndian.AppendUint64(b, low)
}
