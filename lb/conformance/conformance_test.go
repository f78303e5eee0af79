package conformance

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	compare  = flag.Bool("compare", false, "run the behaviours against HAProxy and nginx too, and print what differs")
	only     = flag.String("only", "", "run the themes that this expression matches")
	patience = flag.Duration("patience", 10*time.Second, "how long a step waits for the proxy")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A suite is the behaviours of one theme.
type suite struct {
	theme string
	rows  []behaviour
}

func suites() []suite {
	wanted := regexp.MustCompile(*only)
	return slices.DeleteFunc([]suite{
		{"request lines that are refused", refusedLines()},
		{"Hosts that are refused", refusedHosts()},
		{"fields that are refused", refusedFields()},
		{"framings that are refused", refusedFraming()},
		{"chunks that are refused", refusedChunks()},
		{"chunks that pass", chunksThatPass()},
		{"targets on their way", targets()},
		{"fields on their way", fields()},
		{"what clients say of themselves", clientsSay()},
		{"how connections last", persistence()},
		{"answers without a body", bodiless()},
		{"interim answers", interim()},
		{"trailers", trailers()},
		{"large bodies and early answers", largeBodies()},
		{"tunnels", tunnels()},
		{"answers that are misframed", misframings()},
		{"connections that were idle", pooled()},
		{"what is repeated", retries()},
		{"answers of the proxy's own", ownAnswers()},
		{"timeouts", timeouts()},
	}, func(s suite) bool { return !wanted.MatchString(s.theme) })
}

func TestConformance(t *testing.T) {
	if *compare {
		t.Skip("TestCompare does it")
	}
	for _, s := range suites() {
		t.Run(s.theme, func(t *testing.T) {
			for _, b := range s.rows {
				conforms(t, b.title(), b, false)
				if !b.cold && !b.unhealthy {
					conforms(t, b.title()+", on connections that were in use", b, true)
				}
			}
		})
	}
}

func conforms(t *testing.T, name string, b behaviour, warm bool) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		differs, log, err := run(loadBalancer{}, b, t.TempDir(), *patience, warm)
		if err != nil {
			t.Fatalf("%v\nthe log:\n%s", err, log)
		}
		if differs != "" {
			t.Errorf("%s\nthe log:\n%s", differs, log)
		}
	})
}

// peerPatience is how long a step waits for a peer. What a peer never does is
// waited out each time.
const peerPatience = 2500 * time.Millisecond

// unasked marks what our load balancer alone promises.
const unasked = "-"

// TestCompare fails for ours alone.
func TestCompare(t *testing.T) {
	if !*compare {
		t.Skip("it prints a comparison with other proxies; ask for it with -compare")
	}
	proxies := []proxy{loadBalancer{}}
	for _, p := range []process{haproxy, nginx} {
		if p.installed() == "" {
			fmt.Printf("%s is not installed: skipped\n", p)
			continue
		}
		proxies = append(proxies, p)
	}
	var all []behaviour
	for _, s := range suites() {
		all = append(all, s.rows...)
	}
	results := make([][]string, len(proxies))
	var work sync.WaitGroup
	places := make(chan struct{}, 8)
	for i, p := range proxies {
		results[i] = make([]string, len(all))
		for j, b := range all {
			if b.ours && !p.ours() {
				results[i][j] = unasked
				continue
			}
			dir, wait := t.TempDir(), *patience
			if !p.ours() {
				wait = peerPatience
			}
			places <- struct{}{}
			work.Go(func() {
				defer func() { <-places }()
				results[i][j] = verdict(p, b, dir, wait)
				if p.ours() && results[i][j] != "ok" {
					t.Fail()
				}
			})
		}
	}
	work.Wait()
	printMatrix(os.Stdout, proxies, results)
}

func verdict(p proxy, b behaviour, dir string, wait time.Duration) string {
	differs, _, err := run(p, b, dir, wait, false)
	switch {
	case err != nil:
		return "cannot be run: " + err.Error()
	case differs != "":
		return differs
	}
	return "ok"
}

// printMatrix writes the matrix; below each row what differs.
func printMatrix(w io.Writer, proxies []proxy, results [][]string) {
	width := 0
	for _, s := range suites() {
		for _, b := range s.rows {
			width = max(width, len(b.title()))
		}
	}
	row := func(title string, cells func(i int) string) {
		fmt.Fprintf(w, "%-*s", width+2, title)
		for i := range proxies {
			fmt.Fprintf(w, "  %-8s", cells(i))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "What differs is not always wrong: where the standards leave a choice, the tables have ours.")
	row("behaviour", func(i int) string { return proxies[i].String() })
	totals, asked := make([]int, len(proxies)), make([]int, len(proxies))
	at := 0
	for _, s := range suites() {
		fmt.Fprintf(w, "\n%s\n", s.theme)
		for _, b := range s.rows {
			row("  "+b.title(), func(i int) string {
				if results[i][at] == unasked {
					return unasked
				}
				asked[i]++
				if results[i][at] != "ok" {
					return "differs"
				}
				totals[i]++
				return "ok"
			})
			for i, p := range proxies {
				if said := results[i][at]; said != "ok" && said != unasked {
					fmt.Fprintf(w, "      %s: %s\n", p, said)
				}
			}
			at++
		}
	}
	fmt.Fprintln(w)
	row("ok, of those that are asked of it", func(i int) string { return fmt.Sprintf("%d/%d", totals[i], asked[i]) })
}
