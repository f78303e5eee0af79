package upstream

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"minicloud.internal/kit"
)

// Config is all targets and all pools of a load balancer. [Set.Apply] expects a
// valid one: every address of a pool is that of a target, every target and every
// pool stands once. Addresses are compared without regard to case, as names are.
type Config struct {
	// Targets are probed in any case, in a pool or not.
	Targets []TargetConfig
	// Pools are known by their names.
	Pools []PoolConfig
	// Dial makes the connections of the probes; nil means [kit.DefaultDial].
	// It looks the name up each time.
	Dial kit.DialFunc
}

// A TargetConfig is one service that requests can be given to.
type TargetConfig struct {
	// Address is "host:port".
	Address string
	// Health is how the target is probed.
	Health Health
	// Weight is the target's share beside the others of a pool, 1 to 256;
	// 0 means 1.
	Weight int
	// MaxConnections is how many requests the target works on at once; 0 means
	// no bound. What is above it goes to others, or waits in the pool's queue.
	MaxConnections int
	// SlowStart is the time in which a target that was up before, and then down,
	// comes from a tenth of its weight to all of it; 0 means at once.
	SlowStart time.Duration
	// MaxIdle is how many idle connections are kept; 0 means none.
	MaxIdle int
	// IdleTimeout is how long each of them is kept; 0 means 60 s. It belongs
	// below the target's own, so that no request meets a connection that its
	// target is closing.
	IdleTimeout time.Duration
}

// Health is how a target is probed.
type Health struct {
	// Endpoint is the path, and query, that is asked for; "" means "/healthz".
	Endpoint string
	// Interval is the time from one probe to the next, less up to a tenth at
	// random, so that probes do not march in step; 0 means 5 s.
	Interval time.Duration
	// Timeout is how long a probe may take in all, and, unless the interval is
	// shorter, the time to the next probe after one without an answer; 0 means
	// 1 s.
	Timeout time.Duration
	// Rise is how many good probes in a row bring a target that is down back
	// up; 0 means 1. The very first probe of a target decides alone.
	Rise int
	// Fall is how many probes in a row may go without any answer until the
	// target is down; 0 means 2. Another answer than the expected one, a refused
	// connection and an unknown name count at once: they are no accident of a
	// busy moment, as silence may be.
	Fall int
	// Status is which answers are good; the zero value means 200 to 299.
	Status StatusSet
	// Body is a text that the first 64 KiB of a good answer's body contain;
	// "" means that the body does not matter.
	Body string
}

// A PoolConfig is several targets that requests are balanced over.
type PoolConfig struct {
	// Name is what the pool is known by.
	Name string
	// Policy is the order in which a request tries the targets; "" means
	// [RoundRobin].
	Policy Policy
	// Targets are addresses, each once.
	Targets []string
	// QueueLength is how many requests may wait for a place while every target
	// works on its MaxConnections; 0 means none.
	QueueLength int
	// QueueTimeout is how long each of them waits; 0 means 1 s.
	QueueTimeout time.Duration
	// FailOpen gives requests to targets that are not up where none is. It is
	// for probes that are less to be trusted than the targets.
	FailOpen bool
	// RetryBudget is how many retries a hundred requests give, beside those that
	// a quiet pool has in any case (see [Pool.MayRetry]); 0 means none.
	RetryBudget int
	// FirstVerdict is how long a request waits for a probe where no target is up
	// and one may be; 0 means 1 s.
	FirstVerdict time.Duration
}

// A Policy is the order in which a request tries the targets of a pool.
type Policy string

const (
	// RoundRobin gives each target its turn, as often as its weight says.
	RoundRobin Policy = "round_robin"
	// LeastConnections prefers the target with the fewest requests in flight
	// for its weight.
	LeastConnections Policy = "least_connections"
	// RandomTwo prefers the less loaded of two targets taken at random.
	RandomTwo Policy = "random_two"
	// Hash gives requests of one key to one target for as long as it is there
	// and has a place free, and otherwise to the one that would have got them
	// without it; see [Pool.Walk].
	Hash Policy = "hash"
)

// Known reports whether p is one of the policies, or "".
func (p Policy) Known() bool {
	switch p {
	case "", RoundRobin, LeastConnections, RandomTwo, Hash:
		return true
	}
	return false
}

func (c TargetConfig) withDefaults() TargetConfig {
	c.Weight = min(max(c.Weight, 1), 256)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, time.Minute)
	c.Health.Endpoint = cmp.Or(c.Health.Endpoint, "/healthz")
	c.Health.Interval = cmp.Or(c.Health.Interval, 5*time.Second)
	c.Health.Timeout = cmp.Or(c.Health.Timeout, time.Second)
	c.Health.Rise = cmp.Or(c.Health.Rise, 1)
	c.Health.Fall = cmp.Or(c.Health.Fall, 2)
	return c
}

func (c PoolConfig) withDefaults() PoolConfig {
	c.Policy = cmp.Or(c.Policy, RoundRobin)
	c.QueueTimeout = cmp.Or(c.QueueTimeout, time.Second)
	c.FirstVerdict = cmp.Or(c.FirstVerdict, time.Second)
	return c
}

// canonical makes two spellings of one address equal: names ignore case.
func canonical(address string) string { return strings.ToLower(address) }

// A StatusSet is a set of final statuses, 200 to 599. The zero value is 200 to
// 299. Two are compared with ==.
type StatusSet struct {
	bits [(lastStatus - firstStatus + 64) / 64]uint64
}

const firstStatus, lastStatus = 200, 599

// ParseStatusSet reads statuses and ranges of them with commas in between, as in
// "200", "200-399" or "200,204,300-302". The empty string is the zero value.
func ParseStatusSet(text string) (StatusSet, error) {
	var s StatusSet
	if text == "" {
		return s, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(part), "-")
		first, err := parseStatus(from)
		last := first
		if err == nil && ranged {
			last, err = parseStatus(to)
		}
		if err == nil && first > last {
			err = fmt.Errorf("the range %s ends before it begins", part)
		}
		if err != nil {
			return StatusSet{}, err
		}
		for i := first - firstStatus; i <= last-firstStatus; i++ {
			s.bits[i/64] |= 1 << (i % 64)
		}
	}
	return s, nil
}

func parseStatus(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || len(text) != 3 || n < firstStatus || n > lastStatus {
		return 0, fmt.Errorf("%q is no status from %d to %d", text, firstStatus, lastStatus)
	}
	return n, nil
}

// Has reports whether a status is in the set.
func (s StatusSet) Has(status int) bool {
	if s == (StatusSet{}) {
		return status/100 == 2
	}
	i := status - firstStatus
	return i >= 0 && i <= lastStatus-firstStatus && s.bits[i/64]&(1<<(i%64)) != 0
}

// UnmarshalText implements [encoding.TextUnmarshaler] with [ParseStatusSet].
func (s *StatusSet) UnmarshalText(text []byte) (err error) {
	*s, err = ParseStatusSet(string(text))
	return err
}

// String returns the set as [ParseStatusSet] reads it.
func (s StatusSet) String() string {
	var out strings.Builder
	for first := firstStatus; first <= lastStatus; first++ {
		if !s.Has(first) {
			continue
		}
		last := first
		for s.Has(last + 1) {
			last++
		}
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		out.WriteString(strconv.Itoa(first))
		if last > first {
			out.WriteString("-" + strconv.Itoa(last))
		}
		first = last
	}
	return out.String()
}
