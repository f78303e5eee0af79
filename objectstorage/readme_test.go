package objectstorage

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"minicloud.internal/kit/kittest"
)

// Every example of the README does what it says.
func TestReadmeExamples(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl here, with which the examples are written")
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, nil, nil)
	_, examples, _ := strings.Cut(string(text), "## Examples")
	count := 0
	for _, example := range strings.Split(examples, "    $ ")[1:] {
		command, rest, _ := strings.Cut(example, "\n")
		want := ""
		for line := range strings.Lines(rest) {
			output, ok := strings.CutPrefix(line, "    ")
			if !ok {
				break // the text goes on
			}
			want += output
		}
		want = strings.TrimSpace(want)
		command = strings.ReplaceAll(command, "http://localhost:8007", r.url)
		got, err := exec.Command("sh", "-c", command).CombinedOutput()
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("%s\n gave %s, %v\n want %s", command, got, err, want)
		}
		count++
	}
	if count < 10 {
		t.Errorf("found only %d examples", count)
	}
}

// The README's tables name every key and every metric.
func TestReadmeTables(t *testing.T) {
	r := run(t, nil, nil)
	r.put(t, "/files/k", "x")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var metrics []string
	for _, f := range families {
		metrics = append(metrics, f.GetName())
	}
	kittest.Readme(t, "README.md", &Config{}, metrics...)
}
