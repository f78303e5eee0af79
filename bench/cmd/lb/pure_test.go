//go:build linux

package main

import (
	"math"
	"strings"
	"testing"

	"minicloud.internal/bench/internal/report"
)

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
			name := report.FileName(w.name)
			if seen[name] || strings.ContainsAny(name, " ,/") {
				t.Errorf("%q", name)
			}
			seen[name] = true
		}
	})
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

func TestLeastPerRequest(t *testing.T) {
	for name, c := range map[string]struct {
		readings []counters
		want     float64
	}{
		"the span with the fewest counts":             {[]counters{{0, 0}, {1100, 1000}, {1300, 2000}, {6300, 3000}}, 0.1},
		"what each reading allocates does not":        {[]counters{{0, 0}, {100, 1000}}, 0},
		"what every request allocates is in all":      {[]counters{{0, 0}, {2100, 1000}, {4200, 2000}}, 2},
		"a span in which nothing was answered is not": {[]counters{{0, 0}, {100, 0}, {700, 1000}}, 0.5},
	} {
		if got := leastPerRequest(c.readings, 100); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
