package differential

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"minicloud.internal/dns/peers"
)

var (
	seeds     = flag.Int("seeds", 1, "how many zones to compare about")
	firstSeed = flag.Uint64("seed", 0, "the first of their seeds; 0 means 1 for one zone, and one of chance for several")
	show      = flag.Int("show", 20, "how many differences to show of each zone")
	programs  = map[peers.Kind]*string{
		peers.DNSServer: flag.String("dnsserver", "", "our name server's `binary`; without one it is built"),
		peers.Resolver:  flag.String("resolver", "", "our resolver's `binary`; without one it is built"),
	}
)

// built is where our programs are, each built by the first test that wants it.
var built struct {
	sync.Mutex
	dir string
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if built.dir != "" {
			_ = os.RemoveAll(built.dir)
		}
		os.Exit(code)
	}))
}

// program returns where ours is.
func program(t *testing.T, k peers.Kind) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if *programs[k] != "" {
		return *programs[k]
	}
	var err error
	if built.dir == "" {
		if built.dir, err = os.MkdirTemp("", "minicloud-differential-"); err != nil {
			t.Fatal(err)
		}
	}
	if *programs[k], err = peers.Build(t.Context(), k, built.dir); err != nil {
		t.Fatal(err)
	}
	return *programs[k]
}

// installed returns the peers of those that are there, and says so of the others.
func installed(t *testing.T, wanted ...peers.Kind) (found []peers.Kind) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8, where each server has its address")
	}
	for _, k := range wanted {
		if _, err := peers.Find(k); errors.Is(err, peers.ErrNotInstalled) {
			t.Logf("%s is not installed: not compared with", k.Title())
			continue
		}
		found = append(found, k)
	}
	if len(found) == 0 {
		t.Skip("none of the servers to compare with is installed")
	}
	return found
}

// seed is the first. That of the one zone of `go test` is always the same: a
// difference that nobody has met yet is for who looks for one.
func seed() uint64 {
	switch {
	case *firstSeed != 0:
		return *firstSeed
	case *seeds == 1:
		return 1
	}
	return uint64(rand.Uint32()) + 1
}

func TestAuthoritative(t *testing.T) {
	t.Parallel()
	kinds := append([]peers.Kind{peers.DNSServer}, installed(t, peers.Knot, peers.NSD, peers.BIND)...)
	ours := program(t, peers.DNSServer)
	counts := tally{rules: authorityRules, hits: map[string]int{}}
	first := seed()
	for i := range *seeds {
		compareZone(t, first+uint64(i), kinds, ours, &counts)
	}
	counts.print(first, *seeds)
}

// A tally counts how the questions of a run came out.
type tally struct {
	questions, agreed, split, explained, failed int
	rules                                       []rule
	hits                                        map[string]int // by rule
}

// print writes what was hit, which go test shows where nothing else is to be said.
func (c tally) print(first uint64, seeds int) {
	fmt.Printf("\n%d zones from seed %d on: %d questions; the same from all %d; as one of the peers, who differ among themselves, %d; by a rule %d; unexplained %d\n\n",
		seeds, first, c.questions, c.agreed, c.split, c.explained, c.failed)
	fmt.Println("| times | where ours differs | source | why |\n| ---: | --- | --- | --- |")
	for _, r := range c.rules {
		fmt.Printf("| %d | %s | %s | %s |\n", c.hits[r.name], r.name, r.source, r.reason)
	}
	fmt.Println()
}

// start starts a server of each kind with the same zones, for the length of the test.
func start(t *testing.T, kinds []peers.Kind, ours string, zones ...peers.Zone) []*client {
	t.Helper()
	var all []*client
	for _, k := range kinds {
		c := peers.Config{Zones: zones}
		if k.Ours() {
			c.Program = ours
		}
		s, err := peers.Start(t.Context(), k, c)
		if err != nil {
			t.Fatal(err)
		}
		one, err := newClient(s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			one.close()
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
		all = append(all, one)
	}
	return all
}

func compareZone(t *testing.T, seed uint64, kinds []peers.Kind, ours string, counts *tally) {
	t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
		z := newZone(seed, "")
		clients := start(t, kinds, ours, z.asPeer())
		shown := 0
		for i, q := range queries(z) {
			wire, err := q.wire(uint16(i))
			if err != nil {
				t.Fatalf("%v: %v", q, err)
			}
			v := verdict{zone: z, query: q, kinds: kinds, answers: askAll(clients, q.transport, wire)}
			for _, a := range v.answers {
				v.forms = append(v.forms, z.form(a))
			}
			for _, text := range counts.judge(v) {
				if shown++; shown <= *show {
					t.Error(text)
				}
			}
		}
	})
}

// judge counts a verdict. It returns what is wrong with ours.
func (c *tally) judge(v verdict) (wrong []string) {
	c.questions++
	agreed, split, explained := true, false, false
	for _, v.aspect = range aspects {
		ours, theirs := v.of(0), v.theirs()
		if !slices.ContainsFunc(theirs, func(f string) bool { return f != ours }) {
			continue
		}
		agreed = false
		if slices.Contains(theirs, ours) {
			split = true
		} else if i := slices.IndexFunc(c.rules, func(r rule) bool { return r.aspect == v.aspect && r.covers(v) }); i >= 0 {
			explained = true
			c.hits[c.rules[i].name]++
		} else {
			wrong = append(wrong, v.String())
		}
	}
	switch {
	case agreed:
		c.agreed++
	case len(wrong) > 0:
		c.failed++
	case explained:
		c.explained++
	case split:
		c.split++
	}
	return wrong
}

// of is one server's form of the aspect in question; the first is ours.
func (v verdict) of(i int) string { return v.forms[i][v.aspect] }

// theirs are the forms of the peers.
func (v verdict) theirs() (all []string) {
	for i := range v.forms[1:] {
		all = append(all, v.of(i+1))
	}
	return all
}

// String shows the different answers, each with who gave it.
func (v verdict) String() string {
	by := map[string][]string{}
	for i := range v.forms {
		by[v.of(i)] = append(by[v.of(i)], v.kinds[i].Title())
	}
	text := fmt.Sprintf("%v: %s", v.query, v.aspect)
	for i := range v.forms {
		who, ok := by[v.of(i)]
		if !ok {
			continue
		}
		lines := strings.Split(v.of(i), "\n")
		if len(lines) > 12 {
			lines = append(lines[:12], fmt.Sprintf("… %d more", len(lines)-12))
		}
		text += fmt.Sprintf("\n%s:\n  %s", strings.Join(who, ", "), strings.Join(lines, "\n  "))
		delete(by, v.of(i))
	}
	return text
}
