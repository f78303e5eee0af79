package e2e

import (
	"bufio"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// versitygw is the program whose test client is run; `make conformance-s3`
// installs it.
var versitygw = flag.String("versitygw", "", "the `path` of versitygw, whose S3 tests TestS3Conformance runs")

// The S3 door is held to the tests that the authors of another S3 server have
// written. Those that fail are named in docs/s3-conformance.md, each with its
// reason; one that fails without being named there is a fault, and so is a name
// there that passes.
func TestS3Conformance(t *testing.T) {
	if *versitygw == "" {
		t.Skip("SKIPPED: no versitygw; `make conformance-s3` runs it")
	}
	client, err := filepath.Abs(*versitygw)
	if err != nil {
		t.Fatal(err)
	}
	for _, flow := range []struct {
		name string
		args []string
	}{
		{"unversioned", nil},
		{"versioned", []string{"--versioning-enabled"}},
	} {
		t.Run(flow.name, func(t *testing.T) {
			s := newStorage(t, `buckets = []`, `region = "us-east-1"`)
			s.start(t)
			failed, total := runVersitygw(t, client, "http://"+s.address, flow.args...)
			if total < 500 {
				t.Fatalf("only %d cases ran", total)
			}
			known := knownFailures(t, flow.name)
			for name, says := range failed {
				if !known[name] {
					t.Errorf("%s fails, and docs/s3-conformance.md does not name it: %s", name, says)
				}
			}
			for name := range known {
				if _, fails := failed[name]; !fails {
					t.Errorf("%s passes; take it out of docs/s3-conformance.md", name)
				}
			}
			t.Logf("%d cases, %d failed as docs/s3-conformance.md says", total, len(failed))
		})
	}
}

// verdict is a line of the client's output about one case.
var verdict = regexp.MustCompile(`^\s*(PASS|FAIL)\s+(\w+)(.*)`)

var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

// runVersitygw runs all cases, and returns what those that failed say.
func runVersitygw(t *testing.T, client, endpoint string, args ...string) (failed map[string]string, total int) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, client, append([]string{"test", "--access", accessKey, "--secret", secretKey,
		"--endpoint", endpoint, "--allow-insecure", "full-flow"}, args...)...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput() // its exit code says that a case failed
	if ctx.Err() != nil {
		t.Fatalf("versitygw did not end: %v", err)
	}
	failed = map[string]string{}
	for line := range strings.Lines(colour.ReplaceAllString(string(out), "")) {
		m := verdict.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		total++
		if m[1] == "FAIL" {
			failed[m[2]] = strings.TrimPrefix(m[3], ":")
		}
	}
	return failed, total
}

// A row of the table names a case, between backquotes, and the flows it fails in.
var failureRow = regexp.MustCompile("^\\| `(\\w+)` \\| (both|unversioned|versioned) \\|")

// knownFailures reads the cases that docs/s3-conformance.md names for a flow.
func knownFailures(t *testing.T, flow string) map[string]bool {
	f, err := os.Open(filepath.Join(root, "docs", "s3-conformance.md"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	known := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if m := failureRow.FindStringSubmatch(lines.Text()); m != nil && (m[2] == "both" || m[2] == flow) {
			known[m[1]] = true
		}
	}
	return known
}
