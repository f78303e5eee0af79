package iterate

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
)

// Limits bound what one question can make the resolver do, to itself and to
// others. Where a limit is reached the question fails, and its Extended DNS Error
// names the limit.
type Limits struct {
	// ResolveTimeout is how long a question may take in all, 1 ms to 5 min;
	// default 4 s, so that clients hear of a failure before they give up (mostly
	// after 5 s).
	ResolveTimeout time.Duration `toml:"resolve_timeout"`
	// MaxQueries is how many queries one question may cost, 1 to 1000; default
	// 50. Repetitions over TCP count too.
	MaxQueries int `toml:"max_queries"`
	// MaxReferrals is how many referrals it may follow, 1 to 1000; default 30.
	MaxReferrals int `toml:"max_referrals"`
	// MaxAliases is how many CNAME and DNAME records its answer may lead
	// through, 1 to 100; default 11.
	MaxAliases int `toml:"max_aliases"`
	// MaxGlueless is how many names of name servers without a known address
	// it may look up, 0 to 100; default 5. Zero: none. A hostile zone names servers
	// in a victim's zone, and so has the resolver attack it (NXNSAttack, 2020).
	MaxGlueless int `toml:"max_glueless"`
	// MaxDepth is how deep those look-ups may be nested, 1 to 20; default 5.
	MaxDepth int `toml:"max_depth"`
	// MaxServers is how many name servers of one zone are taken note of, 1 to
	// 100; default 16.
	MaxServers int `toml:"max_servers"`
	// MaxAddresses is how many addresses of one name server are, 1 to 100;
	// default 8.
	MaxAddresses int `toml:"max_addresses"`
	// MaxRecords is how many records one set may have to be believed, 1 to
	// 4096; default 256.
	MaxRecords int `toml:"max_records"`
	// MaxMinimise is how many queries may be spent on not telling servers the
	// whole name (RFC 9156, MAX_MINIMISE_COUNT), 0 to 100; default 10. Zero:
	// every server is told the whole name.
	MaxMinimise int `toml:"max_minimise"`
	// Attempts is how often each silent name server of a zone is asked before
	// the zone counts as unreachable, 1 to 10; default 2.
	Attempts int `toml:"attempts"`
	// MaxDelegations is how many zones' name servers are remembered, 1 to
	// 100,000,000; default 10000. The least recently used go first. One that
	// takes more than 1 KiB counts as several, so that it bounds memory too.
	MaxDelegations int `toml:"max_delegations"`
	// MaxDelegationTTL is the longest that they are, 1 s to 168 h; default 24 h.
	MaxDelegationTTL time.Duration `toml:"max_delegation_ttl"`
}

// DefaultLimits returns the defaults.
func DefaultLimits() Limits {
	return Limits{
		ResolveTimeout:   4 * time.Second,
		MaxQueries:       50,
		MaxReferrals:     30,
		MaxAliases:       11,
		MaxGlueless:      5,
		MaxDepth:         5,
		MaxServers:       16,
		MaxAddresses:     8,
		MaxRecords:       256,
		MaxMinimise:      10,
		Attempts:         2,
		MaxDelegations:   10_000,
		MaxDelegationTTL: 24 * time.Hour,
	}
}

// ValidateLimits reports the first bad value as a [kit.KeyError].
func (l Limits) ValidateLimits() error {
	return cmp.Or(
		kit.CheckRange("max_queries", l.MaxQueries, 1, 1000),
		kit.CheckRange("max_referrals", l.MaxReferrals, 1, 1000),
		kit.CheckRange("max_aliases", l.MaxAliases, 1, 100),
		kit.CheckRange("max_glueless", l.MaxGlueless, 0, 100),
		kit.CheckRange("max_depth", l.MaxDepth, 1, 20),
		kit.CheckRange("max_servers", l.MaxServers, 1, 100),
		kit.CheckRange("max_addresses", l.MaxAddresses, 1, 100),
		kit.CheckRange("max_records", l.MaxRecords, 1, 4096),
		kit.CheckRange("max_minimise", l.MaxMinimise, 0, 100),
		kit.CheckRange("attempts", l.Attempts, 1, 10),
		kit.CheckRange("max_delegations", l.MaxDelegations, 1, 100_000_000),
		kit.CheckRange("resolve_timeout", l.ResolveTimeout, time.Millisecond, 5*time.Minute),
		kit.CheckRange("max_delegation_ttl", l.MaxDelegationTTL, time.Second, 7*24*time.Hour),
	)
}

// Config is what an [Iterator] is made of.
type Config struct {
	// Limits bound each question.
	Limits Limits
	// Hints are the root's name servers; nil means those of the Internet.
	Hints *Delegation
	// Exchanger sends the queries. Required.
	Exchanger Exchanger
	// Store holds what is known. Required.
	Store Store
	// Forwarder returns the zone of others that a canonical name lies in, and who
	// asks for it, or nil for a name that is walked to; nil: all are.
	Forwarder func(name string) (zone string, f Forwarder)
	// Now is the clock by which delegations end; nil means [time.Now].
	Now func() time.Time
	// Logger gets a line for each query, at level debug; nil means none.
	Logger *slog.Logger
	// Registerer takes the metrics; nil means that they are kept for nobody.
	Registerer prometheus.Registerer
}
