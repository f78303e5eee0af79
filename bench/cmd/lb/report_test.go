//go:build linux

package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"minicloud.internal/bench/internal/proc"
	"minicloud.internal/bench/internal/report"
)

// round is a result of 1,000 requests.
func round(elapsed, cpu time.Duration) loadResult {
	return loadResult{Requests: 1000, Elapsed: elapsed, P50: elapsed / 1000, P99: elapsed / 100, Proxy: cpu, Machine: cpu}
}

func TestSummarize(t *testing.T) {
	t.Run("each value is the median of its own", func(t *testing.T) {
		f := summarize(row{rounds: []loadResult{
			round(time.Second, 30*time.Millisecond),
			round(2*time.Second, 10*time.Millisecond),
			round(4*time.Second, 20*time.Millisecond),
		}})
		if f.failed != "" || f.perSecond != 500 || f.cpu != 20*time.Microsecond || f.p50 != 2*time.Millisecond || f.spread != 0.75 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("a failed row has no figures", func(t *testing.T) {
		f := summarize(row{failed: "1 errors", rounds: []loadResult{round(time.Second, time.Second)}})
		if f.failed != "1 errors" || f.perSecond != 0 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("a round without an answer fails the row", func(t *testing.T) {
		if f := summarize(row{rounds: []loadResult{{Elapsed: time.Second}}}); f.failed == "" {
			t.Errorf("%+v", f)
		}
	})
}

// under makes a comparison of figures given as requests per second and µs of
// CPU by the proxies' names.
func under(w workload, figures map[string][2]float64) comparison {
	c := comparison{workload: w}
	for _, p := range proxies {
		if f, ok := figures[p.name]; ok {
			c.figures = append(c.figures, figure{proxy: p, perSecond: f[0], cpu: time.Duration(f[1] * 1000)})
		}
	}
	return c
}

func workloadOf(t *testing.T, part string) workload {
	t.Helper()
	i := slices.IndexFunc(workloads, func(w workload) bool { return strings.Contains(w.name, part) })
	if i < 0 {
		t.Fatal(part)
	}
	return workloads[i]
}

func TestPrint(t *testing.T) {
	c := under(workloads[0], map[string][2]float64{"lb": {12345, 10}, "haproxy": {10000, 25}, "nginx": {8000, 20}})
	c.figures = append(c.figures, figure{proxy: proxy{title: "Other"}, failed: "2 errors, the first: a | b"})
	var b strings.Builder
	c.print(&b)
	for _, want := range []string{
		"| minicloud lb | 12,345 ±0 % | 0 µs | 0 µs | 10.0 | 0.50x | 1.23x |\n",
		"| HAProxy | 10,000 ±0 % | 0 µs | 0 µs | 25.0 | 1.25x | **best** |\n",
		"| nginx | 8,000 ±0 % | 0 µs | 0 µs | 20.0 | **best** | 0.80x |\n",
		"| Other | failed: 2 errors, the first: a / b | | | | | |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("without %q:\n%s", want, b.String())
		}
	}
}

func TestBars(t *testing.T) {
	for _, test := range []struct {
		name     string
		workload string
		figures  map[string][2]float64
		bar      string // the beginning of its text, after the workload's name
		measured string
		must     report.Verdict
		aim      report.Verdict
	}{
		{"CPU as low as the lower of both passes, above 0.8x of one misses the aim", " 64 connections",
			map[string][2]float64{"lb": {1, 20}, "haproxy": {1, 30}, "nginx": {1, 20}}, "CPU per request <=", "0.67x HAProxy, 1.00x nginx", report.Pass, report.Miss},
		{"CPU above one of both misses", " 64 connections",
			map[string][2]float64{"lb": {1, 21}, "haproxy": {1, 30}, "nginx": {1, 20}}, "CPU per request <=", "0.70x HAProxy, 1.05x nginx", report.Miss, report.Miss},
		{"CPU at 0.8x of both passes the aim", " 1,000 connections",
			map[string][2]float64{"lb": {1, 16}, "haproxy": {1, 20}, "nginx": {1, 20}}, "CPU per request <=", "0.80x HAProxy, 0.80x nginx", report.Pass, report.Pass},
		{"one of both is compared where the other is not there", " 64 connections",
			map[string][2]float64{"lb": {9, 20}, "haproxy": {10, 30}}, "requests/s", "0.90x HAProxy", report.Miss, ""},
		{"without either nothing is judged", " 64 connections",
			map[string][2]float64{"lb": {9, 20}, "caddy": {10, 30}}, "requests/s", "", report.Unknown, ""},
		{"five times less CPU than ReverseProxy passes", " 64 connections",
			map[string][2]float64{"lb": {9, 20}, "reverseproxy": {10, 100}}, "CPU per request of ReverseProxy", "5.00x", report.Pass, ""},
		{"less than five times misses", " 64 connections",
			map[string][2]float64{"lb": {9, 21}, "reverseproxy": {10, 100}}, "CPU per request of ReverseProxy", "4.76x", report.Miss, ""},
		{"bodies are compared with the fastest peer", "GET 1 MB",
			map[string][2]float64{"lb": {95, 1}, "caddy": {100, 1}, "nginx": {90, 1}}, "requests/s", "0.95x Caddy", report.Pass, report.Miss},
		{"bodies below 0.9x miss", "POST 1 MB",
			map[string][2]float64{"lb": {89, 1}, "caddy": {100, 1}}, "requests/s", "0.89x Caddy", report.Miss, report.Miss},
		{"new connections are held to nginx and aim at the best", "new connection",
			map[string][2]float64{"lb": {100, 1}, "haproxy": {110, 1}, "nginx": {90, 1}}, "requests/s", "1.11x nginx, 0.91x HAProxy", report.Pass, report.Miss},
		{"new connections ahead of nginx as the best pass both", "new connection",
			map[string][2]float64{"lb": {100, 1}, "nginx": {90, 1}}, "requests/s", "1.11x nginx", report.Pass, report.Pass},
		{"without ours nothing is judged", "GET 16 KB",
			map[string][2]float64{"haproxy": {110, 1}, "nginx": {90, 1}}, "requests/s", "", report.Unknown, report.Unknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := workloadOf(t, test.workload)
			bars := findings{comparisons: []comparison{under(w, test.figures)}, allocations: -1}.bars()
			i := slices.IndexFunc(bars, func(b report.Bar) bool { return strings.HasPrefix(b.Text, w.name+": "+test.bar) })
			if i < 0 {
				t.Fatalf("no such bar in %+v", bars)
			}
			if b := bars[i]; b.Measured != test.measured || b.Must != test.must || b.Aim != test.aim {
				t.Errorf("%+v", b)
			}
		})
	}
	t.Run("memory and allocations are judged as they were found", func(t *testing.T) {
		f := findings{allocations: 0.0004, idle: []idleRow{{proxy: proxies[0], holding: proc.Memory{Resident: 80e6}}}}
		bars := f.bars()
		allocations, idle := bars[len(bars)-2], bars[len(bars)-1]
		if allocations.Must != report.Pass || allocations.Measured != "0.0004" || idle.Must != report.Pass || idle.Aim != report.Miss || idle.Measured != "80.0 MB" {
			t.Errorf("%+v, %+v", allocations, idle)
		}
	})
	t.Run("what was not run is not in the summary", func(t *testing.T) {
		var b strings.Builder
		if report.PrintBars(&b, findings{allocations: -1}.bars()); b.String() != "" {
			t.Error(b.String())
		}
	})
	t.Run("a failed row is not judged", func(t *testing.T) {
		c := under(workloadOf(t, "16 KB"), map[string][2]float64{"nginx": {1, 1}})
		c.figures = append(c.figures, figure{proxy: proxies[0], failed: "1 errors"})
		for _, b := range (findings{comparisons: []comparison{c}, allocations: -1}).bars() {
			if b.Must != report.Unknown || b.Aim != report.Unknown {
				t.Errorf("%+v", b)
			}
		}
	})
}

func TestDisturbed(t *testing.T) {
	quiet := loadResult{Elapsed: time.Second, Proxy: time.Second, Machine: 1100 * time.Millisecond}
	noisy := loadResult{Elapsed: time.Second, Proxy: time.Second, Machine: 1300 * time.Millisecond}
	if disturbed(quiet) || !disturbed(noisy) {
		t.Errorf("%v, %v", disturbed(quiet), disturbed(noisy))
	}
}

func TestConfigurations(t *testing.T) {
	at := place{Dir: t.TempDir(), Listen: "127.0.0.1:20001", Admin: "127.0.0.1:20002", Target: "127.0.0.1:20003", Kept: keptConnections, User: "root"}
	for _, p := range append(slices.Clone(proxies), proxy{title: "the backend", file: "nginx.conf", config: backendConfig}) {
		if p.config == "" {
			continue
		}
		t.Run(p.title+" is told its address and its target, and leaves no hole", func(t *testing.T) {
			text, err := fill(at, p.config)
			if err != nil || !strings.Contains(text, at.Listen) || strings.Contains(text, "<no value>") || p.args != nil && !strings.Contains(text, at.Target) {
				t.Errorf("%v:\n%s", err, text)
			}
		})
	}
}

func TestInstalled(t *testing.T) {
	t.Run("an unknown name is an error", func(t *testing.T) {
		if _, err := installed("lb,traefik", "/proc/self/exe", "/proc/self/exe"); err == nil || !strings.Contains(err.Error(), "traefik") {
			t.Errorf("%v", err)
		}
	})
	t.Run("our load balancer has to be there", func(t *testing.T) {
		if _, err := installed("lb", t.TempDir()+"/lb", "/proc/self/exe"); err == nil {
			t.Error("no error")
		}
	})
	t.Run("what was asked for comes in the order of the tables", func(t *testing.T) {
		found, err := installed("reverseproxy,lb", "/proc/self/exe", "/proc/self/exe")
		if err != nil || len(found) != 2 || found[0].name != ours || found[1].name != self {
			t.Errorf("%v, %v", found, err)
		}
	})
}
