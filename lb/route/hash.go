package route

import (
	"encoding/binary"
	"net/netip"
)

// Hash returns 64 bits that depend on nothing but b, so that every load balancer
// gives a key to the same target, today and after a restart. It is FNV-1a with
// the finalizer of MurmurHash3, which spreads short keys over all bits. It
// withstands nobody who looks for collisions; what they gain is to be served by
// one target.
func Hash(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return mix(h)
}

// HashAddr is [Hash] for the address of a client. All of an IPv6 /64 is one
// client, and so are an IPv4 address and its form in IPv6 (RFC 4291, section
// 2.5.5.2).
func HashAddr(a netip.Addr) uint64 { return clientOf(a).hash() }

// A client is whom one address stands for: itself, or its /64, which is what one
// subscriber gets at least (RFC 6177), and moves within as it likes.
type client struct{ high, low uint64 }

func clientOf(a netip.Addr) client {
	a = a.Unmap()
	b := a.As16()
	c := client{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
	if a.Is6() {
		c.low = 0
	}
	return c
}

func (c client) hash() uint64 { return mix(mix(c.high) ^ c.low) }

func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
