package engine

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"minicloud.internal/kit"
	"minicloud.internal/lb/http1"
)

// A fault is an answer of the load balancer's own. As an error it says that no
// target could help.
type fault struct {
	status     int
	reason     Reason
	detail     string
	retryAfter time.Duration // 0: nothing is said of it
}

func (f fault) Error() string { return f.detail }

// after tells the client when to try again.
func (f fault) after(d time.Duration) fault {
	f.retryAfter = d
	return f
}

func refusal(status int, reason Reason, detail string) fault {
	return fault{status: status, reason: reason, detail: detail}
}

var errHeadLate = &http1.Error{Status: 408, Reason: "The head of the request did not arrive in time."}

// refuse answers what could not be read as a request, and gives the connection
// up: where the next one begins is anyone's guess.
func (c *client) refuse(err *http1.Error) {
	c.acquire()
	w := c.w
	x := &w.x
	*x = exchange{s: c.e.settings.Load(), recorder: c.e.recorder.Load(), start: c.since}
	w.req = http1.Request{Message: http1.Message{Fields: w.req.Fields[:0], Minor: 1}}
	x.name(&w.req)
	c.answer(refusal(err.Status, Refused, err.Reason))
	c.account(x.at - x.start)
	x.s, x.recorder = nil, nil
}

// answer answers with a problem document (RFC 9457), unless the client has got a
// part of another answer.
func (c *client) answer(f fault) {
	x := &c.w.x
	if x.started {
		x.keep = false
		return
	}
	p := kit.Problem{Title: http.StatusText(f.status), Status: f.status, Detail: f.detail, RequestID: string(x.requestID)}
	doc, _ := json.Marshal(&p)
	x.reason = f.reason
	if f.reason == Refused && f.status != 404 && f.status != 413 || f.status == 408 {
		x.keep = false
	}
	var more []byte
	if f.retryAfter > 0 {
		more = strconv.AppendInt(append(more, "Retry-After: "...), int64((f.retryAfter+time.Second-1)/time.Second), 10)
		more = append(more, "\r\n"...)
	}
	c.respond(f.status, "application/problem+json", more, append(doc, '\n'))
}

// respond writes an answer of our own.
func (c *client) respond(status int, contentType string, more, content []byte) {
	w := c.w
	x := &w.x
	r := &w.req
	if r.Chunked || r.ContentLength > int64(w.w-w.r) || x.body != nil {
		if x.body == nil || !x.body.ended {
			x.keep = false // the body is not read
		}
	} else if x.in == 0 && r.ContentLength > 0 {
		w.r += int(r.ContentLength)
	}
	x.linger = !x.keep
	b := append(w.out[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nContent-Type: "...)
	b = append(b, contentType...)
	b = append(b, "\r\nX-Content-Type-Options: nosniff\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(content)), 10)
	b = append(b, "\r\nX-Request-Id: "...)
	b = append(b, x.requestID...)
	b = append(b, "\r\n"...)
	b = append(b, more...)
	b = append(c.appendConnection(b), "\r\n"...)
	if !r.Head {
		b = append(b, content...)
		x.out = int64(len(content))
	}
	w.out = b
	x.at = now()
	x.started, x.status, x.firstByte = true, status, x.at
	if c.write(b, orDefault(x)) != nil {
		x.keep, x.reason = false, ClientAborted
	}
	w.out = w.out[:0]
}

// orDefault is how long an answer of our own may stand still.
func orDefault(x *exchange) time.Duration {
	if x.route != nil {
		return x.route.BodyIdleTimeout
	}
	return x.s.BodyIdle
}

// answerHealth answers for the load balancer itself.
func (c *client) answerHealth() {
	c.w.x.reason = Local
	status, text := c.e.health.Status()
	c.respond(status, "text/plain; charset=utf-8", []byte("Cache-Control: no-store\r\n"), []byte(text+"\n"))
}

// answerLast answers an OPTIONS or TRACE that may go no further.
func (c *client) answerLast() {
	if string(c.w.req.Method) == "TRACE" {
		c.answer(refusal(405, Refused, "This load balancer does not answer TRACE."))
		return
	}
	c.w.x.reason = Local
	c.respond(200, "text/plain; charset=utf-8", nil, nil)
}

func (c *client) answerRedirect() {
	r, x := &c.w.req, &c.w.x
	x.reason = Local
	query := r.Query
	if len(query) > 0 {
		query = query[1:]
	}
	location, ok := x.route.AppendLocation([]byte("Location: "), r.Host, r.Path, query)
	if !ok {
		c.answer(fault{status: 400, reason: Refused, detail: "The Host is none that a redirect can lead to."})
		return
	}
	c.respond(x.route.RedirectStatus, "text/plain; charset=utf-8", append(location, "\r\n"...), []byte(http.StatusText(x.route.RedirectStatus)+"\n"))
}
