package minicloud

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"minicloud.internal/kit"
)

const usage = `minicloud: a whole cloud on one machine.

  minicloud up       start the cloud in this process; Ctrl-C ends it
     -d              in the background, until "minicloud down"
     -mode MODE      with -d: "local", "docker", or "auto" (Docker Compose where an engine answers)
  minicloud down     stop the cloud that runs; what it keeps stays
  minicloud status   what runs where
  minicloud logs     what the services have logged; -f follows
  minicloud clean    stop the cloud and remove what it keeps
  minicloud check    validate every file in the configuration (also: minicloud -check)
  minicloud version  (also: minicloud -version)

Flags of all: -configs DIR (default "configs"), -state DIR (".minicloud"),
-data DIR ($MINICLOUD_DATA, or data in the state directory).
`

// command is one run of the program.
type command struct {
	configs, dir, data string // absolute
	root               string // the directory of docker-compose.yml, without symbolic links
	self               string // this program; the services' binaries are beside it
	mode               string
	background, follow bool
	stdout, stderr     io.Writer
	patience           time.Duration // for a process that was asked to end

	words []string // that run Compose, once known
}

// Main runs the command and returns its exit code: 0, 1 with one sentence on
// stderr, or 2 for wrong usage.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	verbs := map[string]func(*command, context.Context) error{
		"up": (*command).up, "down": (*command).down, "status": (*command).status,
		"logs": (*command).logs, "clean": (*command).clean, "check": (*command).check,
	}
	switch verb {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
		return 0
	case "version", "-version", "--version":
		fmt.Fprintln(stdout, "minicloud", kit.Version())
		return 0
	case "-check", "--check":
		verb = "check"
	case "":
		fmt.Fprint(stderr, usage)
		return 2
	}
	run, ok := verbs[verb]
	if !ok {
		fmt.Fprintf(stderr, "minicloud: unknown command %q\n\n%s", verb, usage)
		return 2
	}
	m := &command{stdout: stdout, stderr: stderr, mode: "local", patience: stopLimit}
	err := m.parse(verb, args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "minicloud: %v; `minicloud help` lists what there is\n", err)
		return 2
	}
	if err := run(m, ctx); err != nil {
		fmt.Fprintln(stderr, "minicloud:", err)
		return 1
	}
	return 0
}

// parse reads the flags of a verb and makes the paths absolute.
func (m *command) parse(verb string, args []string) error {
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&m.configs, "configs", "configs", "")
	flags.StringVar(&m.dir, "state", stateDir, "")
	flags.StringVar(&m.data, "data", os.Getenv("MINICLOUD_DATA"), "")
	switch verb {
	case "up":
		flags.StringVar(&m.mode, "mode", "local", "")
		flags.BoolVar(&m.background, "d", false, "")
	case "logs":
		flags.BoolVar(&m.follow, "f", false, "")
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if !slices.Contains([]string{"local", "docker", "auto"}, m.mode) {
		return fmt.Errorf("the mode is %q, expected local, docker or auto", m.mode)
	}
	if m.mode != "local" && !m.background {
		return fmt.Errorf("-mode %s needs -d: containers run in the background", m.mode)
	}
	if m.data == "" {
		m.data = filepath.Join(m.dir, "data")
	}
	for _, path := range []*string{&m.configs, &m.dir, &m.data} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	var err error
	if m.self, err = os.Executable(); err != nil {
		return err
	}
	m.root = filepath.Dir(m.configs)
	if real, err := filepath.EvalSymlinks(m.root); err == nil {
		m.root = real // as Compose labels its containers
	}
	return nil
}

// up chooses how the cloud runs, says why, and starts it. A configuration that
// is not valid starts nothing, and leaves alone what runs.
func (m *command) up(ctx context.Context) error {
	if !m.background {
		return m.upHere(ctx)
	}
	if errs := Check(m.configs); len(errs) > 0 {
		return errors.Join(errs...)
	}
	pid, err := lockHolder(m.dir)
	if err != nil {
		return err
	}
	noEngine := error(nil)
	switch {
	case m.mode == "auto" && pid != 0:
		m.mode = "local"
	case m.mode == "auto":
		m.mode = "docker"
		if noEngine = engine(ctx); noEngine != nil {
			m.mode = "local"
			fmt.Fprintf(m.stdout, "Starting the cloud as one local process: %v.\n", noEngine)
		} else {
			fmt.Fprintln(m.stdout, "Starting the cloud with Docker Compose: a Docker engine answers.")
		}
	case m.mode == "docker":
		fmt.Fprintln(m.stdout, "Starting the cloud with Docker Compose: the mode was asked for.")
		if err := engine(ctx); err != nil {
			return fmt.Errorf("%w; start the engine, or run without containers: make up MODE=local", err)
		}
	default:
		fmt.Fprintln(m.stdout, "Starting the cloud as one local process: the mode was asked for.")
	}
	if m.mode == "docker" {
		if pid != 0 {
			return fmt.Errorf("the cloud runs already as local process %d; `make down` stops it", pid)
		}
		return m.upDocker(ctx)
	}
	if pid == 0 && noEngine == nil {
		if all, err := m.containers(ctx); err == nil && all.anyUp() {
			return errors.New("the cloud runs already in containers; `make down` stops it")
		}
	}
	return m.upInBackground(ctx)
}

// down stops what runs, in either way.
func (m *command) down(ctx context.Context) error {
	stopped, err := m.downLocal(ctx)
	if err != nil {
		return err
	}
	if all, err := m.containers(ctx); err == nil && len(all) > 0 {
		if err := m.compose(ctx, nil, "down"); err != nil {
			return err
		}
		stopped = true
	}
	if stopped {
		fmt.Fprintln(m.stdout, "The cloud is down. What it keeps stays; `make clean` removes it.")
	} else {
		fmt.Fprintln(m.stdout, "The cloud does not run.")
	}
	return nil
}

// status prints what runs where.
func (m *command) status(ctx context.Context) error {
	pid, err := lockHolder(m.dir)
	if err != nil {
		return err
	}
	if pid != 0 {
		state := readState(m.dir, pid)
		if state == nil {
			return fmt.Errorf("process %d starts or stops just now; its log is %s", pid, m.logFile())
		}
		fmt.Fprintf(m.stdout, "The cloud runs as local process %d.\n", pid)
		printTable(m.stdout, state.Rows, true)
		return nil
	}
	if all, err := m.containers(ctx); err == nil && all.anyUp() {
		fmt.Fprintln(m.stdout, "The cloud runs in containers.")
		printTable(m.stdout, dockerRows(all), true)
		return nil
	}
	return errors.New("the cloud does not run; `make up` starts it")
}

// logs prints what the services have logged: those that run, or ran last.
func (m *command) logs(ctx context.Context) error {
	pid, err := lockHolder(m.dir)
	if err != nil {
		return err
	}
	var cmd *exec.Cmd
	if pid == 0 {
		// Containers that have ended have a log too, which may say why.
		if all, err := m.containers(ctx); err == nil && len(all) > 0 {
			args := []string{"logs", "--no-color", "--tail=1000"}
			if m.follow {
				args = append(args, "-f")
			}
			if cmd, err = m.composeCmd(ctx, args...); err != nil {
				return err
			}
		}
	}
	if cmd == nil && m.follow {
		cmd = exec.CommandContext(ctx, "tail", "-n", "1000", "-F", m.logFile())
	}
	if cmd != nil {
		cmd.Stdout, cmd.Stderr = m.stdout, m.stderr
		if m.follow {
			return cmd.Run()
		}
		// Compose prints one container after the other. By time, a request
		// can be followed through the parts.
		var log bytes.Buffer
		cmd.Stdout = &log
		err := cmd.Run()
		for _, line := range byTime(log.String()) {
			fmt.Fprint(m.stdout, line)
		}
		return err
	}
	log, err := os.Open(m.logFile())
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("there is no log: the cloud has not run in the background; `make up` starts it")
	}
	if err != nil {
		return err
	}
	defer log.Close()
	_, err = io.Copy(m.stdout, log)
	return err
}

var logTime = regexp.MustCompile(`\btime"?[=:]"?(\d{4}-\d\d-\d\dT[\d:.]+)`)

// byTime returns the lines of several logs in the order of the times in them.
// A line without one stays behind the line before it.
func byTime(text string) []string {
	type stamped struct{ time, line string }
	var lines []stamped
	last := ""
	for line := range strings.Lines(text) {
		if m := logTime.FindStringSubmatch(line); m != nil {
			last = m[1]
		} else if strings.HasPrefix(line, "Attaching to ") {
			last = "" // the heading of Compose 1
		}
		lines = append(lines, stamped{last, line})
	}
	slices.SortStableFunc(lines, func(a, b stamped) int { return strings.Compare(a.time, b.time) })
	sorted := make([]string, len(lines))
	for i, l := range lines {
		sorted[i] = l.line
	}
	return sorted
}

// check validates the configuration and says what it found.
func (m *command) check(context.Context) error {
	errs := Check(m.configs)
	if _, err := publishedPorts(os.LookupEnv); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	fmt.Fprintf(m.stdout, "minicloud: the configuration in %s is valid\n", m.configs)
	return nil
}

// clean stops the cloud and removes what it keeps.
func (m *command) clean(ctx context.Context) error {
	if _, err := m.downLocal(ctx); err != nil {
		return err
	}
	lock, err := takeLock(m.dir) // so that nobody starts meanwhile
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := os.Stat(filepath.Join(m.root, "docker-compose.yml")); err == nil && engine(ctx) == nil {
		if _, err := m.composeCommand(ctx); err == nil {
			if err := m.compose(ctx, nil, "down", "--volumes", "--remove-orphans"); err != nil {
				return err
			}
		}
	}
	inside, err := filepath.Rel(m.dir, m.data)
	left, err := removeData(m.data, err == nil && filepath.IsLocal(inside))
	if err != nil {
		return err
	}
	for _, dir := range left {
		fmt.Fprintf(m.stdout, "%s was there before the cloud came, and stays.\n", dir)
	}
	for _, name := range []string{"state.json", "state.json.new", "minicloud.log", "minicloud.log.1", "lock"} {
		_ = os.Remove(filepath.Join(m.dir, name))
	}
	_ = os.Remove(m.dir) // stays where it holds anything else
	fmt.Fprintln(m.stdout, "The cloud is down, and what it kept is removed.")
	return nil
}
