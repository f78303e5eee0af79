//go:build linux

// Package proc starts the programs that are measured, each in a process of its own,
// and reads what they use: CPU time, memory, and what the machine does beside them.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Patience bounds the wait for a first answer.
const Patience = 10 * time.Second

// openFiles is what 10,000 clients ask of a proxy that counts with one upstream
// connection for each.
const openFiles = 65536

// RaiseOpenFiles raises the limit that all processes inherit: without privileges
// to what the hard limit allows.
func RaiseOpenFiles() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: openFiles, Max: max(openFiles, l.Max)}) == nil {
		return nil
	}
	l.Cur = l.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
}

// A Process is a program that was started, with its children.
type Process struct {
	cmd   *exec.Cmd
	log   string // file with what it printed
	ended chan struct{}
	once  sync.Once // Stop has run
}

// Start runs a program in a process group of its own, which a Ctrl-C on the
// terminal does not reach: it is this process that ends it. Should this one be
// killed, the kernel ends it (strictly when the thread ends that started it;
// the runtime ends none of its threads before).
func Start(dir, name, program string, env []string, args ...string) (*Process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &Process{cmd: exec.Command(program, args...), log: log.Name(), ended: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = childAttributes()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Stop ends the process, and what of its group it has left behind. A second
// call does nothing: by then the group's number may be another's.
func (p *Process) Stop() {
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(3 * time.Second):
		}
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.ended
	})
}

// Answers waits until the address answers with 200 to a GET of the path.
func (p *Process) Answers(ctx context.Context, address, path string) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	err := ctx.Err()
	for ctx.Err() == nil {
		if _, err = Fetch(ctx, address, path); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-p.ended:
			return fmt.Errorf("%s has ended: %s", filepath.Base(p.cmd.Path), p.Tail())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s does not answer: %w: %s", filepath.Base(p.cmd.Path), err, p.Tail())
}

// Tail is the end of what the process has printed.
func (p *Process) Tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b[max(0, len(b)-1000):]))
}

// PIDs is the process and all that it has started. It is read once the proxy
// answers: what starts later (none does) would go uncounted.
func (p *Process) PIDs() ([]int, error) { return Tree(p.cmd.Process.Pid) }

// Tree is a process, by its number, and all that it has started.
func Tree(pid int) ([]int, error) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	all := []int{pid}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // a thread that ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		for word := range strings.FieldsSeq(string(text)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				return nil, err
			}
			below, err := Tree(child)
			if err != nil {
				return nil, err
			}
			all = append(all, below...)
		}
	}
	return all, nil
}

// A Memory is what processes hold, in bytes.
type Memory struct {
	Resident     int64 // the sum of Rss: a page that two processes share counts twice
	Proportional int64 // the sum of Pss: it counts once
}

// MemoryOf sums what processes hold.
func MemoryOf(pids []int) (sum Memory, err error) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return Memory{}, err
		}
		m, err := parseMemory(string(text))
		if err != nil {
			return Memory{}, fmt.Errorf("process %d: %w", pid, err)
		}
		sum.Resident += m.Resident
		sum.Proportional += m.Proportional
	}
	return sum, nil
}

// parseMemory reads a /proc/<pid>/smaps_rollup.
func parseMemory(text string) (m Memory, err error) {
	for line := range strings.Lines(text) {
		for name, to := range map[string]*int64{"Rss:": &m.Resident, "Pss:": &m.Proportional} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
				if err != nil {
					return Memory{}, err
				}
				*to = kb << 10
			}
		}
	}
	if m.Resident == 0 {
		return Memory{}, errors.New("no Rss in smaps_rollup")
	}
	return m, nil
}

// FreePorts are addresses of the loopback interface that nobody listens on,
// below the range that the kernel takes for outgoing connections.
type FreePorts struct{ Next int } // the port to begin with

// Take returns the next one.
func (f *FreePorts) Take() (string, error) {
	for ; f.Next < 32768; f.Next++ {
		address := "127.0.0.1:" + strconv.Itoa(f.Next)
		if ln, err := net.Listen("tcp4", address); err == nil {
			f.Next++
			return address, ln.Close()
		}
	}
	return "", errors.New("no free port is left below 32768")
}
