package exchange

import (
	"container/list"
	"context"
	"crypto/rand"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxServers is how many servers are remembered, some 400 bytes for each.
	maxServers = 10_000
	// forgetAfter is how long what was measured of a server counts, if nothing
	// more is heard of it; and how long it is asked in the way that it turned out
	// to need (Unbound's infra-host-ttl).
	forgetAfter = 15 * time.Minute
	// silentFor is how long a server that only answered when it was asked without
	// EDNS is asked so: it may have been two lost packets.
	silentFor = time.Minute
	// firstBackoff is how long a server that did not answer is asked last. It
	// doubles with each time, up to lastBackoff.
	firstBackoff = 2 * time.Second
	lastBackoff  = 5 * time.Minute
	// lameFor is how long a server that is lame for a zone is asked last; RFC
	// 9520, section 3.2 forbids more.
	lameFor = 5 * time.Minute
	// maxLame is how many zones a server may be lame for at once; a server that
	// is lame for thousands would fill the memory. So would their names, of up to
	// 1,000 octets as they are written: a hash stands for each.
	maxLame = 16
)

// A host is what is known of one server. Its fields belong to the table.
type host struct {
	key   serverKey
	place *list.Element
	users int           // questions that are being put to it, or wait for that
	slots chan struct{} // those that are being put

	heard        time.Time // when something was last learnt
	srtt, rttvar time.Duration
	measured     bool
	failures     int       // since it last answered
	until        time.Time // backed off
	ednsWorks    bool
	noEDNS       time.Time // until when it is asked without
	noCapitals   time.Time // likewise
	cookie       cookie
	lame         map[uint64]time.Time // zones, by their hash: until when
}

// known is a copy of what one exchange needs of it.
type known struct {
	srtt, rttvar    time.Duration
	measured        bool
	edns, ednsWorks bool
	capitals        bool
	cookie          cookie
}

// servers is the table of statistics: a bounded number, the least recently used
// of which is forgotten first. It is safe for concurrent use.
type servers struct {
	perServer int
	seed      maphash.Seed

	mu    sync.Mutex
	order *list.List // of *host, the most recently used in front
	byKey map[serverKey]*host
}

func newServers(perServer int) *servers {
	return &servers{perServer: perServer, seed: maphash.MakeSeed(), order: list.New(), byKey: map[serverKey]*host{}}
}

func (t *servers) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byKey)
}

// find returns a server that is remembered, without what is too old. The caller
// holds mu.
func (t *servers) find(key serverKey, now time.Time) *host {
	s := t.byKey[key]
	if s == nil {
		return nil
	}
	if now.Sub(s.heard) > forgetAfter {
		s.measured, s.srtt, s.rttvar = false, 0, 0
		s.failures, s.until = 0, time.Time{}
		s.ednsWorks, s.cookie.fromServer = false, nil
	}
	return s
}

// findOrAdd is find, and remembers the server where it was not. The caller
// holds mu.
func (t *servers) findOrAdd(key serverKey, now time.Time) *host {
	s := t.find(key, now)
	if s == nil {
		s = &host{key: key, slots: make(chan struct{}, t.perServer), heard: now}
		_, _ = rand.Read(s.cookie.fromClient[:]) // a cookie for each server (RFC 7873, section 4.1)
		s.place = t.order.PushFront(s)
		t.byKey[key] = s
		t.evict()
	}
	t.order.MoveToFront(s.place)
	return s
}

// evict forgets the least recently used, but none that is being asked: its
// places must stay counted. The caller holds mu.
func (t *servers) evict() {
	for el := t.order.Back(); el != nil && len(t.byKey) > maxServers; {
		s := el.Value.(*host)
		el = el.Prev()
		if s.users == 0 {
			t.order.Remove(s.place)
			delete(t.byKey, s.key)
		}
	}
}

// enter takes one of the server's places, and waits for it until ctx ends.
func (t *servers) enter(ctx context.Context, key serverKey, now time.Time) (*host, known, error) {
	t.mu.Lock()
	s := t.findOrAdd(key, now)
	s.users++
	k := known{
		srtt: s.srtt, rttvar: s.rttvar, measured: s.measured,
		edns: !now.Before(s.noEDNS), ednsWorks: s.ednsWorks,
		capitals: !now.Before(s.noCapitals),
		cookie:   s.cookie,
	}
	t.mu.Unlock()
	select {
	case s.slots <- struct{}{}:
		return s, k, nil
	case <-ctx.Done():
		t.mu.Lock()
		defer t.mu.Unlock()
		s.users--
		return nil, known{}, ctx.Err()
	}
}

func (t *servers) leave(s *host) {
	<-s.slots
	t.mu.Lock()
	defer t.mu.Unlock()
	s.users--
}

// A lesson is what an exchange found out about a server that answered.
type lesson struct {
	rtt        time.Duration // 0: not measured
	edns       bool          // it understands EDNS
	noEDNS     time.Duration // it does not; for so long
	noCapitals bool
	fromServer []byte // its cookie; nil: none
}

// answered takes down what was learnt from an answer.
func (t *servers) answered(s *host, l lesson, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.heard, s.failures, s.until = now, 0, time.Time{}
	if l.rtt > 0 {
		s.measure(l.rtt)
	}
	if l.edns {
		s.ednsWorks, s.noEDNS = true, time.Time{}
	}
	if l.noEDNS > 0 {
		s.ednsWorks, s.noEDNS = false, now.Add(l.noEDNS)
	}
	if l.noCapitals {
		s.noCapitals = now.Add(forgetAfter)
	}
	s.cookie.fromServer = l.fromServer
}

// measure takes a round-trip time into the average and the variation (Jacobson;
// RFC 6298, section 2).
func (s *host) measure(rtt time.Duration) {
	if !s.measured {
		s.measured, s.srtt, s.rttvar = true, rtt, rtt/2
		return
	}
	s.rttvar += ((s.srtt - rtt).Abs() - s.rttvar) / 4
	s.srtt += (rtt - s.srtt) / 8
}

// failed takes down that a server did not answer.
func (t *servers) failed(s *host, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.heard = now
	s.backOff(now)
	s.failures++
}

// backOff puts the server behind the others, for longer with each failure.
func (s *host) backOff(now time.Time) {
	s.until = now.Add(min(firstBackoff<<min(s.failures, 10), lastBackoff))
}

func (t *servers) lame(key serverKey, zone string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.findOrAdd(key, now)
	if s.lame == nil {
		s.lame = map[uint64]time.Time{}
	}
	for z, until := range s.lame {
		if !now.Before(until) {
			delete(s.lame, z)
		}
	}
	for z := range s.lame {
		if len(s.lame) < maxLame {
			break
		}
		delete(s.lame, z) // any: none is better than another
	}
	s.lame[maphash.String(t.seed, zone)] = now.Add(lameFor)
}

// standings looks addresses up for [arrange]. A server whose backing off ended
// is given to one caller to probe, and stays behind for the others.
func (t *servers) standings(zone string, addrs []netip.Addr, now time.Time) []standing {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]standing, len(addrs))
	hash := maphash.String(t.seed, zone)
	probing := false
	for i, addr := range addrs {
		out[i].addr = addr
		s := t.find(At(addr).key(), now)
		if s == nil {
			continue
		}
		out[i].measured, out[i].srtt = s.measured, s.srtt
		if until := s.lame[hash]; now.Before(until) {
			out[i].behind, out[i].until = true, until
			continue
		}
		out[i].probe, out[i].behind = s.stand(&probing, now)
		out[i].until = s.until
	}
	return out
}

// behind returns which of some servers are backed off, for a caller that will
// ask the others first; likewise with a probe.
func (t *servers) behind(keys []serverKey, now time.Time) []bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]bool, len(keys))
	probing := false
	for i, key := range keys {
		if s := t.find(key, now); s != nil {
			_, out[i] = s.stand(&probing, now)
		}
	}
	return out
}

// stand says whether a server is to be probed by the caller, or is backed off.
// The caller holds the table's mu.
func (s *host) stand(probing *bool, now time.Time) (probe, behind bool) {
	switch {
	case s.failures == 0:
		return false, false
	case now.Before(s.until) || *probing:
		return false, true
	}
	*probing = true
	s.backOff(now) // for everybody else, until this one knows
	return true, false
}
