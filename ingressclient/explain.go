package ingressclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// An explainer is one run of --explain.
type explainer struct {
	*command
	*page
	target *target
	req    *http.Request // as it would be sent
	// walker is the resolver's admin listener, balancer the load balancer's.
	walker, balancer *admin
	where            place
	nowhere          error // why there is no place
}

// explainRequest says on standard output what would become of the request for t:
// the questions to the resolver with the resolver's own walk, the address and
// port, and the load balancer's decision. It asks the resolver and two admin
// listeners, and connects to nobody else.
func (c *command) explainRequest(ctx context.Context, t *target) error {
	req, err := c.request(ctx, t, t, c.chooseMethod(), nil)
	if err != nil {
		return err
	}
	x := &explainer{
		command: c, page: &page{w: c.stdout}, target: t, req: req,
		walker: &admin{
			who: "The resolver's admin listener", missing: "what the resolver does is missing here",
			setting: resolverAdminSetting, address: c.resolverAdmin, timeout: c.connectTimeout,
		},
		balancer: &admin{
			who: "The load balancer's admin listener", missing: "its decision is missing here",
			setting: lbAdminSetting, address: c.lbAdmin, timeout: c.connectTimeout,
		},
	}
	x.line(0, "%s %s", req.Method, t.url)
	x.line(0, "This is what would happen. Nothing is sent to the service.")
	for _, part := range []func(context.Context){x.find, x.tellQuestions, x.tellPlace, x.tellDecision} {
		part(ctx)
		if err := c.cutShort(ctx, "Explaining "+t.host); err != nil {
			return err
		}
		if x.page.err != nil {
			return writeFailure("standard output", x.page.err)
		}
	}
	if !x.walker.answered && !x.balancer.answered {
		return failf(exitConnect, "The cloud explains nothing: no admin listener answered").
			withHint(`"make up" starts the cloud, and "make status" shows its admin listeners`)
	}
	return nil
}

// find finds out where to connect, as open does. What the cache holds is looked up
// first: the questions change it.
func (x *explainer) find(ctx context.Context) {
	x.watch = &watch{admin: x.walker, held: map[string]*held{}}
	if plan := x.plan(x.target); len(plan.given) == 0 {
		x.watch.before(ctx, x.questions(plan.host, plan.service))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, x.connectTimeout, errConnectTime)
	defer cancel()
	x.where, x.nowhere = x.locate(ctx, x.target)
}

// tellQuestions is the part on DNS.
func (x *explainer) tellQuestions(ctx context.Context) {
	x.heading("1. DNS: where is %s?", x.target.host)
	if len(x.watch.asked) == 0 {
		x.line(3, "No question: it is known without, as 2 says.")
		return
	}
	for _, text := range []string{
		"ingressclient asks the resolver " + x.resolver + ". That one walks down from the root: a name server",
		"that does not have the answer knows who is closer to it: a referral. None is told more of the",
		"question than it needs (RFC 9156). In parentheses stands where it is really reached.",
	} {
		x.line(3, "%s", text)
	}
	blamed := false
	for _, q := range x.watch.asked {
		if trouble := x.walker.sentence(); trouble != "" && !blamed {
			blamed = true
			x.line(0, "")
			x.line(3, "%s", trouble)
		}
		x.line(0, "")
		x.line(3, "%s %s  %s", typeName(q.qtype), shortNames(q.name), q.meaning())
		if h := x.watch.held[q.name]; h != nil {
			x.lines(5, h.lines(q.name, q.qtype))
		}
		x.line(5, "answer  %s", q.said())
		x.lines(5, x.walk(ctx, q))
		if ended(ctx) != nil {
			return
		}
	}
	if trouble := x.walker.sentence(); trouble != "" && !blamed {
		x.line(0, "")
		x.line(3, "%s", trouble)
	}
}

// walk asks the resolver to find the answer to a question from the root.
func (x *explainer) walk(ctx context.Context, q *question) []string {
	var w walk
	err := x.walker.get(ctx, "/trace", url.Values{"name": {q.name}, "type": {typeName(q.qtype)}}, &w)
	if no, ok := errors.AsType[*declined](err); ok {
		return []string{"walk    none: " + no.detail}
	}
	if err != nil {
		return nil
	}
	return w.lines()
}

// tellPlace is the part on addresses and ports.
func (x *explainer) tellPlace(context.Context) {
	x.heading("2. Where does the request go?")
	if x.nowhere != nil {
		x.line(3, "nowhere  %s", x.nowhere)
		if f, ok := errors.AsType[*failure](x.nowhere); ok && f.hint != "" {
			x.line(3, "hint     %s", f.hint)
		}
	} else {
		x.line(3, "to       %s", x.where.addrs[0])
		for _, addr := range x.where.addrs[1:] {
			x.line(3, "or       %s, where that fails", addr)
		}
	}
	for _, why := range x.why {
		x.line(3, "because  %s", why)
	}
	if x.srvTrouble != nil {
		x.line(3, "though   the question for the SRV record failed: %v", x.srvTrouble)
	}
	if x.nowhere == nil {
		x.line(3, "with     Host: %s, whatever the address", x.req.Host)
		if x.target.url.Scheme == "https" {
			x.line(3, "over     TLS, which asks for a certificate of %s", x.target.host)
		}
	}
}

// tellDecision is the part on the load balancer.
func (x *explainer) tellDecision(ctx context.Context) {
	x.heading("3. What does the load balancer do with it?")
	u := *x.target.url
	u.Host = x.req.Host
	var d decision
	err := x.balancer.get(ctx, "/explain", url.Values{"url": {u.String()}}, &d)
	if no, ok := errors.AsType[*declined](err); ok {
		x.line(3, "It does not say: %s", no.detail)
		return
	}
	if err != nil {
		x.line(3, "%s", x.balancer.sentence())
		return
	}
	switch {
	case x.nowhere != nil:
		x.line(3, "The request does not come here. If it did:")
	case x.where.fromSRV == "":
		x.line(3, "No SRV record says that the load balancer is at %s. If it is:", x.where.addrs[0])
	}
	x.lines(3, d.lines(x.req.Method))
}

// A page is what --explain prints. After an error of the writer it prints nothing
// more.
type page struct {
	w   io.Writer
	err error
}

// heading begins a part.
func (p *page) heading(format string, args ...any) {
	p.line(0, "")
	p.line(0, format, args...)
	p.line(0, "")
}

// line prints a line. Whatever of it comes from the network cannot play with the
// reader's terminal.
func (p *page) line(indent int, format string, args ...any) {
	if p.err == nil {
		text := strings.TrimRight(strings.Repeat(" ", indent)+printable(fmt.Sprintf(format, args...)), " ")
		_, p.err = io.WriteString(p.w, text+"\n")
	}
}

func (p *page) lines(indent int, lines []string) {
	for _, l := range lines {
		p.line(indent, "%s", l)
	}
}

// span writes seconds in the largest unit that loses nothing.
func span(seconds uint64) string {
	switch {
	case seconds == 0:
	case seconds%(24*60*60) == 0:
		return strconv.FormatUint(seconds/(24*60*60), 10) + " d"
	case seconds%(60*60) == 0:
		return strconv.FormatUint(seconds/(60*60), 10) + " h"
	case seconds%60 == 0:
		return strconv.FormatUint(seconds/60, 10) + " min"
	}
	return strconv.FormatUint(seconds, 10) + " s"
}
