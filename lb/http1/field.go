package http1

import (
	"encoding/binary"
	"math/bits"
)

// A Kind is a field name that was recognised, so that nobody compares a name
// twice.
type Kind uint8

// The fields that a proxy treats in some way of its own.
const (
	Other Kind = iota
	Host
	ContentLength
	TransferEncoding
	Connection
	Close // reserved as a name, RFC 9112, section 9.6; an option of Connection
	KeepAlive
	ProxyConnection
	ProxyAuthenticate
	ProxyAuthorization
	TE
	Trailer
	Upgrade
	Expect
	Via
	Forwarded
	XForwardedFor
	XForwardedHost
	XForwardedProto
	// XForwardedOther is any other name that begins with x-forwarded-, and any
	// spelling of such a name or of X-Real-Ip with underscores: upstreams that
	// put fields into environment variables cannot tell the two apart.
	XForwardedOther
	XRealIP
	XRequestID
	Traceparent
	Tracestate
	Date
	Server
	Cookie
	SetCookie
	UserAgent
	kinds
)

var kindNames = [kinds]string{
	Host:               "host",
	ContentLength:      "content-length",
	TransferEncoding:   "transfer-encoding",
	Connection:         "connection",
	Close:              "close",
	KeepAlive:          "keep-alive",
	ProxyConnection:    "proxy-connection",
	ProxyAuthenticate:  "proxy-authenticate",
	ProxyAuthorization: "proxy-authorization",
	TE:                 "te",
	Trailer:            "trailer",
	Upgrade:            "upgrade",
	Expect:             "expect",
	Via:                "via",
	Forwarded:          "forwarded",
	XForwardedFor:      "x-forwarded-for",
	XForwardedHost:     "x-forwarded-host",
	XForwardedProto:    "x-forwarded-proto",
	XRealIP:            "x-real-ip",
	XRequestID:         "x-request-id",
	Traceparent:        "traceparent",
	Tracestate:         "tracestate",
	Date:               "date",
	Server:             "server",
	Cookie:             "cookie",
	SetCookie:          "set-cookie",
	UserAgent:          "user-agent",
}

// hopKinds are the fields that end here whether Connection names them or not:
// those of RFC 9110, section 7.6.1, and those between a client and its proxy
// (sections 11.7.1 and 11.7.2). Trailer is not among them: trailers pass.
const hopKinds kindSet = 1<<Connection | 1<<Close | 1<<KeepAlive | 1<<ProxyConnection | 1<<TE |
	1<<TransferEncoding | 1<<Upgrade | 1<<ProxyAuthenticate | 1<<ProxyAuthorization

// A kindSet has bit k set for every Kind k in it.
type kindSet uint64

func (s kindSet) has(k Kind) bool { return s>>k&1 != 0 }

// kindTable has the one candidate for every hash of a name.
var kindTable = func() (t [256]Kind) {
	for k, name := range kindNames {
		if name != "" {
			t[kindHash([]byte(name))] = Kind(k)
		}
	}
	return t
}()

// kindHash tells all of kindNames apart; a test holds this.
func kindHash(name []byte) uint8 {
	return uint8(len(name)) + (name[0]|0x20)*5 + (name[len(name)-1]|0x20)*9
}

// KindOf recognises a field name, which must be a token, in any case.
func KindOf(name []byte) Kind {
	if len(name) == 0 {
		return Other
	}
	if k := kindTable[kindHash(name)]; k != Other && equalFold(name, kindNames[k]) {
		return k
	}
	if name[0]|0x20 == 'x' && forwardedAlike(name) {
		return XForwardedOther
	}
	return Other
}

func forwardedAlike(name []byte) bool {
	const prefix, realIP = "x-forwarded-", "x-real-ip"
	like := func(name []byte, s string) bool {
		for i, c := range name {
			if c == '_' {
				c = '-'
			}
			if lower[c] != s[i] {
				return false
			}
		}
		return true
	}
	return len(name) >= len(prefix) && like(name[:len(prefix)], prefix) ||
		len(name) == len(realIP) && like(name, realIP)
}

// A Field is one field line. Name and Value alias the buffer that was parsed.
type Field struct {
	Name  []byte
	Value []byte // without the white space around it
	Kind  Kind
	// Hop says that the field ends here and is not forwarded: it is hop-by-hop
	// by RFC 9110, section 7.6.1, or Connection names it.
	Hop bool
}

// parse reads the field line at the beginning of buf. n is its length with CRLF,
// or 0 if it is not all there.
func (f *Field) parse(buf []byte) (n int, err *Error) {
	i := 0
	for i < len(buf) && token[buf[i]] {
		i++
	}
	if i == len(buf) {
		return 0, nil
	}
	if buf[i] != ':' || i == 0 {
		return 0, badName(buf, i)
	}
	f.Name = buf[:i:i]
	i++
	for i < len(buf) && (buf[i] == ' ' || buf[i] == '\t') {
		i++
	}
	start := i
	i = textEnd(buf, i)
	n, err = lineEnd(buf, i, errFieldValue)
	if n == 0 {
		return 0, err
	}
	for i > start && (buf[i-1] == ' ' || buf[i-1] == '\t') {
		i--
	}
	f.Value = buf[start:i:i]
	f.Kind = KindOf(f.Name)
	f.Hop = hopKinds.has(f.Kind)
	return n, nil
}

// badName says what is wrong with a field line whose first i bytes are of a
// token, followed by something else.
func badName(buf []byte, i int) *Error {
	switch c := buf[i]; {
	case c == '\n':
		return errBareLF
	case i == 0 && c == ':':
		return errFieldNoName
	case i == 0 && (c == ' ' || c == '\t'):
		return errFold
	case c == ' ' || c == '\t':
		return errSpaceColon
	}
	return errFieldName
}

// lineEnd reads the CRLF at buf[i:], the end of the text of a line. n is where
// the next line begins, or 0. Any other control character there gives control.
func lineEnd(buf []byte, i int, control *Error) (n int, err *Error) {
	switch {
	case i+1 < len(buf) && buf[i] == '\r' && buf[i+1] == '\n':
		return i + 2, nil
	case i == len(buf), i+1 == len(buf) && buf[i] == '\r':
		return 0, nil
	case buf[i] == '\n':
		return 0, errBareLF
	case buf[i] == '\r':
		return 0, errBareCR
	}
	return 0, control
}

// textEnd returns the index of the first byte of buf[i:] that may not stand in
// a field value: a control character other than HTAB. It looks at eight bytes
// at a time, since most of a head is values.
func textEnd(buf []byte, i int) int {
	const ones = 0x0101010101010101
	for i+8 <= len(buf) {
		x := binary.LittleEndian.Uint64(buf[i:])
		// In each byte the high bit is set if it is below 0x20 or is 0x7f. A
		// borrow can set it wrongly only above the lowest that is set rightly.
		stop := ((x - 0x20*ones) | ((x ^ 0x7f*ones) - ones)) &^ x & (0x80 * ones)
		if stop == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(stop) / 8
		if buf[i] != '\t' {
			return i
		}
		i++
	}
	for i < len(buf) && !control[buf[i]] {
		i++
	}
	return i
}

// nextElement cuts the first element off a comma-separated list, without the
// white space around it. more says that a comma follows it.
func nextElement(list []byte) (element, rest []byte, more bool) {
	end := len(list)
	for i, c := range list {
		if c == ',' {
			end, rest, more = i, list[i+1:], true
			break
		}
	}
	return trim(list[:end]), rest, more
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

func isToken(b []byte) bool {
	for _, c := range b {
		if !token[c] {
			return false
		}
	}
	return len(b) > 0
}

// equalFold compares with a string in lower case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if lower[c] != s[i] {
			return false
		}
	}
	return true
}

func equalFoldBytes(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if lower[c] != lower[b[i]] {
			return false
		}
	}
	return true
}

// Classes of bytes.
var (
	token   = class(func(c byte) bool { return alphanumeric(c) || among(c, "!#$%&'*+-.^_`|~") })
	control = class(func(c byte) bool { return c < 0x20 && c != '\t' || c == 0x7f })
	// query is what may stand in a request target, and path what may stand
	// before its question mark without being looked at.
	query = class(func(c byte) bool { return c > 0x20 && c < 0x7f && c != '#' })
	path  = class(func(c byte) bool { return query[c] && c != '?' && c != '%' })
	// host is unreserved of RFC 3986, section 2.3.
	host  = class(func(c byte) bool { return alphanumeric(c) || among(c, "-._~") })
	lower = func() (t [256]byte) {
		for c := range t {
			t[c] = byte(c)
			if c >= 'A' && c <= 'Z' {
				t[c] = byte(c) | 0x20
			}
		}
		return t
	}()
)

func class(in func(byte) bool) (t [256]bool) {
	for c := range t {
		t[c] = in(byte(c))
	}
	return t
}

func alphanumeric(c byte) bool { return digit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' }

func digit(c byte) bool { return c >= '0' && c <= '9' }

func among(c byte, s string) bool {
	for i := range len(s) {
		if s[i] == c {
			return true
		}
	}
	return false
}

// hex returns the value of a hexadecimal digit, or a negative number.
func hex(c byte) int {
	switch {
	case digit(c):
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
