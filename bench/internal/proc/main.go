//go:build linux

package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// Main runs a benchmark until it has ended or is interrupted, says on standard error
// what went wrong, and returns the exit status.
func Main(name string, run func(ctx context.Context) error) int {
	// SIGPIPE too, so that a run piped into head clears up.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	err := run(ctx)
	if err == nil {
		return 0
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	return 1
}

// Chosen reads a list of names, separated by commas, of those that there are; empty
// means all. It returns what tells whether a name was chosen.
func Chosen(list string, known []string) (chosen func(name string) bool, err error) {
	if list == "" {
		return func(string) bool { return true }, nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no %q to choose, but %s", name, strings.Join(known, ", "))
		}
	}
	return func(name string) bool { return slices.Contains(names, name) }, nil
}
