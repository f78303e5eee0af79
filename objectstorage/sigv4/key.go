package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
)

// key is a signing key: good for one secret, day and region.
type key [sha256.Size]byte

// deriveKey makes the key that signs for a secret on a day in a region.
func deriveKey(secret, day, region string) key {
	k := mac([]byte("AWS4"+secret), day)
	k = mac(k[:], region)
	k = mac(k[:], service)
	return mac(k[:], terminator)
}

func mac(k []byte, data string) (sum key) {
	h := hmac.New(sha256.New, k)
	h.Write([]byte(data))
	h.Sum(sum[:0])
	return sum
}

// A signer is an HMAC-SHA-256 (RFC 2104) whose memory is used again: that of
// crypto/hmac takes six allocations, and every request needs one.
type signer struct {
	hash hash.Hash
	pad  [sha256.BlockSize]byte
	sum  [sha256.Size]byte
}

var signers = sync.Pool{New: func() any { return &signer{hash: sha256.New()} }}

// half is the inner or the outer hash of k.
func (s *signer) half(k *key, with byte, data []byte) {
	for i := range s.pad {
		s.pad[i] = with
	}
	for i, b := range k {
		s.pad[i] ^= b
	}
	s.hash.Reset()
	s.hash.Write(s.pad[:])
	s.hash.Write(data)
	s.hash.Sum(s.sum[:0])
}

// sign returns the signature of data in hexadecimal digits.
func (k key) sign(data []byte) (signature [64]byte) {
	s := signers.Get().(*signer)
	defer signers.Put(s)
	s.half(&k, 0x36, data)
	s.half(&k, 0x5c, s.sum[:])
	hex.Encode(signature[:], s.sum[:])
	clear(s.pad[:])
	return signature
}

// maxKeys is how many signing keys are kept. A client has one for each day and
// region.
const maxKeys = 256

// keyCache keeps signing keys, for deriving one takes four times as long as using
// it. Only keys that a right signature proved are kept, so that nobody without a
// secret can fill it. The zero value is ready.
type keyCache struct {
	mu   sync.RWMutex
	keys map[cacheKey]key
}

// cacheKey has the secret itself, so that an access key whose secret changed has
// another key at once.
type cacheKey struct{ secret, day, region string }

func (c *keyCache) get(secret string, s scope) (key, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k, ok := c.keys[cacheKey{secret, s.day, s.region}]
	return k, ok
}

func (c *keyCache) put(secret string, s scope, k key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil || len(c.keys) >= maxKeys {
		c.keys = make(map[cacheKey]key)
	}
	// The strings are parts of the request, which would stay with them.
	c.keys[cacheKey{secret, clone(s.day), clone(s.region)}] = k
}

func clone(s string) string { return string([]byte(s)) }
