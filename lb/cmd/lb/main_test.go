package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"minicloud.internal/kit"
)

// checked runs the program with -check on a configuration of this text, and
// returns its exit code and what it prints.
func checked(t *testing.T, text string) (code int, printed string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lb.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	args, stdout := os.Args, os.Stdout
	os.Args, os.Stdout = []string{"lb", "-config", file, "-check"}, in
	code = kit.Main("lb", run)
	os.Args, os.Stdout = args, stdout
	in.Close()
	b, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	return code, strings.ReplaceAll(string(b), file, "lb.toml")
}

func TestCheck(t *testing.T) {
	const valid = "lb: the configuration is valid\n"
	t.Run("warns of a route that says the same as another, and exits with 0", func(t *testing.T) {
		code, printed := checked(t, `
[[path_routes]]
path = "/files"
address = "a:1"
[[path_routes]]
path = "/files/more"
address = "a:1"
[[targets]]
address = "b:1"
`)
		want := "lb: warning: path_routes[1] (/files/more): it says the same as path_routes[0] (/files), which has these requests without it\n" + valid
		if code != 0 || printed != want {
			t.Errorf("got %d\n%s", code, printed)
		}
	})
	t.Run("has nothing to say of the cloud's own", func(t *testing.T) {
		text, err := os.ReadFile("../../../configs/load-balancer.toml")
		if err != nil {
			t.Fatal(err)
		}
		if code, printed := checked(t, string(text)); code != 0 || printed != valid {
			t.Errorf("got %d\n%s", code, printed)
		}
	})
}
