package ingressclient

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// A decision is the answer of the load balancer's GET /explain.
type decision struct {
	Host       string           `json:"host"`
	NormalPath string           `json:"normal_path"` // empty: the path is refused
	Route      string           `json:"route"`       // empty: none matches
	Why        string           `json:"why"`
	Others     []otherRoute     `json:"others"`
	Redirect   *balanceRedirect `json:"redirect"`
	Forwarded  *forwarded       `json:"forwarded"`
	Pools      []pool           `json:"pools"`
}

type otherRoute struct {
	Route  string `json:"route"`
	WhyNot string `json:"why_not"`
}

type balanceRedirect struct {
	Status   int    `json:"status"`
	Location string `json:"location"` // empty: it cannot be
}

// forwarded is what a target gets, and what is changed for the client.
type forwarded struct {
	Host            string            `json:"host"`
	Path            string            `json:"path"`            // with the query
	RequestHeaders  map[string]string `json:"request_headers"` // "" removes
	ResponseHeaders map[string]string `json:"response_headers"`
}

// A pool is a group of targets, one of which gets the request.
type pool struct {
	Name     string          `json:"name"`
	Weight   int             `json:"weight"`
	Policy   string          `json:"policy"`
	HashedBy string          `json:"hashed_by"`
	Queue    int             `json:"queue"`
	Targets  []balanceTarget `json:"targets"`
}

type balanceTarget struct {
	Address   string `json:"address"`
	State     string `json:"state"`
	Draining  bool   `json:"draining"`
	LastError string `json:"last_error"`
	Resolved  string `json:"resolved"`
	Weight    int    `json:"weight"`
	InFlight  int64  `json:"in_flight"`
	Candidate bool   `json:"candidate"`
}

func (d *decision) complete() bool { return d.Host != "" && d.Why != "" }

// lines tells a decision about a request with this method.
func (d *decision) lines(method string) []string {
	lines := []string{
		"route    " + cmp.Or(d.Route, "none"),
		"because  " + d.Why,
	}
	for i, o := range d.Others {
		if i == maxTold {
			lines = append(lines, fmt.Sprintf("not      %d more", len(d.Others)-i))
			break
		}
		lines = append(lines, "not      "+o.Route+": "+o.WhyNot)
	}
	switch {
	case d.Route == "" && d.NormalPath == "":
		return append(lines, "answer   400, by the load balancer itself")
	case d.Route == "":
		return append(lines, "answer   404, by the load balancer itself")
	case d.Redirect != nil && d.Redirect.Location == "":
		return append(lines, fmt.Sprintf("answer   %d, by the load balancer itself: the redirect would lead nowhere", d.Redirect.Status))
	case d.Redirect != nil:
		return append(lines, fmt.Sprintf("answer   %d, by the load balancer itself: it redirects to %s", d.Redirect.Status, d.Redirect.Location))
	}
	if f := d.Forwarded; f != nil {
		lines = append(lines, fmt.Sprintf("forwards %s %s with Host: %s", method, cmp.Or(f.Path, "/"), f.Host))
		lines = append(lines, changes("to the target", f.RequestHeaders)...)
		lines = append(lines, changes("to the client", f.ResponseHeaders)...)
	}
	sum := 0
	for _, p := range d.Pools {
		sum += p.Weight
	}
	for i := range d.Pools {
		lines = append(lines, d.Pools[i].lines(len(d.Pools), sum)...)
	}
	return lines
}

// changes says which fields of a head are set or removed.
func changes(whose string, fields map[string]string) []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if v := fields[name]; v != "" {
			lines = append(lines, fmt.Sprintf("sets     %s: %s (%s)", name, v, whose))
		} else {
			lines = append(lines, fmt.Sprintf("removes  %s (%s)", name, whose))
		}
	}
	return lines
}

// lines tells who of a pool may get the request. The pool is one of several, whose
// weights have this sum.
func (p *pool) lines(pools, sum int) []string {
	share := ""
	if pools > 1 && sum > 0 {
		share = fmt.Sprintf(", for %.3g %% of the requests", 100*float64(p.Weight)/float64(sum))
	}
	waiting := ""
	if p.Queue > 0 {
		waiting = fmt.Sprintf(", %s waiting", plural(p.Queue, "request is", "requests are"))
	}
	lines := []string{fmt.Sprintf("pool     %s: %s%s%s", p.Name, p.turn(), share, waiting)}
	width, candidates := 0, 0
	for _, t := range p.Targets {
		width = min(max(width, utf8.RuneCountInString(t.Address)), maxColumn)
		if t.Candidate {
			candidates++
		}
	}
	for i := range p.Targets {
		lines = append(lines, p.Targets[i].line(width))
	}
	if candidates == 0 {
		lines = append(lines, "         Nobody gets requests now: the answer is 503, unless a target comes up in time.")
	}
	return lines
}

// turn says how a pool chooses a target.
func (p *pool) turn() string {
	switch p.Policy {
	case "round_robin":
		return "in turn"
	case "least_connections":
		return "the one with the fewest requests first"
	case "random_two":
		return "the less loaded of two drawn by lot"
	case "hash":
		if p.HashedBy == "" || p.HashedBy == "client" {
			return "by the hash of the client's address"
		}
		return "by the hash of the field " + p.HashedBy
	}
	return "by " + p.Policy
}

func (t *balanceTarget) line(width int) string {
	mark := "  "
	if t.Candidate {
		mark = "->"
	}
	parts := []string{t.State}
	if t.Draining {
		parts = append(parts, "draining")
	}
	if t.State != "up" && t.LastError != "" {
		parts = append(parts, t.LastError)
	}
	if t.Resolved != "" {
		parts = append(parts, "at "+t.Resolved)
	}
	if t.Weight > 1 {
		parts = append(parts, fmt.Sprintf("weight %d", t.Weight))
	}
	if t.InFlight > 0 {
		parts = append(parts, plural(int(t.InFlight), "request", "requests")+" under way")
	}
	pad := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(t.Address)))
	return fmt.Sprintf("      %s %s%s  %s", mark, t.Address, pad, strings.Join(parts, ", "))
}
