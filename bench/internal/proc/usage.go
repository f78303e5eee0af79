//go:build linux

package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Resident is what processes hold in memory now, in bytes: a page that two of them
// share counts twice.
func Resident(pids []int) (int64, error) { return sumOf(pids, "status", "VmRSS:", 1<<10) }

// Peak is the sum of the most that each process has held in memory since
// [ResetPeak], or since it began.
func Peak(pids []int) (int64, error) { return sumOf(pids, "status", "VmHWM:", 1<<10) }

// ResetPeak begins a new peak.
func ResetPeak(pids []int) error {
	const peak = "5" // of the values that proc(5) has for clear_refs
	for _, pid := range pids {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte(peak), 0); err != nil {
			return err
		}
	}
	return nil
}

// Written is how many bytes processes have caused to be written to a disk so far:
// those of pages that they made dirty, and those past the page cache, less those
// of files that were cut or removed before they were written.
func Written(pids []int) (int64, error) {
	written, err := sumOf(pids, "io", "write_bytes:", 1)
	if err != nil {
		return 0, err
	}
	cancelled, err := sumOf(pids, "io", "cancelled_write_bytes:", 1)
	return written - cancelled, err
}

// sumOf sums a number that stands in a file of /proc/<pid>.
func sumOf(pids []int, file, name string, unit int64) (sum int64, err error) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			return 0, err
		}
		n, err := number(string(text), name)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/%s: %w", pid, file, err)
		}
		sum += n * unit
	}
	return sum, nil
}

// number reads the line that begins with the name.
func number(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		}
	}
	return 0, fmt.Errorf("there is no %s", name)
}
