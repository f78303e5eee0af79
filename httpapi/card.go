package httpapi

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"unicode"
)

// The card's measures. Text is measured in columns, as a terminal does: 1 for
// most characters, 2 for wide ones, 0 for marks that combine.
const (
	cardWidth, cardHeight = 480, 270
	nameColumns           = 20
	nameLines             = 2
	textColumns           = 46
	textLines             = 5
)

// card returns the picture of a spell: an SVG 1.1 document of 480 by 270 units
// that needs nothing from elsewhere. The same spell gives the same bytes.
func card(sp Spell) []byte {
	// The id chooses colour and stars, so that a renamed spell keeps its face.
	random := rand.New(rand.NewPCG(uint64(sp.ID), 0x5be11))
	hue := (sp.ID*47 + 205) % 360
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-labelledby="name">
<title id="name">%s</title>
<defs>
<linearGradient id="night" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="hsl(%d,55%%,22%%)"/><stop offset="1" stop-color="hsl(%d,60%%,8%%)"/></linearGradient>
<radialGradient id="glow"><stop offset="0" stop-color="#fff6d5" stop-opacity=".9"/><stop offset="1" stop-color="#ffd76a" stop-opacity="0"/></radialGradient>
</defs>
<rect width="%d" height="%d" rx="18" fill="url(#night)"/>
<rect x="9" y="9" width="%d" height="%d" rx="12" fill="none" stroke="#e8c96a" stroke-opacity=".55"/>
`, cardWidth, cardHeight, cardWidth, cardHeight, escape(sp.Name), hue, (hue+40)%360, cardWidth, cardHeight, cardWidth-18, cardHeight-18)
	for range 24 {
		fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="%.1f" fill="#fff" fill-opacity="%.2f"/>`+"\n",
			16+random.IntN(cardWidth-32), 16+random.IntN(cardHeight-32), .5+random.Float64(), .15+.5*random.Float64())
	}
	// The wand, and the star at its tip.
	fmt.Fprintf(&b, `<line x1="352" y1="142" x2="413" y2="66" stroke="#b98a4a" stroke-width="6" stroke-linecap="round"/>
<line x1="352" y1="142" x2="366" y2="125" stroke="#6b4423" stroke-width="9" stroke-linecap="round"/>
<circle cx="418" cy="60" r="40" fill="url(#glow)"/>
<polygon points="%s" fill="#ffe08a"/>
`, star(418, 60, 19, 7.5, 5))

	name := wrap(sp.Name, nameColumns, nameLines)
	y := 66
	for _, line := range name {
		fmt.Fprintf(&b, `<text x="30" y="%d" font-family="Georgia,'Times New Roman',serif" font-size="27" font-weight="bold" fill="#ffe9b0">%s</text>`+"\n", y, escape(line))
		y += 32
	}
	y = 160
	for _, line := range wrap(sp.Description, textColumns, textLines) {
		fmt.Fprintf(&b, `<text x="30" y="%d" font-family="Georgia,'Times New Roman',serif" font-size="17" fill="#f3ecff">%s</text>`+"\n", y, escape(line))
		y += 22
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" font-family="Georgia,'Times New Roman',serif" font-size="12" fill="#e8c96a" fill-opacity=".8">№ %d</text>
</svg>
`, cardWidth-22, cardHeight-20, sp.ID)
	return b.Bytes()
}

// star returns the points of a star around a centre.
func star(cx, cy, outer, inner float64, points int) string {
	var b strings.Builder
	for i := range 2 * points {
		r, angle := outer, math.Pi*float64(i)/float64(points)-math.Pi/2
		if i%2 == 1 {
			r = inner
		}
		fmt.Fprintf(&b, "%.1f,%.1f ", cx+r*math.Cos(angle), cy+r*math.Sin(angle))
	}
	return strings.TrimSuffix(b.String(), " ")
}

// escape makes text safe in XML content; what XML cannot hold at all becomes
// U+FFFD.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}

// wrap breaks text into at most lines lines of at most columns columns, between
// words where it can. White space counts as one blank, but a newline ends a
// line. Text that does not fit ends in an ellipsis.
func wrap(text string, columns, lines int) []string {
	var out []string
	for _, paragraph := range strings.Split(text, "\n") {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			for word != "" {
				joined := word
				if line != "" {
					joined = line + " " + word
				}
				if columnsOf(joined) <= columns {
					line, word = joined, ""
				} else if line != "" {
					out, line = append(out, line), ""
				} else {
					head := cut(word, columns)
					out, word = append(out, head), word[len(head):]
				}
			}
		}
		if line != "" {
			out = append(out, line)
		}
	}
	if len(out) > lines {
		out = out[:lines]
		out[lines-1] = strings.TrimRight(cut(out[lines-1], columns-1), " ") + "…"
	}
	return out
}

// cut returns the longest beginning of s, at least one character, that takes at
// most columns columns.
func cut(s string, columns int) string {
	used := 0
	for i, r := range s {
		used += columnsOf(string(r))
		if used > columns && i > 0 {
			return s[:i]
		}
	}
	return s
}

// columnsOf estimates how wide text is drawn.
func columnsOf(s string) (columns int) {
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case r >= 0x1f300 || r >= 0xff01 && r <= 0xff60 || r >= 0x3000 && r <= 0x30ff || unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana):
			columns += 2
		default:
			columns++
		}
	}
	return columns
}
