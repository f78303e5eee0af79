package transfer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func TestSerialNumbers(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b uint32
		want bool
	}{
		{"1 is before 2", 1, 2, true},
		{"2 is not before 1", 2, 1, false},
		{"a number is not before itself", 7, 7, false},
		{"the last is before 0", 1<<32 - 1, 0, true},
		{"0 is not before the last", 0, 1<<32 - 1, false},
		{"0 is before one less than half the circle", 0, 1<<31 - 1, true},
		{"0 is not before half the circle", 0, 1 << 31, false},
		{"half the circle is not before 0", 1 << 31, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Older(c.a, c.b); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestDifference(t *testing.T) {
	soa := func(serial int) string {
		return fmt.Sprintf("example.com.\t300\tIN\tSOA\tns.example.com. hostmaster.example.com. %d 86400 7200 604800 60", serial)
	}
	for _, c := range []struct {
		name           string
		before, after  []string
		removed, added []string // behind the SOA records
	}{
		{"nothing but the serial number", nil, nil, nil, nil},
		{"a record that came", nil, []string{"a A 192.0.2.1"}, nil, []string{"a.example.com.\t300\tIN\tA\t192.0.2.1"}},
		{"a record that went", []string{"a A 192.0.2.1"}, nil, []string{"a.example.com.\t300\tIN\tA\t192.0.2.1"}, nil},
		{"one record of a set", []string{"a A 192.0.2.1", "a A 192.0.2.2"}, []string{"a A 192.0.2.2", "a A 192.0.2.3"}, []string{"a.example.com.\t300\tIN\tA\t192.0.2.1"}, []string{"a.example.com.\t300\tIN\tA\t192.0.2.3"}},
		{"another TTL", []string{"a 60 A 192.0.2.1"}, []string{"a 90 A 192.0.2.1"}, []string{"a.example.com.\t60\tIN\tA\t192.0.2.1"}, []string{"a.example.com.\t90\tIN\tA\t192.0.2.1"}},
		{"another spelling", []string{"www A 192.0.2.1"}, []string{"WWW A 192.0.2.1"}, []string{"www.example.com.\t300\tIN\tA\t192.0.2.1"}, []string{"WWW.example.com.\t300\tIN\tA\t192.0.2.1"}},
		{"a type that the library does not know", nil, []string{`a TYPE65000 \# 2 abcd`}, nil, []string{"a.example.com.\t300\tCLASS1\tTYPE65000\t\\# 2 abcd"}},
		{"nothing where only the order is another", []string{"a A 192.0.2.1", "b A 192.0.2.1"}, []string{"b A 192.0.2.1", "a A 192.0.2.1"}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, differ, _, err := difference(zone(t, 1, c.before...), zone(t, 2, c.after...))
			if err != nil || !differ {
				t.Fatal(differ, err)
			}
			var removed, added []string
			for rr, err := range unpack(d.removed) {
				if err != nil {
					t.Fatal(err)
				}
				removed = append(removed, rr.String())
			}
			for rr, err := range unpack(d.added) {
				if err != nil {
					t.Fatal(err)
				}
				added = append(added, rr.String())
			}
			if diff := cmp.Diff(append([]string{soa(1)}, c.removed...), removed); diff != "" {
				t.Errorf("removed: %s", diff)
			}
			if diff := cmp.Diff(append([]string{soa(2)}, c.added...), added); diff != "" {
				t.Errorf("added: %s", diff)
			}
		})
	}
	t.Run("the same version does not differ", func(t *testing.T) {
		if _, differ, _, err := difference(zone(t, 1, "a A 192.0.2.1"), zone(t, 1, "a A 192.0.2.1")); differ || err != nil {
			t.Error(differ, err)
		}
	})
	t.Run("the same serial number with other records differs", func(t *testing.T) {
		for _, other := range []fixture{zone(t, 1), zone(t, 1, "a A 192.0.2.2"), zone(t, 1, "a A 192.0.2.1", "b A 192.0.2.1")} {
			if _, differ, _, err := difference(zone(t, 1, "a A 192.0.2.1"), other); !differ || err != nil {
				t.Error(differ, err)
			}
		}
	})
	t.Run("another SOA record with the same serial number differs", func(t *testing.T) {
		other := zone(t, 1)
		other[0].(*dns.SOA).Refresh = 77
		if _, differ, _, err := difference(zone(t, 1), other); !differ || err != nil {
			t.Error(differ, err)
		}
	})
	t.Run("a record that cannot be packed is an error", func(t *testing.T) {
		broken := append(zone(t, 2), &dns.A{Hdr: dns.RR_Header{Name: "no end", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: []byte{1}})
		if _, _, _, err := difference(zone(t, 1), broken); err == nil {
			t.Error("got none")
		}
		if _, _, _, err := difference(broken, zone(t, 3)); err == nil {
			t.Error("got none")
		}
	})
}

// history follows a zone through versions with these serial numbers, each with
// another address.
func history(t *testing.T, l limits, serials ...uint32) *version {
	t.Helper()
	v := &version{zone: zone(t, serials[0], "a A 10.0.0.0")}
	for i, serial := range serials[1:] {
		next, err := v.follow(zone(t, serial, fmt.Sprintf("a A 10.0.0.%d", i+1)), l)
		if err != nil {
			t.Fatal(err)
		}
		v = next
	}
	return v
}

func TestJournal(t *testing.T) {
	for _, c := range []struct {
		name    string
		limits  limits
		serials []uint32
		want    []uint32 // from which there is a way
	}{
		{"every version is remembered", limits{9, 1 << 20}, []uint32{1, 2, 5}, []uint32{1, 2}},
		{"the oldest goes above the bound of versions", limits{2, 1 << 20}, []uint32{1, 2, 3, 4}, []uint32{2, 3}},
		{"the oldest goes above the bound of bytes", limits{9, 500}, []uint32{1, 2, 3, 4}, []uint32{2, 3}},
		{"a change above the bound of bytes is not remembered", limits{9, 100}, []uint32{1, 2, 3}, nil},
		{"nothing is remembered without versions", limits{0, 1 << 20}, []uint32{1, 2}, nil},
		{"nothing is remembered without bytes", limits{9, 0}, []uint32{1, 2}, nil},
		{"a serial number that goes back begins anew", limits{9, 1 << 20}, []uint32{4, 5, 3, 4}, []uint32{3}},
		{"a change without a new serial number begins anew", limits{9, 1 << 20}, []uint32{1, 2, 2, 3}, []uint32{2}},
		{"the numbers go round", limits{9, 1 << 20}, []uint32{1<<32 - 1, 0, 1}, []uint32{1<<32 - 1, 0}},
		{"what is half round away is forgotten", limits{9, 1 << 20}, []uint32{1, 1<<31 - 1, 1<<31 + 5}, []uint32{1<<31 - 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := history(t, c.limits, c.serials...)
			var got []uint32
			total := 0
			for i, d := range v.deltas {
				got = append(got, d.from)
				total += d.size()
				if next := v.zone.Serial(); i+1 < len(v.deltas) {
					if d.to != v.deltas[i+1].from {
						t.Errorf("a gap behind %d", d.to)
					}
				} else if d.to != next {
					t.Errorf("the journal ends at %d, the zone is at %d", d.to, next)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if total > c.limits.bytes {
				t.Errorf("%d bytes of %d", total, c.limits.bytes)
			}
		})
	}
	t.Run("the same version again keeps the journal", func(t *testing.T) {
		v := history(t, limits{9, 1 << 20}, 1, 2)
		again, err := v.follow(zone(t, 2, "a A 10.0.0.1"), limits{9, 1 << 20})
		if err != nil || len(again.deltas) != 1 || again.size != v.size {
			t.Error(err, again)
		}
	})
}

func TestPlan(t *testing.T) {
	v := history(t, limits{9, 1 << 20}, 10, 11, 12)
	v.size = 1000
	for _, c := range []struct {
		name   string
		serial uint32
		limit  int
		size   int // of the zone
		want   shape
		deltas int
	}{
		{"the client's version is the newest", 12, 0, 1000, current, 0},
		{"the client's version is newer", 13, 0, 1000, current, 0},
		{"the client's version is newer, over UDP", 13, 512, 1000, current, 0},
		{"one version behind", 11, 0, 1000, differences, 1},
		{"two versions behind", 10, 0, 1000, differences, 2},
		{"an unknown version", 9, 0, 1000, whole, 0},
		{"an unknown version, over UDP", 9, 512, 1000, overTCP, 0},
		{"half the circle away, where no order is defined", 12 + 1<<31, 0, 1000, whole, 0},
		{"more changes than zone", 10, 0, 300, whole, 0},
		{"one version behind, over UDP", 11, 512, 1000, differences, 1},
		{"more changes than a datagram can take", 10, 60, 1000, overTCP, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := *v
			v.size = c.size
			got, deltas := v.plan(c.serial, c.limit)
			if got != c.want || len(deltas) != c.deltas {
				t.Errorf("got %v with %d deltas", got, len(deltas))
			}
		})
	}
}

// TestDifferencesLeadToTheNewVersion follows a zone through random changes; a
// secondary at any version that asks for the differences ends with the newest,
// record by record.
func TestDifferencesLeadToTheNewVersion(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 5))
		transfers, _ := newTransfers(t, nil, func(c *Config) {
			c.JournalVersions = 1 + random.IntN(12)
			c.JournalSize = 1<<11 + 1<<random.IntN(16)
		})
		records := map[string]bool{}
		for _, r := range many(random.IntN(400), 0) {
			records[r] = true
		}
		serial := random.Uint32()
		var versions []fixture
		for range 12 {
			for range random.IntN(40) {
				switch owner := fmt.Sprint("a", random.IntN(500)); random.IntN(3) {
				case 0:
					records[fmt.Sprintf("%s A 10.%d.0.1", owner, random.IntN(3))] = true
				case 1:
					records[fmt.Sprintf("%s 300 TXT %q %q", owner, fmt.Sprint(random.Int()), "Ä\\")] = true
				default:
					for r := range records {
						delete(records, r)
						break
					}
				}
			}
			lines := slices.Sorted(func(yield func(string) bool) {
				for r := range records {
					if !yield(r) {
						return
					}
				}
			})
			z := zone(t, serial, lines...)
			versions = append(versions, z)
			publish(t, transfers, z, loopback)
			serial += 1 + random.Uint32N(3)
		}
		newest := versions[len(versions)-1]
		for _, old := range versions {
			answer := answers(collect(t, transfers, query(dns.TypeIXFR, old.Serial(), "tcp")))
			got, err := apply(old, answer)
			if err != nil {
				t.Fatalf("seed %d, from %d to %d: %v", seed, old.Serial(), newest.Serial(), err)
			}
			if diff := cmp.Diff(sorted(newest), got); diff != "" {
				t.Fatalf("seed %d, from %d to %d: %s", seed, old.Serial(), newest.Serial(), diff)
			}
		}
		if counted(transfers, "ixfr", "differences") == 0 || counted(transfers, "ixfr", "current") != 1 {
			t.Errorf("seed %d: no differences were sent", seed)
		}
	}
}
