package route

import (
	"fmt"
	"net/netip"
	"testing"
)

// A change of these numbers moves every client to another target when one load
// balancer of two is replaced.
const aliceHash, addressHash = 0x3507d047a67c08f4, 0x68e562aa4d7314e5

func TestHashesAreThoseOfEveryRelease(t *testing.T) {
	if got := Hash([]byte("alice")); got != aliceHash {
		t.Errorf("the hash of alice is %#x, was %#x", got, uint64(aliceHash))
	}
	if got := HashAddr(netip.MustParseAddr("192.0.2.1")); got != addressHash {
		t.Errorf("the hash of 192.0.2.1 is %#x, was %#x", got, uint64(addressHash))
	}
}

func TestHashAddr(t *testing.T) {
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"two IPv4 addresses differ":              {"192.0.2.1", "192.0.2.2", false},
		"an IPv4 address in IPv6 is the same":    {"192.0.2.1", "::ffff:192.0.2.1", true},
		"a /64 is one client":                    {"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true},
		"two /64 differ":                         {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		"a zone makes no difference":             {"fe80::1%eth0", "fe80::1%eth1", true},
		"an IPv4 address is no IPv6 of its bits": {"0.0.0.1", "::1", false},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := HashAddr(netip.MustParseAddr(c.a)), HashAddr(netip.MustParseAddr(c.b))
			if (a == b) != c.same {
				t.Errorf("%s: %#x, %s: %#x", c.a, a, c.b, b)
			}
		})
	}
	t.Run("no address has a hash too", func(*testing.T) { HashAddr(netip.Addr{}) })
}

func TestHashesSpreadOverAllBits(t *testing.T) {
	const keys = 4096
	var ones [64]int
	for i := range keys {
		a, b := Hash(fmt.Append(nil, i)), HashAddr(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
		for bit := range ones {
			ones[bit] += int(a>>bit&1 + b>>bit&1)
		}
	}
	for bit, n := range ones {
		if n < keys*9/10 || n > keys*11/10 {
			t.Errorf("bit %d is set in %d of %d hashes", bit, n, 2*keys)
		}
	}
}

func TestHashingAllocatesNothing(t *testing.T) {
	a, key := netip.MustParseAddr("2001:db8::1"), []byte("alice")
	if n := testing.AllocsPerRun(100, func() { HashAddr(a); Hash(key) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
