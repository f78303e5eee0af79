package checksum

import (
	"encoding/binary"
	"hash/crc32"
	"sync"
)

// nvme is the polynomial of CRC-64/NVME (NVM Express NVM Command Set
// Specification, 5.2.1.3.4), with the bits reversed.
const nvme = 0x9a6c9329ac4bc9b5

// nvmeTables are for eight bytes at a time. The standard library would make them
// anew in every Write of a polynomial that it does not know, which takes as long as
// the checksum of a small body.
var nvmeTables = sync.OnceValue(func() *[8][256]uint64 {
	var t [8][256]uint64
	for i := range 256 {
		crc := uint64(i)
		for range 8 {
			crc = crc>>1 ^ nvme&-(crc&1)
		}
		t[0][i] = crc
	}
	for i := range 256 {
		for k := 1; k < 8; k++ {
			t[k][i] = t[0][t[k-1][i]&0xff] ^ t[k-1][i]>>8
		}
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
	for len(rest) >= 8 {
		crc ^= binary.LittleEndian.Uint64(rest)
		crc = t[7][crc&0xff] ^ t[6][crc>>8&0xff] ^ t[5][crc>>16&0xff] ^ t[4][crc>>24&0xff] ^
			t[3][crc>>32&0xff] ^ t[2][crc>>40&0xff] ^ t[1][crc>>48&0xff] ^ t[0][crc>>56]
		rest = rest[8:]
	}
	for _, b := range rest {
		crc = t[0][byte(crc)^b] ^ crc>>8
	}
	c.sum = ^crc
	return len(p), nil
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
