package server

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"math/bits"
	"net/netip"
)

const (
	clientCookieSize = 8  // RFC 7873, section 4
	maxServerCookie  = 32 // likewise; ours has 16
	serverCookieSize = 16 // RFC 9018, section 4
	cookieOptionSize = 4 + clientCookieSize + serverCookieSize
	cookieSecretSize = 16

	// How old, and how far ahead, a cookie may be, in seconds; one older than
	// cookieRenew is replaced (RFC 9018, section 4.3).
	cookiePast, cookieAhead, cookieRenew = 3600, 300, 1800
)

// A cookieSecret makes and checks server cookies in the form that servers of
// every make share (RFC 9018): version 1, three reserved octets, a time, and a
// SipHash-2-4 of these, the client's cookie and its address.
type cookieSecret [2]uint64

// newCookieSecret returns the secret with these 16 octets; with nil, a random one.
func newCookieSecret(secret []byte) cookieSecret {
	if secret == nil {
		secret = make([]byte, cookieSecretSize)
		_, _ = rand.Read(secret) // it never fails
	}
	return cookieSecret{binary.LittleEndian.Uint64(secret), binary.LittleEndian.Uint64(secret[8:])}
}

// check reports whether the query's server cookie is one of ours, for this
// client, and not too old. It leaves the one to answer with in e.server.
func (s cookieSecret) check(e *edns, client netip.Addr, now uint32) bool {
	valid, renew := false, true
	if e.serverIs == serverCookieSize && e.server[0] == 1 {
		made := binary.BigEndian.Uint32(e.server[4:])
		age := int32(now - made) // serial number arithmetic
		var want [8]byte
		s.sign(&want, e, client)
		valid = subtle.ConstantTimeCompare(want[:], e.server[8:serverCookieSize]) == 1 && age <= cookiePast && age >= -cookieAhead
		renew = !valid || age > cookieRenew
	}
	if renew {
		e.server = [maxServerCookie]byte{0: 1}
		binary.BigEndian.PutUint32(e.server[4:], now)
		var hash [8]byte
		s.sign(&hash, e, client)
		copy(e.server[8:], hash[:])
	}
	e.serverIs = serverCookieSize
	return valid
}

// sign hashes the client cookie, the first 8 octets of the server cookie and
// the address.
func (s cookieSecret) sign(out *[8]byte, e *edns, client netip.Addr) {
	var buf [clientCookieSize + 8 + 16]byte
	copy(buf[:], e.client[:])
	copy(buf[clientCookieSize:], e.server[:8])
	n := clientCookieSize + 8
	if client = client.Unmap(); client.Is4() {
		a := client.As4()
		n += copy(buf[n:], a[:])
	} else {
		a := client.As16()
		n += copy(buf[n:], a[:])
	}
	binary.LittleEndian.PutUint64(out[:], siphash(s[0], s[1], buf[:n]))
}

// siphash is SipHash-2-4 (Aumasson and Bernstein, 2012).
func siphash(k0, k1 uint64, data []byte) uint64 {
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573
	round := func() {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	last := uint64(len(data)) << 56
	for ; len(data) >= 8; data = data[8:] {
		m := binary.LittleEndian.Uint64(data)
		v3 ^= m
		round()
		round()
		v0 ^= m
	}
	for i, c := range data {
		last |= uint64(c) << (8 * i)
	}
	v3 ^= last
	round()
	round()
	v0 ^= last
	v2 ^= 0xff
	for range 4 {
		round()
	}
	return v0 ^ v1 ^ v2 ^ v3
}
