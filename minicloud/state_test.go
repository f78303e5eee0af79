package minicloud

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestState(t *testing.T) {
	dir := t.TempDir()
	if readState(dir, 7) != nil {
		t.Error("there is a state before one is written")
	}
	state := &State{PID: 7, Build: "b", Rows: []Row{{Name: "data-store", Where: "127.0.0.1:1", Speaks: "SQL", Admin: "a"}}, Ready: 1.5}
	if err := writeState(dir, state); err != nil {
		t.Fatal(err)
	}
	if got := readState(dir, 7); !reflect.DeepEqual(got, state) {
		t.Errorf("got %+v", got)
	}
	if got := readState(dir, 8); got != nil {
		t.Errorf("another process has the state %+v", got)
	}
	write(t, stateFile(dir), `{"pid": 7`)
	if got := readState(dir, 7); got != nil {
		t.Errorf("half a file is the state %+v", got)
	}
}

func TestDataIsRemovedWhereItIsOurs(t *testing.T) {
	for _, test := range []struct {
		name       string
		before     []string // made by the user
		whole      bool
		left, stay []string
	}{
		{name: "what the cloud made goes, and the directory with it"},
		{name: "a folder that was there before the cloud stays", before: []string{"object-storage/mine.go"}, left: []string{"object-storage"}, stay: []string{"object-storage/mine.go"}},
		{name: "a folder with the name of a part that keeps nothing stays", before: []string{"load-balancer/mine.go"}, stay: []string{"load-balancer/mine.go"}},
		{name: "in the state directory everything is the cloud's", before: []string{"object-storage/old"}, whole: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			for _, name := range test.before {
				write(t, filepath.Join(data, name), "mine")
			}
			for range 2 { // as with a second start
				if err := prepareData(data); err != nil {
					t.Fatal(err)
				}
				for _, p := range Parts() {
					if p.Keeps {
						write(t, filepath.Join(data, p.Name, "file"), "")
					}
				}
			}
			left, err := removeData(data, test.whole)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, name := range test.left {
				want = append(want, filepath.Join(data, name))
			}
			if !reflect.DeepEqual(left, want) {
				t.Errorf("left %v, expected %v", left, want)
			}
			for _, name := range test.stay {
				read(t, filepath.Join(data, name))
			}
			if _, err := os.Stat(data); len(test.stay) == 0 && !os.IsNotExist(err) {
				t.Errorf("the directory is still there: %v", err)
			}
			if _, err := os.Stat(filepath.Join(data, "message-queue")); !os.IsNotExist(err) {
				t.Errorf("the queue is still there: %v", err)
			}
		})
	}
	t.Run("where there is nothing, nothing is to do", func(t *testing.T) {
		if left, err := removeData(filepath.Join(t.TempDir(), "none"), false); left != nil || err != nil {
			t.Errorf("got %v, %v", left, err)
		}
	})
}

func TestBoundedLog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "minicloud.log")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	log := boundLog(f, name, 30)
	for _, line := range []string{"the first line\n", "the second\n", "the third line\n", "the fourth\n"} {
		if _, err := log.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, name); got != "the third line\nthe fourth\n" {
		t.Errorf("the log holds %q", got)
	}
	if got := read(t, name+".1"); got != "the first line\nthe second\n" {
		t.Errorf("the one before holds %q", got)
	}
	if _, err := f.WriteString("panic: at once\n"); err != nil { // as the runtime would
		t.Fatal(err)
	}
	if got := read(t, name); !strings.HasSuffix(got, "the fourth\npanic: at once\n") {
		t.Errorf("after a write beside it the log holds %q", got)
	}
	t.Run("a stream of the user's is left as it is", func(t *testing.T) {
		other := filepath.Join(t.TempDir(), "other")
		write(t, other, "")
		if boundLog(f, other, 30) != f || boundLog(f, filepath.Join(other, "none"), 30) != f {
			t.Error("a file that is not the log is bounded")
		}
		out := &buffer{}
		if boundLog(out, name, 30) != out {
			t.Error("a buffer is bounded")
		}
	})
}
