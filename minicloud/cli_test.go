package minicloud

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		name  string
		args  []string
		code  int
		out   string
		err   string
		lines int // on stderr, where it matters
	}{
		{name: "nothing is wrong usage", code: 2, err: "minicloud up "},
		{name: "help is an answer", args: []string{"help"}, out: "minicloud up "},
		{name: "as a flag too", args: []string{"-h"}, out: "minicloud up "},
		{name: "and behind a command", args: []string{"up", "-help"}, out: "minicloud up "},
		{name: "an unknown command is named", args: []string{"start"}, code: 2, err: `unknown command "start"`},
		{name: "the version is printed", args: []string{"-version"}, out: "minicloud "},
		{name: "an unknown flag is named", args: []string{"up", "-x"}, code: 2, err: "flag provided but not defined: -x", lines: 1},
		{name: "a flag of another command is unknown", args: []string{"down", "-d"}, code: 2, err: "not defined: -d", lines: 1},
		{name: "an argument too many is named", args: []string{"up", "now"}, code: 2, err: `unexpected argument "now"`, lines: 1},
		{name: "a wrong mode says which there are", args: []string{"up", "-d", "-mode", "swarm"}, code: 2, err: `the mode is "swarm", expected local, docker or auto`, lines: 1},
		{name: "containers run in the background only", args: []string{"up", "-mode", "docker"}, code: 2, err: "-mode docker needs -d", lines: 1},
		{name: "a valid configuration says so", args: []string{"check", "-configs", "../configs"}, out: "is valid\n"},
		{name: "as a flag too, as the services have it", args: []string{"-check", "-configs", "../configs"}, out: "is valid\n"},
		{name: "a configuration that is not there is an error", args: []string{"check", "-configs", "none"}, code: 1, err: "none/dns-root.toml"},
		{name: "so it is for a start", args: []string{"up", "-d", "-configs", "none"}, code: 1, err: "none/dns-root.toml"},
	} {
		t.Run(test.name, func(t *testing.T) {
			freePorts(t)
			r := runMain(test.args...)
			if r.code != test.code || !strings.Contains(r.stdout, test.out) || !strings.Contains(r.stderr, test.err) ||
				(test.out == "") != (r.stdout == "") || (test.err == "") != (r.stderr == "") {
				t.Errorf("%+v", r)
			}
			if test.lines > 0 && strings.Count(r.stderr, "\n") != test.lines {
				t.Errorf("%d lines are expected: %s", test.lines, r.stderr)
			}
		})
	}
}

func TestCheckReadsThePortsToo(t *testing.T) {
	freePorts(t)
	t.Setenv("MINICLOUD_QUEUE_PORT", "8006a")
	runMain("check", "-configs", "../configs").expect(t, 1, `minicloud: MINICLOUD_QUEUE_PORT is "8006a", expected a port`)
}

func TestPathsBecomeAbsolute(t *testing.T) {
	dir := realTempDir(t)
	t.Chdir(dir)
	for _, test := range []struct {
		name, variable string
		args           []string
		data           string
	}{
		{"data is in the state directory", "", nil, dir + "/.minicloud/data"},
		{"that of the flag", "", []string{"-state", "s"}, dir + "/s/data"},
		{"or where the variable says", "kept", nil, dir + "/kept"},
		{"or the flag, before the variable", "kept", []string{"-data", "../there"}, filepath.Dir(dir) + "/there"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("MINICLOUD_DATA", test.variable)
			m := &command{mode: "local"}
			if err := m.parse("down", test.args); err != nil {
				t.Fatal(err)
			}
			if m.data != test.data || m.configs != dir+"/configs" || m.root != dir || !filepath.IsAbs(m.dir) {
				t.Errorf("%+v", m)
			}
		})
	}
	t.Run("and a project behind a link is where it is", func(t *testing.T) {
		link := filepath.Join(realTempDir(t), "link")
		if err := os.Symlink(dir, link); err != nil {
			t.Fatal(err)
		}
		m := &command{mode: "local"}
		if err := m.parse("down", []string{"-configs", filepath.Join(link, "configs")}); err != nil || m.root != dir {
			t.Errorf("root %s, %v", m.root, err)
		}
	})
}

// Without anything of Docker every command works, and says what is so.
func TestNothingRuns(t *testing.T) {
	freePorts(t)
	programs(t, nil)
	flags := []string{"-configs", configsCopy(t), "-state", filepath.Join(t.TempDir(), "state")}
	run := func(verb string) result { return runMain(append([]string{verb}, flags...)...) }
	run("status").expect(t, 1, "minicloud: the cloud does not run; `make up` starts it\n")
	run("logs").expect(t, 1, "minicloud: there is no log: the cloud has not run")
	run("down").expect(t, 0, "The cloud does not run.\n")
	run("clean").expect(t, 0, "what it kept is removed")
	if _, err := os.Stat(flags[3]); !os.IsNotExist(err) {
		t.Errorf("clean leaves its directory: %v", err)
	}
	runMain(append([]string{"up", "-d", "-mode", "docker"}, flags...)...).expect(t, 1,
		"minicloud: no Docker engine answers: there is no docker command; start the engine, or run without containers: make up MODE=local\n")
}

// A state directory whose process is just starting.
func TestBesideAProcessThatStarts(t *testing.T) {
	freePorts(t)
	programs(t, map[string]string{"docker": alive})
	state := t.TempDir()
	startHolder(t, state)
	flags := []string{"-configs", configsCopy(t), "-state", state}
	run := func(args ...string) result { return runMain(append(args, flags...)...) }
	run("status").expect(t, 1, "starts or stops just now; its log is "+state)
	run("up").expect(t, 1, "already; `minicloud down` stops it\n")
	run("up", "-d", "-mode", "docker").expect(t, 1, "the cloud runs already as local process", "`make down` stops it\n")
}

func TestLogsOfContainersAreInTheOrderOfTheirTimes(t *testing.T) {
	got := byTime("Attaching to a_1, b_1\n" +
		"a_1 | time=2026-01-02T00:00:01.000Z msg=first\n" +
		"a_1 | time=2026-01-02T00:00:03.000Z msg=third\n" +
		"a_1 | a line without a time stays behind the third\n" +
		"b_1 | {\"time\":\"2026-01-02T00:00:02.5Z\",\"msg\":\"second\"}\n" +
		"b_1 | time=2026-01-02T00:00:03.000Z msg=\"fourth, logged at the same time\"\n")
	var order []string
	for _, line := range got {
		for _, word := range []string{"Attaching", "first", "second", "third", "without", "fourth"} {
			if strings.Contains(line, word) {
				order = append(order, word)
				break
			}
		}
	}
	if got := strings.Join(order, " "); got != "Attaching first second third third fourth" {
		t.Errorf("the order is %s", got)
	}
}
