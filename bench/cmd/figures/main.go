// Command figures measures the whole cloud in both ways of running: how long
// until it answers, how much memory it holds, how large the images are.
// `make figures` runs it on the binaries that `make build` has made.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"minicloud.internal/minicloud"
)

func main() {
	runs := flag.Int("runs", 9, "how often the local start is measured")
	idle := flag.Duration("idle", 10*time.Second, "how long the cloud idles before its memory is read")
	flag.Parse()
	root, err := filepath.Abs(".")
	if err == nil {
		err = local(root, *runs, *idle)
	}
	if err == nil {
		err = docker(root, *idle)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

// freePorts is the environment under which every published port is free.
func freePorts() []string {
	env := append(os.Environ(), "MINICLOUD_LB_ADMIN_PORT=")
	for _, p := range minicloud.Parts() {
		if p.Env != "" {
			env = append(env, p.Env+"=")
		}
	}
	return env
}

// local starts the one process several times on fresh data, and once more on
// data that is there.
func local(root string, runs int, idle time.Duration) error {
	var fresh []float64
	for range runs {
		state, err := os.MkdirTemp("", "minicloud-figures-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(state)
		ms, _, err := startLocal(root, state, 0)
		if err != nil {
			return err
		}
		fresh = append(fresh, ms)
	}
	state, err := os.MkdirTemp("", "minicloud-figures-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(state)
	if _, _, err := startLocal(root, state, 0); err != nil {
		return err
	}
	again, resident, err := startLocal(root, state, idle)
	if err != nil {
		return err
	}
	slices.Sort(fresh)
	fmt.Printf("| one process, exec to the first 200 through DNS and load balancer, fresh data (%d runs) | %.0f ms (%.0f to %.0f) |\n",
		runs, fresh[len(fresh)/2], fresh[0], fresh[len(fresh)-1])
	fmt.Printf("| the same, on the data of an earlier run | %.0f ms |\n", again)
	fmt.Printf("| one process, resident after %v idle | %.1f MB |\n", idle, resident)
	return nil
}

// startLocal measures one start from exec to the state file, which the process
// writes once a request has come back through resolver and load balancer.
func startLocal(root, state string, idle time.Duration) (ms, resident float64, err error) {
	cmd := exec.Command(filepath.Join(root, "bin", "minicloud"), "up", "-configs", filepath.Join(root, "configs"), "-state", state)
	cmd.Env = freePorts()
	log, err := os.Create(filepath.Join(state, "log"))
	if err != nil {
		return 0, 0, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		err = errors.Join(err, cmd.Wait())
	}()
	for {
		if _, err := os.Stat(filepath.Join(state, "state.json")); err == nil {
			ms = float64(time.Since(began).Microseconds()) / 1000
			break
		}
		if time.Since(began) > time.Minute {
			return 0, 0, fmt.Errorf("no answer within a minute; the log is %s", log.Name())
		}
		time.Sleep(500 * time.Microsecond)
	}
	time.Sleep(idle)
	resident, err = residentMB(cmd.Process.Pid)
	return ms, resident, err
}

// residentMB reads a process's resident memory.
func residentMB(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", pid)
}

// docker measures the containers, from images that are built.
func docker(root string, idle time.Duration) error {
	if err := exec.Command("docker", "version").Run(); err != nil {
		fmt.Println("| containers | skipped: no Docker engine answers |")
		return nil
	}
	bin := filepath.Join(root, "bin")
	if err := minicloud.BuildImages(context.Background(), root, bin); err != nil {
		return err
	}
	command := filepath.Join(bin, "minicloud")
	if _, err := output(command, "down"); err != nil {
		return err
	}
	var starts []float64
	for len(starts) < 3 {
		began := time.Now()
		if _, err := output(command, "up", "-d", "-mode", "docker"); err != nil {
			return err
		}
		starts = append(starts, time.Since(began).Seconds())
		if len(starts) == 3 {
			break // measured on, while it runs
		}
		if _, err := output(command, "down"); err != nil {
			return err
		}
	}
	slices.Sort(starts)
	fmt.Printf("| containers, images built, `minicloud up -d` to the first 200 (3 runs) | %.1f s (%.1f to %.1f) |\n", starts[1], starts[0], starts[2])
	time.Sleep(idle)
	if err := containerMemory(root, idle); err != nil {
		return err
	}
	for _, name := range minicloud.Images() {
		size, err := number("docker", "image", "inspect", "-f", "{{.Size}}", "minicloud/"+name)
		if err != nil {
			return err
		}
		fmt.Printf("| image minicloud/%s | %.1f MB |\n", name, size/1e6)
	}
	_, err := output(command, "down")
	return err
}

// containerMemory sums what the project's containers hold.
func containerMemory(root string, idle time.Duration) error {
	out, err := output("docker", "ps", "-q", "--filter", "label=com.docker.compose.project.working_dir="+root)
	if err != nil {
		return err
	}
	sum, largest := 0.0, 0.0
	ids := strings.Fields(out)
	for _, id := range ids {
		pid, err := number("docker", "inspect", "-f", "{{.State.Pid}}", id)
		if err != nil {
			return err
		}
		mb, err := residentMB(int(pid))
		if err != nil {
			return err
		}
		sum, largest = sum+mb, max(largest, mb)
	}
	fmt.Printf("| %d containers, resident after %v idle, together (largest) | %.0f MB (%.1f MB) |\n", len(ids), idle, sum, largest)
	return nil
}

// output runs a command; the error holds what it printed.
func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// number is the output of a command that prints one.
func number(name string, args ...string) (float64, error) {
	out, err := output(name, args...)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(out, 64)
}
