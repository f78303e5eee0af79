package s3api

import (
	"encoding/xml"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"minicloud.internal/objectstorage/store"
)

const maxCORSRules = 100 // as S3 has it

// A corsXML is the document of the subresource cors (S3 user guide, "Using
// cross-origin resource sharing").
type corsXML struct {
	XMLName  xml.Name `xml:"CORSConfiguration"`
	Xmlns    string   `xml:"xmlns,attr,omitempty"`
	CORSRule []corsRule
}

type corsRule struct {
	ID            string `xml:",omitempty"`
	AllowedHeader []string
	AllowedMethod []string
	AllowedOrigin []string
	ExposeHeader  []string
	MaxAgeSeconds *int
}

func (r *request) getBucketCors() error {
	return r.getDocument(corsDocument, "NoSuchCORSConfiguration")
}

func (r *request) putBucketCors() error {
	var c corsXML
	if err := r.readXML(&c); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	c.Xmlns = namespace
	return r.ok(r.putDocument(corsDocument, &c))
}

func (r *request) deleteBucketCors() error { return r.deleteDocument(corsDocument) }

func (c *corsXML) check() error {
	if len(c.CORSRule) == 0 || len(c.CORSRule) > maxCORSRules {
		return fail("MalformedXML")
	}
	for _, rule := range c.CORSRule {
		if len(rule.AllowedOrigin) == 0 || len(rule.AllowedMethod) == 0 || len(rule.ID) > 255 {
			return fail("MalformedXML")
		}
		for _, origin := range rule.AllowedOrigin {
			if strings.Count(origin, "*") > 1 {
				return failf("InvalidRequest", `AllowedOrigin "%s" can not have more than one wildcard.`, origin)
			}
		}
		for _, method := range rule.AllowedMethod {
			if !corsMethod(method) {
				return failf("InvalidRequest", "Found unsupported HTTP method in CORS config. Unsupported method is %s", method)
			}
		}
		for _, headers := range [][]string{rule.AllowedHeader, rule.ExposeHeader} {
			for _, header := range headers {
				if header != "" && !token(header) {
					return failf("InvalidRequest", `AllowedHeader "%s" contains invalid character.`, header)
				}
				if strings.Count(header, "*") > 1 {
					return failf("InvalidRequest", `AllowedHeader "%s" can not have more than one wildcard.`, header)
				}
			}
		}
	}
	return nil
}

func corsMethod(m string) bool { return oneOf(m, "GET", "HEAD", "PUT", "POST", "DELETE") }

// token reports whether s is one (RFC 9110, section 5.6.2), as the names of header
// fields are.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// wildcard reports whether s is as pattern has it, where * is any string.
func wildcard(pattern, s string) bool {
	before, after, found := strings.Cut(pattern, "*")
	if !found {
		return pattern == s
	}
	return len(s) >= len(before)+len(after) && strings.HasPrefix(s, before) && strings.HasSuffix(s, after)
}

// match returns the first rule that allows a request, and the origin that the
// answer names: "*" where the rule says so.
func (c *corsXML) match(origin, method string, headers []string) (*corsRule, string) {
	for i := range c.CORSRule {
		rule := &c.CORSRule[i]
		if named, ok := rule.allows(origin, method, headers); ok {
			return rule, named
		}
	}
	return nil, ""
}

func (rule *corsRule) allows(origin, method string, headers []string) (named string, ok bool) {
	for _, allowed := range rule.AllowedOrigin {
		if wildcard(allowed, origin) {
			named, ok = origin, true
			if allowed == "*" {
				named = "*"
			}
			break
		}
	}
	if !ok || !oneOf(method, rule.AllowedMethod...) {
		return "", false
	}
	for _, header := range headers {
		found := false
		for _, allowed := range rule.AllowedHeader {
			if wildcard(strings.ToLower(allowed), header) {
				found = true
				break
			}
		}
		if !found {
			return "", false
		}
	}
	return named, true
}

// corsRequest is what a browser says of the request that its page makes or means
// to make.
func (r *request) corsRequest(method string) (headers []string, err error) {
	if !corsMethod(method) {
		return nil, failf("BadRequest", "Invalid Access-Control-Request-Method: %s", method)
	}
	v := strings.Join(r.Header.Values("Access-Control-Request-Headers"), ",")
	if v == "" {
		return nil, nil
	}
	for header := range strings.SplitSeq(v, ",") {
		name := strings.ToLower(strings.TrimSpace(header))
		if !token(name) {
			return nil, failf("BadRequest", `Access-Control-Request-Headers "%s" contains invalid character.`, header)
		}
		headers = append(headers, name)
	}
	return headers, nil
}

// preflight answers OPTIONS (Fetch standard, section 3.2): it is not signed, and
// asks nothing of the bucket but its rules.
func (r *request) preflight() error {
	r.op = &operation{name: "OptionsObject"}
	origin := r.Header.Get("Origin")
	if r.bucket == "" {
		return r.methodNotAllowed("SERVICE")
	}
	b, err := r.h.store.GetBucket(r.Context(), r.bucket)
	if err != nil {
		return err
	}
	if origin == "" {
		return fail("BadRequest", "Insufficient information. Origin request header needed.")
	}
	method := r.Header.Get("Access-Control-Request-Method")
	headers, err := r.corsRequest(method)
	if err != nil {
		return err
	}
	var c corsXML
	configured, err := stored(&b, corsDocument, &c)
	if err != nil {
		return err
	}
	resource := "BUCKET"
	if r.key != "" {
		resource = "OBJECT"
	}
	if !configured {
		return fail("AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.").with("Method", r.Method).with("ResourceType", "BUCKET")
	}
	rule, named := c.match(origin, method, headers)
	if rule == nil {
		return fail("AccessForbidden").with("Method", r.Method).with("ResourceType", resource)
	}
	r.allow(rule, named, headers)
	r.w.Header().Set("Content-Length", "0")
	r.w.WriteHeader(http.StatusOK)
	return nil
}

// allow says in the answer's headers what a rule allows.
func (r *request) allow(rule *corsRule, origin string, headers []string) {
	h := r.w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Methods", strings.Join(rule.AllowedMethod, ", "))
	h.Set("Access-Control-Allow-Credentials", strconv.FormatBool(origin != "*"))
	if len(headers) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.Join(headers, ", "))
	}
	// An upload in parts cannot be completed by a page that does not see the
	// parts' ETags, and few rules think of it.
	expose, etag := rule.ExposeHeader, false
	for _, name := range expose {
		etag = etag || strings.EqualFold(name, "ETag") || name == "*"
	}
	if !etag {
		expose = append(expose[:len(expose):len(expose)], "ETag")
	}
	h.Set("Access-Control-Expose-Headers", strings.Join(expose, ", "))
	if rule.MaxAgeSeconds != nil {
		h.Set("Access-Control-Max-Age", strconv.Itoa(*rule.MaxAgeSeconds))
	}
	h.Set("Vary", varyCORS)
}

const varyCORS = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"

// corsHeaders adds the headers of CORS to the answer of a request from a page, also
// where it becomes an error: without them the page could not read that. What goes
// wrong here is said where the bucket is needed.
func (r *request) corsHeaders() error {
	origin := r.Header.Get("Origin")
	if origin == "" || r.bucket == "" || r.op.bucketless {
		return nil
	}
	b, err := r.h.store.GetBucket(r.Context(), r.bucket)
	if err != nil {
		return nil
	}
	var c corsXML
	if ok, err := stored(&b, corsDocument, &c); err != nil || !ok {
		return err
	}
	method := r.Header.Get("Access-Control-Request-Method")
	if method == "" {
		method = r.Method
	}
	headers, err := r.corsRequest(method)
	if err != nil {
		return err
	}
	if rule, named := c.match(origin, method, headers); rule != nil {
		r.allow(rule, named, headers)
	} else {
		r.w.Header().Set("Vary", varyCORS)
	}
	return nil
}

// fromElsewhere reports whether a page of another site makes the request, and the
// bucket's rules do not allow it to. A browser sends such a request, a form's for
// one, without asking first.
func (r *request) fromElsewhere() (bool, error) {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	switch {
	case site == "" && origin == "": // no browser
		return false, nil
	case !r.h.known(r.Host): // a page whose name was pointed here is same-origin with it
	case site == "same-origin" || site == "none":
		return false, nil
	case site == "" && sameHost(origin, r.Host):
		return false, nil
	}
	var c corsXML
	if ok, err := stored(&r.settings, corsDocument, &c); err != nil || !ok {
		return true, err
	}
	rule, _ := c.match(origin, r.Method, nil)
	return rule == nil, nil
}

// known reports whether a Host is one that the service is reached by.
func (h *Handler) known(host string) bool {
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if ip, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return ip.IsLoopback() || h.Known != nil && h.Known(name)
	}
	return name == "localhost" || strings.HasSuffix(name, ".localhost") ||
		slices.ContainsFunc(h.Hosts, func(base string) bool { return name == base || strings.HasSuffix(name, "."+base) }) ||
		h.Known != nil && h.Known(name)
}

// sameHost reports whether an Origin names the host that the request is for.
func sameHost(origin, host string) bool {
	_, name, ok := strings.Cut(origin, "://")
	return ok && strings.EqualFold(name, host)
}

// accessBlock is the bucket's public access block; none blocks nothing.
func accessBlock(b *store.Bucket) (block blockXML, err error) {
	_, err = stored(b, blockDocument, &block)
	return block, err
}
