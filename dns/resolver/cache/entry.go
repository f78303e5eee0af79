package cache

import (
	"time"

	"github.com/miekg/dns"
)

// A Kind is what an entry says of its name and type.
type Kind uint8

const (
	// Records: there are records of the type (one set, one TTL).
	Records Kind = iota
	// NoType: the name exists, without records of the type (NODATA).
	NoType
	// NoName: the name does not exist (NXDOMAIN), and so nothing below it
	// (RFC 8020).
	NoName
	// Failed: nobody could be asked, or nobody gave a usable answer (RFC 9520).
	// It stands beside what is known of the name and type, and takes the place of
	// none of it.
	Failed
)

// String returns "records", "no such type", "no such name" or "failure".
func (k Kind) String() string {
	return [...]string{"records", "no such type", "no such name", "failure"}[k]
}

// A Rank is how far the data of an entry is to be trusted (RFC 2181, section
// 5.4.1). Data never replaces fresh data of a higher rank. Glue and the NS sets of
// referrals have none: by construction they are never put here, and so never given
// to a client.
type Rank uint8

const (
	// RankForwarded is an answer of a server that is not authoritative, to
	// which the zone is forwarded.
	RankForwarded Rank = iota + 1
	// RankAnswer is the answer of an authoritative server.
	RankAnswer
)

// String returns "forwarded" or "answer", or "unknown" where there is none.
func (r Rank) String() string {
	return [...]string{"unknown", "forwarded", "answer"}[min(r, RankAnswer)]
}

// An Entry is one thing that is known, as it is put into the cache and taken out
// of it for the general path.
type Entry struct {
	Kind Kind
	Rank Rank
	// Records are the set of Kind Records: one owner, one type, one TTL; of the
	// type ANY all that there are.
	Records []dns.RR
	// SOA comes with NoType and NoName, where the server sent it.
	SOA *dns.SOA
	// Code and Sentence explain Kind Failed (RFC 8914).
	Code     uint16
	Sentence string
	// TTL is in seconds. For Put it is how long the entry is good for, as it was
	// received (the cache applies its own limits, and those alone for Failed);
	// from Get, what is left of it, at least 1, and 0 for what is stale.
	TTL uint32
	// Source is who said so, for people: "dns-com", "198.51.100.53". Up to 63
	// octets are kept.
	Source string
	// Stored is when it was learnt; set by the cache, and by nobody else.
	Stored time.Time
}

// A State is whether an entry is there, and still counts.
type State uint8

const (
	// Missing: nothing is known.
	Missing State = iota
	// Fresh: the entry counts.
	Fresh
	// Stale: its time has ended, but not long ago (RFC 8767).
	Stale
)

// String returns "missing", "fresh" or "stale".
func (s State) String() string { return [...]string{"missing", "fresh", "stale"}[s] }

// An Item is an entry with what it is about.
type Item struct {
	Name string
	// Type is the type; [dns.TypeNone] for NoName, which is about all of them.
	Type  uint16
	State State
	Entry
}
