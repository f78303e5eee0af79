//go:build linux

package proc

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
)

func TestMainTellsHowItEnded(t *testing.T) {
	for name, test := range map[string]struct {
		run  func(ctx context.Context) error
		want int
	}{
		"done":     {func(context.Context) error { return nil }, 0},
		"an error": {func(context.Context) error { return errors.New("broken") }, 1},
		"a signal ends the context": {func(ctx context.Context) error {
			if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Main("bench", test.run); got != test.want {
				t.Errorf("status %d, want %d", got, test.want)
			}
		})
	}
}

func TestChosen(t *testing.T) {
	known := []string{"knotd", "nsd"}
	for list, want := range map[string]string{"": "knotd nsd", "nsd": "nsd", "nsd,knotd": "knotd nsd"} {
		chosen, err := Chosen(list, known)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range known {
			if chosen(name) {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q chooses %v, want %s", list, got, want)
		}
	}
	for _, list := range []string{"named", "nsd,", "nsd,named"} {
		if _, err := Chosen(list, known); err == nil {
			t.Errorf("%q is taken", list)
		}
	}
}
