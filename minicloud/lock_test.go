package minicloud

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	t.Run("nobody holds the lock of a directory that is not there", func(t *testing.T) {
		if pid, err := lockHolder(filepath.Join(t.TempDir(), "none")); pid != 0 || err != nil {
			t.Errorf("got %d, %v", pid, err)
		}
	})
	t.Run("the file alone is no lock", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "lock"), "12345\n")
		if pid, err := lockHolder(dir); pid != 0 || err != nil {
			t.Errorf("got %d, %v", pid, err)
		}
	})
	t.Run("its holder is named, is alone, and lets go with its end", func(t *testing.T) {
		dir := t.TempDir()
		pid, release := startHolder(t, dir)
		if got, err := lockHolder(dir); got != pid || err != nil {
			t.Errorf("the holder is %d (%v), expected %d", got, err, pid)
		}
		var running *RunningError
		if _, err := takeLock(dir); !errors.As(err, &running) || running.PID != pid || running.Dir != dir {
			t.Errorf("a second lock: %v", err)
		}
		release()
		if got, err := lockHolder(dir); got != 0 || err != nil {
			t.Errorf("after its end the holder is %d (%v)", got, err)
		}
		lock, err := takeLock(dir)
		if err != nil {
			t.Fatal(err)
		}
		_ = lock.Close()
	})
	t.Run("a file that was removed meanwhile counts no more", func(t *testing.T) {
		dir := t.TempDir()
		_, release := startHolder(t, dir)
		if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
			t.Fatal(err)
		}
		lock, err := takeLock(dir)
		if err != nil {
			t.Fatal(err)
		}
		release()
		held, err := lock.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if named, err := os.Stat(filepath.Join(dir, "lock")); err != nil || !os.SameFile(held, named) {
			t.Errorf("the lock is not on the file that others find: %v", err)
		}
		_ = lock.Close()
	})
	t.Run("a place that cannot be made says what chooses another", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		write(t, file, "")
		if _, err := takeLock(filepath.Join(file, "state")); err == nil || !bytes.Contains([]byte(err.Error()), []byte("-state")) {
			t.Errorf("got %v", err)
		}
	})
}

func TestDownEndsAProcessThatHangs(t *testing.T) {
	dir := t.TempDir()
	pid, release := startHolder(t, dir)
	var out buffer
	m := &command{dir: dir, stdout: &out, patience: time.Millisecond}
	stopped, err := m.downLocal(t.Context())
	if !stopped || err != nil {
		t.Errorf("stopped %t, %v", stopped, err)
	}
	release()
	if want := fmt.Sprintf("Process %d did not end within 1ms of being asked, and is killed.\n", pid); out.String() != want {
		t.Errorf("said %q", out.String())
	}
	if stopped, err := m.downLocal(t.Context()); stopped || err != nil {
		t.Errorf("once more: stopped %t, %v", stopped, err)
	}
}
