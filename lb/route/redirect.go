package route

import (
	"bytes"
	"slices"
	"strings"

	"minicloud.internal/kit"
)

// A piece is a part of a template of the field Location: literal, or one of the
// variables, which are replaced by what the request has.
type piece struct {
	literal  string
	variable variable
}

type variable int

const (
	noVariable variable = iota
	hostVariable
	pathVariable
	queryVariable
)

var variables = []struct {
	name string
	variable
}{{"{host}", hostVariable}, {"{path}", pathVariable}, {"{query}", queryVariable}}

// parseTemplate takes a template apart. It accepts only what leads nowhere that
// a request could choose: the scheme and where the host ends are literal, and
// nothing becomes "//" by what a variable stands for.
func parseTemplate(key, template string) ([]piece, error) {
	wrong := func(why string) error {
		return kit.KeyErrorf(key, `is %q, %s`, template, why)
	}
	if strings.ContainsFunc(template, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("\"<>\\^`|", c) }) {
		return nil, wrong("expected a URL in ASCII, percent-encoded where needed")
	}
	rest, absolute := cutScheme(template)
	if !absolute && (strings.HasPrefix(template, "//") || !strings.HasPrefix(template, "/") && !strings.HasPrefix(template, "{path}")) {
		return nil, wrong(`expected it to begin with "https://", "http://", "/" or "{path}"`)
	}
	if absolute && !strings.HasPrefix(rest, "{host}") && (rest == "" || strings.IndexByte("/?#{", rest[0]) >= 0) {
		return nil, wrong(`expected a host or {host} after the scheme`)
	}
	if absolute && strings.Contains(authority(rest), "@") {
		return nil, wrong(`expected no "@" in its host`)
	}
	var pieces []piece
	for left := template; left != ""; {
		if i := strings.IndexAny(left, "{}"); i != 0 {
			if i < 0 {
				i = len(left)
			}
			pieces = append(pieces, piece{literal: left[:i]})
			left = left[i:]
			continue
		}
		v := slices.IndexFunc(variables, func(v struct {
			name string
			variable
		}) bool {
			return strings.HasPrefix(left, v.name)
		})
		if v < 0 {
			return nil, wrong("expected no braces but those of {host}, {path} and {query}")
		}
		if strings.Count(template, variables[v].name) > 1 {
			return nil, wrong("expected each of {host}, {path} and {query} at most once")
		}
		pieces = append(pieces, piece{variable: variables[v].variable})
		left = left[len(variables[v].name):]
	}
	switch {
	case strings.Contains(template, "/{path}"), strings.Contains(template, "{path}/"):
		return nil, wrong(`expected no "/" beside {path}, which begins with one, and may end with one`)
	case strings.Contains(template, "?{query}"):
		return nil, wrong(`expected no "?" before {query}, which brings its own where there is a query`)
	}
	if _, behind, ok := strings.Cut(template, "{query}"); ok && behind != "" && behind[0] != '#' {
		return nil, wrong(`expected nothing behind {query} but a fragment, as in "#top"`)
	}
	return pieces, nil
}

// authority returns what stands between the scheme and the path of a template.
func authority(rest string) string {
	rest, _, _ = strings.Cut(rest, "{path}")
	rest, _, _ = strings.Cut(rest, "{query}")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

func cutScheme(template string) (rest string, absolute bool) {
	for _, scheme := range []string{"https://", "http://"} {
		if rest, ok := strings.CutPrefix(template, scheme); ok {
			return rest, true
		}
	}
	return template, false
}

// appendLocation writes what a template makes of a request:
//
//   - {host} is the host without its port, as it was sent;
//   - {path} is the path as it was sent, with one slash in front, and with an
//     encoding for what a URL cannot hold;
//   - {query} is "?" and the query likewise, or nothing where there is none.
//
// So nothing but a path and a query can come from the client: no other host, no
// scheme, no end of the line. It reports false where the host is none.
func appendLocation(dst []byte, pieces []piece, host, path, query []byte) ([]byte, bool) {
	for _, p := range pieces {
		switch p.variable {
		case noVariable:
			dst = append(dst, p.literal...)
		case hostVariable:
			name := withoutPort(host)
			if !presentable(name) {
				return dst, false
			}
			dst = append(dst, name...)
		case pathVariable:
			dst = append(dst, '/')
			dst = appendEscaped(dst, bytes.TrimLeft(path, "/"), pathBytes)
		case queryVariable:
			if len(query) > 0 {
				dst = append(dst, '?')
				dst = appendEscaped(dst, query, pathBytes+"?")
			}
		}
	}
	return dst, true
}

// pathBytes are the bytes that a path holds as they stand, beside the unreserved
// ones (RFC 3986, section 3.3), and the sign of an encoding.
const pathBytes = "/!$&'()*+,;=:@%"

func appendEscaped(dst, text []byte, allowed string) []byte {
	for _, c := range text {
		if isUnreserved(c) || strings.IndexByte(allowed, c) >= 0 {
			dst = append(dst, c)
		} else {
			dst = appendEncoded(dst, c)
		}
	}
	return dst
}
