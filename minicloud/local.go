package minicloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// startLimit bounds how long a start may take before it counts as failed.
	startLimit = 60 * time.Second
	// stopLimit is what a process gets to end in its orderly way, before it is
	// killed: longer than every drain, one after the other.
	stopLimit = 60 * time.Second
)

// errSignal ends a start that a signal has ended.
var errSignal = errors.New("stopped by a signal before the cloud answered")

// untilSignal returns a context that SIGINT or SIGTERM ends. A second signal
// then ends the process at once: it has its usual effect from before the context
// ends, so that none is lost in between.
func untilSignal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
		case <-ctx.Done():
		}
		signal.Stop(signals)
		cancel()
	}()
	return ctx, cancel
}

// upHere runs the cloud in this process until SIGINT or SIGTERM.
func (m *command) upHere(ctx context.Context) error {
	began := time.Now()
	ctx, stop := untilSignal(ctx)
	defer stop()
	lock, err := takeLock(m.dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	defer os.Remove(stateFile(m.dir))
	_ = os.Remove(stateFile(m.dir)) // of a process that was killed
	digest := make(chan error, 1)
	build := ""
	go func() { // beside the start: the binary is large
		var err error
		build, err = m.buildDigest()
		digest <- err
	}()
	cloud, err := Start(ctx, Options{Configs: m.configs, Data: m.data, Log: boundLog(m.stderr, m.logFile(), maxLog)})
	if digestErr := <-digest; err == nil && digestErr != nil {
		err = errors.Join(digestErr, cloud.Close())
	}
	if err != nil {
		if ctx.Err() != nil {
			err = errSignal
		}
		return err
	}
	err = m.attend(ctx, cloud, build, began)
	if closeErr := cloud.Close(); err == nil {
		err = closeErr
	}
	return err
}

// attend waits until a cloud answers, says so, and returns when it is to end:
// at the end of ctx, or with the error of a part that ended by itself.
func (m *command) attend(ctx context.Context, cloud *Cloud, build string, began time.Time) error {
	readyCtx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- waitReady(readyCtx, cloud.Address(resolverName)) }()
	select {
	case err := <-ready:
		if ctx.Err() != nil {
			return errSignal
		}
		if err != nil {
			return err
		}
	case err := <-cloud.Failed():
		cancel()
		<-ready
		return err
	}
	state := &State{PID: os.Getpid(), Build: build, Rows: cloud.rows(), Ready: float64(time.Since(began).Microseconds()) / 1000}
	if err := writeState(m.dir, state); err != nil {
		return err
	}
	fmt.Fprintf(m.stdout, "The cloud answers, %.0f ms after its start.\n", state.Ready)
	printTable(m.stdout, state.Rows, true)
	select {
	case <-ctx.Done():
		return nil
	case err := <-cloud.Failed():
		return err
	}
}

// rows describes the running parts.
func (c *Cloud) rows() (rows []Row) {
	for _, p := range c.parts {
		rows = append(rows, Row{Name: p.Name, Where: c.Address(p.Name), Speaks: p.Speaks, Admin: "admin http://" + c.AdminAddress(p.Name)})
	}
	return rows
}

// upInBackground starts upHere in a process of its own and waits until it
// answers. One that runs already is left alone, unless binary, configuration or
// ports have changed since.
func (m *command) upInBackground(ctx context.Context) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	build, err := m.buildDigest()
	if err != nil {
		return err
	}
	pid, err := lockHolder(m.dir)
	if err != nil {
		return err
	}
	if pid != 0 {
		if state := readState(m.dir, pid); state != nil && state.Build == build {
			fmt.Fprintf(m.stdout, "The cloud runs already, as process %d, and nothing has changed.\n", pid)
			printTable(m.stdout, state.Rows, false)
			return nil
		}
		fmt.Fprintln(m.stdout, "The binary or the configuration has changed: starting again.")
		if _, err := m.downLocal(ctx); err != nil {
			return err
		}
	}
	child, err := m.spawn()
	if err != nil {
		return err
	}
	return m.awaitChild(ctx, child)
}

// awaitChild returns once the process answers, or with the reason why it ended.
func (m *command) awaitChild(ctx context.Context, child *exec.Cmd) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*startLimit, errors.New("the cloud does not start in time; its log is "+m.logFile()))
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if state := readState(m.dir, child.Process.Pid); state != nil {
			fmt.Fprintf(m.stdout, "The cloud answers, %.0f ms after its start, as process %d. Its log: %s\n", state.Ready, child.Process.Pid, m.logFile())
			printTable(m.stdout, state.Rows, false)
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return errors.New(lastWords(m.logFile()))
		case <-ctx.Done():
			_ = child.Process.Signal(syscall.SIGTERM)
			select {
			case <-ended:
			case <-time.After(m.patience):
				_ = child.Process.Kill()
				<-ended
			}
			if cause := context.Cause(ctx); errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return cause
			}
			return errSignal
		}
	}
}

func (m *command) logFile() string { return filepath.Join(m.dir, "minicloud.log") }

// spawn starts this program again, in a session of its own, with its output in
// the log file. The file of the run before is kept beside it.
func (m *command) spawn() (*exec.Cmd, error) {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w; another directory is chosen by -state", err)
	}
	// What a killed process has left could be taken for the child's, where
	// process ids repeat soon.
	if err := os.Remove(stateFile(m.dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.Rename(m.logFile(), m.logFile()+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	log, err := os.OpenFile(m.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	child := exec.Command(m.self, "up", "-configs", m.configs, "-state", m.dir, "-data", m.data)
	child.Stdout, child.Stderr = log, log
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return child, child.Start()
}

// lastWords returns the error that a failed start has left in its log, which
// may be of several lines, or what the Go runtime said at its end.
func lastWords(file string) string {
	text, _ := os.ReadFile(file)
	log := "\n" + string(text)
	if i := strings.LastIndex(log, "\nminicloud: "); i >= 0 {
		return strings.TrimSpace(log[i+len("\nminicloud: "):])
	}
	for _, crash := range []string{"\npanic: ", "\nfatal error: "} {
		if i := strings.Index(log, crash); i >= 0 {
			line, _, _ := strings.Cut(log[i+1:], "\n")
			return fmt.Sprintf("the cloud crashed while it started: %s; its log is %s", line, file)
		}
	}
	return "the cloud ended while it started; its log is " + file
}

// downLocal ends the background process and waits for it; one that does not
// end is killed, which loses nothing that was acknowledged. It reports whether
// there was one.
func (m *command) downLocal(ctx context.Context) (stopped bool, err error) {
	pid, err := lockHolder(m.dir)
	if pid == 0 || err != nil {
		return false, err
	}
	// A handle first and then the lock again: a handle means this very process,
	// even when its number is another's by now.
	process, err := os.FindProcess(pid)
	if err != nil {
		return false, err
	}
	defer process.Release()
	for _, attempt := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, m.patience}, {syscall.SIGKILL, 10 * time.Second}} {
		if now, err := lockHolder(m.dir); err != nil || now != pid {
			return true, err
		}
		if err := process.Signal(attempt.signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return false, fmt.Errorf("stop process %d: %w", pid, err)
		}
		if ended, err := m.awaitEnd(ctx, pid, attempt.wait); ended || err != nil {
			return ended, err
		}
		if attempt.signal == syscall.SIGTERM {
			fmt.Fprintf(m.stdout, "Process %d did not end within %v of being asked, and is killed.\n", pid, m.patience)
		}
	}
	return false, fmt.Errorf("process %d was killed and is still there; its log is %s", pid, m.logFile())
}

// awaitEnd reports whether the process lets go of the lock in time.
func (m *command) awaitEnd(ctx context.Context, pid int, wait time.Duration) (ended bool, err error) {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if now, err := lockHolder(m.dir); err != nil || now != pid {
			return err == nil, err
		}
		select {
		case <-tick.C:
		case <-timeout.C:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)`)

// buildDigest names what would run: this binary, the configuration, and the
// variables that move ports or stand in the configuration.
func (m *command) buildDigest() (string, error) {
	h := sha256.New()
	f, err := os.Open(m.self)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	configs, err := m.configsDigest()
	if err != nil {
		return "", err
	}
	fmt.Fprintf(h, "%s %q\n", configs, m.data)
	return digest(h), nil
}

func digest(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)[:16]) }

// configsDigest names the configuration, and the variables that move ports or
// stand in it.
func (m *command) configsDigest() (string, error) {
	configs, err := filepath.EvalSymlinks(m.configs)
	if err != nil {
		return "", fmt.Errorf("read the configuration: %w", err)
	}
	var files []string
	err = filepath.WalkDir(configs, func(path string, _ fs.DirEntry, err error) error {
		if info, statErr := os.Stat(path); err == nil && statErr == nil && info.Mode().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the configuration: %w", err)
	}
	h := sha256.New()
	names := PortVariables()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%q %q\n", file, text)
		for _, match := range variable.FindAllSubmatch(text, -1) {
			names = append(names, string(match[1]))
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		value, set := os.LookupEnv(name)
		fmt.Fprintf(h, "%s %t %q\n", name, set, value)
	}
	return digest(h), nil
}
