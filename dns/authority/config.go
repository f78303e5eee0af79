package authority

import (
	"fmt"

	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
)

// Config is the configuration of an authoritative server.
type Config struct {
	// Common: Listen is bound for UDP and TCP; default ":5353".
	kit.Common
	server.Limits

	// Zones are what the server answers for; without any it refuses every
	// query. Default none.
	Zones []ZoneConfig `toml:"zones"`
}

// A ZoneConfig is one zone.
type ZoneConfig struct {
	// Name is the zone's own name, with the final dot: "example.com.".
	Name string `toml:"name"`
	// File is the zone file (RFC 1035, section 5). A relative name begins at
	// the directory of the configuration file.
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
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Common: kit.DefaultCommon(":5353"), Limits: server.DefaultLimits()}
}

// Validate reports the first bad value as a [kit.KeyError]. It reads and checks
// the zones too, so that -check finds what is wrong with them.
func (c Config) Validate() error {
	if err := c.ValidateLimits(); err != nil {
		return err
	}
	_, err := c.loadZones()
	return err
}

// loadZones returns the zones by canonical name.
func (c Config) loadZones() (map[string]*Zone, error) {
	zones := map[string]*Zone{}
	for i, zc := range c.Zones {
		key := fmt.Sprintf("zones[%d]", i)
		origin, err := canonical(zc.Name)
		if err != nil || zc.Name == "" {
			return nil, kit.KeyErrorf(key+".name", `is %q, expected a domain name with its final dot, as in "example.com."`, zc.Name)
		}
		if zones[origin] != nil {
			return nil, kit.KeyErrorf(key+".name", "is %q, which another zone of this file is already", zc.Name)
		}
		if zc.File == "" {
			return nil, kit.KeyErrorf(key+".file", "is empty, expected the name of the zone file")
		}
		z, bad := loadZone(origin, c.Path(zc.File), zc.Records)
		if bad != nil {
			return nil, kit.KeyErrorf(key+bad.key, "%v", bad.err)
		}
		zones[origin] = z
	}
	return zones, nil
}
