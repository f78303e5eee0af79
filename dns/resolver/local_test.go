package resolver

import (
	"testing"

	"github.com/miekg/dns"
)

func TestEverySpecialNameIsLeftToTheGeneralPath(t *testing.T) {
	for name := range specialNames {
		wire := make([]byte, 256)
		n, err := dns.PackDomainName("x."+name, wire, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		if !maybeSpecial(wire[:n]) {
			t.Errorf("%s is not", name)
		}
	}
	for _, name := range []string{"\x00", "\x07example\x03com\x00", "\x04test\x07example\x00"} {
		if maybeSpecial([]byte(name)) {
			t.Errorf("%q is", name)
		}
	}
}
