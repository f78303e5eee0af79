//go:build linux

package proc

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// processor is the machine's, as it calls itself.
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

// Machine is what figures depend on: the cores, and the kernel.
func Machine() string {
	return fmt.Sprintf("%d cores: %s; Linux %s", runtime.NumCPU(), processor(), firstLine("/proc/sys/kernel/osrelease"))
}

// firstLine is that of a file, or why it cannot be read.
func firstLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

// Version is the first line of what a program says of itself when it is run with
// the argument, without its address on the web; of one in Go also what it was
// built of and with.
func Version(ctx context.Context, program, argument string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, argument).CombinedOutput()
	if err != nil {
		return err.Error()
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	text, _, _ := strings.Cut(string(line), " - ")
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return text // not Go
	}
	for _, known := range []string{info.Main.Version, info.GoVersion} {
		if known != "" && known != "(devel)" && !strings.Contains(text, known) {
			text += ", " + known
		}
	}
	return text
}
