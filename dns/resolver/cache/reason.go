package cache

import (
	"strconv"
	"time"

	"github.com/miekg/dns"
)

// Reason says why an answer is what it is, for an Extended DNS Error: "NXDOMAIN
// cached 41 s ago from dns-com". It is "" for records and failures.
func Reason(e *Entry, qtype uint16, now time.Time) string {
	if e.Kind != NoType && e.Kind != NoName {
		return ""
	}
	age := max(now.Sub(e.Stored), 0) / time.Second
	return string(appendReason(nil, e.Kind, qtype, int64(age), []byte(e.Source)))
}

func appendReason(to []byte, k Kind, qtype uint16, age int64, source []byte) []byte {
	if k == NoName {
		to = append(to, "NXDOMAIN"...)
	} else {
		to = append(to, "No record of type "...)
		if name, ok := dns.TypeToString[qtype]; ok {
			to = append(to, name...)
		} else {
			to = strconv.AppendUint(append(to, "TYPE"...), uint64(qtype), 10)
		}
	}
	to = strconv.AppendInt(append(to, " cached "...), max(age, 0), 10)
	to = append(to, " s ago"...)
	if len(source) > 0 {
		to = append(append(to, " from "...), source...)
	}
	return to
}
