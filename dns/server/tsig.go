package server

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
)

// A Key is a secret that a client and this server share, to sign what they say
// to each other (TSIG, RFC 8945).
type Key struct {
	// Name is the key's name, a domain name; both sides must use the same.
	Name string
	// Algorithm is one of [TSIGAlgorithms], in any case, with or without a final
	// dot.
	Algorithm string
	// Secret is as random as the algorithm's output is long, at best.
	Secret []byte
}

// TSIGAlgorithms returns the names that a [Key]'s algorithm may have, sorted, in
// lower case and without the final dot.
func TSIGAlgorithms() (names []string) {
	for name := range tsigHashes {
		names = append(names, strings.TrimSuffix(name, "."))
	}
	slices.Sort(names)
	return names
}

// tsigHashes are the algorithms (RFC 8945, section 6). The truncated ones and
// MD5 are not supported.
var tsigHashes = map[string]func() hash.Hash{
	dns.HmacSHA1: sha1.New, dns.HmacSHA224: sha256.New224, dns.HmacSHA256: sha256.New,
	dns.HmacSHA384: sha512.New384, dns.HmacSHA512: sha512.New,
}

// tsigFudge is how far two clocks may be apart, in seconds (RFC 8945, section 10).
const tsigFudge = 300

// Format implements [fmt.Formatter] for every verb, so that no log shows the
// secret.
func (k Key) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "key %s", k.Name) }

// A keyring holds keys by canonical name.
type keyring map[string]Key

func newKeyring(keys []Key) keyring {
	ring := keyring{}
	for _, k := range keys {
		k.Algorithm = dns.CanonicalName(k.Algorithm)
		ring[dns.CanonicalName(k.Name)] = k
	}
	return ring
}

// A signature is what is needed to sign the answers to one signed query. The
// methods do nothing on nil, the signature of a query without one.
type signature struct {
	name, algorithm string // canonical
	key             Key
	mac             []byte // of the message before: the query's, then the last answer's
	later           bool   // an answer was signed
	failure         uint16 // a TSIG error, or 0
	made            uint64 // by the client, in seconds
}

// authenticate checks the TSIG record of a query (RFC 8945, section 5.2). It
// returns success, or the response code of the error that q.sig answers with.
func (c *core) authenticate(q *Query, wire []byte, s shape, m *dns.Msg) int {
	t := m.IsTsig()
	if t == nil || t.Hdr.Class != dns.ClassANY || t.Hdr.Ttl != 0 {
		return dns.RcodeFormatError
	}
	sig := &signature{name: dns.CanonicalName(t.Hdr.Name), algorithm: dns.CanonicalName(t.Algorithm), made: t.TimeSigned}
	mac, err := hex.DecodeString(t.MAC)
	if err != nil {
		return dns.RcodeFormatError
	}
	key, known := c.keys[sig.name]
	if !known || key.Algorithm != sig.algorithm {
		sig.failure = dns.RcodeBadKey
		q.sig = sig
		return dns.RcodeNotAuth
	}
	sig.key = key
	want := sig.digest(nil, requestPart(wire, s.tsigName, t.OrigId), sig.variables(t.TimeSigned, t.Fudge, t.Error, t.OtherData))
	if len(mac) > len(want) || len(mac) < max(10, len(want)/2) {
		return dns.RcodeFormatError // section 5.2.2.1
	}
	q.sig = sig
	now := uint64(time.Now().Unix())
	switch fudge := uint64(t.Fudge); {
	case !hmac.Equal(mac, want[:len(mac)]):
		sig.failure = dns.RcodeBadSig
	case t.TimeSigned > now+fudge || t.TimeSigned+fudge < now:
		sig.mac, sig.failure = mac, dns.RcodeBadTime
	case len(mac) < len(want):
		sig.mac, sig.failure = mac, dns.RcodeBadTrunc
	default:
		sig.mac = mac
		q.Key, q.trusted = sig.name, true
		return dns.RcodeSuccess
	}
	return dns.RcodeNotAuth
}

// requestPart returns the message as it was before it was signed.
func requestPart(wire []byte, tsig int, id uint16) []byte {
	part := append([]byte(nil), wire[:tsig]...)
	binary.BigEndian.PutUint16(part, id)
	binary.BigEndian.PutUint16(part[10:], binary.BigEndian.Uint16(part[10:])-1)
	return part
}

// digest returns the MAC over the MAC before, a message and the variables.
func (s *signature) digest(before, message, variables []byte) []byte {
	h := hmac.New(tsigHashes[s.algorithm], s.key.Secret)
	if before != nil {
		_, _ = h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(before))))
		_, _ = h.Write(before)
	}
	_, _ = h.Write(message)
	_, _ = h.Write(variables)
	return h.Sum(nil)
}

// variables returns the TSIG variables (RFC 8945, section 4.3.3).
func (s *signature) variables(made uint64, fudge, failure uint16, other string) []byte {
	data, _ := hex.DecodeString(other) // the library has made it
	out := appendName(nil, s.name)
	out = binary.BigEndian.AppendUint16(out, dns.ClassANY)
	out = binary.BigEndian.AppendUint32(out, 0)
	out = appendName(out, s.algorithm)
	out = append(out, s.timers(made, fudge)...)
	out = binary.BigEndian.AppendUint16(out, failure)
	out = binary.BigEndian.AppendUint16(out, uint16(len(data)))
	return append(out, data...)
}

func (s *signature) timers(made uint64, fudge uint16) []byte {
	out := binary.BigEndian.AppendUint64(nil, made)[2:] // 48 bits
	return binary.BigEndian.AppendUint16(out, fudge)
}

// appendName appends a valid name in wire form.
func appendName(out []byte, name string) []byte {
	wire, err := wirename.Pack(name)
	if err != nil {
		panic(fmt.Sprintf("server: a name that was unpacked cannot be packed: %v", err))
	}
	return append(out, wire...)
}

// size returns how many octets sign appends at most.
func (s *signature) size() int {
	if s == nil {
		return 0
	}
	const fixed, largestMAC, other = 10 + 6 + 2 + 2 + 2 + 2 + 2, 64, 6
	return len(s.name) + 1 + len(s.algorithm) + 1 + fixed + largestMAC + other
}

// sign appends the TSIG record to a packed answer (RFC 8945, section 5.3). What
// it appended to the answer before, it goes on from (section 5.3.1).
func (s *signature) sign(wire []byte) []byte {
	if s == nil {
		return wire
	}
	made, other := uint64(time.Now().Unix()), ""
	if s.failure == dns.RcodeBadTime { // section 5.2.3
		other = hex.EncodeToString(binary.BigEndian.AppendUint64(nil, made)[2:])
		made = s.made
	}
	var mac []byte
	switch {
	case s.failure == dns.RcodeBadKey || s.failure == dns.RcodeBadSig:
		// Section 5.3.2: such an answer must not be signed.
	case s.later:
		mac = s.digest(s.mac, wire, s.timers(made, tsigFudge))
	default:
		mac = s.digest(s.mac, wire, s.variables(made, tsigFudge, s.failure, other))
	}
	s.mac, s.later = mac, true
	rr := &dns.TSIG{
		Hdr:       dns.RR_Header{Name: s.name, Rrtype: dns.TypeTSIG, Class: dns.ClassANY},
		Algorithm: s.algorithm, TimeSigned: made, Fudge: tsigFudge,
		MACSize: uint16(len(mac)), MAC: hex.EncodeToString(mac),
		OrigId: binary.BigEndian.Uint16(wire), Error: s.failure,
		OtherLen: uint16(len(other) / 2), OtherData: other,
	}
	out := make([]byte, len(wire)+dns.Len(rr))
	n, err := dns.PackRR(rr, out, copy(out, wire), nil, false)
	if err != nil {
		panic(fmt.Sprintf("server: a TSIG record cannot be packed: %v", err))
	}
	binary.BigEndian.PutUint16(out[10:], binary.BigEndian.Uint16(out[10:])+1)
	return out[:n]
}
