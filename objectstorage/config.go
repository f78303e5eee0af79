package objectstorage

import (
	"net/url"
	"slices"
	"time"

	"minicloud.internal/kit"
)

// Config is the configuration of the service. [DefaultConfig] has the defaults.
type Config struct {
	kit.Common
	// ListenTLS is a second address that clients connect to, over HTTPS; default
	// "": none. TLSCert and TLSKey are the files of its certificate, with those
	// between it and the root, and of its private key, both PEM; they are read
	// once, at start.
	ListenTLS string `toml:"listen_tls"`
	TLSCert   string `toml:"tls_cert"`
	TLSKey    string `toml:"tls_key"`

	// Driver is what keeps the objects: "disk" (the default) or "s3", another
	// S3 service, which S3 then describes.
	Driver string   `toml:"driver"`
	S3     Upstream `toml:"s3"`
	// DataDir is where the driver disk keeps objects; it is created where it is
	// absent, and used by one process at a time. Default "data/objectstorage".
	DataDir string `toml:"data_dir"`
	// InlineThreshold is the longest body that the driver disk keeps beside the
	// metadata and not in a file of its own; default "64KiB", 0 for none.
	InlineThreshold kit.Bytes `toml:"inline_threshold"`
	// CacheSize is the memory for metadata and small bodies that were read,
	// default "20MiB".
	CacheSize kit.Bytes `toml:"cache_size"`
	// ScrubInterval is the time from the end of one look at all bodies to the
	// next, default "24h"; 0 switches it off. ScrubRate is how much of them is
	// read a second, default "16MiB".
	ScrubInterval time.Duration `toml:"scrub_interval"`
	ScrubRate     kit.Bytes     `toml:"scrub_rate"`

	// Buckets exist before health turns 200. Default ["files"], which /files is.
	Buckets []string `toml:"buckets"`
	// Anonymous is what requests without a signature may do, by bucket, each
	// one of Buckets: "none", "read", "write" or "read-write". Default: none,
	// but read-write in "files".
	Anonymous map[string]string `toml:"anonymous"`
	// Credentials are those that requests are signed with, all of one account.
	// Default: [DefaultCredential]. None: nobody can sign.
	Credentials []Credential `toml:"credentials"`
	// Region is the region that a signature has to name; default "": any, and
	// "us-east-1" is what is reported.
	Region string `toml:"region"`
	// Hosts are the domains below which a host name names a bucket
	// (bucket.s3.example.com). Default s3.example.com, s3.localhost, localhost.
	Hosts []string `toml:"hosts"`
	// Aliases are the hosts, each with its port unless that is the scheme's, by
	// which this service is known. A presigned URL for one of them is valid by
	// each.
	Aliases []string `toml:"aliases"`

	// MaxObjectSize is the longest body that is taken, in bytes or with a
	// unit; default "5120GiB", which is the limit of S3.
	MaxObjectSize kit.Bytes `toml:"max_object_size"`
	// LifecycleInterval is the time from one run of the buckets' lifecycle
	// rules to the next, default "1h"; 0 switches them off.
	LifecycleInterval time.Duration `toml:"lifecycle_interval"`
	// BodyIdleTimeout is how long a body may stand still, coming or going;
	// default "30s". How long the whole takes has no limit.
	BodyIdleTimeout time.Duration `toml:"body_idle_timeout"`
	// DrainDelay is how long, at most, a stopping service still serves with
	// health at 503, so that a load balancer notices; default "0s".
	DrainDelay time.Duration `toml:"drain_delay"`
	// DrainTimeout bounds what is in flight after that; default "10s".
	DrainTimeout time.Duration `toml:"drain_timeout"`
}

// Upstream is the S3 service that the driver s3 keeps objects in.
type Upstream struct {
	// Endpoint is its URL, "https://s3.example.org"; no default.
	Endpoint string `toml:"endpoint"`
	// Region is what requests are signed for; default "us-east-1".
	Region    string `toml:"region"`
	AccessKey string `toml:"access_key"`
	SecretKey string `toml:"secret_key"`
	// PathStyle puts the bucket into the path of a URL and not before its host;
	// default true.
	PathStyle bool `toml:"path_style"`
}

// DefaultConfig returns the configuration of a service without a file.
func DefaultConfig() Config {
	return Config{
		Common:            kit.DefaultCommon("127.0.0.1:8007"),
		Driver:            driverDisk,
		S3:                Upstream{Region: "us-east-1", PathStyle: true},
		DataDir:           "data/objectstorage",
		InlineThreshold:   64 << 10,
		CacheSize:         20 << 20,
		ScrubInterval:     24 * time.Hour,
		ScrubRate:         16 << 20,
		Buckets:           []string{filesBucket},
		Credentials:       []Credential{DefaultCredential()},
		Hosts:             []string{"s3.example.com", "s3.localhost", "localhost"},
		Aliases:           []string{"localhost:8007", "127.0.0.1:8007", "object-storage:8007", "s3.example.com", "example.com"},
		MaxObjectSize:     5 << 40,
		LifecycleInterval: time.Hour,
		BodyIdleTimeout:   30 * time.Second,
		DrainTimeout:      10 * time.Second,
	}
}

const (
	driverDisk = "disk"
	driverS3   = "s3"
)

// Validate returns a [kit.KeyError] for the first value that cannot be.
func (c Config) Validate() error {
	for _, check := range []func() error{c.validateTLS, c.validateStore, c.validateAccess, c.validateTimes} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) validateTLS() error {
	if c.ListenTLS == "" {
		return nil
	}
	if err := kit.CheckAddress("listen_tls", c.ListenTLS); err != nil {
		return err
	}
	switch {
	case c.TLSCert == "":
		return kit.KeyErrorf("tls_cert", "is empty, expected the file of the certificate for listen_tls")
	case c.TLSKey == "":
		return kit.KeyErrorf("tls_key", "is empty, expected the file of the private key for listen_tls")
	}
	return nil
}

func (c *Config) validateStore() error {
	switch {
	case c.Driver != driverDisk && c.Driver != driverS3:
		return kit.KeyErrorf("driver", `is %q, expected "disk" or "s3"`, c.Driver)
	case c.DataDir == "":
		return kit.KeyErrorf("data_dir", "is empty, expected a directory")
	case c.InlineThreshold > 1<<20:
		return kit.KeyErrorf("inline_threshold", "is %v, expected at most 1MiB: a longer body passes through memory whole", c.InlineThreshold)
	case c.CacheSize < 1<<20:
		return kit.KeyErrorf("cache_size", "is %v, expected at least 1MiB", c.CacheSize)
	case c.ScrubInterval < 0:
		return kit.KeyErrorf("scrub_interval", "is %v, expected 0s or more", c.ScrubInterval)
	case c.ScrubRate < 64<<10:
		return kit.KeyErrorf("scrub_rate", "is %v, expected at least 64KiB; scrub_interval = \"0s\" switches it off", c.ScrubRate)
	case c.MaxObjectSize < 1:
		return kit.KeyErrorf("max_object_size", "is %v, expected at least 1 byte", c.MaxObjectSize)
	case c.MaxObjectSize > 1<<50:
		return kit.KeyErrorf("max_object_size", "is %v, expected at most 1024 TiB", c.MaxObjectSize)
	case c.Driver == driverS3:
		return c.S3.validate()
	}
	return nil
}

func (u *Upstream) validate() error {
	where, err := url.Parse(u.Endpoint)
	switch {
	case err != nil || !slices.Contains([]string{"http", "https"}, where.Scheme) || where.Host == "" || where.User != nil || where.RawQuery != "":
		return kit.KeyErrorf("s3.endpoint", `is %q, expected a URL such as "https://s3.example.org"`, u.Endpoint)
	case u.Region == "":
		return kit.KeyErrorf("s3.region", `is empty, expected one such as "us-east-1"`)
	case u.AccessKey == "":
		return kit.KeyErrorf("s3.access_key", "is empty, expected what the service knows this one by")
	case u.SecretKey == "":
		return kit.KeyErrorf("s3.secret_key", "is empty, expected the secret of s3.access_key")
	}
	return nil
}

func (c *Config) validateTimes() error {
	switch {
	case c.LifecycleInterval < 0:
		return kit.KeyErrorf("lifecycle_interval", "is %v, expected 0s or more", c.LifecycleInterval)
	case c.BodyIdleTimeout <= 0:
		return kit.KeyErrorf("body_idle_timeout", "is %v, expected more than 0s", c.BodyIdleTimeout)
	case c.DrainDelay < 0:
		return kit.KeyErrorf("drain_delay", "is %v, expected 0s or more", c.DrainDelay)
	case c.DrainTimeout <= 0:
		return kit.KeyErrorf("drain_timeout", "is %v, expected more than 0s", c.DrainTimeout)
	}
	return nil
}
