package checksum

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
	"sync"
)

// nvme is the polynomial of CRC-64/NVME (NVM Express NVM Command Set
// Specification, 5.2.1.3.4), with the bits reversed.
const nvme = 0x9a6c9329ac4bc9b5

const (
	lanes = 4
	lane  = 512 // bytes
)

// nvmeTable has what bytes do to the register, by their place in a word, and what each
// of its bits becomes a lane of zero bytes later.
type nvmeTable struct {
	bytes [8][256]uint64
	bits  [64]uint64
}

// nvmeTables are for eight bytes at a time. The standard library would make them
// anew in every Write of a polynomial that it does not know, which takes as long as
// the checksum of a small body.
var nvmeTables = sync.OnceValue(func() *nvmeTable {
	var t nvmeTable
	for i := range 256 {
		crc := uint64(i)
		for range 8 {
			crc = crc>>1 ^ nvme&-(crc&1)
		}
		t.bytes[0][i] = crc
	}
	for i := range 256 {
		for k := 1; k < 8; k++ {
			t.bytes[k][i] = t.bytes[0][t.bytes[k-1][i]&0xff] ^ t.bytes[k-1][i]>>8
		}
	}
	for i := range t.bits {
		t.bits[i] = field{64, nvme}.shift(1<<i, lane)
	}
	return &t
})

// crc64nvme is the hash of CRC-64/NVME. The zero value is ready.
type crc64nvme struct{ sum uint64 }

func (c *crc64nvme) Size() int      { return 8 }
func (c *crc64nvme) BlockSize() int { return 1 }
func (c *crc64nvme) Reset()         { c.sum = 0 }

func (c *crc64nvme) Sum(b []byte) []byte { return binary.BigEndian.AppendUint64(b, c.sum) }

func (c *crc64nvme) Write(p []byte) (int, error) {
	t, crc := nvmeTables(), ^c.sum
	rest := p
	for len(rest) >= lanes*lane {
		crc = t.block(crc, (*[lanes * lane]byte)(rest))
		rest = rest[lanes*lane:]
	}
	for len(rest) >= 8 {
		crc = t.word(crc ^ binary.LittleEndian.Uint64(rest))
		rest = rest[8:]
	}
	for _, b := range rest {
		crc = t.bytes[0][byte(crc)^b] ^ crc>>8
	}
	c.sum = ^crc
	return len(p), nil
}

// block returns the register behind p. A word needs that of the word before, and most
// of the time would be waiting: so four lanes go side by side, each from zero but the
// first, and are put together as the parts of an upload are.
func (t *nvmeTable) block(crc uint64, p *[lanes * lane]byte) uint64 {
	var b, c, d uint64
	for i := 0; i < lane; i += 8 {
		crc = t.word(crc ^ binary.LittleEndian.Uint64(p[i:]))
		b = t.word(b ^ binary.LittleEndian.Uint64(p[lane+i:]))
		c = t.word(c ^ binary.LittleEndian.Uint64(p[2*lane+i:]))
		d = t.word(d ^ binary.LittleEndian.Uint64(p[3*lane+i:]))
	}
	return t.shift(t.shift(t.shift(crc)^b)^c) ^ d
}

// word returns the register eight bytes on.
func (t *nvmeTable) word(crc uint64) uint64 {
	return t.bytes[7][crc&0xff] ^ t.bytes[6][crc>>8&0xff] ^ t.bytes[5][crc>>16&0xff] ^ t.bytes[4][crc>>24&0xff] ^
		t.bytes[3][crc>>32&0xff] ^ t.bytes[2][crc>>40&0xff] ^ t.bytes[1][crc>>48&0xff] ^ t.bytes[0][crc>>56]
}

// shift returns what the register is a lane of zero bytes later.
func (t *nvmeTable) shift(crc uint64) (shifted uint64) {
	for ; crc != 0; crc &= crc - 1 {
		shifted ^= t.bits[bits.TrailingZeros64(crc)]
	}
	return shifted
}

// A field is the polynomials over GF(2) modulo a CRC's polynomial, with the
// coefficient of x⁰ in the highest of width bits, as reflected CRCs have it.
type field struct {
	width int
	poly  uint64
}

func fieldOf(a Algorithm) (field, bool) {
	switch a {
	case CRC32:
		return field{32, crc32.IEEE}, true
	case CRC32C:
		return field{32, crc32.Castagnoli}, true
	case CRC64NVME:
		return field{64, nvme}, true
	}
	return field{}, false
}

func (f field) multiply(a, b uint64) uint64 {
	var product uint64
	for bit := uint64(1) << (f.width - 1); bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		b = b>>1 ^ f.poly&-(b&1)
	}
	return product
}

// shift returns crc times x to the power of 8n: what the register is n zero bytes
// later.
func (f field) shift(crc uint64, n int64) uint64 {
	square := uint64(1) << (f.width - 1 - 8) // x⁸
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			crc = f.multiply(square, crc)
		}
		square = f.multiply(square, square)
	}
	return crc
}
