package objectstorage

import (
	"bytes"
	"html/template"
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
		next = "?" + url.Values{"prefix": {q.Prefix}, "delimiter": {q.Delimiter}, "limit": {strconv.Itoa(q.Limit)}, "after": {l.Next}}.Encode()
	}
	var html bytes.Buffer
	if err := listPage.Execute(&html, map[string]any{"Listing": l, "Delimiter": q.Delimiter, "Next": next}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write(html.Bytes())
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

// listPage is a small page for people: prefixes to follow, objects to open.
var listPage = template.Must(template.New("list").Funcs(template.FuncMap{
	"path": client.Path,
	"prefixQuery": func(prefix, delimiter string) string {
		return "?" + url.Values{"prefix": {prefix}, "delimiter": {delimiter}}.Encode()
	},
}).Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>files: {{.Listing.Prefix}}</title>
<style>body{font-family:sans-serif;margin:2em}td{padding:.1em 1em .1em 0}td:nth-child(2){text-align:right}</style></head><body>
<h1>/files/ {{.Listing.Prefix}}</h1>
<p><a href="/files/">all</a> <a href="/files/?delimiter=%2F">by folder</a></p>
<table>
{{- range .Listing.Prefixes}}
<tr><td><a href="/files/{{prefixQuery . $.Delimiter}}">{{.}}</a></td><td></td><td></td><td></td></tr>
{{- end}}
{{- range .Listing.Objects}}
<tr><td><a href="{{path .Key}}">{{.Key}}</a></td><td>{{.Size}}</td><td>{{.LastModified.Format "2006-01-02 15:04:05"}}</td><td>{{.ContentType}}</td></tr>
{{- else}}{{if not .Listing.Prefixes}}
<tr><td>no objects</td></tr>{{end}}
{{- end}}
</table>
{{- with .Next}}
<p><a href="/files/{{.}}">next page</a></p>
{{- end}}
</body></html>
`))
