package cache

import (
	"time"

	"minicloud.internal/kit"
)

// Config is the cache's configuration. [DefaultConfig] gives every default.
type Config struct {
	kit.Common

	// MaxMemory bounds the weight of all entries: key, value, and 128 bytes
	// each; default 64 MiB. It must hold at least one entry of the largest size.
	MaxMemory kit.Bytes `toml:"max_memory"`
	// MaxValueSize bounds one value; default 1 MiB, at most 512 MiB.
	MaxValueSize kit.Bytes `toml:"max_value_size"`
	// MaxKeySize bounds one key; default 1 KiB, from 1 byte to 32 KiB, since a
	// key travels in a path.
	MaxKeySize kit.Bytes `toml:"max_key_size"`
	// DefaultTTL is the time to live of a set that names none; default 0, which
	// means without an end. At most 10 years.
	DefaultTTL time.Duration `toml:"default_ttl"`
	// LeaseTime is how long after its miss a lease may store; default 10 s.
	LeaseTime time.Duration `toml:"lease_time"`
	// MaxLeases bounds the leases that are out, each of about 200 bytes; default
	// 65,536, at least 64.
	MaxLeases int `toml:"max_leases"`
	// DrainTimeout bounds what is in flight when the service stops; default 10 s.
	DrainTimeout time.Duration `toml:"drain_timeout"`
}

// maxTTL keeps deadlines far from the end of an int64 of nanoseconds.
const maxTTL = 10 * 365 * 24 * time.Hour

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Common:       kit.DefaultCommon("127.0.0.1:8005"),
		MaxMemory:    64 << 20,
		MaxValueSize: 1 << 20,
		MaxKeySize:   1 << 10,
		LeaseTime:    10 * time.Second,
		MaxLeases:    1 << 16,
		DrainTimeout: 10 * time.Second,
	}
}

// Validate reports the first bad value as a [kit.KeyError].
func (c *Config) Validate() error {
	switch {
	case c.MaxValueSize < 1 || c.MaxValueSize > 512<<20:
		return kit.KeyErrorf("max_value_size", `is %v, expected "1B" to "512MiB"`, c.MaxValueSize)
	case c.MaxKeySize < 1 || c.MaxKeySize > 32<<10:
		return kit.KeyErrorf("max_key_size", `is %v, expected "1B" to "32KiB"`, c.MaxKeySize)
	case c.MaxMemory < c.MaxValueSize+c.MaxKeySize+overhead:
		return kit.KeyErrorf("max_memory", "is %v, expected at least one largest entry, %v",
			c.MaxMemory, c.MaxValueSize+c.MaxKeySize+overhead)
	case c.DefaultTTL < 0 || c.DefaultTTL > maxTTL:
		return kit.KeyErrorf("default_ttl", `is %v, expected "0s" (no end) to "87600h"`, c.DefaultTTL)
	case c.LeaseTime <= 0 || c.LeaseTime > time.Hour:
		return kit.KeyErrorf("lease_time", `is %v, expected more than 0 and at most "1h"`, c.LeaseTime)
	case c.MaxLeases < stripes:
		return kit.KeyErrorf("max_leases", "is %d, expected at least %d", c.MaxLeases, stripes)
	case c.DrainTimeout <= 0:
		return kit.KeyErrorf("drain_timeout", `is %v, expected more than 0, as in "10s"`, c.DrainTimeout)
	}
	return nil
}
