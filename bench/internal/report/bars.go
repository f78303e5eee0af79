package report

import (
	"fmt"
	"io"
)

// A Bar is one line of the summary.
type Bar struct {
	Text     string
	Measured string
	Must     Verdict
	Aim      Verdict
}

// A Verdict is how a bar came out; empty where it asks for nothing.
type Verdict string

// How a bar can come out.
const (
	Pass    Verdict = "pass"
	Miss    Verdict = "MISS"
	Unknown Verdict = "not measured"
)

// Judge is Pass or Miss.
func Judge(ok bool) Verdict {
	if ok {
		return Pass
	}
	return Miss
}

// PrintBars writes the summary, unless it is empty.
func PrintBars(w io.Writer, bars []Bar) {
	if len(bars) == 0 {
		return
	}
	fmt.Fprint(w, "### Against the bars\n\n| bar | measured | must | aim |\n| --- | --- | --- | --- |\n")
	for _, b := range bars {
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", b.Text, b.Measured, b.Must, b.Aim)
	}
	fmt.Fprintln(w)
}
