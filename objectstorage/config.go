package objectstorage

import (
	"time"

	"minicloud.internal/kit"
)

// Config is the configuration of the service. [DefaultConfig] has the defaults.
type Config struct {
	kit.Common
	// DataDir is where objects are kept; it is created where it is absent, and
	// used by one process at a time. Default "data/objectstorage".
	DataDir string `toml:"data_dir"`
	// MaxObjectSize is the longest body that is taken, in bytes or with a
	// unit; default "5120GiB", which is the limit of S3.
	MaxObjectSize kit.Bytes `toml:"max_object_size"`
	// BodyIdleTimeout is how long a body may stand still, coming or going;
	// default "30s". How long the whole takes has no limit.
	BodyIdleTimeout time.Duration `toml:"body_idle_timeout"`
	// DrainDelay is how long, at most, a stopping service still serves with
	// health at 503, so that a load balancer notices; default "0s".
	DrainDelay time.Duration `toml:"drain_delay"`
	// DrainTimeout bounds what is in flight after that; default "10s".
	DrainTimeout time.Duration `toml:"drain_timeout"`
}

// DefaultConfig returns the configuration of a service without a file.
func DefaultConfig() Config {
	return Config{
		Common:          kit.DefaultCommon("127.0.0.1:8007"),
		DataDir:         "data/objectstorage",
		MaxObjectSize:   5 << 40,
		BodyIdleTimeout: 30 * time.Second,
		DrainTimeout:    10 * time.Second,
	}
}

// Validate returns a [kit.KeyError] for the first value that cannot be.
func (c Config) Validate() error {
	switch {
	case c.DataDir == "":
		return kit.KeyErrorf("data_dir", "is empty, expected a directory")
	case c.MaxObjectSize < 1:
		return kit.KeyErrorf("max_object_size", "is %v, expected at least 1 byte", c.MaxObjectSize)
	case c.MaxObjectSize > 1<<50:
		return kit.KeyErrorf("max_object_size", "is %v, expected at most 1024 TiB", c.MaxObjectSize)
	case c.BodyIdleTimeout <= 0:
		return kit.KeyErrorf("body_idle_timeout", "is %v, expected more than 0s", c.BodyIdleTimeout)
	case c.DrainDelay < 0:
		return kit.KeyErrorf("drain_delay", "is %v, expected 0s or more", c.DrainDelay)
	case c.DrainTimeout <= 0:
		return kit.KeyErrorf("drain_timeout", "is %v, expected more than 0s", c.DrainTimeout)
	}
	return nil
}
