package queue

import (
	"time"

	"minicloud.internal/kit"
)

// Config is the queue's configuration. [DefaultConfig] gives every default.
type Config struct {
	kit.Common

	// DataDir is the directory of the messages; default "data/queue". It is
	// created where absent, and locked: two processes cannot share it.
	DataDir string `toml:"data_dir"`
	// VisibilityTimeout is how long a received message stays invisible to other
	// receivers where the request does not say; default 30 s, more than 0 and at
	// most 12 h.
	VisibilityTimeout time.Duration `toml:"visibility_timeout"`
	// MaxReceives is how often a message is delivered before it moves to the
	// dead-letter queue; default 10, at least 1.
	MaxReceives int `toml:"max_receives"`
	// MaxWait is the longest long poll; default and maximum 20 s, 0 switches
	// long polls off.
	MaxWait time.Duration `toml:"max_wait"`
	// MaxMessageSize bounds the JSON of a message; default 256 KiB, from 1 byte
	// to 16 MiB.
	MaxMessageSize kit.Bytes `toml:"max_message_size"`
	// MaxQueues bounds the queues that clients bring into being; default 1000.
	// A queue without messages gives its place to a new one. Dead-letter queues
	// that the store makes itself are not refused.
	MaxQueues int `toml:"max_queues"`
	// MaxMessages bounds the messages of one queue, in flight or not; default
	// 1,000,000. Dead letters are not refused.
	MaxMessages int `toml:"max_messages"`
	// MaxInFlight bounds the messages of one queue that are received and not
	// acknowledged; default 100,000. Each takes about 150 bytes of memory.
	MaxInFlight int `toml:"max_in_flight"`
	// MaxWaiters bounds the long polls that wait on one queue; default 1000.
	MaxWaiters int `toml:"max_waiters"`
	// MinFree is the free space of the disk below which enqueue is refused, so
	// that the engine never meets a full one; default 64 MiB, 0 switches it off.
	MinFree kit.Bytes `toml:"min_free"`
	// DrainTimeout bounds what is in flight when the service stops; default 10 s.
	DrainTimeout time.Duration `toml:"drain_timeout"`
}

// maxVisibility is the longest visibility timeout, that of SQS.
const maxVisibility = 12 * time.Hour

// maxBatch is the most messages that one receive takes, that of SQS.
const maxBatch = 10

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Common:            kit.DefaultCommon("127.0.0.1:8006"),
		DataDir:           "data/queue",
		VisibilityTimeout: 30 * time.Second,
		MaxReceives:       10,
		MaxWait:           20 * time.Second,
		MaxMessageSize:    256 << 10,
		MaxQueues:         1000,
		MaxMessages:       1_000_000,
		MaxInFlight:       100_000,
		MaxWaiters:        1000,
		MinFree:           64 << 20,
		DrainTimeout:      10 * time.Second,
	}
}

// Validate reports the first bad value as a [kit.KeyError].
func (c *Config) Validate() error {
	if c.DataDir == "" {
		return kit.KeyErrorf("data_dir", `is empty, expected a directory, as in "data/queue"`)
	}
	if c.VisibilityTimeout <= 0 || c.VisibilityTimeout > maxVisibility {
		return kit.KeyErrorf("visibility_timeout", `is %v, expected more than 0 and at most "12h"`, c.VisibilityTimeout)
	}
	if c.MaxWait < 0 || c.MaxWait > 20*time.Second {
		return kit.KeyErrorf("max_wait", `is %v, expected "0s" to "20s"`, c.MaxWait)
	}
	if c.MaxMessageSize < 1 || c.MaxMessageSize > 16<<20 {
		return kit.KeyErrorf("max_message_size", `is %v, expected "1B" to "16MiB"`, c.MaxMessageSize)
	}
	if c.DrainTimeout <= 0 {
		return kit.KeyErrorf("drain_timeout", `is %v, expected more than 0, as in "10s"`, c.DrainTimeout)
	}
	for _, bound := range []struct {
		key   string
		value int
	}{
		{"max_receives", c.MaxReceives},
		{"max_queues", c.MaxQueues},
		{"max_messages", c.MaxMessages},
		{"max_in_flight", c.MaxInFlight},
		{"max_waiters", c.MaxWaiters},
	} {
		if bound.value < 1 {
			return kit.KeyErrorf(bound.key, "is %d, expected at least 1", bound.value)
		}
	}
	return nil
}
