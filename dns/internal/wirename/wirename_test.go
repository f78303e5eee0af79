package wirename

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 62)+".", 4) // 253 octets in wire form
	for _, test := range []struct{ name, text, wire string }{
		{"the root", ".", "\x00"},
		{"a name without its final dot", "Example.com", "\x07Example\x03com\x00"},
		{"a dot inside of a label", `a\.b.c.`, "\x03a.b\x01c\x00"},
		{"an octet that is no letter", `\200.c.`, "\x01\xc8\x01c\x00"},
		{"a name that is too long", "aaa." + long, ""},
		{"an empty label", "a..b.", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			wire, err := Pack(test.text)
			if string(wire) != test.wire || (err != nil) != (test.wire == "") {
				t.Fatalf("got %q %v", wire, err)
			}
			if err != nil {
				return
			}
			if got := Text(wire); strings.TrimSuffix(got, ".") != strings.TrimSuffix(test.text, ".") {
				t.Errorf("back as %s", got)
			}
		})
	}
	if wire, err := Pack("a." + long); err != nil || len(wire) != Max {
		t.Errorf("the longest name: %d octets, %v", len(wire), err)
	}
	if got := Lower([]byte("\x03WwW\x02\xc0Z\x00")); got != "\x03www\x02\xc0z\x00" {
		t.Errorf("in lower case %q", got)
	}
	if got := Parent("\x03www\x01z\x00"); got != "\x01z\x00" {
		t.Errorf("the parent is %q", got)
	}
	if got := Text("\x05ab"); got != `"\x05ab"` {
		t.Errorf("no name is %s", got)
	}
}
