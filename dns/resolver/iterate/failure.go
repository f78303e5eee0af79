package iterate

import (
	"fmt"

	"github.com/miekg/dns"
)

// A Failure is why a question has no answer.
type Failure struct {
	// Rcode is what the client is told: SERVFAIL, or YXDOMAIN where a DNAME
	// leads to a name that would be too long (RFC 6672, section 2.2); then the chain
	// to the DNAME comes with the failure.
	Rcode int
	// Code and Sentence are an Extended DNS Error (RFC 8914).
	Code     uint16
	Sentence string
	// limit is the one that was reached: "max_queries", … Then another
	// question may well succeed. None: "".
	limit string
}

func (f *Failure) Error() string { return f.Sentence }

func failuref(code uint16, format string, args ...any) *Failure {
	return &Failure{Rcode: dns.RcodeServerFailure, Code: code, Sentence: fmt.Sprintf(format, args...)}
}
