package sigv4

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

const upperHex = "0123456789ABCDEF"

// query is the parameters of a request, decoded, in the order of the request.
type query []parameter

type parameter struct{ name, value string }

// authParameters are those that a presigned URL consists of.
var authParameters = [...]string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"}

func parseQuery(r *http.Request) query {
	raw := r.URL.RawQuery
	if raw == "" {
		return nil
	}
	q := make(query, 0, strings.Count(raw, "&")+1)
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		q = append(q, parameter{unescape(name), unescape(value)})
	}
	return q
}

func (q query) get(name string) (string, bool) {
	for _, p := range q {
		if p.name == name {
			return p.value, true
		}
	}
	return "", false
}

// mechanism reports whether q is that of a presigned URL, and whether it is one of
// Signature V2.
func (q query) mechanism() (presigned, old bool) {
	for _, p := range q {
		presigned = presigned || slices.Contains(authParameters[:], p.name)
		old = old || p.name == "AWSAccessKeyId" || p.name == "Signature"
	}
	return presigned, old
}

// repeated reports whether a parameter of the signature is there twice, which
// nobody does who is honest.
func (q query) repeated() bool {
	var seen [len(authParameters)]bool
	for _, p := range q {
		if i := slices.Index(authParameters[:], p.name); i >= 0 {
			if seen[i] {
				return true
			}
			seen[i] = true
		}
	}
	return false
}

// unescape decodes a part of a query. What is no escape stays as it is: it is the
// signature that decides, and the handler that parses it.
func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c, width := decodeAt(s, i)
		if width == 1 && c == '+' {
			c = ' '
		}
		out = append(out, c)
		i += width - 1
	}
	return string(out)
}

// decodeAt returns the byte that stands at s[i], escaped or not, and how many
// bytes it takes there.
func decodeAt(s string, i int) (c byte, width int) {
	if s[i] != '%' || i+2 >= len(s) {
		return s[i], 1
	}
	high, ok := fromHex(s[i+1])
	low, ok2 := fromHex(s[i+2])
	if !ok || !ok2 {
		return s[i], 1
	}
	return high<<4 | low, 3
}

func fromHex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func appendEscaped(dst []byte, c byte) []byte {
	if unreserved(c) {
		return append(dst, c)
	}
	return append(dst, '%', upperHex[c>>4], upperHex[c&15])
}

// escape encodes everything but the unreserved characters of RFC 3986, section 2.3.
func escape(s string) string {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = unreserved(s[i])
	}
	if plain {
		return s
	}
	out := make([]byte, 0, len(s)+len(s)/2)
	for i := range len(s) {
		out = appendEscaped(out, s[i])
	}
	return string(out)
}

// rawPath is the path of r as it came over the wire. A handler may have changed
// r.URL; a request that is still to be sent has nothing else.
func rawPath(r *http.Request) string {
	uri := r.RequestURI
	if uri == "" {
		return r.URL.EscapedPath()
	}
	if !strings.HasPrefix(uri, "/") { // the absolute form, to a proxy
		_, rest, ok := strings.Cut(uri, "://")
		if !ok {
			return uri
		}
		slash := strings.IndexAny(rest, "/?")
		if slash < 0 {
			return "/"
		}
		uri = rest[slash:]
	}
	path, _, _ := strings.Cut(uri, "?")
	return path
}

// appendPath writes a path once decoded and once encoded, and not cleaned.
func appendPath(dst []byte, path string) []byte {
	if path == "" {
		return append(dst, '/')
	}
	for i := 0; i < len(path); i++ {
		c, width := decodeAt(path, i)
		if c == '/' {
			dst = append(dst, '/')
		} else {
			dst = appendEscaped(dst, c)
		}
		i += width - 1
	}
	return dst
}

// appendQuery writes the parameters but the signature itself, encoded and then
// sorted.
func (q query) append(dst []byte) []byte {
	if len(q) == 0 {
		return dst
	}
	encoded := make([]parameter, 0, len(q))
	for _, p := range q {
		if p.name != "X-Amz-Signature" {
			encoded = append(encoded, parameter{escape(p.name), escape(p.value)})
		}
	}
	slices.SortFunc(encoded, func(a, b parameter) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value))
	})
	for i, p := range encoded {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = append(append(append(dst, p.name...), '='), p.value...)
	}
	return dst
}

// splitSigned returns the names of the signed fields. They are in lower case.
func splitSigned(c claim) ([]string, error) {
	names := strings.Split(c.signedHeaders, ";")
	for _, name := range names {
		if name == "" || strings.ToLower(name) != name || strings.ContainsAny(name, " \n:") {
			if c.presigned {
				return nil, malformedQuery("X-Amz-SignedHeaders is malformed.")
			}
			return nil, malformedHeader("the authorization component %q is malformed.", "SignedHeaders="+c.signedHeaders)
		}
	}
	return names, nil
}

// checkSigned wants Host and all x-amz-… fields of r among the signed names: those
// fields say what the request does.
func checkSigned(r *http.Request, names []string) error {
	var missing []string
	if !slices.Contains(names, "host") {
		missing = append(missing, "host")
	}
	for name := range r.Header {
		const special = "X-Amz-"
		if len(name) < len(special) || !strings.EqualFold(name[:len(special)], special) {
			continue
		}
		if !slices.ContainsFunc(names, func(signed string) bool { return strings.EqualFold(signed, name) }) {
			missing = append(missing, strings.ToLower(name))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return denied("There were headers present in the request which were not signed", Field{"HeadersNotSigned", strings.Join(missing, ", ")})
}

// appendCanonical writes the canonical request of r, with host as its Host.
func appendCanonical(dst []byte, r *http.Request, q query, host string, names []string, signed, payload string) []byte {
	dst = append(append(dst, r.Method...), '\n')
	dst = append(appendPath(dst, rawPath(r)), '\n')
	dst = append(q.append(dst), '\n')
	for _, name := range names {
		dst = append(append(dst, name...), ':')
		dst = append(appendField(dst, r, name, host), '\n')
	}
	dst = append(append(append(dst, '\n'), signed...), '\n')
	return append(dst, payload...)
}

// appendField writes the value of a signed field: its values, each trimmed,
// separated by commas. A few fields are not in r.Header.
func appendField(dst []byte, r *http.Request, name, host string) []byte {
	switch name {
	case "host":
		return appendTrimmed(dst, host)
	case "content-length":
		if r.Header["Content-Length"] == nil && r.ContentLength >= 0 {
			return strconv.AppendInt(dst, r.ContentLength, 10)
		}
	case "transfer-encoding":
		return append(dst, strings.Join(r.TransferEncoding, ",")...)
	}
	for i, value := range r.Header[canonicalName(name)] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendTrimmed(dst, value)
	}
	return dst
}

// canonicalName is how net/http writes the name of a field. Of those that every
// request has signed it need not be made anew.
func canonicalName(name string) string {
	switch name {
	case "x-amz-date":
		return "X-Amz-Date"
	case "x-amz-content-sha256":
		return "X-Amz-Content-Sha256"
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// appendTrimmed writes a value without the space around it, and of several spaces
// within it one.
func appendTrimmed(dst []byte, value string) []byte {
	value = strings.TrimSpace(value)
	if !strings.Contains(value, "  ") {
		return append(dst, value...)
	}
	for i := range len(value) {
		if value[i] != ' ' || value[i-1] != ' ' {
			dst = append(dst, value[i])
		}
	}
	return dst
}

// appendStringToSign writes what the signature of a request is made of.
func appendStringToSign(dst []byte, date, scope string, canonical []byte) []byte {
	dst = appendPrefix(dst, algorithm, date, scope)
	sum := sha256.Sum256(canonical)
	return hex.AppendEncode(dst, sum[:])
}

// appendPrefix writes the three lines with which every string to sign begins.
func appendPrefix(dst []byte, algorithm, date, scope string) []byte {
	for _, line := range [...]string{algorithm, date, scope} {
		dst = append(append(dst, line...), '\n')
	}
	return dst
}
