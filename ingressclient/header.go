package ingressclient

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// A headerArg is one -H.
type headerArg struct {
	name   string // canonical
	value  string
	remove bool
}

// parseHeader reads "Name: value", "Name;" (sent empty) or "Name:" (removed).
func parseHeader(s string) (headerArg, error) {
	h := headerArg{}
	var ok bool
	if h.name, h.value, ok = strings.Cut(s, ":"); ok {
		h.value = strings.Trim(h.value, " \t")
		h.remove = h.value == ""
	} else if h.name, ok = strings.CutSuffix(s, ";"); !ok {
		return h, fmt.Errorf(`is %q, expected "Name: value", "Name;" or "Name:"`, s)
	}
	if !isToken(h.name) {
		return h, fmt.Errorf("is %q, whose name is not one", s)
	}
	h.name = http.CanonicalHeaderKey(h.name)
	switch h.name {
	case "Host":
		if h.value == "" {
			return h, fmt.Errorf("cannot take Host away: HTTP/1.1 requires it")
		}
	case "Content-Length":
		return h, fmt.Errorf("cannot set Content-Length: it is that of the body")
	case "Transfer-Encoding":
		if !strings.EqualFold(h.value, "chunked") {
			return h, fmt.Errorf("cannot set Transfer-Encoding to anything but chunked")
		}
	case "Trailer":
		return h, fmt.Errorf("cannot set Trailer: none is sent")
	}
	return h, checkHeaderValue(h.value)
}

func checkHeaderValue(v string) error {
	for i := range len(v) {
		if v[i] < ' ' && v[i] != '\t' || v[i] == 0x7f {
			return fmt.Errorf("holds a control character")
		}
	}
	return nil
}

// isToken reports whether s may be the name of a field or a method (RFC 9110,
// section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// applyHeaders sets the fields of a request: the defaults, then what -H says.
// Where the request goes to another origin than the first one, what could give
// the user away stays behind, as in curl.
func (c *command) applyHeaders(req *http.Request, t, first *target, b *body) {
	own := t.sameOrigin(first)
	h := req.Header
	h.Set("Accept", "*/*")
	h.Set("User-Agent", "ingressclient")
	if c.agentSet {
		h.Set("User-Agent", c.agent) // Empty: net/http sends none.
	}
	if b != nil && b.contentType != "" {
		h.Set("Content-Type", b.contentType)
	}
	if c.json {
		h.Set("Accept", "application/json")
	}
	if user, ok := c.credentials(t, own); ok {
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user)))
	}
	if b != nil && (b.size > expectAbove || b.size < 0) {
		h.Set("Expect", "100-continue")
	}
	mentioned := map[string]bool{}
	for _, arg := range c.headers {
		switch {
		case !own && (arg.name == "Authorization" || arg.name == "Cookie" || arg.name == "Host"):
			continue
		case arg.name == "Host":
			req.Host = arg.value
			continue
		case arg.name == "Transfer-Encoding":
			if b != nil {
				req.ContentLength, req.TransferEncoding = -1, []string{"chunked"}
			}
			continue
		}
		if !mentioned[arg.name] {
			mentioned[arg.name] = true
			h.Del(arg.name)
		}
		switch {
		case arg.remove && arg.name == "User-Agent":
			h.Set(arg.name, "")
		case !arg.remove:
			h.Add(arg.name, arg.value)
		}
	}
}

// credentials returns user:password for t: of its URL, or of -u.
func (c *command) credentials(t *target, own bool) (string, bool) {
	if c.user != "" && own {
		return c.user, true
	}
	if t.user != nil {
		password, _ := t.user.Password()
		return t.user.Username() + ":" + password, true
	}
	return "", false
}
