package kit

import (
	"fmt"
	"regexp"
	"strings"
)

// lines is where the keys of a TOML text stand: the path of each, as in
// "targets[1].address", and its line. The library keeps positions to itself.
type lines map[string]int

// of returns the line of a key, or of the nearest table around it that the
// text has, or 0.
func (l lines) of(key string) int {
	for key != "" && l[key] == 0 {
		cut := strings.LastIndexByte(key, '.')
		if strings.HasSuffix(key, "]") {
			cut = strings.LastIndexByte(key, '[')
		}
		key = key[:max(cut, 0)]
	}
	return l[key]
}

// tomlToken matches a comment, a string of any of the four kinds, a mark, or a
// run of anything else.
var tomlToken = regexp.MustCompile(`#[^\n]*` +
	`|"""(?s:\\.|[^\\])*?"{3,5}|'''(?s:.)*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'` +
	`|[][{}=.,\n]|[^][{}=.,#"'\s]+`)

type token struct {
	text string
	line int
}

// keyScanner walks over the keys of a text, and passes over their values.
type keyScanner struct {
	tokens   []token
	found    lines
	elements map[string]int // array of tables -> how many it has so far
}

// keyLines finds the keys of a text that is known to be TOML. In any other it
// finds what looks like keys.
func keyLines(text string) lines {
	s := &keyScanner{found: lines{}, elements: map[string]int{}}
	line := 1
	for _, t := range tomlToken.FindAllString(text, -1) {
		if t[0] != '#' {
			s.tokens = append(s.tokens, token{t, line})
		}
		line += strings.Count(t, "\n")
	}
	for table := ""; len(s.tokens) > 0; {
		switch {
		case s.take("\n"):
		case s.take("["):
			table = s.header()
		default:
			s.pair(table)
		}
	}
	return s.found
}

// take passes over the next token if it is text.
func (s *keyScanner) take(text string) bool {
	ok := len(s.tokens) > 0 && s.tokens[0].text == text
	if ok {
		s.tokens = s.tokens[1:]
	}
	return ok
}

// record notes that path stands at the next token, unless it stood before.
func (s *keyScanner) record(path string) {
	if s.found[path] == 0 && len(s.tokens) > 0 {
		s.found[path] = s.tokens[0].line
	}
}

// name reads one name of a dotted key below path.
func (s *keyScanner) name(path string) string {
	if len(s.tokens) == 0 {
		return path
	}
	path = strings.TrimPrefix(path+"."+strings.Trim(s.tokens[0].text, `"'`), ".")
	s.record(path)
	s.tokens = s.tokens[1:]
	return path
}

// header reads "[a.b]" or "[[a.b]]" behind its first bracket and returns the
// path of the table, with the index of the last element of every array in it.
func (s *keyScanner) header() (path string) {
	isArray := s.take("[")
	for more := true; more; {
		path = s.name(path)
		if more = s.take("."); isArray && !more {
			s.elements[path]++
		}
		if n := s.elements[path]; n > 0 {
			path = fmt.Sprintf("%s[%d]", path, n-1)
			s.record(path)
		}
	}
	for s.take("]") {
	}
	return path
}

// pair reads "key = value", which stands in table.
func (s *keyScanner) pair(table string) {
	path := s.name(table)
	for s.take(".") {
		path = s.name(path)
	}
	if s.take("=") {
		s.value(path)
	}
}

func (s *keyScanner) value(path string) {
	switch {
	case s.take("["):
		for n := 0; len(s.tokens) > 0 && !s.take("]"); {
			if !s.take(",") && !s.take("\n") {
				element := fmt.Sprintf("%s[%d]", path, n)
				s.record(element)
				s.value(element)
				n++
			}
		}
	case s.take("{"):
		for len(s.tokens) > 0 && !s.take("}") {
			if !s.take(",") && !s.take("\n") {
				s.pair(path)
			}
		}
	default:
		// A scalar, of several tokens where it has a point or a space.
		for more := true; more && len(s.tokens) > 0; {
			s.tokens = s.tokens[1:]
			more = len(s.tokens) > 0 && !strings.Contains(",]}\n", s.tokens[0].text)
		}
	}
}
