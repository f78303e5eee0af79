package peers

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A Kind is a program, by the name that it is installed under.
type Kind string

// The programs. DNSServer and Resolver are ours.
const (
	DNSServer Kind = "dnsserver"
	Resolver  Kind = "resolver"
	Knot      Kind = "knotd"
	NSD       Kind = "nsd"
	BIND      Kind = "named"
	Unbound   Kind = "unbound"
	CoreDNS   Kind = "coredns"
)

// ErrNotInstalled is the error where a program is not there.
var ErrNotInstalled = errors.New("not installed")

// Title is the name that a reader knows.
func (k Kind) Title() string {
	if p, ok := programs[k]; ok {
		return p.title
	}
	return string(k)
}

// Ours reports whether the program is of this project.
func (k Kind) Ours() bool { return k == DNSServer || k == Resolver }

// Find returns where the program is: in PATH, or where Debian keeps what only
// root has in its PATH. The error wraps [ErrNotInstalled].
func Find(k Kind) (string, error) {
	for _, dir := range []string{"", "/usr/sbin", "/usr/local/sbin"} {
		path, err := exec.LookPath(filepath.Join(dir, string(k)))
		if err == nil {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("%s: %w", k, ErrNotInstalled)
}

// Version is what a program says of itself, in one line.
func Version(ctx context.Context, k Kind, program string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, programs[k].version).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	// NSD's exit status after -v is 1.
	if line = strings.TrimSpace(line); line == "" && err != nil {
		return err.Error()
	}
	line, _, _ = strings.Cut(line, " <id:")
	return strings.TrimPrefix(line, "Version ")
}

// A program is how a kind is run.
type program struct {
	title   string
	version string // the argument that has it printed
	// config returns the configuration, which is written to file.
	config func(p place) string
	file   string
	args   func(p place) []string
	env    func(p place) []string
}

var programs = map[Kind]program{
	DNSServer: {"minicloud dnsserver", "-version", ourServer, "config.toml", ourArgs, goThreads},
	Resolver:  {"minicloud resolver", "-version", ourResolver, "config.toml", ourArgs, goThreads},
	Knot: {"Knot DNS", "--version", knot, "knot.conf", func(p place) []string {
		return []string{"-c", p.path("knot.conf")}
	}, nil},
	NSD: {"NSD", "-v", nsd, "nsd.conf", func(p place) []string {
		return []string{"-d", "-c", p.path("nsd.conf")}
	}, nil},
	BIND: {"BIND", "-v", bind, "named.conf", func(p place) []string {
		return []string{"-g", "-n", fmt.Sprint(p.Threads), "-c", p.path("named.conf")}
	}, nil},
	Unbound: {"Unbound", "-V", unbound, "unbound.conf", func(p place) []string {
		return []string{"-d", "-c", p.path("unbound.conf")}
	}, nil},
	CoreDNS: {"CoreDNS", "-version", coreDNS, "Corefile", func(p place) []string {
		return []string{"-conf", p.path("Corefile")}
	}, goThreads},
}

func ourArgs(p place) []string { return []string{"-config", p.path("config.toml")} }

func goThreads(p place) []string { return []string{fmt.Sprintf("GOMAXPROCS=%d", p.Threads)} }
