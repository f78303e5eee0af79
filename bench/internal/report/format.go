// Package report makes figures of measurements and tables of figures: what the
// benchmarks of this module print alike.
package report

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Median is the middle value; of an even number the lower of the two middle ones.
func Median[T any, V cmp.Ordered](all []T, value func(T) V) V {
	values := make([]V, len(all))
	for i, one := range all {
		values[i] = value(one)
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

// MedianAndSpread is the median, and half the range as a share of it.
func MedianAndSpread[T any](all []T, value func(T) float64) (median, spread float64) {
	median = Median(all, value)
	lowest, highest := median, median
	for _, one := range all {
		lowest, highest = min(lowest, value(one)), max(highest, value(one))
	}
	return median, (highest - lowest) / 2 / median
}

// Ratio prints a share of b; without b there is none.
func Ratio(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2fx", a/b)
}

// Micros prints microseconds, without their unit.
func Micros(d time.Duration) string {
	us := float64(d) / float64(time.Microsecond)
	if us >= 1000 {
		return Thousands(us)
	}
	return fmt.Sprintf("%.1f", us)
}

// Span prints a duration with three digits.
func Span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", float64(d)/float64(time.Microsecond))
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	default:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
}

// Thousands prints a whole number with commas.
func Thousands(v float64) string {
	digits := fmt.Sprintf("%.0f", math.Abs(v))
	var parts []string
	for len(digits) > 3 {
		parts = append(parts, digits[len(digits)-3:])
		digits = digits[:len(digits)-3]
	}
	parts = append(parts, digits)
	slices.Reverse(parts)
	return strings.Join(parts, ",")
}

// Megabytes prints bytes.
func Megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

// FileName is a workload's name without what needs quoting.
func FileName(name string) string {
	return strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(name), "-"), "-")
}

// Cell is a text that does not end its cell of a table.
func Cell(text string) string {
	return strings.NewReplacer("|", "/", "\n", " ").Replace(text)
}
