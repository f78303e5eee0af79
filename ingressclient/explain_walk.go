package ingressclient

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A walk is the answer of the resolver's GET /trace: every step from the root.
type walk struct {
	Name         string  `json:"name"`
	Rcode        string  `json:"rcode"`
	Explanation  string  `json:"explanation"`
	Queries      int     `json:"queries"`
	Milliseconds float64 `json:"milliseconds"`
	Steps        []step  `json:"steps"`
	More         int     `json:"more"`
}

// A step of a walk is something "known", a "query" to a name server, or a "note".
type step struct {
	Kind         string          `json:"kind"`
	Depth        int             `json:"depth"` // how many look-ups of name servers it is inside of
	Name         string          `json:"name"`
	Type         string          `json:"type"`
	Why          string          `json:"why"`
	Zone         string          `json:"zone"`
	Server       string          `json:"server"`
	Address      string          `json:"address"`
	Reached      string          `json:"reached"`
	Transport    string          `json:"transport"`
	Queries      int             `json:"queries"`
	Notes        []string        `json:"notes"`
	Response     *response       `json:"response"`
	Outcome      string          `json:"outcome"`
	Reason       string          `json:"reason"`
	Accepted     []string        `json:"accepted"`
	Refused      []refusedRecord `json:"refused"`
	Milliseconds float64         `json:"milliseconds"`
}

// A response is the head of what came back; a step has none where nothing did.
type response struct {
	Rcode string   `json:"rcode"`
	Flags []string `json:"flags"` // "aa", "tc" …
}

// A refusedRecord was sent, and not believed.
type refusedRecord struct {
	Record string `json:"record"`
	Reason string `json:"reason"`
}

func (w *walk) complete() bool { return w.Name != "" && w.Rcode != "" }

// maxColumn is the width up to which the columns of a walk are aligned.
const maxColumn = 60

// lines tells a walk: a line for who is asked for what, and below it what came
// back.
func (w *walk) lines() []string {
	lines := []string{fmt.Sprintf("walk    from the root, as if the cache were empty: %s, %.1f ms", plural(w.Queries, "query", "queries"), w.Milliseconds)}
	rows := make([][]string, len(w.Steps))
	var widths [4]int
	n := 0
	for i := range w.Steps {
		if w.Steps[i].Kind != "query" {
			continue
		}
		n++
		rows[i] = w.Steps[i].row(n)
		for j, cell := range rows[i] {
			widths[j] = min(max(widths[j], utf8.RuneCountInString(cell)), maxColumn)
		}
	}
	// What came back stands below the server.
	below := strings.Repeat(" ", 2+widths[0]+2)
	for i := range w.Steps {
		if rows[i] == nil {
			lines = append(lines, below+w.Steps[i].remark())
			continue
		}
		line := "  "
		for j, cell := range rows[i] {
			line += cell + strings.Repeat(" ", max(0, widths[j]-utf8.RuneCountInString(cell))) + "  "
		}
		lines = append(lines, line)
		for _, text := range w.Steps[i].came() {
			lines = append(lines, below+text)
		}
	}
	if w.More > 0 {
		lines = append(lines, fmt.Sprintf("%sand %s that the resolver has not kept", below, plural(w.More, "further step", "further steps")))
	}
	if w.Rcode != "NOERROR" && w.Rcode != "NXDOMAIN" || w.Explanation != "" {
		lines = append(lines, strings.TrimSuffix("result  "+w.Rcode+": "+w.Explanation, ": "))
	}
	return lines
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// row is the line of a query, in columns: the number and the zone, the server, what
// it is asked, and the time.
func (s *step) row(number int) []string {
	zone := shortNames(s.Zone)
	if s.Zone == "." {
		zone = ". (root)"
	}
	asked := "asked for "
	if slices.ContainsFunc(s.reasons(), minimised) {
		asked = "asked only for "
	}
	cost := fmt.Sprintf("%.1f ms", s.Milliseconds)
	if s.Transport != "" && s.Transport != "udp" {
		cost += " over " + strings.ToUpper(s.Transport)
	}
	if s.Queries > 1 {
		cost += fmt.Sprintf(", %d messages", s.Queries)
	}
	inside := strings.Repeat("  ", min(max(s.Depth, 0), maxTold))
	return []string{fmt.Sprintf("%s%d  %s", inside, number, zone), s.who(), asked + shortNames(s.Name) + " " + s.Type, cost}
}

// who is the server: its name, its address, and where that is really reached.
func (s *step) who() string {
	parts := []string{}
	for _, part := range []string{shortNames(s.Server), s.Address} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return s.Reached
	}
	who := strings.Join(parts, ", ")
	if s.Reached != "" && s.Reached != net.JoinHostPort(s.Address, "53") {
		who += " (" + s.Reached + ")"
	}
	return who
}

// reasons are those of a step, a sentence each.
func (s *step) reasons() []string { return strings.Split(s.Why, "; ") }

// minimised reports whether a reason is that the server is asked for a part of the
// name alone.
func minimised(reason string) bool { return strings.HasPrefix(reason, "minimised: ") }

// remark is the line of a step that is no query.
func (s *step) remark() string {
	if s.Kind != "known" {
		return cmp.Or(s.Kind, "note") + ": " + s.Why
	}
	text := "known: " + shortNames(s.Name) + " " + s.Type + ", " + s.Why
	if len(s.Accepted) > 0 {
		text += ": " + told(s.Accepted)
	}
	return text
}

// came is what came back, and what was made of it.
func (s *step) came() []string {
	var lines []string
	// The zone's column says where the resolver has come; minimising, the word "only".
	for _, why := range s.reasons() {
		if why != "" && why != "the closest known servers are those of "+s.Zone && !minimised(why) {
			lines = append(lines, "why: "+why)
		}
	}
	for _, note := range s.Notes {
		lines = append(lines, "note: "+note)
	}
	lines = append(lines, "-> "+s.result())
	for i, r := range s.Refused {
		if i == maxTold {
			lines = append(lines, fmt.Sprintf("refused: %d records more", len(s.Refused)-i))
			break
		}
		lines = append(lines, "refused: "+told([]string{r.Record})+": "+r.Reason)
	}
	return lines
}

// result is what a query came to.
func (s *step) result() string {
	switch s.Outcome {
	case "referral":
		return "referral: " + s.referral()
	case "answer":
	default:
		return s.Outcome + ": the server " + cmp.Or(s.Reason, "was of no use")
	}
	word := "answer"
	if s.Response != nil && slices.Contains(s.Response.Flags, "aa") {
		word = "answer with authority"
	}
	var records []string
	denial := ""
	for _, text := range s.Accepted {
		if r, ok := parseRecord(text); ok && r.kind == "SOA" && s.Type != "SOA" {
			denial = denialOf(r)
			continue
		}
		records = append(records, text)
	}
	switch {
	case s.Response != nil && s.Response.Rcode == "NXDOMAIN":
		denial = "there is no such name" + denial
	case denial != "" || len(records) == 0:
		denial = "there is no such record" + denial
	}
	parts := []string{}
	if len(records) > 0 {
		parts = append(parts, told(records))
	}
	if denial != "" {
		parts = append(parts, denial)
	}
	return word + ": " + strings.Join(parts, "; ")
}

// denialOf says for how long "there is none" may be kept (RFC 2308, section 5):
// the smaller one of the SOA record's own time and its last number.
func denialOf(soa record) string {
	fields := strings.Fields(soa.data)
	keep := soa.ttl
	if len(fields) > 0 {
		if minimum, err := strconv.ParseUint(fields[len(fields)-1], 10, 32); err == nil {
			keep = min(keep, minimum)
		}
	}
	return fmt.Sprintf(", which may be kept for %s (SOA of %s)", span(keep), shortNames(soa.name))
}

// referral says who serves the zone below, and where, by the glue.
func (s *step) referral() string {
	glue := map[string][]string{}
	var servers []record
	for _, text := range s.Accepted {
		switch r, _ := parseRecord(text); r.kind {
		case "NS":
			servers = append(servers, r)
		case "A", "AAAA":
			glue[shortNames(r.name)] = append(glue[shortNames(r.name)], r.data)
		}
	}
	if len(servers) == 0 {
		return cmp.Or(told(s.Accepted), "to nobody")
	}
	parts := make([]string, len(servers))
	for i, ns := range servers {
		parts[i] = ns.data
		if at := glue[ns.data]; len(at) > 0 {
			parts[i] += " at " + strings.Join(at, " and ")
		} else {
			parts[i] += " (no address told)"
		}
	}
	return fmt.Sprintf("%s is served by %s (TTL %s)", shortNames(servers[0].name), few(parts), span(servers[0].ttl))
}

// told writes records for people: "example.com A 127.0.0.1 (TTL 30 s)".
func told(texts []string) string {
	parts := make([]string, len(texts))
	for i, text := range texts {
		parts[i] = text
		if r, ok := parseRecord(text); ok {
			parts[i] = fmt.Sprintf("%s %s %s (TTL %s)", shortNames(r.name), r.kind, r.data, span(r.ttl))
		}
	}
	return few(parts)
}
