package minicloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// answerLimit is how long a question to Docker may take.
const answerLimit = 10 * time.Second

// errNoEngine says why containers are no choice here.
var errNoEngine = errors.New("no Docker engine answers")

// engine reports whether a Docker engine answers, within a few seconds.
func engine(ctx context.Context) error {
	if _, err := exec.LookPath("docker"); err != nil {
		return fmt.Errorf("%w: there is no docker command", errNoEngine)
	}
	if _, err := output(ctx, answerLimit/2, "docker", "version", "--format", "{{.Server.Version}}"); err != nil {
		return fmt.Errorf("%w: %v", errNoEngine, err)
	}
	return nil
}

// composeCommand returns the words that run Compose: version 2 as a plugin, or
// version 1 as a program of its own.
func (m *command) composeCommand(ctx context.Context) ([]string, error) {
	if m.words == nil { // asked once: version 1 takes its time
		for _, words := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
			if _, err := output(ctx, answerLimit, words[0], append(slices.Clone(words[1:]), "version")...); err == nil {
				m.words = words
				break
			}
		}
	}
	if m.words == nil {
		return nil, errors.New("a Docker engine answers, but Docker Compose is missing; install the Compose plugin (docker-compose-plugin), or start without containers: make up MODE=local")
	}
	return m.words, nil
}

// output runs a command that answers within limit and returns what it prints;
// the error is the last line of what it complains.
func output(ctx context.Context, limit time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second // a plugin may outlive what has started it
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return "", fmt.Errorf("%s %s has not answered within %v", name, args[0], limit)
	}
	if err != nil {
		return "", errors.New(lastLine(stderr.String(), fmt.Errorf("%s %s: %w", name, args[0], err)))
	}
	return strings.TrimSpace(string(out)), nil
}

// lastLine is the last line of a complaint, ready to stand inside a sentence,
// or err where there is none.
func lastLine(text string, err error) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := strings.TrimRight(lines[len(lines)-1], ".? \r"); last != "" {
		return last
	}
	return err.Error()
}

// project is the name that Compose gives the project by itself, so that a user's
// own `docker compose` in its directory means the same containers.
func (m *command) project() string {
	name := os.Getenv("COMPOSE_PROJECT_NAME")
	if name == "" {
		name = filepath.Base(m.root)
	}
	name = regexp.MustCompile(`[^-_a-z0-9]`).ReplaceAllString(strings.ToLower(name), "")
	if name = strings.TrimLeft(name, "_-"); name == "" {
		return "minicloud"
	}
	return name
}

// composeCmd is a run of Compose in the project's directory.
func (m *command) composeCmd(ctx context.Context, args ...string) (*exec.Cmd, error) {
	words, err := m.composeCommand(ctx)
	if err != nil {
		return nil, err
	}
	words = slices.Concat(words, args)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = m.root
	cmd.Env = append(cmd.Environ(), "COMPOSE_PROJECT_NAME="+m.project())
	return cmd, nil
}

// compose runs Compose. Its progress goes to the user only where it fails.
func (m *command) compose(ctx context.Context, env []string, args ...string) error {
	cmd, err := m.composeCmd(ctx, args...)
	if err != nil {
		return err
	}
	cmd.Env = append(cmd.Env, env...)
	var progress bytes.Buffer
	cmd.Stdout, cmd.Stderr = &progress, &progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(progress.String()))
	}
	return nil
}

// A container is one of this project, as `docker ps` describes it.
type container struct{ id, status, ports string }

func (c container) up() bool {
	return strings.HasPrefix(c.status, "Up") && !strings.Contains(c.status, "Paused")
}

var binding = regexp.MustCompile(`127\.0\.0\.1:(\d+)->(\d+)/(tcp|udp)`)

// published returns the port on the host of one inside, "" for none.
func (c container) published(inside string, udp bool) string {
	for _, match := range binding.FindAllStringSubmatch(c.ports, -1) {
		if match[2] == inside && (match[3] == "udp") == udp {
			return match[1]
		}
	}
	return ""
}

// containers are those of a project by service; one that was never made is not
// in it, one that has ended is.
type containers map[string]container

func (c containers) anyUp() bool {
	for _, one := range c {
		if one.up() {
			return true
		}
	}
	return false
}

// down returns the parts whose containers do not run.
func (c containers) down() (names []string) {
	for _, p := range Parts() {
		if !c[p.Name].up() {
			names = append(names, p.Name)
		}
	}
	return names
}

// psFormat is what parseContainers reads. Newer fields, such as the state, are
// not known to older clients.
const psFormat = `{{.ID}}\t{{.Label "com.docker.compose.project"}}\t{{.Label "com.docker.compose.project.working_dir"}}` +
	`\t{{.Label "com.docker.compose.service"}}\t{{.Status}}\t{{.Ports}}`

// containers asks for the project's containers.
func (m *command) containers(ctx context.Context) (containers, error) {
	if _, err := exec.LookPath("docker"); err != nil {
		return nil, fmt.Errorf("%w: there is no docker command", errNoEngine)
	}
	out, err := output(ctx, answerLimit, "docker", "ps", "--all", "--no-trunc",
		"--filter", "label=com.docker.compose.project="+m.project(), "--format", psFormat)
	if err != nil {
		return nil, err
	}
	return parseContainers(out, m.root), nil
}

// parseContainers reads what `docker ps` prints and keeps what belongs to the
// project in the directory root: another one may have the same name, as that of
// a second clone has.
func parseContainers(out, root string) containers {
	found := containers{}
	for line := range strings.Lines(out) {
		f := append(strings.Split(strings.TrimRight(line, "\r\n"), "\t"), "", "", "", "", "")
		dir := f[2]
		// A user may have called Compose through a symbolic link.
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
		one := container{id: f[0], status: f[4], ports: f[5]}
		if dir == root && f[3] != "" && !found[f[3]].up() {
			found[f[3]] = one
		}
	}
	return found
}
