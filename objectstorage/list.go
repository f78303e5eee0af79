package objectstorage

import (
	"bytes"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"minicloud.internal/kit"
	"minicloud.internal/objectstorage/client"
	"minicloud.internal/objectstorage/store"
)

// maxLimit is the most entries of a page, and the default, as S3 has it.
const maxLimit = 1000

type listing struct {
	Prefix   string   `json:"prefix"`
	Objects  []object `json:"objects"`
	Prefixes []string `json:"prefixes"`
	Next     string   `json:"next"` // empty: this is the last page
}

type object struct {
	Key          string    `json:"key"`
	Size         int64     `json:"size"`
	ETag         string    `json:"etag"`
	LastModified time.Time `json:"last_modified"`
	ContentType  string    `json:"content_type"`
}

// list answers GET /files/ with a page of the listing, as JSON, or as HTML for
// those who prefer that.
func (d *door) list(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	page, err := d.store.List(r.Context(), filesBucket, q)
	if err != nil {
		return err
	}
	l := listing{Prefix: q.Prefix, Objects: []object{}, Prefixes: []string{}, Next: page.Next}
	l.Prefixes = append(l.Prefixes, page.Prefixes...)
	for _, i := range page.Objects {
		l.Objects = append(l.Objects, object{i.Key, i.Size, i.ETag, i.Modified, i.ContentType})
	}
	w.Header().Set("Vary", "Accept")
	w.Header().Set("Cache-Control", "no-cache")
	if !prefersHTML(r.Header.Values("Accept")) {
		kit.WriteJSON(w, http.StatusOK, l)
		return nil
	}
	next := ""
	if l.Next != "" {
		next = url.Values{"prefix": {q.Prefix}, "delimiter": {q.Delimiter}, "limit": {strconv.Itoa(q.Limit)}, "after": {l.Next}}.Encode()
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write(l.page(q.Delimiter, next))
	return nil
}

// parseQuery reads the parameters of a listing: prefix, delimiter, limit (1 to
// 1000) and after. An error is a [*kit.Problem] with status 400.
func parseQuery(raw string) (store.Query, error) {
	q := store.Query{Limit: maxLimit}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, kit.Problemf(http.StatusBadRequest, "the query is malformed: %v", err)
	}
	for name, v := range values {
		value := v[0]
		switch {
		case len(v) > 1:
			return q, kit.Problemf(http.StatusBadRequest, "the query parameter %q is given %d times, expected once", name, len(v))
		case !utf8.ValidString(value):
			return q, kit.Problemf(http.StatusBadRequest, "the query parameter %q is not valid UTF-8", name)
		case len(value) > store.MaxKey:
			return q, kit.Problemf(http.StatusBadRequest, "the query parameter %q has %d bytes, expected at most %d", name, len(value), store.MaxKey)
		}
		switch name {
		case "prefix":
			q.Prefix = value
		case "delimiter":
			q.Delimiter = value
		case "after":
			q.After = value
		case "limit":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > maxLimit {
				return q, kit.Problemf(http.StatusBadRequest, "limit is %q, expected a number from 1 to %d", value, maxLimit)
			}
			q.Limit = n
		default:
			return q, kit.Problemf(http.StatusBadRequest, "the query parameter %q is not known, expected prefix, delimiter, limit or after", name)
		}
	}
	return q, nil
}

// prefersHTML reports whether text/html has a higher quality in an Accept field
// (RFC 9110, section 12.5.1) than application/json. The more specific of two
// ranges counts.
func prefersHTML(accept []string) bool {
	quality := func(typ, group string) float64 {
		best, specific := 0.0, -1
		for _, item := range strings.Split(strings.Join(accept, ","), ",") {
			params := strings.Split(item, ";")
			level := -1
			switch strings.ToLower(strings.TrimSpace(params[0])) {
			case typ:
				level = 2
			case group:
				level = 1
			case "*/*":
				level = 0
			}
			if level < 0 || level < specific {
				continue
			}
			q := 1.0
			for _, p := range params[1:] {
				name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
				if n, err := strconv.ParseFloat(value, 64); strings.EqualFold(name, "q") && err == nil {
					q = n
				}
			}
			best, specific = q, level
		}
		return best
	}
	return quality("text/html", "text/*") > quality("application/json", "application/*")
}

// page is a small page for people: prefixes to follow, objects to open. next is the
// query of the page behind it, if there is one.
//
// It is written by hand, since with html/template, which calls methods by their
// names, the linker keeps every exported method of every type in the program: a quarter
// of the binary, and 3 MB of what the process holds.
func (l *listing) page(delimiter, next string) []byte {
	var b bytes.Buffer
	text := html.EscapeString
	fmt.Fprintf(&b, `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>files: %[1]s</title>
<style>body{font-family:sans-serif;margin:2em}td{padding:.1em 1em .1em 0}td:nth-child(2){text-align:right}</style></head><body>
<h1>/files/ %[1]s</h1>
<p><a href="/files/">all</a> <a href="/files/?delimiter=%%2F">by folder</a></p>
<table>
`, text(l.Prefix))
	for _, prefix := range l.Prefixes {
		query := url.Values{"prefix": {prefix}, "delimiter": {delimiter}}.Encode()
		fmt.Fprintf(&b, "<tr><td><a href=\"/files/?%s\">%s</a></td><td></td><td></td><td></td></tr>\n", text(query), text(prefix))
	}
	for _, o := range l.Objects {
		fmt.Fprintf(&b, "<tr><td><a href=\"%s\">%s</a></td><td>%d</td><td>%s</td><td>%s</td></tr>\n",
			text(client.Path(o.Key)), text(o.Key), o.Size, o.LastModified.Format(time.DateTime), text(o.ContentType))
	}
	if len(l.Objects)+len(l.Prefixes) == 0 {
		b.WriteString("<tr><td>no objects</td></tr>\n")
	}
	b.WriteString("</table>\n")
	if next != "" {
		fmt.Fprintf(&b, "<p><a href=\"/files/?%s\">next page</a></p>\n", text(next))
	}
	b.WriteString("</body></html>\n")
	return b.Bytes()
}
