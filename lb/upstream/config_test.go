package upstream

import (
	"strings"
	"testing"
)

func TestStatusSet(t *testing.T) {
	for name, c := range map[string]struct {
		text, want, bad string // bad: in the error
		has, hasNot     []int
	}{
		"without a text it is 2xx":                   {"", "200-299", "", []int{200, 204, 299}, []int{0, 101, 199, 300, 404, 500}},
		"one status is itself only":                  {"200", "200", "", []int{200}, []int{201, 299, 404}},
		"a range has both its ends":                  {"200-399", "200-399", "", []int{200, 301, 399}, []int{400}},
		"several are one set, in whatever order":     {"404, 200-204,202-207", "200-207,404", "", []int{200, 207, 404}, []int{208, 403, 405}},
		"neighbours are a range":                     {"201,200", "200-201", "", nil, nil},
		"the ends of what a status can be belong":    {"200-599", "200-599", "", []int{200, 599}, []int{199, 600, -1, 1 << 40}},
		"a status below 200 is not final":            {"101", "", `"101" is no status from 200 to 599`, nil, nil},
		"a status above 599 is none":                 {"200-600", "", `"600" is no status`, nil, nil},
		"a range that goes backwards is refused":     {"300-200", "", "ends before it begins", nil, nil},
		"a class by its name is refused":             {"2xx", "", `"2xx" is no status`, nil, nil},
		"a sign is refused":                          {"+200", "", `"+200" is no status`, nil, nil},
		"an empty part is refused":                   {"200,", "", `"" is no status`, nil, nil},
		"a range without an end is refused":          {"200-", "", `"" is no status`, nil, nil},
		"spaces are allowed around parts only":       {"200 - 300", "", `"200 " is no status`, nil, nil},
		"a number that overflows is refused as such": {"99999999999999999999", "", "is no status", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var s StatusSet
			err := s.UnmarshalText([]byte(c.text))
			if c.bad != "" {
				if err == nil || !strings.Contains(err.Error(), c.bad) {
					t.Errorf("got %v, expected an error with %q", err, c.bad)
				}
				return
			}
			if err != nil || s.String() != c.want {
				t.Fatalf("got %s, %v; expected %s", s, err, c.want)
			}
			for _, status := range c.has {
				if !s.Has(status) {
					t.Errorf("it has no %d", status)
				}
			}
			for _, status := range c.hasNot {
				if s.Has(status) {
					t.Errorf("it has %d", status)
				}
			}
		})
	}
}

func FuzzStatusSet(f *testing.F) {
	for _, s := range []string{"", "200", "200-399", "200,204,300-302", "599-200", "2xx", "-", ","} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseStatusSet(text)
		if err != nil {
			return
		}
		again, err := ParseStatusSet(s.String())
		if err != nil || again.String() != s.String() {
			t.Errorf("%q is %s, which is %s, %v", text, s, again, err)
		}
	})
}

func TestPolicyNames(t *testing.T) {
	for name, want := range map[Policy]bool{"": true, "round_robin": true, "least_connections": true, "random_two": true, "hash": true, "Hash": false, "random": false} {
		if name.Known() != want {
			t.Errorf("Known(%q) = %t", name, !want)
		}
	}
}
