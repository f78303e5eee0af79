package resolver

import (
	"testing"

	"minicloud.internal/dns/internal/wirename"
)

func TestEverySpecialNameIsLeftToTheGeneralPath(t *testing.T) {
	for name := range specialNames {
		wire, err := wirename.Pack("x." + name)
		if err != nil {
			t.Fatal(err)
		}
		if !maybeSpecial(wire) {
			t.Errorf("%s is not", name)
		}
	}
	for _, name := range []string{"\x00", "\x07example\x03com\x00", "\x04test\x07example\x00"} {
		if maybeSpecial([]byte(name)) {
			t.Errorf("%q is", name)
		}
	}
}
