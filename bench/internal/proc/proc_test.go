//go:build linux

package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestParseBusy(t *testing.T) {
	for _, test := range []struct {
		name, in string
		want     time.Duration
		bad      bool
	}{
		{name: "all but idle and iowait counts, and guests are in user", in: "cpu  1 2 3 400 500 6 7 8 1 0\ncpu0 1", want: 270 * time.Millisecond},
		{name: "another line is an error", in: "intr 1 2 3 4 5 6 7 8 9\n", bad: true},
		{name: "a line that is too short is an error", in: "cpu 1 2 3\n", bad: true},
		{name: "what is no number is an error", in: "cpu 1 2 3 4 5 6 7 x 9\n", bad: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := parseBusy(test.in); got != test.want || (err != nil) != test.bad {
				t.Errorf("got %v, %v, expected %v", got, err, test.want)
			}
		})
	}
}

func TestParseMemory(t *testing.T) {
	got, err := parseMemory("559-7ff ---p 0 0:0 0 [rollup]\nRss:    1024 kB\nPss:     512 kB\nPss_Dirty: 7 kB\n")
	if want := (Memory{Resident: 1 << 20, Proportional: 1 << 19}); got != want || err != nil {
		t.Errorf("got %+v, %v, expected %+v", got, err, want)
	}
	for _, bad := range []string{"", "Rss: many kB\n"} {
		if _, err := parseMemory(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestTree(t *testing.T) {
	dir := t.TempDir()
	p, err := Start(dir, "children", "/bin/sh", nil, "-c", "cat /dev/zero >/dev/null & wait")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	pids, err := p.PIDs()
	for deadline := time.Now().Add(Patience); len(pids) < 2 && err == nil && time.Now().Before(deadline); {
		pids, err = p.PIDs()
	}
	t.Run("children count, and their CPU time passes", func(t *testing.T) {
		if len(pids) != 2 || pids[0] != p.cmd.Process.Pid || err != nil {
			t.Fatalf("%v, %v", pids, err)
		}
		first, err := CPU(pids)
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(Patience); time.Now().Before(deadline); {
			if later, err := CPU(pids); err != nil || later > first {
				return
			}
		}
		t.Error("no CPU time passes")
	})
	t.Run("Stop ends the children too", func(t *testing.T) {
		p.Stop()
		for deadline := time.Now().Add(Patience); time.Now().Before(deadline); {
			// A killed child may stay as a zombie for as long as its new parent likes.
			text, err := os.ReadFile("/proc/" + strconv.Itoa(pids[1]) + "/stat")
			if err != nil || strings.Contains(string(text), ") Z ") {
				return
			}
		}
		t.Error("the child is alive")
	})
}

func TestNumber(t *testing.T) {
	const status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\n"
	for name, want := range map[string]int64{"VmRSS:": 1024, "VmHWM:": 2048} {
		if got, err := number(status, name); got != want || err != nil {
			t.Errorf("%s %d, %v", name, got, err)
		}
	}
	if got, err := number("rchar: 1\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n", "write_bytes:"); got != 4096 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
	for _, bad := range []string{"", "VmRSS:\tmany kB\n"} {
		if _, err := number(bad, "VmRSS:"); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestUsage(t *testing.T) {
	me := []int{os.Getpid()}
	block := make([]byte, 32<<20)
	for i := range block {
		block[i] = 1
	}
	high, err := Peak(me)
	if err != nil || high < int64(len(block)) {
		t.Fatalf("a peak of %d, %v", high, err)
	}
	runtime.KeepAlive(block)
	block = nil
	debug.FreeOSMemory()
	t.Run("memory that was given back stays in the peak until that begins anew", func(t *testing.T) {
		now, err := Resident(me)
		if err != nil || now > high-int64(16<<20) {
			t.Errorf("%d resident after a peak of %d, %v", now, high, err)
		}
		if again, err := Peak(me); err != nil || again < high {
			t.Errorf("the peak fell from %d to %d, %v", high, again, err)
		}
		if err := ResetPeak(me); err != nil {
			t.Fatal(err)
		}
		if again, err := Peak(me); err != nil || again > high-int64(16<<20) {
			t.Errorf("a new peak of %d after %d, %v", again, high, err)
		}
	})
	t.Run("a process that is not there is an error", func(t *testing.T) {
		for name, read := range map[string]func([]int) (int64, error){"Resident": Resident, "Peak": Peak, "Written": Written} {
			if _, err := read([]int{1 << 30}); err == nil {
				t.Error(name)
			}
		}
	})
	t.Run("what was written does not fall", func(t *testing.T) {
		before, err := Written(me)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(t.TempDir(), "file"), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		if after, err := Written(me); err != nil || after < before {
			t.Errorf("%d, then %d, %v", before, after, err)
		}
	})
}

// TestMain is a generator where it is started as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "load" {
		if os.Args[2] == `"fail"` {
			os.Exit(3)
		}
		fmt.Println(ReadyLine)
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends when ready has returned
		fmt.Println(`{"Spec":` + os.Args[2] + `}`)
		return
	}
	os.Exit(m.Run())
}

func TestGenerate(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var result struct{ Spec []int }
	t.Run("the result comes back, and the warm-up is announced before", func(t *testing.T) {
		ready := 0
		err := Generate(t.Context(), exe, []int{1, 2}, &result, Patience, func() error { ready++; return nil })
		if err != nil || ready != 1 || len(result.Spec) != 2 || result.Spec[1] != 2 {
			t.Errorf("%v, %d, %v", err, ready, result)
		}
	})
	t.Run("it works without anybody waiting for the end of the warm-up", func(t *testing.T) {
		if err := Generate(t.Context(), exe, []int{3}, &result, Patience, nil); err != nil || result.Spec[0] != 3 {
			t.Errorf("%v, %v", err, result)
		}
	})
	t.Run("an error of ready is returned", func(t *testing.T) {
		want := errors.New("not ready")
		if err := Generate(t.Context(), exe, []int{1}, &result, Patience, func() error { return want }); !errors.Is(err, want) {
			t.Errorf("%v", err)
		}
	})
	t.Run("a generator that fails is an error", func(t *testing.T) {
		if err := Generate(t.Context(), exe, "fail", &result, Patience, nil); err == nil || !strings.Contains(err.Error(), "exit status 3") {
			t.Errorf("%v", err)
		}
	})
}
