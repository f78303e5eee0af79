package report

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	t.Run("a quantile is at most 1 in 128 below the value of its rank", func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		var h Histogram
		var values []time.Duration
		for range 10_000 {
			d := time.Duration(random.Uint64() >> (1 + random.IntN(63)))
			values = append(values, d)
			h.Record(d)
		}
		slices.Sort(values)
		for _, q := range []float64{0.01, 0.5, 0.99, 1} {
			exact := values[int(q*float64(len(values)))-1]
			if got := h.Quantile(q); got > exact || got < exact-exact/128-1 {
				t.Errorf("quantile %v is %d, expected %d", q, got, exact)
			}
		}
	})
	t.Run("every bucket begins where the one before it ends", func(t *testing.T) {
		var h Histogram
		for b := range h.counts {
			if low := lowest(b); bucket(low) != b || b > 0 && bucket(low-1) != b-1 {
				t.Fatalf("bucket %d begins at %d, which is in %d, after %d", b, low, bucket(low), bucket(low-1))
			}
		}
	})
	t.Run("the longest duration fits and a negative one counts as none", func(t *testing.T) {
		var h Histogram
		h.Record(1<<63 - 1)
		h.Record(-1)
		if h.Quantile(0.5) != 0 || h.Quantile(1) < 1<<62 {
			t.Errorf("quantiles %d and %d", h.Quantile(0.5), h.Quantile(1))
		}
	})
	t.Run("without values a quantile is 0", func(t *testing.T) {
		if got := new(Histogram).Quantile(0.99); got != 0 {
			t.Errorf("got %d", got)
		}
	})
}

func TestNumbers(t *testing.T) {
	for in, want := range map[float64]string{0: "0", 999.4: "999", 999.6: "1,000", 1234567: "1,234,567"} {
		if got := Thousands(in); got != want {
			t.Errorf("Thousands(%v) is %q, expected %q", in, got, want)
		}
	}
	for in, want := range map[time.Duration]string{950 * time.Microsecond: "950 µs", 1234 * time.Microsecond: "1.23 ms", 123 * time.Millisecond: "123.0 ms"} {
		if got := Span(in); got != want {
			t.Errorf("Span(%v) is %q, expected %q", in, got, want)
		}
	}
}

func TestMedianAndSpread(t *testing.T) {
	median, spread := MedianAndSpread([]float64{300, 100, 200}, func(v float64) float64 { return v })
	if median != 200 || spread != 0.5 {
		t.Errorf("%v ±%v, expected 200 ±0.5", median, spread)
	}
}
