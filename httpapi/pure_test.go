package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"minicloud.internal/kit"
)

func TestBreaker(t *testing.T) {
	now := time.Unix(1000, 0)
	b := breaker{now: func() time.Time { return now }, pause: time.Second}
	steps := []struct {
		name   string
		after  time.Duration
		report func()
		want   bool
	}{
		{"a new breaker lets through", 0, nil, true},
		{"after a failure nobody passes", 0, func() { b.report(false) }, false},
		{"nor shortly before the end of the pause", 999 * time.Millisecond, nil, false},
		{"at the end of the pause one passes as a probe", time.Millisecond, nil, true},
		{"while the probe is out nobody else passes", 0, nil, false},
		{"a probe that never reports is replaced after another pause", time.Second, nil, true},
		{"a probe that fails begins the pause again", 0, func() { b.report(false) }, false},
		{"the next probe passes", time.Second, nil, true},
		{"a success lets everybody through", 0, func() { b.report(true) }, true},
		{"and goes on to", 0, nil, true},
	}
	for _, s := range steps {
		now = now.Add(s.after)
		if s.report != nil {
			s.report()
		}
		if got := b.allow(); got != s.want {
			t.Fatalf("%s: allow() = %v", s.name, got)
		}
	}
}

func TestFlights(t *testing.T) {
	key := flightKey{id: 3}
	t.Run("askers that come together share one load", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var f flights
			loads := 0
			for range 50 {
				go func() {
					sp, _, _, err := f.do(t.Context(), key, func() (Spell, bool, error) {
						loads++ // one goroutine at a time: the race detector would tell
						time.Sleep(time.Second)
						return Spell{ID: 3}, true, nil
					})
					if sp.ID != 3 || err != nil {
						t.Errorf("got %v, %v", sp, err)
					}
				}()
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if loads != 1 {
				t.Errorf("%d loads, want 1", loads)
			}
		})
	})
	t.Run("the first asker's end takes nothing from the others", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var f flights
			load := func() (Spell, bool, error) { time.Sleep(time.Second); return Spell{ID: 3}, true, nil }
			impatient, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			go func() {
				if _, _, _, err := f.do(impatient, key, load); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the impatient asker got %v", err)
				}
			}()
			synctest.Wait()
			sp, _, joined, err := f.do(t.Context(), key, load)
			if sp.ID != 3 || !joined || err != nil {
				t.Errorf("the other asker got %v, joined %v, %v", sp, joined, err)
			}
		})
	})
	t.Run("a forgotten load is joined by nobody else", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var f flights
			go f.do(t.Context(), key, func() (Spell, bool, error) { time.Sleep(time.Second); return Spell{Name: "old"}, true, nil })
			synctest.Wait()
			f.forget(3)
			sp, _, joined, _ := f.do(t.Context(), key, func() (Spell, bool, error) { return Spell{Name: "new"}, true, nil })
			if sp.Name != "new" || joined {
				t.Errorf("got %v, joined %v", sp, joined)
			}
			f.running.Wait()
		})
	})
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		name, text string
		columns    int
		lines      int
		want       []string
	}{
		{"text that fits stays", "Creates light", 20, 2, []string{"Creates light"}},
		{"lines break between words", "one two three", 7, 5, []string{"one two", "three"}},
		{"a word longer than a line is cut", "abcdefgh ij", 3, 5, []string{"abc", "def", "gh", "ij"}},
		{"a newline ends a line", "a\nb", 9, 5, []string{"a", "b"}},
		{"white space is one blank, and empty lines are none", " a\t b \n\n c", 9, 5, []string{"a b", "c"}},
		{"what does not fit ends in an ellipsis", "one two three four", 5, 2, []string{"one", "two…"}},
		{"the ellipsis takes the place of a full line's end", "abcde fghij k", 5, 2, []string{"abcde", "fghi…"}},
		{"wide characters count twice", "魔法の呪文", 6, 5, []string{"魔法の", "呪文"}},
		{"a wide character in a narrow line makes progress", "魔法", 1, 5, []string{"魔", "法"}},
		{"marks that combine take no room", "e\u0301e\u0301e\u0301", 3, 5, []string{"e\u0301e\u0301e\u0301"}},
		{"nothing is no line", "", 9, 5, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := wrap(c.text, c.columns, c.lines); !slices.Equal(got, c.want) {
				t.Errorf("wrap(%q) = %q, want %q", c.text, got, c.want)
			}
		})
	}
}

// svgText parses an SVG strictly and returns its character data.
func svgText(svg []byte) (string, error) {
	var text strings.Builder
	dec := xml.NewDecoder(bytes.NewReader(svg))
	root := ""
	for {
		token, err := dec.Token()
		if err == io.EOF {
			if root != "svg" {
				return "", errors.New("the root is not svg")
			}
			return text.String(), nil
		}
		if err != nil {
			return "", err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if root == "" {
				root = token.Name.Local
			}
			if token.Name.Local == "script" {
				return "", errors.New("there is a script")
			}
		case xml.CharData:
			text.Write(token)
		}
	}
}

func TestCard(t *testing.T) {
	t.Run("what a spell says is text, never markup", func(t *testing.T) {
		svg := card(Spell{ID: 3, Name: `</svg><script>"a&b'`, Description: "1 < 2 && ]]> \u0001 end"})
		text, err := svgText(svg)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`</svg><script>"a&b'`, "1 < 2 && ]]> \uFFFD end"} {
			if !strings.Contains(text, want) {
				t.Errorf("the text %q lacks %q", text, want)
			}
		}
	})
	t.Run("the same spell gives the same bytes, another name others", func(t *testing.T) {
		a, b := card(Spell{ID: 1, Name: "Accio"}), card(Spell{ID: 1, Name: "Accio"})
		if !bytes.Equal(a, b) || bytes.Equal(a, card(Spell{ID: 1, Name: "Nox"})) {
			t.Error("not deterministic, or blind to the name")
		}
	})
	t.Run("the longest spell stays small", func(t *testing.T) {
		svg := card(Spell{ID: 1 << 62, Name: strings.Repeat("&", maxName), Description: strings.Repeat("< ", maxDescription/2)})
		if len(svg) > 8<<10 {
			t.Errorf("%d bytes", len(svg))
		}
	})
}

func FuzzCard(f *testing.F) {
	f.Add(int64(1), "Accio", "Summons an object")
	f.Add(int64(-1), "</text>&amp;]]>", "\x00\xff\ufffe\n\t\u202e")
	f.Add(int64(1<<62), strings.Repeat("魔", 100), strings.Repeat("a", 2000))
	f.Fuzz(func(t *testing.T, id int64, name, description string) {
		svg := card(Spell{ID: id, Name: name, Description: description})
		if _, err := svgText(svg); err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, svg)
		}
		if !utf8.Valid(svg) {
			t.Fatal("not UTF-8")
		}
	})
}

func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{"name":"Nox","description":"Puts out light"}`, `{"name":""}`, `{"id":3,"name":"Nox"}`, `null`, `[]`, `{"name":"a"}{}`,
		`{"name":"\u0000"}`, `{"name":"x","colour":1}`, "{\"name\":\"\xff\"}", `{"name":"x","description":"a\nb\tc"}`, `{`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/api/spells", bytes.NewReader(body))
		in, err := readSpell(httptest.NewRecorder(), r, 64<<10)
		if err != nil {
			var p *kit.Problem
			if !errors.As(err, &p) || p.Status < 400 || p.Status > 499 || p.Detail == "" {
				t.Fatalf("the error is no 4xx problem with a detail: %v", err)
			}
			return
		}
		if strings.TrimSpace(in.Name) == "" || utf8.RuneCountInString(in.Name) > maxName || utf8.RuneCountInString(in.Description) > maxDescription ||
			!utf8.ValidString(in.Name+in.Description) || strings.ContainsAny(in.Name, "\x00\n\r\t\x7f") || strings.ContainsAny(in.Description, "\x00\r\x7f") {
			t.Fatalf("accepted %q", in)
		}
	})
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"type":"spell.saved","spell_id":3,"invalidate":true,"at":"2026-01-02T03:04:05Z","request_id":"a","traceparent":"00-1-2-3"}`))
	f.Add([]byte(`{"type":"spell.deleted","spell_id":0}`))
	f.Add([]byte(`"text"`))
	f.Fuzz(func(t *testing.T, message []byte) {
		e, err := parseEvent(message)
		if err != nil {
			return
		}
		if e.SpellID < 1 || e.Type != spellSaved && e.Type != spellDeleted {
			t.Fatalf("accepted %+v", e)
		}
		if kit.TraceFrom(e.trace(t.Context())).RequestID == "" {
			t.Fatal("no request id")
		}
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if e2, err := parseEvent(again); err != nil || e2.SpellID != e.SpellID || !e2.At.Equal(e.At) {
			t.Fatalf("%s came back as %+v, %v", again, e2, err)
		}
	})
}
