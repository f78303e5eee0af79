package lb

import "strings"

// normalPath returns the form of a path that routes are compared with, given
// the path as the request line has it, still percent-encoded:
//
//   - what needs no encoding is decoded, other encodings are in upper case (RFC
//     3986, sections 6.2.2.1 and 6.2.2.2), so an encoded slash stays within its
//     segment;
//   - several slashes in a row count as one;
//   - the empty path is "/".
//
// It refuses (false) a malformed encoding, a path that does not begin with a
// slash, and every path with a "." or ".." segment, however encoded, "%2F"
// counted as a slash. Such a path is resolved by whoever writes it; where it
// arrives unresolved, two readers of it may disagree on where it leads, and one
// of them may be the guard.
//
// A path that is in normal form already is returned as it stands, without an
// allocation.
func normalPath(path string) (string, bool) {
	if path == "" {
		return "/", true
	}
	if path[0] != '/' {
		return "", false
	}
	if !strings.Contains(path, "%") && !strings.Contains(path, "//") && !strings.Contains(path, "/.") {
		return path, true
	}
	normal := make([]byte, 0, len(path))
	dots := dotSegments{}
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '/' && len(normal) > 0 && normal[len(normal)-1] == '/':
			// collapsed
		case c != '%':
			normal = append(normal, c)
		case i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]):
			return "", false
		default:
			if c = unhex(path[i+1])<<4 | unhex(path[i+2]); isUnreserved(c) {
				normal = append(normal, c)
			} else {
				const digits = "0123456789ABCDEF"
				normal = append(normal, '%', digits[c>>4], digits[c&15])
			}
			i += 2
		}
		if !dots.next(c) {
			return "", false
		}
	}
	if !dots.next('/') {
		return "", false
	}
	return string(normal), true
}

// dotSegments watches the decoded bytes of a path for "." and "..".
type dotSegments struct {
	dots  int  // of the current segment, while it holds nothing else
	other bool // the current segment holds something else
}

// next takes a byte, and reports false where it ends a dot segment.
func (d *dotSegments) next(c byte) bool {
	switch c {
	case '/':
		ok := d.other || d.dots == 0 || d.dots > 2
		*d = dotSegments{}
		return ok
	case '.':
		d.dots++
	default:
		d.other = true
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// isUnreserved follows RFC 3986, section 2.3.
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// A table finds the longest prefix of a path, in whole segments. It does not
// change once it is built, and may be read concurrently.
type table[T any] struct {
	routes   map[string]T // by prefixKey
	fallback T
	depth    int // segments of the longest prefix
}

// newTable returns a table of the routes (by normal path) over the fallback.
func newTable[T any](routes map[string]T, fallback T) *table[T] {
	t := &table[T]{routes: map[string]T{}, fallback: fallback}
	for path, value := range routes {
		key := prefixKey(path)
		t.routes[key] = value
		t.depth = max(t.depth, strings.Count(key, "/"))
	}
	return t
}

// prefixKey is a route's path without the slash at its end; "/" becomes "".
func prefixKey(path string) string { return strings.TrimSuffix(path, "/") }

// match returns what the longest route that matches a normal path stands for,
// or the fallback. It looks no deeper than the deepest route, so that a path of
// ten thousand segments costs no more than it should.
func (t *table[T]) match(normal string) T {
	best := t.fallback
	if root, ok := t.routes[""]; ok {
		best = root
	}
	end := 0
	for range t.depth {
		if end >= len(normal) {
			break
		}
		if next := strings.IndexByte(normal[end+1:], '/'); next >= 0 {
			end += 1 + next
		} else {
			end = len(normal)
		}
		if value, ok := t.routes[normal[:end]]; ok {
			best = value
		}
	}
	return best
}
