//go:build linux

package main

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	t.Run("a quantile is at most 1 in 128 below the value of its rank", func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		var h histogram
		var values []time.Duration
		for range 10_000 {
			d := time.Duration(random.Uint64() >> (1 + random.IntN(63)))
			values = append(values, d)
			h.record(d)
		}
		slices.Sort(values)
		for _, q := range []float64{0.01, 0.5, 0.99, 1} {
			exact := values[int(q*float64(len(values)))-1]
			if got := h.quantile(q); got > exact || got < exact-exact/128-1 {
				t.Errorf("quantile %v is %d, expected %d", q, got, exact)
			}
		}
	})
	t.Run("every bucket begins where the one before it ends", func(t *testing.T) {
		var h histogram
		for b := range h.counts {
			if low := lowest(b); bucket(low) != b || b > 0 && bucket(low-1) != b-1 {
				t.Fatalf("bucket %d begins at %d, which is in %d, after %d", b, low, bucket(low), bucket(low-1))
			}
		}
	})
	t.Run("the longest duration fits and a negative one counts as none", func(t *testing.T) {
		var h histogram
		h.record(1<<63 - 1)
		h.record(-1)
		if h.quantile(0.5) != 0 || h.quantile(1) < 1<<62 {
			t.Errorf("quantiles %d and %d", h.quantile(0.5), h.quantile(1))
		}
	})
	t.Run("without values a quantile is 0", func(t *testing.T) {
		if got := new(histogram).quantile(0.99); got != 0 {
			t.Errorf("got %d", got)
		}
	})
}

func TestParseHead(t *testing.T) {
	for _, test := range []struct {
		name, in, err string
		want          head
		ok            bool
	}{
		{name: "length and size are read", in: "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nbody", want: head{size: 39, length: 12}, ok: true},
		{name: "names ignore case", in: "HTTP/1.1 200 OK\r\ncontent-length:0\r\nCONNECTION: Close\r\n\r\n", want: head{size: 56, length: 0, close: true}, ok: true},
		{name: "a head that is not complete asks for more", in: "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n"},
		{name: "another status is an error", in: "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", err: "502"},
		{name: "an informational response is an error", in: "HTTP/1.1 100 Continue\r\n\r\n", err: "100"},
		{name: "a chunked response is an error", in: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", err: "Transfer-Encoding"},
		{name: "a response without a length is an error", in: "HTTP/1.1 200 OK\r\n\r\n", err: "without Content-Length"},
		{name: "two lengths are an error", in: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", err: "Content-Length"},
		{name: "a length with a sign is an error", in: "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n", err: "+1"},
		{name: "an empty length is an error", in: "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", err: "Content-Length"},
		{name: "a line without a colon is an error", in: "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", err: "nonsense"},
		{name: "an endless head is an error", in: "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 4000), err: "more than 16384 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok, err := parseHead([]byte(test.in))
			if got != test.want || ok != test.ok || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %+v, %v, %v, expected %+v, %v, %q", got, ok, err, test.want, test.ok, test.err)
			}
		})
	}
	t.Run("a head is parsed without an allocation", func(t *testing.T) {
		in := []byte("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 12\r\nConnection: keep-alive\r\n\r\n")
		if n := testing.AllocsPerRun(100, func() { _, _, _ = parseHead(in) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func FuzzParseHead(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nbody"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 \r\n:\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, ok, err := parseHead(in)
		if ok && (err != nil || h.length < 0 || h.size > len(in) || !strings.HasSuffix(string(in[:h.size]), "\r\n\r\n")) {
			t.Errorf("%q: %+v, %v", in, h, err)
		}
	})
}

func TestWorkloads(t *testing.T) {
	t.Run("answers have the lengths that their names promise", func(t *testing.T) {
		for _, w := range workloads {
			want := map[string]int{"/small": 114, "/16k": 16 << 10, "/1m": megabyte, "/sink": len("1048576 bytes, CRC-32 01234567\n")}[w.path]
			for _, checked := range []bool{false, true} {
				if got := len(w.answer(checked)); got != want {
					t.Errorf("%s: %d bytes, expected %d", w.name, got, want)
				}
			}
		}
	})
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
			name := fileName(w.name)
			if seen[name] || strings.ContainsAny(name, " ,/") {
				t.Errorf("%q", name)
			}
			seen[name] = true
		}
	})
}

func TestParseBusy(t *testing.T) {
	for _, test := range []struct {
		name, in string
		want     time.Duration
		bad      bool
	}{
		{name: "all but idle and iowait counts, and guests are in user", in: "cpu  1 2 3 400 500 6 7 8 1 0\ncpu0 1", want: 270 * time.Millisecond},
		{name: "another line is an error", in: "intr 1 2 3 4 5 6 7 8 9\n", bad: true},
		{name: "a line that is too short is an error", in: "cpu 1 2 3\n", bad: true},
		{name: "what is no number is an error", in: "cpu 1 2 3 4 5 6 7 x 9\n", bad: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := parseBusy(test.in); got != test.want || (err != nil) != test.bad {
				t.Errorf("got %v, %v, expected %v", got, err, test.want)
			}
		})
	}
}

func TestParseMemory(t *testing.T) {
	got, err := parseMemory("559-7ff ---p 0 0:0 0 [rollup]\nRss:    1024 kB\nPss:     512 kB\nPss_Dirty: 7 kB\n")
	if want := (memory{resident: 1 << 20, proportional: 1 << 19}); got != want || err != nil {
		t.Errorf("got %+v, %v, expected %+v", got, err, want)
	}
	for _, bad := range []string{"", "Rss: many kB\n"} {
		if _, err := parseMemory(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestParseCounters(t *testing.T) {
	const mallocs = "# TYPE go_memstats_mallocs_total counter\ngo_memstats_mallocs_total 1.5e+06\n"
	t.Run("requests are summed over their labels", func(t *testing.T) {
		got, err := parseCounters(mallocs + "minicloud_lb_requests_total{class=\"2xx\",route=\"a b\"} 3\nminicloud_lb_requests_total{class=\"5xx\",route=\"c\"} 4\nminicloud_lb_requests_total_more 9\n")
		if want := (counters{mallocs: 1.5e6, requests: 7}); got != want || err != nil {
			t.Errorf("got %+v, %v, expected %+v", got, err, want)
		}
	})
	for name, bad := range map[string]string{
		"without requests it is an error":       mallocs,
		"without allocations it is an error":    "minicloud_lb_requests_total 3\n",
		"a value that is no number is an error": mallocs + "minicloud_lb_requests_total x\n",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := parseCounters(bad); err == nil {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestTree(t *testing.T) {
	dir := t.TempDir()
	p, err := start(dir, "children", "/bin/sh", nil, "-c", "cat /dev/zero >/dev/null & wait")
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	pids, err := p.pids()
	for deadline := time.Now().Add(patience); len(pids) < 2 && err == nil && time.Now().Before(deadline); {
		pids, err = p.pids()
	}
	t.Run("children count, and their CPU time passes", func(t *testing.T) {
		if len(pids) != 2 || pids[0] != p.cmd.Process.Pid || err != nil {
			t.Fatalf("%v, %v", pids, err)
		}
		first, err := cpuOf(pids)
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
			if later, err := cpuOf(pids); err != nil || later > first {
				return
			}
		}
		t.Error("no CPU time passes")
	})
	t.Run("stop ends the children too", func(t *testing.T) {
		p.stop()
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
			// A killed child may stay as a zombie for as long as its new parent likes.
			text, err := os.ReadFile("/proc/" + strconv.Itoa(pids[1]) + "/stat")
			if err != nil || strings.Contains(string(text), ") Z ") {
				return
			}
		}
		t.Error("the child is alive")
	})
}
