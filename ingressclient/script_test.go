package ingressclient

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ingressclient": func() {
		signal.Ignore(syscall.SIGPIPE)
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		context.AfterFunc(ctx, stop)
		os.Exit(Main(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
	}})
}

// TestScripts runs the command as a process, against a world on loopback. Each
// file of testdata/script says what holds.
func TestScripts(t *testing.T) {
	w := newWorld(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			roots, err := w.writeCertificate(e.WorkDir)
			// The race detector would sleep for a second at the end of each process.
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			e.Setenv("ROOTS", roots)
			e.Setenv("MINICLOUD_RESOLVER", w.dns)
			e.Setenv("RESOLVER", w.dns)
			e.Setenv("ADMIN", w.admin.Listener.Addr().String())
			e.Setenv("MINICLOUD_RESOLVER_ADMIN", w.admin.Listener.Addr().String())
			e.Setenv("MINICLOUD_LB_ADMIN", w.admin.Listener.Addr().String())
			e.Setenv("CLOSED", w.closed)
			e.Setenv("WEB", w.web.Listener.Addr().String())
			e.Setenv("WEBPORT", portOf(w.web.Listener.Addr().String()))
			e.Setenv("TLSPORT", portOf(w.tls.Listener.Addr().String()))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"awaits": func(ts *testscript.TestScript, _ bool, args []string) { w.awaits(ts, args) },
			"fails":  fails,
		},
	})
}

// exits CODE PROGRAM ARG… checks the exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, err := strconv.Atoi(args[0]); err != nil || code != want {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// fails CODE ARG… runs the command, which must fail with this code, print
// nothing on standard output, and say why in one sentence.
func fails(ts *testscript.TestScript, neg bool, args []string) {
	exits(ts, neg, slices.Concat(args[:1], []string{"ingressclient"}, args[1:]))
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("standard output is %q, want nothing", out)
	}
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile("stderr"), "\n"), "\n")
	if !strings.HasPrefix(lines[0], "ingressclient: ("+args[0]+") ") {
		ts.Fatalf("the first line does not begin with the program and the code %s", args[0])
	}
	if len(lines) > 2 || len(lines) == 2 && !strings.HasPrefix(lines[1], "hint: ") {
		ts.Fatalf("want one sentence, and at most one hint")
	}
}

// awaits PATH waits until a request for the path has reached the server.
func (w *world) awaits(ts *testscript.TestScript, args []string) {
	for path := range w.waiting {
		if path == args[0] {
			return
		}
	}
}
