package kit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// programConfig is the configuration of the program that these tests run: this
// test binary, started again.
type programConfig struct {
	Common
	Fail bool `toml:"fail"` // the service ends with an error
	Deaf bool `toml:"deaf"` // the service does not end with its context
}

func (c *programConfig) Diagnose() (warnings []string) {
	if c.Deaf && c.Fail {
		warnings = append(warnings, "deaf: it has no effect, the service fails")
	}
	return warnings
}

func program(p *Process) error {
	cfg := programConfig{Common: DefaultCommon("127.0.0.1:0")}
	if err := p.Configure(&cfg); err != nil {
		return err
	}
	ln, err := Listen(cfg.Listen)
	if err != nil {
		return err
	}
	p.AdminHandlers = map[string]http.Handler{"GET /extra": http.NotFoundHandler()}
	health := NewHealth()
	return p.Run(health, func(ctx context.Context) error {
		if cfg.Fail {
			return errors.New("the disk is gone")
		}
		s := &HTTPServer{Handler: http.NotFoundHandler(), Logger: p.Logger, Health: health}
		fmt.Println("serving", ln.Addr())
		err := s.Serve(ctx, ln)
		if cfg.Deaf {
			fmt.Println("deaf")
			select {}
		}
		return err
	})
}

// launch prepares the program with a configuration file of this text.
func launch(t *testing.T, config string, args ...string) *exec.Cmd {
	t.Helper()
	if config != "" {
		file := filepath.Join(t.TempDir(), "program.toml")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"-config", file}, args...)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	// The race detector would hold up every exit for a second.
	cmd.Env = append(os.Environ(), "KIT_TEST_PROGRAM=1", "GORACE=atexit_sleep_ms=0", "GOCOVERDIR="+t.TempDir())
	return cmd
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		name, config   string
		args           []string
		code           int
		stdout, stderr string // patterns of all that is printed
	}{
		{"-check says that a configuration is valid, and ends", `listen = ":0"`, []string{"-check"}, 0,
			`program: the configuration is valid\n`, ``},
		{"-check without a file validates the defaults", ``, []string{"-check"}, 0, `program: the configuration is valid\n`, ``},
		{"-check warns of what is valid and hardly meant", "fail = true\ndeaf = true", []string{"-check"}, 0,
			`program: warning: deaf: it has no effect, the service fails\nprogram: the configuration is valid\n`, ``},
		{"-check names file, line and key of a mistake", "\nlisten = 5", []string{"-check"}, 1, ``,
			`program: /.*/program\.toml:2: listen is 5, expected a string\n`},
		{"a mistake is an error without -check too", `lissten = ""`, nil, 1, ``,
			`program: .*:1: unknown key lissten, did you mean listen\?\n`},
		{"a missing file is an error", ``, []string{"-config", "/nowhere"}, 1, ``,
			`program: read configuration: open /nowhere: no such file or directory\n`},
		{"-version prints name and version", ``, []string{"-version"}, 0, `program \S+.* go1\.\S+\n`, ``},
		{"-help prints the flags", ``, []string{"-help"}, 0, ``, `(?s)Usage of program:.*-check.*-config file.*-version.*`},
		{"an unknown flag is a wrong use", ``, []string{"-bad"}, 2, ``, `(?s)flag provided but not defined: -bad\n.*`},
		{"an argument is a wrong use", ``, []string{"file.toml"}, 2, ``,
			`program: unexpected argument "file\.toml"; the configuration goes behind -config\n`},
		{"an error of the service is one line at the end", `fail = true`, nil, 1, ``, `program: the disk is gone\n`},
		{"an admin address in use ends the program before it serves", ``, nil, 1, ``,
			`program: admin: listen on TCP \S+: the address is in use by another program\n`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasPrefix(c.name, "an admin address in use") {
				ln, err := Listen("127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer ln.Close()
				c.config = fmt.Sprintf("admin = %q", ln.Addr())
			}
			cmd := launch(t, c.config, c.args...)
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_ = cmd.Run()
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if !regexp.MustCompile(`^`+c.stdout+`$`).MatchString(stdout.String()) || !regexp.MustCompile(`^`+c.stderr+`$`).MatchString(stderr.String()) {
				t.Errorf("stdout:\n%s\nstderr:\n%s", &stdout, &stderr)
			}
		})
	}
}

// expect reads lines until one matches the pattern, and returns its group.
func expect(t *testing.T, lines *bufio.Scanner, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for lines.Scan() {
		if m := re.FindStringSubmatch(lines.Text()); m != nil {
			return m[len(m)-1]
		}
	}
	t.Fatalf("the program ended without a line like %q", pattern)
	return ""
}

func TestSignals(t *testing.T) {
	for _, c := range []struct {
		name, config string
		signals      []os.Signal
		code         int
		last         string
	}{
		{"SIGTERM ends a program in order", "", []os.Signal{syscall.SIGTERM}, 0, "stopped"},
		{"SIGINT ends a program in order", "", []os.Signal{os.Interrupt}, 0, "stopped"},
		{"a second signal ends it at once", "deaf = true\n", []os.Signal{syscall.SIGTERM, os.Interrupt}, 1, "ended at once by a second signal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := launch(t, c.config+"admin = '127.0.0.1:0'\nlog_format = 'text'")
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			out, log := bufio.NewScanner(stdout), bufio.NewScanner(stderr)
			expect(t, out, `^serving (.*)`)
			client := NewHTTPClient(nil, 0)
			defer client.CloseIdleConnections()
			admin := "http://" + expect(t, log, `msg="admin listener" .*address=(\S+)`)
			get := func(path string) int {
				resp, err := client.Get(admin + path)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				_, _ = io.Copy(io.Discard, resp.Body)
				return resp.StatusCode
			}
			for get("/healthz") != 200 { // until the service serves
			}
			for path, want := range map[string]int{"/readyz": 200, "/metrics": 200, "/extra": 404, "/debug/pprof/": 200} {
				if got := get(path); got != want {
					t.Errorf("%s of the admin listener is %d, want %d", path, got, want)
				}
			}
			for i, signal := range c.signals {
				if i > 0 {
					expect(t, out, `^(deaf)$`)
					if got := get("/healthz"); got != 503 {
						t.Errorf("in the drain the admin listener's health is %d, want 503", got)
					}
				}
				if err := cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
			}
			expect(t, log, `msg="?`+c.last)
			_, _ = io.Copy(io.Discard, stderr)
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
		})
	}
}

func TestOnSignal(t *testing.T) {
	l := &logs{}
	p := &Process{Logger: l.logger()}
	ctx, cancel := context.WithCancel(t.Context())
	stop := p.onSignal(cancel)
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	stop() // goleak sees whether the watch has ended
	if !strings.Contains(l.String(), "msg=stopping") || !strings.Contains(l.String(), "signal=terminated") {
		t.Errorf("logged %s", l)
	}
}
