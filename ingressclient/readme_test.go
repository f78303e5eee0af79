package ingressclient

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReadmeNamesEveryFlag(t *testing.T) {
	text := readme(t)
	for _, f := range flags {
		short, long := " ", "--"+f.long
		if f.short != 0 {
			short = fmt.Sprintf(" `-%c` ", f.short)
		}
		if f.arg != "" {
			long += " " + f.arg
		}
		if row := fmt.Sprintf("|%s| `%s` |", short, long); !strings.Contains(text, row) {
			t.Errorf("no row %q in the table of flags", row)
		}
	}
}

func TestReadmeNamesEveryExitCode(t *testing.T) {
	source, err := os.ReadFile("failure.go")
	if err != nil {
		t.Fatal(err)
	}
	text := readme(t)
	codes := regexp.MustCompile(`\texit\w+ += (\d+) `).FindAllSubmatch(source, -1)
	if len(codes) < 19 {
		t.Fatalf("only %d codes found", len(codes))
	}
	for _, m := range codes {
		if !strings.Contains(text, fmt.Sprintf("\n| %s | ", m[1])) {
			t.Errorf("no row for the exit code %s", m[1])
		}
	}
}

func TestReadmeNamesEveryVariable(t *testing.T) {
	text := readme(t)
	for _, s := range []setting{resolverSetting, resolverAdminSetting, lbAdminSetting} {
		for _, row := range []string{
			fmt.Sprintf("\n| `%s` | ", s.variable), fmt.Sprintf("; `--%s` goes before it | ", s.flag),
			fmt.Sprintf("\n| `%s` | ", s.portVariable()), fmt.Sprintf(" | `%s` |", s.port),
		} {
			if !strings.Contains(text, row) {
				t.Errorf("no %q in the table of variables", row)
			}
		}
	}
}

// varies is what differs from run to run in the output of the examples.
var varies = regexp.MustCompile(`[0-9]+\.[0-9] ms|8080|:5354|Date: .*|\(TTL [0-9a-z ]+\)|good for [0-9]+ s`)

// TestReadmeExamples runs each line that begins with "$" and expects the lines
// below it, in any order, as the resolver's answers race each other.
func TestReadmeExamples(t *testing.T) {
	_, examples, ok := strings.Cut(readme(t), "\n## Examples\n")
	if !ok {
		t.Fatal("no section of examples")
	}
	w := newWorld(t)
	picture := []byte("\xff\xd8\xff a picture\n")
	t.Chdir(t.TempDir())
	if err := os.WriteFile("lumos.jpeg", picture, 0o600); err != nil {
		t.Fatal(err)
	}
	// An empty line says nothing that the lines around it do not say.
	examples = regexp.MustCompile("\n\n+").ReplaceAllString(examples, "\n")
	blocks := strings.Split(examples, "\n    $ ingressclient ")[1:]
	if len(blocks) < 7 {
		t.Fatalf("only %d examples found", len(blocks))
	}
	for _, block := range blocks {
		lines := strings.Split(strings.TrimSpace(block), "\n    ")
		t.Run(lines[0], func(t *testing.T) {
			var out bytes.Buffer
			Main(t.Context(), strings.Fields(lines[0]), w.env, nil, &out, &out)
			// The terminal's end of line after a body is not there.
			text := strings.Replace(out.String(), "}]*", "}]\n*", 1)
			left := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
			for _, line := range lines[1:] {
				if left = without(left, pattern(line)); left == nil {
					t.Fatalf("no line %q in\n%s", line, text)
				}
			}
			if len(left) > 0 {
				t.Errorf("more than the README says: %q", left)
			}
		})
	}
	if copied, err := os.ReadFile("copy.jpeg"); err != nil || !bytes.Equal(copied, picture) {
		t.Errorf("the copy is %q, %v", copied, err)
	}
}

func pattern(line string) *regexp.Regexp {
	parts := varies.Split(line, -1)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
}

// without returns lines without the first that matches, or nil where none does.
func without(lines []string, re *regexp.Regexp) []string {
	for i, line := range lines {
		if re.MatchString(line) {
			return append(append([]string{}, lines[:i]...), lines[i+1:]...)
		}
	}
	return nil
}
