package minicloud

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// upDocker starts the cloud as containers, from the binaries beside this one.
func (m *command) upDocker(ctx context.Context) error {
	if _, err := m.composeCommand(ctx); err != nil {
		return err
	}
	before, err := m.containers(ctx)
	if err != nil {
		return err
	}
	env, err := hostPorts(os.LookupEnv, before)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := BuildImages(ctx, m.root, filepath.Dir(m.self)); err != nil {
		return err
	}
	built := time.Since(began)
	configs, err := m.configsDigest()
	if err != nil {
		return err
	}
	// A label, so that Compose restarts what an edited file configures.
	env = append(env, "MINICLOUD_CONFIGS="+configs)
	if err := m.compose(ctx, env, "up", "-d", "--no-build", "--remove-orphans"); err != nil {
		return err
	}
	after, err := m.allUp(ctx)
	if err != nil {
		return err
	}
	readyCtx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := waitReady(readyCtx, onLoopback(after[resolverName].published(resolverPort, true))); err != nil {
		return fmt.Errorf("%w; `make logs` shows what the containers say", err)
	}
	if after, err = m.allUp(ctx); err != nil {
		return err
	}
	if unchanged(before, after) {
		fmt.Fprintln(m.stdout, "The cloud runs already in containers, and nothing has changed.")
	} else {
		fmt.Fprintf(m.stdout, "The cloud answers, %.1f s after the start (images: %.1f s).\n", time.Since(began).Seconds(), built.Seconds())
	}
	printTable(m.stdout, dockerRows(after), false)
	return pruneImages(ctx)
}

// allUp returns the project's containers, or an error with the last words of one
// that does not run.
func (m *command) allUp(ctx context.Context) (containers, error) {
	all, err := m.containers(ctx)
	if err != nil {
		return nil, err
	}
	down := all.down()
	if len(down) == 0 {
		return all, nil
	}
	one, ok := all[down[0]]
	words := "it was not made"
	if ok {
		words = strings.ToLower(one.status)
		// A service says on its last line why it has ended.
		cmd := exec.CommandContext(ctx, "docker", "logs", "--tail", "1", one.id)
		if out, err := cmd.CombinedOutput(); err == nil {
			words = lastLine(string(out), errors.New(words))
		}
	}
	return nil, fmt.Errorf("the container of %s does not run: %s; `make logs` shows more", down[0], words)
}

// unchanged reports whether the same containers run as before.
func unchanged(before, after containers) bool {
	return maps.EqualFunc(before, after, func(a, b container) bool { return a.id == b.id && a.up() && b.up() })
}

// hostPorts returns an error for a published port that another program holds;
// one that a container of ours holds is not taken: it stays or moves with it.
//
// It also returns the variables to hand to Compose beside the user's. Docker
// would choose a free port only when the container starts, which is too late for
// the two ports that others must know: the load balancer's is a record in the
// zone, and the resolver's is one number for UDP and TCP.
func hostPorts(lookup func(string) (string, bool), running containers) (env []string, err error) {
	ports, err := publishedPorts(lookup)
	if err != nil {
		return nil, err
	}
	for _, p := range Parts() {
		for _, d := range p.doors() {
			port, ours := ports[d.env], ""
			if one := running[p.Name]; one.up() {
				ours = one.published(d.inside, d.udp)
			}
			switch {
			case port.number == 0 && (d.env == resolverEnv || d.env == httpEnv):
				if ours == "" {
					on, err := listen(loopback(0), d.udp)
					if err != nil {
						return nil, port.error(err)
					}
					_, ours, _ = net.SplitHostPort(on.tcp.Addr().String())
					on.close()
				}
				env = append(env, d.env+"="+ours)
			case port.number != 0 && ours != strconv.Itoa(port.number):
				if err := port.free(); err != nil {
					return nil, err
				}
			}
		}
	}
	return env, nil
}

func onLoopback(port string) string { return net.JoinHostPort("127.0.0.1", port) }

// dockerRows describes the containers.
func dockerRows(all containers) (rows []Row) {
	for _, p := range Parts() {
		one := all[p.Name]
		row := Row{Name: p.Name, Speaks: p.Speaks}
		_, inside, _ := net.SplitHostPort(p.Address)
		if port := one.published(inside, p.UDP); port != "" {
			row.Where = onLoopback(port)
		}
		if port := one.published(p.Admin.Inside, false); p.Admin.Env != "" && port != "" {
			row.Admin = "admin http://" + onLoopback(port)
		}
		if !one.up() {
			row.Where = "not running"
		}
		rows = append(rows, row)
	}
	return rows
}

// Images returns the binaries that containers run.
func Images() (names []string) {
	for _, p := range Parts() {
		if !slices.Contains(names, p.Image) {
			names = append(names, p.Image)
		}
	}
	return names
}
