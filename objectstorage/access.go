package objectstorage

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"minicloud.internal/kit"
	"minicloud.internal/objectstorage/s3api"
)

// filesBucket is the bucket that /files is.
const filesBucket = "files"

// A Credential is what a request is signed with. All belong to one account.
type Credential struct {
	AccessKey string `toml:"access_key"` // 3 to 128 letters, digits, "-", "_" and "."
	SecretKey string `toml:"secret_key"` // 8 to 128 bytes
}

// DefaultCredential is the one of development. It is in the documentation, so it
// keeps nobody out.
func DefaultCredential() Credential {
	return Credential{AccessKey: "minicloud", SecretKey: "minicloud-secret"}
}

// The values of Config.Anonymous; "none" is "" in a [store.Bucket].
const (
	accessNone      = "none"
	accessRead      = "read"
	accessWrite     = "write"
	accessReadWrite = "read-write"
)

// anonymous is what requests without a signature may do in a bucket of the
// configuration, as a [store.Bucket] has it.
func (c *Config) anonymous(bucket string) string {
	access, ok := c.Anonymous[bucket]
	switch {
	case !ok && bucket == filesBucket:
		return accessReadWrite
	case access == accessNone:
		return ""
	}
	return access
}

// secret returns the secret key of an access key.
func (c *Config) secret(accessKey string) (string, bool) {
	for _, known := range c.Credentials {
		if known.AccessKey == accessKey { // an access key is no secret
			return known.SecretKey, true
		}
	}
	return "", false
}

// known reports whether the service is reached by a host, in lower case and without
// its port, as far as aliases say.
func (c *Config) known(host string) bool {
	return slices.ContainsFunc(c.Aliases, func(alias string) bool {
		if name, _, err := net.SplitHostPort(alias); err == nil {
			alias = name
		}
		return strings.EqualFold(alias, host)
	})
}

// aliases returns the other hosts under which a presigned request to host may
// have been signed: all aliases, behind the bucket's name where host has one. A
// presigned URL opens its object to whoever holds it, so that nothing is given
// away where it comes by another name.
func (c *Config) aliases(host string) []string {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	name = strings.ToLower(name)
	prefix, base := "", ""
	for _, h := range c.Hosts {
		// s3.localhost is no bucket of localhost: the longest base counts.
		if bucket, ok := strings.CutSuffix("."+name, "."+h); ok && len(h) > len(base) {
			prefix, base = strings.TrimPrefix(bucket+".", "."), h
		}
	}
	var all []string
	for _, alias := range c.Aliases {
		if alias = prefix + alias; alias != host {
			all = append(all, alias)
		}
	}
	return all
}

func (c *Config) validateAccess() error {
	for i, name := range c.Buckets {
		if !s3api.ValidBucketName(name) {
			return kit.KeyErrorf(fmt.Sprintf("buckets[%d]", i), "is %q, expected 3 to 63 lower-case letters, digits, dots and hyphens, as S3 has it", name)
		}
		if slices.Contains(c.Buckets[:i], name) {
			return kit.KeyErrorf(fmt.Sprintf("buckets[%d]", i), "is %q again", name)
		}
	}
	for name, access := range c.Anonymous {
		switch {
		case !slices.Contains(c.Buckets, name):
			return kit.KeyErrorf("anonymous."+name, "is about a bucket that is not in buckets")
		case !slices.Contains([]string{accessNone, accessRead, accessWrite, accessReadWrite}, access):
			return kit.KeyErrorf("anonymous."+name, `is %q, expected "none", "read", "write" or "read-write"`, access)
		}
	}
	for i, known := range c.Credentials {
		key := fmt.Sprintf("credentials[%d].", i)
		switch {
		case len(known.AccessKey) < 3 || len(known.AccessKey) > 128 || strings.ContainsFunc(known.AccessKey, notInAccessKey):
			return kit.KeyErrorf(key+"access_key", `is %q, expected 3 to 128 letters, digits, "-", "_" and "."`, known.AccessKey)
		case len(known.SecretKey) < 8 || len(known.SecretKey) > 128:
			// What it is stays out of the sentence.
			return kit.KeyErrorf(key+"secret_key", "has %d bytes, expected 8 to 128", len(known.SecretKey))
		case slices.ContainsFunc(c.Credentials[:i], func(k Credential) bool { return k.AccessKey == known.AccessKey }):
			return kit.KeyErrorf(key+"access_key", "is %q again", known.AccessKey)
		}
	}
	for i, host := range c.Hosts {
		if host == "" || host != strings.ToLower(host) || strings.ContainsAny(host, ":/*@ ") || strings.HasPrefix(host, ".") {
			return kit.KeyErrorf(fmt.Sprintf("hosts[%d]", i), `is %q, expected a domain in lower case without a port, such as "s3.example.com"`, host)
		}
	}
	for i, alias := range c.Aliases {
		if alias == "" || strings.ContainsAny(alias, "/*@ ") {
			return kit.KeyErrorf(fmt.Sprintf("aliases[%d]", i), `is %q, expected a host, and a port unless it is the scheme's, such as "localhost:8007"`, alias)
		}
	}
	return nil
}

func notInAccessKey(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r))
}
