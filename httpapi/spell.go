package httpapi

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"minicloud.internal/kit"
)

// A Spell is one entry of the book.
type Spell struct {
	ID          int64  `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

// The longest name and description, in characters (runes).
const (
	maxName        = 100
	maxDescription = 2000
)

// input is the body of a POST.
type input struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// replacement is the body of a PUT: it may repeat the id of the path, so that
// what GET answered can be changed and sent back.
type replacement struct {
	ID *int64 `json:"id"`
	input
}

// validate returns a 422 problem that names every field that is wrong, or nil.
func (in input) validate() error {
	var wrong []kit.FieldError
	switch n := utf8.RuneCountInString(in.Name); {
	case strings.TrimSpace(in.Name) == "":
		wrong = append(wrong, kit.FieldError{Field: "name", Detail: "is empty or missing, expected the name of the spell"})
	case n > maxName:
		wrong = append(wrong, kit.FieldError{Field: "name", Detail: fmt.Sprintf("has %d characters, expected at most %d", n, maxName)})
	case strings.IndexFunc(in.Name, unicode.IsControl) >= 0:
		wrong = append(wrong, kit.FieldError{Field: "name", Detail: "has a control character, expected one line of text"})
	}
	switch n := utf8.RuneCountInString(in.Description); {
	case n > maxDescription:
		wrong = append(wrong, kit.FieldError{Field: "description", Detail: fmt.Sprintf("has %d characters, expected at most %d", n, maxDescription)})
	case strings.IndexFunc(in.Description, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) >= 0:
		wrong = append(wrong, kit.FieldError{Field: "description", Detail: "has a control character, expected text with newlines and tabs at most"})
	}
	if len(wrong) == 0 {
		return nil
	}
	return kit.InvalidFields(wrong...)
}

// validate is input's, and refuses an id that is not the path's.
func (in replacement) validate(id int64) error {
	if in.ID != nil && *in.ID != id {
		return kit.InvalidFields(kit.FieldError{Field: "id", Detail: fmt.Sprintf("is %d, expected %d as in the path, or nothing", *in.ID, id)})
	}
	return in.input.validate()
}
