//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/bench/internal/report"
	"minicloud.internal/dns/peers"
)

const printed = `DNS Performance Testing Tool
Version 2.10.0

[Status] Testing complete (time limit)

Statistics:

  Queries sent:         100000
  Queries completed:    100000 (100.00%)
  Queries lost:         0 (0.00%)

  Response codes:       NOERROR 90000 (90.00%), NXDOMAIN 10000 (10.00%)
  Average packet size:  request 39, response 55
  Run time (s):         2.000000
  Queries per second:   50000.000000

  Average Latency (s):  0.000500 (min 0.000010, max 0.010000)
  Latency StdDev (s):   0.000100
`

func TestParseDnsperf(t *testing.T) {
	r, err := parseDnsperf([]byte(printed))
	if err != nil || r.Completed != 100000 || r.Lost != 0 || r.Elapsed != 2*time.Second || r.Average != 500*time.Microsecond ||
		r.Codes["NOERROR"] != 90000 || r.Codes["NXDOMAIN"] != 10000 {
		t.Errorf("%+v, %v", r, err)
	}
	for name, text := range map[string]string{
		"nothing is an error":              "",
		"without its end it is an error":   printed[:strings.Index(printed, "Run time")],
		"what is no number is an error":    strings.Replace(printed, "lost:         0", "lost:         none", 1),
		"what is no duration is an error":  strings.Replace(printed, "2.000000", "two", 1),
		"an average of none is no average": strings.Replace(printed, "0.000500", "-", 1),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseDnsperf([]byte(text)); err == nil {
				t.Error("it is taken")
			}
		})
	}
}

func TestWrong(t *testing.T) {
	codes := func(pairs ...any) (r loadResult) {
		r.Codes = map[string]int64{}
		for i := 0; i < len(pairs); i += 2 {
			n := int64(pairs[i+1].(int))
			r.Codes[pairs[i].(string)] = n
			r.Completed += n
		}
		return r
	}
	lost := codes("NOERROR", 900, "NXDOMAIN", 100)
	lost.Lost = 1
	for _, test := range []struct {
		name string
		in   loadResult
		ok   bool
	}{
		{"one in ten is not there", codes("NOERROR", 900, "NXDOMAIN", 100), true},
		{"no answer fails the row", codes(), false},
		{"a lost query does", lost, false},
		{"another code does", codes("NOERROR", 890, "NXDOMAIN", 100, "SERVFAIL", 10), false},
		{"a server that knows everything does", codes("NOERROR", 1000), false},
		{"one that knows too little does", codes("NOERROR", 800, "NXDOMAIN", 200), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.in.wrong(); (got == "") != test.ok {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestZonesAndQueries(t *testing.T) {
	z := zoneOfNames("192.0.2.53")
	known := map[string]bool{}
	parser := dns.NewZoneParser(strings.NewReader(z.Text), "", "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		known[rr.Header().Name] = true
	}
	if err := parser.Err(); err != nil || len(known) != names+3 { // the origin, its server, the wildcard
		t.Fatalf("%d names, %v", len(known), err)
	}
	file := filepath.Join(t.TempDir(), "queries")
	if err := writeQueries(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	absent, lines := 0, 0
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, " ")
		if lines++; !known[name] {
			absent++
		}
	}
	if lines != queryLines || absent*absentShare != lines {
		t.Errorf("%d of %d queries are for names that are not there", absent, lines)
	}
}

// round is a result of 1,000 queries.
func round(elapsed, cpu time.Duration) loadResult {
	return loadResult{Completed: 1000, Elapsed: elapsed, Server: cpu, Machine: cpu, Codes: map[string]int64{"NOERROR": 900, "NXDOMAIN": 100}}
}

func TestSummarize(t *testing.T) {
	t.Run("each value is the median of its own", func(t *testing.T) {
		f := summarize(row{rounds: []loadResult{
			round(time.Second, 30*time.Millisecond), round(2*time.Second, 10*time.Millisecond), round(4*time.Second, 20*time.Millisecond)}})
		if f.failed != "" || f.perSecond != 500 || f.cpu != 20*time.Microsecond || f.spread != 0.75 || f.cpuSpread != 0.5 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("a failed row has no figures", func(t *testing.T) {
		if f := summarize(row{failed: "lost", rounds: []loadResult{round(time.Second, time.Second)}}); f.failed != "lost" || f.perSecond != 0 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("what else ran on the machine is counted", func(t *testing.T) {
		noisy := round(time.Second, time.Millisecond)
		noisy.Machine = time.Second
		if c := compare(workloads[0], []row{{rounds: []loadResult{noisy, round(time.Second, time.Millisecond)}}}); c.rounds != 2 || c.noisy != 1 {
			t.Errorf("%+v", c)
		}
	})
}

// under makes findings of CPU times in µs.
func under(w workload, cpu map[peers.Kind]float64) findings {
	c := comparison{workload: w}
	for _, k := range w.kinds {
		if v, ok := cpu[k]; ok {
			c.figures = append(c.figures, figure{kind: k, cpu: time.Duration(v * 1000), perSecond: 1})
		}
	}
	return findings{comparisons: []comparison{c}}
}

func TestBars(t *testing.T) {
	type cpu = map[peers.Kind]float64
	authority, resolver := workloads[0], workloads[2]
	for _, test := range []struct {
		name      string
		in        findings
		must, aim report.Verdict
	}{
		{"cheaper than Knot passes", under(authority, cpu{peers.DNSServer: 6, peers.Knot: 7, peers.CoreDNS: 27}), report.Pass, report.Pass},
		{"up to 1.2 of Knot's passes, without the aim", under(authority, cpu{peers.DNSServer: 8, peers.Knot: 7, peers.CoreDNS: 27}), report.Pass, report.Miss},
		{"more does not", under(authority, cpu{peers.DNSServer: 9, peers.Knot: 7, peers.CoreDNS: 27}), report.Miss, report.Miss},
		{"more than half of CoreDNS's does not", under(authority, cpu{peers.DNSServer: 7, peers.Knot: 7, peers.CoreDNS: 13}), report.Miss, report.Pass},
		{"without CoreDNS it is not known", under(authority, cpu{peers.DNSServer: 7, peers.Knot: 7}), report.Unknown, report.Pass},
		{"without ours it is not known", under(authority, cpu{peers.Knot: 7, peers.CoreDNS: 27}), report.Unknown, report.Unknown},
		{"a resolver as cheap as Unbound passes", under(resolver, cpu{peers.Resolver: 9, peers.Unbound: 9}), report.Pass, report.Miss},
		{"at 0.8 it reaches the aim", under(resolver, cpu{peers.Resolver: 7.2, peers.Unbound: 9}), report.Pass, report.Pass},
		{"a dearer one misses", under(resolver, cpu{peers.Resolver: 10, peers.Unbound: 9}), report.Miss, report.Miss},
		{"no allocation passes", findings{allocations: []perQuery{{peers.DNSServer, 0.0001}}}, report.Pass, ""},
		{"one per query misses", findings{allocations: []perQuery{{peers.DNSServer, 1}}}, report.Miss, ""},
		{"a cold name within 3 ms passes", findings{cold: []coldRow{{kind: peers.Resolver, took: []time.Duration{time.Millisecond}}}}, report.Pass, ""},
		{"a slower one misses", findings{cold: []coldRow{{kind: peers.Resolver, took: []time.Duration{3 * time.Millisecond}}}}, report.Miss, ""},
		{"79 MB of cache pass", findings{memory: []memoryRow{{kind: peers.Resolver, resolver: true, after: 79e6}}}, report.Pass, ""},
		{"21 MB of zone miss", findings{memory: []memoryRow{{kind: peers.DNSServer, after: 21e6}}}, report.Miss, ""},
		{"a failed row is not known", findings{memory: []memoryRow{{kind: peers.DNSServer, failed: "lost"}}}, report.Unknown, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			bars := test.in.bars()
			if len(bars) != 1 || bars[0].Must != test.must || bars[0].Aim != test.aim {
				t.Errorf("%+v", bars)
			}
		})
	}
}

func TestTablesAreTables(t *testing.T) {
	f := under(workloads[0], map[peers.Kind]float64{peers.DNSServer: 6, peers.Knot: 7})
	f.comparisons[0].figures = append(f.comparisons[0].figures, figure{kind: peers.NSD, failed: "a | b\nc"})
	var b bytes.Buffer
	f.comparisons[0].print(&b)
	printAllocations(&b, []perQuery{{peers.DNSServer, 0}})
	printCold(&b, []coldRow{{kind: peers.Resolver, took: []time.Duration{1, 2, 3}}, {kind: peers.Unbound, failed: "x"}})
	printMemory(&b, []memoryRow{{kind: peers.Resolver, resolver: true, after: 1}, {kind: peers.BIND, failed: "x"}})
	columns := 0
	for line := range strings.Lines(b.String()) {
		switch n := strings.Count(line, "|"); {
		case !strings.HasPrefix(line, "|"):
			columns = 0
		case columns == 0:
			columns = n
		case n != columns:
			t.Errorf("%d columns instead of %d: %s", n-1, columns-1, line)
		}
	}
	if f.failed() != 1 || !strings.Contains(b.String(), "0.86x") {
		t.Errorf("%d failed:\n%s", f.failed(), b.String())
	}
}
