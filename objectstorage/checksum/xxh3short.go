package checksum

import "math/bits"

// mix hashes 16 bytes of data at i with the secret at at.
func mix(data []byte, i, at int) uint64 {
	return fold(u64(data, i)^secret(at), u64(data, i+8)^secret(at+8))
}

// short64 is XXH3 of 64 bits of up to 240 bytes.
func short64(data []byte) uint64 {
	n := len(data)
	acc := uint64(n) * prime64a
	switch {
	case n == 0:
		return avalanche64(secret(56) ^ secret(64))
	case n <= 3:
		return avalanche64(combine3(data) ^ (secret(0)^secret(0)>>32)&0xffffffff)
	case n <= 8:
		h := u32(data, n-4) + u32(data, 0)<<32 ^ secret(8) ^ secret(16)
		h ^= bits.RotateLeft64(h, 49) ^ bits.RotateLeft64(h, 24)
		h *= mixerB
		h = (h ^ (h>>35 + uint64(n))) * mixerB
		return h ^ h>>28
	case n <= 16:
		low := u64(data, 0) ^ secret(24) ^ secret(32)
		high := u64(data, n-8) ^ secret(40) ^ secret(48)
		return avalanche(uint64(n) + bits.ReverseBytes64(low) + high + fold(low, high))
	case n <= 128:
		for i := (n - 1) / 32; i >= 0; i-- { // from both ends towards the middle
			acc += mix(data, 16*i, 32*i) + mix(data, n-16*(i+1), 32*i+16)
		}
		return avalanche(acc)
	}
	for i := range 8 {
		acc += mix(data, 16*i, 16*i)
	}
	acc = avalanche(acc)
	for i := 8; i < n/16; i++ {
		acc += mix(data, 16*i, 16*(i-8)+3)
	}
	return avalanche(acc + mix(data, n-16, 119))
}

// combine3 puts 1 to 3 bytes and their number into 32 bits.
func combine3(data []byte) uint64 {
	n := len(data)
	return uint64(data[0])<<16 | uint64(data[n/2])<<24 | uint64(data[n-1]) | uint64(n)<<8
}

// short128 is XXH3 of 128 bits of up to 240 bytes.
func short128(data []byte) (high, low uint64) {
	n := len(data)
	switch {
	case n == 0:
		return avalanche64(secret(80) ^ secret(88)), avalanche64(secret(64) ^ secret(72))
	case n <= 3:
		l := uint32(combine3(data))
		h := bits.RotateLeft32(bits.ReverseBytes32(l), 13)
		keyLow, keyHigh := uint32(secret(0)^secret(0)>>32), uint32(secret(8)^secret(8)>>32)
		return avalanche64(uint64(h ^ keyHigh)), avalanche64(uint64(l ^ keyLow))
	case n <= 8:
		keyed := u32(data, 0) + u32(data, n-4)<<32 ^ secret(16) ^ secret(24)
		high, low = bits.Mul64(keyed, prime64a+uint64(n)<<2)
		high += low << 1
		low ^= high >> 3
		low = (low ^ low>>35) * mixerB
		return avalanche(high), low ^ low>>28
	case n <= 16:
		first, last := u64(data, 0), u64(data, n-8)
		high, low = bits.Mul64(first^last^secret(32)^secret(40), prime64a)
		low += uint64(n-1) << 54
		last ^= secret(48) ^ secret(56)
		high += last + (last&0xffffffff)*(prime32b-1)
		low ^= bits.ReverseBytes64(high)
		h, l := bits.Mul64(low, prime64b)
		return avalanche(h + high*prime64b), avalanche(l)
	}
	return medium128(data)
}

func medium128(data []byte) (high, low uint64) {
	n := len(data)
	low = uint64(n) * prime64a
	pair := func(i, j, at int) {
		low = low + mix(data, i, at) ^ (u64(data, j) + u64(data, j+8))
		high = high + mix(data, j, at+16) ^ (u64(data, i) + u64(data, i+8))
	}
	if n <= 128 {
		for i := (n - 1) / 32; i >= 0; i-- {
			pair(16*i, n-16*(i+1), 32*i)
		}
	} else {
		for i := 0; i < 128; i += 32 {
			pair(i, i+16, i)
		}
		low, high = avalanche(low), avalanche(high)
		for i := 128; i+32 <= n; i += 32 {
			pair(i, i+16, i-125)
		}
		pair(n-16, n-32, 103)
	}
	return -avalanche(low*prime64a + high*prime64d + uint64(n)*prime64b), avalanche(low + high)
}
