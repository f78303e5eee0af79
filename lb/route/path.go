package route

import (
	"bytes"
	"strings"

	"minicloud.internal/kit"
)

// NormalPath returns the form of a path that routes are compared with, given
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
// A path that is in normal form already is returned as it stands. Any other is
// written over scratch; one with the capacity of the path spares an allocation.
// The result is valid for as long as both are left alone.
func NormalPath(path, scratch []byte) (normal []byte, ok bool) {
	normal = scratch[:0]
	if len(path) == 0 {
		return append(normal, '/'), true
	}
	if path[0] != '/' {
		return nil, false
	}
	if bytes.IndexByte(path, '%') < 0 && !bytes.Contains(path, []byte("//")) && !bytes.Contains(path, []byte("/.")) {
		return path, true
	}
	dots := dotSegments{}
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '/' && len(normal) > 0 && normal[len(normal)-1] == '/':
			// collapsed
		case c != '%':
			normal = append(normal, c)
		case i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]):
			return nil, false
		default:
			if c = unhex(path[i+1])<<4 | unhex(path[i+2]); isUnreserved(c) {
				normal = append(normal, c)
			} else {
				normal = appendEncoded(normal, c)
			}
			i += 2
		}
		if !dots.next(c) {
			return nil, false
		}
	}
	if !dots.next('/') {
		return nil, false
	}
	return normal, true
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

func appendEncoded(b []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(b, '%', digits[c>>4], digits[c&15])
}

// isUnreserved follows RFC 3986, section 2.3.
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// CheckPath returns a [kit.KeyError] for key unless path is one that requests
// can have in normal form, as it has to be written in a configuration.
func CheckPath(key, path string) error {
	if !strings.HasPrefix(path, "/") {
		return kit.KeyErrorf(key, `is %q, expected a path that begins with "/", as in "/files"`, path)
	}
	normal, ok := NormalPath([]byte(path), nil)
	if !ok || string(normal) != path || strings.ContainsFunc(path, notInPath) {
		return kit.KeyErrorf(key, `is %q, expected a plain path, as in "/files": no "//", no "." or ".." segment, no query, and percent-encoded only what has to be`, path)
	}
	return nil
}

// notInPath tells what a path never holds as it stands (RFC 3986, section 3.3).
func notInPath(c rune) bool {
	return c <= ' ' || c > '~' || strings.ContainsRune("\"#<>?[\\]^`{|}", c)
}

// prefixKey is a path without the slash at its end; "/" becomes "".
func prefixKey(path string) string { return strings.TrimSuffix(path, "/") }

// under reports whether a normal path begins with the segments of prefix, a
// [prefixKey].
func under[P, Q []byte | string](path P, prefix Q) bool {
	return len(path) >= len(prefix) && string(path[:len(prefix)]) == string(prefix) &&
		(len(path) == len(prefix) || path[len(prefix)] == '/')
}

// stripPrefix cuts prefix, a [prefixKey] in normal form, off a path as the
// request line has it; see [Route.AppendPath]. A segment of the normal path is a
// segment here, because an encoded slash separates none, and slashes in a row
// separate once. So what is left is, in normal form, the rest of the normal path.
func stripPrefix(path []byte, prefix string) []byte {
	if prefix == "" {
		return path
	}
	i := 0
	for prefix != "" && i < len(path) {
		var now [3]byte // what stands at i, in normal form
		length, n := 1, 1
		now[0] = path[i]
		if path[i] == '%' && i+2 < len(path) {
			n = 3
			if c := unhex(path[i+1])<<4 | unhex(path[i+2]); isUnreserved(c) {
				now[0] = c
			} else {
				length = len(appendEncoded(now[:0], c))
			}
		}
		for path[i] == '/' && i+n < len(path) && path[i+n] == '/' {
			n++
		}
		if len(prefix) < length || prefix[:length] != string(now[:length]) {
			return path
		}
		prefix, i = prefix[length:], i+n
	}
	switch {
	case prefix != "" || i < len(path) && path[i] != '/':
		return path
	case i == len(path):
		return path[:1] // its slash in front
	}
	for i+1 < len(path) && path[i+1] == '/' {
		i++
	}
	return path[i:]
}
