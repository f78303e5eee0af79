//go:build linux

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"minicloud.internal/bench/internal/report"
)

// round is a result of 1,000 answers.
func round(elapsed, cpu time.Duration) loadResult {
	return loadResult{Requests: 1000, Elapsed: elapsed, P50: elapsed / 1000, P99: elapsed / 100, Server: cpu}
}

func TestSummarize(t *testing.T) {
	t.Run("each value is the median of its own", func(t *testing.T) {
		f := summarize(row{peak: 5, stored: 100, written: 250, rounds: []loadResult{
			round(time.Second, 30*time.Millisecond),
			round(2*time.Second, 10*time.Millisecond),
			round(4*time.Second, 20*time.Millisecond),
		}})
		if f.failed != "" || f.perSecond != 500 || f.cpu != 20*time.Microsecond || f.p50 != 2*time.Millisecond ||
			f.spread != 0.75 || f.written != 2.5 || f.peak != 5 {
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
	t.Run("who takes no part has no row, and disturbed rounds are counted", func(t *testing.T) {
		noisy := round(time.Second, 0)
		noisy.Machine = 300 * time.Millisecond
		c := compare(workloads[0], []row{{absent: true}, {rounds: []loadResult{round(time.Second, 0), noisy}}})
		if len(c.figures) != 1 || c.rounds != 2 || c.noisy != 1 {
			t.Errorf("%+v", c)
		}
	})
}

func workloadOf(t *testing.T, part string) workload {
	t.Helper()
	i := slices.IndexFunc(workloads, func(w workload) bool { return strings.Contains(w.name, part) })
	if i < 0 {
		t.Fatal(part)
	}
	return workloads[i]
}

// under makes a comparison of requests per second by the servers' names.
func under(w workload, figures map[string]float64) comparison {
	c := comparison{workload: w}
	for _, s := range servers {
		if perSecond, ok := figures[s.name]; ok {
			c.figures = append(c.figures, figure{server: s, perSecond: perSecond, cpu: 10 * time.Microsecond, peak: 20e6})
		}
	}
	return c
}

func TestPrint(t *testing.T) {
	for _, test := range []struct {
		name string
		c    comparison
		want []string
	}{
		{"ratios are those to MinIO and to the fastest peer", under(workloadOf(t, "GET 4 KB, 32"), map[string]float64{ours: 10000, minio: 2000, "versitygw": 4000}), []string{
			"### GET 4 KB, 32 clients, any of 10,000 objects\n",
			"| minicloud objectstorage | 10,000 ±0 % | 0 µs | 0 µs | 10.0 | 20.0 MB | 5.00x | 2.50x |\n",
			"| MinIO | 2,000 ±0 % | 0 µs | 0 µs | 10.0 | 20.0 MB | 1.00x | 0.50x |\n",
			"| versitygw | 4,000 ±0 % | 0 µs | 0 µs | 10.0 | 20.0 MB | 2.00x | **best** |\n",
		}},
		{"large objects have their throughput, few uploads their fraction", under(workloadOf(t, "multipart"), map[string]float64{ours: 1.5, minio: 0.5}), []string{
			"| minicloud objectstorage | 1.50 (403 MB/s) ±0 % |", "| MinIO | 0.50 (134 MB/s) ±0 % |",
		}},
		{"without MinIO there is no ratio to it", under(workloadOf(t, "LIST"), map[string]float64{ours: 20, "versitygw": 10}), []string{
			"### LIST 1,000 keys, 4 clients, of 50,000\n", "| minicloud objectstorage | 20.0 ±0 % | 0 µs | 0 µs | 10.0 | 20.0 MB | - | 2.00x |\n",
		}},
		{"a failed row says why", comparison{workload: workloads[0], figures: []figure{{server: server{title: "Other"}, failed: "2 errors, the first: a | b\nc"}}}, []string{
			"| Other | failed: 2 errors, the first: a / b c | | | | | | |\n",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b strings.Builder
			test.c.print(&b, 50_000)
			for _, want := range test.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("without %q:\n%s", want, b.String())
				}
			}
		})
	}
	t.Run("what is written for what is stored has a column for each workload that writes", func(t *testing.T) {
		small, large := under(workloadOf(t, "PUT 4 KB, 32"), map[string]float64{ours: 1, minio: 1}), under(workloadOf(t, "PUT 1 MB"), map[string]float64{ours: 1, minio: 1})
		small.figures[0].written, large.figures[0].written = 2.345, 1.01
		small.figures[1].written, large.figures[1].failed = 3, "1 errors"
		var b strings.Builder
		printWritten(&b, []comparison{under(workloads[0], map[string]float64{ours: 1}), small, large})
		for _, want := range []string{
			"| server | PUT 4 KB, 32 clients | PUT 1 MB, 8 clients |\n| --- | ---: | ---: |\n",
			"| minicloud objectstorage | 2.35 | 1.01 |\n", "| MinIO | 3.00 | failed |\n",
		} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("without %q:\n%s", want, b.String())
			}
		}
	})
	t.Run("starts have their median and their slowest", func(t *testing.T) {
		var b strings.Builder
		printStarts(&b, []startRow{
			{server: servers[0], starts: []time.Duration{3 * time.Millisecond, time.Millisecond, 2 * time.Millisecond}, fresh: 10e6, idle: 20e6, peak: 30e6},
			{server: servers[1], failed: "no"},
		}, 1000)
		for _, want := range []string{
			"### Memory, and start with 1,000 objects\n", "| minicloud objectstorage | 2.00 ms | 3.00 ms | 10.0 MB | 20.0 MB | 30.0 MB |\n", "| MinIO | failed: no | | | | |\n",
		} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("without %q:\n%s", want, b.String())
			}
		}
	})
	t.Run("what was not measured is not printed", func(t *testing.T) {
		var b strings.Builder
		printWritten(&b, []comparison{under(workloads[0], map[string]float64{ours: 1})})
		printStarts(&b, nil, 1000)
		report.PrintBars(&b, findings{}.bars())
		if b.String() != "" {
			t.Error(b.String())
		}
	})
}

func TestBars(t *testing.T) {
	for _, test := range []struct {
		name, workload string
		figures        map[string]float64
		measured       string
		must, aim      report.Verdict
	}{
		{"seven times MinIO passes, twelve is the aim", "PUT 4 KB, 32", map[string]float64{ours: 700, minio: 100}, "7.00x MinIO", report.Pass, report.Miss},
		{"below seven times misses", "PUT 4 KB, 32", map[string]float64{ours: 699, minio: 100}, "6.99x MinIO", report.Miss, report.Miss},
		{"twelve times passes both", "PUT 4 KB, 32", map[string]float64{ours: 1200, minio: 100}, "12.00x MinIO", report.Pass, report.Pass},
		{"GETs of small objects are held to three and five times", "GET 4 KB, 32", map[string]float64{ours: 400, minio: 100}, "4.00x MinIO", report.Pass, report.Miss},
		{"GETs of large objects are held to MinIO and aim at nginx", "GET 1 MB", map[string]float64{ours: 90, minio: 80, nginx: 100}, "1.12x MinIO, 0.90x nginx, static files", report.Pass, report.Pass},
		{"one of both is compared where the other is not there", "GET 1 MB", map[string]float64{ours: 89, nginx: 100}, "0.89x nginx, static files", report.Unknown, report.Miss},
		{"PUTs of large objects are held to MinIO", "PUT 1 MB", map[string]float64{ours: 100, minio: 80}, "1.25x MinIO", report.Pass, report.Miss},
		{"a listing has no aim", "LIST", map[string]float64{ours: 100, minio: 10}, "10.00x MinIO", report.Pass, ""},
		{"without MinIO nothing is judged", "LIST", map[string]float64{ours: 100, "versitygw": 10}, "", report.Unknown, ""},
		{"without ours nothing is judged", "PUT 4 KB, 32", map[string]float64{minio: 10}, "", report.Unknown, report.Unknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			bars := findings{comparisons: []comparison{under(workloadOf(t, test.workload), test.figures)}}.bars()
			if len(bars) != 1 || bars[0].Measured != test.measured || bars[0].Must != test.must || bars[0].Aim != test.aim {
				t.Errorf("%+v", bars)
			}
		})
	}
	t.Run("every goal is one of a workload that is run", func(t *testing.T) {
		for _, g := range goals {
			if _, err := workloadNamed(g.workload); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("workloads without a goal have no bar", func(t *testing.T) {
		if bars := (findings{comparisons: []comparison{under(workloadOf(t, "PUT 4 KB, 1 "), map[string]float64{ours: 1, minio: 1})}}).bars(); len(bars) != 0 {
			t.Errorf("%+v", bars)
		}
	})
	t.Run("memory and start are judged by our row", func(t *testing.T) {
		mine := startRow{server: servers[0], starts: []time.Duration{299 * time.Millisecond}, idle: 24.9e6, peak: 119e6}
		bars := findings{objects: 5000, starts: []startRow{{server: servers[1]}, mine}}.bars()
		if len(bars) != 2 || bars[0].Must != report.Pass || bars[0].Measured != "24.9 MB, 119.0 MB" || bars[1].Must != report.Pass || !strings.Contains(bars[1].Text, "5,000 objects") {
			t.Errorf("%+v", bars)
		}
		mine.idle, mine.starts[0] = 25e6, 300*time.Millisecond
		for _, b := range mine.bars(1) {
			if b.Must != report.Miss {
				t.Errorf("%+v", b)
			}
		}
		mine.failed = "no"
		for _, b := range mine.bars(1) {
			if b.Must != report.Unknown {
				t.Errorf("%+v", b)
			}
		}
	})
}

func TestWorkloads(t *testing.T) {
	t.Run("each is found by its name, and no other", func(t *testing.T) {
		for _, w := range workloads {
			if found, err := workloadNamed(w.name); err != nil || found != w {
				t.Errorf("%s: %+v, %v", w.name, found, err)
			}
		}
		if _, err := workloadNamed("nothing"); err == nil {
			t.Error("a workload named nothing")
		}
	})
	t.Run("no two of them would share a profile", func(t *testing.T) {
		seen := map[string]bool{}
		for _, w := range workloads {
			name := report.FileName(w.name)
			if seen[name] || strings.ContainsAny(name, " ,/") {
				t.Errorf("%q", name)
			}
			seen[name] = true
		}
	})
	t.Run("static files are read from and neither written nor listed", func(t *testing.T) {
		for _, w := range workloads {
			if got := w.of(server{}); got != strings.HasPrefix(w.name, "GET") {
				t.Errorf("%s: %v", w.name, got)
			}
		}
	})
	t.Run("only what the chosen workloads read is needed", func(t *testing.T) {
		b := bench{objects: 100_000}
		for only, want := range map[string][2]int{
			"": {100_000, readLarge}, "GET 4": {readObjects, 0}, "GET": {readObjects, readLarge}, "LIST": {100_000, 0},
			"PUT": {0, 0}, "GET 1 MB": {0, readLarge}, "^start$": {100_000, 0},
		} {
			objects, large := b.needed(regexp.MustCompile(only))
			if objects != want[0] || large != want[1] {
				t.Errorf("%q needs %d and %d, expected %v", only, objects, large, want)
			}
		}
		b.objects = 3000
		if objects, _ := b.needed(regexp.MustCompile("GET 4")); objects != 3000 {
			t.Errorf("%d objects are read of 3000", objects)
		}
	})
	t.Run("the bodies of a size differ, at their beginning already", func(t *testing.T) {
		for _, size := range []int{objectSize, largeSize, partSize} {
			seen := map[string]bool{}
			for _, b := range newBodies(size) {
				if len(b.bytes) != size || seen[string(b.bytes[:8])] || seen[b.etag] || seen[b.sha256] {
					t.Fatalf("%d bytes, %s", len(b.bytes), b.etag)
				}
				seen[string(b.bytes[:8])], seen[b.etag], seen[b.sha256] = true, true, true
			}
		}
	})
	t.Run("objects are chosen evenly, and other ones in another round", func(t *testing.T) {
		counts, same := make([]int, 10), 0
		for n := range int64(10_000) {
			i := chosen(1, n, len(counts))
			counts[i]++
			if i == chosen(2, n, len(counts)) {
				same++
			}
		}
		for i, n := range append(counts, same) {
			if n < 900 || n > 1100 {
				t.Errorf("%d: %d of 10,000", i, n)
			}
		}
	})
	t.Run("the order of keys is that of their numbers", func(t *testing.T) {
		for _, i := range []int{0, 9, 99, 999, 99_999, 999_999} {
			if key(i) >= key(i+1) {
				t.Errorf("%s, %s", key(i), key(i+1))
			}
		}
	})
}

func TestServers(t *testing.T) {
	t.Run("each is told its address and its data, and no hole is left", func(t *testing.T) {
		for _, s := range servers {
			p, err := newPlace(t.TempDir(), s.name, "127.0.0.1:20001", "127.0.0.1:20002")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.writeConfig(p); err != nil {
				t.Fatal(err)
			}
			text := strings.Join(s.args(p), " ")
			if s.config != "" {
				b, err := os.ReadFile(filepath.Join(p.Dir, "config"))
				if err != nil {
					t.Fatal(err)
				}
				text += string(b)
			}
			if s.env != nil {
				text += strings.Join(s.env(p), " ")
			}
			if !strings.Contains(text, p.Listen) || !strings.Contains(text, p.Data) || strings.Contains(text, "<no value>") ||
				s.s3 && (!strings.Contains(text, credential.AccessKey) || !strings.Contains(text, credential.SecretKey)) {
				t.Errorf("%s:\n%s", s.title, text)
			}
		}
	})
	t.Run("static files are the objects of the others", func(t *testing.T) {
		p := place{Data: t.TempDir()}
		if err := writeFiles(p, 20, 2); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string][]byte{
			bucketObjects + "/" + key(19): newBodies(objectSize).of(19).bytes, bucketLarge + "/" + key(1): newBodies(largeSize).of(1).bytes,
		} {
			if got, err := os.ReadFile(filepath.Join(p.Data, path)); err != nil || string(got) != string(want) {
				t.Errorf("%s: %d bytes, %v", path, len(got), err)
			}
		}
	})
	programs := func(path string) map[string]*string {
		all := map[string]*string{}
		for _, s := range servers {
			all[s.name] = &path
		}
		return all
	}
	t.Run("an unknown name is an error", func(t *testing.T) {
		if _, err := installed("minio,garage", programs("/proc/self/exe")); err == nil || !strings.Contains(err.Error(), "garage") {
			t.Errorf("%v", err)
		}
	})
	t.Run("our object store has to be there", func(t *testing.T) {
		if _, err := installed(ours, programs(t.TempDir()+"/objectstorage")); err == nil {
			t.Error("no error")
		}
	})
	t.Run("what was asked for comes in the order of the tables", func(t *testing.T) {
		found, err := installed("nginx,minio", programs("/proc/self/exe"))
		if err != nil || len(found) != 2 || found[0].name != minio || found[1].name != nginx || found[0].program != "/proc/self/exe" {
			t.Errorf("%v, %v", found, err)
		}
	})
	t.Run("a peer that is not there is left out, unless its file was named", func(t *testing.T) {
		if _, err := installed("minio", programs(t.TempDir()+"/minio")); err == nil {
			t.Error("no error")
		}
		if found, err := installed("minio", programs("no-such-object-store")); err != nil || len(found) != 0 {
			t.Errorf("%v, %v", found, err)
		}
	})
}

func TestFileSystem(t *testing.T) {
	if got := fileSystem("/proc"); !strings.Contains(got, "type") {
		t.Errorf("/proc is on %s", got)
	}
	if got := fileSystem(t.TempDir() + "/absent"); !strings.Contains(got, "no such") {
		t.Errorf("an absent directory is on %s", got)
	}
}
