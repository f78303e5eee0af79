package ingressclient

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// A watch keeps the questions of a run in order, and what the resolver's cache
// held before them. A nil one keeps nothing. It is for one goroutine.
type watch struct {
	admin *admin
	asked []*question
	held  map[string]*held // by name
}

// A question is what was asked of the resolver.
type question struct {
	name  string // with the final dot
	qtype uint16
	// outcome is nil where the answer was late, and not waited for.
	outcome *outcome
}

// inOrder is the order in which the questions are told.
var inOrder = []uint16{dns.TypeSRV, dns.TypeA, dns.TypeAAAA}

// before takes note of questions, and looks up what the cache holds of their
// names, unless it has done so. It is called before they are asked.
func (w *watch) before(ctx context.Context, questions map[uint16]string) {
	if w == nil {
		return
	}
	for _, qtype := range inOrder {
		name, ok := questions[qtype]
		name = dns.Fqdn(name)
		if !ok || w.find(name, qtype) != nil {
			continue
		}
		w.asked = append(w.asked, &question{name: name, qtype: qtype})
		if _, known := w.held[name]; known {
			continue
		}
		w.held[name] = nil
		var h held
		if w.admin.get(ctx, "/cache", url.Values{"name": {name}}, &h) == nil {
			w.held[name] = &h
		}
	}
}

// heard takes note of what a question came to.
func (w *watch) heard(name string, qtype uint16, o outcome) {
	if w == nil {
		return
	}
	if q := w.find(dns.Fqdn(name), qtype); q != nil {
		q.outcome = &o
	}
}

// find returns the question about a name, which has its final dot; nil where it was
// not asked.
func (w *watch) find(name string, qtype uint16) *question {
	i := slices.IndexFunc(w.asked, func(q *question) bool { return q.name == name && q.qtype == qtype })
	if i < 0 {
		return nil
	}
	return w.asked[i]
}

func typeName(qtype uint16) string { return dns.Type(qtype).String() }

// meaning says a question in words.
func (q *question) meaning() string {
	switch q.qtype {
	case dns.TypeSRV:
		service, rest, _ := strings.Cut(strings.TrimPrefix(q.name, "_"), "._tcp.")
		return fmt.Sprintf("on which port is %s of %s served?", service, shortNames(rest))
	case dns.TypeA:
		return "which IPv4 addresses does it have?"
	}
	return "which IPv6 addresses does it have?"
}

// said is what the resolver answered.
func (q *question) said() string {
	o := q.outcome
	switch {
	case o == nil:
		return "late, and not needed: not waited for"
	case errors.Is(o.err, context.DeadlineExceeded):
		return "none in time"
	case o.err != nil:
		return "none: " + o.err.Error()
	case o.rcode == dns.RcodeNameError:
		return "there is no such name, in " + millis(o.took)
	case len(o.records) == 0:
		return "there is no such record, in " + millis(o.took)
	}
	texts := make([]string, len(o.records))
	for i, rr := range o.records {
		texts[i] = strings.ReplaceAll(rr.String(), "\t", " ")
	}
	alias := ""
	if o.owner != q.name {
		alias = "another name for " + shortNames(o.owner) + ": "
	}
	return alias + dataOf(texts) + ", in " + millis(o.took)
}

// A record is one in the form of a zone file, taken apart.
type record struct {
	name, kind, data string
	ttl              uint64
}

// parseRecord reads "example.com. 30 IN A 127.0.0.1". It reports false for
// anything else.
func parseRecord(text string) (record, bool) {
	fields := strings.SplitN(text, " ", 5)
	if len(fields) < 5 {
		return record{}, false
	}
	ttl, err := strconv.ParseUint(fields[1], 10, 32)
	return record{fields[0], fields[3], shortNames(fields[4]), ttl}, err == nil
}

// meaning is the data of a record in words.
func (r record) meaning() string {
	if fields := strings.Fields(r.data); r.kind == "SRV" && len(fields) == 4 {
		return fmt.Sprintf("port %s of %s (priority %s, weight %s)", fields[2], fields[3], fields[0], fields[1])
	}
	return r.data
}

// maxTold bounds how many records of one kind are told.
const maxTold = 8

// dataOf tells the data of records without their name, and the shortest time for
// which they may be kept.
func dataOf(texts []string) string {
	var told []string
	shortest := uint64(1 << 32)
	for _, text := range texts {
		r, ok := parseRecord(text)
		if !ok {
			told = append(told, text)
			continue
		}
		told = append(told, r.meaning())
		shortest = min(shortest, r.ttl)
	}
	s := few(told)
	if shortest < 1<<32 {
		s += " (TTL " + span(shortest) + ")"
	}
	return s
}

// few joins parts, and counts those that are too many.
func few(parts []string) string {
	if more := len(parts) - maxTold; more > 0 {
		parts = append(slices.Clone(parts[:maxTold]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ", ")
}

// A held is the answer of the resolver's GET /cache?name=.
type held struct {
	Name    string  `json:"name"`
	Entries []entry `json:"entries"`
	Closest struct {
		Zone    string   `json:"zone"`
		Servers []string `json:"servers"`
	} `json:"closest_zone"`
}

// An entry is what the cache holds of a name and a type, or of all types.
type entry struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Says    string   `json:"says"`
	State   string   `json:"state"`
	TTL     uint64   `json:"ttl"`
	Source  string   `json:"source"`
	Rank    string   `json:"rank"`
	Records []string `json:"records"`
	Reason  string   `json:"reason"`
}

func (h *held) complete() bool { return h.Name != "" }

// lines says what the cache held that bears on a question, a line an entry.
func (h *held) lines(name string, qtype uint16) []string {
	var lines []string
	for _, e := range h.Entries {
		covers := e.Type == typeName(qtype) || e.Type == "CNAME" || e.Name != name || e.Says == "no such name"
		if covers && len(lines) < maxTold {
			lines = append(lines, "cache   "+e.sentence())
		}
	}
	switch servers := few(shorten(h.Closest.Servers)); {
	case len(lines) > 0:
	case h.Closest.Zone == "" || h.Closest.Zone == ".":
		lines = []string{"cache   had nothing of it, and knew the servers of no zone but the root"}
	default:
		lines = []string{fmt.Sprintf("cache   had nothing of it, but knew who serves %s (%s)", shortNames(h.Closest.Zone), servers)}
	}
	return lines
}

// sentence goes on after "the cache".
func (e *entry) sentence() string {
	what := ""
	switch e.Says {
	case "records":
		data := make([]string, len(e.Records))
		for i, text := range e.Records {
			data[i] = text
			if r, ok := parseRecord(text); ok {
				data[i] = r.meaning()
			}
		}
		what = "had " + few(data)
		if e.Type == "CNAME" {
			what = "had another name for it, " + few(data)
		}
	case "no such name":
		what = "knew that " + shortNames(e.Name) + " does not exist"
	case "no such type":
		what = "knew that there is no such record"
	default:
		what = "had a " + e.Says
		if e.Reason != "" {
			what += " (" + e.Reason + ")"
		}
	}
	if e.Source != "" {
		what += ", from " + e.Source
	}
	if e.Rank != "" && e.Rank != "answer" {
		what += " (" + e.Rank + ")"
	}
	if e.State == "fresh" {
		return what + ", good for " + span(e.TTL) + " more"
	}
	return what + ", " + e.State + ": to be used only where no server answers"
}

func shorten(names []string) []string {
	short := make([]string, len(names))
	for i, n := range names {
		short[i] = shortNames(n)
	}
	return short
}
