//go:build linux

package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// ReadyLine is what a generator prints when its warm-up is over.
const ReadyLine = "ready"

// Generate runs the mode "load" of a program, a generator of load, with spec as
// JSON for its argument, and decodes what it prints into result. Where ready is
// given it is called when the warm-up is over, while the load goes on; the
// generator's standard input ends when it has returned. Nothing takes longer
// than limit.
func Generate(ctx context.Context, exe string, spec, result any, limit time.Duration, ready func() error) error {
	arg, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, "load", string(arg))
	cmd.SysProcAttr = childAttributes()
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var problem error
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		switch {
		case lines.Text() != ReadyLine:
			problem = errors.Join(problem, json.Unmarshal(lines.Bytes(), result))
		case ready != nil:
			problem = errors.Join(problem, ready())
		}
		if lines.Text() == ReadyLine {
			_ = stdin.Close()
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("the load generator: %w", err)
	}
	return errors.Join(problem, lines.Err())
}
