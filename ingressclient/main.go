package ingressclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"
)

// A command is one run: its options, its streams, and what it has learnt.
type command struct {
	options
	stdin  io.Reader
	stdout io.Writer
	log    *narrator
	start  time.Time
	spent  phases
	// srvTrouble is why the SRV question had no answer, for a later hint.
	srvTrouble error
	why        []string // decisions about where to connect
	watch      *watch   // of --explain; nil otherwise
}

// Main runs the command with these arguments (without the program's name) and
// returns its exit code. The body goes to stdout, all else to stderr. It
// returns 130 once ctx is cancelled.
func Main(ctx context.Context, args []string, env func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parseArgs(args, env)
	c := &command{
		options: o, stdin: stdin, stdout: stdout, start: time.Now(),
		log: &narrator{w: stderr, verbose: o.verbose},
	}
	if err == nil {
		switch {
		case o.help:
			_, err = io.WriteString(stdout, usage())
		case o.version:
			_, err = fmt.Fprintln(stdout, "ingressclient", version())
		default:
			err = c.run(ctx)
		}
	}
	return c.report(err)
}

// report prints err, unless -s says not to, and returns its exit code.
func (c *command) report(err error) int {
	if err == nil {
		return 0
	}
	var f *failure
	if !errors.As(err, &f) {
		f = failf(exitWrite, "%v", err)
	}
	if !c.silent || c.showError {
		c.log.raw(fmt.Sprintf("ingressclient: (%d) %s\n", f.code, printable(f.msg)))
		if f.hint != "" {
			c.log.raw(fmt.Sprintf("hint: %s\n", printable(f.hint)))
		}
	}
	return f.code
}

// version returns the version and revision that the binary was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision := ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = " " + s.Value
		}
	}
	return info.Main.Version + revision + " " + info.GoVersion
}

// isTerminal reports whether w is a terminal: a character device other than
// the null device.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(st, null)
}
