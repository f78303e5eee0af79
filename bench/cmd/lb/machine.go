//go:build linux

package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// printMachine writes what the figures depend on.
func (b *bench) printMachine(ctx context.Context, w io.Writer, all findings) {
	fmt.Fprintf(w, "### The machine\n\n- %d cores: %s; Linux %s\n", runtime.NumCPU(), processor(), firstLine("/proc/sys/kernel/osrelease"))
	for _, p := range b.proxies {
		fmt.Fprintf(w, "- %s: %s\n", p.title, versionOf(ctx, p))
	}
	fmt.Fprintf(w, "- median of %d rounds of %v; CPU time from the processes' CPU clocks (clock_gettime, nanoseconds), which is what /proc/<pid>/stat has in steps of 10 ms\n", b.rounds, b.duration)
	noisy, rounds := 0, 0
	for _, c := range all.comparisons {
		noisy += c.noisy
		rounds += c.rounds
	}
	fmt.Fprintf(w, "- in %d of %d measurements something else on the machine took more than %.1f cores\n", noisy, rounds, noise)
}

// noise is what the kernel's own threads and this program may take, in cores,
// before a measurement counts as disturbed.
const noise = 0.2

// disturbed tells whether something else ran beside a measurement.
func disturbed(l loadResult) bool {
	return (l.Machine - l.Proxy - l.Backend - l.Generator).Seconds() > noise*l.Elapsed.Seconds()
}

func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func firstLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// versionOf is the first line of what a proxy says of itself, without its
// address on the web.
func versionOf(ctx context.Context, p proxy) string {
	if p.version == "" {
		return "net/http/httputil of " + runtime.Version()
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, p.program, p.version).CombinedOutput()
	if err != nil {
		return err.Error()
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	text, _, _ := strings.Cut(string(line), " - ")
	if info, err := buildinfo.ReadFile(p.program); err == nil && !strings.Contains(text, info.GoVersion) {
		text += ", " + info.GoVersion
	}
	return text
}
