package iterate

import (
	"strings"

	"github.com/miekg/dns"
)

// oneLabel is how many of the minimised queries add a single label; those after
// them share out what is left (RFC 9156, section 2.3, MINIMISE_ONE_LAB).
const oneLabel = 4

// minimised returns as much of a name as a server of the zone needs to know to
// refer further down (RFC 9156, section 2.3): one label more than is known to be
// of the zone, or more of them when some of at most limit queries were sent for
// that already. It is the whole name when nothing can be kept back, or is worth
// it: below a label that begins with an underscore nobody makes a zone of its own.
func minimised(zone, name string, sent, limit int, exists func(string) bool) string {
	if sent >= limit {
		return name
	}
	starts := dns.Split(name)
	// start is the index of the first label of what is known to be of the zone.
	start := len(starts) - dns.CountLabel(zone)
	for i := 1; i < start; i++ {
		if exists(name[starts[i]:]) {
			start = i
			break
		}
	}
	step := 1
	if sent >= oneLabel {
		step = (start + limit - sent - 1) / (limit - sent)
	}
	for range step {
		if start--; start <= 0 || strings.HasPrefix(name[starts[start]:], "_") {
			return name
		}
	}
	return name[starts[start]:]
}
