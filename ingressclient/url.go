package ingressclient

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// A target is a URL that can be asked for.
type target struct {
	url  *url.URL // scheme http or https, without user and fragment
	user *url.Userinfo
	host string // lower case, without brackets and final dot
	port uint16 // 0: the URL names none
}

// parseURL reads a URL as curl does: http is assumed where there is no scheme,
// and dot segments are removed from the path unless asIs (RFC 3986, section
// 5.2.4).
func parseURL(raw string, asIs bool) (*target, error) {
	text := raw
	scheme, _, ok := strings.Cut(raw, "://")
	if !ok {
		scheme, text = "http", "http://"+raw
	}
	scheme = strings.ToLower(scheme)
	bad := func(format string, args ...any) error {
		return failf(exitURL, "the URL %q %s", raw, fmt.Sprintf(format, args...)).
			withHint("a URL looks like http://example.com/api/spells; a space in it is written %%20")
	}
	if strings.ContainsAny(raw, " \t\r\n") {
		return nil, bad("holds a space")
	}
	u, err := url.Parse(text)
	if err != nil {
		// The error of url.Parse repeats the whole URL before its reason.
		if e, ok := err.(*url.Error); ok {
			err = e.Err
		}
		return nil, bad("is malformed: %v", err)
	}
	if scheme != "http" && scheme != "https" {
		return nil, failf(exitUnsupported, "the scheme %q is not supported", scheme).
			withHint("http:// and https:// are")
	}
	t := &target{url: u, user: u.User, host: strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))}
	if reason := hostTrouble(t.host); reason != "" {
		return nil, bad("%s", reason)
	}
	if p := u.Port(); p != "" {
		if t.port, err = parsePort(p); err != nil {
			return nil, bad("has a port that %v", err)
		}
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	u.Host = t.authority()
	if !asIs {
		t.url = u.ResolveReference(u)
	}
	return t, nil
}

// hostTrouble says what is wrong with a host, or nothing.
func hostTrouble(host string) string {
	if host == "" {
		return "has no host"
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	if len(host) > 253 {
		return "has a host of more than 253 characters"
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return "has a host with a part of 0 or more than 63 characters"
		}
		for _, r := range label {
			switch {
			case r >= 0x80:
				return "has a host with letters beyond ASCII, which is to be written as xn--…"
			case r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z'):
				return fmt.Sprintf("has a host with the character %q", r)
			}
		}
	}
	return ""
}

// authority is the Host field: the name of the URL, with the port only where
// the URL names one other than its scheme's own, whatever port is connected to.
func (t *target) authority() string {
	host := t.host
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		host = "[" + addr.WithZone("").String() + "]"
	}
	if t.port == 0 || t.port == schemePort(t.url.Scheme) {
		return host
	}
	return host + ":" + strconv.Itoa(int(t.port))
}

// sameOrigin reports whether what is meant for t's eyes may be sent to other.
func (t *target) sameOrigin(other *target) bool {
	port := func(t *target) uint16 {
		if t.port == 0 {
			return schemePort(t.url.Scheme)
		}
		return t.port
	}
	return t.host == other.host && t.url.Scheme == other.url.Scheme && port(t) == port(other)
}

// redirect returns where a Location leads from t (RFC 9110, section 10.2.2).
func (t *target) redirect(location string, asIs bool) (*target, error) {
	ref, err := url.Parse(strings.ReplaceAll(location, " ", "%20"))
	if err != nil {
		return nil, failf(exitURL, "the server redirects to %q, which is malformed", location)
	}
	return parseURL(t.url.ResolveReference(ref).String(), asIs)
}

func schemePort(scheme string) uint16 {
	if scheme == "https" {
		return 443
	}
	return 80
}

// A resolveRule is one --resolve: what would be asked of the resolver.
type resolveRule struct {
	host  string // "*": any
	port  uint16
	addrs []netip.Addr
}

func (r resolveRule) matches(host string, port uint16) bool {
	return r.port == port && (r.host == "*" || r.host == host)
}

// parseResolve reads HOST:PORT:ADDRESS[,ADDRESS]….
func parseResolve(s string) (resolveRule, error) {
	bad := fmt.Errorf("is %q, expected HOST:PORT:ADDRESS, as in example.com:80:127.0.0.1", s)
	host, rest, ok := cutField(strings.TrimPrefix(s, "+"))
	port, addresses, ok2 := cutField(rest)
	if !ok || !ok2 || host == "" {
		return resolveRule{}, bad
	}
	r := resolveRule{host: strings.ToLower(host)}
	var err error
	if r.port, err = parsePort(port); err != nil {
		return resolveRule{}, fmt.Errorf("has a port that %w", err)
	}
	for a := range strings.SplitSeq(addresses, ",") {
		addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(a, "["), "]"))
		if err != nil {
			return resolveRule{}, bad
		}
		r.addrs = append(r.addrs, addr)
	}
	return r, nil
}

// A connectRule is one --connect-to. An empty host or port on the left matches
// any, and on the right leaves what was asked for.
type connectRule struct {
	host, toHost string
	port, toPort uint16
}

func (r connectRule) matches(host string, port uint16) bool {
	return (r.host == "" || r.host == host) && (r.port == 0 || r.port == port)
}

// parseConnectTo reads HOST1:PORT1:HOST2:PORT2.
func parseConnectTo(s string) (connectRule, error) {
	bad := fmt.Errorf("is %q, expected HOST:PORT:HOST2:PORT2, as in example.com:80:127.0.0.1:8080", s)
	var r connectRule
	rest, ok := s, false
	if r.host, rest, ok = cutField(rest); !ok {
		return connectRule{}, bad
	}
	var port, toPort string
	if port, rest, ok = cutField(rest); !ok {
		return connectRule{}, bad
	}
	if r.toHost, toPort, ok = cutField(rest); !ok {
		return connectRule{}, bad
	}
	for _, p := range []struct {
		text string
		to   *uint16
	}{{port, &r.port}, {toPort, &r.toPort}} {
		if p.text == "" {
			continue
		}
		var err error
		if *p.to, err = parsePort(p.text); err != nil {
			return connectRule{}, fmt.Errorf("has a port that %w", err)
		}
	}
	r.host, r.toHost = strings.ToLower(r.host), strings.ToLower(r.toHost)
	if r.toHost != "" && hostTrouble(r.toHost) != "" {
		return connectRule{}, bad
	}
	return r, nil
}

// cutField returns what stands before the next colon, and what after it. An
// IPv6 address in brackets is one field.
func cutField(s string) (field, rest string, ok bool) {
	if inner, found := strings.CutPrefix(s, "["); found {
		field, rest, ok = strings.Cut(inner, "]")
		if !ok {
			return "", "", false
		}
		rest, ok = strings.CutPrefix(rest, ":")
		return field, rest, ok
	}
	return strings.Cut(s, ":")
}

// joinPort formats an address as it is dialled.
func joinPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
