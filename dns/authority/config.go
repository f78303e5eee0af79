package authority

import (
	"fmt"
	"time"

	"minicloud.internal/dns/internal/wirename"
	"minicloud.internal/dns/server"
	"minicloud.internal/dns/transfer"
	"minicloud.internal/kit"
)

// Config is the configuration of an authoritative server.
type Config struct {
	// Common: Listen is bound for UDP and TCP; default ":5353".
	kit.Common
	server.Limits
	transfer.Config

	// ReloadInterval is the time from one look at the zone files, and those that
	// they include, to the next; what changed is served at once, if it is valid.
	// Default 2 s, 0 for SIGHUP only.
	ReloadInterval time.Duration `toml:"reload_interval"`
	// Zones are what the server answers for; without any it refuses every
	// query. Default none.
	Zones []ZoneConfig `toml:"zones"`

	// Dial reaches secondary servers; nil means [kit.DefaultDial].
	Dial kit.DialFunc `toml:"-"`
}

// A ZoneConfig is one zone.
type ZoneConfig struct {
	// Name is the zone's own name, with the final dot: "example.com.".
	Name string `toml:"name"`
	// File is the zone file (RFC 1035, section 5). A relative name begins at
	// the directory of the configuration file. Files that it includes must lie
	// in its own directory, or below that.
	File string `toml:"file"`
	// Records are further records of the zone, each in the form of a line
	// of its file, with a TTL; for what is known only when the cloud starts.
	// Default none.
	//
	// A record without the value of a variable is left out: an entry that is
	// no valid record and in which a field is empty (two blanks meet, or one
	// stands at an end, or nothing is there at all), as
	// "x. 30 IN SRV 0 0 ${PORT-80} y." becomes when PORT is set and empty.
	// Any other entry that is no valid record is an error.
	Records []string `toml:"records"`
	transfer.Policy
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Common: kit.DefaultCommon(":5353"), Limits: server.DefaultLimits(), Config: transfer.DefaultConfig(),
		ReloadInterval: 2 * time.Second,
	}
}

// Validate reports the first bad value as a [kit.KeyError]. It reads and checks
// the zones too, so that -check finds what is wrong with them.
func (c Config) Validate() error {
	if err := c.validateKeys(); err != nil {
		return err
	}
	_, _, err := c.loadZones()
	return err
}

// validateKeys checks what needs no file.
func (c Config) validateKeys() error {
	if err := c.ValidateLimits(); err != nil {
		return err
	}
	if err := c.ValidateTransfers(); err != nil {
		return err
	}
	if c.ReloadInterval != 0 && c.ReloadInterval < time.Millisecond {
		return kit.KeyErrorf("reload_interval", `is %v, expected "0s" for none, or a duration of at least 1ms, as in "2s"`, c.ReloadInterval)
	}
	return nil
}

// Diagnose returns what is valid in the zones, and yet hardly what somebody
// wants; one sentence each.
func (c Config) Diagnose() (warnings []string) {
	zones, sources, err := c.loadZones()
	if err != nil {
		return nil // Validate says so
	}
	for _, src := range sources {
		for _, w := range Lint(zones.zones[src.apex]) {
			warnings = append(warnings, w.String())
		}
	}
	return warnings
}

// serverKeys are the keys that clients sign with.
func (c Config) serverKeys() (keys []server.Key) {
	for _, k := range c.Keys {
		keys = append(keys, server.Key{Name: k.CanonicalName(), Algorithm: k.CanonicalAlgorithm(), Secret: k.Secret})
	}
	return keys
}

// loadZones returns the zones, and where they come from in the order of the file.
func (c Config) loadZones() (*zoneSet, []*source, error) {
	var sources []*source
	var zones []*Zone
	known := map[string]bool{}
	for i, zc := range c.Zones {
		key := fmt.Sprintf("zones[%d]", i)
		name, err := wirename.Pack(zc.Name)
		if err != nil || zc.Name == "" {
			return nil, nil, kit.KeyErrorf(key+".name", `is %q, expected a domain name with its final dot, as in "example.com."`, zc.Name)
		}
		apex := wirename.Lower(name)
		if known[apex] {
			return nil, nil, kit.KeyErrorf(key+".name", "is %q, which another zone of this file is already", zc.Name)
		}
		known[apex] = true
		if zc.File == "" {
			return nil, nil, kit.KeyErrorf(key+".file", "is empty, expected the name of the zone file")
		}
		if err := zc.ValidatePolicy(key, c.Config); err != nil {
			return nil, nil, err
		}
		src := &source{config: zc, apex: apex, path: c.Path(zc.File)}
		z, bad := src.load()
		if bad != nil {
			return nil, nil, kit.KeyErrorf(key+bad.key, "%v", bad.err)
		}
		zones, sources = append(zones, z), append(sources, src)
	}
	return newZoneSet(zones...), sources, nil
}
