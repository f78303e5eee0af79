package route

import (
	"bytes"
	"net/netip"
	"strings"

	"minicloud.internal/kit"
)

// maxHost is the length of the longest name (RFC 1035, section 2.3.4), and of
// what is looked up.
const maxHost = 253

// withoutPort returns the host of the field Host (RFC 3986, section 3.2.2).
func withoutPort(host []byte) []byte {
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host[i:], ']') < 0 {
		return host[:i]
	}
	return host
}

// hostKey returns the form of the field Host that hosts are compared in: without
// its port, in lower case, without the dot that ends a full name. It is empty for
// what can be nobody's. The form is written over scratch.
func hostKey(host, scratch []byte) []byte {
	host = withoutPort(host)
	if n := len(host); n > 0 && host[n-1] == '.' {
		host = host[:n-1]
	}
	if len(host) > maxHost {
		return nil
	}
	key := append(scratch[:0], host...)
	for i, c := range key {
		if 'A' <= c && c <= 'Z' {
			key[i] = c | 0x20
		}
	}
	return key
}

// presentable reports whether a host may be shown to a browser.
func presentable(host []byte) bool {
	for _, c := range host {
		if !isUnreserved(c) {
			return isAddress(string(host))
		}
	}
	return len(host) > 0
}

// checkHost returns a [kit.KeyError] for key unless host is empty, a name, a
// wildcard or an IP address.
func checkHost(key, host string) error {
	if host == "" || isAddress(host) || isName(strings.TrimPrefix(host, "*.")) {
		return nil
	}
	return kit.KeyErrorf(key, `is %q, expected a host without a port, as in "example.com", "*.example.com" (whatever is below it) or "[::1]", or "" for any`, host)
}

// isAddress reports whether host is an IPv6 address as a URL has it, in the one
// form that everybody writes (RFC 5952).
func isAddress(host string) bool {
	text, _ := strings.CutPrefix(host, "[")
	text, _ = strings.CutSuffix(text, "]")
	a, err := netip.ParseAddr(text)
	return err == nil && a.Is6() && a.Zone() == "" && host == "["+a.String()+"]"
}

// isName takes an IPv4 address for a name too.
func isName(host string) bool {
	if len(host) > maxHost {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notInLabel) {
			return false
		}
	}
	return true
}

func notInLabel(c rune) bool { return c >= '~' || !isUnreserved(byte(c)) }
