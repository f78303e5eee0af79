// Package kittest holds tests that every service of the cloud passes. It is
// imported by tests only.
package kittest

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"minicloud.internal/kit"
)

// ConfigFile loads a file over the defaults in cfg, a pointer, as the service
// does. The test fails where the file does not say every key of cfg under a
// comment; for a key of a table's or an array's own, that of the block will do,
// and the key may stand in a commented example.
func ConfigFile(t testing.TB, file string, cfg any) {
	t.Helper()
	if err := kit.LoadConfig(file, cfg); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	top, nested := keys(reflect.TypeOf(cfg))
	for _, key := range top {
		if !regexp.MustCompile(`(?m)^#.*\n(` + key + ` = |\[` + key + `\]|\[\[` + key + `\]\])`).Match(text) {
			t.Errorf("%s does not state the key %s under a comment", file, key)
		}
	}
	for _, key := range nested {
		if !regexp.MustCompile(`(?m)^(# +)?` + key + ` = `).Match(text) {
			t.Errorf("%s does not state the key %s", file, key)
		}
	}
}

// Readme fails the test where the README does not name every key of cfg, a
// pointer to a configuration, and all the names, such as those of metrics, in
// code.
func Readme(t testing.TB, file string, cfg any, names ...string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	top, nested := keys(reflect.TypeOf(cfg))
	for _, name := range slices.Concat(top, nested, names) {
		if !regexp.MustCompile("`" + regexp.QuoteMeta(name) + "[`{]").Match(text) {
			t.Errorf("%s does not name %s", file, name)
		}
	}
}

// keys returns the TOML keys of a configuration, and those of the structs in it.
func keys(t reflect.Type) (top, nested []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil, nil
	}
	for _, f := range reflect.VisibleFields(t) {
		key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if key == "" || key == "-" {
			continue
		}
		top = append(top, key)
		inner, deeper := keys(f.Type)
		nested = slices.Concat(nested, inner, deeper)
	}
	return top, nested
}
