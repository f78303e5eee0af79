package engine

import (
	"encoding/hex"
	"math/rand/v2"
	"strconv"

	"minicloud.internal/lb/http1"
)

// pseudonym stands for this load balancer in Via (RFC 9110, section 7.6.3).
const pseudonym = "minicloud"

// appendRequest appends the head that the targets get. Path and query are as the
// client wrote them, but for what the route changes; the fields that frame the
// body are made anew, and so are those that tell where a request comes from,
// unless a trusted proxy sent them.
func (c *client) appendRequest(b []byte) []byte {
	r, x := &c.w.req, &c.w.x
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = x.route.AppendPath(b, r.Path)
	b = append(b, r.Query...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	if x.route.RewriteHost != "" {
		b = append(b, x.route.RewriteHost...)
	} else {
		b = append(b, r.Host...)
	}
	b = append(b, "\r\n"...)
	left, _ := c.forwards()
	var forwardedFor []byte
	trailers := false
	for i := range r.Fields {
		f := &r.Fields[i]
		switch f.Kind {
		case http1.Host, http1.ContentLength, http1.TransferEncoding, http1.Expect, http1.XRequestID, http1.Traceparent:
			continue
		case http1.Forwarded, http1.XForwardedOther, http1.XRealIP:
			if !x.trusted {
				continue
			}
		case http1.XForwardedHost, http1.XForwardedProto:
			if !x.trusted {
				continue
			}
		case http1.XForwardedFor:
			if x.trusted && !f.Hop {
				if forwardedFor != nil {
					// Several lines are one list, in their order.
					b = appendField(b, "X-Forwarded-For", forwardedFor)
				}
				forwardedFor = f.Value
			}
			continue
		case http1.Tracestate:
			if !x.traced {
				continue
			}
		case http1.TE:
			trailers = trailers || listHas(f.Value, "trailers")
		}
		if f.Hop || x.route.RequestHeaders.Removes(f.Name) || left > 0 && sameName(f.Name, maxForwards) {
			continue
		}
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = append(b, f.Value...)
		b = append(b, "\r\n"...)
	}
	if left > 0 {
		b = append(b, maxForwards+": "...)
		b = strconv.AppendInt(b, int64(left-1), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "X-Forwarded-For: "...)
	if len(forwardedFor) > 0 {
		b = append(b, forwardedFor...)
		b = append(b, ", "...)
	}
	b = c.remote.AppendTo(b)
	if !x.trusted || r.Get(http1.XForwardedHost) == nil {
		b = append(b, "\r\nX-Forwarded-Host: "...)
		b = append(b, r.Host...)
	}
	if !x.trusted || r.Get(http1.XForwardedProto) == nil {
		b = append(b, "\r\nX-Forwarded-Proto: http"...)
	}
	b = append(b, "\r\nX-Request-Id: "...)
	b = append(b, x.requestID...)
	b = append(b, "\r\nTraceparent: "...)
	b = append(b, x.ids[32:]...)
	b = append(b, "\r\nVia: 1."...)
	b = append(b, byte('0'+r.Minor), ' ')
	b = append(b, pseudonym...)
	b = append(b, "\r\n"...)
	switch {
	case r.Chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case r.ContentLength >= 0:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, r.ContentLength, 10)
		b = append(b, "\r\n"...)
	}
	if r.ExpectContinue {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	switch {
	case r.Upgrade != nil:
		b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
		b = append(b, r.Upgrade...)
		b = append(b, "\r\n"...)
	case trailers:
		b = append(b, "Connection: TE\r\nTE: trailers\r\n"...)
	}
	b = x.route.RequestHeaders.Append(b)
	return append(b, "\r\n"...)
}

// appendResponse appends the head that the client gets.
func (c *client) appendResponse(b []byte, f framing) []byte {
	w := c.w
	res, x := &w.res, &w.x
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(res.Status), 10)
	b = append(b, ' ')
	b = append(b, res.Reason...)
	b = append(b, "\r\n"...)
	for i := range res.Fields {
		f := &res.Fields[i]
		switch f.Kind {
		case http1.ContentLength, http1.TransferEncoding, http1.XRequestID:
			continue
		}
		if f.Hop || x.route.ResponseHeaders.Removes(f.Name) {
			continue
		}
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = append(b, f.Value...)
		b = append(b, "\r\n"...)
	}
	b = append(b, "X-Request-Id: "...)
	b = append(b, x.requestID...)
	b = append(b, "\r\n"...)
	switch f {
	case chunkedFraming:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case lengthFraming:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, res.ContentLength, 10)
		b = append(b, "\r\n"...)
	}
	b = x.route.ResponseHeaders.Append(b)
	return append(c.appendConnection(b), "\r\n"...)
}

// appendConnection appends what the client has to be told of its connection.
func (c *client) appendConnection(b []byte) []byte {
	switch {
	case !c.w.x.keep:
		b = append(b, "Connection: close\r\n"...)
	case c.w.req.Minor == 0:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	return b
}

// appendTrailers ends a chunked body.
func appendTrailers(b []byte, trailers []http1.Field) []byte {
	b = append(b, "0\r\n"...)
	for i := range trailers {
		b = append(b, trailers[i].Name...)
		b = append(b, ": "...)
		b = append(b, trailers[i].Value...)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

func appendField(b []byte, name string, value []byte) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// name gives the request its id and its place in a trace. The id is the
// client's where the client is trusted, and otherwise made here; a trace goes on
// where it is well-formed (W3C Trace Context, section 3.2).
//
// ids holds 32 digits of a request id and, from 32 on, a traceparent.
func (x *exchange) name(r *http1.Request) {
	ids := x.ids[:]
	random(ids[:16])
	random(ids[16:32])
	x.requestID, x.named = ids[:32], false
	if id := r.Get(http1.XRequestID); x.trusted && validID(id) {
		x.requestID, x.named = id, true
	}
	parent := ids[32:]
	if p := r.Get(http1.Traceparent); validParent(p) {
		copy(parent, "00-")
		copy(parent[3:], p[3:36])
		copy(parent[53:], "00")
		if hexValue(p[54])&1 == 1 {
			parent[54] = '1' // the one flag of version 00; others must not be passed on
		}
		x.traced = true
	} else {
		copy(parent, "00-")
		random(parent[3:19])
		random(parent[19:35])
		parent[35] = '-'
		copy(parent[53:], "00")
	}
	random(parent[36:52])
	parent[52] = '-'
}

// random fills 16 bytes with hexadecimal digits.
func random(b []byte) {
	var raw [8]byte
	n := rand.Uint64()
	for i := range raw {
		raw[i] = byte(n >> (8 * i))
	}
	hex.Encode(b, raw[:])
}

const parentLength = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

func validParent(p []byte) bool {
	if len(p) < parentLength || len(p) > parentLength && (string(p[:2]) == "00" || p[parentLength] != '-') || string(p[:2]) == "ff" {
		return false
	}
	zero := true
	for i, c := range p[:parentLength] {
		switch i {
		case 2, 35, 52:
			if c != '-' {
				return false
			}
		default:
			if hexValue(c) > 15 {
				return false
			}
		}
		if i > 2 && i < 35 && c != '0' {
			zero = false
		}
	}
	return !zero && string(p[36:52]) != "0000000000000000"
}

// hexValue is that of a lower-case digit, and 16 for anything else.
func hexValue(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 16
}

// validID accepts the ids of the clouds' load balancers and of W3C: short, and
// nothing that a log could not hold.
func validID(id []byte) bool {
	if len(id) == 0 || len(id) > 128 {
		return false
	}
	for _, c := range id {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// listHas reports whether a comma-separated list holds an option, parameters
// aside.
func listHas(list []byte, option string) bool {
	for len(list) > 0 {
		end := 0
		for end < len(list) && list[end] != ',' {
			end++
		}
		element := list[:end]
		for len(element) > 0 && (element[0] == ' ' || element[0] == '\t') {
			element = element[1:]
		}
		if len(element) >= len(option) && equalFold(element[:len(option)], option) &&
			(len(element) == len(option) || element[len(option)] == ' ' || element[len(option)] == ';' || element[len(option)] == '\t') {
			return true
		}
		if end == len(list) {
			return false
		}
		list = list[end+1:]
	}
	return false
}

// equalFold compares with a lower-case string.
func equalFold(b []byte, lower string) bool {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return len(b) == len(lower)
}
