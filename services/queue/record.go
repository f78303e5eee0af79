package queue

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// The keys of a message m of a queue q, with | for concatenation. A queue's
// name holds no zero byte, so that no queue's keys lie among another's.
//
//	'p' | q | 0 | id                -> payload, the JSON as it came
//	'r' | q | 0 | id                -> state
//	'v' | q | 0 | visible at | id   -> empty; the index that receive reads
//
// Times are nanoseconds since 1970, 8 bytes, big-endian: they sort as bytes.
const (
	kindPayload = 'p'
	kindState   = 'r'
	kindVisible = 'v'
)

const (
	idSize    = 16
	nonceSize = 16
	stateSize = 1 + 3*8 + 4 + nonceSize
	version   = 1
)

// An id names a message: 8 bytes that grow with each enqueue of a queue, and
// start from the time, then 8 random ones.
type id [idSize]byte

func (i id) String() string { return hex.EncodeToString(i[:]) }

// A state is all that changes about a message.
type state struct {
	enqueuedAt int64
	// visibleAt is the time of the index entry: of the enqueue, or the deadline
	// of the latest delivery.
	visibleAt int64
	// deadSince is when the message became a dead letter; 0: it is none.
	deadSince int64
	receives  uint32
	// nonce makes the receipt of the latest delivery; zero before the first.
	nonce [nonceSize]byte
}

func (s *state) encode() []byte {
	b := make([]byte, 0, stateSize)
	b = append(b, version)
	b = binary.BigEndian.AppendUint64(b, uint64(s.enqueuedAt))
	b = binary.BigEndian.AppendUint64(b, uint64(s.visibleAt))
	b = binary.BigEndian.AppendUint64(b, uint64(s.deadSince))
	b = binary.BigEndian.AppendUint32(b, s.receives)
	return append(b, s.nonce[:]...)
}

func decodeState(b []byte) (state, error) {
	if len(b) != stateSize || b[0] != version {
		return state{}, fmt.Errorf("the state of a message has %d bytes of an unknown form", len(b))
	}
	s := state{
		enqueuedAt: int64(binary.BigEndian.Uint64(b[1:])),
		visibleAt:  int64(binary.BigEndian.Uint64(b[9:])),
		deadSince:  int64(binary.BigEndian.Uint64(b[17:])),
		receives:   binary.BigEndian.Uint32(b[25:]),
		nonce:      [nonceSize]byte(b[29:]),
	}
	if s.enqueuedAt < 0 || s.visibleAt < 0 || s.deadSince < 0 {
		return state{}, errors.New("the state of a message has a time before 1970")
	}
	return s, nil
}

// prefix is what the keys of one kind and queue begin with.
func prefix(kind byte, queue string) []byte {
	b := make([]byte, 0, 2+len(queue)+8+idSize)
	b = append(b, kind)
	b = append(b, queue...)
	return append(b, 0)
}

func messageKey(kind byte, queue string, i id) []byte {
	return append(prefix(kind, queue), i[:]...)
}

// visibleKey with the zero id is the lower bound of the entries from at on.
func visibleKey(queue string, at int64, i id) []byte {
	return append(binary.BigEndian.AppendUint64(prefix(kindVisible, queue), uint64(at)), i[:]...)
}

// parseKey takes a key apart; at is 0 but for an index entry.
func parseKey(key []byte) (kind byte, queue string, at int64, i id, err error) {
	zero := bytes.IndexByte(key, 0)
	if zero < 2 {
		return 0, "", 0, id{}, fmt.Errorf("the key %x has no queue", key)
	}
	kind, queue, rest := key[0], string(key[1:zero]), key[zero+1:]
	want := idSize
	if kind == kindVisible {
		want += 8
	}
	if strings.IndexByte("prv", kind) < 0 || len(rest) != want {
		return 0, "", 0, id{}, fmt.Errorf("the key %x is of no known form", key)
	}
	if kind == kindVisible {
		at, rest = int64(binary.BigEndian.Uint64(rest)), rest[8:]
	}
	if at < 0 {
		return 0, "", 0, id{}, fmt.Errorf("the key %x has a time before 1970", key)
	}
	return kind, queue, at, id(rest), nil
}

// A receipt names one delivery of one message. Its nonce cannot be guessed.
type receipt struct {
	queue string
	id    id
	nonce [nonceSize]byte
}

// String is the form that clients carry: base64url of version, nonce, id, queue.
func (r receipt) String() string {
	b := make([]byte, 0, 1+nonceSize+idSize+len(r.queue))
	b = append(b, version)
	b = append(b, r.nonce[:]...)
	b = append(b, r.id[:]...)
	b = append(b, r.queue...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseReceipt accepts what String makes, and nothing else.
func parseReceipt(s string) (receipt, bool) {
	const head = 1 + nonceSize + idSize
	if len(s) > base64.RawURLEncoding.EncodedLen(head+maxName+len(deadSuffix)) || strings.ContainsAny(s, "\r\n") {
		return receipt{}, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < head || b[0] != version || !validName(string(b[head:])) {
		return receipt{}, false
	}
	return receipt{
		queue: string(b[head:]),
		nonce: [nonceSize]byte(b[1:]),
		id:    id(b[1+nonceSize : head]),
	}, true
}

const (
	maxName    = 80
	deadSuffix = ".dead"
)

// validName reports whether a queue may have this name: 1 to 80 of
// A-Z a-z 0-9 _ . - , and the same followed by ".dead".
func validName(name string) bool {
	base := strings.TrimSuffix(name, deadSuffix)
	for _, c := range []byte(base) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-') {
			return false
		}
	}
	return len(base) >= 1 && len(base) <= maxName
}

func isDead(name string) bool { return strings.HasSuffix(name, deadSuffix) }
