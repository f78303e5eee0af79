package s3api

import (
	"bytes"
	"encoding/xml"
	"unicode/utf8"
)

// A document is an answer that is written element by element. A listing of 1,000
// objects is the largest and the most frequent answer of XML there is, and
// encoding/xml takes several times as long for it.
type document struct {
	bytes.Buffer
	root string
}

func newDocument(root string) *document {
	x := &document{root: root}
	x.Grow(4096)
	x.WriteString(xml.Header)
	x.WriteString("<" + root + ` xmlns="` + namespace + `">`)
	return x
}

func (x *document) open(name string) {
	x.WriteByte('<')
	x.WriteString(name)
	x.WriteByte('>')
}

func (x *document) close(name string) {
	x.WriteString("</")
	x.WriteString(name)
	x.WriteByte('>')
}

// text writes an element with a text.
func (x *document) text(name, value string) {
	x.open(name)
	if plain(value) {
		x.WriteString(value)
	} else {
		_ = xml.EscapeText(&x.Buffer, []byte(value)) // a Buffer takes everything
	}
	x.close(name)
}

// optional writes an element, and none for an empty text.
func (x *document) optional(name, value string) {
	if value != "" {
		x.text(name, value)
	}
}

// plain reports whether a text stands in XML as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '<' || c == '>' || c == '&' || c == '"' || c == '\'' {
			return false
		}
	}
	return true
}

// owner writes an element that says who owns something.
func (x *document) owner(name string) {
	x.open(name)
	x.text("ID", owner)
	x.text("DisplayName", owner)
	x.close(name)
}

func (x *document) finish() []byte {
	x.close(x.root)
	return x.Bytes()
}
