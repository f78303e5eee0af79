//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A loadResult is what one run of dnsperf has found, and what it cost.
type loadResult struct {
	Completed, Lost int64
	Codes           map[string]int64
	Elapsed         time.Duration
	Average         time.Duration // latency

	Server    time.Duration // CPU time of the server's processes
	Generator time.Duration // and of dnsperf
	Machine   time.Duration // all of the machine's
}

// A loadSpec is how dnsperf is to run.
type loadSpec struct {
	file     string // of queries
	once     bool   // the file once, instead of for the duration
	duration time.Duration
	threads  int
	clients  int // sockets
	pinned   string
	edns     bool
}

// outstanding is how many queries are on their way at a time, dnsperf's default.
const outstanding = 100

// args are those of dnsperf.
func (s loadSpec) args(host, port string) []string {
	args := []string{"-s", host, "-p", port, "-d", s.file, "-T", strconv.Itoa(s.threads), "-c", strconv.Itoa(s.clients), "-q", strconv.Itoa(outstanding), "-t", "2"}
	if s.once {
		args = append(args, "-n", "1")
	} else {
		args = append(args, "-l", fmt.Sprint(s.duration.Seconds()))
	}
	if s.edns {
		args = append(args, "-e")
	}
	return args
}

// runDnsperf runs it against a server, and returns its result with its CPU time.
func (b *bench) runDnsperf(ctx context.Context, host, port string, s loadSpec) (loadResult, error) {
	ctx, cancel := context.WithTimeout(ctx, s.duration+2*time.Minute)
	defer cancel()
	words := append([]string{b.dnsperf}, s.args(host, port)...)
	if s.pinned != "" {
		words = append([]string{b.taskset, "-c", s.pinned}, words...)
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return loadResult{}, fmt.Errorf("dnsperf: %w: %s", err, out)
	}
	r, err := parseDnsperf(out)
	r.Generator = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return r, err
}

// dnsperfVersion is the last line of its help.
func (b *bench) dnsperfVersion(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, b.dnsperf, "-h").CombinedOutput()
	_, version, ok := strings.Cut(string(out), "\nVersion ")
	if !ok {
		return fmt.Sprint("of an unknown version: ", err)
	}
	return strings.TrimSpace(version)
}

var codeCount = regexp.MustCompile(`([A-Z0-9]+) (\d+) \(`)

// parseDnsperf reads the statistics that dnsperf prints at its end.
func parseDnsperf(out []byte) (r loadResult, err error) {
	r.Codes = map[string]int64{}
	seen := 0
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		fields := strings.Fields(value)
		if !ok || len(fields) == 0 {
			continue
		}
		var err error
		switch name {
		case "Queries completed":
			seen++
			r.Completed, err = strconv.ParseInt(fields[0], 10, 64)
		case "Queries lost":
			seen++
			r.Lost, err = strconv.ParseInt(fields[0], 10, 64)
		case "Response codes":
			for _, m := range codeCount.FindAllStringSubmatch(value, -1) {
				n, err := strconv.ParseInt(m[2], 10, 64)
				if err != nil {
					return r, err
				}
				r.Codes[m[1]] = n
			}
		case "Run time (s)":
			seen++
			r.Elapsed, err = seconds(fields[0])
		case "Average Latency (s)":
			seen++
			r.Average, err = seconds(fields[0])
		}
		if err != nil {
			return r, fmt.Errorf("dnsperf's %s: %w", name, err)
		}
	}
	if seen != 4 {
		return r, errors.Join(lines.Err(), fmt.Errorf("dnsperf printed no statistics: %s", out))
	}
	return r, nil
}

func seconds(text string) (time.Duration, error) {
	s, err := strconv.ParseFloat(text, 64)
	return time.Duration(s * float64(time.Second)), err
}

// wrong is what is wrong with a result, or empty: the share of names that are not
// there has to come out, and nothing but NOERROR and NXDOMAIN.
func (r loadResult) wrong() string {
	answered := r.Codes["NOERROR"] + r.Codes["NXDOMAIN"]
	share := float64(r.Codes["NXDOMAIN"]) * absentShare / float64(max(1, r.Completed))
	switch {
	case r.Completed == 0:
		return "no answer"
	case r.Lost > 0:
		return fmt.Sprintf("%d of %d queries lost", r.Lost, r.Lost+r.Completed)
	case answered != r.Completed:
		return fmt.Sprintf("%d of %d answers are neither NOERROR nor NXDOMAIN", r.Completed-answered, r.Completed)
	case share < 0.95 || share > 1.05:
		return fmt.Sprintf("%d of %d answers are NXDOMAIN, expected one in %d", r.Codes["NXDOMAIN"], r.Completed, absentShare)
	}
	return ""
}
