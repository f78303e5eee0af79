package route

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"minicloud.internal/kit"
)

// Headers are what a route does to the fields of a head. The zero value does
// nothing.
type Headers struct {
	names []string // lower case; those that are removed, and those that are set
	lines []byte
}

// newHeaders prepares fields: a value replaces all of its name, an empty one
// removes them. They have passed [checkFields].
func newHeaders(fields map[string]string) Headers {
	var h Headers
	for _, name := range slices.SortedFunc(maps.Keys(fields), caseless) {
		h.names = append(h.names, strings.ToLower(name))
		if value := fields[name]; value != "" {
			h.lines = append(h.lines, name+": "+value+"\r\n"...)
		}
	}
	return h
}

// Removes reports whether a field of that name, in any case, is not to be passed
// on, be it because it goes or because [Headers.Append] writes it.
func (h *Headers) Removes(name []byte) bool {
	for _, n := range h.names {
		if len(n) == len(name) && equalFold(n, name) {
			return true
		}
	}
	return false
}

// Append appends the fields that the route sets, each with its CRLF.
func (h *Headers) Append(dst []byte) []byte { return append(dst, h.lines...) }

// equalFold compares with a name in lower case of the same length.
func equalFold(lower string, name []byte) bool {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func caseless(a, b string) int {
	return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
}

// maxFields bounds what one route sets, in bytes as they are written, so that a
// head that was within its limit still fits where it is written.
const maxFields = 8 << 10

// reserved are the fields that no route changes, in lower case, and why.
var reserved = map[string]string{
	"connection":                "hop-by-hop",
	"expect":                    "hop-by-hop",
	"http2-settings":            "hop-by-hop",
	"keep-alive":                "hop-by-hop",
	"proxy-authenticate":        "hop-by-hop",
	"proxy-authentication-info": "hop-by-hop",
	"proxy-authorization":       "hop-by-hop",
	"proxy-connection":          "hop-by-hop",
	"te":                        "hop-by-hop",
	"upgrade":                   "hop-by-hop",
	"content-length":            "framing",
	"trailer":                   "framing",
	"transfer-encoding":         "framing",
	"host":                      "routing; rewrite_host changes it for the targets",
	"forwarded":                 "written by the load balancer",
	"traceparent":               "written by the load balancer",
	"via":                       "written by the load balancer",
	"x-forwarded-for":           "written by the load balancer",
	"x-forwarded-host":          "written by the load balancer",
	"x-forwarded-proto":         "written by the load balancer",
	"x-request-id":              "written by the load balancer",
}

// checkFields returns a [kit.KeyError] for the first field, in the order of their
// names, that a route cannot set or remove.
func checkFields(key string, fields map[string]string) error {
	size, before := 0, ""
	for _, name := range slices.SortedFunc(maps.Keys(fields), caseless) {
		key, value, lower := key+"."+name, fields[name], strings.ToLower(name)
		switch why, taken := reserved[lower]; {
		case !IsFieldName(name):
			return kit.KeyErrorf(key, `is no name of a field, expected one as in "X-Frame-Options"`)
		case taken:
			return kit.KeyErrorf(key, "cannot be set or removed: the field is %s", why)
		case before == lower:
			return kit.KeyErrorf(key, "stands twice, case ignored; each field stands once")
		case strings.TrimSpace(value) != value || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }):
			return kit.KeyErrorf(key, `is %s, expected visible ASCII without spaces around it, or "" to remove the field`, strconv.QuoteToASCII(value))
		}
		before = lower
		if size += len(name) + len(": \r\n") + len(value); size > maxFields {
			return kit.KeyErrorf(key, "is one too many: the fields that a route sets take at most %d bytes", maxFields)
		}
	}
	return nil
}

// IsFieldName reports whether s can be the name of a field (RFC 9110, section
// 5.6.2).
func IsFieldName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}
