package ingressclient

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
)

// A formPart is one -F.
type formPart struct {
	name        string
	text        string
	file        string // "-": standard input
	asText      bool   // <FILE: the file's content is the value
	filename    string
	contentType string
}

// parseFormPart reads NAME=TEXT, NAME=@FILE or NAME=<FILE, followed by
// ;type=TYPE and ;filename=NAME. A text, file or file name in double quotes may
// hold anything, with \" and \\ for these two.
func parseFormPart(s string) (formPart, error) {
	name, content, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return formPart{}, fmt.Errorf("is %q, expected NAME=TEXT, NAME=@FILE or NAME=<FILE", s)
	}
	p := formPart{name: name}
	params := ""
	switch {
	case strings.HasPrefix(content, "@"), strings.HasPrefix(content, "<"):
		p.asText = content[0] == '<'
		p.file, params = cutQuoted(content[1:])
		if p.file == "" {
			return formPart{}, fmt.Errorf("is %q, which names no file", s)
		}
		if !p.asText {
			p.filename = filepath.Base(p.file)
		}
	case strings.HasPrefix(content, `"`):
		p.text, params = cutQuoted(content)
	default:
		// Only a parameter ends a plain text: a semicolon alone belongs to it.
		end := len(content)
		for _, mark := range []string{";type=", ";filename="} {
			if i := strings.Index(content, mark); i >= 0 {
				end = min(end, i)
			}
		}
		p.text, params = content[:end], content[end:]
	}
	if err := p.parameters(params); err != nil {
		return formPart{}, fmt.Errorf("is %q, %w", s, err)
	}
	return p, nil
}

// parameters reads what follows the content. A parameter that is not ours
// belongs to the media type before it: ;type=text/plain;charset=utf-8.
func (p *formPart) parameters(s string) error {
	for inType := false; s != ""; {
		rest, ok := strings.CutPrefix(s, ";")
		if !ok {
			return fmt.Errorf("where %q should begin with a semicolon", s)
		}
		key, after, _ := strings.Cut(rest, "=")
		switch key = strings.TrimSpace(key); {
		case key == "type":
			p.contentType, s = cutQuoted(after)
			inType = true
		case key == "filename":
			p.filename, s = cutQuoted(after)
			inType = false
		case inType:
			var more string
			more, s = cutQuoted(rest)
			p.contentType += ";" + more
		default:
			return fmt.Errorf("where %q is neither type= nor filename=", key)
		}
	}
	return p.check()
}

// check refuses what would break the head of the part.
func (p *formPart) check() error {
	for _, v := range []string{escapeForm.Replace(p.name), escapeForm.Replace(p.filename), p.contentType} {
		if err := checkHeaderValue(v); err != nil {
			return fmt.Errorf("which %w", err)
		}
	}
	return nil
}

// cutQuoted returns the word before the next semicolon, without its quotes.
func cutQuoted(s string) (word, rest string) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexByte(s, ';')
		if i < 0 {
			return s, ""
		}
		return s[:i], s[i:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		}
		b.WriteByte(s[i])
	}
	return s, "" // The quote is not closed: it is a character like others.
}

// formBody puts the parts into a multipart form (RFC 7578) whose length is
// known beforehand, unless a part is a stream.
func (c *command) formBody(ctx context.Context) (*body, error) {
	boundary := "------------------------" + rand.Text()
	b := &body{contentType: "multipart/form-data; boundary=" + boundary}
	for _, part := range c.form {
		content := textPiece(part.text)
		if part.file != "" {
			var start []byte
			var err error
			if content, start, err = c.filePiece(ctx, part.file); err != nil {
				return nil, err
			}
			if part.contentType == "" && !part.asText {
				if part.contentType = mediaType(part.filename, start); part.contentType == "" {
					part.contentType = "application/octet-stream"
				}
			}
		}
		b.pieces = append(b.pieces, textPiece(part.head(boundary)), content, textPiece("\r\n"))
	}
	b.pieces = append(b.pieces, textPiece("--"+boundary+"--\r\n"))
	return b, nil
}

// escapeForm escapes a name as browsers do (WHATWG HTML, multipart/form-data
// encoding algorithm).
var escapeForm = strings.NewReplacer("\r", "%0D", "\n", "%0A", `"`, "%22")

func (p formPart) head(boundary string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "--%s\r\nContent-Disposition: form-data; name=\"%s\"", boundary, escapeForm.Replace(p.name))
	if p.filename != "" {
		fmt.Fprintf(&b, "; filename=\"%s\"", escapeForm.Replace(p.filename))
	}
	b.WriteString("\r\n")
	if p.contentType != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\n", p.contentType)
	}
	return b.String() + "\r\n"
}
